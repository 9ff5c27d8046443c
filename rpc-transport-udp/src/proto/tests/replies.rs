//! What waits until a reply was sent, and what doesn't.

use super::craft::{EPOCH, ID, Victim, Writer};
use crate::proto::{
    packet::{Reset, ResetReason},
    session::{Lost, Side, Violation},
};

/// A side that has sent so many packets, and nothing of them is acknowledged.
fn waiting(packets: u64) -> Victim {
    let mut victim = Victim::new(Side::Server);
    for lane in 0..packets {
        victim.push(lane, 40);
        assert_eq!(victim.sends().len(), 1);
    }
    victim
}

/// Whether any packet waits for an acknowledgement, as far as was looked at that.
fn is_waiting(victim: &Victim) -> bool {
    victim.session.inspect().is_waiting
}

#[test]
fn an_acknowledgement_that_comes_with_a_request_is_taken_after_the_reply_was_sent() {
    let mut victim = waiting(1);
    victim.take(&Writer::new().ack(0, 0, &[]).last(0, 0, 0, b"request")).unwrap();
    let before = victim.session.inspect();
    assert!(before.is_waiting, "it is put off");
    victim.push(1, 40);
    let reply = victim.session.poll_transmit(victim.now, &mut victim.queue, 1).expect("the reply");
    assert_eq!(victim.session.inspect().in_flight, before.in_flight + reply.bytes.len() as u64);
    // With the round trip known, it tries how large datagrams may be.
    let probes: usize = victim.sends().iter().map(|(_, datagram)| datagram.len()).sum();
    assert_eq!(victim.session.inspect().in_flight, (reply.bytes.len() + probes) as u64);
}

#[test]
fn it_is_taken_as_well_when_there_is_no_reply() {
    let mut victim = waiting(1);
    victim.take(&Writer::new().ack(0, 0, &[]).last(0, 0, 0, b"request")).unwrap();
    victim.sends();
    assert!(!is_waiting(&victim));
}

#[test]
fn it_is_taken_at_once_when_nothing_comes_with_it_or_others_are_under_way() {
    let mut victim = waiting(1);
    victim.take(&Writer::new().ack(0, 0, &[])).unwrap();
    assert!(!is_waiting(&victim));
    let mut victim = waiting(2);
    victim.take(&Writer::new().ack(1, 1, &[]).last(0, 0, 0, b"request")).unwrap();
    assert!(!is_waiting(&victim));
}

#[test]
fn it_is_taken_at_once_when_it_is_of_the_end() {
    let mut victim = waiting(0);
    victim.session.end();
    assert_eq!(victim.sends().len(), 1);
    assert!(!victim.session.is_sent());
    victim.take(&Writer::new().ack(0, 0, &[]).last(0, 0, 0, b"hello")).unwrap();
    assert!(victim.session.is_sent(), "whoever closes waits for it");
}

#[test]
fn what_was_put_off_is_known_all_the_same() {
    // r[verify reset.accept]
    let mut victim = waiting(1);
    let (epoch, reason) = (EPOCH, ResetReason::Unknown);
    let reset = Reset { id: ID.0, epoch, uptime_ms: 99_999, pn32: 0, reason };
    assert!(victim.session.accepts_reset(&reset));
    victim.take(&Writer::new().ack(0, 0, &[]).last(0, 0, 0, b"request")).unwrap();
    assert!(is_waiting(&victim), "it is put off");
    assert!(!victim.session.accepts_reset(&reset), "somebody knew it");
}

#[test]
fn a_lie_is_found_at_once() {
    // r[verify ack.unsent]
    let mut victim = waiting(1);
    let lie = Writer::new().ack(1, 0, &[]).last(0, 0, 0, b"request");
    let found = victim.take(&lie);
    assert!(matches!(found, Err(Lost::Violation(Violation::Protocol(_)))), "{found:?}");
}

#[test]
fn a_session_is_quiet_unless_it_has_something_to_say_now() {
    let quiet = |victim: &Victim| victim.session.is_quiet();
    let mut victim = waiting(1);
    assert!(quiet(&victim));
    // What is owed for this can wait for a reply, or for the timer.
    victim.take(&Writer::new().last(0, 0, 0, b"request")).unwrap();
    assert!(quiet(&victim) && victim.session.poll_timeout() > Some(victim.now));
    victim.take(&Writer::new().challenge([7; 8])).unwrap();
    assert!(!quiet(&victim), "a proof is asked for");
    victim.sends();
    assert!(quiet(&victim));
    victim.session.end();
    assert!(!quiet(&victim), "the end is to be told");
    victim.sends();
    victim.session.greet();
    assert!(!quiet(&victim), "it is to show itself");
    victim.sends();
    victim.session.abort();
    assert!(!quiet(&victim), "it is given up");
}
