//! Random bytes, and packets whose checksums are right and whose contents are whatever hurts: no
//! panic, and work and memory in bounds. Case T49 of `spec/cases.md`.
//!
//! `RPC_SEEDS=n` and `RPC_SEED=x` as in the simulation.

use std::time::{Duration, Instant};

use super::{
    craft::{self, Victim, Writer},
    sim::{Replay, number},
    world::{Config, PARAMS, Server},
};
use crate::proto::{
    packet::{self, Nonce},
    session::{Budget, Side},
    setup::SetUpClient,
};

/// Peers of an ordinary run, and how many packets each sends at most.
const SEEDS: u64 = 300;
const PACKETS: u32 = 300;

#[test]
fn a_peer_that_sends_whatever_hurts_panics_nobody_and_is_bounded() {
    let seeds = match number("RPC_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("RPC_SEEDS").unwrap_or(SEEDS),
    };
    let (mut peers, mut packets) = (0, 0);
    for seed in seeds {
        let _replay = Replay(seed, "fuzz");
        packets += u64::from(torment(seed));
        peers += 1;
    }
    eprintln!("{packets} packets");
    // Peers that break a rule at once are harmless, and no test.
    assert!(peers < 100 || packets > 50 * peers);
}

/// Sends to one session until it is over. Returns how many packets that took.
fn torment(seed: u64) -> u32 {
    let mut random = fastrand::Rng::with_seed(seed);
    let side = if random.bool() { Side::Client } else { Side::Server };
    let budget_bytes = if random.bool() { 256 << 20 } else { 100_000 };
    let mut victim = Victim::with(side, Budget::new(budget_bytes));
    for _ in 0..random.usize(..5000) {
        let (lane, bytes) = (random.u64(..20), random.usize(..1500));
        victim.queue.push(lane, false, vec![0; bytes]);
    }
    if random.u8(..4) == 0 {
        victim.session.end();
    }
    // Many peers keep to most rules, so that they get far.
    let wild = *[0, 1, 10, 200].get(random.usize(..4)).unwrap();
    let mut peer = Peer::default();
    for count in 0..PACKETS {
        peer.reach(&mut victim);
        let frames = peer.frames(&mut random, wild);
        let from = match random.u8(..20) {
            0 => craft::elsewhere(random.u16(1..4)),
            _ => craft::peer(),
        };
        if random.u32(..1000) < wild {
            victim.pn = random.u64(..1 << 33);
        }
        let mut datagram = victim.packet(victim.pn, &frames);
        victim.pn += 1 + u64::from(random.u8(..10) == 0);
        if random.u32(..1000) < wild {
            let at = random.usize(8..datagram.len());
            datagram[at] = random.u8(..);
            packet::seal(&mut datagram);
        }
        let taken = victim.take_bytes(from, &datagram);
        let pause = Duration::from_micros(random.u64(..30_000) * u64::from(random.bool()));
        let passed = victim.pass(pause);
        check(&victim);
        match passed {
            Ok(sent) => peer.note(&sent),
            Err(_) => return count,
        }
        if taken.is_err() || victim.session.inspect().is_over {
            assert_eq!(victim.session.poll_timeout(), None);
            return count;
        }
    }
    PACKETS
}

/// What is held and waited for is bounded.
pub(crate) fn check(victim: &Victim) {
    let inspected = victim.session.inspect();
    let window = usize::try_from(inspected.congestion_window).unwrap();
    assert!(inspected.sent_entries < 1000 + window / 40, "{inspected:?}");
    assert!(inspected.held_bytes <= 65_536 + 4097 * (1120 + 64), "{inspected:?}");
    assert!(inspected.gaps <= 2048 && inspected.ranges <= 64, "{inspected:?}");
    assert!(inspected.resends < 1000 + window / 40, "{inspected:?}");
    assert!(inspected.timer.is_none_or(|at| at > victim.now), "{inspected:?}");
}

/// What a hostile peer knows and has sent.
#[derive(Debug, Default)]
struct Peer {
    /// The next number of its frames, and the next place in each of some lanes.
    number: u64,
    lanes: [u64; 8],
    /// The lane of which a frame is being sent in pieces.
    cut: Option<usize>,
    /// Frames that were left out, for later.
    late: Vec<Writer>,
    /// The numbers of packets that came from the victim last.
    came: Vec<u64>,
    question: [u8; 8],
    window: u64,
}

impl Peer {
    fn reach(&mut self, victim: &mut Victim) {
        let sent = victim.sends();
        self.note(&sent);
    }

    fn note(&mut self, sent: &[(std::net::SocketAddr, Vec<u8>)]) {
        for (_, datagram) in sent {
            assert!(packet::check(datagram) && (40..=1452).contains(&datagram.len()));
            let data = packet::decode_data(datagram).unwrap();
            self.came.push(data.pn32.into());
            if let Some((4, question)) = data.frames.split_first() {
                self.question = question[..8].try_into().unwrap();
            }
        }
    }

