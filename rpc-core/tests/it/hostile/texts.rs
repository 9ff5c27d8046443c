//! Texts of a peer's: how much of one is kept, and that what is shown doesn't act on a terminal.

use std::fmt::Write as _;

use rpc_core::{Delivery, ErrorKind};
use serde::{Deserialize, Serialize};

use super::{CLOSE, ERROR, Prey, REPLY, text_body};
use crate::raw::framed;

/// Colours, a bell, a cleared screen, a line that isn't one, text that runs backwards, and more.
const HOSTILE: &str =
    "\x1b[2J\x1b]0;owned\x07\r\n\0\x7f\u{85}\u{9b}31m\u{202e}txt.exe\u{2066}\u{feff}\t\\\"";

#[track_caller]
fn harmless(error: &dyn std::error::Error) {
    let mut shown = format!("{error} {error:?}");
    let mut source = error.source();
    while let Some(error) = source {
        write!(shown, " {error} {error:?}").unwrap();
        source = error.source();
    }
    for bad in
        ['\x1b', '\x07', '\r', '\n', '\0', '\x7f', '\u{85}', '\u{9b}', '\u{202e}', '\u{2066}']
    {
        assert!(!shown.contains(bad), "{bad:?} in {shown:?}");
    }
    assert!(shown.len() < 40_000, "{} bytes", shown.len());
}

fn error_frame(id: u64, text: &[u8]) -> Vec<u8> {
    framed(id, ERROR, 0, &[&[3, 0, 0, 0][..], text].concat())
}

// r[verify error.text]
#[tokio::test]
async fn the_text_of_an_error_is_shown_escaped_and_cut() {
    let prey = Prey::new();
    for text in [HOSTILE.to_owned(), "x".repeat(1025), HOSTILE.repeat(1000), "ä".repeat(30_000)] {
        let (mut raw, call, id) = prey.called().await;
        raw.put(&error_frame(id, text.as_bytes())).await;
        let error = call.await.unwrap().unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::Overloaded, Delivery::Rejected));
        harmless(&error);
        raw.put(&close_frame(0, "")).await;
    }
    prey.goes_on(None).await;
}

fn close_frame(code: u16, text: &str) -> Vec<u8> {
    framed(0, CLOSE, 0, &[&code.to_le_bytes()[..], &[0; 2], text.as_bytes()].concat())
}

#[tokio::test]
async fn the_text_of_a_close_is_shown_escaped_and_cut() {
    let prey = Prey::new();
    for text in [HOSTILE.to_owned(), "\x01".repeat(65_000), "ä".repeat(30_000)] {
        let (mut raw, call, _) = prey.called().await;
        raw.put(&close_frame(8, &text)).await;
        let error = call.await.unwrap().unwrap_err();
        assert_eq!(
            (error.kind(), error.delivery()),
            (ErrorKind::ConnectionLost, Delivery::Unknown)
        );
        harmless(&error);
    }
    prey.goes_on(None).await;
}

/// Codes that nobody knows.
// r[verify error.unknown-code] r[verify close.codes]
#[tokio::test]
async fn unknown_codes_are_taken_for_the_least_they_can_mean() {
    let prey = Prey::new();
    for code in [0u16, 13, 255, 0xffff] {
        for (ran, delivery) in
            [(0, Delivery::Rejected), (1, Delivery::Unknown), (2, Delivery::Replied)]
        {
            let (mut raw, call, id) = prey.called().await;
            raw.put(&framed(id, ERROR, 0, &[&code.to_le_bytes()[..], &[ran, 0xff]].concat())).await;
            let error = call.await.unwrap().unwrap_err();
            assert_eq!((error.kind(), error.delivery()), (ErrorKind::MalformedReply, delivery));
            let waiting = prey.call("?");
            raw.asked().await;
            raw.put(&close_frame(code.max(16), "")).await;
            let error = waiting.await.unwrap().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionLost, "{error}");
        }
    }
    prey.goes_on(None).await;
}

/// A type whose own error repeats what it read.
#[derive(Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Picky(String);

impl TryFrom<String> for Picky {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.is_empty() { Ok(Self(text)) } else { Err(format!("`{text}` isn't empty")) }
    }
}

impl From<Picky> for String {
    fn from(Picky(text): Picky) -> Self {
        text
    }
}

impl Clone for Picky {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

#[rpc_core::service]
pub(crate) trait Fussy {
    async fn take(&self, it: Picky) -> Picky;
}

struct Fussbudget;

impl Fussy for Fussbudget {
    async fn take(&self, it: Picky) -> Picky {
        it
    }
}

#[tokio::test]
async fn what_a_type_says_about_a_value_is_shown_escaped_and_cut() {
    let prey = Prey::new();
    for text in [HOSTILE.to_owned(), HOSTILE.repeat(500)] {
        let mut raw = prey.liar();
        let call = tokio::spawn(FussyClient::new(prey.channel.clone()).take(Picky(String::new())));
        raw.greet().await;
        let id = raw.asked().await;
        raw.put(&framed(id, REPLY, 0, &text_body(&text))).await;
        let error = call.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::MalformedReply);
        harmless(&error);
        raw.put(&close_frame(0, "")).await;
    }
    // The server's side: what goes back is text for people, and short.
    let target = super::Target::with(|server| server.service(FussyServer::new(Fussbudget))).await;
    let mut raw = target.attacker().await;
    let method = rpc_core::service::MethodId::of("Fussy", "take").number().to_le_bytes();
    let body = text_body(&HOSTILE.repeat(500));
    raw.put(&framed(super::nth(1), super::REQUEST, 0, &[&[0xff; 4][..], &method, &body].concat()))
        .await;
    let (kind, rest) = raw.answer(super::nth(1)).await;
    assert_eq!((kind, rest[3]), (ERROR, 7), "MALFORMED_REQUEST");
    let text = std::str::from_utf8(&rest[7..]).unwrap();
    assert!(text.len() <= 1024 && text.chars().all(|c| !c.is_control()), "{text:?}");
    target.others_go_on().await;
}
