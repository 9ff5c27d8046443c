//! Datagrams on their way into a session: all of them, or half, so that the peer needn't wait.

use std::time::Instant;

use rpc_core::transport::Inbox;

use super::{failure::Failure, socket::Piece};
use crate::proto::session::{Arrived, Session, Worth};

/// Input of more bytes is bulk, not calls: no part of it is answered before the rest is looked at.
const BULK_BYTES: usize = 16 * 1024;

/// With so many packets under way to it, the peer has enough to do for now. With fewer both sides wait
/// for each other; more gained nothing that was measured.
const PACKETS_ENOUGH: usize = 3;

/// What has come, as far as it was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Came {
    /// Nothing that is worth it.
    Nothing,
    Some,
    /// A part. The rest is for after what this leads to was sent.
    Part,
}

/// Datagrams on their way into the session.
pub(super) struct Input<'a, I> {
    pub(super) session: &'a mut Session,
    pub(super) now: Instant,
    pub(super) inbox: &'a mut I,
    pub(super) came: Came,
    pub(super) failed: Option<Failure>,
}

impl<I: Inbox> Input<'_, I> {
    /// Takes the datagrams of a piece. Returns those that are left for later: when the peer has little
    /// from this side to work on, about half of them, so that afterwards both sides have something to
    /// do instead of waiting for each other in turns.
    pub(super) fn take<'p>(
        &mut self,
        piece: &Piece<'p>,
        when_worthless: &mut impl FnMut(&Session, &[u8]) -> Option<Failure>,
    ) -> &'p [u8] {
        let (all, is_bulk) = (piece.bytes.len(), piece.bytes.len() > BULK_BYTES);
        let (mut left, mut stride) = (piece.bytes, piece.stride);
        while !left.is_empty() && self.came != Came::Part {
            let (bytes, after) = left.split_at_checked(stride).unwrap_or((left, &[]));
            left = after;
            let arrived = Arrived { from: piece.from, bytes, marked: piece.marked };
            match self.session.handle_datagram(self.now, arrived, self.inbox) {
                Ok(Worth::New) => {
                    let at_half = 2 * left.len() <= all + stride && !left.is_empty();
                    let is_part =
                        at_half && !is_bulk && self.session.frames_under_way() < PACKETS_ENOUGH;
                    self.came = if is_part { Came::Part } else { Came::Some };
                }
                Ok(Worth::Nothing) => {
                    let found = if stride < all { all } else { piece.told_apart().stride };
                    if found < all {
                        (left, stride) = (piece.bytes, found);
                        continue;
                    }
                    if let Some(failure) = when_worthless(self.session, bytes) {
                        self.failed = Some(failure);
                    }
                }
                Err(lost) => self.failed = Some(Failure::Lost(lost)),
            }
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use rpc_core::transport::{InFrame, Inbox};

    use super::*;
    use crate::proto::{
        packet::{Epoch, Params, SessionId},
        session::{Agreed, Budget, Side, Source},
    };

    /// So many frames that each fill most of a datagram.
    struct Large(u64);

    impl Source for Large {
        fn peek(&self) -> Option<(u64, bool, usize)> {
            (self.0 > 0).then_some((0, false, 1000))
        }

        fn take(&mut self, out: &mut Vec<u8>) {
            self.0 -= 1;
            out.extend_from_slice(&[1; 1000]);
        }

        fn remaining(&self) -> usize {
            0
        }
    }

    struct Count(usize);

    impl Inbox for Count {
        fn push(&mut self, _: InFrame<'_>) {
            self.0 += 1;
        }

        fn frame_bytes_max(&self) -> usize {
            65_536
        }
    }

    fn address() -> SocketAddr {
        ([127, 0, 0, 1], 7000).into()
    }

    fn session(side: Side) -> Session {
        let params = Params { datagram_bytes: 1452, ack_delay_ms: 25, window: 4096, features: 0 };
        let (id, epoch, remote) = (SessionId(7), Epoch(9), address());
        let agreed = Agreed { side, id, epoch, remote, ours: params, theirs: params, cookie: None };
        Session::new(agreed, Budget::new(1 << 20), 1)
    }

    /// How many of `sent` frames the server takes at once, and then of the rest, if so much rubbish lies
    /// behind them.
    fn taken_of(server: &mut Session, sent: u64, rubbish: usize) -> (usize, usize) {
        let (now, mut client) = (Instant::now(), session(Side::Client));
        let transmit = client.poll_transmit(now, &mut Large(sent), 64).expect("there are frames");
        let stride = transmit.segment_bytes;
        let mut bytes = transmit.bytes.to_vec();
        bytes.resize(bytes.len() + rubbish * stride, 0x41);
        let (from, bytes) = (address(), &bytes[..]);
        let mut piece = Piece { from, to: None, marked: false, bytes, stride };
        let mut counts = [0, 0];
        for count in &mut counts {
            let mut inbox = Count(0);
            let (came, failed) = (Came::Nothing, None);
            let mut input = Input { session: server, now, inbox: &mut inbox, came, failed };
            piece.bytes = input.take(&piece, &mut |_, _| None);
            assert_eq!(input.came == Came::Part, !piece.bytes.is_empty());
            *count = inbox.0;
            // What the first part led to.
            assert!(server.poll_transmit(now, &mut Large(3), 3).is_some());
        }
        (counts[0], counts[1])
    }

    fn taken(server: &mut Session, sent: u64) -> (usize, usize) {
        taken_of(server, sent, 0)
    }

    #[test]
    fn a_peer_that_waits_is_answered_by_halves() {
        assert_eq!(taken(&mut session(Side::Server), 1), (1, 0));
        assert_eq!(taken(&mut session(Side::Server), 2), (1, 1));
        assert_eq!(taken(&mut session(Side::Server), 3), (1, 2));
        assert_eq!(taken(&mut session(Side::Server), 8), (4, 4));
    }

    #[test]
    fn datagrams_that_nobody_has_told_apart_are_all_taken() {
        let (now, mut client) = (Instant::now(), session(Side::Client));
        let transmit = client.poll_transmit(now, &mut Large(4), 64).expect("there are frames");
        let (from, mut bytes) = (address(), &transmit.bytes[..]);
        let (mut server, mut inbox) = (session(Side::Server), Count(0));
        while !bytes.is_empty() {
            let piece = Piece { from, to: None, marked: false, bytes, stride: bytes.len() };
            let (came, failed) = (Came::Nothing, None);
            let mut input = Input { session: &mut server, now, inbox: &mut inbox, came, failed };
            bytes = input.take(&piece, &mut |_, _| panic!("they are of use"));
            assert_eq!(input.came == Came::Part, !bytes.is_empty());
        }
        assert_eq!(inbox.0, 4);
    }

    #[test]
    fn bulk_is_taken_whole() {
        assert_eq!(taken_of(&mut session(Side::Server), 8, 7), (7, 1));
        assert_eq!(taken_of(&mut session(Side::Server), 8, 8), (8, 0));
    }

    #[test]
    fn a_peer_that_has_something_to_do_is_not() {
        let mut server = session(Side::Server);
        assert!(server.poll_transmit(Instant::now(), &mut Large(3), 3).is_some());
        assert_eq!(taken(&mut server, 8), (8, 0));
    }
}
