//! Any bytes are a frame or an error, and whatever we encode comes back; proptest makes them up.

use proptest::{collection::vec, prelude::*};

use super::{encode::TEXT_BYTES_MAX, *};
use crate::{
    error::{CloseReason, ErrorKind, Ran, code},
    service::MethodId,
};

fn lane() -> impl Strategy<Value = Lane> {
    prop_oneof![Just(Lane::CONTROL), Just(CALL_LANE), any::<u64>().prop_map(Lane::new)]
}

fn call() -> impl Strategy<Value = CallId> {
    let opener = prop_oneof![Just(Role::Connector), Just(Role::Acceptor)];
    (1..=CallId::SEQUENCE_MAX, 0..CallId::SLOTS_MAX, opener)
        .prop_map(|(sequence, slot, opener)| CallId::new(sequence, slot, opener))
}

/// Bytes that look like a frame up to the extensions.
fn plausible() -> impl Strategy<Value = Vec<u8>> {
    let extension_bytes = prop_oneof![3 => Just(0u16), 2 => 0..24u16, 1 => any::<u16>()];
    let rest = vec(prop_oneof![3 => Just(0u8), 2 => 0..4u8, 1 => any::<u8>()], 0..96);
    (0..14u8, any::<u8>(), extension_bytes, rest).prop_map(|(kind, flags, length, rest)| {
        let [low, high] = length.to_le_bytes();
        [&[kind, flags, low, high][..], &rest].concat()
    })
}

/// The frame of `out`, which holds one frame with its prefix.
fn decoded(out: &[u8]) -> (Lane, bool, Frame<'_>) {
    let (length, end, lane) = decode_prefix(out).expect("a prefix");
    let frame = &out[PREFIX_BYTES..];
    assert_eq!(frame.len(), length);
    (lane, end, Frame::decode(lane, frame).expect("what we encode is a frame"))
}

fn control(encode: impl FnOnce(&mut Vec<u8>), expected: &Frame<'_>) {
    let mut out = Vec::new();
    encode(&mut out);
    assert_eq!(format!("{:?}", decoded(&out)), format!("{:?}", (Lane::CONTROL, false, expected)));
}

// r[verify frame.malformed] r[verify frame.unknown]
proptest! {
    #[test]
    fn any_bytes_are_a_frame_or_an_error(lane in lane(), bytes in vec(any::<u8>(), 0..200)) {
        let _ = Frame::decode(lane, &bytes);
    }

    #[test]
    fn plausible_bytes_are_a_frame_or_an_error(lane in lane(), bytes in plausible()) {
        match Frame::decode(lane, &bytes) {
            Ok(Frame::Skipped) => prop_assert!(bytes[0] >= 128),
            Ok(_) => prop_assert!((1..=14).contains(&bytes[0])),
            Err(FrameError::UnknownKind(kind)) => prop_assert!(kind < 128 && kind == bytes[0]),
            Err(_) => {}
        }
    }

    #[test]
    fn kinds_from_128_on_are_skipped(lane in lane(), kind in 128..=255u8, rest in vec(any::<u8>(), 3..64)) {
        let bytes = [&[kind][..], &rest].concat();
        prop_assert_eq!(Frame::decode(lane, &bytes), Ok(Frame::Skipped));
    }

    #[test]
    fn any_bytes_are_metadata_or_an_error(bytes in vec(prop_oneof![0..4u8, any::<u8>()], 0..64)) {
        let Ok(metadata) = Metadata::decode(&bytes, Metadata::BYTES_MAX) else { return Ok(()) };
        let mut again = Metadata::new();
        for (key, value) in metadata.iter() {
            again.insert(key, value).unwrap();
        }
        prop_assert_eq!(again, metadata);
    }

    #[test]
    fn any_bytes_are_extensions_or_an_error(bytes in vec(prop_oneof![0..6u8, any::<u8>()], 0..64)) {
        if let Ok(extensions) = Extensions::decode(&bytes) {
            prop_assert!(extensions.metadata().len() + COMMON_BYTES <= bytes.len().max(COMMON_BYTES));
        }
    }
}

