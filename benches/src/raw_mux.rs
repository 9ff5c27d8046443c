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
use std::process;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use slab::Slab;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::harness::Target;
use crate::tcp::{self, Inbox, push_frame};

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
pub(crate) struct Client(Arc<Mux>);

impl Target for Client {
    async fn connect(addr: SocketAddr) -> io::Result<Self> {
        let (read_half, write_half) = tcp::connect(addr).await?.into_split();
        let mux = Arc::new(Mux::default());
        let (reader, writer) = (Arc::clone(&mux), Arc::clone(&mux));
        tokio::spawn(async move { exit_on_loss(reader.read_replies(read_half).await) });
        tokio::spawn(async move { exit_on_loss(writer.write_requests(write_half).await) });
        Ok(Self(mux))
    }

    async fn add(&self, a: u64, b: u64) -> u64 {
        let mut sent = None;
        poll_fn(|cx| match sent {
            None => {
                sent = Some(self.0.send(a, b, cx.waker()));
                Poll::Pending
            }
            Some(id) => self.0.poll_reply(id, cx),
        })
        .await
    }
}

/// Without its connection a benchmark has nothing left to measure, and its callers would hang.
fn exit_on_loss(pumped: io::Result<()>) {
    if let Err(error) = pumped {
        eprintln!("raw-mux: connection lost: {error}");
        process::exit(1);
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
            step_behind_runnable_tasks().await;
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

/// Lets every task that can run now run first, so that their requests join the batch.
///
/// The first request of a batch wakes the writer into tokio's LIFO slot, where it would run next
/// and write that request alone. Waking itself while it runs puts it at the end of the queue
/// instead. (`tokio::task::yield_now` would also wait for a poll of the I/O driver.)
async fn step_behind_runnable_tasks() {
    let mut stepped = false;
    poll_fn(|cx| {
        if mem::replace(&mut stepped, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
