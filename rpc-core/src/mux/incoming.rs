//! What happens to the calls of the peer: from the request's first frame to the terminal frame.

use std::{
    task::Waker,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{Accepted, CallId, Mux, Phase, Start, TIMEOUT_MAX, part::Part, requests::Stop};
use crate::{
    body::Body,
    counters::count,
    error::{CloseReason, ErrorKind, Ran},
    frame::{self, Extensions, Metadata, MetadataError, RequestHeader},
    outbox::BULK_BYTES,
    planted::planted,
    service::MethodId,
};

/// A REQUEST frame's fields.
pub(super) struct NewRequest<'a> {
    pub(super) id: CallId,
    pub(super) method: MethodId,
    pub(super) timeout_ms: u32,
    pub(super) more: bool,
    pub(super) stream: bool,
    pub(super) extensions: Extensions<'a>,
}

/// What replies on a connection may be like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReplyLimits {
    /// The largest reply that both sides accept.
    pub(crate) message_bytes: usize,
    frame_bytes: usize,
    /// How many more bytes of replies may be queued before further requests wait.
    pub(crate) room: usize,
}

impl ReplyLimits {
    /// From this size on, a reply isn't copied into a frame.
    pub(crate) fn bulk_bytes(self) -> usize {
        BULK_BYTES.min(self.frame_bytes.saturating_sub(frame::DATA_HEADER_BYTES - 1))
    }
}

impl Mux {
    // ---- mutators

    /// Whether the handler of this call is still wanted, and its terminal frame not queued yet.
    /// Afterwards it counts as queued: the caller appends it at once.
    #[inline]
    pub(crate) fn finish(&mut self, id: CallId) -> bool {
        self.end_request_streams(id);
        self.requests.finish(id) && !self.is_closed()
    }

    /// The reply to a call is a stream: says so, and lets its items follow. Returns `false` if the
    /// call is over.
    pub(crate) fn begin_stream(&mut self, id: CallId) -> bool {
        if !self.requests.is_running(id) || self.is_closed() {
            return false;
        }
        // Nobody waits for an end from now on, but for the next item.
        self.requests.set_deadline(id, None);
        self.streams.relax(id);
        self.streams.open_writer(id, None, false);
        self.outbox.append(|out| frame::encode_stream_reply(out, id));
        true
    }

    /// Queues replies that were staged outside of the lock. Each ends a call for which
    /// [`finish`](Mux::finish) returned `true`.
    #[inline]
    pub(crate) fn append_staged(&mut self, staged: &[u8], terminals: u32) {
        if !self.is_closed() {
            self.outbox.append_staged(staged, terminals);
        }
    }

    /// Queues a reply whose body, and what follows it, are sent without being copied.
    pub(crate) fn queue_bulk_reply(
        &mut self,
        id: CallId,
        app_error: bool,
        body: Bytes,
        tail: Bytes,
    ) {
        let mut header = Vec::with_capacity(frame::DATA_HEADER_BYTES);
        frame::encode_reply_header(&mut header, app_error, false);
        self.outbox.push_bulk(id, header, [body, tail], true);
        self.requests.answering(id);
    }

    /// Queues a small reply as the terminal frame of one of the peer's calls.
    pub(crate) fn queue_reply(&mut self, id: CallId, app_error: bool, body: &[u8]) {
        self.outbox.append(|out| {
            frame::framed(out, id.lane(), true, |out| {
                frame::encode_reply_header(out, app_error, false);
                out.extend_from_slice(body);
            });
        });
        self.outbox.count_terminal();
    }

    /// What replies may be like.
    pub(crate) fn reply_limits(&self) -> ReplyLimits {
        let message_bytes = self.peer_limits.message_bytes.min(self.limits.message_bytes as usize);
        let room = self.limits.reply_bytes.saturating_sub(self.waiting_bytes());
        ReplyLimits { message_bytes, frame_bytes: self.frame_bytes(), room }
    }

    /// Whether the handler of one of the peer's calls is still wanted.
    pub(crate) fn is_running(&self, id: CallId) -> bool {
        self.requests.is_running(id)
    }

    /// The deadline of one of the peer's calls, as it is now. `None` when the call is over.
    pub(crate) fn deadline_of(&self, id: CallId) -> Option<Option<Instant>> {
        self.requests.deadline_of(id)
    }

    /// Notes why the handler of a call is being stopped, for its terminal frame.
    pub(crate) fn note_stop(&mut self, id: CallId, why: ErrorKind) {
        self.requests.note_stop(id, why);
    }

    /// The handler of a call is gone before it ended. `ran` says whether it had been started.
    pub(crate) fn end_stopped(&mut self, id: CallId, ran: Ran) {
        let why = self.requests.stop_reason(id).unwrap_or(ErrorKind::ShuttingDown);
        if self.finish(id) {
            self.queue_error(id, why, ran, "");
        }
    }

