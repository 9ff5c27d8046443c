//! What happens to the calls of this side: from the wish to call to the peer's answer.

use std::{mem, task::Waker, time::Duration};

use bytes::Bytes;

use super::{
    CallId, Ending, Mux, NewCall, Opened, STRAYS_MAX, TIMEOUT_MAX, Ticket,
    calls::{Stray, Whereabouts},
    part::Part,
    shown,
    waiters::Turn,
};
use crate::{
    counters::count,
    error::{CloseReason, Delivery, ErrorKind, Ran, code},
    frame::{self, EXTENSION_HEADER_BYTES, Extensions, Metadata, PREFIX_BYTES, RequestHeader},
    limits::PeerLimits,
    outbox::BULK_BYTES,
    planted::planted,
};

/// Metadata goes with the first frame of a request, which has to hold a byte of the message too. That is
/// more than some transports prefer, and less than every peer accepts.
const _: () = assert!(
    RequestHeader::BYTES + EXTENSION_HEADER_BYTES + Metadata::BYTES_MAX
        < PeerLimits::BASE.frame_bytes
);

/// How much of a request had left when it was taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Withdrawn {
    /// Nothing: the peer will never hear of it.
    Unheard,
    /// Not all of it, so it can't have run; the peer answers with an error.
    Aborted,
    /// All of it, perhaps: the peer is told to stop, and answers.
    Sent,
}

impl Mux {
    // ---- mutators

    /// Opens a call: queues its request, or gives a place in the queue. `buffer` is the encoded
    /// arguments, and is kept for the reply when the call is opened.
    pub(crate) fn open_call(
        &mut self,
        call: &NewCall<'_>,
        ticket: Option<Ticket>,
        buffer: &mut Vec<u8>,
        mut waker: Waker,
    ) -> Opened {
        let placed = if self.accepts_calls() {
            let tail = call.tail.map_or(0, Bytes::len);
            self.place(call, ticket, buffer.len().saturating_add(tail), &mut waker)
        } else {
            Err(Opened::Gone)
        };
        let Err(instead) = placed else {
            return Opened::Call(self.queue_request(call, mem::take(buffer), waker));
        };
        self.output.discarded.push(waker);
        if let (Opened::Gone | Opened::Refused { .. }, Some(ticket)) = (&instead, ticket) {
            // The ticket is used up, and with it the place that it may stand for.
            self.leave_queue(ticket);
        }
        instead
    }

    /// Takes a place on the connection, or says what to do instead.
    #[inline]
    fn place(
        &mut self,
        call: &NewCall<'_>,
        ticket: Option<Ticket>,
        bytes: usize,
        waker: &mut Waker,
    ) -> Result<(), Opened> {
        self.check_size(call, bytes)?;
        if let Some(ticket) = ticket {
            return match self.waiters.poll(ticket, waker, &mut self.output.discarded) {
                Turn::Granted => Ok(()),
                Turn::Waiting => Err(Opened::Wait(ticket)),
                Turn::Expired => Err(Opened::Refused {
                    kind: ErrorKind::DeadlineExceeded,
                    detail: "it waited for a free place on the connection".into(),
                }),
            };
        }
        let needs_hello = self.needs_hello(call, bytes);
        if self.waiters.waiting() == 0 && self.has_room() && !needs_hello {
            return Ok(());
        }
        if self.waiters.waiting() >= self.limits.waiting_calls {
            let limit = self.limits.waiting_calls;
            return Err(Opened::Refused {
                kind: ErrorKind::Overloaded,
                detail: format!(
                    "{limit} calls wait for this connection already (Limits::waiting_calls)"
                ),
            });
        }
        self.note_deadline(call.deadline);
        let waker = mem::replace(waker, Waker::noop().clone());
        Err(Opened::Wait(self.waiters.push(waker, needs_hello, call.now, call.deadline)))
    }

    fn needs_hello(&self, call: &NewCall<'_>, bytes: usize) -> bool {
        // r[impl hello.first]
        self.hello.is_some()
            || !self.hello_arrived
                && (self.cautious && !call.idempotent || bytes > PeerLimits::BASE.message_bytes)
    }

    pub(super) fn has_room(&self) -> bool {
        self.calls.open().saturating_add(self.waiters.granted()) < self.peer_limits.calls
            && self.outbox.small_bytes() < self.limits.outbox_bytes
    }

