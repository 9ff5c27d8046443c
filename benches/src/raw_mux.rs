//! The limit with many calls in flight: the least a multiplexer can do, with batched writes.
//!
//! Requests are `[id, a, b]`, replies `[id, sum]`. What makes it fast:
//! - callers append to one out-buffer, and the writer sends all of it in one write;
//! - a call is a slot of a slab that holds its waker: no hash map, no oneshot, no channel;
//! - the reader takes the lock once per read, and calls wakers after it let go;
//! - the server runs handlers inline and answers all requests of a read in one write.

use std::future::poll_fn;
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use slab::Slab;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::harness::{Adds, Target};
use crate::tcp::{self, Inbox, Pumps, push_frame};

pub(crate) async fn serve(addr: SocketAddr) -> io::Result<SocketAddr> {
    tcp::serve(addr, answer).await
}

async fn answer(mut stream: TcpStream) -> io::Result<()> {
    let mut inbox = Inbox::new();
    let mut replies = Vec::new();
    loop {
        inbox.fill(&mut stream).await?;
        while let Some([id, a, b]) = inbox.next_frame() {
            push_frame(&mut replies, [id, a + b]);
        }
        stream.write_all(&replies).await?;
        replies.clear();
    }
}

#[derive(Clone)]
pub(crate) struct Client {
    mux: Arc<Mux>,
    _pumps: Arc<Pumps>,
}

impl Target for Client {
    async fn connect(addr: SocketAddr) -> io::Result<Self> {
        let (read_half, write_half) = tcp::connect(addr).await?.into_split();
        let mux = Arc::new(Mux::default());
        let (reader, writer) = (Arc::clone(&mux), Arc::clone(&mux));
        let reading = async move { reader.read_replies(read_half).await };
        let writing = async move { writer.write_requests(write_half).await };
        Ok(Self { mux, _pumps: Arc::new(Pumps::spawn("raw-mux", reading, writing)) })
    }
}

impl Adds for Client {
    async fn add(&self, a: u64, b: u64) -> u64 {
        let mut sent = None;
        poll_fn(|cx| match sent {
            None => {
                sent = Some(self.mux.send(a, b, cx.waker()));
                Poll::Pending
            }
            Some(id) => self.mux.poll_reply(id, cx),
        })
        .await
    }
}

/// What callers, the writer and the reader of one connection share.
#[derive(Default)]
struct Mux {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// A call's id is its index here.
    calls: Slab<Call>,
    /// Requests that the writer has not taken yet.
    out: Vec<u8>,
    /// The writer, while it waits for `out` to fill.
    writer: Option<Waker>,
}

enum Call {
    Waiting(Waker),
    Answered(u64),
}

impl Mux {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics under the lock")
    }

    /// Queues one request; `waker` is called when its reply is there.
    fn send(&self, a: u64, b: u64, waker: &Waker) -> usize {
        let mut state = self.lock();
        let id = state.calls.insert(Call::Waiting(waker.clone()));
        push_frame(&mut state.out, [id as u64, a, b]);
        let writer = state.writer.take();
        drop(state);
        if let Some(writer) = writer {
            writer.wake();
        }
        id
    }

    fn poll_reply(&self, id: usize, cx: &Context<'_>) -> Poll<u64> {
        let mut state = self.lock();
        match &mut state.calls[id] {
            Call::Answered(sum) => {
                let sum = *sum;
                state.calls.remove(id);
                Poll::Ready(sum)
            }
            Call::Waiting(waker) => {
                waker.clone_from(cx.waker());
                Poll::Pending
            }
        }
    }

    async fn write_requests(&self, mut stream: OwnedWriteHalf) -> io::Result<()> {
        let mut batch = Vec::new();
        loop {
            poll_fn(|cx| self.poll_queued(cx)).await;
            tcp::step_behind_runnable_tasks().await;
            mem::swap(&mut batch, &mut self.lock().out);
            stream.write_all(&batch).await?;
            batch.clear();
        }
    }

    fn poll_queued(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.out.is_empty() {
            state.writer = Some(cx.waker().clone());
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }

    async fn read_replies(&self, mut stream: OwnedReadHalf) -> io::Result<()> {
        let mut inbox = Inbox::new();
        let mut answered = Vec::new();
        loop {
            inbox.fill(&mut stream).await?;
            self.take_replies(&mut inbox, &mut answered);
            answered.drain(..).for_each(Waker::wake);
        }
    }

    /// Answers the calls whose replies arrived; their wakers are for after the lock.
    fn take_replies(&self, inbox: &mut Inbox, answered: &mut Vec<Waker>) {
        let mut state = self.lock();
        while let Some([id, sum]) = inbox.next_frame() {
            let id = usize::try_from(id).expect("an id that this client chose");
            if let Call::Waiting(waker) = mem::replace(&mut state.calls[id], Call::Answered(sum)) {
                answered.push(waker);
            }
        }
    }
}
