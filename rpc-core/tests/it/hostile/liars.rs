//! Servers that lie: answers to calls never made, twice, too early, too late, in the wrong order.

use rpc_core::{Delivery, ErrorKind, Limits};

use super::{CANCEL, DATA, ERROR, MORE, Prey, REPLY, cancel, nth, text_body};
use crate::raw::{Raw, call_id, framed};

const BAD_CALL_ID: u16 = 13;
const UNEXPECTED_FRAME: u16 = 14;
const FLOOD: u16 = 15;

fn reply(id: u64, text: &str) -> Vec<u8> {
    framed(id, REPLY, 0, &text_body(text))
}

/// The ERROR frame *overloaded*, the handler *never* ran.
fn refused(id: u64, text: &[u8]) -> Vec<u8> {
    framed(id, ERROR, 0, &[&[3, 0, 0, 0][..], text].concat())
}

/// What a server sends while the call `id` waits, and what the channel closes with. Frames are made
/// from the call's id.
type Lie = (&'static str, fn(u64) -> Vec<u8>, u16);

const LIES: &[Lie] = &[
    ("a reply to a call of its own", |id| reply(id | 1, "x"), BAD_CALL_ID),
    ("an error for a call of its own", |id| refused(id | 1, b""), BAD_CALL_ID),
    ("a reply with sequence 0", |_| reply(2, "x"), BAD_CALL_ID),
    ("data before its reply", |id| framed(id, DATA, 0, b"x"), UNEXPECTED_FRAME),
    ("two beginnings of a reply", |id| framed(id, REPLY, MORE, b"x").repeat(2), UNEXPECTED_FRAME),
    (
        "a reply within a reply",
        |id| [framed(id, REPLY, MORE, b"x"), reply(id, "x")].concat(),
        UNEXPECTED_FRAME,
    ),
    (
        "data without data",
        |id| [framed(id, REPLY, MORE, b"x"), framed(id, DATA, MORE, b"")].concat(),
        FLOOD,
    ),
    ("a cancel of the channel's call", cancel, BAD_CALL_ID),
    ("replies to calls never made", |_| reply(nth(7), "x").repeat(1001), FLOOD),
    ("errors for calls never made", |_| refused(call_id(7, 99), b"").repeat(1001), FLOOD),
    ("data of calls never made", |_| framed(nth(7), DATA, MORE, b"x").repeat(1001), FLOOD),
    ("second replies", |id| reply(id, "x").repeat(1002), FLOOD),
];

// r[verify reply.unexpected] r[verify reply.stray] r[verify call.opener]
#[tokio::test]
async fn a_lie_ends_the_connection_and_the_channel_makes_another() {
    for (name, lie, code) in LIES {
        let prey = Prey::new();
        let (mut raw, call, id) = prey.called().await;
        raw.put(&lie(id)).await;
        match call.await.unwrap() {
            Ok(answer) => assert_eq!((answer.as_str(), *name), ("x", "second replies")),
            Err(error) => {
                let ended = (error.kind(), error.delivery());
                assert_eq!(
                    ended,
                    (ErrorKind::ConnectionLost, Delivery::Unknown),
                    "{name}: {error}"
                );
            }
        }
        assert_eq!(raw.closed().await.0, *code, "{name}");
        prey.goes_on(None).await;
    }
}

#[tokio::test]
async fn the_first_answer_counts_and_strays_reach_nobody() {
    let prey = Prey::new();
    let (mut raw, call, id) = prey.called().await;
    raw.put(&[reply(id, "first"), reply(id, "second"), refused(id, b"third")].concat()).await;
    assert_eq!(call.await.unwrap().as_deref(), Ok("first"));
    // The next call takes the same slot, and the old answers once more come too late.
    let call = prey.call("?");
    let next = raw.asked().await;
    assert_eq!(next & 0xff_ffff, id & 0xff_ffff, "the same slot");
    raw.put(&[reply(id, "old"), refused(id, b"old"), reply(next, "new")].concat()).await;
    assert_eq!(call.await.unwrap().as_deref(), Ok("new"));
    prey.goes_on(Some(&mut raw)).await;
}

/// The slot is kept until the late answer has come, and what comes reaches nobody.
#[tokio::test]
async fn the_late_reply_to_a_cancelled_call_reaches_no_other() {
    let prey = Prey::new();
    let (mut raw, call, id) = prey.called().await;
    call.abort();
    let (lane, frame) = raw.frame().await;
    assert_eq!((lane, frame[0], &frame[4..]), (0, CANCEL, &id.to_le_bytes()[..]));
    let call = prey.call("?");
    let other = raw.asked().await;
    assert_ne!(other & 0xff_ffff, id & 0xff_ffff, "that slot is in use still");
    raw.put(&reply(id, "late")).await;
    raw.put(&reply(other, "its own")).await;
    assert_eq!(call.await.unwrap().as_deref(), Ok("its own"));
    prey.goes_on(Some(&mut raw)).await;
}

/// Arguments that leave in many frames.
fn large() -> String {
    "a".repeat(5_000_000)
}

/// A channel that has begun to send a large request, of which the server has read the first frame.
async fn half_asked(prey: &Prey) -> (Raw, super::Outcome, u64) {
    let mut raw = prey.liar_with(64 * 1024);
    // The limits of the peer's hello are needed to send so much.
    let call = prey.call(&large());
    raw.greet().await;
    let id = raw.asked().await;
    (raw, call, id)
}

/// Replies that come before the request has left, one of every size that is treated its own way.
#[tokio::test]
async fn a_reply_to_half_a_request_is_no_reply() {
    let mut limits = Limits::default();
    limits.message_bytes = 6_000_000;
    limits.held_bytes = 50_000;
    limits.frame_bytes = 8 << 20;
    let lies: [(&str, u8, usize); 4] = [
        ("small", 0, 10),
        ("the beginning of one", MORE, 10),
        ("above the limit on messages", 0, 6_000_001),
        ("above what incomplete ones may take", MORE, 50_001),
    ];
    for (name, flags, bytes) in lies {
        let prey = Prey::limited(limits.clone());
        let (mut raw, call, id) = half_asked(&prey).await;
        let lie = framed(id, REPLY, flags, &vec![0; bytes]);
        raw.put(&lie).await;
        let error = call.await.unwrap().unwrap_err();
        let ended = (error.kind(), error.delivery());
        assert_eq!(ended, (ErrorKind::ConnectionLost, Delivery::NotSent), "{name}: {error}");
        assert_eq!(raw.closed().await.0, UNEXPECTED_FRAME, "{name}");
        prey.goes_on(None).await;
    }
}

/// A server may refuse a request half-way. Then the rest of it isn't sent.
#[tokio::test]
async fn a_refusal_half_way_ends_the_request() {
    let prey = Prey::new();
    let (mut raw, call, id) = half_asked(&prey).await;
    raw.put(&refused(id, b"enough")).await;
    let mut got = 0;
    loop {
        let (lane, frame) = raw.frame().await;
        if lane == id && frame[1] & 2 != 0 {
            break; // ABORT
        }
        got += frame.len();
    }
    assert!(got < 2_000_000, "{got} bytes came although they were refused");
    let error = call.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Overloaded, Delivery::Rejected));
    prey.goes_on(Some(&mut raw)).await;
}

