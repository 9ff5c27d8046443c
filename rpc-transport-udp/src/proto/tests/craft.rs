//! A peer that may send anything, and a session that has to bear it; no tests.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use rpc_core::transport::{InFrame, Inbox};

use super::world::{PARAMS, Queue};
use crate::proto::{
    frame::{self, Frame, FrameHeader, Frames},
    packet::{self, DataHeader, Epoch, SessionId},
    session::{Agreed, Arrived, Budget, Lost, Session, Side, Worth},
};

pub(crate) const ID: SessionId = SessionId(0x5e55_1014);
pub(crate) const EPOCH: Epoch = Epoch(0xe90c);

/// Where the peer is, and where it isn't.
pub(crate) fn peer() -> SocketAddr {
    "198.51.100.7:4000".parse().unwrap()
}

pub(crate) fn elsewhere(port: u16) -> SocketAddr {
    SocketAddr::from(([203, 0, 113, 9], port))
}

/// Frames of a packet, to be written one after the other.
#[derive(Debug, Clone, Default)]
pub(crate) struct Writer(pub(crate) Vec<u8>);

impl Writer {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn ping(mut self) -> Self {
        frame::encode_ping(&mut self.0);
        self
    }

    pub(crate) fn lane(mut self, number: u64, lane: u64, lane_seq: u64, payload: &[u8]) -> Self {
        let header = FrameHeader { number, lane, lane_seq, end: false, more: false };
        frame::encode_frame_header(&mut self.0, header, payload.len());
        self.0.extend_from_slice(payload);
        self
    }

    pub(crate) fn last(self, number: u64, lane: u64, lane_seq: u64, payload: &[u8]) -> Self {
        let at = self.0.len();
        let mut this = self.lane(number, lane, lane_seq, payload);
        this.0[at] |= 1;
        this
    }

    pub(crate) fn piece(self, number: u64, lane: u64, lane_seq: u64, payload: &[u8]) -> Self {
        let at = self.0.len();
        let mut this = self.lane(number, lane, lane_seq, payload);
        this.0[at] |= 2;
        this
    }

    /// An ACK; `further` are gaps and lengths as they are written.
    pub(crate) fn ack(self, largest: u64, first: u16, further: &[(u16, u16)]) -> Self {
        self.ack_with(largest, first, further, 0, 4096)
    }

    pub(crate) fn ack_with(
        mut self,
        largest: u64,
        first: u16,
        further: &[(u16, u16)],
        delay: u16,
        window: u64,
    ) -> Self {
        let out = &mut self.0;
        out.extend_from_slice(&[2, u8::try_from(further.len()).unwrap()]);
        out.extend_from_slice(&delay.to_le_bytes());
        out.extend_from_slice(&packet::low32(largest).to_le_bytes());
        out.extend_from_slice(&packet::low32(window).to_le_bytes());
        out.extend_from_slice(&first.to_le_bytes());
        for (gap, length) in further {
            out.extend_from_slice(&gap.to_le_bytes());
            out.extend_from_slice(&length.to_le_bytes());
        }
        self
    }

    pub(crate) fn challenge(mut self, question: [u8; 8]) -> Self {
        frame::encode_challenge(&mut self.0, question);
        self
    }

    pub(crate) fn answer(mut self, answer: [u8; 8]) -> Self {
        frame::encode_answer(&mut self.0, answer);
        self
    }

    pub(crate) fn fin(mut self, total: u64) -> Self {
        frame::encode_fin(&mut self.0, total);
        self
    }

    pub(crate) fn close(mut self, code: u8) -> Self {
        frame::encode_close(&mut self.0, code);
        self
    }

    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }
}

/// What was handed out, counted.
#[derive(Debug, Default)]
pub(crate) struct Pile {
    pub(crate) frames: Vec<(u64, bool, usize)>,
}

impl Inbox for Pile {
    fn push(&mut self, frame: InFrame<'_>) {
        let bytes = frame.payload.as_slice().len();
        self.frames.push((frame.lane.number(), frame.end, bytes));
    }

    fn frame_bytes_max(&self) -> usize {
        65_536
    }
}

