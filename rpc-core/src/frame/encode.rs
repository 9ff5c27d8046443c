//! Writes frames; the decoder in `decode` checks what these functions promise.

use super::{COMMON_BYTES, CallId, END_BIT, Hello, Kind, Lane, PREFIX_BYTES, flag};
use crate::{
    error::{CloseReason, ErrorKind, Ran, code},
    service::MethodId,
};

/// Text in ERROR and CLOSE frames is cut to this many bytes. Spec: `r[error.text]`.
pub(crate) const TEXT_BYTES_MAX: usize = 1024;

/// Writes the prefix of a frame of `length` bytes. Spec: `r[stream.prefix]`.
#[inline]
pub(crate) fn encode_prefix(out: &mut Vec<u8>, lane: Lane, length: usize, end: bool) {
    debug_assert!(length < END_BIT as usize);
    #[expect(clippy::cast_possible_truncation, reason = "frames are below 2 GiB, see Limits")]
    let word = length as u32 | if end { END_BIT } else { 0 };
    // r[impl stream.prefix]
    let mut prefix = [0; PREFIX_BYTES];
    prefix[..4].copy_from_slice(&word.to_le_bytes());
    prefix[4..].copy_from_slice(&lane.number().to_le_bytes());
    out.extend_from_slice(&prefix);
}

/// Writes a whole frame: prefix, then what `write` appends.
#[inline]
pub(crate) fn framed(out: &mut Vec<u8>, lane: Lane, end: bool, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    encode_prefix(out, lane, 0, end);
    write(out);
    patch_length(out, start);
}

/// Sets the length in the prefix at `start` to what follows it.
#[inline]
pub(crate) fn patch_length(out: &mut [u8], start: usize) {
    let Some(frame) = out.get_mut(start..) else { return };
    #[expect(clippy::cast_possible_truncation, reason = "frames are below 2 GiB, see Limits")]
    let length = frame.len().saturating_sub(PREFIX_BYTES) as u32;
    if let Some(word) = frame.first_chunk_mut::<4>() {
        let end = u32::from_le_bytes(*word) & END_BIT;
        *word = (length | end).to_le_bytes();
    }
}

/// Marks a frame in stream layout as the last of its lane.
pub(crate) fn set_end(frame: &mut [u8]) {
    if let Some(word) = frame.first_chunk_mut::<4>() {
        // r[impl lane.end]
        *word = (u32::from_le_bytes(*word) | END_BIT).to_le_bytes();
    }
}

/// Sets or clears the flag MORE of the frame that begins at `at`.
pub(crate) fn set_more(out: &mut [u8], at: usize, more: bool) {
    if let Some([_, flags, ..]) = out.get_mut(at..) {
        *flags = *flags & !flag::MORE | if more { flag::MORE } else { 0 };
    }
}

/// What a REQUEST frame says before its body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestHeader<'a> {
    pub(crate) method: MethodId,
    pub(crate) idempotent: bool,
    /// Whether items follow.
    pub(crate) stream: bool,
    /// Milliseconds until the deadline; [`NO_TIMEOUT`](RequestHeader::NO_TIMEOUT) for none.
    pub(crate) timeout_ms: u32,
    /// Encoded extensions, below 64 KiB.
    pub(crate) extensions: &'a [u8],
}

impl RequestHeader<'_> {
    /// The timeout that means none. Spec: `r[request.timeout]`.
    pub(crate) const NO_TIMEOUT: u32 = u32::MAX;
    /// Bytes of the header without extensions.
    pub(crate) const BYTES: usize = COMMON_BYTES + 12;
}

/// Spec: `r[request.layout]`.
#[inline]
pub(crate) fn encode_request_header(out: &mut Vec<u8>, header: &RequestHeader<'_>, more: bool) {
    let mut flags = if more { flag::MORE } else { 0 };
    if header.idempotent {
        flags |= flag::IDEMPOTENT;
    }
    if header.stream {
        flags |= flag::STREAM;
    }
    // r[impl request.layout]
    let mut fixed = [0; RequestHeader::BYTES];
    fixed[..4].copy_from_slice(&common(Kind::Request, flags, header.extensions.len()));
    fixed[4..8].copy_from_slice(&header.timeout_ms.to_le_bytes());
    fixed[8..].copy_from_slice(&header.method.number().to_le_bytes());
    out.extend_from_slice(&fixed);
    out.extend_from_slice(header.extensions);
}

/// Spec: `r[reply.layout]`.
#[inline]
pub(crate) fn encode_reply_header(out: &mut Vec<u8>, app_error: bool, more: bool) {
    // r[impl reply.layout]
    let flags = if more { flag::MORE } else { 0 } | if app_error { flag::APP_ERROR } else { 0 };
    out.extend_from_slice(&common(Kind::Reply, flags, 0));
}

/// Spec: `r[data.layout]`.
pub(crate) fn encode_data_header(out: &mut Vec<u8>, more: bool) {
    // r[impl data.layout]
    out.extend_from_slice(&common(Kind::Data, if more { flag::MORE } else { 0 }, 0));
}

/// Spec: `r[item.layout]`.
#[inline]
pub(crate) fn encode_item_header(out: &mut Vec<u8>, more: bool) {
    // r[impl item.layout]
    out.extend_from_slice(&common(Kind::Item, if more { flag::MORE } else { 0 }, 0));
}

