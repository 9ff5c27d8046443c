//! Peers that break the rules, in raw bytes, against servers and channels: what they may cost, and
//! that nobody else notices.
//!
//! Every attack ends with the same question: do other calls, and other connections, go on?

mod bodies;
mod drain;
mod ends;
mod floods;
mod frames;
mod hello;
mod ids;
mod liars;
mod pairs;
mod preface;
mod streams;
mod texts;
mod unread;

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use ends::{Outcome, Prey, Target, a_moment};
use futures_core::Stream;
use rpc_core::{Streaming, service::MethodId};

use crate::raw::{HELLO, call_id, framed};

// Kinds of frames.
const REQUEST: u8 = 2;
const REPLY: u8 = 3;
const ERROR: u8 = 4;
const DATA: u8 = 5;
const CREDIT: u8 = 6;
const CANCEL: u8 = 7;
const PING: u8 = 8;
const PONG: u8 = 9;
const GO_AWAY: u8 = 10;
const CLOSE: u8 = 11;
const ITEM: u8 = 12;
const END: u8 = 13;

/// The flag of frames whose message goes on.
const MORE: u8 = 1;
/// The flag of a message that items follow.
const STREAM: u8 = 4;

/// The timeout of a request that has none.
const NO_TIMEOUT: u32 = u32::MAX;

#[rpc_core::service]
pub(crate) trait Victim {
    async fn echo(&self, text: String) -> String;
    async fn large(&self, bytes: u32) -> Vec<u8>;
    async fn forever(&self);
    /// How many items came, and how they ended.
    async fn read(&self, items: Streaming<String>) -> String;
    /// Reads nothing.
    async fn hold(&self, items: Streaming<String>);
    /// All of them.
    async fn numbers(&self) -> Streaming<u64>;
}

/// How many handlers were started, run now, and ran at a time at most.
#[derive(Debug, Default)]
struct Gauge {
    started: AtomicUsize,
    running: AtomicUsize,
    most: AtomicUsize,
    /// How many numbers were counted.
    numbers: AtomicUsize,
}

struct Running(Arc<Gauge>);

impl Gauge {
    fn enter(self: &Arc<Self>) -> Running {
        self.started.fetch_add(1, Ordering::SeqCst);
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(running, Ordering::SeqCst);
        Running(Arc::clone(self))
    }

    fn started(&self) -> usize {
        self.started.load(Ordering::SeqCst)
    }

    fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }

    fn running(&self) -> usize {
        self.running.load(Ordering::SeqCst)
    }

    async fn nothing_runs(&self) {
        while self.running() > 0 {
            a_moment().await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

struct Handlers(Arc<Gauge>);

impl Victim for Handlers {
    async fn echo(&self, text: String) -> String {
        let _running = self.0.enter();
        text
    }
    async fn large(&self, bytes: u32) -> Vec<u8> {
        let _running = self.0.enter();
        vec![7; bytes as usize]
    }
    async fn forever(&self) {
        let _running = self.0.enter();
        std::future::pending::<()>().await;
    }
    async fn read(&self, mut items: Streaming<String>) -> String {
        let _running = self.0.enter();
        let mut count = 0;
        loop {
            match items.next().await {
                Some(Ok(_)) => count += 1,
                Some(Err(error)) => return format!("{count} items, {error}"),
                None => return format!("{count} items"),
            }
        }
    }
    async fn hold(&self, _items: Streaming<String>) {
        self.forever().await;
    }
    async fn numbers(&self) -> Streaming<u64> {
        Streaming::new(Numbers { next: 0, running: self.0.enter() })
    }
}

/// Numbers without end.
struct Numbers {
    next: u64,
    running: Running,
}

impl Stream for Numbers {
    type Item = u64;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<u64>> {
        self.running.0.numbers.fetch_add(1, Ordering::SeqCst);
        self.next += 1;
        Poll::Ready(Some(self.next))
    }
}

/// A REQUEST, complete in one frame.
fn request(id: u64, method: &str, timeout_ms: u32, body: &[u8]) -> Vec<u8> {
    framed(id, REQUEST, 0, &[&request_fields(method, timeout_ms)[..], body].concat())
}

/// The first frame of a request that goes on.
fn request_begins(id: u64, method: &str, body: &[u8]) -> Vec<u8> {
    framed(id, REQUEST, MORE, &[&request_fields(method, NO_TIMEOUT)[..], body].concat())
}

fn request_fields(method: &str, timeout_ms: u32) -> Vec<u8> {
    let method = MethodId::of("Victim", method).number();
    [&timeout_ms.to_le_bytes()[..], &method.to_le_bytes()].concat()
}

fn cancel(id: u64) -> Vec<u8> {
    framed(0, CANCEL, 0, &id.to_le_bytes())
}

/// A text as codec 1 has it.
fn text_body(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

/// The preface and the hello that the specification's example has.
fn hello() -> Vec<u8> {
    crate::raw::hex(HELLO)
}

/// The id of the attacker's call number `sequence` in slot 0.
fn nth(sequence: u64) -> u64 {
    call_id(sequence, 0)
}
