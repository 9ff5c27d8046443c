//! Farewells that aren't meant: CLOSE and more, GO_AWAY twice, counts of requests that are wrong.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rpc_core::{
    Channel, Delivery, ErrorKind,
    transport::{Address, Connector, stream::StreamTransport},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    time::timeout,
};

use super::{
    CLOSE, GO_AWAY, NO_TIMEOUT, PING, PONG, Prey, REPLY, Target, VictimClient, nth, request,
    text_body,
};
use crate::raw::{Raw, call_id, framed, transport};

/// The flag of a GO_AWAY that answers one.
const ANSWER: u8 = 2;

fn go_away(flags: u8, requests: u64) -> Vec<u8> {
    framed(0, GO_AWAY, flags, &requests.to_le_bytes())
}

fn close(code: u16) -> Vec<u8> {
    framed(0, CLOSE, 0, &[&code.to_le_bytes()[..], &[0; 2]].concat())
}

/// Everything there is, and things that there aren't.
fn all_sorts() -> Vec<u8> {
    let mut bytes = [super::hello(), close(0), close(15), go_away(0, 9)].concat();
    for kind in 0..=255 {
        bytes.extend(framed(0, kind, 0xff, &[0xff; 20]));
        bytes.extend(framed(nth(5), kind, 0xff, &[0xff; 20]));
    }
    bytes
}

// r[verify close.last]
#[tokio::test]
async fn nothing_that_follows_a_close_is_looked_at() {
    let target = Target::start().await;
    let mut raw = target.attacker().await;
    raw.put(&request(nth(1), "forever", NO_TIMEOUT, &[])).await;
    while target.gauge.running() == 0 {
        super::a_moment().await;
    }
    let started = target.gauge.started();
    let late = request(nth(2), "echo", NO_TIMEOUT, &text_body("late"));
    raw.put(&[close(0), late, all_sorts(), vec![0xff; 100_000]].concat()).await;
    raw.ends_silently().await;
    target.gauge.nothing_runs().await;
    assert_eq!(target.gauge.started(), started);
    target.others_go_on().await;
}

/// The side that closed reads on, whatever it is: a socket that is closed with unread input would
/// be reset, and take the CLOSE with it.
// r[verify close.linger]
#[tokio::test]
async fn a_side_that_closed_reads_whatever_still_comes() {
    for garbage in [vec![0xff; 50_000], all_sorts(), super::hello()] {
        let target = Target::start().await;
        let mut raw = target.attacker().await;
        raw.put(&framed(0, 100, 0, &[])).await;
        assert_eq!(raw.closed().await.0, 11, "MALFORMED_FRAME");
        // Many times what the pipe holds.
        for _ in 0..100 {
            raw.put(&garbage).await;
        }
        raw.io.shutdown().await.unwrap();
        target.connections(1).await;
        target.others_go_on().await;
    }
}

/// But not for ever.
#[tokio::test(start_paused = true)]
async fn a_side_that_closed_reads_for_a_second_at_most() {
    let target = Target::start().await;
    let mut raw = target.attacker().await;
    raw.put(&framed(0, 100, 0, &[])).await;
    let began = tokio::time::Instant::now();
    let pings = framed(0, PING, 0, &[0; 8]);
    while raw.io_write(&pings).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let took = began.elapsed();
    assert!(took < Duration::from_secs(3), "{took:?}");
    target.connections(1).await;
    target.others_go_on().await;
}

// r[verify drain.answer]
#[tokio::test]
async fn only_the_first_go_away_is_answered() {
    let target = Target::start().await;
    let mut raw = target.attacker().await;
    raw.put(&request(nth(1), "forever", NO_TIMEOUT, &[])).await;
    raw.put(&go_away(0, 1)).await;
    assert_eq!(raw.frame().await.1[..2], [GO_AWAY, ANSWER]);
    raw.put(&[go_away(0, 1).repeat(10), go_away(ANSWER, 1)].concat()).await;
    raw.put(&framed(0, PING, 0, &[7; 8])).await;
    assert_eq!(raw.frame().await.1[0], PONG, "and no other answer");
    // The call that waits is the only one there is, and ends the drain.
    raw.put(&super::cancel(nth(1))).await;
    assert_eq!(raw.refusal(nth(1)).await, (1, 1), "CANCELLED, maybe");
    assert_eq!(raw.closed().await.0, 0, "DONE");
    target.others_go_on().await;
}

/// A count above what was sent is waited for, one below it makes the rest refused.
// r[verify drain.finish] r[verify drain.refrain]
#[tokio::test]
async fn wrong_counts_of_requests_end_no_call_and_start_none() {
    let target = Target::start().await;
    // Fewer than were sent: what came is finished, and the connection ends.
    let mut raw = target.attacker().await;
    raw.put(&request(nth(1), "forever", 200, &[])).await;
    raw.put(&go_away(0, 0)).await;
    assert_eq!(raw.refusal(nth(1)).await, (2, 1), "its own deadline ends it, nothing else");
    assert_eq!(raw.closed().await.0, 0, "DONE");
    // Requests beyond the count are refused.
    let mut raw = target.attacker().await;
    raw.put(&request(nth(1), "forever", 200, &[])).await;
    raw.put(&go_away(0, 1)).await;
    raw.put(&request(call_id(2, 1), "echo", NO_TIMEOUT, &text_body("late"))).await;
    assert_eq!(raw.refusal(call_id(2, 1)).await, (4, 0), "SHUTTING_DOWN, never");
    // More than will ever come: what does is answered meanwhile.
    let mut raw = target.attacker().await;
    raw.put(&go_away(0, u64::MAX)).await;
    raw.good_call(nth(1)).await;
    target.others_go_on().await;
}

