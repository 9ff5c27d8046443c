//! What is sent and what has to arrive: frames that follow from their place, so that whoever gets
//! one knows whether it is right; no sessions.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    fmt,
};

use rpc_core::transport::{InFrame, Inbox};

use crate::proto::session::Source;

/// All frames of one direction of one session.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Script {
    /// Which session and direction.
    pub(crate) tag: u64,
    /// The most frames of a lane, and the most bytes of one.
    pub(crate) frames_max: u64,
    pub(crate) bytes_max: usize,
}

impl Script {
    fn draw(&self, lane: u64, index: u64) -> u64 {
        mix(mix(mix(self.tag) ^ lane) ^ index)
    }

    /// How many frames the lane has.
    pub(crate) fn frames(&self, lane: u64) -> u64 {
        let draw = self.draw(lane, u64::MAX);
        match (lane, draw % 4) {
            // Hello and close.
            (0, _) => 2,
            (_, 0) => 1 + (draw >> 8) % self.frames_max,
            _ => 1 + (draw >> 8) % self.frames_max.min(3),
        }
    }

    fn bytes(&self, lane: u64, index: u64) -> usize {
        let draw = self.draw(lane, index);
        let of = |max: usize| usize::try_from((draw >> 8) % (max as u64 + 1)).unwrap_or(0);
        match draw % 8 {
            0..=3 => of(60),
            4 | 5 => of(1120),
            6 => 1120,
            _ => of(self.bytes_max),
        }
    }

    pub(crate) fn payload(&self, lane: u64, index: u64) -> Vec<u8> {
        let mut bytes = vec![0; self.bytes(lane, index)];
        fastrand::Rng::with_seed(self.draw(lane, index)).fill(&mut bytes);
        bytes
    }
}

/// The finalizer of SplitMix64.
pub(crate) fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}

/// Frames that wait to be sent.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    frames: VecDeque<(u64, bool, Vec<u8>)>,
    /// Lanes of which the first frame was taken since this was looked at.
    pub(crate) begun: Vec<u64>,
    /// Frames that were taken.
    pub(crate) taken: u64,
    last_lane: HashSet<u64>,
}

impl Queue {
    pub(crate) fn push(&mut self, lane: u64, end: bool, bytes: Vec<u8>) {
        self.frames.push_back((lane, end, bytes));
    }

    /// Queues all frames of a lane.
    pub(crate) fn push_lane(&mut self, script: &Script, lane: u64) {
        let frames = script.frames(lane);
        for index in 0..frames {
            self.push(lane, index + 1 == frames, script.payload(lane, index));
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }
}

impl Source for Queue {
    fn peek(&self) -> Option<(u64, bool, usize)> {
        self.frames.front().map(|(lane, end, bytes)| (*lane, *end, bytes.len()))
    }

    fn take(&mut self, out: &mut Vec<u8>) {
        if let Some((lane, _, bytes)) = self.frames.pop_front() {
            out.extend_from_slice(&bytes);
            self.taken += 1;
            if self.last_lane.insert(lane) {
                self.begun.push(lane);
            }
        }
    }

    fn remaining(&self) -> usize {
        self.frames.iter().take(64).map(|(_, _, bytes)| bytes.len() + 12).sum()
    }
}

/// What one end has received; panics when it isn't what was sent.
pub(crate) struct Books {
    script: Script,
    /// The next frame of each lane that hasn't ended.
    next: BTreeMap<u64, u64>,
    finished: HashSet<u64>,
    /// Lanes that have ended since this was looked at.
    pub(crate) ended: Vec<u64>,
    /// Frames that came.
    pub(crate) frames: u64,
    /// Nothing is to come any more.
    pub(crate) is_closed: bool,
}

impl fmt::Debug for Books {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} frames, the next ones of lanes {:?}", self.frames, self.next)
    }
}

impl Books {
    pub(crate) fn new(script: Script) -> Self {
        Self {
            script,
            next: BTreeMap::new(),
            finished: HashSet::new(),
            ended: Vec::new(),
            frames: 0,
            is_closed: false,
        }
    }
}

impl Inbox for Books {
    fn push(&mut self, frame: InFrame<'_>) {
        let lane = frame.lane.number();
        assert!(!self.is_closed, "a frame of lane {lane} after the end of all");
        assert!(self.frames > 0 || lane == 0, "lane {lane} before the hello");
        assert!(!self.finished.contains(&lane), "a frame after the end of lane {lane}");
        let next = self.next.entry(lane).or_default();
        let index = *next;
        *next += 1;
        let payload = frame.payload.as_slice();
        let expected = self.script.payload(lane, index);
        assert!(payload == expected, "frame {index} of lane {lane} isn't what was sent");
        let is_last = index + 1 == self.script.frames(lane);
        assert_eq!(frame.end, is_last, "the end mark of frame {index} of lane {lane}");
        self.frames += 1;
        if is_last {
            self.next.remove(&lane);
            self.finished.insert(lane);
            self.ended.push(lane);
        }
    }

    fn frame_bytes_max(&self) -> usize {
        self.script.bytes_max.max(1120)
    }
}