    /// Requests of so many bytes are going to be started in tasks of their own.
    pub(crate) fn hold(&mut self, bytes: usize) {
        self.backlog.bytes = self.backlog.bytes.saturating_add(bytes);
    }

    /// A request of so many bytes that was held is being started, or never will be.
    pub(crate) fn release(&mut self, id: CallId, bytes: usize) {
        debug_assert!(bytes <= self.backlog.bytes);
        self.backlog.bytes = self.backlog.bytes.saturating_sub(bytes);
        self.output.discarded.extend(self.backlog.leave(id));
    }

    /// Whether a handler may start: not while too many replies wait for a peer that doesn't read,
    /// for its own would come on top of them.
    pub(crate) fn may_start(&mut self, id: CallId, bytes: usize, waker: &Waker) -> Start {
        if self.is_closed() || !self.requests.is_running(id) {
            return Start::Never;
        }
        if self.has_reply_room() {
            self.release(id, bytes);
            return Start::Now;
        }
        // The task of a handler is ours, and so is its waker: no user code runs here.
        self.output.discarded.extend(self.backlog.park(id, waker.clone()));
        Start::Wait
    }

    /// Wakes the request that has waited longest, if there is room for its reply. It wakes the next
    /// one in turn, so that they don't all start at once.
    pub(crate) fn start_next(&mut self) {
        if self.has_reply_room() {
            self.output.wakers.extend(self.backlog.next());
        }
    }

    fn has_reply_room(&self) -> bool {
        self.waiting_bytes() < self.limits.reply_bytes
    }

    /// What counts against `Limits::reply_bytes`.
    fn waiting_bytes(&self) -> usize {
        match self.outbox.queued_bytes() {
            few if few < self.limits.reply_bytes => few,
            _ => self.outbox.bytes_beside_the_largest(),
        }
    }

    /// Queues an error as the terminal frame of one of the peer's calls.
    pub(crate) fn queue_error(&mut self, id: CallId, kind: ErrorKind, ran: Ran, text: &str) {
        count(&mut self.counters.requests_refused, ran == Ran::Never);
        count(&mut self.counters.requests_stopped, ran == Ran::Maybe);
        count(&mut self.counters.panics, kind == ErrorKind::HandlerPanicked);
        self.outbox.append(|out| frame::encode_error(out, id, kind, ran, text));
        self.outbox.count_terminal();
    }

    // ---- inputs

    #[inline]
    pub(super) fn handle_request(
        &mut self,
        now: Instant,
        request: &NewRequest<'_>,
        part: Part<'_>,
    ) -> Result<(), CloseReason> {
        let id = request.id;
        let cancelled = self.requests.open_call(id, self.outbox.terminals())?;
        // r[impl request.check]
        let metadata = match self.check_request(request, part.len(), cancelled) {
            Ok(metadata) => metadata,
            Err((kind, detail)) => {
                self.refuse(id, kind, &detail);
                return Ok(());
            }
        };
        // r[impl request.timeout]
        let timeout = (request.timeout_ms != RequestHeader::NO_TIMEOUT)
            .then(|| Duration::from_millis(request.timeout_ms.into()).min(TIMEOUT_MAX));
        let deadline = timeout.and_then(|timeout| now.checked_add(timeout));
        self.note_deadline(deadline);
        let mut accepted = Accepted {
            id,
            method: request.method,
            deadline,
            metadata,
            stream: request.stream,
            patience: deadline.map(|deadline| deadline.saturating_duration_since(now)),
            body: Body::empty(),
        };
        if request.more {
            self.requests.begin_partial(accepted, &mut self.shelf, part);
            return Ok(());
        }
        let spare = self.spare.pop().unwrap_or_default();
        accepted.body = part.into_body(&mut self.shelf, spare);
        self.accept(accepted);
        Ok(())
    }

