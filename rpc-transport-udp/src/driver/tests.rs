//! Tests of a session's end over a socket that never runs dry.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use rpc_core::transport::{InFrame, Inbox, Transport};

use super::{
    UdpTransport,
    socket::{Datagrams, Piece, Writable},
};
use crate::proto::{
    packet::{Epoch, Params, SessionId},
    session::{Agreed, Side, Transmit},
    setup::Established,
};

/// A socket at which rubbish comes in faster than anybody reads it.
#[derive(Debug, Default)]
struct Flood {
    reads: AtomicUsize,
}

const PEER: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 7000);

impl Datagrams for Flood {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(PEER)
    }

    fn try_send(&self, _: &Transmit, _: Option<IpAddr>) -> io::Result<()> {
        Ok(())
    }

    fn writable(self: Arc<Self>) -> Writable {
        Box::pin(std::future::ready(Ok(())))
    }

    fn poll_recv(
        &self,
        _: &mut Context<'_>,
        take: &mut dyn FnMut(Piece<'_>),
    ) -> Poll<io::Result<()>> {
        let reads = self.reads.fetch_add(1, Ordering::Relaxed);
        assert!(reads < 1000, "it reads on and on");
        take(Piece { from: PEER, to: None, marked: false, bytes: &[0x41; 400], stride: 40 });
        Poll::Ready(Ok(()))
    }

    fn segments_max(&self) -> usize {
        1
    }
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

struct Empty;

impl Inbox for Empty {
    fn push(&mut self, frame: InFrame<'_>) {
        panic!("no frame was sent: {frame:?}");
    }

    fn frame_bytes_max(&self) -> usize {
        65_536
    }
}

#[tokio::test(start_paused = true)]
async fn rubbish_does_not_keep_a_thread() {
    let params = Params { datagram_bytes: 1452, ack_delay_ms: 5, window: 4096, features: 0 };
    let agreed = Agreed {
        side: Side::Client,
        id: SessionId(7),
        epoch: Epoch(9),
        remote: PEER,
        ours: params,
        theirs: params,
        cookie: Some([1; 40]),
    };
    let socket = Arc::new(Flood::default());
    let established = Established { agreed, retention: Duration::from_secs(60) };
    let mut transport = UdpTransport::connected(Arc::clone(&socket) as _, established);
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let polled = transport.poll_recv(&mut Context::from_waker(&waker), &mut Empty);
    assert!(polled.is_pending(), "nothing came that counts as a sign of life");
    assert_eq!(wakes.0.load(Ordering::Relaxed), 1, "there is more to read");
    assert!(socket.reads.load(Ordering::Relaxed) <= 16);
}