    /// A few frames. `wild` in a thousand of their numbers are lies.
    fn frames(&mut self, random: &mut fastrand::Rng, wild: u32) -> Writer {
        let mut frames = Writer::new();
        for _ in 0..random.u8(1..6) {
            let lies = random.u32(..1000) < wild;
            // So that another frame fits.
            if frames.0.len() > 1452 - 20 - 1139 {
                break;
            }
            frames = match random.u8(..20) {
                0..=8 => self.lane(random, lies, frames),
                9..=14 => self.ack(random, lies, frames),
                15 => frames.ping(),
                16 => frames.challenge(random.u64(..).to_le_bytes()),
                17 => frames.answer(if lies { [7; 8] } else { self.question }),
                18 if lies => frames.fin(self.number.wrapping_add(random.u64(..3))),
                19 if lies => frames.raw(&random.u64(..).to_le_bytes()),
                _ => frames,
            };
        }
        frames
    }

    fn lane(&mut self, random: &mut fastrand::Rng, lies: bool, frames: Writer) -> Writer {
        if self.late.len() > random.usize(1..30) {
            let at = random.usize(..self.late.len());
            return frames.raw(&self.late.swap_remove(at).0);
        }
        let is_hello = self.number == 0;
        let any = if is_hello { 0 } else { random.usize(..self.lanes.len()) };
        let lane = self.cut.unwrap_or(any);
        let mut number = self.number;
        let mut place = self.lanes[lane];
        if lies {
            let steps = [0, 1, 2, 4095, 4096, 1 << 31, u64::from(u32::MAX)];
            let step = steps[random.usize(..steps.len())];
            match random.u8(..3) {
                0 => number = number.wrapping_add(step),
                1 => number = number.wrapping_sub(step),
                _ => place = place.wrapping_add(step),
            }
        } else {
            self.number += 1;
            self.lanes[lane] += 1;
        }
        let bytes = if random.u8(..10) == 0 { 1120 } else { random.usize(1..100) };
        let payload = vec![9; bytes];
        let out = Writer::new();
        // Lanes that have ended aren't used again by who keeps to the rules.
        let frame = match random.u8(..20) {
            0 if lies => out.last(number, lane as u64, place, &payload),
            1..=5 if !is_hello => {
                self.cut = Some(lane);
                out.piece(number, lane as u64, place, &payload)
            }
            _ => {
                self.cut = None;
                out.lane(number, lane as u64, place, &payload)
            }
        };
        if random.u8(..10) == 0 {
            self.late.push(frame);
            return frames;
        }
        frames.raw(&frame.0)
    }

    fn ack(&mut self, random: &mut fastrand::Rng, lies: bool, frames: Writer) -> Writer {
        let Some(before) = self.came.len().checked_sub(1 + random.usize(..3)) else {
            return frames;
        };
        let mut largest = self.came[before];
        let mut window = self.window + 4096;
        let mut further = Vec::new();
        let mut first = u16::from(before > 0 && self.came[before - 1] + 1 == largest);
        if lies {
            largest = largest.wrapping_add(random.u64(..6));
            first = random.u16(..300);
            window = window.wrapping_add(1 << random.u8(..40));
            further = (0..random.u8(..40)).map(|_| (random.u16(..3), random.u16(..300))).collect();
        } else {
            self.window += random.u64(..20);
        }
        frames.ack_with(largest, first, &further, random.u16(..), window)
    }
}

#[test]
fn random_bytes_panic_nobody_and_begin_nothing() {
    let now = Instant::now();
    let mut random = fastrand::Rng::with_seed(1);
    let mut server = Server::new(now, Config::DEFAULT, fastrand::Rng::with_seed(2));
    let mut victims = [Victim::new(Side::Client), Victim::new(Side::Server)];
    let setup = SetUpClient::new(now, craft::peer(), PARAMS, Nonce(1));
    let rounds = if cfg!(debug_assertions) { 40_000 } else { 1_000_000 };
    for _ in 0..rounds {
        let mut bytes = vec![0; random.usize(..200)];
        random.fill(&mut bytes);
        if random.bool() && bytes.len() >= 40 {
            // One of ours by its first bytes, with a checksum that is right.
            bytes[0] = 0x41 | random.u8(..) & 0x38;
            bytes[1] = random.u8(..5);
            if random.bool() {
                bytes[2..4].copy_from_slice(&craft::EPOCH.low16().to_le_bytes());
                bytes[8..16].copy_from_slice(&craft::ID.0.to_le_bytes());
            }
            packet::seal(&mut bytes);
        }
        server.table.handle_datagram(1, craft::peer(), &bytes);
        assert!(setup.handle_datagram(&bytes).is_none_or(|answer| answer.is_err()));
        for victim in &mut victims {
            if victim.take_bytes(craft::peer(), &bytes).is_err() {
                victim.sends();
                let side = if random.bool() { Side::Client } else { Side::Server };
                *victim = Victim::new(side);
            }
            victim.sends();
        }
    }
    assert_eq!(server.table.len(), 0);
}
