//! Datagrams that the system has put together, received by who didn't ask how long each of them is.
//!
//! All are of one length but the last, which may be shorter. What the first of them says of itself tells
//! where it ends, and its checksum whether that is so.

#![cfg_attr(not(any(fuzzing, test)), warn(clippy::arithmetic_side_effects))]

use super::{
    frame::Frames,
    packet::{
        self, COOKIE_BYTES, DATAGRAM_BYTES_MAX, DATAGRAM_BYTES_MIN, HEADER_BYTES, Kind, Peek,
    },
};

/// How long each datagram is: as long as all of the bytes, unless they are known to be several.
pub(crate) fn stride(bytes: &[u8]) -> usize {
    let may_be_one = bytes.len() <= DATAGRAM_BYTES_MAX;
    if bytes.len() < 2 * DATAGRAM_BYTES_MIN || may_be_one && packet::check(bytes) {
        return bytes.len();
    }
    first_of_several(bytes).unwrap_or(bytes.len())
}

/// How long the first of several datagrams is. Looks at no more bytes than one can have.
// Out of line: it is rare, and what it is called from is on the way of each call.
#[cold]
#[inline(never)]
fn first_of_several(bytes: &[u8]) -> Option<usize> {
    let within = bytes.get(..DATAGRAM_BYTES_MAX).unwrap_or(bytes);
    let end = match packet::peek(within)? {
        Peek::Setup { kind, .. } => setup_bytes(kind)?,
        Peek::Data { has_cookie, .. } => {
            let cookie = if has_cookie { COOKIE_BYTES } else { 0 };
            let mut behind = Frames::new(within.get(HEADER_BYTES..)?.get(cookie..)?).behind();
            // What fills a datagram up. The next one begins with another byte.
            while let Some((0, rest)) = behind.split_first() {
                behind = rest;
            }
            within.len().saturating_sub(behind.len())
        }
    };
    within.get(..end).filter(|first| packet::check(first)).map(<[u8]>::len)
}

/// How long set-up packets of this kind are, unless nobody sends several in a row.
fn setup_bytes(kind: Kind) -> Option<usize> {
    match kind {
        Kind::Init => None,
        Kind::InitAck => Some(packet::INIT_ACK_BYTES),
        Kind::Reset | Kind::Versions => Some(packet::RESET_BYTES),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{
        packet::{Epoch, Reset, ResetReason},
        session::Side,
        tests::craft::{Victim, Writer},
    };

    fn check(first: &[u8], last: &[u8]) {
        assert_eq!(stride(first), first.len());
        for count in 1..4 {
            let row = [first.repeat(count), last.to_vec()].concat();
            assert_eq!(stride(&row), first.len(), "{count} and one of {} bytes", last.len());
        }
    }

    #[test]
    fn each_datagram_is_told_from_the_next() {
        let victim = Victim::new(Side::Client);
        let zeros = [0; 300];
        let last = victim.packet(2, &Writer::new().ping());
        for frames in [
            Writer::new(),
            Writer::new().ping(),
            Writer::new().ack(7, 2, &[(1, 1)]).last(0, 4, 0, b"a reply"),
            Writer::new().lane(0, 4, 0, &zeros).last(1, 4, 1, &zeros),
            Writer::new().last(0, 4, 0, &zeros).raw(&zeros),
            Writer::new().last(0, 4, 0, &[0x40; 1120]).raw(&zeros[..DATAGRAM_BYTES_MAX - 1159]),
        ] {
            check(&victim.packet(1, &frames), &last);
        }
        let mut reset = Vec::new();
        let reason = ResetReason::Unknown;
        Reset { id: 1, epoch: Epoch(2), uptime_ms: 3, pn32: 4, reason }.encode(&mut reset);
        check(&reset, &reset);
    }

    #[test]
    fn so_is_each_of_a_transmission() {
        for bytes in [1, 60, 300, 700, 1000, 1120, 5000] {
            let mut victim = Victim::new(Side::Client);
            (1..400).for_each(|lane| victim.push(lane, bytes));
            let transmit = victim.session.poll_transmit(victim.now, &mut victim.queue, 16).unwrap();
            assert!(transmit.bytes.len() > transmit.segment_bytes, "several of {bytes}");
            assert_eq!(stride(&transmit.bytes), transmit.segment_bytes, "{bytes}");
        }
    }

    #[test]
    fn what_is_damaged_stays_whole() {
        let victim = Victim::new(Side::Client);
        let datagram = victim.packet(1, &Writer::new().last(0, 4, 0, b"a reply that is longer"));
        let row = datagram.repeat(3);
        for bit in 0..8 * datagram.len() {
            let mut damaged = row.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(stride(&damaged), row.len(), "bit {bit}");
        }
        assert_eq!(stride(&[0x40; 65_000]), 65_000);
        assert_eq!(stride(&[]), 0);
    }
}
