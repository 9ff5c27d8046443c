//! Fuzz target: any bytes are a frame or an error, and what is a frame is written and read again as
//! the same one.

use super::{
    CallId, Extensions, Frame, FrameError, Kind, Lane, Metadata, PREFIX_BYTES, RequestHeader,
    TEXT_BYTES_MAX, decode_prefix, encode_abort, encode_cancel, encode_close, encode_credit,
    encode_data_header, encode_end, encode_error, encode_go_away, encode_hello, encode_item_header,
    encode_ping, encode_pong, encode_reply_header, encode_request_header, encode_stop,
    encode_stream_reply, framed,
};
use crate::{error::code, limits::PeerLimits};

/// Takes a prefix, and a frame behind it, whatever length the prefix says.
///
/// # Panics
/// If something is wrong.
pub fn frame(bytes: &[u8]) {
    let Some((_, _, lane)) = decode_prefix(bytes) else { return };
    let bytes = &bytes[PREFIX_BYTES..];
    let Ok(metadata) = check_metadata(bytes) else { return check(lane, bytes) };
    assert!(metadata.len() <= bytes.len());
    check(lane, bytes);
}

fn check(lane: Lane, bytes: &[u8]) {
    let decoded = Frame::decode(lane, bytes);
    let kind = bytes.first().copied().unwrap_or(0);
    let frame = match decoded {
        Ok(Frame::Skipped) => return assert!(kind >= 128),
        Ok(frame) => frame,
        Err(FrameError::UnknownKind(unknown)) => {
            return assert!(unknown < 128 && Kind::from_byte(unknown).is_none());
        }
        Err(_) => return,
    };
    assert!(Kind::from_byte(kind).is_some());
    if let Frame::Hello(hello) = &frame {
        let limits = PeerLimits::of_hello(hello);
        assert!(limits.frame_bytes >= PeerLimits::BASE.frame_bytes);
        assert!((1..=CallId::SLOTS_MAX).contains(&limits.calls));
    }
    let mut out = Vec::new();
    if !encode(lane, &frame, &mut out) {
        return;
    }
    let (length, _, again) = decode_prefix(&out).expect("what we encode has a prefix");
    assert_eq!((again, length), (lane, out.len() - PREFIX_BYTES));
    let again = Frame::decode(lane, &out[PREFIX_BYTES..]).expect("what we encode is a frame");
    assert_eq!(canonical(&again), canonical(&frame));
}

/// What has to survive. Extensions of an unknown kind needn't.
fn canonical(frame: &Frame<'_>) -> String {
    match frame {
        Frame::Request { extensions, .. } => {
            let metadata = check_metadata(extensions.metadata());
            let text = format!("{frame:?}");
            let (fixed, rest) = text.split_once("extensions").expect("a field");
            let (_, body) = rest.rsplit_once("body").expect("a field");
            format!("{fixed}{metadata:?}{body}")
        }
        Frame::Error { code, ran, text } => format!("{:?} {ran:?} {text}", code::kind(*code)),
        other => format!("{other:?}"),
    }
}

/// Any bytes are metadata or an error, and metadata can be made of its entries.
fn check_metadata(bytes: &[u8]) -> Result<Metadata, ()> {
    let metadata = Metadata::decode(bytes, Metadata::BYTES_MAX).map_err(drop)?;
    let mut again = Metadata::new();
    for (key, value) in metadata.iter() {
        again.insert(key, value).expect("what was accepted from a peer may be sent");
    }
    assert_eq!(again, metadata);
    Ok(metadata)
}

/// Writes a frame as we would. Returns whether we ever would.
fn encode(lane: Lane, frame: &Frame<'_>, out: &mut Vec<u8>) -> bool {
    let id = CallId::from_wire(lane.number());
    match (frame, id) {
        (Frame::Hello(hello), _) => encode_hello(out, hello),
        (Frame::Cancel(id), _) => encode_cancel(out, *id),
        (Frame::Stop(id), _) => encode_stop(out, *id),
        (Frame::Ping(token), _) => encode_ping(out, *token),
        (Frame::Pong(token), _) => encode_pong(out, *token),
        (Frame::Credit { lane, bytes }, _) => encode_credit(out, *lane, *bytes),
        (Frame::GoAway { requests, answer }, _) => encode_go_away(out, *requests, *answer),
        (Frame::Close { reason, text }, _) if text.len() <= TEXT_BYTES_MAX => {
            encode_close(out, *reason, text);
        }
        (Frame::Error { code, ran, text }, Some(id)) if text.len() <= TEXT_BYTES_MAX => {
            encode_error(out, id, code::kind(*code), *ran, text);
        }
        (Frame::End, Some(id)) => encode_end(out, id),
        (Frame::Data { abort: true, more: false, body: [] }, _) => encode_abort(out, lane),
        (Frame::Data { abort: false, more, body }, _) => framed(out, lane, !more, |out| {
            encode_data_header(out, *more);
            out.extend_from_slice(body);
        }),
        (Frame::Item { more, body }, _) => framed(out, lane, false, |out| {
            encode_item_header(out, *more);
            out.extend_from_slice(body);
        }),
        (Frame::Reply { app_error: false, more: false, stream: true, body: [] }, Some(id)) => {
            encode_stream_reply(out, id);
        }
        (Frame::Reply { app_error, more, stream: false, body }, _) => {
            framed(out, lane, !more, |out| {
                encode_reply_header(out, *app_error, *more);
                out.extend_from_slice(body);
            });
        }
        (Frame::Request { .. }, _) => encode_request(lane, frame, out),
        _ => return false,
    }
    true
}

fn encode_request(lane: Lane, frame: &Frame<'_>, out: &mut Vec<u8>) {
    let &Frame::Request { method, timeout_ms, idempotent, more, stream, extensions, body } = frame
    else {
        return;
    };
    let mut encoded = Vec::new();
    match check_metadata(extensions.metadata()) {
        Ok(metadata) => Extensions::encode_metadata(&mut encoded, &metadata),
        // Not metadata: the entry comes back as it is.
        Err(()) => {
            let value = extensions.metadata();
            let length = u16::try_from(value.len()).expect("an extension's length");
            encoded.extend_from_slice(&[1, 0]);
            encoded.extend_from_slice(&length.to_le_bytes());
            encoded.extend_from_slice(value);
        }
    }
    let header = RequestHeader { method, idempotent, stream, timeout_ms, extensions: &encoded };
    framed(out, lane, !more, |out| {
        encode_request_header(out, &header, more);
        out.extend_from_slice(body);
    });
}
