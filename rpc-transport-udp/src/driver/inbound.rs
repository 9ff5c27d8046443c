//! Datagrams on their way from the task that reads a server's socket to their session; bounded.

use std::{
    collections::VecDeque,
    mem,
    net::{IpAddr, SocketAddr},
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Waker},
};

use super::socket::Piece;
use crate::spares::Spares;

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
    /// A copy of what has come.
    pub(super) fn of(piece: &Piece<'_>, spares: &Mutex<Spares>) -> Self {
        let &Piece { from, to, marked, bytes, stride } = piece;
        let mut buffer =
            if bytes.len() < LARGE { Vec::new() } else { lock(spares).take(bytes.len()) };
        buffer.extend_from_slice(bytes);
        Self { from, to, marked, bytes: buffer, stride }
    }

    /// A copy of what is left of a piece.
    pub(super) fn rest_of(piece: &Piece<'_>) -> Self {
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
        match &mut state.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        None
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
