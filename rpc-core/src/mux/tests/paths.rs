//! A long path: what goes over 10 Gbit/s with a round trip of 1 ms, with default limits.

use std::collections::VecDeque;

use super::{streams::*, *};

/// What the path takes in a tick of 50 µs.
const TICK_BYTES: usize = 62_500;

/// How long frames are under way, in ticks: half a millisecond.
const TICKS: usize = 10;

/// When windows have grown, and for how long it is measured afterwards: 10 ms each.
const WARM_UP: usize = 200;
const MEASURED: usize = 200;

/// One direction.
#[derive(Default)]
struct Path {
    waits: VecDeque<OutFrame>,
    flies: VecDeque<(usize, OutFrame)>,
    /// What it may still take in this tick. A frame that is larger goes on in the next ones.
    room: isize,
}

impl Path {
    fn tick(&mut self) {
        self.room = self.room.min(0) + TICK_BYTES as isize;
    }

    /// Takes what is there, as long as it has room. Returns whether it took anything.
    fn take(&mut self, now: usize, from: &mut Side) -> bool {
        let before = self.room;
        while self.room > 0 {
            if self.waits.is_empty() && from.mux.has_frames() {
                self.waits.extend(from.draw_batch());
            }
            let Some(frame) = self.waits.pop_front() else { break };
            self.room -= (PREFIX_BYTES + frame.payload.len()) as isize;
            self.flies.push_back((now + TICKS, frame));
        }
        self.room < before
    }

    /// Hands over what has arrived. Returns how many bytes that was.
    fn give(&mut self, now: usize, to: &mut Side) -> usize {
        let mut bytes = 0;
        while self.flies.front().is_some_and(|(at, _)| *at <= now)
            && let Some((_, frame)) = self.flies.pop_front()
        {
            bytes += PREFIX_BYTES + frame.payload.len();
            to.take(&frame);
        }
        bytes
    }
}

/// How much of the path is used by a sender that always has something, and a reader that keeps up.
fn used(
    pair: &mut Pair,
    mut send: impl FnMut(&mut Side) -> bool,
    mut read: impl FnMut(&mut Side),
) -> f64 {
    let (mut there, mut back) = (Path::default(), Path::default());
    let mut bytes = 0;
    for now in 0..WARM_UP + MEASURED {
        there.tick();
        back.tick();
        while send(&mut pair.a) | there.take(now, &mut pair.a) {}
        let came = there.give(now, &mut pair.b);
        read(&mut pair.b);
        back.take(now, &mut pair.b);
        back.give(now, &mut pair.a);
        bytes += if now < WARM_UP { 0 } else { came };
    }
    bytes as f64 / (MEASURED * TICK_BYTES) as f64
}

#[test]
fn a_stream_keeps_10_gbit_and_1_ms_full() {
    for size in [500, 16_000, 64 * 1024, 1 << 20] {
        let (mut pair, id) = asking();
        let item = vec![7; size];
        let used = used(&mut pair, |a| a.send_item(id, &item), |b| drop(b.items(id)));
        assert!(used > 0.99, "items of {size} bytes use {used:.2} of it");
    }
}

#[test]
fn large_messages_keep_10_gbit_and_1_ms_full() {
    let mut pair = Pair::new();
    let want = Want { body: vec![7; 60_000_000], ..Want::default() };
    let mut calls = 0;
    let used = used(
        &mut pair,
        |a| {
            let next = calls < 2;
            if next {
                a.call_with(&want);
                calls += 1;
            }
            next
        },
        |_| {},
    );
    assert!(used > 0.99, "they use {used:.2} of it");
}
