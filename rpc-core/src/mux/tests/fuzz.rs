//! Fuzz targets: a peer that sends whatever the bytes say to a side whose callers and handlers do
//! whatever the bytes say; and the two simulations, in which bytes decide what seeds do else.

use std::task::Poll;

use super::{link::Chance, simulation, *};
use crate::{
    frame::{Hello, RequestHeader},
    fuzz::Input,
    mux::{Need, NextItem, Room, STRAYS_MAX, TIMEOUT_MAX},
};

/// Two honest sides over a link that does what links may do: calls of all kinds, and their ledger.
///
/// # Panics
/// If something is wrong.
pub fn calls(bytes: &[u8]) {
    simulation::calls(Chance::input(bytes));
}

/// The same of streams, in which every item has its place, and credit is conserved.
///
/// # Panics
/// If something is wrong.
pub fn streams(bytes: &[u8]) {
    simulation::streams(Chance::input(bytes));
}

/// One side, and a peer that keeps to no rule.
///
/// # Panics
/// If something is wrong.
pub fn mux(bytes: &[u8]) {
    let mut victim = Victim::new(Input::new(bytes));
    while !victim.input.is_empty() && !victim.is_lost {
        victim.step();
        victim.drive();
        victim.check();
    }
    victim.end();
}

/// Bytes of a frame at most, so that one step doesn't take all the time.
const FILLER_MAX: usize = 40_000;

/// What its own user knows of a call that the victim made.
#[derive(Debug, Clone, Copy)]
struct Outgoing {
    id: CallId,
    /// Its end hasn't been taken.
    is_open: bool,
    writes: bool,
    reads: bool,
}

/// What the handler of one of the peer's calls knows.
#[derive(Debug, Clone, Copy)]
struct Incoming {
    id: CallId,
    writes: bool,
    reads: bool,
    is_over: bool,
}

struct Victim<'a> {
    input: Input<'a>,
    side: Side,
    peer: Role,
    outgoing: Vec<Outgoing>,
    incoming: Vec<Incoming>,
    tickets: Vec<(Ticket, Want)>,
    /// What the victim's own users have queued, at most.
    own_bytes: usize,
    is_closing: bool,
    is_lost: bool,
}

impl<'a> Victim<'a> {
    fn new(mut input: Input<'a>) -> Self {
        let choice = input.u8();
        let limits = Limits {
            calls: 1 + input.u8() as u32 % 80,
            waiting_calls: input.size(4),
            message_bytes: 200 + input.u16() as u32,
            held_bytes: 500 + input.u16() as usize,
            stream_bytes: input.u16().into(),
            window_bytes: 200_000 + u32::from(input.u16()),
            outbox_bytes: 500 + input.u16() as usize,
            reply_bytes: 500 + input.u16() as usize,
            ..Limits::default()
        };
        let role = if choice & 1 == 0 { Role::Acceptor } else { Role::Connector };
        let settings = Settings {
            limits,
            keepalive: (choice & 2 == 0).then(Keepalive::default),
            frame_bytes: 2000 << (choice >> 2 & 3),
            instance: 1,
            cautious: choice & 0x10 != 0,
        };
        let mut victim = Self {
            input,
            side: Side::of(Mux::new(role, settings), Instant::now()),
            peer: role.other(),
            outgoing: Vec::new(),
            incoming: Vec::new(),
            tickets: Vec::new(),
            own_bytes: 0,
            is_closing: false,
            is_lost: false,
        };
        // A peer without a hello doesn't get far.
        if choice & 0xe0 != 0 {
            let hello = victim.hello();
            victim.side.take(&made(|out| frame::encode_hello(out, &hello)));
        }
        victim
    }

    fn hello(&mut self) -> Hello {
        Hello {
            frame_bytes: self.input.u16().into(),
            message_bytes: u32::from(self.input.u16()) * 4,
            calls: self.input.u8().into(),
            metadata_bytes: self.input.u16().into(),
            window_bytes: self.input.u16().into(),
            ..hello(&Limits::default(), 0)
        }
    }

    fn step(&mut self) {
        match self.input.u8() % 32 {
            0..=11 => self.take_frame(),
            12 => {
                let (lane, length) = (self.lane(), self.input.u8().into());
                let payload = Bytes::copy_from_slice(self.input.bytes(length));
                self.side.take(&OutFrame { lane, end: false, payload });
            }
            13..=15 => self.open(),
            16 => self.retry(),
            17 => self.take_end(),
            18 => self.drop_call(),
            19 | 20 => self.reply(),
            21 => self.begin_stream(),
            22 => self.end_stopped(),
            23 | 24 => self.write(),
            25 => self.read(),
            26 => self.drop_reader(),
            27 | 28 => self.send(),
            29 => {
                let now = self.side.now + Duration::from_millis(self.input.u16().into());
                self.side.set_time(now);
            }
            30 => match self.input.u8() % 8 {
                0 => self.side.mux.go_away(),
                1 => self.side.mux.close(CloseReason::ShuttingDown, "enough"),
                2 => self.side.mux.retire(),
                3 => self.lose(),
                4 => self.side.mux.shrink(),
                _ => self.side.end_stopped(),
            },
            _ => self.send(),
        }
        self.side.settle();
    }

