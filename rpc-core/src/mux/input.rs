//! What comes in and concerns the connection: frames on their way to whom they concern, time, the
//! end.

use std::{mem, time::Instant};

use bytes::BytesMut;

use super::{
    Closed, Ending, ITEM_COST, Mux, Phase, Reach, SCAN_REST, alive::Due, incoming::NewRequest,
    part::Part, shown, streams::WAKE_MAX,
};
use crate::{
    codec::{Bincode, Codec},
    counters::count,
    error::{CloseReason, Delivery},
    frame::{self, CallId, Frame, FrameError, Hello, Lane, WIRE_VERSION},
    limits::{BULK_WINDOW_BASE, PeerLimits},
    outbox::BULK_BYTES,
    planted::planted,
    transport::{InFrame, Payload},
};

impl Mux {
    /// Takes one frame. A violation of the protocol closes the connection, and everything that
    /// comes after it is ignored.
    #[inline]
    pub(crate) fn handle_frame(&mut self, now: Instant, frame: InFrame<'_>) {
        // r[impl close.last]
        if self.is_closed() {
            return;
        }
        self.alive.hear(now);
        let InFrame { lane, payload, .. } = frame;
        let (bytes, owner) = match &payload {
            Payload::Borrowed(bytes) => (*bytes, None),
            Payload::Owned(bytes) => (&bytes[..], Some(bytes)),
            Payload::Filled(_) => return self.handle_filled(now, lane, payload),
        };
        let decoded = Frame::decode(lane, bytes);
        let body = decoded.as_ref().map_or(&[][..], Frame::body);
        let part = match owner {
            Some(owner) if body.len() >= BULK_BYTES => Part::Shared(owner.slice_ref(body)),
            _ => Part::Borrowed(body),
        };
        self.handle_decoded(now, lane, decoded, part);
    }

    /// A frame in a buffer that its message is to be kept in.
    #[cold]
    fn handle_filled(&mut self, now: Instant, lane: Lane, payload: Payload<'_>) {
        let Payload::Filled(frame) = payload else { return };
        // One without a body is all head.
        let start = Frame::head_bytes(&frame).unwrap_or(frame.len());
        let head = frame.get(..start).unwrap_or_default().to_vec();
        let part = Part::Filled { frame, start };
        self.handle_decoded(now, lane, Frame::decode(lane, &head), part);
    }

    /// A frame without its body, which is `part`.
    #[inline]
    fn handle_decoded(
        &mut self,
        now: Instant,
        lane: Lane,
        decoded: Result<Frame<'_>, FrameError>,
        part: Part<'_>,
    ) {
        let handled = match decoded {
            Ok(frame) => self.handle_valid(now, lane, frame, part),
            Err(error) => {
                // r[impl frame.malformed]
                self.close(CloseReason::MalformedFrame, &error.to_string());
                return;
            }
        };
        if let Err(reason) = handled {
            self.close(reason, "");
        }
    }

    /// A buffer for a large frame, of which `beginning` has come: behind what has come of its message,
    /// if it is a further part of one.
    pub(crate) fn room(&mut self, lane: Lane, bytes: usize, beginning: &[u8]) -> BytesMut {
        let (kind, flags) = match *beginning {
            [kind, flags, _, _, ..] => (kind, flags),
            _ => (frame::VOID, 0),
        };
        let id = CallId::from_wire(lane.number()).filter(|_| kind == frame::Kind::Data as u8);
        let gathered = match id {
            Some(id) if id.opener() == self.role => self.calls.gathered_mut(id),
            Some(id) => self.requests.gathered_mut(id),
            None => None,
        };
        match gathered {
            Some(message) => message.room(&mut self.shelf, bytes, beginning),
            None => self.shelf.room(bytes, flags & frame::flag::MORE != 0, beginning),
        }
    }

    /// Something came from the peer that isn't a whole frame yet.
    pub(crate) fn hear(&mut self, now: Instant) {
        self.alive.hear(now);
    }

