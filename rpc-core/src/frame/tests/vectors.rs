//! Every frame vector both ways, every truncation of it, and every vector that is no frame.

use super::*;
use crate::{
    error::{CloseReason, ErrorKind, Ran, code},
    service::MethodId,
};

/// The files that hold frames, by the kind they hold.
const FILES: [&str; 15] = [
    "hello", "request", "reply", "error", "data", "credit", "cancel", "ping", "pong", "go_away",
    "close", "item", "end", "stop", "unknown",
];

/// Bytes of the fixed fields of each kind, from the table in chapter 4.2 of the specification.
fn fixed_bytes(kind: u8) -> usize {
    [0, 44, 12, 0, 4, 0, 12, 8, 8, 8, 8, 4, 0, 0, 8].get(usize::from(kind)).copied().unwrap_or(0)
}

/// A frame in the words of the files. `bytes` is the frame as it came.
fn describe(lane: Lane, end: bool, bytes: &[u8], frame: &Frame<'_>) -> String {
    let head = format!("lane={:#x} end={}", lane.number(), u8::from(end));
    let fields = match frame {
        Frame::Hello(hello) => format!(
            "version={} codec={} features={:#x} instance={:#x} frame_bytes={} message_bytes={} \
             calls={} metadata_bytes={} window_bytes={}",
            hello.version,
            hello.codec,
            hello.features.0,
            hello.instance,
            hello.frame_bytes,
            hello.message_bytes,
            hello.calls,
            hello.metadata_bytes,
            hello.window_bytes
        ),
        Frame::Request { method, timeout_ms, idempotent, more, stream, extensions: _, body } => {
            let (more, idempotent) = (u8::from(*more), u8::from(*idempotent));
            let stream = u8::from(*stream);
            let extensions = &bytes[RequestHeader::BYTES..bytes.len() - body.len()];
            let (method, extensions) = (method.number(), hex(extensions));
            format!(
                "more={more} idempotent={idempotent} stream={stream} timeout_ms={timeout_ms} \
                 method={method:#018x} extensions={extensions} body={}",
                hex(body)
            )
        }
        Frame::Reply { app_error, more, stream, body } => {
            let (more, app_error) = (u8::from(*more), u8::from(*app_error));
            let stream = u8::from(*stream);
            format!("more={more} app_error={app_error} stream={stream} body={}", hex(body))
        }
        Frame::Item { more, body } => {
            format!("more={} body={}", u8::from(*more), hex(body))
        }
        Frame::End => return head,
        Frame::Error { code, ran, text } => {
            format!("code={code} ran={} text=\"{text}\"", *ran as u8)
        }
        Frame::Data { more, abort, body } => {
            let (more, abort) = (u8::from(*more), u8::from(*abort));
            // What lies behind an abort is not the business of whoever reads it.
            format!(
                "more={more} abort={abort} body={}",
                if abort == 1 { "-".into() } else { hex(body) }
            )
        }
        Frame::Credit { lane, bytes } => format!("credit_lane={:#x} bytes={bytes}", lane.number()),
        Frame::Cancel(call) | Frame::Stop(call) => format!("call={:#x}", call.lane().number()),
        Frame::Ping(token) | Frame::Pong(token) => format!("token={token:#x}"),
        Frame::GoAway { requests, answer } => {
            format!("answer={} requests={requests}", u8::from(*answer))
        }
        Frame::Close { reason, text } => format!("code={} text=\"{text}\"", reason.code()),
        Frame::Skipped => "skipped=1".to_owned(),
    };
    format!("{head} {fields}")
}

/// The fields of a vector, as [`describe`] puts them.
fn described(vector: &Vector) -> String {
    let fields = vector.fields.0.iter().filter(|(key, _)| key != "only");
    let words: Vec<_> = fields
        .map(|(key, value)| match (key.as_str(), value.as_str()) {
            ("text", text) => format!("text=\"{text}\""),
            ("body", _) if vector.fields.find("abort") == Some("1") => "body=-".into(),
            (key, value) => format!("{key}={value}"),
        })
        .collect();
    words.join(" ")
}