    /// Hands a complete request to whoever runs it.
    #[inline]
    fn accept(&mut self, accepted: Accepted) {
        self.requests.set_deadline(accepted.id, accepted.deadline);
        if accepted.stream {
            // r[impl request.stream]
            self.streams.open_reader(accepted.id, accepted.patience);
        }
        let batch = &mut self.output.accepted;
        // Many connections have one call at a time, and a vector begins with room for four.
        if batch.capacity() == 0 {
            batch.reserve_exact(1);
        }
        batch.push(accepted);
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
            return Err((
                ErrorKind::DeadlineExceeded,
                "it had passed when the request came".into(),
            ));
        }
        if matches!(self.phase, Phase::Draining { expected: Some(n) } if self.requests.received > n)
        {
            let detail = "the request came after the last one that was announced".into();
            return Err((ErrorKind::ShuttingDown, detail));
        }
        let held = request.more || self.backlog.bytes > 0;
        self.check_message(0, bytes, held, "the request")?;
        Metadata::decode(request.extensions.metadata(), self.limits.metadata_bytes as usize)
            .map_err(|error| match error {
                MetadataError::Malformed => (ErrorKind::MalformedRequest, error.to_string()),
                _ => (ErrorKind::TooLarge, error.to_string()),
            })
    }

    /// Whether a message of which `had` bytes are here may grow by `bytes`. `held` says that it isn't
    /// used at once: more of it is to come, or others are to be run before.
    #[inline]
    pub(super) fn check_message(
        &self,
        had: usize,
        bytes: usize,
        held: bool,
        what: &str,
    ) -> Result<(), (ErrorKind, String)> {
        let limit = self.limits.message_bytes as usize;
        // r[impl message.size]
        if had.saturating_add(bytes) > limit {
            let detail = format!("{what} has more than {limit} bytes (Limits::message_bytes)");
            return Err((ErrorKind::TooLarge, detail));
        }
        // r[impl message.reassembly]
        let limit = self.limits.held_bytes;
        if held && self.held_bytes().saturating_add(bytes) > limit {
            let detail = format!(
                "messages that are incomplete or wait to be run have more than {limit} bytes on \
                 this connection (Limits::held_bytes)"
            );
            return Err((ErrorKind::Overloaded, detail));
        }
        Ok(())
    }

    /// Bytes of messages that aren't used yet.
    #[expect(clippy::arithmetic_side_effects, reason = "all of them are in memory at once")]
    pub(super) fn held_bytes(&self) -> usize {
        self.requests.partial_bytes
            + self.calls.partial_bytes
            + self.backlog.bytes
            + self.streams.partial_bytes
    }

    fn refuse(&mut self, id: CallId, kind: ErrorKind, detail: &str) {
        self.end_request_streams(id);
        self.requests.refuse(id);
        self.queue_error(id, kind, Ran::Never, detail);
    }

    pub(super) fn handle_request_data(
        &mut self,
        now: Instant,
        id: CallId,
        more: bool,
        abort: bool,
        part: Part<'_>,
    ) -> Result<(), CloseReason> {
        let Some(had) = self.requests.partial_len(id)? else { return Ok(()) };
        if abort {
            // r[impl data.abort]
            if planted("abort-unanswered") {
                self.requests.refuse(id);
                return Ok(());
            }
            self.refuse(id, ErrorKind::Cancelled, "the request was given up half-way");
        } else if let Err((kind, detail)) = self.check_message(had, part.len(), true, "the request")
        {
            self.refuse(id, kind, &detail);
        } else if let Some(accepted) = self.requests.add(id, more, &mut self.shelf, part) {
            // r[impl request.expired]
            if accepted.deadline.is_some_and(|deadline| deadline <= now) {
                self.refuse(id, ErrorKind::DeadlineExceeded, INCOMPLETE);
            } else {
                self.accept(accepted);
            }
        }
        Ok(())
    }

    pub(super) fn handle_cancel(&mut self, id: CallId) -> Result<(), CloseReason> {
        if !self.requests.expects_cancel() {
            self.count_stray()?;
        }
        // r[impl cancel.effect]
        match self.requests.cancel(id)? {
            Stop::Handler if self.forget_accepted(id) => {
                self.requests.finish(id);
                self.queue_error(id, ErrorKind::Cancelled, Ran::Never, "");
                // No handler has its items, and none will give them up.
                self.end_request_streams(id);
                self.drop_reader(id);
            }
            Stop::Handler => {
                self.output.stopped.push((id, ErrorKind::Cancelled));
                if planted("handler-outlives-its-slot") {
                    self.end_stopped(id, Ran::Maybe);
                }
            }
            Stop::Unrun => self.queue_error(id, ErrorKind::Cancelled, Ran::Never, ""),
            Stop::Reply => self.take_back_reply(id),
            Stop::Nothing => {}
        }
        Ok(())
    }

    /// Takes back a request that came in the same read as its cancel. It is among the last.
    fn forget_accepted(&mut self, id: CallId) -> bool {
        let accepted = &mut self.output.accepted;
        let at = accepted.iter().rposition(|accepted| accepted.id == id);
        at.map(|at| accepted.remove(at)).is_some()
    }

    /// Nobody waits for a large reply any more: what hasn't been drawn of it isn't sent.
    fn take_back_reply(&mut self, id: CallId) {
        match self.outbox.drop_bulk_of(id) {
            Some(header) if !header.is_empty() => {
                self.queue_error(id, ErrorKind::Cancelled, Ran::Ended, "");
            }
            Some(_) => {
                self.outbox.append(|out| frame::encode_abort(out, id.lane()));
                self.outbox.count_terminal();
            }
            None => {}
        }
    }

    /// The deadline of one of the peer's calls has passed.
    pub(super) fn expire_request(&mut self, id: CallId) {
        if self.requests.is_running(id) {
            // r[impl request.deadline]
            self.output.stopped.push((id, ErrorKind::DeadlineExceeded));
        } else {
            self.refuse(id, ErrorKind::DeadlineExceeded, INCOMPLETE);
        }
    }
}

/// Why a request of several frames was refused at its deadline.
const INCOMPLETE: &str = "it passed before the request was complete";
