//! One frame to bytes and back by itself, so that the benches can count what that costs; no kit, and
//! nothing to rely on.

use crate::{
    frame::{self, Frame, Lane, RequestHeader},
    service::MethodId,
};

/// Appends a request of one frame in stream layout, as an open call does.
pub fn encode_request(out: &mut Vec<u8>, lane: Lane, method: MethodId, body: &[u8]) {
    let header = RequestHeader {
        method,
        idempotent: false,
        stream: false,
        timeout_ms: 10_000,
        extensions: &[],
    };
    let bytes = RequestHeader::BYTES + body.len();
    out.reserve(frame::PREFIX_BYTES + bytes);
    frame::encode_prefix(out, lane, bytes, true);
    frame::encode_request_header(out, &header, false);
    out.extend_from_slice(body);
}

/// Decodes the frame in stream layout that `bytes` begin with. Returns how long the body of the
/// request in it is.
#[must_use]
pub fn decode_request(bytes: &[u8]) -> Option<usize> {
    let (length, _, lane) = frame::decode_prefix(bytes)?;
    let payload = bytes.get(frame::PREFIX_BYTES..)?.get(..length)?;
    match Frame::decode(lane, payload) {
        Ok(Frame::Request { body, .. }) => Some(body.len()),
        _ => None,
    }
}