/// What our encoders make of the fields of a vector.
fn encoded(file: &str, fields: &Fields) -> Vec<u8> {
    let mut out = Vec::new();
    let lane = Lane::new(fields.u64("lane"));
    let end = fields.flag("end");
    let call = || CallId::from_wire(lane.number()).expect("a call's lane");
    let body = |key| fields.bytes(key);
    match file {
        "hello" => encode_hello(&mut out, &hello_of(fields)),
        "request" => framed(&mut out, lane, end, |out| {
            let extensions = &fields.bytes("extensions");
            let method = MethodId::from_wire(fields.u64("method"));
            let (idempotent, timeout_ms) = (fields.flag("idempotent"), fields.u32("timeout_ms"));
            let stream = fields.flag("stream");
            let header = RequestHeader { method, idempotent, stream, timeout_ms, extensions };
            encode_request_header(out, &header, fields.flag("more"));
            out.extend(body("body"));
        }),
        "reply" if fields.flag("stream") => encode_stream_reply(&mut out, call()),
        "reply" => framed(&mut out, lane, end, |out| {
            encode_reply_header(out, fields.flag("app_error"), fields.flag("more"));
            out.extend(body("body"));
        }),
        "data" if fields.flag("abort") => encode_abort(&mut out, lane),
        "data" => framed(&mut out, lane, end, |out| {
            encode_data_header(out, fields.flag("more"));
            out.extend(body("body"));
        }),
        "error" => {
            let ran = u8::try_from(fields.number("ran")).ok().and_then(Ran::from_byte).unwrap();
            let kind = code::kind(fields.u16("code"));
            encode_error(&mut out, call(), kind, ran, fields.text("text"));
        }
        "cancel" => {
            encode_cancel(&mut out, CallId::from_wire(fields.u64("call")).expect("a call's id"));
        }
        "item" => framed(&mut out, lane, end, |out| {
            encode_item_header(out, fields.flag("more"));
            out.extend(body("body"));
        }),
        "end" => encode_end(&mut out, call()),
        "stop" => {
            encode_stop(&mut out, CallId::from_wire(fields.u64("call")).expect("a call's id"));
        }
        "credit" => {
            encode_credit(&mut out, Lane::new(fields.u64("credit_lane")), fields.u32("bytes"));
        }
        "ping" => encode_ping(&mut out, fields.u64("token")),
        "pong" => encode_pong(&mut out, fields.u64("token")),
        "go_away" => encode_go_away(&mut out, fields.u64("requests"), fields.flag("answer")),
        "close" => {
            encode_close(&mut out, CloseReason::from_code(fields.u16("code")), fields.text("text"));
        }
        other => panic!("nothing of ours makes {other}"),
    }
    out
}

fn hello_of(fields: &Fields) -> Hello {
    Hello {
        version: fields.u16("version"),
        codec: fields.u16("codec"),
        features: Features(fields.u32("features")),
        instance: fields.number("instance"),
        frame_bytes: fields.u32("frame_bytes"),
        message_bytes: fields.u32("message_bytes"),
        calls: fields.u32("calls"),
        metadata_bytes: fields.u32("metadata_bytes"),
        window_bytes: fields.u32("window_bytes"),
    }
}

fn reason_of(error: FrameError) -> &'static str {
    match error {
        FrameError::TooShort => "too-short",
        FrameError::UnknownKind(_) => "unknown-kind",
        FrameError::WrongLane => "wrong-lane",
        FrameError::BadExtension => "bad-extension",
        FrameError::BadText => "bad-text",
        FrameError::BadValue => "bad-value",
    }
}

// r[verify stream.prefix] r[verify frame.common] r[verify frame.kind] r[verify frame.flags]
// r[verify frame.reserved] r[verify frame.tail] r[verify frame.unknown] r[verify extension.types]
// r[verify hello.layout] r[verify hello.features] r[verify request.layout]
// r[verify reply.layout] r[verify data.layout] r[verify error.layout] r[verify cancel.layout]
// r[verify ping.layout] r[verify credit.layout] r[verify go-away.layout] r[verify close.layout]
// r[verify item.layout] r[verify stop.layout]
#[test]
fn every_vector_decodes_to_its_fields() {
    for vector in FILES.iter().flat_map(|file| Vector::read(file)) {
        let (lane, end, bytes) = vector.frame();
        match (Frame::decode(lane, bytes), vector.fields.refused()) {
            (Ok(frame), None) => {
                assert_eq!(
                    describe(lane, end, bytes, &frame),
                    described(&vector),
                    "{}",
                    vector.name
                );
            }
            (Err(error), Some(reason)) => assert_eq!(reason_of(error), reason, "{}", vector.name),
            (decoded, _) => panic!("{}: {decoded:?}", vector.name),
        }
    }
}

