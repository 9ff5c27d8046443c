//! One socket of the network, as the driver uses it: it waits on timers, the `hub` does the rest.

use std::{
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
};

use tokio::time::{Instant, Sleep, sleep_until};

use super::{
    Network,
    hub::{Arrival, Hub, Kind},
};
use crate::{
    driver::{
        clock::SleepWatch,
        socket::{Datagrams, Piece, Writable},
    },
    proto::session::Transmit,
};

/// A socket. Dropping it frees its address.
#[derive(Debug)]
struct Port {
    network: Network,
    id: u64,
    local: SocketAddr,
    kind: Kind,
    segments_max: usize,
    /// Of whoever receives; nobody else uses it.
    timer: Mutex<Option<Pin<Box<Sleep>>>>,
}

/// Makes a socket.
pub(super) fn bound(
    network: Network,
    bind: impl FnOnce(&mut Hub) -> io::Result<(u64, SocketAddr, Kind)>,
) -> io::Result<Arc<dyn Datagrams>> {
    let mut hub = network.lock();
    let (id, local, kind) = bind(&mut hub)?;
    let segments_max = hub.segments_max();
    drop(hub);
    Ok(Arc::new(Port { network, id, local, kind, segments_max, timer: Mutex::new(None) }))
}

impl Datagrams for Port {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }

    fn try_send(&self, transmit: &Transmit, _: Option<IpAddr>) -> io::Result<()> {
        let now = Instant::now().into_std();
        let mut wakers = Vec::new();
        let sent = self.network.lock().send(now, self.id, transmit, &mut wakers);
        wakers.into_iter().for_each(Waker::wake);
        sent
    }

    fn writable(self: Arc<Self>) -> Writable {
        Box::pin(async move {
            loop {
                let until = self.network.lock().blocked_until(self.id);
                match until.filter(|until| *until > Instant::now().into_std()) {
                    Some(until) => sleep_until(until.into()).await,
                    None => return Ok(()),
                }
            }
        })
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        take: &mut dyn FnMut(Piece<'_>),
    ) -> Poll<io::Result<()>> {
        let mut timer = self.timer.lock().unwrap_or_else(PoisonError::into_inner);
        let chunks = loop {
            let now = Instant::now().into_std();
            let arrival = self.network.lock().receive(now, self.id, cx);
            match arrival {
                Arrival::Chunks(chunks) => break chunks,
                Arrival::Error(error) => return Poll::Ready(Err(error)),
                Arrival::Nothing => return Poll::Pending,
                Arrival::At(at) => {
                    let at = Instant::from_std(at);
                    match &mut *timer {
                        Some(timer) => timer.as_mut().reset(at),
                        None => *timer = Some(Box::pin(sleep_until(at))),
                    }
                    let Some(timer) = &mut *timer else { return Poll::Pending };
                    if timer.as_mut().poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                }
            }
        };
        drop(timer);
        let to = match self.kind {
            Kind::Server => Some(self.local.ip()),
            Kind::Client(_) => None,
        };
        for chunk in chunks {
            let (from, marked, bytes) = (chunk.from, chunk.marked, &*chunk.bytes);
            take(Piece { from, to, marked, bytes, stride: chunk.stride.max(1) });
        }
        Poll::Ready(Ok(()))
    }

    fn segments_max(&self) -> usize {
        self.segments_max
    }

    fn secret(&self) -> io::Result<u64> {
        Ok(self.network.lock().secret())
    }

    fn seed(&self) -> u64 {
        self.network.lock().secret()
    }

    fn sleep_watch(&self) -> SleepWatch {
        SleepWatch::of(self.network.clone())
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.network.lock().unbind(self.id);
    }
}
