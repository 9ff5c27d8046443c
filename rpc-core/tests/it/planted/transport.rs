//! The memory transport with one bug in it.

use std::{
    cell::Cell,
    collections::VecDeque,
    io,
    iter::from_fn,
    mem,
    task::{Context, Poll, Waker, ready},
};

use rpc_core::transport::{
    Address, Batch, InFrame, Inbox, OutFrame, Peer, Received, Transport, TransportError,
    memory::{self, MemoryTransport},
};

/// The frames of a transport that wants those of a datagram.
const WANTED_BYTES: usize = 1120;

/// What is wrong with a transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bug {
    /// The control: nothing is.
    None,
    Truncates,
    Merges,
    Corrupts,
    CutsWhatIsLarge,
    Duplicates,
    Swaps,
    DelaysTheHello,
    LosesTheEndMark,
    InventsAnEndMark,
    LosesOneFrame,
    LosesTheLastFrames,
    HidesALoss,
    ReportsALossAsAnEnd,
    EndsBothDirections,
    IsNeverFull,
    SendsWhatItLeaves,
    IsReadyTooEarly,
    ChangesItsPeer,
    IgnoresTheLimit,
    LosesAReceiversWakeUp,
    LosesASendersWakeUp,
    KeepsTheFirstWaker,
    LosesAFrameWhenPolledTwice,
}

/// The memory transport with a bug.
pub(super) struct Planted {
    inner: MemoryTransport,
    bug: Bug,
    /// What was taken and is being sent.
    backlog: VecDeque<Batch>,
    /// How many frames were taken.
    taken: usize,
    /// How many frames were sent that are still in the caller's batch.
    ahead: usize,
    closed: bool,
    /// How often in a row there was nothing to receive.
    in_vain: usize,
    first_waker: Option<Waker>,
    asked_for_peer: Cell<u16>,
}

impl Planted {
    pub(super) fn pair(bug: Bug) -> (Self, Self) {
        let (a, b) = memory::pair();
        let planted = |inner| Self {
            inner,
            bug,
            backlog: VecDeque::new(),
            taken: 0,
            ahead: 0,
            closed: false,
            in_vain: 0,
            first_waker: None,
            asked_for_peer: Cell::new(0),
        };
        (planted(a), planted(b))
    }

    /// Takes the frames of a batch, and puts the bug into them.
    fn take(&mut self, batch: &mut Batch) -> Batch {
        let mut frames: Vec<OutFrame> = from_fn(|| batch.next_frame()).collect();
        let before = self.taken;
        self.taken += frames.len();
        // A hello alone goes through, so that the bug is met in company.
        let spared = before == 0 && frames.len() == 1;
        let Some(last) = frames.last_mut().filter(|_| !spared) else {
            return frames.into_iter().collect();
        };
        match self.bug {
            Bug::Truncates => last.payload.truncate(last.payload.len() - 1),
            Bug::Corrupts => {
                let mut bytes = last.payload.to_vec();
                *bytes.last_mut().unwrap() ^= 0x80;
                last.payload = bytes.into();
            }
            Bug::CutsWhatIsLarge => last.payload.truncate(WANTED_BYTES),
            Bug::Duplicates => {
                let twice = last.clone();
                frames.push(twice);
            }
            Bug::LosesTheEndMark => last.end = false,
            Bug::InventsAnEndMark => last.end = true,
            Bug::LosesOneFrame if before < 30 && self.taken >= 30 => drop(frames.pop()),
            Bug::LosesTheLastFrames if self.taken > 100 => frames.clear(),
            Bug::DelaysTheHello if before == 0 => frames.swap(0, 1),
            Bug::Swaps | Bug::Merges => self.spoil_two(&mut frames),
            _ => {}
        }
        frames.into_iter().collect()
    }

    /// Spoils two frames of one lane, if there are two.
    fn spoil_two(&self, frames: &mut Vec<OutFrame>) {
        let two = (1..frames.len()).find_map(|second| {
            let first = (0..second).find(|first| frames[*first].lane == frames[second].lane)?;
            Some((first, second))
        });
        let Some((first, second)) = two else { return };
        if self.bug == Bug::Swaps {
            frames.swap(first, second);
        } else {
            let second = frames.remove(second);
            let first = &mut frames[first];
            first.payload = [&first.payload[..], &second.payload[..]].concat().into();
        }
    }

