//! One conversation over two streams, given up at each step of it, by each half: whatever is under
//! way then, nothing is left, and the next conversation has the only place.

use std::{collections::VecDeque, task::Poll};

use super::*;
use crate::mux::{Need, NextItem, Room};

/// What is sent, and echoed: staged, of one frame, of several.
const ITEMS: [usize; 6] = [3, 0, 20_000, 300_000, 7, 70_000];

/// Who gives up what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GivesUp {
    /// The caller: its call, or the stream that it reads.
    Caller,
    /// The source of the arguments.
    Source,
    /// The handler: the stream that it reads.
    Reader,
    /// The handler: all of it.
    Handler,
    /// The handler: what it sends. It keeps what it reads.
    Reply,
    /// Time: the call has a deadline.
    Deadline,
    Nobody,
}

/// What is still there of a conversation.
struct Talk<'a> {
    pair: &'a mut Pair,
    links: &'a mut [VecDeque<OutFrame>; 2],
    id: CallId,
    has_source: bool,
    sent: usize,
    has_caller: bool,
    caller_reads: bool,
    handler: Option<Handler>,
    /// Whether anything has happened lately.
    moved: bool,
}

#[derive(Default)]
struct Handler {
    reads: bool,
    sends: bool,
    in_hand: Option<Vec<u8>>,
}

impl<'a> Talk<'a> {
    fn begin(
        pair: &'a mut Pair,
        links: &'a mut [VecDeque<OutFrame>; 2],
        timeout: Option<Duration>,
    ) -> Self {
        let body = vec![7; 50_000];
        let id = pair.a.call_with(&Want { body, stream: true, timeout, ..Want::default() });
        Self {
            pair,
            links,
            id,
            has_source: true,
            sent: 0,
            has_caller: true,
            caller_reads: false,
            handler: None,
            moved: false,
        }
    }

    /// Steps until it is over. Somebody gives up at step `at`. Returns how many steps it took.
    fn run(mut self, at: usize, who: GivesUp) -> usize {
        let (mut steps, mut idle) = (0, 0);
        while idle < 6 {
            if steps == at {
                self.give_up(who);
            }
            self.moved = false;
            self.step(steps % 6);
            idle = if self.moved || steps <= at && who != GivesUp::Nobody { 0 } else { idle + 1 };
            steps += 1;
        }
        let left = (self.has_source, self.has_caller, self.handler.is_some());
        assert_eq!(left, (false, false, false), "{who:?} at step {at}: somebody waits for ever");
        steps
    }

    fn step(&mut self, kind: usize) {
        match kind {
            0 => self.send(),
            1 => self.carry(0),
            2 => self.serve(),
            3 => self.reply(),
            4 => self.carry(1),
            _ => self.receive(),
        }
    }

    /// One frame goes over.
    fn carry(&mut self, from: usize) {
        let Pair { a, b, .. } = &mut *self.pair;
        let (from_side, to) = if from == 0 { (a, b) } else { (b, a) };
        let link = &mut self.links[from];
        if link.is_empty() && from_side.mux.has_frames() {
            link.extend(from_side.draw_batch());
        }
        if let Some(frame) = link.pop_front() {
            to.take(&frame);
            self.moved = true;
        }
    }

    // ---- the side that calls

    fn send(&mut self) {
        if !self.has_source {
            return;
        }
        let size = ITEMS.get(self.sent).copied();
        let need = size.map_or(Need::Nothing, Need::Item);
        match (self.pair.a.room_for(self.id, need), size) {
            (Poll::Pending, _) => return,
            (Poll::Ready(Room::Bytes { .. }), Some(size)) => {
                assert!(self.pair.a.send_item(self.id, &vec![7; size]));
                self.sent += 1;
            }
            (Poll::Ready(Room::Bytes { .. }), None) => {
                self.pair.a.end_items(self.id);
                self.has_source = false;
            }
            (Poll::Ready(Room::Gone), _) => self.has_source = false,
            (Poll::Ready(room), _) => panic!("{room:?}"),
        }
        self.moved = true;
    }

    fn receive(&mut self) {
        let (a, id) = (&mut self.pair.a, self.id);
        if !self.has_caller {
            return;
        }
        if self.caller_reads {
            match a.next(id) {
                Poll::Pending => return,
                Poll::Ready(NextItem::Item(_)) => {}
                Poll::Ready(NextItem::End(_)) => self.leave(),
            }
        } else {
            match a.end_of(id) {
                None => return,
                Some(End::Stream) => self.caller_reads = true,
                Some(_) => self.leave(),
            }
        }
        self.moved = true;
    }

    /// The caller has got its end, or goes, and takes the task that sends its arguments with it.
    fn leave(&mut self) {
        if !std::mem::replace(&mut self.has_caller, false) {
            return;
        }
        if self.caller_reads {
            self.pair.a.drop_reader(self.id);
        } else {
            self.pair.a.drop_call(self.id);
        }
        self.stop_source(ErrorKind::Cancelled);
    }

    fn stop_source(&mut self, why: ErrorKind) {
        if std::mem::replace(&mut self.has_source, false) {
            self.pair.a.mux.fail_arguments(self.id, why, "it broke".into());
            self.pair.a.settle();
        }
    }

    // ---- the side that is called