    /// Refuses what the peer would refuse, before it is sent.
    #[inline]
    fn check_size(&self, call: &NewCall<'_>, bytes: usize) -> Result<(), Opened> {
        let too_large = |what, bytes, limit, whose| {
            let detail = format!("{what} of {bytes} bytes, {whose} accepts {limit}");
            Err(Opened::Refused { kind: ErrorKind::TooLarge, detail })
        };
        // r[impl message.size]
        let ours = self.limits.message_bytes as usize;
        if bytes > ours {
            return too_large("arguments", bytes, ours, "this side");
        }
        let metadata = call.metadata.encoded_bytes();
        if metadata > self.peer_limits.metadata_bytes {
            return too_large("metadata", metadata, self.peer_limits.metadata_bytes, "the peer");
        }
        if self.hello_arrived && bytes > self.peer_limits.message_bytes {
            return too_large("arguments", bytes, self.peer_limits.message_bytes, "the peer");
        }
        Ok(())
    }

    #[inline]
    fn queue_request(&mut self, call: &NewCall<'_>, body: Vec<u8>, waker: Waker) -> CallId {
        self.note_deadline(call.deadline);
        let mut extensions = Vec::new();
        Extensions::encode_metadata(&mut extensions, call.metadata);
        let header = RequestHeader {
            method: call.method,
            idempotent: call.idempotent,
            stream: call.stream,
            timeout_ms: timeout_ms(call.timeout),
            extensions: &extensions,
        };
        let head_bytes = extensions.len().saturating_add(RequestHeader::BYTES);
        let size = head_bytes.saturating_add(body.len());
        if self.calls.open() == 0 {
            self.alive.wait(call.now);
        }
        let id = self.calls.insert(waker, call.deadline, call.oneway);
        self.streams.note_begun(call.stream);
        if call.tail.is_some() || body.len() >= BULK_BYTES || size > self.frame_bytes() {
            let mut head = Vec::with_capacity(head_bytes);
            frame::encode_request_header(&mut head, &header, false);
            let parts = [Bytes::from(body), call.tail.cloned().unwrap_or_default()];
            if call.stream {
                self.streams.open_writer(id, call.timeout, true);
                self.outbox.push_bulk_before_items(id, head, parts);
            } else {
                self.outbox.push_bulk(id, head, parts, false);
            }
            return id;
        }
        if call.stream {
            self.streams.open_writer(id, call.timeout, false);
        }
        let in_outbox = size.saturating_add(PREFIX_BYTES);
        let position = self.outbox.append(|out| {
            out.reserve(in_outbox);
            // r[impl lane.end]
            frame::encode_prefix(out, id.lane(), size, !call.stream);
            frame::encode_request_header(out, &header, false);
            out.extend_from_slice(&body);
        });
        self.calls.queued(id, position, in_outbox, body);
        id
    }

    /// Takes a call's ending, which frees its slot.
    #[inline]
    pub(crate) fn take_ending(&mut self, id: CallId) -> Option<Ending> {
        let ending = self.calls.take_ending(id)?;
        self.admit();
        Some(ending)
    }

    /// Whether waking this waker is waking the caller of a pending call.
    pub(crate) fn will_wake(&self, id: CallId, waker: &Waker) -> bool {
        self.calls.will_wake(id, waker)
    }

    /// The caller of a pending call is to be woken through another waker from now on.
    pub(crate) fn set_waker(&mut self, id: CallId, waker: Waker) {
        let old = self.calls.set_waker(id, waker);
        self.output.discarded.push(old);
    }

    /// The caller has gone before its call ended: the peer is told to stop.
    pub(crate) fn drop_call(&mut self, id: CallId) {
        let withdrawn = self.withdraw(id);
        let is_news = matches!(withdrawn, Some(Withdrawn::Sent | Withdrawn::Aborted));
        count(&mut self.counters.calls_cancelled, is_news);
        let waker = self.calls.abandon(id);
        self.output.discarded.extend(waker);
        self.end_call_writer(id, withdrawn);
        self.drop_reader(id);
        match withdrawn {
            Some(Withdrawn::Unheard) => self.calls.forget(id),
            Some(Withdrawn::Sent) if planted("slot-freed-by-cancel") => {
                self.send_cancel(id);
                self.calls.forget(id);
            }
            Some(Withdrawn::Sent) if planted("cancel-not-sent") => {}
            Some(Withdrawn::Sent) => self.send_cancel(id),
            Some(Withdrawn::Aborted) | None => {}
        }
        self.admit();
    }

