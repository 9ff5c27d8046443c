//! Peers that come without a hello, with two, or with one that can't be.

use std::time::Duration;

use rpc_core::{Delivery, ErrorKind};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, timeout},
};

use super::{
    CANCEL, CREDIT, DATA, ERROR, GO_AWAY, NO_TIMEOUT, PING, PONG, Prey, REPLY, REQUEST, Target,
    hello, nth, request, text_body,
};
use crate::raw::{Raw, framed};

/// Every kind that may not come first, and one that would be skipped.
fn frames_that_come_later() -> Vec<Vec<u8>> {
    let on_a_call = [(REQUEST, 12), (REPLY, 0), (ERROR, 4), (DATA, 1)];
    let mut frames: Vec<_> =
        on_a_call.map(|(kind, rest)| framed(nth(1), kind, 0, &vec![0; rest])).into_iter().collect();
    let control = [(CREDIT, 12), (PING, 8), (PONG, 8), (GO_AWAY, 8), (200, 0)];
    frames.extend(control.map(|(kind, rest)| framed(0, kind, 0, &vec![0; rest])));
    frames.push(framed(0, CANCEL, 0, &nth(1).to_le_bytes()));
    frames
}

async fn skip_preface(raw: &mut Raw) {
    raw.io.read_exact(&mut [0; 8]).await.unwrap();
}

// r[verify hello.first] r[verify close.hello]
#[tokio::test]
async fn whatever_comes_before_the_hello_closes_the_connection() {
    let target = Target::start().await;
    let started = target.gauge.started();
    for frame in frames_that_come_later() {
        let mut raw = target.stranger();
        raw.put(&[&hello()[..8], &frame].concat()).await;
        skip_preface(&mut raw).await;
        assert_eq!(raw.frame().await.1[0], 1, "the server says hello first, whatever happens");
        assert_eq!(raw.closed().await.0, 8, "HELLO_MISSING: {frame:x?}");
    }
    assert_eq!(target.gauge.started(), started);
    target.others_go_on().await;

    for frame in frames_that_come_later() {
        let prey = Prey::new();
        let mut raw = prey.liar();
        let call = prey.call("?");
        raw.asked_after_preface().await;
        raw.put(&[&hello()[..8], &frame].concat()).await;
        assert_eq!(call.await.unwrap().unwrap_err().kind(), ErrorKind::ConnectionLost);
        assert_eq!(raw.closed().await.0, 8, "HELLO_MISSING: {frame:x?}");
        prey.goes_on(None).await;
    }
}

// r[verify hello.once]
#[tokio::test]
async fn a_second_hello_closes_the_connection() {
    let target = Target::start().await;
    let mut raw = target.attacker().await;
    raw.good_call(nth(1)).await;
    raw.put(&hello()[8..]).await;
    assert_eq!(raw.closed().await.0, 9, "HELLO_REPEATED");
    target.others_go_on().await;

    let prey = Prey::new();
    let (mut raw, call, _) = prey.called().await;
    raw.put(&hello()[8..]).await;
    let error = call.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::ConnectionLost, Delivery::Unknown));
    assert_eq!(raw.closed().await.0, 9, "HELLO_REPEATED");
    prey.goes_on(None).await;
}

/// The hello with one field changed.
fn hello_with(offset: usize, bytes: &[u8]) -> Vec<u8> {
    let mut hello = hello();
    let at = 8 + 12 + offset;
    hello[at..at + bytes.len()].copy_from_slice(bytes);
    hello
}

// r[verify hello.version] r[verify hello.codec]
#[tokio::test]
async fn a_hello_of_another_version_or_codec_is_answered_with_ours() {
    let target = Target::start().await;
    for (offset, value, code) in [(4, 0, 6), (4, 2, 6), (4, 0xffff, 6), (6, 0, 7), (6, 2, 7)] {
        let hello = hello_with(offset, &u16::to_le_bytes(value));
        let mut raw = target.stranger();
        raw.put(&hello).await;
        skip_preface(&mut raw).await;
        assert_eq!(raw.frame().await.1[4..8], [1, 0, 1, 0], "its own version and codec");
        assert_eq!(raw.closed().await.0, code);

        let prey = Prey::new();
        let mut raw = prey.liar();
        let call = prey.call("?");
        raw.asked_after_preface().await;
        raw.put(&hello).await;
        let error = call.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::IncompatiblePeer, "{error}");
        assert_eq!(raw.closed().await.0, code);
        prey.goes_on(None).await;
    }
    target.others_go_on().await;
}

