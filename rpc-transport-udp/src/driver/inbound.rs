//! Datagrams on their way from the task that reads a server's socket to their session; bounded.

use std::{
    collections::VecDeque,
    mem,
    net::{IpAddr, SocketAddr},
    sync::PoisonError,
    task::{Context, Waker},
};

use super::socket::Piece;
use crate::{
    planted::planted,
    spares::Spares,
    sync::{Mutex, MutexGuard},
};

/// How much waits for a session that doesn't take it. What comes then is lost, as it would be in a
/// socket's buffer, which has that size too.
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// What each piece costs beside its bytes.
const PIECE_COST: usize = 128;

/// Pieces of this size are copied into buffers that were used before.
const LARGE: usize = 8 * 1024;

/// How many such buffers all sessions of a server keep for the next datagrams: 4 MiB.
const SPARES_MAX: usize = 64;

/// What has come for one session.
#[derive(Debug, Default)]
pub(super) struct Inbound {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    pieces: VecDeque<Received>,
    bytes: usize,
    waker: Option<Waker>,
    /// Nothing more comes.
    broken: bool,
}

/// A [`Piece`] of its own.
#[derive(Debug, Clone)]
pub(super) struct Received {
    pub(super) from: SocketAddr,
    pub(super) to: Option<IpAddr>,
    pub(super) marked: bool,
    pub(super) bytes: Vec<u8>,
    pub(super) stride: usize,
}

impl Received {
    /// A copy of what has come; a large one in a buffer that was used before.
    pub(super) fn of(piece: &Piece<'_>, spares: &Mutex<Spares>) -> Self {
        let &Piece { from, to, marked, bytes, stride } = piece;
        if bytes.len() < LARGE {
            return Self::copy_of(piece);
        }
        let mut buffer = lock(spares).take(bytes.len());
        buffer.extend_from_slice(bytes);
        Self { from, to, marked, bytes: buffer, stride }
    }

    /// A copy in memory of its own.
    pub(super) fn copy_of(piece: &Piece<'_>) -> Self {
        let &Piece { from, to, marked, bytes, stride } = piece;
        Self { from, to, marked, bytes: bytes.to_vec(), stride }
    }

    pub(super) fn piece(&self) -> Piece<'_> {
        let &Self { from, to, marked, ref bytes, stride } = self;
        Piece { from, to, marked, bytes, stride }
    }

    /// It was handled.
    pub(super) fn recycle(self, spares: &Mutex<Spares>) {
        if self.bytes.len() >= LARGE {
            lock(spares).keep(self.bytes, SPARES_MAX);
        }
    }

    fn cost(&self) -> usize {
        self.bytes.len() + PIECE_COST
    }
}

impl Inbound {
    /// Adds a piece, if there is room. Returns whom to wake.
    pub(super) fn push(&self, received: Received) -> Option<Waker> {
        let mut state = self.lock();
        let bytes = state.bytes + received.cost();
        if bytes > BYTES_MAX {
            return None;
        }
        state.bytes = bytes;
        state.pieces.push_back(received);
        state.waker.take()
    }

    /// Nothing more comes: the socket is gone. Returns whom to wake.
    pub(super) fn break_off(&self) -> Option<Waker> {
        let mut state = self.lock();
        state.broken = true;
        state.waker.take()
    }

    /// Takes everything that has come. `None`, and a wake-up later, when that is nothing.
    pub(super) fn poll_take(
        &self,
        cx: &Context<'_>,
        into: &mut VecDeque<Received>,
    ) -> Option<Result<(), Broken>> {
        let mut state = self.lock();
        if !state.pieces.is_empty() {
            state.bytes = 0;
            mem::swap(&mut state.pieces, into);
            return Some(Ok(()));
        }
        if state.broken {
            return Some(Err(Broken));
        }
        if planted("datagram-unheard") {
            drop(state);
            state = self.lock();
        }
        match &mut state.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        None
    }

    /// Gives back the memory that nothing needs while nothing comes.
    pub(super) fn shrink(&self) {
        let mut state = self.lock();
        if state.pieces.is_empty() {
            state.pieces = VecDeque::new();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The task that reads the socket is gone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Broken;

#[cfg(all(test, rpc_shuttle))]
mod models {
    use std::{future::poll_fn, task::Poll};

    use shuttle::{future::block_on, thread};

    use super::*;
    use crate::{driver::tests::PEER, models::exhaust};

    #[test]
    fn what_comes_wakes_its_session_and_so_does_the_end() {
        exhaust(|| {
            let inbound = std::sync::Arc::new(Inbound::default());
            let reading = std::sync::Arc::clone(&inbound);
            let reader = thread::spawn(move || {
                let piece =
                    Piece { from: PEER, to: None, marked: false, bytes: &[7; 10], stride: 10 };
                let spares = Mutex::default();
                reading.push(Received::of(&piece, &spares)).into_iter().for_each(Waker::wake);
                reading.break_off().into_iter().for_each(Waker::wake);
            });
            let mut taken = 0;
            let mut pieces = VecDeque::new();
            let mut take = || {
                block_on(poll_fn(|cx| {
                    inbound.poll_take(cx, &mut pieces).map_or(Poll::Pending, Poll::Ready)
                }))
                .map(|()| taken += pieces.drain(..).count())
            };
            while take().is_ok() {}
            reader.join().unwrap();
            assert_eq!(taken, 1, "what came before the end comes first");
        });
    }
}