    fn poll_backlog(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(batch) = self.backlog.front_mut() {
            ready!(self.inner.poll_send(cx, batch))?;
            self.backlog.pop_front();
        }
        Poll::Ready(Ok(()))
    }

    /// Sends frames, and pretends that half of them are still in the batch.
    fn poll_send_ahead(&mut self, cx: &mut Context<'_>, batch: &mut Batch) -> Poll<io::Result<()>> {
        let mut frames: VecDeque<_> = from_fn(|| batch.next_frame()).collect();
        let mut rest: Batch = frames.iter().skip(self.ahead).cloned().collect();
        let sent = self.inner.poll_send(cx, &mut rest);
        let left = from_fn(|| rest.next_frame()).count();
        self.ahead = 0;
        if sent.is_pending() {
            frames.drain(..(frames.len() - left) / 2);
            self.ahead = frames.len() - left;
            *batch = frames.into_iter().collect();
        }
        sent
    }

    /// The waker that is registered when `cx` is given.
    fn waker(&mut self, cx: &Context<'_>, receiving: bool) -> Waker {
        match self.bug {
            Bug::LosesAReceiversWakeUp if receiving => Waker::noop().clone(),
            Bug::LosesASendersWakeUp if !receiving => Waker::noop().clone(),
            Bug::KeepsTheFirstWaker => {
                self.first_waker.get_or_insert_with(|| cx.waker().clone()).clone()
            }
            _ => cx.waker().clone(),
        }
    }
}

impl Transport for Planted {
    fn peer(&self) -> Peer {
        if self.bug != Bug::ChangesItsPeer {
            return self.inner.peer();
        }
        let port = self.asked_for_peer.get() + 1;
        self.asked_for_peer.set(port);
        Peer::new(Address::Socket(([127, 0, 0, 1], port).into()))
    }

    fn frame_bytes(&self) -> usize {
        if self.bug == Bug::CutsWhatIsLarge { WANTED_BYTES } else { self.inner.frame_bytes() }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, batch: &mut Batch) -> Poll<io::Result<()>> {
        let waker = self.waker(cx, false);
        let cx = &mut Context::from_waker(&waker);
        match self.bug {
            Bug::SendsWhatItLeaves => return self.poll_send_ahead(cx, batch),
            Bug::IsReadyTooEarly => {
                let _pending = self.inner.poll_send(cx, batch)?;
                return Poll::Ready(Ok(()));
            }
            _ => {}
        }
        if self.bug != Bug::IsNeverFull {
            ready!(self.poll_backlog(cx))?;
        }
        let batch = self.take(batch);
        self.backlog.push_back(batch);
        match self.poll_backlog(cx) {
            Poll::Pending if self.bug == Bug::IsNeverFull => Poll::Ready(Ok(())),
            sent => sent,
        }
    }

    fn poll_recv<I: Inbox>(
        &mut self,
        cx: &mut Context<'_>,
        inbox: &mut I,
    ) -> Poll<Result<Received, TransportError>> {
        if self.closed && self.bug == Bug::EndsBothDirections {
            return Poll::Ready(Ok(Received::End));
        }
        let waker = self.waker(cx, true);
        let loses = self.bug == Bug::LosesAFrameWhenPolledTwice && self.in_vain > 1;
        let mut inbox = PlantedInbox { inbox, bug: self.bug, loses };
        let received = self.inner.poll_recv(&mut Context::from_waker(&waker), &mut inbox);
        self.in_vain = if received.is_pending() { self.in_vain + 1 } else { 0 };
        match (self.bug, received) {
            (Bug::HidesALoss, Poll::Ready(Err(TransportError::Io(_)))) => Poll::Pending,
            (Bug::ReportsALossAsAnEnd, Poll::Ready(Err(TransportError::Io(_)))) => {
                Poll::Ready(Ok(Received::End))
            }
            (_, received) => received,
        }
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.closed = true;
        self.inner.poll_close(cx)
    }
}

/// An inbox behind the bug.
struct PlantedInbox<'a, I> {
    inbox: &'a mut I,
    bug: Bug,
    loses: bool,
}

impl<I: Inbox> Inbox for PlantedInbox<'_, I> {
    fn push(&mut self, frame: InFrame<'_>) {
        if !mem::take(&mut self.loses) {
            self.inbox.push(frame);
        }
    }

    fn frame_bytes_max(&self) -> usize {
        if self.bug == Bug::IgnoresTheLimit { usize::MAX } else { self.inbox.frame_bytes_max() }
    }
}
