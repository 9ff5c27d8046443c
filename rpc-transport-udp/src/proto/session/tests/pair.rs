//! Two sessions and a link, driven in virtual time, with books of every frame.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    time::{Duration, Instant},
};

use rpc_core::transport::{InFrame, Inbox};

pub(super) use super::link::Faults;
use super::link::Link;
use crate::proto::{
    packet::{Epoch, Params, SessionId},
    session::{Agreed, Arrived, Budget, Session, Side, Source},
};

/// Frames that wait to be sent: their lanes, whether they end them, their bytes.
#[derive(Debug, Default)]
pub(super) struct Queue {
    frames: VecDeque<(u64, bool, Vec<u8>)>,
}

impl Source for Queue {
    fn peek(&self) -> Option<(u64, bool, usize)> {
        self.frames.front().map(|(lane, end, bytes)| (*lane, *end, bytes.len()))
    }

    fn take(&mut self, out: &mut Vec<u8>) {
        if let Some((_, _, bytes)) = self.frames.pop_front() {
            out.extend_from_slice(&bytes);
        }
    }

    fn remaining(&self) -> usize {
        self.frames.iter().take(64).map(|(_, _, bytes)| bytes.len() + 12).sum()
    }
}

/// What one end has received, by lane.
#[derive(Debug, Default)]
pub(super) struct Books {
    lanes: BTreeMap<u64, Vec<(bool, Vec<u8>)>>,
    first: Option<u64>,
}

impl Inbox for Books {
    fn push(&mut self, frame: InFrame<'_>) {
        let lane = frame.lane.number();
        self.first.get_or_insert(lane);
        let bytes = frame.payload.as_slice().to_vec();
        self.lanes.entry(lane).or_default().push((frame.end, bytes));
    }

    fn frame_bytes_max(&self) -> usize {
        65_536
    }
}

/// One end.
#[derive(Debug)]
pub(super) struct End {
    pub(super) session: Session,
    pub(super) queue: Queue,
    sent: BTreeMap<u64, Vec<(bool, Vec<u8>)>>,
    pub(super) books: Books,
    random: fastrand::Rng,
}

impl End {
    fn new(side: Side, seed: u64) -> Self {
        let address: SocketAddr = "127.0.0.1:7000".parse().unwrap();
        let params = Params { datagram_bytes: 1452, ack_delay_ms: 5, window: 4096, features: 0 };
        let agreed = Agreed {
            side,
            id: SessionId(7),
            epoch: Epoch(9),
            remote: address,
            ours: params,
            theirs: params,
            cookie: (side == Side::Client).then_some([1; 40]),
        };
        let session = Session::new(agreed, Budget::new(1 << 28), seed);
        let mut end = Self {
            session,
            queue: Queue::default(),
            sent: BTreeMap::new(),
            books: Books::default(),
            random: fastrand::Rng::with_seed(seed),
        };
        end.push(0, false, vec![0; 40]);
        end
    }

    fn push(&mut self, lane: u64, end: bool, bytes: Vec<u8>) {
        self.sent.entry(lane).or_default().push((end, bytes.clone()));
        self.queue.frames.push_back((lane, end, bytes));
    }

    /// Queues `count` frames of at most `bytes` bytes on each of as many lanes as fit.
    pub(super) fn queue(&mut self, lanes: u64, bytes: usize, count: u64) {
        for n in 0..count {
            for lane in 1..=lanes {
                let length = if bytes >= 1000 { bytes } else { self.random.usize(..=bytes) };
                let content = (0..length).map(|_| self.random.u8(..)).collect();
                self.push(lane, n + 1 == count, content);
            }
        }
    }
}

/// What happened on the way.
#[derive(Debug)]
pub(super) struct Stats {
    pub(super) lost: u64,
}

/// Two ends and the links between them.
#[derive(Debug)]
pub(super) struct Pair {
    begin: Instant,
    now: Instant,
    pub(super) client: End,
    pub(super) server: End,
    up: Link,
    down: Link,
}

impl Pair {
    pub(super) fn new(seed: u64, faults: Faults) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let now = Instant::now();
        let delay = Duration::from_millis(random.u64(1..30));
        Self {
            begin: now,
            now,
            client: End::new(Side::Client, random.u64(..)),
            server: End::new(Side::Server, random.u64(..)),
            up: Link::new(faults, delay, random.fork()),
            down: Link::new(faults, delay, random.fork()),
        }
    }

    /// Runs until both ends have everything, or two minutes have passed.
    pub(super) fn run(&mut self) {
        self.client.session.end();
        self.server.session.end();
        let limit = self.begin + Duration::from_secs(120);
        while self.now < limit {
            Self::turn(self.now, &mut self.client, &mut self.up, &mut self.down);
            Self::turn(self.now, &mut self.server, &mut self.down, &mut self.up);
            let times = [
                self.up.next_at(),
                self.down.next_at(),
                self.client.session.poll_timeout(),
                self.server.session.poll_timeout(),
            ];
            let Some(next) = times.into_iter().flatten().min() else { return };
            self.now = next.max(self.now + Duration::from_micros(1));
        }
    }

    fn turn(now: Instant, end: &mut End, out: &mut Link, into: &mut Link) {
        let from = end.session.remote();
        while let Some(bytes) = into.receive(now) {
            let arrived = Arrived { from, bytes: &bytes, marked: false };
            end.session.handle_datagram(now, arrived, &mut end.books).unwrap();
        }
        end.session.handle_timeout(now).unwrap();
        while let Some(transmit) = end.session.poll_transmit(now, &mut end.queue, 64) {
            for datagram in transmit.bytes.chunks(transmit.segment_bytes) {
                out.send(now, datagram);
            }
        }
    }

    #[track_caller]
    pub(super) fn check_complete(&self) {
        for (from, to) in [(&self.client, &self.server), (&self.server, &self.client)] {
            assert_eq!(to.books.first, Some(0), "the hello first");
            for (lane, frames) in &from.sent {
                assert!(to.books.lanes.get(lane) == Some(frames), "lane {lane} differs");
            }
            assert!(from.session.is_sent(), "not everything is acknowledged: {:?}", from.session);
            assert!(to.session.is_received());
        }
    }

    pub(super) fn stats(&self) -> Stats {
        Stats { lost: self.up.lost + self.down.lost }
    }
}
