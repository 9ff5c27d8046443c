//! What a connection watches the clock for: how long a call may take, when buffers are given back, and
//! when a peer is given up. With a clock that only the test moves.

use super::{
    super::watch::{Look, Watch},
    *,
};
use crate::mux::Keepalive;

fn s(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn mux() -> Mux {
    let limits = Limits::default();
    let keepalive = None::<Keepalive>;
    let mut mux = Mux::new(
        Role::Connector,
        Settings { limits, keepalive, frame_bytes: 65_536, instance: 1, cautious: false },
    );
    // Its hello.
    mux.draw(&mut Default::default());
    mux
}

/// Opens a call without a deadline.
fn open(mux: &mut Mux, now: Instant) -> CallId {
    let call = NewCall {
        now,
        method: MethodId::from_wire(7),
        idempotent: true,
        oneway: false,
        timeout: None,
        deadline: None,
        metadata: &Metadata::new(),
        stream: false,
        tail: None,
    };
    match mux.open_call(&call, None, &mut Vec::new(), Waker::noop().clone()) {
        Opened::Call(id) => id,
        other => panic!("{other:?}"),
    }
}

/// One whose peer has all the time it wants for its hello.
fn watch(now: Instant, idle_timeout: Option<Duration>) -> Watch {
    Watch::new(now, DriverConfig { hello_timeout: Duration::MAX, idle_timeout })
}

/// Why this side has closed the connection, if it has.
fn closed(mux: &Mux) -> Option<ErrorKind> {
    match mux.phase() {
        Phase::Closed(closed) => Some(closed.kind),
        _ => None,
    }
}

#[test]
fn of_timeout_and_deadline_the_earlier_is_kept() {
    let now = Instant::now();
    let fixed = |timeout: Option<f64>, deadline: Option<f64>| {
        let deadline = deadline.map(|deadline| now + s(deadline));
        let mut limit = TimeLimit::new(timeout.map(s), deadline);
        limit.fix(now);
        let first = limit;
        limit.fix(now + s(1.0));
        assert_eq!((limit.timeout, limit.deadline), (first.timeout, first.deadline), "counts once");
        (limit.timeout, limit.deadline.map(|deadline| deadline - now))
    };
    assert_eq!(fixed(None, None), (None, None));
    assert_eq!(fixed(Some(2.0), None), (Some(s(2.0)), Some(s(2.0))));
    assert_eq!(fixed(None, Some(2.0)), (None, Some(s(2.0))));
    assert_eq!(fixed(Some(2.0), Some(3.0)), (Some(s(2.0)), Some(s(2.0))));
    assert_eq!(fixed(Some(2.0), Some(2.0)), (Some(s(2.0)), Some(s(2.0))));
    // It isn't the timeout that will have passed.
    assert_eq!(fixed(Some(2.0), Some(1.0)), (None, Some(s(1.0))));
}

#[test]
fn a_peer_that_takes_nothing_for_30_s_is_given_up() {
    let (mut mux, now) = (mux(), Instant::now());
    let mut watch = watch(now, None);
    assert_eq!(watch.next(&mux), None);
    watch.note_stall(5, || now);
    // It takes nothing, however often that is seen; then it takes something.
    watch.note_stall(5, || now + s(10.0));
    assert_eq!(watch.next(&mux), Some(now + s(30.0)));
    watch.note_stall(6, || now + s(20.0));
    assert_eq!(watch.next(&mux), Some(now + s(50.0)));
    watch.pass(now + s(49.9), &mut mux, false);
    assert_eq!(closed(&mux), None);
    watch.pass(now + s(50.0), &mut mux, false);
    assert_eq!(closed(&mux), Some(CloseReason::Unresponsive.kind()));
}

#[test]
fn a_peer_that_took_everything_is_not_watched() {
    let (mut mux, now) = (mux(), Instant::now());
    let mut watch = watch(now, None);
    watch.note_stall(5, || now);
    watch.note_sent();
    assert_eq!(watch.next(&mux), None);
    watch.pass(now + s(60.0), &mut mux, true);
    assert_eq!(closed(&mux), None);
}

#[test]
fn a_peer_that_says_no_hello_is_given_up() {
    let (mut mux, now) = (mux(), Instant::now());
    let config = DriverConfig { hello_timeout: s(5.0), idle_timeout: None };
    let mut watch = Watch::new(now, config);
    assert_eq!(watch.next(&mux), Some(now + s(5.0)));
    watch.pass(now + s(4.9), &mut mux, true);
    assert_eq!(closed(&mux), None);
    watch.pass(now + s(5.0), &mut mux, true);
    assert_eq!(closed(&mux), Some(CloseReason::HelloTimeout.kind()));
}

#[test]
fn buffers_are_looked_at_a_second_after_a_use_and_each_second_until_there_was_none() {
    let (mut mux, now) = (mux(), Instant::now());
    let mut watch = watch(now, None);
    watch.restart(|| now);
    assert_eq!(watch.next(&mux), None, "it wasn't used");
    watch.note_use();
    watch.restart(|| now);
    assert_eq!(watch.next(&mux), Some(now + s(1.0)));
    watch.note_use();
    watch.restart(|| now + s(0.5));
    assert_eq!(watch.next(&mux), Some(now + s(1.0)), "one look a second");
    assert_eq!(watch.pass(now + s(0.9), &mut mux, true), Look::NotYet);
    assert_eq!(watch.pass(now + s(1.0), &mut mux, true), Look::InUse);
    assert_eq!(watch.next(&mux), Some(now + s(2.0)));
    assert_eq!(watch.pass(now + s(2.0), &mut mux, false), Look::InUse, "something is being sent");
    let id = open(&mut mux, now);
    assert_eq!(watch.pass(now + s(3.0), &mut mux, true), Look::InUse, "a call is under way");
    mux.drop_call(id);
    assert_eq!(watch.pass(now + s(4.0), &mut mux, true), Look::Idle);
    assert_eq!(watch.next(&mux), None);
}

#[test]
fn an_idle_connection_is_asked_to_go_and_then_closed() {
    let (mut mux, now) = (mux(), Instant::now());
    let mut watch = watch(now, Some(s(60.0)));
    watch.note_use();
    watch.restart(|| now);
    assert_eq!(watch.pass(now + s(1.0), &mut mux, true), Look::Idle);
    assert_eq!(watch.next(&mux), Some(now + s(61.0)));
    // A use in between, and it counts anew.
    watch.note_use();
    watch.restart(|| now + s(50.0));
    assert_eq!(watch.next(&mux), Some(now + s(51.0)));
    assert_eq!(watch.pass(now + s(51.0), &mut mux, true), Look::Idle);
    assert_eq!(watch.next(&mux), Some(now + s(111.0)));
    watch.pass(now + s(110.9), &mut mux, true);
    assert_eq!(*mux.phase(), Phase::Open);
    watch.pass(now + s(111.0), &mut mux, true);
    assert!(matches!(mux.phase(), Phase::Draining { .. }));
    assert_eq!(watch.next(&mux), Some(now + s(116.0)));
    watch.pass(now + s(115.9), &mut mux, true);
    assert_eq!(closed(&mux), None);
    watch.pass(now + s(116.0), &mut mux, true);
    assert_eq!(closed(&mux), Some(CloseReason::Idle.kind()));
}

#[test]
fn a_connection_that_is_asked_to_go_is_not_closed_over_a_call() {
    let (mut mux, now) = (mux(), Instant::now());
    let mut watch = watch(now, Some(s(60.0)));
    watch.note_use();
    watch.restart(|| now);
    watch.pass(now + s(1.0), &mut mux, true);
    let id = open(&mut mux, now);
    watch.pass(now + s(61.0), &mut mux, true);
    watch.pass(now + s(66.0), &mut mux, true);
    assert_eq!(closed(&mux), None);
    assert_eq!(watch.next(&mux), Some(now + s(71.0)), "it is looked at again");
    mux.drop_call(id);
    watch.pass(now + s(71.0), &mut mux, true);
    assert_eq!(closed(&mux), Some(CloseReason::Idle.kind()));
}

#[test]
fn a_drain_of_which_nothing_is_heard_ends_after_30_s() {
    let (mut mux, now) = (mux(), Instant::now());
    let mut watch = watch(now, None);
    mux.go_away();
    watch.note_use();
    watch.restart(|| now);
    assert_eq!(watch.pass(now + s(1.0), &mut mux, true), Look::Idle);
    assert_eq!(watch.next(&mux), Some(now + s(31.0)));
    // A later look doesn't give it more time.
    watch.note_use();
    watch.restart(|| now + s(20.0));
    assert_eq!(watch.pass(now + s(21.0), &mut mux, true), Look::Idle);
    assert_eq!(watch.next(&mux), Some(now + s(31.0)));
    watch.pass(now + s(31.0), &mut mux, true);
    assert_eq!(closed(&mux), Some(CloseReason::Idle.kind()));
}
