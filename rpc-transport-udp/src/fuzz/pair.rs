//! Fuzz target: two sessions, and a network that loses, repeats, delays, damages and forges as the
//! bytes say. What arrives is what was sent, once and in order; and when the network mends, all of it.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use rpc_core::transport::{InFrame, Inbox};

use super::Input;
use crate::proto::{
    packet,
    session::{Agreed, Arrived, Budget, Session, Side, Worth},
    tests::{
        craft::{self, EPOCH, ID},
        world::{PARAMS, Queue},
    },
};

/// So much time passes at most while things go wrong: less than sessions wait for a sign of life.
const FAULTS: Duration = Duration::from_secs(20);

/// By then everything has arrived.
const MENDED: Duration = Duration::from_secs(60);

/// Turns without any passing of time that are a livelock.
const TURNS_MAX: u32 = 20_000;

/// Reads what happens.
///
/// # Panics
/// If something is wrong.
pub fn pair(bytes: &[u8]) {
    let mut pair = Pair::new(Input::new(bytes));
    while !pair.input.is_empty() {
        pair.step();
        pair.check();
    }
    pair.mend();
}

/// Frames by lane.
type Frames = BTreeMap<u64, Vec<(bool, Vec<u8>)>>;

/// What one end has received, and what the other has sent.
#[derive(Debug, Default)]
struct Books {
    sent: Frames,
    received: BTreeMap<u64, usize>,
}

impl Inbox for Books {
    fn push(&mut self, frame: InFrame<'_>) {
        let lane = frame.lane.number();
        assert!(lane == 0 || self.received.contains_key(&0), "lane {lane} before the hello");
        let at = self.received.entry(lane).or_default();
        let sent = self.sent.get(&lane).and_then(|frames| frames.get(*at));
        let (end, bytes) = sent.expect("a frame that was sent");
        assert_eq!(*end, frame.end, "the end mark of frame {at} of lane {lane}");
        assert!(frame.payload.as_slice() == &bytes[..], "frame {at} of lane {lane}");
        *at += 1;
    }

    fn frame_bytes_max(&self) -> usize {
        65_536
    }
}

impl Books {
    /// Lanes of which frames haven't come, how many have, and how many were sent.
    fn missing(&self) -> Vec<(u64, usize, usize)> {
        let came = |lane| self.received.get(lane).copied().unwrap_or(0);
        let lanes = self.sent.iter().map(|(lane, frames)| (*lane, came(lane), frames.len()));
        lanes.filter(|(_, came, sent)| came != sent).collect()
    }
}

struct End {
    session: Session,
    queue: Queue,
    /// What comes to it.
    books: Books,
    has_ended: bool,
}

impl End {
    fn new(side: Side) -> Self {
        let agreed = Agreed {
            side,
            id: ID,
            epoch: EPOCH,
            remote: craft::peer(),
            ours: PARAMS,
            theirs: PARAMS,
            cookie: (side == Side::Client).then_some([1; 40]),
        };
        Self {
            session: Session::new(agreed, Budget::new(1 << 28), side as u64),
            queue: Queue::default(),
            books: Books::default(),
            has_ended: false,
        }
    }
}

struct Pair<'a> {
    input: Input<'a>,
    begin: Instant,
    now: Instant,
    /// The client, and the server.
    ends: [End; 2],
    /// Datagrams to each of the two.
    under_way: [Vec<Vec<u8>>; 2],
    /// Where the client's datagrams come from.
    client: SocketAddr,
}

impl<'a> Pair<'a> {
    fn new(input: Input<'a>) -> Self {
        let now = Instant::now();
        let mut pair = Self {
            input,
            begin: now,
            now,
            ends: [End::new(Side::Client), End::new(Side::Server)],
            under_way: Default::default(),
            client: craft::peer(),
        };
        (0..2).for_each(|from| pair.push(from, 0, false, 40));
        pair
    }

    fn push(&mut self, from: usize, lane: u64, end: bool, bytes: usize) {
        if self.ends[from].has_ended {
            return;
        }
        let frames = self.ends[1 - from].books.sent.entry(lane).or_default();
        if frames.last().is_some_and(|(end, _)| *end) {
            return;
        }
        let mark = u8::try_from(frames.len() % 251).expect("below 251");
        frames.push((end, vec![mark; bytes]));
        self.ends[from].queue.push(lane, end, vec![mark; bytes]);
    }

    fn step(&mut self) {
        let choice = self.input.u8();
        let side = usize::from(choice & 1);
        match choice >> 1 & 15 {
            0..=2 => {
                let (lane, length) = (self.input.u8(), self.input.u8());
                let bytes = match length {
                    0..=199 => length.into(),
                    200..=219 => 1100 + usize::from(length),
                    _ => 100 * usize::from(length),
                };
                self.push(side, (lane & 31).into(), lane & 0x80 != 0 && lane & 31 != 0, bytes);
            }
            3..=5 => self.send(side),
            6..=9 => self.meet_fate(side),
            10 => self.deliver_all(side),
            11 => self.forge(side),
            12 => {
                let time = Duration::from_micros(u64::from(self.input.u16()) * 8);
                self.pass(time);
            }
            13 => {
                let next = self.ends[side].session.poll_timeout();
                let time = next.map_or(Duration::ZERO, |at| at.saturating_duration_since(self.now));
                self.pass(time);
            }
            14 => self.ends[side].session.shrink(),
            _ => match self.input.u8() % 8 {
                0 => {
                    self.ends[side].session.end();
                    self.ends[side].has_ended = true;
                }
                1 => self.client.set_port(4000 + u16::from(self.input.u8())),
                2 => self.ends[side].session.handle_too_large(self.now, 1250),
                _ => self.pass(Duration::from_millis(300)),
            },
        }
    }