    // ---- the peer

    /// A lane: that of a call there is, of one there was or may be, or any.
    fn lane(&mut self) -> Lane {
        match self.input.u8() {
            choice @ 0..=99 => {
                let slot = u32::from(choice % 4);
                let sequence = 1 + self.input.below(16);
                let opener = if choice < 90 { self.peer } else { self.peer.other() };
                CallId::new(sequence, slot, opener).lane()
            }
            100..=239 => self.id().lane(),
            240..=249 => Lane::CONTROL,
            _ => Lane::new(self.input.u64()),
        }
    }

    /// A call that one of the two has made.
    fn id(&mut self) -> CallId {
        let outgoing = self.outgoing.iter().map(|call| call.id);
        let ids: Vec<_> = outgoing.chain(self.incoming.iter().map(|call| call.id)).collect();
        let any = CallId::new(1, 0, self.peer);
        self.input.pick(&ids).unwrap_or(any)
    }

    /// A frame whose fields are those of its kind. What they say is another matter.
    fn take_frame(&mut self) {
        let kind = 1 + self.input.u8() % 14;
        let flags = self.input.u8();
        let mut lane = self.lane();
        if !matches!(kind, 2..=5 | 12 | 13) && flags & 0x80 == 0 {
            lane = Lane::CONTROL;
        }
        let mut rest = Vec::new();
        match kind {
            1 => {
                let hello = self.hello();
                return self.side.take(&made(|out| frame::encode_hello(out, &hello)));
            }
            2 => {
                let timeout_ms =
                    self.input.pick(&[RequestHeader::NO_TIMEOUT, 0, 7, 1000, 1 << 30]).unwrap();
                rest.extend_from_slice(&timeout_ms.to_le_bytes());
                rest.extend_from_slice(&METHOD.number().to_le_bytes());
            }
            4 => rest.extend_from_slice(&[self.input.u8(), 0, flags >> 3 & 3, 0]),
            6 => {
                let lane = self.lane().number().to_le_bytes();
                rest.extend_from_slice(&lane);
                let bytes = self.input.u32() >> (flags & 31);
                rest.extend_from_slice(&bytes.to_le_bytes());
            }
            7 | 14 => rest.extend_from_slice(&self.lane().number().to_le_bytes()),
            8..=10 => rest.extend_from_slice(&self.input.u64().to_le_bytes()),
            11 => rest.extend_from_slice(&[self.input.u8(), 0, 0, 0]),
            _ => {}
        }
        if matches!(kind, 2 | 3 | 5 | 12) {
            let filler = if flags & 0x40 == 0 { 100 } else { FILLER_MAX };
            rest.resize(rest.len() + self.input.size(filler), 7);
        }
        let mut frame = raw(lane, kind, flags & 7, &rest);
        frame.end = flags & 8 != 0;
        self.side.take(&frame);
    }

    // ---- its callers

    fn want(&mut self) -> Want {
        let choice = self.input.u8();
        let bytes = if choice & 1 == 0 { 50 } else { FILLER_MAX };
        let mut metadata = Metadata::new();
        if choice & 2 != 0 {
            let length = self.input.u8().into();
            metadata.insert("key", &vec![1; length]).unwrap();
        }
        Want {
            body: vec![9; self.input.size(bytes)],
            timeout: (choice & 4 != 0).then(|| ms(self.input.u16().into())),
            idempotent: choice & 8 != 0,
            oneway: choice & 0x30 == 0x30,
            stream: choice & 0x30 == 0x20,
            metadata,
            tail: (choice & 0xc0 == 0xc0).then(|| Bytes::from(vec![8; 20_000])),
        }
    }

    fn open(&mut self) {
        let want = self.want();
        let opened = self.side.open(&want, None);
        self.opened(want, opened);
    }

    fn opened(&mut self, want: Want, opened: Opened) {
        match opened {
            Opened::Call(id) => {
                self.own_bytes += want.body.len() + want.metadata.encoded_bytes() + 100;
                let writes = want.stream;
                self.outgoing.push(Outgoing { id, is_open: true, writes, reads: false });
            }
            Opened::Wait(ticket) => self.tickets.push((ticket, want)),
            Opened::Gone | Opened::Refused { .. } => {}
        }
    }