    fn serve(&mut self) {
        let (b, id) = (&mut self.pair.b, self.id);
        if !b.stopped.is_empty() {
            self.moved = true;
            return self.stop_handler(None);
        }
        if b.accepted.iter().any(|accepted| accepted.id == id) {
            b.accept_with_stream(id);
            self.handler = Some(Handler { reads: true, sends: true, in_hand: None });
            self.moved = true;
            return;
        }
        let Some(handler) = self.handler.as_mut().filter(|h| h.reads && h.in_hand.is_none()) else {
            return;
        };
        match b.next(id) {
            Poll::Pending => return,
            Poll::Ready(NextItem::Item(item)) => handler.in_hand = Some(item),
            Poll::Ready(NextItem::End(_)) => {
                handler.reads = false;
                b.drop_reader(id);
            }
        }
        self.moved = true;
    }

    fn reply(&mut self) {
        let (b, id) = (&mut self.pair.b, self.id);
        let Some(handler) = self.handler.as_mut() else { return };
        if !handler.sends {
            self.moved |= handler.in_hand.take().is_some();
        } else if let Some(item) = handler.in_hand.take() {
            match b.room_for(id, Need::Item(item.len())) {
                Poll::Pending => {
                    handler.in_hand = Some(item);
                    return;
                }
                Poll::Ready(Room::Bytes { .. }) => assert!(b.send_item(id, &item)),
                Poll::Ready(_) => handler.sends = false,
            }
            self.moved = true;
        } else if !handler.reads && b.room_for(id, Need::Nothing).is_ready() {
            b.end_items(id);
            handler.sends = false;
        }
        if !handler.sends && !handler.reads {
            self.handler = None;
            self.moved = true;
        }
    }

    /// The handler is gone before its end: stopped, or for a reason of its own.
    fn stop_handler(&mut self, why: Option<ErrorKind>) {
        let (b, id) = (&mut self.pair.b, self.id);
        if let Some(why) = why.filter(|_| b.mux.finish(id)) {
            b.mux.queue_error(id, why, Ran::Ended, "");
        }
        b.accepted.retain(|accepted| accepted.id != id);
        b.end_stopped();
        b.drop_reader(id);
        self.handler = None;
    }

    fn give_up(&mut self, who: GivesUp) {
        match who {
            GivesUp::Caller => self.leave(),
            GivesUp::Source => self.stop_source(ErrorKind::MalformedRequest),
            GivesUp::Reader => {
                if let Some(handler) = &mut self.handler {
                    handler.reads = false;
                    self.pair.b.drop_reader(self.id);
                }
            }
            GivesUp::Handler if self.handler.is_some() => {
                self.stop_handler(Some(ErrorKind::HandlerPanicked));
            }
            GivesUp::Reply => {
                if let Some(handler) = &mut self.handler {
                    handler.sends = false;
                    let b = &mut self.pair.b;
                    if b.mux.finish(self.id) {
                        b.mux.queue_error(self.id, ErrorKind::MalformedReply, Ran::Ended, "");
                    }
                    b.settle();
                }
            }
            GivesUp::Deadline => self.pair.advance(ms(60)),
            GivesUp::Handler | GivesUp::Nobody => {}
        }
    }
}

/// Nothing of any call is left: no slot, no stream, no credit that is missing, nobody who waits.
fn check_rest(pair: &mut Pair, what: &str) {
    pair.drive();
    pair.advance(Duration::from_secs(3600));
    let Pair { a, b, .. } = &*pair;
    for (side, peer) in [(a, b), (b, a)] {
        let mux = &side.mux;
        assert_eq!((mux.phase(), mux.strays), (&Phase::Open, 0), "{what}");
        assert_eq!(mux.streams.open_streams(), [], "{what}");
        assert!(side.at_rest() && mux.calls.open() == 0, "{what}: a slot");
        assert!(!mux.has_frames() && !mux.outbox.is_held_up(), "{what}: a frame");
        assert_eq!(mux.outbox.bulk_credit(), peer.mux.bulk_in.window_of_peer(), "{what}: credit");
        assert_eq!(mux.streams.growth(), mux.limits().stream_bytes, "{what}: a window");
        assert_eq!((mux.held_bytes(), mux.waiters.held()), (0, 0), "{what}");
        assert_eq!((mux.streams.waiting_writers(), mux.next_timeout()), (0, None), "{what}");
        assert!(side.stopped.is_empty() && side.accepted.is_empty(), "{what}: a handler");
        assert_eq!(Arc::strong_count(&side.wakes), 1, "{what}: a waker");
    }
}

// r[verify item.abort] r[verify stop.effect] r[verify cancel.effect]
#[test]
fn given_up_at_any_step_by_any_half_nothing_is_left() {
    let limits = || Limits { calls: 1, window_bytes: 0, ..Limits::default() };
    let mut pair = Pair::with(limits(), limits());
    let mut links = Default::default();
    let whole = Talk::begin(&mut pair, &mut links, None).run(0, GivesUp::Nobody);
    check_rest(&mut pair, "the whole conversation");
    let halves = [
        GivesUp::Caller,
        GivesUp::Source,
        GivesUp::Reader,
        GivesUp::Handler,
        GivesUp::Reply,
        GivesUp::Deadline,
    ];
    assert!(whole > 100, "{whole} steps are not enough to see anything");
    for who in halves {
        for at in 0..whole {
            let what = format!("{who:?} at step {at} of {whole}");
            let timeout = (who == GivesUp::Deadline).then(|| ms(50));
            Talk::begin(&mut pair, &mut links, timeout).run(at, who);
            check_rest(&mut pair, &what);
        }
    }
    let again = Talk::begin(&mut pair, &mut links, None).run(0, GivesUp::Nobody);
    assert_eq!(again, whole, "it goes on as at first");
}
