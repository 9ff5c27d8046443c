//! Floods of frames that are harmless one by one: borne up to a limit, and never answered with as
//! much as they are.

use rpc_core::{Delivery, ErrorKind};

use super::{
    CANCEL, CREDIT, DATA, GO_AWAY, MORE, NO_TIMEOUT, PING, PONG, Prey, REPLY, Target, nth, request,
};
use crate::raw::{call_id, framed};

const FLOOD: u16 = 15;

/// How many frames a flood has.
const MANY: u64 = 20_000;

/// A name, and the `n`th frame.
type Flood = (&'static str, fn(u64) -> Vec<u8>);

/// Floods that close the connection, whoever sends them.
const STRAYS: &[Flood] = &[
    ("pings", |n| framed(0, PING, 0, &n.to_le_bytes())),
    ("pongs", |n| framed(0, PONG, 0, &n.to_le_bytes())),
    ("credits of the connection", |_| credit(0)),
    ("credits of a call without items", |_| credit(nth(1))),
    ("answers to no go-away", |n| framed(0, GO_AWAY, 2, &n.to_le_bytes())),
];

/// Those of clients.
const STRAYS_OF_CLIENTS: &[Flood] = &[
    ("cancels of a call that has ended", |_| framed(0, CANCEL, 0, &nth(1).to_le_bytes())),
    ("cancels in every slot", |n| {
        framed(0, CANCEL, 0, &call_id(2 + n / 1024, n % 1024).to_le_bytes())
    }),
    ("cancels ever higher", |n| framed(0, CANCEL, 0, &nth(2 + n).to_le_bytes())),
];

/// Allows a byte more.
fn credit(lane: u64) -> Vec<u8> {
    framed(0, CREDIT, 0, &[&lane.to_le_bytes()[..], &1_u32.to_le_bytes()].concat())
}

fn all(flood: fn(u64) -> Vec<u8>) -> Vec<u8> {
    (0..MANY).flat_map(flood).collect()
}

// r[verify flood.strays] r[verify ping.answer]
#[tokio::test]
async fn a_flood_closes_its_connection_and_is_not_amplified() {
    let target = Target::start().await;
    for (name, frame) in STRAYS.iter().chain(STRAYS_OF_CLIENTS) {
        let mut raw = target.attacker().await;
        raw.good_call(nth(1)).await;
        let (code, answers) = raw.flood(&all(*frame)).await;
        assert_eq!(code, FLOOD, "{name}");
        assert!(answers < 1000, "{name}: {answers} bytes in answer");
        target.connections(1).await;
    }
    target.others_go_on().await;
}

#[tokio::test]
async fn a_flood_of_a_servers_ends_the_call_and_not_the_channel() {
    let prey = Prey::new();
    for (name, frame) in STRAYS {
        let (mut raw, call, _) = prey.called().await;
        let (code, answers) = raw.flood(&all(*frame)).await;
        assert_eq!(code, FLOOD, "{name}");
        assert!(answers < 1000, "{name}: {answers} bytes in answer");
        let error = call.await.unwrap().unwrap_err();
        let ended = (error.kind(), error.delivery());
        assert_eq!(ended, (ErrorKind::ConnectionLost, Delivery::Unknown), "{name}: {error}");
    }
    prey.goes_on(None).await;
}

/// What a later version may send, or a correct peer does, is no flood.
// r[verify frame.unknown] r[verify data.late]
#[tokio::test]
async fn what_has_no_effect_is_borne_in_any_number() {
    let harmless: [Flood; 3] = [
        ("kinds of the future", |n| framed(n, 128, 0xff, b"anything")),
        ("the last of them", |n| framed(0, 255, 0, &n.to_le_bytes())),
        ("data of a request that was refused", |_| framed(nth(1), DATA, MORE, b"x")),
    ];
    let target = Target::start().await;
    for (name, frame) in harmless {
        let mut raw = target.attacker().await;
        raw.put(&request(nth(1), "echo", 0, b"")).await;
        assert_eq!(raw.refusal(nth(1)).await, (2, 0), "DEADLINE_EXCEEDED, never");
        raw.put(&all(frame)).await;
        raw.put(&framed(0, PING, 0, b"the last")).await;
        let (_, pong) = raw.frame().await;
        assert_eq!((pong[0], &pong[4..]), (PONG, &b"the last"[..]), "{name}");
        raw.good_call(nth(2)).await;
    }
    target.others_go_on().await;
}

/// Calls that are all refused cost their own connection only, and never run.
#[tokio::test]
async fn a_flood_of_requests_that_are_refused_harms_nobody() {
    let refused: [Flood; 4] = [
        ("undecodable", |id| request(id, "echo", NO_TIMEOUT, b"\xff")),
        ("of no method", |id| framed(id, super::REQUEST, 0, &[0xff; 12])),
        ("too late", |id| request(id, "echo", 0, b"")),
        ("given up", |id| {
            [super::request_begins(id, "echo", b"x"), framed(id, DATA, 2, b"")].concat()
        }),
    ];
    let target = Target::start().await;
    let started = target.gauge.started();
    for (name, frame) in refused {
        let mut raw = target.attacker().await;
        for round in 1..=100 {
            let batch: Vec<u8> = (0..64).flat_map(|slot| frame(call_id(round, slot))).collect();
            raw.put(&batch).await;
            for _ in 0..64 {
                let (lane, frame) = raw.frame().await;
                assert_eq!((lane >> 24, frame[0], frame[6]), (round, super::ERROR, 0), "{name}");
            }
        }
    }
    assert_eq!(target.gauge.started(), started);
    target.others_go_on().await;
}

/// Answers that are large, for those who ask without an end and read all of it: others have their
/// turn in between.
#[tokio::test]
async fn a_peer_that_keeps_a_server_busy_does_not_keep_it_for_itself() {
    let target = Target::start().await;
    let mut raw = target.attacker().await;
    let ask = |sequence| request(nth(sequence), "large", NO_TIMEOUT, &1_000_000u32.to_le_bytes());
    let greedy = async {
        for sequence in 1.. {
            raw.put(&ask(sequence)).await;
            loop {
                let (lane, frame) = raw.frame().await;
                assert!(lane == nth(sequence) && [REPLY, DATA].contains(&frame[0]));
                if frame[1] & MORE == 0 {
                    break;
                }
            }
        }
    };
    let others = async {
        for _ in 0..20 {
            target.others_go_on().await;
        }
    };
    tokio::select! {
        () = greedy => unreachable!("it has no end"),
        () = others => {}
    }
}