    /// Somebody who waits looks again, or goes.
    fn retry(&mut self) {
        let Some((ticket, want)) = self.tickets.pop() else { return };
        if self.input.u8() & 1 == 0 {
            self.side.mux.leave_queue(ticket);
        } else {
            let opened = self.side.open(&want, Some(ticket));
            self.opened(want, opened);
        }
    }

    fn any_outgoing(&mut self) -> Option<usize> {
        let at = self.input.size(self.outgoing.len());
        (at < self.outgoing.len()).then_some(at)
    }

    fn take_end(&mut self) {
        let Some(at) = self.any_outgoing().filter(|at| self.outgoing[*at].is_open) else { return };
        let call = &mut self.outgoing[at];
        let Some(end) = self.side.end_of(call.id) else { return };
        call.is_open = false;
        call.reads = end == End::Stream;
        if !call.reads {
            self.end_writing(at);
        }
    }

    fn drop_call(&mut self) {
        let Some(at) = self.any_outgoing().filter(|at| self.outgoing[*at].is_open) else { return };
        self.outgoing[at].is_open = false;
        self.side.drop_call(self.outgoing[at].id);
        self.own_bytes += 100;
        self.end_writing(at);
    }

    /// The call is over for its caller, and with it the task that sends its arguments.
    fn end_writing(&mut self, at: usize) {
        let call = &mut self.outgoing[at];
        if std::mem::take(&mut call.writes) {
            self.side.mux.fail_arguments(call.id, ErrorKind::Cancelled, "stopped".into());
            self.own_bytes += 100;
        }
    }

    // ---- its handlers

    /// A call that a handler works at.
    fn any_running(&mut self) -> Option<usize> {
        let running = |at: &usize| !self.incoming[*at].is_over;
        let all: Vec<_> = (0..self.incoming.len()).filter(running).collect();
        self.input.pick(&all)
    }

    fn reply(&mut self) {
        let Some(at) = self.any_running().filter(|at| !self.incoming[*at].writes) else { return };
        let id = self.incoming[at].id;
        self.incoming[at].is_over = true;
        let choice = self.input.u8();
        let bytes = self.input.size(if choice & 1 == 0 { 50 } else { FILLER_MAX });
        self.own_bytes += bytes + 1200;
        if choice & 2 != 0 || bytes > self.side.mux.reply_limits().message_bytes {
            if self.side.mux.finish(id) {
                self.side.mux.queue_error(id, ErrorKind::TooLarge, Ran::Ended, "too large");
            }
        } else {
            self.side.reply(id, vec![6; bytes]);
        }
    }

    fn begin_stream(&mut self) {
        let Some(at) = self.any_running().filter(|at| !self.incoming[*at].writes) else { return };
        self.own_bytes += 100;
        self.incoming[at].writes = self.side.mux.begin_stream(self.incoming[at].id);
    }

    fn end_stopped(&mut self) {
        if let Some((id, why)) = self.side.stopped.pop() {
            self.end_early(id, why);
        }
    }

    fn end_early(&mut self, id: CallId, why: ErrorKind) {
        for call in self.incoming.iter_mut().filter(|call| call.id == id) {
            (call.is_over, call.writes) = (true, false);
        }
        self.own_bytes += 100;
        self.side.mux.note_stop(id, why);
        self.side.mux.end_stopped(id, Ran::Maybe);
    }

    // ---- items

    /// A stream that this side sends, and whether it is of a reply.
    fn any_writer(&mut self) -> Option<(CallId, bool)> {
        let outgoing = self.outgoing.iter().filter(|call| call.writes).map(|call| (call.id, false));
        let incoming = self.incoming.iter().filter(|call| call.writes).map(|call| (call.id, true));
        let all: Vec<_> = outgoing.chain(incoming).collect();
        self.input.pick(&all)
    }

    fn write(&mut self) {
        let Some((id, is_reply)) = self.any_writer() else { return };
        let choice = self.input.u8();
        if choice % 8 > 1 {
            let bytes = self.input.size(if choice & 0x80 == 0 { 100 } else { FILLER_MAX });
            self.own_bytes += bytes + 100;
            if matches!(self.side.room_for(id, Need::Item(bytes)), Poll::Ready(Room::Bytes { .. }))
            {
                self.side.send_item(id, &vec![5; bytes]);
            }
            return;
        }
        // Nothing ends while an item is being sent.
        if self.side.room_for(id, Need::Nothing).is_pending() {
            return;
        }
        self.own_bytes += 1200;
        for call in self.outgoing.iter_mut().filter(|call| call.id == id) {
            call.writes = false;
        }
        for call in self.incoming.iter_mut().filter(|call| call.id == id) {
            (call.writes, call.is_over) = (false, true);
        }
        match (choice % 8, is_reply) {
            (0, _) => self.side.end_items(id),
            (_, false) => self.side.break_off(id),
            (_, true) => {
                if self.side.mux.finish(id) {
                    self.side.mux.queue_error(
                        id,
                        ErrorKind::MalformedReply,
                        Ran::Ended,
                        "it broke",
                    );
                }
            }
        }
    }