    #[inline]
    fn handle_valid(
        &mut self,
        now: Instant,
        lane: Lane,
        frame: Frame<'_>,
        part: Part<'_>,
    ) -> Result<(), CloseReason> {
        if !self.hello_arrived && !matches!(frame, Frame::Hello(_) | Frame::Close { .. }) {
            // r[impl hello.first]
            return Err(CloseReason::HelloMissing);
        }
        if self.farewell.is_some()
            && !matches!(
                frame,
                Frame::Reply { .. }
                    | Frame::Error { .. }
                    | Frame::Data { .. }
                    | Frame::Item { .. }
                    | Frame::End
            )
        {
            return Ok(());
        }
        self.charge_bulk(bulk_cost(&frame, part.len()))?;
        let call = || CallId::from_wire(lane.number()).ok_or(CloseReason::BadCallId);
        match frame {
            Frame::Request {
                method,
                timeout_ms,
                idempotent: _,
                more,
                stream,
                extensions,
                body: _,
            } => {
                let id = call()?;
                let request = NewRequest { id, method, timeout_ms, more, stream, extensions };
                self.handle_request(now, &request, part)
            }
            Frame::Reply { stream: true, more: false, app_error: false, .. } if part.is_empty() => {
                self.handle_stream_reply(call()?)
            }
            Frame::Reply { stream: true, .. } => Err(CloseReason::MalformedFrame),
            Frame::Reply { app_error, more, stream: false, .. } => {
                self.handle_reply(call()?, app_error, more, part)
            }
            Frame::Item { more, .. } => self.handle_item(now, call()?, more, part.as_slice()),
            Frame::End => self.handle_end(call()?),
            Frame::Stop(id) => self.handle_stop(id),
            Frame::Credit { lane, bytes } => self.handle_credit(now, lane, bytes),
            Frame::Error { code, ran, text } => self.handle_error(call()?, code, ran, text),
            Frame::Data { more, abort, .. } => self.handle_data(now, call()?, more, abort, part),
            Frame::Hello(hello) => self.handle_hello(&hello),
            Frame::Cancel(id) => self.handle_cancel(id),
            Frame::Ping(token) => {
                let hasty = self.pong.replace(token).is_some();
                if hasty { self.count_stray() } else { Ok(()) }
            }
            Frame::Pong(_) if self.alive.is_answer() => Ok(()),
            Frame::Pong(_) => self.count_stray(),
            Frame::Skipped => Ok(()),
            Frame::GoAway { requests, answer } => self.handle_go_away(requests, answer),
            Frame::Close { reason, text } => {
                self.handle_close(reason, text);
                Ok(())
            }
        }
    }

    fn handle_data(
        &mut self,
        now: Instant,
        id: CallId,
        more: bool,
        abort: bool,
        part: Part<'_>,
    ) -> Result<(), CloseReason> {
        // r[impl data.progress]
        if more && part.is_empty() {
            return Err(CloseReason::Flood);
        }
        if self.handle_item_data(now, id, more, abort, part.as_slice())? {
            return Ok(());
        }
        if id.opener() == self.role {
            self.handle_reply_data(id, more, abort, part)
        } else {
            self.handle_request_data(now, id, more, abort, part)
        }
    }

    fn handle_hello(&mut self, hello: &Hello) -> Result<(), CloseReason> {
        if self.hello_arrived {
            // r[impl hello.once]
            return Err(CloseReason::HelloRepeated);
        }
        // r[impl hello.version]
        if hello.version != WIRE_VERSION {
            return Err(CloseReason::Version);
        }
        // r[impl hello.codec]
        if hello.codec != Bincode::ID {
            return Err(CloseReason::Codec);
        }
        self.peer_limits = PeerLimits::of_hello(hello);
        self.outbox.allow_bulk(self.peer_limits.window_bytes.saturating_sub(BULK_WINDOW_BASE));
        self.hello_arrived = true;
        self.send_hello();
        self.streams.wake_all(&mut self.output.wakers);
        self.wake_writers(WAKE_MAX);
        self.admit();
        Ok(())
    }

    /// The peer begins nothing new, or answers that it doesn't. Spec: `r[drain.answer]`.
    fn handle_go_away(&mut self, sent: u64, answer: bool) -> Result<(), CloseReason> {
        // r[impl drain.answer]
        let seen = if answer { &mut self.go_away_answered } else { &mut self.asked_to_go };
        if mem::replace(seen, true) {
            return self.count_stray();
        }
        if !answer {
            self.go_away = Some(true);
        }
        match &mut self.phase {
            Phase::Draining { expected } => *expected = Some(sent),
            Phase::Open if !answer => self.begin_drain(Some(sent)),
            Phase::Open => return self.count_stray(),
            Phase::Closed(_) => {}
        }
        Ok(())
    }

