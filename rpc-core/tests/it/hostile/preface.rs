//! What isn't this protocol: other protocols, other versions, noise, on both ends.

use rpc_core::{Delivery, ErrorKind};
use tokio::io::AsyncReadExt;

use super::{Prey, Target, hello, nth, request, text_body};
use crate::raw::Raw;

/// What comes to an open port sooner or later.
const STRANGERS: &[(&str, &[u8])] = &[
    ("HTTP/1", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
    ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    ("SSH", b"SSH-2.0-OpenSSH_9.7\r\n"),
    ("PROXY", b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n"),
    ("SMB", b"\x00\x00\x00\x2f\xffSMB"),
    ("RDP", b"\x03\x00\x00\x13\x0e\xe0"),
    ("Redis", b"*1\r\n$4\r\nPING\r\n"),
    ("zeros", &[0; 64]),
    ("ones", &[0xff; 64]),
    ("seven bits", b"\x09RPC\r\n\x1a\x01"),
    ("translated line ends", b"\x89RPC\n\x1a\x01"),
    ("one byte of ours", b"\x89PNG\r\n\x1a\n"),
    ("six bytes of ours", b"\x89RPC\r\n\x00\x01"),
];

// r[verify stream.not-ours]
#[tokio::test]
async fn a_server_drops_other_protocols_without_a_word() {
    let target = Target::start().await;
    for (name, bytes) in STRANGERS {
        let mut raw = target.stranger();
        raw.put(bytes).await;
        raw.ends_silently().await;
        // The connection of the honest client is the only one left.
        target.connections(1).await;
        println!("{name}");
    }
    target.others_go_on().await;
}

#[tokio::test]
async fn a_server_drops_noise_at_its_first_wrong_byte() {
    let target = Target::start().await;
    let right = hello();
    for at in 0..7 {
        for wrong in (0..=255).filter(|byte| *byte != right[at]) {
            let mut raw = target.stranger();
            raw.put(&right[..at]).await;
            raw.put(&[wrong]).await;
            raw.ends_silently().await;
        }
    }
    target.others_go_on().await;
}

#[tokio::test]
async fn a_channel_tells_its_calls_that_something_else_answered() {
    let prey = Prey::new();
    for (name, bytes) in STRANGERS {
        let mut raw = prey.liar();
        let call = prey.call("?");
        raw.put(bytes).await;
        let error = call.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::IncompatiblePeer, "{name}: {error}");
        assert_ne!(error.delivery(), Delivery::Replied, "{name}: {error}");
        let text = said(&error);
        assert!(text.contains("does not speak this protocol: it began with"), "{name}: {text}");
        assert!(text.chars().all(|c| !c.is_control()), "{name}: {text:?}");
    }
    prey.goes_on(None).await;
}

/// What an error says, its causes included.
fn said(error: &dyn std::error::Error) -> String {
    let cause = error.source().map(said).unwrap_or_default();
    format!("{error}: {cause}")
}

// r[verify stream.version]
#[tokio::test]
async fn other_versions_of_the_framing_are_told_ours() {
    let target = Target::start().await;
    for version in (0..=255).filter(|version| *version != 1) {
        let mut raw = target.stranger();
        raw.put(&[b"\x89RPC\r\n\x1a".as_slice(), &[version]].concat()).await;
        preface(&mut raw).await;
        let (code, text) = raw.closed().await;
        assert_eq!(code, 6, "VERSION");
        let expected =
            format!("the peer speaks version {version} of the stream framing, this side version 1");
        assert_eq!(text, expected);
    }
    target.others_go_on().await;
}

#[tokio::test]
async fn a_channel_closes_with_version_when_the_server_has_another() {
    let prey = Prey::new();
    let mut raw = prey.liar();
    let call = prey.call("?");
    preface(&mut raw).await;
    raw.asked().await;
    raw.put(b"\x89RPC\r\n\x1a\x02").await;
    let error = call.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::IncompatiblePeer, "{error}");
    assert_eq!(raw.closed().await.0, 6, "VERSION");
    prey.goes_on(None).await;
}

async fn preface(raw: &mut Raw) {
    let mut preface = [0; 8];
    raw.io.read_exact(&mut preface).await.unwrap();
    assert_eq!(preface, hello()[..8], "it speaks its own version");
}

/// The whole beginning of a connection, cut anywhere: nothing runs, nothing is left.
#[tokio::test]
async fn a_connection_that_ends_anywhere_in_its_beginning_leaves_nothing() {
    let target = Target::start().await;
    let started = target.gauge.started();
    let call = request(nth(1), "echo", super::NO_TIMEOUT, &text_body("x"));
    let all = [hello(), call].concat();
    for cut in 0..all.len() {
        let mut raw = target.stranger();
        raw.put(&all[..cut]).await;
        drop(raw);
    }
    target.connections(1).await;
    assert_eq!(target.gauge.started(), started, "no request was complete");
    target.others_go_on().await;
}

#[tokio::test]
async fn bytes_may_come_one_by_one_from_the_first() {
    let target = Target::start().await;
    let mut raw = target.stranger_with(1);
    let call = request(nth(1), "echo", super::NO_TIMEOUT, &text_body("slow"));
    for byte in [hello(), call].concat() {
        raw.put(&[byte]).await;
    }
    let mut beginning = [0; 8 + 12 + 48];
    raw.io.read_exact(&mut beginning).await.unwrap();
    let (_, body) = raw.answer(nth(1)).await;
    assert_eq!(body[3..], text_body("slow"));
}