// r[verify stream.prefix] r[verify lane.end] r[verify frame.reserved] r[verify frame.flags]
// r[verify hello.layout] r[verify request.layout] r[verify reply.layout] r[verify data.layout]
// r[verify data.abort] r[verify error.layout] r[verify cancel.layout] r[verify ping.layout]
// r[verify go-away.layout] r[verify close.layout]
#[test]
fn every_vector_is_what_we_encode() {
    let mut count = 0;
    for file in FILES.iter().filter(|file| **file != "unknown") {
        for vector in Vector::read(file).iter().filter(|vector| vector.fields.is_ours()) {
            let out = encoded(file, &vector.fields);
            assert_eq!(hex(&out), hex(&vector.bytes), "{}", vector.name);
            count += 1;
        }
    }
    assert!(count > 50, "only {count} vectors");
}

// r[verify frame.malformed] r[verify frame.lane] r[verify extension.layout]
#[test]
fn what_is_no_frame_is_refused_for_the_right_reason() {
    let wrong: Vec<_> = Vector::read("malformed")
        .iter()
        .filter_map(|vector| {
            let (lane, _, bytes) = vector.frame();
            let expected = vector.fields.refused();
            let decoded = Frame::decode(lane, bytes).map_err(reason_of);
            let same = matches!(&decoded, Err(reason) if Some(*reason) == expected);
            (!same).then(|| format!("{}: {decoded:?}", vector.name))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

// r[verify frame.malformed]
#[test]
fn no_part_of_a_vector_is_taken_for_more_than_it_is() {
    for vector in FILES.iter().flat_map(|file| Vector::read(file)) {
        for cut in 0..PREFIX_BYTES {
            assert_eq!(decode_prefix(&vector.bytes[..cut]), None, "{}: {cut}", vector.name);
        }
        let (lane, _, bytes) = vector.frame();
        if vector.fields.refused().is_some() {
            continue;
        }
        let extensions = usize::from(u16::from_le_bytes([bytes[2], bytes[3]]));
        let skipped = bytes[0] >= 128;
        let head = COMMON_BYTES + if skipped { 0 } else { fixed_bytes(bytes[0]) + extensions };
        for cut in 0..bytes.len() {
            let decoded = Frame::decode(lane, &bytes[..cut]);
            // A shorter body is a body. A shorter text may end within a character.
            let allowed = match decoded {
                Ok(_) => cut >= head,
                Err(FrameError::BadText) => cut > head,
                Err(error) => cut < head && error == FrameError::TooShort,
            };
            assert!(allowed, "{}, cut at {cut}: {decoded:?}", vector.name);
        }
    }
}

// r[verify error.unknown-code]
#[test]
fn a_code_from_the_future_keeps_what_it_says_of_the_handler() {
    let error = [4, 0, 0, 0, 0xff, 0xff, 0, 0];
    let Ok(Frame::Error { code, ran, .. }) = Frame::decode(CALL_LANE, &error) else { panic!() };
    assert_eq!((code::kind(code), ran), (ErrorKind::MalformedReply, Ran::Never));
}

// r[verify frame.lane]
#[test]
fn each_kind_belongs_on_one_sort_of_lane() {
    for kind in 1..=14 {
        let bytes = [kind, 0, 0, 0].into_iter().chain([0; 64]).collect::<Vec<_>>();
        let on = |lane| Frame::decode(lane, &bytes) != Err(FrameError::WrongLane);
        let of_a_call = matches!(kind, 2..=5 | 12 | 13);
        assert_eq!((on(Lane::CONTROL), on(CALL_LANE)), (!of_a_call, of_a_call), "kind {kind}");
    }
}