// r[verify stream.prefix] r[verify request.layout] r[verify message.frames]
proptest! {
    #[test]
    fn requests_come_back(
        id in call(),
        (method, timeout_ms) in any::<(u64, u32)>(),
        (idempotent, more, stream) in any::<(bool, bool, bool)>(),
        entries in vec((".{1,20}", vec(any::<u8>(), 0..20)), 0..8),
        body in vec(any::<u8>(), 0..64),
    ) {
        let mut metadata = Metadata::new();
        for (key, value) in &entries {
            metadata.insert(key, value).unwrap();
        }
        let mut encoded = Vec::new();
        Extensions::encode_metadata(&mut encoded, &metadata);
        let method = MethodId::from_wire(method);
        let header = RequestHeader { method, idempotent, stream, timeout_ms, extensions: &encoded };
        let mut out = Vec::new();
        framed(&mut out, id.lane(), !more, |out| {
            encode_request_header(out, &header, more);
            out.extend_from_slice(&body);
        });
        prop_assert_eq!(out.len(), PREFIX_BYTES + RequestHeader::BYTES + encoded.len() + body.len());
        let (lane, end, frame) = decoded(&out);
        prop_assert_eq!((lane, end), (id.lane(), !more));
        let extensions = Extensions::decode(&encoded).unwrap();
        let expected =
            Frame::Request { method, timeout_ms, idempotent, more, stream, extensions, body: &body };
        prop_assert_eq!(frame, expected);
        let read = Metadata::decode(extensions.metadata(), Metadata::BYTES_MAX).unwrap();
        prop_assert_eq!(read, metadata);
    }

    #[test]
    fn replies_and_data_come_back(
        id in call(),
        (more, app_error) in any::<(bool, bool)>(),
        body in vec(any::<u8>(), 0..64),
    ) {
        let mut out = Vec::new();
        framed(&mut out, id.lane(), !more, |out| {
            encode_reply_header(out, app_error, more);
            out.extend_from_slice(&body);
        });
        let reply = Frame::Reply { app_error, more, stream: false, body: &body };
        prop_assert_eq!(decoded(&out), (id.lane(), !more, reply));
        set_more(&mut out, PREFIX_BYTES, !more);
        let reply = Frame::Reply { app_error, more: !more, stream: false, body: &body };
        prop_assert_eq!(decoded(&out), (id.lane(), !more, reply));

        out.clear();
        framed(&mut out, id.lane(), !more, |out| {
            encode_data_header(out, more);
            out.extend_from_slice(&body);
        });
        let data = Frame::Data { more, abort: false, body: &body };
        prop_assert_eq!(decoded(&out), (id.lane(), !more, data));
    }

    #[test]
    fn control_frames_come_back(id in call(), number: u64, answer: bool) {
        control(|out| encode_cancel(out, id), &Frame::Cancel(id));
        control(|out| encode_ping(out, number), &Frame::Ping(number));
        control(|out| encode_pong(out, number), &Frame::Pong(number));
        let go_away = Frame::GoAway { requests: number, answer };
        control(|out| encode_go_away(out, number, answer), &go_away);
    }

    #[test]
    fn hellos_come_back(
        (version, codec) in any::<(u16, u16)>(),
        (features, instance) in any::<(u32, u128)>(),
        limits in any::<[u32; 5]>(),
    ) {
        let [frame_bytes, message_bytes, calls, metadata_bytes, window_bytes] = limits;
        let features = Features(features);
        let hello = Hello {
            version, codec, features, instance, frame_bytes, message_bytes, calls, metadata_bytes,
            window_bytes,
        };
        control(|out| encode_hello(out, &hello), &Frame::Hello(hello));
    }
}

// r[verify error.layout] r[verify error.text] r[verify close.layout] r[verify error.ran]
proptest! {
    #[test]
    fn errors_come_back_with_their_text_cut(
        id in call(),
        number in 1..=12u16,
        ran in prop_oneof![Just(Ran::Never), Just(Ran::Maybe), Just(Ran::Ended)],
        text in "\\PC{0,600}",
    ) {
        let kind = code::kind(number);
        let mut out = Vec::new();
        encode_error(&mut out, id, kind, ran, &text);
        let (lane, end, frame) = decoded(&out);
        prop_assert_eq!((lane, end), (id.lane(), true));
        let Frame::Error { code, ran: read, text: cut } = frame else { panic!("{frame:?}") };
        prop_assert_eq!((code, read), (number, ran));
        prop_assert!(is_cut(&text, cut));
    }

    #[test]
    fn closes_come_back_with_their_text_cut(code in 0..16u16, text in "\\PC{0,600}") {
        let reason = CloseReason::from_code(code);
        let mut out = Vec::new();
        encode_close(&mut out, reason, &text);
        let (lane, end, frame) = decoded(&out);
        prop_assert_eq!((lane, end), (Lane::CONTROL, true));
        let Frame::Close { reason: read, text: cut } = frame else { panic!("{frame:?}") };
        prop_assert_eq!(read, reason);
        prop_assert!(is_cut(&text, cut));
    }
}

/// Whether `cut` is as much of `text` as may be sent.
fn is_cut(text: &str, cut: &str) -> bool {
    let fits = text.len() <= TEXT_BYTES_MAX;
    text.starts_with(cut)
        && cut.len() <= TEXT_BYTES_MAX
        && if fits { cut == text } else { cut.len() > TEXT_BYTES_MAX - 4 }
}

// r[verify error.text]
#[test]
fn a_text_is_never_cut_within_a_character() {
    for width in ["a", "ß", "€", "🦀"] {
        let text = width.repeat(TEXT_BYTES_MAX);
        let mut out = Vec::new();
        let id = CallId::new(1, 0, Role::Connector);
        encode_error(&mut out, id, ErrorKind::Overloaded, Ran::Never, &text);
        let (_, _, Frame::Error { text: cut, .. }) = decoded(&out) else { panic!() };
        assert!(is_cut(&text, cut), "{width}");
        assert_eq!(cut.len(), TEXT_BYTES_MAX - TEXT_BYTES_MAX % width.len());
    }
}