    fn send(&mut self, from: usize) {
        let end = &mut self.ends[from];
        while let Some(transmit) = end.session.poll_transmit(self.now, &mut end.queue, 16) {
            let datagrams = transmit.bytes.chunks(transmit.segment_bytes);
            self.under_way[1 - from].extend(datagrams.map(<[u8]>::to_vec));
            assert!(self.under_way[1 - from].len() < 20_000, "it sends without end");
        }
    }

    /// One datagram that is under way is lost, damaged, repeated, or arrives before others.
    fn meet_fate(&mut self, to: usize) {
        let at = self.input.size(self.under_way[to].len());
        if at >= self.under_way[to].len() {
            return;
        }
        match self.input.u8() % 8 {
            0 | 1 => _ = self.under_way[to].remove(at),
            2 => {
                let mut damaged = self.under_way[to].remove(at);
                let bit = self.input.size(damaged.len() * 8);
                damaged[bit / 8] ^= 1 << (bit % 8);
                let worth = self.deliver(to, &damaged, false);
                assert_eq!(worth, Worth::Nothing, "a damaged datagram counts");
            }
            3 => {
                let copy = self.under_way[to][at].clone();
                self.deliver(to, &copy, false);
            }
            choice => {
                let datagram = self.under_way[to].remove(at);
                self.deliver(to, &datagram, choice == 4);
                let again = self.deliver(to, &datagram, false);
                assert_eq!(again, Worth::Nothing, "a datagram counts twice");
            }
        }
    }

    fn deliver(&mut self, to: usize, bytes: &[u8], marked: bool) -> Worth {
        let from = if to == 1 { self.client } else { craft::peer() };
        let end = &mut self.ends[to];
        let arrived = Arrived { from, bytes, marked };
        let taken = end.session.handle_datagram(self.now, arrived, &mut end.books);
        taken.unwrap_or_else(|lost| panic!("an honest peer is given up: {lost}"))
    }

    fn deliver_all(&mut self, to: usize) {
        for datagram in std::mem::take(&mut self.under_way[to]) {
            self.deliver(to, &datagram, false);
        }
    }

    /// A datagram of somebody who doesn't know the session.
    fn forge(&mut self, to: usize) {
        let count = self.input.u8().into();
        let mut bytes = self.input.bytes(count).to_vec();
        bytes.resize(bytes.len().max(40), 0);
        if packet::decode_data(&bytes).is_some_and(|data| data.session == ID) {
            return;
        }
        let before = self.ends[to].session.inspect();
        assert_eq!(self.deliver(to, &bytes, false), Worth::Nothing);
        assert_eq!(self.ends[to].session.inspect(), before, "a forged datagram changes something");
    }

    fn pass(&mut self, time: Duration) {
        self.now = (self.now + time).min(self.begin + FAULTS);
        self.expire();
    }

    fn expire(&mut self) {
        for end in &mut self.ends {
            let timed = end.session.handle_timeout(self.now);
            timed.unwrap_or_else(|lost| panic!("a peer that is there is given up: {lost}"));
        }
    }

    fn check(&self) {
        for end in &self.ends {
            let inspected = end.session.inspect();
            assert!(inspected.gaps <= 2048 && inspected.ranges <= 64, "{inspected:?}");
            assert!(inspected.lanes_in <= 32 && inspected.lanes_out <= 32, "{inspected:?}");
            assert!(!inspected.is_over, "{inspected:?}");
        }
    }

    /// The network works from now on: everything arrives, and both come to rest.
    fn mend(&mut self) {
        self.ends.iter_mut().for_each(|end| end.session.end());
        let limit = self.now + MENDED;
        for turn in 0.. {
            assert!(turn < TURNS_MAX, "time stands still");
            self.expire();
            (0..2).for_each(|side| self.send(side));
            if !self.under_way.iter().all(Vec::is_empty) {
                (0..2).for_each(|side| self.deliver_all(side));
                continue;
            }
            let times = self.ends.iter().filter_map(|end| end.session.poll_timeout());
            let Some(next) = times.min().filter(|next| *next <= limit) else { break };
            self.now = next.max(self.now);
        }
        for end in &self.ends {
            let inspected = end.session.inspect();
            let left = end.books.missing();
            assert!(left.is_empty() && end.queue.is_empty(), "missing: {left:?}, {inspected:?}");
            assert!(end.session.is_sent() && end.session.is_received(), "{inspected:?}");
            assert!(inspected.is_at_rest(), "{inspected:?}");
        }
    }
}