    fn any_reader(&mut self) -> Option<CallId> {
        let outgoing = self.outgoing.iter().filter(|call| call.reads).map(|call| call.id);
        let incoming = self.incoming.iter().filter(|call| call.reads).map(|call| call.id);
        let all: Vec<_> = outgoing.chain(incoming).collect();
        self.input.pick(&all)
    }

    fn read(&mut self) {
        let Some(id) = self.any_reader() else { return };
        if let Poll::Ready(NextItem::End(end)) = self.side.next(id) {
            assert_eq!(self.side.next(id), Poll::Ready(NextItem::End(end)), "an end is for ever");
        }
    }

    fn drop_reader(&mut self) {
        let Some(id) = self.any_reader() else { return };
        self.forget_reader(id);
    }

    fn forget_reader(&mut self, id: CallId) {
        self.side.drop_reader(id);
        self.own_bytes += 200;
        let outgoing = self.outgoing.iter_mut().filter(|call| call.id == id);
        outgoing.for_each(|call| call.reads = false);
        let incoming = self.incoming.iter_mut().filter(|call| call.id == id);
        incoming.for_each(|call| call.reads = false);
        if let Some(at) = self.outgoing.iter().position(|call| call.id == id) {
            self.end_writing(at);
        }
    }

    // ---- as a driver

    fn send(&mut self) {
        if self.side.mux.has_frames() {
            self.side.draw_batch();
        }
    }

    fn lose(&mut self) {
        self.is_lost = true;
        self.side.lose();
    }

    fn drive(&mut self) {
        for accepted in std::mem::take(&mut self.side.accepted) {
            let id = accepted.id;
            let known = self.incoming.iter().any(|call| call.id == id);
            assert!(!known && id.opener() == self.peer, "{id:?} runs twice, or is its own");
            let reads = accepted.stream;
            self.incoming.push(Incoming { id, writes: false, reads, is_over: false });
        }
        if !self.side.mux.has_frames() && self.side.mux.is_drained() {
            self.side.mux.close(CloseReason::Done, "");
        }
        let is_closed = matches!(self.side.mux.phase(), Phase::Closed(_));
        if is_closed && !std::mem::replace(&mut self.is_closing, true) {
            self.side.mux.handle_closing();
            let running: Vec<_> =
                self.incoming.iter().filter(|call| !call.is_over).copied().collect();
            for call in running {
                self.end_early(call.id, ErrorKind::ShuttingDown);
            }
        }
        self.side.settle();
    }

    /// What a peer must not bring about. `settle` checks the books after every step.
    fn check(&self) {
        let (mux, limits) = (&self.side.mux, self.side.mux.limits());
        assert!(mux.held_bytes() <= limits.held_bytes, "more is held than allowed");
        assert!(mux.streams.growth() <= limits.stream_bytes, "a window was given back twice");
        assert!(mux.strays <= STRAYS_MAX + 1);
        let running = self.incoming.iter().filter(|call| !call.is_over).count();
        assert!(running <= limits.calls.max(64) as usize, "{running} handlers");
        // Errors say why in some words, and there is one a call.
        let errors = limits.calls.max(64) as usize * 1200;
        let queued = mux.outbox.small_frames().len();
        assert!(queued <= self.own_bytes + errors + 20_000, "{queued} bytes of small frames");
        let timeout = mux.next_timeout();
        let latest = self.side.now + TIMEOUT_MAX + ms(100_000);
        assert!(timeout.is_none_or(|at| at <= latest), "a timer for ever");
    }

    /// The connection is cut, everybody goes, and nothing may be left.
    fn end(mut self) {
        if !self.is_lost {
            self.lose();
        }
        self.drive();
        while let Some((ticket, _)) = self.tickets.pop() {
            self.side.mux.leave_queue(ticket);
        }
        for at in 0..self.outgoing.len() {
            let Outgoing { id, is_open, .. } = self.outgoing[at];
            if is_open {
                assert!(self.side.end_of(id).is_some(), "{id:?} never ends");
            }
            self.forget_reader(id);
        }
        for at in 0..self.incoming.len() {
            let id = self.incoming[at].id;
            self.forget_reader(id);
        }
        self.side.settle();
        let mux = &self.side.mux;
        assert!(!mux.is_busy(), "a call is open");
        assert_eq!((mux.streams.open(), mux.held_bytes(), mux.waiters.held()), (0, 0, 0));
        assert_eq!(Arc::strong_count(&self.side.wakes), 1, "a waker is kept");
    }
}