// r[verify data.abort]
#[tokio::test]
async fn an_aborted_reply_fails_its_call_alone() {
    let prey = Prey::new();
    let (mut raw, call, id) = prey.called().await;
    raw.put(&framed(id, REPLY, MORE, b"half")).await;
    // With a body and MORE, neither of which belongs there.
    raw.put(&framed(id, DATA, 2 | MORE, b"x")).await;
    let error = call.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::MalformedReply, Delivery::Replied));
    prey.goes_on(Some(&mut raw)).await;
}

/// The call ends at once; the server is told, and may go on sending for a while.
// r[verify message.size] r[verify message.reassembly]
#[tokio::test]
async fn replies_above_the_limits_fail_their_call_alone() {
    let mut limits = Limits::default();
    limits.message_bytes = 50_000;
    limits.held_bytes = 40_000;
    for (first, then, kind) in
        [(30_000, 20_001, ErrorKind::TooLarge), (40_001, 1, ErrorKind::Overloaded)]
    {
        let prey = Prey::limited(limits.clone());
        let (mut raw, call, id) = prey.called().await;
        raw.put(&framed(id, REPLY, MORE, &vec![0; first])).await;
        raw.put(&framed(id, DATA, MORE, &vec![0; then])).await;
        let error = call.await.unwrap().unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (kind, Delivery::Replied), "{error}");
        let (_, frame) = raw.frame().await;
        assert_eq!((frame[0], &frame[4..]), (CANCEL, &id.to_le_bytes()[..]));
        raw.put(&framed(id, DATA, MORE, &[0; 1000]).repeat(100)).await;
        raw.put(&framed(id, DATA, 0, b"the end")).await;
        prey.goes_on(Some(&mut raw)).await;
    }
}

/// More calls at a time than the channel allows its server: it offers nothing, and says so.
#[tokio::test]
async fn a_server_that_calls_its_client_is_refused() {
    let prey = Prey::new();
    let (mut raw, call, id) = prey.called().await;
    raw.put(&super::request(nth(1) | 1, "echo", super::NO_TIMEOUT, &text_body("you"))).await;
    assert_eq!(raw.refusal(nth(1) | 1).await, (5, 0), "UNKNOWN_SERVICE, never");
    raw.put(&reply(id, "fine")).await;
    assert_eq!(call.await.unwrap().as_deref(), Ok("fine"));
    prey.goes_on(Some(&mut raw)).await;
}