// r[verify hello.limits] r[verify hello.features] r[verify frame.tail]
#[tokio::test]
async fn whatever_limits_a_hello_claims_calls_are_made() {
    let features = [0xff; 4];
    let (none, all) = ([0; 20], [0xff; 20]);
    for hello in [hello_with(28, &all), hello_with(8, &features)] {
        let target = Target::start().await;
        let mut raw = target.stranger();
        raw.put(&hello).await;
        skip_preface(&mut raw).await;
        raw.good_call(nth(1)).await;

        let prey = Prey::new();
        let mut raw = prey.liar();
        raw.put(&hello).await;
        let call = prey.call("?");
        let id = raw.asked_after_preface().await;
        raw.put(&framed(id, REPLY, 0, &text_body("!"))).await;
        assert_eq!(call.await.unwrap().as_deref(), Ok("!"));
    }
    // A peer that accepts nothing gets what every peer has to accept: an error.
    let target = Target::start().await;
    let mut raw = target.stranger();
    raw.put(&hello_with(28, &none)).await;
    raw.put(&request(nth(1), "echo", NO_TIMEOUT, &text_body("?"))).await;
    skip_preface(&mut raw).await;
    assert_eq!(raw.refusal(nth(1)).await, (9, 2), "TOO_LARGE, ended");
    target.others_go_on().await;
}

impl Raw {
    async fn asked_after_preface(&mut self) -> u64 {
        skip_preface(self).await;
        self.asked().await
    }
}

#[tokio::test(start_paused = true)]
async fn neither_side_waits_for_a_hello_for_more_than_five_seconds() {
    let target = Target::start().await;
    let whole = hello();
    // Silent from the start, after the preface, within the prefix, within the hello.
    for cut in [0, 8, 13, 40] {
        let mut raw = target.stranger();
        raw.put(&whole[..cut]).await;
        let began = Instant::now();
        skip_preface(&mut raw).await;
        assert_eq!(raw.closed().await.0, 4, "HELLO_TIMEOUT, cut at {cut}");
        let took = began.elapsed();
        assert!(took >= Duration::from_secs(4) && took <= Duration::from_secs(6), "{took:?}");
    }
    target.others_go_on().await;

    let prey = Prey::new();
    let mut raw = prey.liar();
    let call = prey.call("?");
    let began = Instant::now();
    raw.asked_after_preface().await;
    let error = call.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::ConnectionLost, Delivery::Unknown));
    assert!(began.elapsed() <= Duration::from_secs(6), "{:?}", began.elapsed());
    assert_eq!(raw.closed().await.0, 4, "HELLO_TIMEOUT");
    prey.goes_on(None).await;
}

/// A byte now and then doesn't buy time.
#[tokio::test(start_paused = true)]
async fn a_hello_in_drops_has_to_be_there_in_time_too() {
    let target = Target::start().await;
    let mut raw = target.stranger();
    let began = Instant::now();
    for byte in hello() {
        tokio::time::sleep(Duration::from_millis(900)).await;
        if raw.io.write_all(&[byte]).await.is_err() || target.server.connections() == 1 {
            break;
        }
    }
    let took = began.elapsed();
    assert!(took <= Duration::from_secs(9), "{took:?}");
    timeout(Duration::from_secs(5), target.connections(1)).await.unwrap();
    target.others_go_on().await;
}

#[tokio::test(start_paused = true)]
async fn thousands_that_say_nothing_are_all_gone_in_time_and_hold_up_nobody() {
    let target = Target::start().await;
    let silent: Vec<Raw> = (0..5_000).map(|_| target.stranger()).collect();
    target.connections(5_001).await;
    target.others_go_on().await;
    tokio::time::sleep(Duration::from_secs(7)).await;
    target.connections(1).await;
    drop(silent);
    target.others_go_on().await;
}
