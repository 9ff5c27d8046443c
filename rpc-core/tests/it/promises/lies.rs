//! The kit itself is tested: over a transport that lies it finds that the books don't balance.

use std::{
    io,
    iter::from_fn,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    thread,
};

use rpc_core::{
    testing::{
        checkout,
        promises::{Kit, Memory, Network, Promise},
    },
    transport::{
        Address, Batch, Connector, InFrame, Inbox, Lane, Listener, OutFrame, Payload, Peer,
        Received, Transport, TransportError,
    },
};

/// What is wrong with a transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lie {
    /// The control: nothing is.
    None,
    /// A request arrives a second time, as another call.
    RunsTwice,
    /// A request arrives a second time, as the same call.
    Duplicates,
    /// The last byte of a request changes.
    ChangesArguments,
    /// Two replies change places.
    SwapsReplies,
    /// A reply that somebody waits for, and so isn't empty, is lost on its way.
    LosesAReply,
    /// Frames leave, and the transport says that they didn't.
    SendsWhatItLeaves,
    /// A connection breaks, and nobody said that it might.
    Breaks,
    /// The server isn't told that a connection has ended.
    HidesTheEnd,
    /// A task goes on when the connection is gone.
    LeavesATask,
}

/// Kinds of frames, and a flag. Spec: `r[frame.kind]`, `r[frame.flags]`.
const REQUEST: u8 = 2;
const REPLY: u8 = 3;
const CLOSE: u8 = 11;
const MORE: u8 = 1;

/// How far away the place is that a second call is given: 16 places, of those that one side has.
const OTHER_PLACE: u64 = 16 << 1;

/// One frame in so many is what the lie is about.
const ONE_IN: usize = 5;

#[test]
fn each_lie_is_found_and_named() {
    let lies: &[(Lie, &[Promise])] = &[
        (Lie::RunsTwice, &[Promise::Once]),
        (Lie::Duplicates, &[Promise::Drain]),
        (Lie::ChangesArguments, &[Promise::Whole]),
        // What was swapped may not even be a reply of the kind that is waited for.
        (Lie::SwapsReplies, &[Promise::Answered, Promise::Cause]),
        (Lie::LosesAReply, &[Promise::Ends, Promise::Rest]),
        (Lie::SendsWhatItLeaves, &[Promise::NotSent]),
        (Lie::Breaks, &[Promise::Drain]),
        (Lie::HidesTheEnd, &[Promise::Rest]),
        (Lie::LeavesATask, &[Promise::Rest]),
    ];
    for (lie, promises) in lies {
        let complaint = complaint(*lie).unwrap_or_else(|| panic!("{lie:?} was not found"));
        let head = |promise| format!("a call broke the promise \"{promise}\":");
        let names = |promise| complaint.starts_with(&head(promise));
        assert!(promises.iter().any(names), "{lie:?} was found, but as this:\n{complaint}");
    }
}

#[test]
fn the_wrapper_alone_keeps_every_promise() {
    assert_eq!(complaint(Lie::None), None);
}

#[test]
fn a_complaint_says_how_to_replay_it() {
    let complaint = complaint(Lie::ChangesArguments).unwrap();
    let seed = complaint.split("seed:").nth(1).unwrap().split(',').next().unwrap().trim();
    let replay = format!("RPC_SEED={seed} cargo test -p rpc-core");
    assert!(complaint.contains(&replay), "{complaint}");
    // A seed does the same in the same commit only; git says which, where there is one.
    assert!(complaint.ends_with(&checkout()), "{complaint}");
}

/// What the kit says about a transport that lies so. `None`: nothing.
fn complaint(lie: Lie) -> Option<String> {
    let kit = Kit::new().seeds(40).large_bytes(1000);
    let run = thread::spawn(move || {
        // A runtime of its own: a run that breaks off leaves tasks behind.
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
        runtime.block_on(kit.run(|_| Lies { lie, memory: Memory::new() }));
    });
    let panic = run.join().err()?;
    Some(*panic.downcast::<String>().expect("the panic has a message"))
}

/// The memory transport with a lie.
struct Lies {
    lie: Lie,
    memory: Memory,
}

impl Network for Lies {
    async fn listen(&self, again: Option<&Address>) -> io::Result<impl Listener> {
        let inner = self.memory.listen(again).await?;
        Ok(Liar { inner, lie: self.lie, frames: Arc::default() })
    }

    fn connector(&self, to: &Address) -> impl Connector {
        Liar { inner: self.memory.connector(to), lie: self.lie, frames: Arc::default() }
    }
}

/// A listener, connector or transport that lies.
struct Liar<T> {
    inner: T,
    lie: Lie,
    /// Frames that it could have lied about.
    frames: Arc<AtomicUsize>,
}