/// A session whose peer is made by hand.
pub(crate) struct Victim {
    pub(crate) now: Instant,
    side: Side,
    pub(crate) session: Session,
    pub(crate) queue: Queue,
    pub(crate) pile: Pile,
    /// The next number of the peer's packets.
    pub(crate) pn: u64,
}

impl Victim {
    pub(crate) fn new(side: Side) -> Self {
        Self::with(side, Budget::new(256 << 20))
    }

    pub(crate) fn with(side: Side, budget: Budget) -> Self {
        let agreed = Agreed {
            side,
            id: ID,
            epoch: EPOCH,
            remote: peer(),
            ours: PARAMS,
            theirs: PARAMS,
            cookie: None,
        };
        Self {
            now: Instant::now(),
            side,
            session: Session::new(agreed, budget, 1),
            queue: Queue::default(),
            pile: Pile::default(),
            pn: 0,
        }
    }

    /// A packet of the peer's with these frames.
    pub(crate) fn packet(&self, pn: u64, frames: &Writer) -> Vec<u8> {
        let from_server = self.side == Side::Client;
        let header = DataHeader { from_server, epoch: EPOCH, session: ID, pn };
        let mut out = Vec::new();
        packet::begin_data(&mut out, header, None);
        out.extend_from_slice(&frames.0);
        packet::finish(&mut out, 0, 0);
        out
    }

    /// The peer's next packet arrives.
    pub(crate) fn take(&mut self, frames: &Writer) -> Result<Worth, Lost> {
        self.take_from(peer(), frames)
    }

    pub(crate) fn take_from(&mut self, from: SocketAddr, frames: &Writer) -> Result<Worth, Lost> {
        let bytes = self.packet(self.pn, frames);
        self.pn += 1;
        self.take_bytes(from, &bytes)
    }

    pub(crate) fn take_bytes(&mut self, from: SocketAddr, bytes: &[u8]) -> Result<Worth, Lost> {
        let arrived = Arrived { from, bytes, marked: false };
        self.session.handle_datagram(self.now, arrived, &mut self.pile)
    }

    /// What it sends now: where to, and the datagrams.
    pub(crate) fn sends(&mut self) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut out = Vec::new();
        while let Some(transmit) = self.session.poll_transmit(self.now, &mut self.queue, 16) {
            let datagrams = transmit.bytes.chunks(transmit.segment_bytes);
            out.extend(datagrams.map(|datagram| (transmit.to, datagram.to_vec())));
            assert!(out.len() < 100_000, "it sends without end");
        }
        out
    }

    /// Lets so much time pass, with all that is due in it. Returns what it sent.
    pub(crate) fn pass(&mut self, time: Duration) -> Result<Vec<(SocketAddr, Vec<u8>)>, Lost> {
        let limit = self.now + time;
        let mut out = self.sends();
        while let Some(next) = self.session.poll_timeout().filter(|next| *next <= limit) {
            self.now = self.now.max(next);
            let timed = self.session.handle_timeout(self.now);
            out.extend(self.sends());
            timed?;
        }
        self.now = limit;
        Ok(out)
    }

    /// Queues a frame.
    pub(crate) fn push(&mut self, lane: u64, bytes: usize) {
        self.queue.push(lane, false, vec![7; bytes]);
    }
}

/// The number of a packet, as far as it goes over the wire.
pub(crate) fn number(datagram: &[u8]) -> u64 {
    packet::decode_data(datagram).unwrap().pn32.into()
}

/// What the frames of a packet are, in words.
pub(crate) fn kinds(datagram: &[u8]) -> Vec<&'static str> {
    let data = packet::decode_data(datagram).unwrap();
    let kinds = Frames::new(data.frames).map(|frame| match frame.unwrap() {
        Frame::Ping => "ping",
        Frame::Ack(_) => "ack",
        Frame::Challenge(_) => "challenge",
        Frame::Answer(_) => "answer",
        Frame::Fin { .. } => "fin",
        Frame::Close { .. } => "close",
        Frame::Data(_) => "frame",
    });
    kinds.collect()
}
