//! How much is sent again where a fifth of all datagrams is lost: less than what was needed at all. The
//! case's number is that of `spec/cases.md`.

use std::{collections::BTreeSet, time::Duration};

use super::world::{Config, Faults, Habits, Link, Outcome, World};
use crate::proto::{
    frame::{Frame, Frames},
    packet::{FRAME_HEADER_BYTES, decode_data},
};

/// What went in one direction.
#[derive(Debug, Default, Clone, Copy)]
struct Sent {
    /// Bytes of datagrams.
    bytes: usize,
    /// Bytes of lane frames, those that were sent again as often as they were; and once.
    frames: usize,
    needed: usize,
}

impl Sent {
    fn of(link: &mut Link) -> Self {
        let (mut sent, mut seen) = (Self::default(), BTreeSet::new());
        for datagram in link.record.take().into_iter().flatten() {
            sent.bytes += datagram.len();
            let Some(data) = decode_data(&datagram) else { continue };
            for frame in Frames::new(data.frames).map_while(Result::ok) {
                let Frame::Data(frame) = frame else { continue };
                let bytes = FRAME_HEADER_BYTES + frame.payload.len();
                sent.frames += bytes;
                sent.needed += if seen.insert(frame.number) { bytes } else { 0 };
            }
        }
        sent
    }
}

/// Lets a client make calls over a path with these faults. Returns what was sent until all were answered,
/// to the server and to the client.
fn sent(faults: Faults, habits: Habits, frames_max: u64) -> [Sent; 2] {
    let mut world = World::new(3, Config { frames_max, ..Config::DEFAULT });
    world.add_client(faults, faults, habits);
    world.clients[0].up.record = Some(Vec::new());
    world.clients[0].down.record = Some(Vec::new());
    assert!(world.run_until(Duration::from_secs(3000), |world| world.clients[0].is_finished()));
    let client = &mut world.clients[0];
    assert!(client.calls.iter().all(|call| call.outcome == Some(Outcome::Done)), "{client:?}");
    [Sent::of(&mut client.up), Sent::of(&mut client.down)]
}

#[test]
fn less_is_sent_again_than_was_needed_where_a_fifth_is_lost() {
    // r[verify loss.pto] r[verify loss.detect]
    // Case U12.
    let alone = Faults { lose: 200, ..Faults::NONE };
    let calls = |calls, width| Habits { calls, width, pause: Duration::ZERO };
    for (what, habits, frames_max) in [
        ("one call at a time", calls(300, 1), 1),
        ("many calls at a time", calls(800, 64), 4),
        ("large calls", calls(40, 8), 400),
    ] {
        let perfect = sent(Faults::NONE, habits, frames_max);
        for burst in [1, 3] {
            let lossy = sent(Faults { burst, ..alone }, habits, frames_max);
            for (lossy, perfect) in lossy.into_iter().zip(perfect) {
                let seen = format!("{what}, {burst} lost in a row: {lossy:?}, else {perfect:?}");
                eprintln!("{seen}");
                assert_eq!(perfect.frames, perfect.needed, "nothing is lost: {seen}");
                // Fewer would show that nothing was lost.
                assert!(8 * lossy.frames > 9 * lossy.needed, "{seen}");
                assert!(lossy.frames < 2 * lossy.needed, "{seen}");
                // Each run has other calls: what counts is what is sent for each byte.
                assert!(lossy.bytes * perfect.needed < 2 * perfect.bytes * lossy.needed, "{seen}");
            }
        }
    }
}