/// A client that announces requests and never sends them doesn't keep a connection.
#[tokio::test(start_paused = true)]
async fn a_server_does_not_wait_for_announced_requests_for_ever() {
    let target = Target::start().await;
    let mut raw = target.attacker().await;
    raw.put(&go_away(0, u64::MAX)).await;
    timeout(Duration::from_secs(20 * 60), target.connections(1)).await.unwrap();
    target.others_go_on().await;
}

/// A request that crosses the server's go-away is counted, and so it is finished.
#[tokio::test(start_paused = true)]
async fn a_request_that_crosses_an_idle_close_is_finished() {
    let target = Target::with(|server| server.idle_timeout(Duration::from_secs(10))).await;
    let mut raw = target.attacker().await;
    raw.good_call(nth(1)).await;
    assert_eq!(raw.frame().await.1[..2], [GO_AWAY, 0]);
    raw.put(&request(nth(2), "forever", 20_000, &[])).await;
    raw.put(&go_away(ANSWER, 2)).await;
    assert_eq!(raw.refusal(nth(2)).await, (2, 1), "by its own deadline, after 20 seconds");
    assert_eq!(raw.closed().await.0, 0, "DONE");
}

/// Nor does a server keep its client's.
#[tokio::test(start_paused = true)]
async fn a_channel_does_not_wait_for_announced_requests_for_ever() {
    let prey = Prey::new();
    let mut left = Vec::new();
    for _ in 0..10 {
        let (mut raw, call, id) = prey.called().await;
        raw.put(&framed(id, REPLY, 0, &text_body("!"))).await;
        assert_eq!(call.await.unwrap().as_deref(), Ok("!"));
        raw.put(&go_away(0, u64::MAX)).await;
        left.push(raw);
    }
    prey.goes_on(None).await;
    for raw in &mut left {
        let mut rest = Vec::new();
        let end = raw.io.read_to_end(&mut rest);
        timeout(Duration::from_secs(20 * 60), end).await.expect("the client goes").unwrap();
    }
}

#[tokio::test]
async fn a_server_that_sends_away_after_every_call_is_left_each_time() {
    let prey = Prey::new();
    for _ in 0..20 {
        let (mut raw, call, id) = prey.called().await;
        raw.put(&[go_away(0, 0), framed(id, REPLY, 0, &text_body("!"))].concat()).await;
        assert_eq!(call.await.unwrap().as_deref(), Ok("!"));
        assert_eq!(raw.closed().await.0, 0, "DONE");
    }
    prey.goes_on(None).await;
}

/// Makes connections to servers that take their leave at once, and counts them.
struct ToTheDoor(Arc<AtomicUsize>);

impl Connector for ToTheDoor {
    type Transport = StreamTransport<DuplexStream>;

    fn target(&self) -> Address {
        Address::Unnamed
    }

    async fn connect(&self) -> io::Result<Self::Transport> {
        self.0.fetch_add(1, Ordering::SeqCst);
        let (mut ours, theirs) = duplex(4096);
        ours.write_all(&[super::hello(), go_away(0, 0)].concat()).await?;
        tokio::spawn(async move { ours.read_to_end(&mut Vec::new()).await });
        Ok(transport(theirs))
    }
}

#[tokio::test(start_paused = true)]
async fn servers_that_take_their_leave_at_once_are_not_stormed() {
    let made = Arc::new(AtomicUsize::new(0));
    let client = VictimClient::new(Channel::lazy(ToTheDoor(Arc::clone(&made))));
    let error = client.echo("?".into()).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::DeadlineExceeded, Delivery::NotSent));
    // 10 seconds of pauses that double from 50 ms.
    let made = made.load(Ordering::SeqCst);
    assert!((5..20).contains(&made), "{made} connections");
}

/// After a DONE the answers that are on their way still count, and what breaks the rules is
/// nothing any more.
#[tokio::test]
async fn answers_after_a_close_with_done_count() {
    let prey = Prey::new();
    let (mut raw, call, id) = prey.called().await;
    raw.put(&[close(0), close(13), super::hello()[8..].to_vec()].concat()).await;
    raw.put(&framed(id, REPLY, 0, &text_body("the last"))).await;
    assert_eq!(call.await.unwrap().as_deref(), Ok("the last"));
    prey.goes_on(None).await;

    let (mut raw, call, id) = prey.called().await;
    raw.put(&[close(15), framed(id, REPLY, 0, &text_body("too late"))].concat()).await;
    let error = call.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::ConnectionLost, Delivery::Unknown));
    prey.goes_on(None).await;
}

/// Who says DONE and then only that it is alive keeps a call until its deadline, no longer.
#[tokio::test(start_paused = true)]
async fn a_close_with_done_and_no_answer_ends_at_the_deadline() {
    let prey = Prey::new();
    let (mut raw, call, _): (Raw, _, _) = prey.called().await;
    raw.put(&close(0)).await;
    let chatter = async {
        while raw.io_write(&framed(0, PONG, 0, &[0; 8])).await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let error = tokio::select! {
        ended = call => ended.unwrap().unwrap_err(),
        () = chatter => panic!("the channel has gone before its call"),
    };
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::DeadlineExceeded, Delivery::Unknown));
    prey.goes_on(None).await;
}
