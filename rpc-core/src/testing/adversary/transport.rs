//! One end of an adversarial connection: hands every call on to the `link` that both ends share.

use std::{
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use super::{Death, Direction, link::Link};
use crate::transport::{
    Address, Batch, InFrame, Inbox, OutFrame, Payload, Peer, Received, Transport, TransportError,
};

/// One end of a connection of an [`Adversary`](super::Adversary).
pub struct AdversaryTransport {
    link: Arc<Mutex<Link>>,
    /// The direction in which this end sends.
    outgoing: Direction,
    peer: Peer,
    frame_bytes: usize,
}

/// A connection: the connecting end, the accepting end.
pub(super) fn pair(
    seed: u64,
    frame_bytes: usize,
    death: Option<Death>,
    acceptor: Address,
) -> (AdversaryTransport, AdversaryTransport) {
    let link = Arc::new(Mutex::new(Link::new(seed, death)));
    let end = |outgoing, peer| AdversaryTransport {
        link: Arc::clone(&link),
        outgoing,
        peer: Peer::new(peer),
        frame_bytes,
    };
    (end(Direction::ToAcceptor, acceptor), end(Direction::ToConnector, Address::Unnamed))
}

impl AdversaryTransport {
    /// Changes the connection, then wakes whoever is to be woken, outside of the lock.
    fn with<R>(&self, change: impl FnOnce(&mut Link) -> R) -> R {
        let mut link = self.lock();
        let result = change(&mut link);
        let alarms = link.take_alarms();
        drop(link);
        alarms.into_iter().for_each(Waker::wake);
        result
    }

    fn lock(&self) -> MutexGuard<'_, Link> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Transport for AdversaryTransport {
    fn peer(&self) -> Peer {
        self.peer.clone()
    }

    fn frame_bytes(&self) -> usize {
        self.frame_bytes
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, batch: &mut Batch) -> Poll<io::Result<()>> {
        self.with(|link| link.poll_send(self.outgoing, cx, batch))
    }

    fn poll_recv<I: Inbox>(
        &mut self,
        cx: &mut Context<'_>,
        inbox: &mut I,
    ) -> Poll<Result<Received, TransportError>> {
        let mut arrived = Vec::new();
        let incoming = self.outgoing.other();
        let received = self.with(|link| link.poll_recv(incoming, cx, &mut arrived));
        for OutFrame { lane, end, payload } in arrived {
            let (bytes, limit) = (payload.len(), inbox.frame_bytes_max());
            if bytes > limit {
                return Poll::Ready(Err(TransportError::FrameTooLarge { bytes, limit }));
            }
            inbox.push(InFrame { lane, end, payload: Payload::Owned(payload) });
        }
        received
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|link| link.poll_close(self.outgoing, cx))
    }
}

impl Drop for AdversaryTransport {
    fn drop(&mut self) {
        self.with(|link| link.leave(self.outgoing));
    }
}

impl fmt::Debug for AdversaryTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdversaryTransport")
            .field("seed", &format_args!("{:#x}", self.lock().seed()))
            .field("sends", &self.outgoing)
            .finish_non_exhaustive()
    }
}