    /// A caller has gone while it waited for a place.
    pub(crate) fn leave_queue(&mut self, ticket: Ticket) {
        let granted = self.waiters.leave(ticket, &mut self.output.discarded);
        if granted && !planted("place-not-passed-on") {
            self.admit();
        }
    }

    /// Takes a pending request back, as far as it hasn't left this process. `None` when the call
    /// isn't pending.
    pub(super) fn withdraw(&mut self, id: CallId) -> Option<Withdrawn> {
        Some(match self.calls.whereabouts(id)? {
            Whereabouts::At { end, bytes } if self.outbox.void(end, bytes) => {
                if !planted("taken-back-and-counted") {
                    self.calls.unsend();
                }
                // Items among it have given back what they cost.
                self.wake_writers(1);
                Withdrawn::Unheard
            }
            Whereabouts::At { .. } => Withdrawn::Sent,
            Whereabouts::Bulk => self.withdraw_bulk(id),
        })
    }

    fn withdraw_bulk(&mut self, id: CallId) -> Withdrawn {
        let header = self.outbox.drop_bulk_of(id).unwrap_or_default();
        // r[impl drain.count]
        if !header.is_empty() && !self.counted {
            self.calls.unsend();
            return Withdrawn::Unheard;
        }
        if !self.is_closed() {
            self.outbox.append(|out| {
                if !header.is_empty() {
                    // The peer counts on this request: it gets the beginning of one.
                    let start = out.len().saturating_add(PREFIX_BYTES);
                    frame::framed(out, id.lane(), false, |out| out.extend_from_slice(&header));
                    frame::set_more(out, start, true);
                }
                frame::encode_abort(out, id.lane());
            });
        }
        Withdrawn::Aborted
    }

    /// The deadline of one of this side's calls has passed.
    pub(super) fn expire_call(&mut self, id: CallId) {
        self.fail_call(id, ErrorKind::DeadlineExceeded, String::new());
    }

    /// This side gives up a pending call: the peer is told to stop.
    pub(super) fn fail_call(&mut self, id: CallId, kind: ErrorKind, detail: String) {
        let Some(withdrawn) = self.withdraw(id) else { return };
        // r[impl delivery.table]
        let delivery = match withdrawn {
            Withdrawn::Unheard | Withdrawn::Aborted => Delivery::NotSent,
            Withdrawn::Sent if planted("sent-called-not-sent") => Delivery::NotSent,
            Withdrawn::Sent => Delivery::Unknown,
        };
        let ending = Ending::Failed { kind, delivery, detail };
        let waker = self.calls.give_up(id, ending, withdrawn == Withdrawn::Unheard);
        self.output.wakers.extend(waker);
        self.end_call_writer(id, Some(withdrawn));
        if withdrawn == Withdrawn::Sent {
            self.send_cancel(id);
        }
    }

    pub(super) fn send_cancel(&mut self, id: CallId) {
        if !self.is_closed() {
            self.outbox.append(|out| frame::encode_cancel(out, id));
        }
    }

    /// Gives free places to the calls that wait for one.
    pub(super) fn admit(&mut self) {
        while self.waiters.waiting() > 0 && self.has_room() {
            let Some(waker) = self.waiters.grant(self.hello_arrived) else { break };
            self.output.wakers.push(waker);
        }
    }

    // ---- inputs: the peer's answers

    #[inline]
    pub(super) fn handle_reply(
        &mut self,
        id: CallId,
        app_error: bool,
        more: bool,
        part: Part<'_>,
    ) -> Result<(), CloseReason> {
        // r[impl call.opener]
        if id.opener() != self.role {
            return Err(CloseReason::BadCallId);
        }
        // r[impl reply.unexpected]
        if self.streams.reads(id) {
            return Err(CloseReason::UnexpectedFrame);
        }
        if let Err(why) = self.check_message(0, part.len(), more, "the reply") {
            // One that can't be a reply yet isn't one above a limit either.
            if self.calls.is_early(id, self.outbox.drawn()) {
                return Err(CloseReason::UnexpectedFrame);
            }
            return self.give_up_reply(id, more, why);
        }
        let drawn = self.outbox.drawn();
        let woken = self.calls.reply(id, drawn, app_error, more, &mut self.shelf, part);
        if !more && woken.is_ok() {
            self.end_call_writer(id, None);
        }
        self.after_answer(woken)
    }