/// The beginning of a stream of items, in place of a reply. Spec: `r[reply.stream]`.
pub(crate) fn encode_stream_reply(out: &mut Vec<u8>, call: CallId) {
    // r[impl reply.stream]
    framed(out, call.lane(), false, |out| {
        out.extend_from_slice(&common(Kind::Reply, flag::STREAM, 0));
    });
}

/// The end of the items of one direction. Spec: `r[item.end]`.
pub(crate) fn encode_end(out: &mut Vec<u8>, call: CallId) {
    // r[impl item.end] r[impl lane.end]
    framed(out, call.lane(), true, |out| out.extend_from_slice(&common(Kind::End, 0, 0)));
}

/// Spec: `r[stop.layout]`.
pub(crate) fn encode_stop(out: &mut Vec<u8>, call: CallId) {
    // r[impl stop.layout]
    control(out, Kind::Stop, &call.lane().number().to_le_bytes());
}

/// Spec: `r[credit.layout]`.
pub(crate) fn encode_credit(out: &mut Vec<u8>, lane: Lane, bytes: u32) {
    // r[impl credit.layout]
    let mut body = [0; 12];
    body[..8].copy_from_slice(&lane.number().to_le_bytes());
    body[8..].copy_from_slice(&bytes.to_le_bytes());
    control(out, Kind::Credit, &body);
}

/// The end of a message that is given up. Spec: `r[data.abort]`.
pub(crate) fn encode_abort(out: &mut Vec<u8>, lane: Lane) {
    // r[impl data.abort]
    framed(out, lane, true, |out| out.extend_from_slice(&common(Kind::Data, flag::ABORT, 0)));
}

/// Spec: `r[error.layout]`.
pub(crate) fn encode_error(out: &mut Vec<u8>, call: CallId, kind: ErrorKind, ran: Ran, text: &str) {
    // r[impl error.layout] r[impl lane.end]
    framed(out, call.lane(), true, |out| {
        out.extend_from_slice(&common(Kind::Error, 0, 0));
        out.extend_from_slice(&code::of(kind).to_le_bytes());
        out.extend_from_slice(&[ran as u8, 0]);
        out.extend_from_slice(clipped(text).as_bytes());
    });
}

/// Spec: `r[hello.layout]`.
pub(crate) fn encode_hello(out: &mut Vec<u8>, hello: &Hello) {
    // r[impl hello.layout]
    framed(out, Lane::CONTROL, false, |out| {
        out.extend_from_slice(&common(Kind::Hello, 0, 0));
        hello.encode(out);
    });
}

/// Spec: `r[cancel.layout]`.
pub(crate) fn encode_cancel(out: &mut Vec<u8>, call: CallId) {
    // r[impl cancel.layout]
    control(out, Kind::Cancel, &call.lane().number().to_le_bytes());
}

/// Spec: `r[ping.layout]`.
pub(crate) fn encode_ping(out: &mut Vec<u8>, token: u64) {
    // r[impl ping.layout]
    control(out, Kind::Ping, &token.to_le_bytes());
}

/// Spec: `r[ping.layout]`.
pub(crate) fn encode_pong(out: &mut Vec<u8>, token: u64) {
    // r[impl ping.layout]
    control(out, Kind::Pong, &token.to_le_bytes());
}

/// Spec: `r[go-away.layout]`.
pub(crate) fn encode_go_away(out: &mut Vec<u8>, requests: u64, answer: bool) {
    // r[impl go-away.layout]
    framed(out, Lane::CONTROL, false, |out| {
        let flags = if answer { flag::ANSWER } else { 0 };
        out.extend_from_slice(&common(Kind::GoAway, flags, 0));
        out.extend_from_slice(&requests.to_le_bytes());
    });
}

/// Spec: `r[close.layout]`.
pub(crate) fn encode_close(out: &mut Vec<u8>, reason: CloseReason, text: &str) {
    // r[impl close.layout] r[impl lane.end]
    framed(out, Lane::CONTROL, true, |out| {
        out.extend_from_slice(&common(Kind::Close, 0, 0));
        out.extend_from_slice(&reason.code().to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(clipped(text).as_bytes());
    });
}

fn control(out: &mut Vec<u8>, kind: Kind, body: &[u8]) {
    framed(out, Lane::CONTROL, false, |out| {
        out.extend_from_slice(&common(kind, 0, 0));
        out.extend_from_slice(body);
    });
}

/// The four bytes that every frame begins with. Spec: `r[frame.common]`.
#[inline]
fn common(kind: Kind, flags: u8, extension_bytes: usize) -> [u8; COMMON_BYTES] {
    // r[impl frame.common]
    debug_assert!(extension_bytes <= usize::from(u16::MAX));
    #[expect(clippy::cast_possible_truncation, reason = "extensions are limited to 16 KiB")]
    let [low, high] = (extension_bytes as u16).to_le_bytes();
    [kind as u8, flags, low, high]
}

/// Cuts a text to what a frame may carry, at a character boundary.
fn clipped(text: &str) -> &str {
    // r[impl error.text]
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    text.get(..end).unwrap_or_default()
}