    fn handle_close(&mut self, reason: CloseReason, text: &str) {
        let text = if text.is_empty() { reason.text() } else { text };
        let text = format!("the peer closed the connection: {}", shown(text));
        let closed = Closed::new(reason.kind(), text);
        // Lanes overtake each other: answers that the peer has sent before may come after this.
        let awaits = self.calls.open() > 0 && !planted("close-beats-replies");
        if reason == CloseReason::Done && awaits {
            self.take_back_queued(&closed);
            self.farewell = Some(Box::new(closed));
            if self.phase == Phase::Open {
                self.begin_drain(None);
            }
        } else {
            self.phase = Phase::Closed(closed);
        }
    }

    /// Fails the calls whose requests haven't left as a whole: the peer has stopped listening.
    fn take_back_queued(&mut self, closed: &Closed) {
        let sent = self.outbox.void_requests();
        for id in self.calls.queued_beyond(sent) {
            let (kind, detail) = (closed.kind, closed.text.clone());
            let ending = Ending::Failed { kind, delivery: Delivery::NotSent, detail };
            self.output.wakers.extend(self.calls.give_up(id, ending, true));
            self.taken_back = self.taken_back.saturating_add(1);
        }
    }

    /// Time has come to `now`: calls whose deadline has passed end, in both directions.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let mut expired = Vec::new();
        let calls = self.calls.expired(now, &mut expired);
        let urgent = !expired.is_empty();
        for id in expired.drain(..) {
            self.expire_call(id);
        }
        self.look_after_peer(now, urgent);
        let requests = self.requests.expired(now, &mut expired);
        for id in expired {
            self.expire_request(id);
        }
        let entries = [self.calls.slots(), self.requests.slots(), self.waiters.waiting()];
        let entries = entries.into_iter().fold(0, usize::saturating_add);
        let waiters = self.waiters.expire(now, &mut self.output.wakers);
        self.deadline_hint = super::earlier(super::earlier(calls, requests), waiters);
        let rest = SCAN_REST.saturating_mul(u32::try_from(entries).unwrap_or(u32::MAX));
        self.scan_after = now.checked_add(rest);
        self.admit();
    }

    /// Pings a peer on which something depends and that says nothing, and gives up one that doesn't
    /// react.
    fn look_after_peer(&mut self, now: Instant, urgent: bool) {
        // r[impl ping.silence] r[impl ping.requests]
        let Some(stake) = self.at_stake() else { return };
        match self.alive.check(now, stake, urgent) {
            Due::Nothing => {}
            Due::Ping(token) => {
                count(&mut self.counters.pings, true);
                self.outbox.append(|out| frame::encode_ping(out, token));
            }
            Due::GiveUp => self.close(CloseReason::Unresponsive, ""),
        }
    }

    /// Everything up to the outbox position `sent` has left this process.
    pub(crate) fn handle_sent(&mut self, sent: u64) {
        self.calls.leave(sent, &mut self.output.wakers);
    }

    /// One side has closed the connection. Callers learn it at once, although what is queued is
    /// still sent: requests that haven't left are taken out of it first.
    pub(crate) fn handle_closing(&mut self) {
        let sent = self.outbox.void_requests();
        self.lose_calls(Reach::left(sent));
    }

    /// The connection has ended without a word, or `closed` says how. One-way calls end with what has
    /// left, whatever is known of it.
    pub(crate) fn handle_lost(&mut self, closed: Closed, sent: u64, never_ran_from: Option<u64>) {
        if !self.is_closed() {
            self.phase = Phase::Closed(self.farewell.take().map_or(closed, |farewell| *farewell));
        }
        self.handle_sent(sent);
        self.lose_calls(Reach::left(sent).never_ran_from(never_ran_from));
    }

    fn lose_calls(&mut self, reach: Reach) {
        self.calls.lose(reach, &mut self.output.wakers);
        self.requests.lose();
        self.lose_streams();
        self.backlog.clear(&mut self.output.discarded);
        self.waiters.dismiss(&mut self.output.wakers);
    }
}

/// What a frame with so many bytes of a message takes of the connection's account: whatever becomes of it, its sender has paid.
pub(super) fn bulk_cost(frame: &Frame<'_>, bytes: usize) -> usize {
    // r[impl message.account] r[impl credit.cost]
    match frame {
        Frame::Request { more: true, .. } | Frame::Reply { more: true, .. } => bytes,
        Frame::Data { .. } => bytes,
        Frame::Item { .. } => bytes.saturating_add(ITEM_COST),
        _ => 0,
    }
}