impl<T> Liar<T> {
    /// Whether it is time for a lie.
    fn lies(&self, lie: Lie) -> bool {
        self.lie == lie && self.frames.fetch_add(1, Ordering::Relaxed) % ONE_IN == ONE_IN - 1
    }

    fn transport<U>(&self, inner: U) -> Liar<U> {
        Liar { inner, lie: self.lie, frames: Arc::clone(&self.frames) }
    }
}

impl<L: Listener> Listener for Liar<L> {
    type Transport = Liar<L::Transport>;

    fn local_addr(&self) -> Address {
        self.inner.local_addr()
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Self::Transport>> {
        let accepted = ready!(self.inner.poll_accept(cx))?;
        Poll::Ready(Ok(self.transport(accepted)))
    }
}

impl<C: Connector> Connector for Liar<C> {
    type Transport = Liar<C::Transport>;

    fn target(&self) -> Address {
        self.inner.target()
    }

    async fn connect(&self) -> io::Result<Self::Transport> {
        if self.lie == Lie::LeavesATask {
            tokio::spawn(std::future::pending::<()>());
        }
        Ok(self.transport(self.inner.connect().await?))
    }
}

impl<T: Transport> Transport for Liar<T> {
    fn peer(&self) -> Peer {
        self.inner.peer()
    }

    fn frame_bytes(&self) -> usize {
        self.inner.frame_bytes()
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, batch: &mut Batch) -> Poll<io::Result<()>> {
        if self.lies(Lie::SendsWhatItLeaves) {
            let frames: Vec<OutFrame> = from_fn(|| batch.next_frame()).collect();
            let mut sent: Batch = frames.iter().cloned().collect();
            let _sent = self.inner.poll_send(cx, &mut sent)?;
            *batch = frames.into_iter().collect();
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if self.lies(Lie::Breaks) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        self.inner.poll_send(cx, batch)
    }

    fn poll_recv<I: Inbox>(
        &mut self,
        cx: &mut Context<'_>,
        inbox: &mut I,
    ) -> Poll<Result<Received, TransportError>> {
        let mut frames = Frames { list: Vec::new(), frame_bytes_max: inbox.frame_bytes_max() };
        let received = self.inner.poll_recv(cx, &mut frames);
        for OutFrame { lane, end, payload, .. } in self.spoil(frames.list) {
            inbox.push(InFrame { lane, end, payload: Payload::Owned(payload) });
        }
        match received {
            Poll::Ready(Ok(Received::Some | Received::Part)) | Poll::Pending => received,
            _ if self.lie == Lie::HidesTheEnd => Poll::Pending,
            received => received,
        }
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.poll_close(cx)
    }
}

impl<T> Liar<T> {
    /// Puts the lie into what was received.
    fn spoil(&self, frames: Vec<OutFrame>) -> Vec<OutFrame> {
        let mut spoilt = Vec::new();
        for mut frame in frames {
            let whole = frame.payload[1] & MORE == 0;
            let mut again = None;
            match frame.payload[0] {
                REQUEST if whole && self.lies(Lie::RunsTwice) => {
                    let place = Lane::new(frame.lane.number() + OTHER_PLACE);
                    again = Some(OutFrame::new(place, frame.end, frame.payload.clone()));
                }
                REQUEST if self.lies(Lie::Duplicates) => again = Some(frame.clone()),
                REQUEST if whole && self.lies(Lie::ChangesArguments) => {
                    let mut bytes = frame.payload.to_vec();
                    *bytes.last_mut().unwrap() ^= 1;
                    frame.payload = bytes.into();
                }
                REPLY if whole && self.lie == Lie::SwapsReplies => {
                    let of_other = |other: &&mut OutFrame| other.payload[..2] == frame.payload[..2];
                    if let Some(other) = spoilt.iter_mut().find(of_other) {
                        std::mem::swap(&mut other.payload, &mut frame.payload);
                    }
                }
                REPLY if frame.payload.len() > 4 && self.lies(Lie::LosesAReply) => continue,
                CLOSE if self.lie == Lie::HidesTheEnd => continue,
                _ => {}
            }
            spoilt.push(frame);
            spoilt.extend(again);
        }
        spoilt
    }
}

/// Keeps what arrives.
struct Frames {
    list: Vec<OutFrame>,
    frame_bytes_max: usize,
}

impl Inbox for Frames {
    fn push(&mut self, frame: InFrame<'_>) {
        let payload = frame.payload.as_slice().to_vec();
        self.list.push(OutFrame::new(frame.lane, frame.end, payload));
    }

    fn frame_bytes_max(&self) -> usize {
        self.frame_bytes_max
    }
}
