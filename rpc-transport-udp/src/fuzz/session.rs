//! Fuzz target: a session whose peer seals whatever it likes. It panics never, and what it holds and
//! sends is bounded.

use std::time::Duration;

use super::Input;
use crate::proto::{
    packet,
    session::{Budget, Side},
    tests::{
        check,
        craft::{self, Victim, Writer},
    },
};

/// Reads what the two of them do.
///
/// # Panics
/// If something is wrong.
pub fn session(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let choice = input.u8();
    let side = if choice & 1 == 0 { Side::Client } else { Side::Server };
    let budget_bytes = if choice & 2 == 0 { 256 << 20 } else { 5_000 };
    let mut victim = Victim::with(side, Budget::new(budget_bytes));
    let mut peer = Peer::default();
    while !input.is_empty() {
        let sent = victim.sends();
        peer.note(&sent);
        let goes_on = match input.u8() % 16 {
            0..=9 => peer.send(&mut input, &mut victim),
            10 | 11 => {
                // Frames may be larger than a datagram.
                let (lane, bytes) = (input.u8() % 8, input.size(3000));
                victim.push(lane.into(), bytes);
                true
            }
            choice => own(&mut input, &mut victim, &mut peer, choice),
        };
        // Whatever happened, what is due is done before time is asked for again.
        let passed = victim.pass(Duration::ZERO).map(|sent| peer.note(&sent));
        check(&victim);
        if !goes_on || passed.is_err() || victim.session.inspect().is_over {
            break;
        }
    }
    // What it says to the end is bounded as well.
    victim.session.abort();
    victim.sends();
    check(&victim);
}

/// Something that the victim does by itself. Returns whether the session goes on.
fn own(input: &mut Input<'_>, victim: &mut Victim, peer: &mut Peer, choice: u8) -> bool {
    match choice {
        12 | 13 => {
            let time = Duration::from_micros(u64::from(input.u16()) * 100);
            match victim.pass(time) {
                Ok(sent) => peer.note(&sent),
                Err(_) => return false,
            }
        }
        14 => victim.session.handle_too_large(victim.now, 1200 + input.size(300)),
        _ => match input.u8() % 8 {
            0 => victim.session.end(),
            1 => victim.session.abort(),
            2 => victim.session.greet(),
            _ => victim.session.shrink(),
        },
    }
    true
}

/// What a hostile peer knows and has sent: so much of the protocol as it needs to get far.
#[derive(Debug, Default)]
struct Peer {
    /// The next number of its frames, and the next place in each of some lanes.
    number: u64,
    places: [u64; 8],
    /// The numbers of packets that came from the victim.
    came: Vec<u64>,
    question: [u8; 8],
}

impl Peer {
    fn note(&mut self, sent: &[(std::net::SocketAddr, Vec<u8>)]) {
        for (_, datagram) in sent {
            assert!(packet::check(datagram) && (40..=1452).contains(&datagram.len()));
            let data = packet::decode_data(datagram).expect("a data packet");
            self.came.push(data.pn32.into());
            if let Some((4, question)) = data.frames.split_first() {
                self.question = *question.first_chunk().expect("a whole question");
            }
        }
    }

    /// One packet. Returns whether the session goes on.
    fn send(&mut self, input: &mut Input<'_>, victim: &mut Victim) -> bool {
        let choice = input.u8();
        let mut frames = Writer::new();
        for _ in 0..=choice & 3 {
            // So that another frame fits.
            if frames.0.len() < 280 {
                frames = self.frame(input, frames);
            }
        }
        let from = match choice >> 2 & 7 {
            0 => craft::elsewhere(u16::from(input.u8() & 3)),
            _ => craft::peer(),
        };
        if choice & 0x20 != 0 {
            victim.pn = victim.pn.wrapping_add_signed(i64::from(input.u8()) - 4);
        }
        let mut datagram = victim.packet(victim.pn, &frames);
        victim.pn = victim.pn.wrapping_add(1);
        if choice & 0xc0 == 0xc0 {
            let at = 8 + input.size(datagram.len() - 8);
            datagram[at] ^= input.u8();
            packet::seal(&mut datagram);
        }
        victim.take_bytes(from, &datagram).is_ok()
    }

    fn frame(&mut self, input: &mut Input<'_>, frames: Writer) -> Writer {
        match input.u8() % 16 {
            0..=6 => self.lane(input, frames),
            7..=10 => self.ack(input, frames),
            11 => frames.ping(),
            12 => frames.challenge([input.u8(); 8]),
            13 => frames.answer(if input.u8() & 1 == 0 { self.question } else { [1; 8] }),
            14 => match input.u8() {
                choice @ 0..=9 => frames.close(choice),
                choice => frames.fin(self.number.wrapping_add(u64::from(choice % 4))),
            },
            _ => {
                let count = usize::from(input.u8() % 32);
                frames.raw(input.bytes(count))
            }
        }
    }

    /// A frame with the next number and place, or with others.
    fn lane(&mut self, input: &mut Input<'_>, frames: Writer) -> Writer {
        let choice = input.u8();
        let lane = if self.number == 0 { 0 } else { usize::from(choice & 7) };
        let (mut number, mut place) = (self.number, self.places[lane]);
        if choice & 0x18 == 0 {
            number = number.wrapping_add_signed(i64::from(input.u16()) - 100);
            place = place.wrapping_add_signed(i64::from(input.u8()) - 5);
        } else {
            self.number += 1;
            self.places[lane] += 1;
        }
        let bytes = if choice & 0x20 == 0 { usize::from(input.u8()) } else { 1120 };
        let payload = vec![9; bytes];
        match choice >> 6 {
            0 if bytes > 0 => frames.piece(number, lane as u64, place, &payload),
            1 => frames.last(number, lane as u64, place, &payload),
            _ => frames.lane(number, lane as u64, place, &payload),
        }
    }

    fn ack(&mut self, input: &mut Input<'_>, frames: Writer) -> Writer {
        let choice = input.u8();
        let back = self.came.len().saturating_sub(1 + usize::from(choice & 7));
        let mut largest = self.came.get(back).copied().unwrap_or(0);
        if choice & 0xc0 == 0 {
            largest = largest.wrapping_add(input.u16().into());
        }
        let first = if choice & 8 == 0 { 0 } else { input.u16() };
        let further: Vec<_> =
            (0..choice >> 4 & 3).map(|_| (input.u8().into(), input.u8().into())).collect();
        let window = 4096 + u64::from(input.u16());
        frames.ack_with(largest, first, &further, input.u16(), window)
    }
}
