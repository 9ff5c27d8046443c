//! A peer that knows the source and means harm: what it can't break, and what work and memory it
//! can't cause. The cases' numbers are those of `spec/cases.md`.

use std::time::{Duration, Instant};

use super::craft::{Victim, Writer, kinds};
use crate::proto::session::Side;

const MS: Duration = Duration::from_millis(1);

#[test]
fn acknowledgements_that_a_peer_asks_for_are_not_kept_while_it_owes_one() {
    let mut victim = Victim::new(Side::Server);
    victim.push(0, 40);
    assert_eq!(victim.sends().len(), 1);
    // Every number but one is skipped, so that each packet is to be acknowledged at once.
    for _ in 0..20_000 {
        victim.pn += 1;
        victim.now += MS / 10;
        victim.take(&Writer::new().ping()).unwrap();
        assert_eq!(victim.sends().len(), 1);
    }
    let inspected = victim.session.inspect();
    assert!(inspected.sent_entries <= 10, "{inspected:?}");
    // Acknowledging those over and over is no work either.
    let begin = Instant::now();
    let mut acks = Writer::new();
    for _ in 0..9 {
        acks = acks.ack(19_000, 15_000, &[(0, 3); 31]);
    }
    for _ in 0..1000 {
        victim.take(&acks).unwrap();
    }
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
}

#[test]
fn a_flood_of_pings_or_questions_is_answered_one_for_one_at_most() {
    for side in [Side::Client, Side::Server] {
        let mut victim = Victim::new(side);
        let mut sent = 0;
        for question in 0..1000_u64 {
            let frames = Writer::new().ping().challenge(question.to_le_bytes());
            victim.take(&frames).unwrap();
            let out = victim.sends();
            assert!(out.len() <= 1, "{} datagrams at once", out.len());
            sent += out.len();
            assert!(out.iter().all(|(_, datagram)| !kinds(datagram).contains(&"challenge")));
        }
        assert!(sent <= 1000);
    }
}
