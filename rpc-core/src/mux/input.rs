//! What comes in: one function for each kind of frame, then time, then the end of the connection.

use std::{
    task::Waker,
    time::{Duration, Instant},
};

use super::{Accepted, Closed, Ending, Mux, Phase, STRAYS_MAX, TIMEOUT_MAX, Withdrawn};
use crate::{
    body::Body,
    codec::{Bincode, Codec},
    error::{CloseReason, Delivery, ErrorKind, Ran, code},
    frame::{self, CallId, Extensions, Frame, Hello, Metadata, RequestHeader, WIRE_VERSION},
    limits::PeerLimits,
    mux::{calls::Stray, requests::Stop},
    outbox::BULK_BYTES,
    service::MethodId,
    transport::{InFrame, Payload},
};

/// A REQUEST frame's fields.
struct NewRequest<'a> {
    id: CallId,
    method: MethodId,
    timeout_ms: u32,
    more: bool,
    extensions: Extensions<'a>,
}

impl Mux {
    /// Takes one frame. A violation of the protocol closes the connection, and everything that
    /// comes after it is ignored.
    #[inline]
    pub(crate) fn handle_frame(&mut self, now: Instant, frame: &InFrame<'_>) {
        // r[impl close.last]
        if matches!(self.phase, Phase::Closed(_)) {
            return;
        }
        let handled = match Frame::decode(frame.lane, frame.payload.as_slice()) {
            Ok(decoded) => self.handle_decoded(now, frame, decoded),
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

    #[inline]
    fn handle_decoded(
        &mut self,
        now: Instant,
        raw: &InFrame<'_>,
        frame: Frame<'_>,
    ) -> Result<(), CloseReason> {
        if self.peer_hello.is_none() && !matches!(frame, Frame::Hello(_) | Frame::Close { .. }) {
            // r[impl hello.first]
            return Err(CloseReason::HelloMissing);
        }
        let call = || CallId::from_wire(raw.lane.number()).ok_or(CloseReason::BadCallId);
        match frame {
            Frame::Request { method, timeout_ms, idempotent: _, more, extensions, body } => {
                let request = NewRequest { id: call()?, method, timeout_ms, more, extensions };
                self.handle_request(now, &request, body, &raw.payload)
            }
            Frame::Reply { app_error, more, body } => {
                self.handle_reply(call()?, app_error, more, body, &raw.payload)
            }
            Frame::Error { code, ran, text } => self.handle_error(call()?, code, ran, text),
            Frame::Data { more, abort, body } => self.handle_data(call()?, more, abort, body),
            Frame::Hello(hello) => self.handle_hello(&hello),
            Frame::Cancel(id) => self.handle_cancel(id),
            Frame::Ping(token) => {
                // r[impl ping.answer]
                self.outbox.append(|out| frame::encode_pong(out, token));
                Ok(())
            }
            // Streams are not part of this version, and a pong has done its work by arriving.
            Frame::Credit { .. } | Frame::Pong(_) | Frame::Skipped => Ok(()),
            Frame::GoAway { sequence, answer } => {
                self.handle_go_away(sequence, answer);
                Ok(())
            }
            Frame::Close { reason, text } => {
                let text = if text.is_empty() { reason.text() } else { text };
                let text = format!("the peer closed the connection: {}", text.escape_debug());
                self.phase = Phase::Closed(Closed { kind: reason.kind(), text });
                Ok(())
            }
        }
    }

    fn handle_hello(&mut self, hello: &Hello) -> Result<(), CloseReason> {
        if self.peer_hello.is_some() {
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
        self.peer_hello = Some(*hello);
        self.send_hello();
        self.admit();
        Ok(())
    }

    #[inline]
    fn handle_request(
        &mut self,
        now: Instant,
        request: &NewRequest<'_>,
        body: &[u8],
        payload: &Payload<'_>,
    ) -> Result<(), CloseReason> {
        let id = request.id;
        let cancelled = self.requests.open_call(id, self.outbox.terminals())?;
        // r[impl request.check]
        let metadata = match self.check_request(request, body.len(), cancelled) {
            Ok(metadata) => metadata,
            Err((kind, detail)) => {
                self.refuse(id, kind, &detail);
                return Ok(());
            }
        };
        let deadline = (request.timeout_ms != RequestHeader::NO_TIMEOUT).then(|| {
            // r[impl request.timeout]
            now + Duration::from_millis(u64::from(request.timeout_ms)).min(TIMEOUT_MAX)
        });
        let method = request.method;
        let mut accepted = Accepted { id, method, deadline, metadata, body: Body::empty() };
        if request.more {
            self.requests.begin_partial(accepted, body);
            return Ok(());
        }
        accepted.body = keep(body, payload);
        self.accept(accepted);
        Ok(())
    }

    /// Hands a complete request to whoever runs it.
    #[inline]
    fn accept(&mut self, accepted: Accepted) {
        self.requests.set_deadline(accepted.id, accepted.deadline);
        self.note_deadline(accepted.deadline);
        self.output.accepted.push(accepted);
    }

    /// Refuses a request that would break a limit, or that nobody waits for any more.
    #[inline]
    fn check_request(
        &self,
        request: &NewRequest<'_>,
        bytes: usize,
        cancelled: bool,
    ) -> Result<Metadata, (ErrorKind, String)> {
        if cancelled {
            return Err((ErrorKind::Cancelled, String::new()));
        }
        // r[impl request.expired]
        if request.timeout_ms == 0 {
            return Err((ErrorKind::DeadlineExceeded, "it had passed when the request came".into()));
        }
        self.check_message(bytes, 0, "the request")?;
        Metadata::decode(request.extensions.metadata(), self.limits.metadata_bytes as usize)
            .map_err(|error| (ErrorKind::TooLarge, error.to_string()))
    }

    /// Whether a message may grow from `had` to `bytes`.
    #[inline]
    fn check_message(
        &self,
        bytes: usize,
        had: usize,
        what: &str,
    ) -> Result<(), (ErrorKind, String)> {
        let limit = self.limits.message_bytes as usize;
        // r[impl message.size]
        if bytes > limit {
            let detail = format!("{what} has more than {limit} bytes (Limits::message_bytes)");
            return Err((ErrorKind::TooLarge, detail));
        }
        // r[impl message.reassembly]
        let held = self.requests.partial_bytes + self.calls.partial_bytes;
        let limit = self.limits.reassembly_bytes;
        if had > 0 && held + (bytes - had) > limit {
            let detail = format!(
                "incomplete messages on this connection have more than {limit} bytes \
                 (Limits::reassembly_bytes)"
            );
            return Err((ErrorKind::Overloaded, detail));
        }
        Ok(())
    }

    fn refuse(&mut self, id: CallId, kind: ErrorKind, detail: &str) {
        self.requests.refuse(id);
        self.queue_error(id, kind, Ran::Never, detail);
    }

    fn handle_data(
        &mut self,
        id: CallId,
        more: bool,
        abort: bool,
        body: &[u8],
    ) -> Result<(), CloseReason> {
        // r[impl data.progress]
        if more && body.is_empty() {
            return Err(CloseReason::Flood);
        }
        if id.opener() == self.role {
            return self.handle_reply_data(id, more, abort, body);
        }
        let Some(had) = self.requests.partial_len(id)? else { return Ok(()) };
        if abort {
            // r[impl data.abort]
            self.refuse(id, ErrorKind::Cancelled, "the request was given up half-way");
        } else if let Err((kind, detail)) =
            self.check_message(had + body.len(), had, "the request")
        {
            self.refuse(id, kind, &detail);
        } else if let Some(accepted) = self.requests.add(id, more, body) {
            self.accept(accepted);
        }
        Ok(())
    }

    #[inline]
    fn handle_reply(
        &mut self,
        id: CallId,
        app_error: bool,
        more: bool,
        body: &[u8],
        payload: &Payload<'_>,
    ) -> Result<(), CloseReason> {
        // r[impl call.opener]
        if id.opener() != self.role {
            return Err(CloseReason::BadCallId);
        }
        let owned = match payload {
            Payload::Owned(bytes) if body.len() >= BULK_BYTES => Some(bytes.slice_ref(body)),
            _ => None,
        };
        let woken = self.calls.reply(id, app_error, more, body, owned);
        self.after_reply(woken)
    }

    fn handle_reply_data(
        &mut self,
        id: CallId,
        more: bool,
        abort: bool,
        body: &[u8],
    ) -> Result<(), CloseReason> {
        let had = self.calls.partial_len(id);
        let refused = if abort {
            Err((ErrorKind::MalformedReply, "the peer gave up half-way through the reply".into()))
        } else {
            self.check_message(had + body.len(), had, "the reply")
        };
        let woken = match refused {
            Err((kind, detail)) => {
                let ending = Ending::Failed { kind, delivery: Delivery::Replied, detail };
                Ok(self.calls.give_up(id, ending, !more))
            }
            Ok(()) => self.calls.reply_more(id, more, body),
        };
        self.after_reply(woken)
    }

    fn handle_error(
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
        if self.outbox.drop_bulk_of(id) == Some(false) {
            self.outbox.append(|out| frame::encode_abort(out, id.lane()));
        }
        let kind = code::kind(code);
        let detail = text.escape_debug().to_string();
        let woken = self.calls.fail(id, Ending::Failed { kind, delivery: ran.delivery(), detail });
        self.after_reply(woken)
    }

    #[inline]
    fn after_reply(&mut self, woken: Result<Option<Waker>, Stray>) -> Result<(), CloseReason> {
        match woken {
            Ok(waker) => {
                self.output.wakers.extend(waker);
                if self.waiters.waiting() > 0 {
                    self.admit();
                }
                Ok(())
            }
            Err(Stray::OutOfPlace) => Err(CloseReason::UnexpectedFrame),
            // r[impl reply.stray]
            Err(Stray::NoCall) => {
                self.strays += 1;
                if self.strays > STRAYS_MAX { Err(CloseReason::Flood) } else { Ok(()) }
            }
        }
    }

    fn handle_cancel(&mut self, id: CallId) -> Result<(), CloseReason> {
        // r[impl cancel.effect]
        match self.requests.cancel(id)? {
            Stop::Handler => self.output.stopped.push((id, ErrorKind::Cancelled)),
            Stop::Unrun => self.queue_error(id, ErrorKind::Cancelled, Ran::Never, ""),
            Stop::Nothing => {}
        }
        Ok(())
    }

    /// The peer begins nothing new, or answers that it doesn't. Spec: `r[drain.answer]`.
    fn handle_go_away(&mut self, sent: u64, answer: bool) {
        if !answer {
            // r[impl drain.answer]
            self.send_go_away(true);
            if self.phase == Phase::Open {
                self.phase = Phase::Draining { expected: None };
                self.waiters.wake_all(&mut self.output.wakers);
            }
        }
        if let Phase::Draining { expected } = &mut self.phase {
            *expected = Some(sent);
        }
    }

    /// Time has come to `now`: calls whose deadline has passed end, in both directions.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let mut expired = Vec::new();
        let mut hint = self.calls.expired(now, &mut expired);
        for id in expired.drain(..) {
            self.expire_call(id);
        }
        hint = super::earlier(hint, self.requests.expired(now, &mut expired));
        for id in expired {
            // r[impl request.deadline]
            self.output.stopped.push((id, ErrorKind::DeadlineExceeded));
        }
        self.deadline_hint =
            super::earlier(hint, self.waiters.expire(now, &mut self.output.wakers));
        self.admit();
    }

    /// The deadline of one of this side's calls has passed.
    fn expire_call(&mut self, id: CallId) {
        let Some(withdrawn) = self.withdraw(id) else { return };
        // r[impl delivery.table]
        let delivery = match withdrawn {
            Withdrawn::Unheard | Withdrawn::Aborted => Delivery::NotSent,
            Withdrawn::Sent => Delivery::Unknown,
        };
        let kind = ErrorKind::DeadlineExceeded;
        let ending = Ending::Failed { kind, delivery, detail: String::new() };
        let waker = self.calls.give_up(id, ending, withdrawn == Withdrawn::Unheard);
        self.output.wakers.extend(waker);
        if withdrawn == Withdrawn::Sent {
            self.send_cancel(id);
        }
    }

    /// One side has closed the connection. Callers learn it at once, although what is queued is
    /// still sent: requests that haven't left are taken out of it first.
    pub(crate) fn handle_closing(&mut self) {
        let sent = self.outbox.void_requests();
        self.calls.lose(sent, &mut self.output.wakers);
        self.waiters.wake_all(&mut self.output.wakers);
    }

    /// The connection has ended without a word, or `closed` says how. `sent` is the position up to
    /// which frames have left this process.
    pub(crate) fn handle_lost(&mut self, closed: Closed, sent: u64) {
        if !matches!(self.phase, Phase::Closed(_)) {
            self.phase = Phase::Closed(closed);
        }
        self.calls.lose(sent, &mut self.output.wakers);
        self.waiters.wake_all(&mut self.output.wakers);
    }
}

/// Keeps a body: small ones are copied to their exact size, so that a short request never pins a
/// large read buffer.
#[inline]
fn keep(body: &[u8], payload: &Payload<'_>) -> Body {
    match payload {
        Payload::Owned(bytes) if body.len() >= BULK_BYTES => Body::Shared(bytes.slice_ref(body)),
        _ => Body::Buffer(body.to_vec()),
    }
}