    /// The reply to a call is a stream.
    pub(super) fn handle_stream_reply(&mut self, id: CallId) -> Result<(), CloseReason> {
        // r[impl call.opener]
        if id.opener() != self.role {
            return Err(CloseReason::BadCallId);
        }
        // r[impl reply.unexpected]
        if self.streams.reads(id) {
            return Err(CloseReason::UnexpectedFrame);
        }
        let woken = self.calls.begin_stream(id, self.outbox.drawn());
        match &woken {
            Ok(Some(_)) => self.streams.open_reader(id, None),
            Ok(None) => self.streams.open_abandoned(id),
            Err(_) => {}
        }
        self.after_answer(woken)
    }

    pub(super) fn handle_reply_data(
        &mut self,
        id: CallId,
        more: bool,
        abort: bool,
        part: Part<'_>,
    ) -> Result<(), CloseReason> {
        let more = more && !abort;
        let Some(had) = self.calls.collected(id) else {
            if abort || !part.is_empty() {
                self.calls.note_failed_oneway(id, None);
            }
            let woken = self.calls.unwanted(id, more);
            return self.after_answer(woken);
        };
        if !more {
            self.end_call_writer(id, None);
        }
        let checked = if abort {
            Err((ErrorKind::MalformedReply, "the peer gave up half-way through the reply".into()))
        } else {
            self.check_message(had, part.len(), true, "the reply")
        };
        if let Err(why) = checked {
            return self.give_up_reply(id, more, why);
        }
        let woken = self.calls.reply_more(id, more, &mut self.shelf, part);
        self.after_answer(Ok(woken))
    }

    /// A reply can't be used. Unless its last frame has come, the peer is told to send no more.
    fn give_up_reply(
        &mut self,
        id: CallId,
        more: bool,
        (kind, detail): (ErrorKind, String),
    ) -> Result<(), CloseReason> {
        let ending = Ending::Failed { kind, delivery: Delivery::Replied, detail };
        let woken = self.calls.fail(id, ending, !more);
        if more && matches!(woken, Ok(Some(_))) {
            self.send_cancel(id);
        }
        self.after_answer(woken)
    }

    pub(super) fn handle_error(
        &mut self,
        id: CallId,
        code: u16,
        ran: Ran,
        text: &str,
    ) -> Result<(), CloseReason> {
        if id.opener() != self.role {
            return Err(CloseReason::BadCallId);
        }
        // The rest of a request that was refused half-way needn't be sent.
        let withdrawn = self.withdraw(id);
        if withdrawn == Some(Withdrawn::Unheard) {
            return Err(CloseReason::UnexpectedFrame);
        }
        let kind = code::kind(code);
        let detail = shown(text);
        self.end_call_writer(id, withdrawn);
        self.fail_call_stream(id, kind, ran, &detail);
        let ending = Ending::Failed { kind, delivery: ran.delivery(), detail };
        let woken = self.calls.fail(id, ending, true);
        self.after_answer(woken)
    }

    #[inline]
    pub(super) fn after_answer(
        &mut self,
        woken: Result<Option<Waker>, Stray>,
    ) -> Result<(), CloseReason> {
        match woken {
            Ok(waker) => {
                self.answered = true;
                self.output.wakers.extend(waker);
                if self.waiters.waiting() > 0 {
                    self.admit();
                }
                Ok(())
            }
            Err(Stray::OutOfPlace) => Err(CloseReason::UnexpectedFrame),
            // r[impl reply.late]
            Err(Stray::NoCall) if self.taken_back > 0 => {
                self.taken_back = self.taken_back.saturating_sub(1);
                Ok(())
            }
            // r[impl reply.stray]
            Err(Stray::NoCall) => self.count_stray(),
        }
    }

    /// Puts up with a frame without any use, but not with any number of them.
    // r[impl flood.strays]
    pub(super) fn count_stray(&mut self) -> Result<(), CloseReason> {
        self.strays = self.strays.saturating_add(1);
        if self.strays > STRAYS_MAX { Err(CloseReason::Flood) } else { Ok(()) }
    }
}

/// A timeout as the wire has it: milliseconds, rounded up. Spec: `r[request.timeout]`.
#[inline]
fn timeout_ms(timeout: Option<Duration>) -> u32 {
    let Some(timeout) = timeout else { return RequestHeader::NO_TIMEOUT };
    let timeout = timeout.min(TIMEOUT_MAX);
    let rest_ms = timeout.subsec_nanos().div_ceil(1_000_000);
    let ms = timeout.as_secs().saturating_mul(1000).saturating_add(rest_ms.into());
    u32::try_from(ms).unwrap_or(RequestHeader::NO_TIMEOUT - 1)
}
