//! A seed of the kit does the same each time: over memory and the adversary, on one thread and in paused
//! time, the same frames come at the same times. Else no failure could be seen again by its seed.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    io,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
    time::Duration,
};

use rpc_core::{
    testing::{
        adversary::Adversary,
        checkout,
        promises::{Kit, Memory, Network},
    },
    transport::{
        Address, Batch, Connector, InFrame, Inbox, Listener, Payload, Peer, Received, Transport,
        TransportError,
    },
};
use tokio::time::Instant;

#[tokio::test(start_paused = true)]
async fn the_same_seed_sends_the_same_frames_over_memory() {
    let seeds = run_twice(Kit::new().prompt(), |_| Memory::new()).await;
    eprintln!("FIGURE determinism.memory={seeds}");
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_sends_the_same_frames_over_the_adversary() {
    let kit = Kit::new().large_bytes(super::LARGE_BYTES).prompt();
    let seeds = run_twice(kit, |seed| Adversary::new(seed).frame_bytes(1100)).await;
    eprintln!("FIGURE determinism.adversary={seeds}");
}

/// Returns how many seeds there were.
async fn run_twice<N: Network>(kit: Kit, network: impl Fn(u64) -> N) -> usize {
    let (first, second) = (traces(&kit, &network).await, traces(&kit, &network).await);
    assert_eq!(first.len(), second.len());
    for (number, (first, second)) in first.iter().zip(&second).enumerate() {
        let seed = first.seed;
        let at = first.frames.iter().zip(&second.frames).position(|(one, other)| one != other);
        let at = at.unwrap_or(first.frames.len().min(second.frames.len()));
        assert!(
            first == second,
            "frame {at} is {:?} at first and then {:?}\n  replay: RPC_SEED={seed} cargo test -p \
             rpc-core --test it same{}\n  number {number} of this run",
            first.frames.get(at),
            second.frames.get(at),
            checkout(),
        );
    }
    first.len()
}

async fn traces<N: Network>(kit: &Kit, network: impl Fn(u64) -> N) -> Vec<Trace> {
    let all = Mutex::new(Vec::new());
    let tally = kit
        .run(|seed| {
            let trace = Arc::new(Mutex::new(Trace { seed, frames: Vec::new() }));
            all.lock().unwrap().push(Arc::clone(&trace));
            Traced { inner: network(seed), noting: Noting { trace, began: Instant::now() } }
        })
        .await;
    let all = all.into_inner().unwrap();
    assert_eq!(tally.seeds(), all.len() as u64);
    all.iter().map(|trace| trace.lock().unwrap().clone()).collect()
}

/// What went over a network in one run.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Trace {
    seed: u64,
    frames: Vec<Seen>,
}

/// One frame, when it came, and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    at: Duration,
    hash: u64,
}

/// Notes what comes. Clones note the same.
#[derive(Debug, Clone)]
struct Noting {
    trace: Arc<Mutex<Trace>>,
    began: Instant,
}

impl Noting {
    fn note(&self, frame: &InFrame<'_>) {
        let bytes = match &frame.payload {
            Payload::Borrowed(bytes) => bytes,
            Payload::Owned(bytes) => &bytes[..],
            other => panic!("a payload of another sort: {other:?}"),
        };
        let mut hasher = DefaultHasher::new();
        (frame.lane, frame.end, bytes).hash(&mut hasher);
        let seen = Seen { at: self.began.elapsed(), hash: hasher.finish() };
        self.trace.lock().unwrap().frames.push(seen);
    }
}

/// A network, a part of one, or what a transport hands its frames to; and what notes them.
struct Traced<T> {
    inner: T,
    noting: Noting,
}

impl<T> Traced<T> {
    fn with<U>(&self, inner: U) -> Traced<U> {
        Traced { inner, noting: self.noting.clone() }
    }
}

impl<N: Network> Network for Traced<N> {
    async fn listen(&self, again: Option<&Address>) -> io::Result<impl Listener> {
        Ok(self.with(self.inner.listen(again).await?))
    }

    fn connector(&self, to: &Address) -> impl Connector {
        self.with(self.inner.connector(to))
    }

    fn kill(&self, whim: u64) {
        self.inner.kill(whim);
    }

    fn breaks(&self) -> bool {
        self.inner.breaks()
    }

    fn connects_between_servers(&self) -> bool {
        self.inner.connects_between_servers()
    }

    fn crash(&self, server: &Address) {
        self.inner.crash(server);
    }

    fn patience(&self) -> Duration {
        self.inner.patience()
    }

    fn objection(&self) -> Result<(), String> {
        self.inner.objection()
    }
}

impl<L: Listener> Listener for Traced<L> {
    type Transport = Traced<L::Transport>;

    fn local_addr(&self) -> Address {
        self.inner.local_addr()
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Self::Transport>> {
        let accepted = ready!(self.inner.poll_accept(cx))?;
        Poll::Ready(Ok(self.with(accepted)))
    }
}

impl<C: Connector> Connector for Traced<C> {
    type Transport = Traced<C::Transport>;

    fn target(&self) -> Address {
        self.inner.target()
    }

    async fn connect(&self) -> io::Result<Self::Transport> {
        Ok(self.with(self.inner.connect().await?))
    }
}

impl<T: Transport> Transport for Traced<T> {
    fn peer(&self) -> Peer {
        self.inner.peer()
    }

    fn frame_bytes(&self) -> usize {
        self.inner.frame_bytes()
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, batch: &mut Batch) -> Poll<io::Result<()>> {
        self.inner.poll_send(cx, batch)
    }

    fn poll_recv<I: Inbox>(
        &mut self,
        cx: &mut Context<'_>,
        inbox: &mut I,
    ) -> Poll<Result<Received, TransportError>> {
        let noting = self.noting.clone();
        self.inner.poll_recv(cx, &mut Traced { inner: inbox, noting })
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.poll_close(cx)
    }
}

impl<I: Inbox> Inbox for Traced<&mut I> {
    fn push(&mut self, frame: InFrame<'_>) {
        self.noting.note(&frame);
        self.inner.push(frame);
    }

    fn frame_bytes_max(&self) -> usize {
        self.inner.frame_bytes_max()
    }
}
