//! A peer that knows the source and means harm: what it can't break, and what work and memory it
//! can't cause. The cases' numbers are those of `spec/cases.md`.

use std::time::{Duration, Instant};

use super::craft::{EPOCH, ID, Victim, Writer, kinds, number, peer};
use crate::proto::{
    packet::{self, DataHeader, Epoch, SessionId},
    session::{Lost, Numbers, Side, Violation, Worth},
};

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

#[test]
fn acknowledgements_that_a_peer_asks_for_are_not_kept_while_it_owes_one() {
    // r[verify ack.when]
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
    // r[verify path.answer]
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

#[test]
fn a_peer_that_acknowledges_nothing_is_given_up_after_half_a_minute() {
    // r[verify loss.give-up]
    for side in [Side::Client, Side::Server] {
        let mut victim = Victim::new(side);
        for _ in 0..10_000 {
            victim.push(0, 1000);
        }
        let begin = victim.now;
        let mut sent = 0;
        let lost = loop {
            match victim.pass(SECOND / 10) {
                Ok(out) => sent += out.iter().map(|(_, datagram)| datagram.len()).sum::<usize>(),
                Err(lost) => break lost,
            }
            assert!(victim.now - begin < SECOND * 40);
        };
        assert_eq!(lost, Lost::Silent);
        assert!((SECOND * 29..SECOND * 31).contains(&(victim.now - begin)));
        // The first window, and two packets each time that it asks again.
        assert!(sent < 14_720 + 40 * 2 * 1200, "{sent} bytes");
        assert!(victim.session.inspect().sent_entries < 100);
        assert_eq!((victim.session.poll_timeout(), victim.sends().len()), (None, 0));
    }
}

#[test]
fn a_peer_that_acknowledges_and_sends_nothing_costs_nothing() {
    // r[verify ack.quiet]
    let mut victim = Victim::new(Side::Server);
    for round in 0..2000 {
        victim.push(0, 700);
        for (_, datagram) in victim.sends() {
            let number = number(&datagram);
            victim.take(&Writer::new().ack_with(number, 0, &[], 0, round + 4096)).unwrap();
        }
        victim.now += MS;
    }
    assert_eq!(victim.queue.taken, 2000);
    assert!(victim.pass(SECOND * 3600).unwrap().is_empty(), "it is idle");
    assert!(victim.session.inspect().is_at_rest());
}

#[test]
fn acknowledgements_of_what_was_never_sent_end_the_session() {
    // r[verify ack.unsent]
    let wrong = |frames: Writer| {
        let mut victim = Victim::new(Side::Server);
        for _ in 0..3 {
            victim.push(0, 1000);
        }
        let sent = victim.sends();
        assert_eq!(sent.len(), 3);
        let result = victim.take(&frames);
        if result.is_err() {
            assert!(victim.sends().iter().any(|(_, datagram)| kinds(datagram) == ["close"]));
        }
        result
    };
    for largest in [3, 4, 1000, (1 << 31) - 1, 1 << 31, u64::from(u32::MAX)] {
        assert!(wrong(Writer::new().ack(largest, 0, &[])).is_err(), "{largest}");
    }
    // Ranges that go below 0, whole or in part.
    assert!(wrong(Writer::new().ack(2, 3, &[])).is_err());
    assert!(wrong(Writer::new().ack(2, 0, &[(0, 1)])).is_err());
    assert!(wrong(Writer::new().ack(2, 0, &[(u16::MAX, u16::MAX); 31])).is_err());
    assert!(wrong(Writer::new().ack(2, u16::MAX, &[])).is_err());
    assert!(wrong(Writer::new().ack(2, 0, &[(0, 0)])).is_ok());
    assert!(wrong(Writer::new().ack(2, 2, &[])).is_ok());
}

#[test]
fn an_acknowledgement_of_a_number_that_was_skipped_ends_the_session() {
    // r[verify ack.unsent] r[verify datagram.pn]
    let mut victim = Victim::new(Side::Server);
    let mut expected = 0;
    for round in 0..2000 {
        victim.push(0, 1000);
        victim.now += MS * 10;
        for (_, datagram) in victim.sends() {
            let number = number(&datagram);
            if number != expected {
                let all = Writer::new().ack_with(number, 1, &[], 0, round + 4096);
                let wrong = Violation::Protocol("an acknowledgement of a skipped packet");
                assert_eq!(victim.take(&all), Err(Lost::Violation(wrong)));
                return;
            }
            victim.take(&Writer::new().ack_with(number, 0, &[], 0, round + 4096)).unwrap();
            expected = number + 1;
        }
    }
    panic!("no number was skipped");
}

#[test]
fn acknowledgements_with_more_ranges_than_there_may_be_end_the_session() {
    for ranges in [32, 100, 255] {
        let mut victim = Victim::new(Side::Server);
        victim.push(0, 1000);
        victim.sends();
        let frames = Writer::new().ack(0, 0, &vec![(0, 0); ranges]);
        assert!(victim.take(&frames).is_err());
    }
    // One byte of the frame says so, whatever follows.
    let mut victim = Victim::new(Side::Server);
    assert!(victim.take(&Writer::new().raw(&[2, 255, 0, 0])).is_err());
}

#[test]
fn a_delay_that_a_peer_makes_up_counts_no_more_than_it_announced() {
    let mut victim = Victim::new(Side::Server);
    for round in 0..100 {
        victim.push(0, 1000);
        let sent = victim.sends();
        victim.now += MS * 100;
        let number = number(&sent[0].1);
        // 524 ms of 100.
        let frames = Writer::new().ack_with(number, 0, &[], u16::MAX, round + 4096);
        victim.take(&frames).unwrap();
    }
    // It announced 5 ms, so the probe waits for at least what is left, and not much longer.
    victim.push(0, 1000);
    victim.sends();
    let wait = victim.session.poll_timeout().unwrap() - victim.now;
    assert!((MS * 95..MS * 130).contains(&wait), "{wait:?}");
}

#[test]
fn windows_that_a_peer_makes_up_are_harmless() {
    // r[verify window.limit]
    for window in [0, 1, 4095, 1 << 31, (1 << 31) + 4096, u64::from(u32::MAX)] {
        let mut victim = Victim::new(Side::Server);
        for _ in 0..20_000 {
            victim.push(0, 10);
        }
        let mut sent = victim.sends();
        for _ in 0..200 {
            victim.now += MS * 10;
            for (_, datagram) in sent {
                let frames = Writer::new().ack_with(number(&datagram), 0, &[], 0, window);
                victim.take(&frames).unwrap();
            }
            sent = victim.sends();
        }
        // It is never taken back; more than a round of all numbers ahead is behind.
        let taken = victim.queue.taken;
        assert!(taken == 4096 || taken == 20_000, "window {window}: {taken} frames");
    }
}

#[test]
fn a_closed_window_opens_although_its_acknowledgement_was_lost() {
    let mut victim = Victim::new(Side::Server);
    for _ in 0..5000 {
        victim.push(0, 10);
    }
    let mut last = 0;
    let mut missing = 0;
    for _ in 0..300 {
        for (_, datagram) in victim.sends() {
            last = last.max(number(&datagram));
            // All but the last are acknowledged, with the window as it was.
            if victim.queue.taken < 4096 {
                victim.take(&Writer::new().ack(last, 0, &[])).unwrap();
                missing = last + 1;
            }
        }
        victim.now += MS * 10;
    }
    assert_eq!((victim.queue.taken, victim.session.inspect().window), (4096, 0));
    // The receiver's acknowledgement is lost; asked again, it answers with what it is by then.
    let asked = victim.pass(SECOND * 4).unwrap();
    assert!(!asked.is_empty());
    let newest = number(&asked.last().unwrap().1);
    let all = u16::try_from(newest - missing).unwrap();
    victim.take(&Writer::new().ack_with(newest, all, &[], 0, 4096 + 4096)).unwrap();
    assert!(!victim.pass(SECOND).unwrap().is_empty() && victim.queue.taken > 4096);
}

#[test]
fn closes_and_resets_of_others_end_nothing() {
    // r[verify session.close] r[verify session.epoch]
    let mut victim = Victim::new(Side::Server);
    let close = Writer::new().close(1);
    let from_itself = Victim::new(Side::Client).packet(0, &close);
    assert_eq!(victim.take_bytes(peer(), &from_itself), Ok(Worth::Nothing));
    for (session, epoch) in [(1, EPOCH), (ID.0, Epoch(EPOCH.0 ^ 1)), (ID.0 ^ 1 << 63, EPOCH)] {
        let header = DataHeader { from_server: false, epoch, session: SessionId(session), pn: 0 };
        let mut forged = Vec::new();
        packet::begin_data(&mut forged, header, None);
        forged.extend_from_slice(&close.0);
        packet::finish(&mut forged, 0, 0);
        assert_eq!(victim.take_bytes(peer(), &forged), Ok(Worth::Nothing));
    }
    assert!(!victim.session.inspect().is_over);
    // The real one, with any code.
    for code in 0..=255 {
        let mut victim = Victim::new(Side::Server);
        let lost = victim.take(&Writer::new().close(code));
        assert_eq!(lost, Err(Lost::Closed(code.into())));
        assert_eq!((victim.session.poll_timeout(), victim.sends().len()), (None, 0));
        assert_eq!(victim.take(&Writer::new().ping()), Ok(Worth::Nothing));
    }
}

#[test]
fn packet_numbers_far_ahead_and_far_behind_are_borne() {
    let mut victim = Victim::new(Side::Server);
    let mut random = fastrand::Rng::with_seed(3);
    for _ in 0..20_000 {
        victim.pn = random.u64(..1 << 33);
        victim.take(&Writer::new().ping()).unwrap();
        victim.now += MS / 10;
        assert!(victim.sends().len() <= 1);
        assert!(victim.session.inspect().ranges <= 64);
    }
}

#[test]
fn a_timer_that_is_late_by_seconds_asks_once() {
    // r[verify loss.pto]
    let mut victim = Victim::new(Side::Server);
    victim.push(0, 1000);
    victim.sends();
    for late in [SECOND * 5, SECOND * 9] {
        victim.now += late;
        victim.session.handle_timeout(victim.now).unwrap();
        assert_eq!(victim.sends().len(), 2, "two probes, whatever the time");
        assert!(victim.session.poll_timeout().unwrap() > victim.now);
    }
    // An hour: the machine slept. Nothing but a close is sent.
    victim.now += SECOND * 3600;
    assert_eq!(victim.session.handle_timeout(victim.now), Err(Lost::Silent));
    assert_eq!(victim.sends().len(), 1);
}

#[test]
fn unfinished_lanes_are_bounded() {
    let mut victim = Victim::new(Side::Server);
    victim.take(&Writer::new().lane(0, 0, 0, b"hello")).unwrap();
    let mut number = 1;
    let lost = loop {
        let mut frames = Writer::new();
        for _ in 0..50 {
            frames = frames.lane(number, number * 7, 0, b"");
            number += 1;
        }
        if let Err(lost) = victim.take(&frames) {
            break lost;
        }
    };
    assert_eq!(
        lost,
        Lost::Violation(Violation::Limit("more lanes are open than this side allows"))
    );
    assert!(victim.session.inspect().lanes_in <= 1 << 18);
}

#[test]
fn a_peer_that_leaves_out_one_frame_for_ever_is_closed() {
    // r[verify lane-frame.late]
    let mut victim = Victim::new(Side::Server);
    victim.take(&Writer::new().lane(0, 0, 0, b"hello")).unwrap();
    let begun = victim.now;
    // All of a window but its first, and calls that end in between.
    let mut number = 2;
    let lost = loop {
        let frames = Writer::new().lane(number, 9, number - 1, &[7; 1000]);
        if let Err(lost) = victim.take(&frames) {
            break lost;
        }
        number += 1;
        victim.pass(SECOND / 10).unwrap();
        assert!(
            victim.now - begun < SECOND * 40,
            "it holds {}",
            victim.session.inspect().held_bytes
        );
    };
    let late = Violation::Limit("a frame has not come for 30 s, and those behind it have");
    assert_eq!(lost, Lost::Violation(late));
    assert!((SECOND * 30..SECOND * 31).contains(&(victim.now - begun)));
    assert_eq!(kinds(&victim.sends()[0].1), ["close"]);
}

#[test]
fn a_peer_that_slept_has_not_left_a_frame_out() {
    // r[verify lane-frame.late]
    let mut victim = Victim::new(Side::Server);
    victim.take(&Writer::new().lane(0, 0, 0, b"hello")).unwrap();
    victim.take(&Writer::new().lane(2, 9, 1, b"")).unwrap();
    victim.pass(SECOND * 400).unwrap();
    // It wakes up, and what was lost comes behind something new.
    victim.take(&Writer::new().lane(3, 9, 2, b"")).unwrap();
    victim.pass(SECOND * 9).unwrap();
    victim.take(&Writer::new().lane(4, 9, 3, b"")).unwrap();
    victim.take(&Writer::new().lane(1, 9, 0, b"")).unwrap();
    // But who is silent again and again gains little.
    victim.take(&Writer::new().lane(6, 9, 5, b"")).unwrap();
    let lost = (7..).find_map(|number| {
        victim.pass(SECOND * 60).unwrap();
        let taken = victim.take(&Writer::new().lane(number, 9, number - 1, b""));
        taken.err().map(|lost| (number, lost))
    });
    let late = Violation::Limit("a frame has not come for 30 s, and those behind it have");
    assert_eq!(lost, Some((10, Lost::Violation(late))));
}

#[test]
fn a_gap_that_closes_is_none_any_more() {
    // r[verify lane-frame.late]
    let mut victim = Victim::new(Side::Server);
    victim.take(&Writer::new().lane(0, 0, 0, b"hello")).unwrap();
    // Something is always missing, but never the same for long.
    for number in (1..40).map(|round| round * 2) {
        victim.take(&Writer::new().lane(number, 9, number - 1, b"")).unwrap();
        victim.pass(SECOND * 5).unwrap();
        victim.take(&Writer::new().lane(number - 1, 9, number - 2, b"")).unwrap();
        victim.pass(SECOND).unwrap();
    }
    // A long time later the clock of a gap begins anew.
    victim.pass(SECOND * 60).unwrap();
    victim.take(&Writer::new().lane(80, 9, 79, b"")).unwrap();
    victim.take(&Writer::new().lane(79, 9, 78, b"")).unwrap();
}

#[test]
fn nothing_is_sent_in_a_session_that_the_server_doesnt_know() {
    // r[verify reset.accept]
    let mut victim = Victim::new(Side::Client);
    victim.push(0, 40);
    assert_eq!(victim.sends().len(), 1);
    victim.session.forget();
    victim.push(0, 40);
    victim.session.abort();
    assert_eq!((victim.sends().len(), victim.session.poll_timeout()), (0, None));
    assert_eq!(victim.take(&Writer::new().ping()), Ok(Worth::Nothing));
}

#[test]
fn malformed_frames_end_the_session() {
    for frames in [
        &[0x0c][..],
        &[0xff],
        &[0x02, 0],
        &[0x04, 1, 2],
        &[0x06, 1],
        &[0x07],
        // A lane frame that is longer than its packet, one that is too long, an empty piece, a piece
        // that ends its lane.
        &[0x08, 200, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[0x08, 0x61, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[0x0b, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7],
    ] {
        let mut padded = vec![0x01; 30];
        padded.extend_from_slice(frames);
        let mut victim = Victim::new(Side::Server);
        let lost = victim.take(&Writer::new().raw(&padded));
        let wrong = Violation::Protocol("a malformed packet");
        assert_eq!(lost, Err(Lost::Violation(wrong)), "{frames:?}");
        assert_eq!(victim.sends().len(), 1);
    }
}

#[test]
fn every_number_may_pass_two_to_the_thirty_second() {
    for before in [1, 5, 100, 300] {
        let begin = (1_u64 << 32) - before;
        let numbers = Numbers { packet: begin, frame: begin, lane: 9, lane_seq: begin };
        let mut victim = Victim::new(Side::Server);
        victim.session.begin_at(victim.now, numbers, numbers);
        victim.pn = begin;
        for n in 0..600 {
            // What comes, now and then in the wrong order.
            let swapped = n ^ u64::from(n / 2 % 3 == 0);
            let at = begin + swapped;
            victim.take(&Writer::new().lane(at, 9, at, b"in")).unwrap();
            victim.queue.push(9, false, vec![1; 30]);
            for (_, datagram) in victim.sends() {
                let low = number(&datagram);
                victim.take(&Writer::new().ack_with(low, 0, &[], 0, begin + n + 4096)).unwrap();
            }
            victim.now += MS;
        }
        let inspected = victim.session.inspect();
        assert_eq!((victim.pile.frames.len(), victim.queue.taken), (600, 600), "{inspected:?}");
        assert_eq!((inspected.held_bytes, inspected.gaps, inspected.window > 3000), (0, 0, true));
    }
}

#[test]
fn an_idle_session_is_small_and_silent() {
    let mut victim = Victim::new(Side::Server);
    for round in 0..500_u64 {
        victim.take(&Writer::new().last(round, round, 0, b"call")).unwrap();
        victim.queue.push(round, true, vec![1; 100]);
        for (_, datagram) in victim.sends() {
            victim
                .take(&Writer::new().ack_with(number(&datagram), 0, &[], 0, round + 4096))
                .unwrap();
        }
        victim.now += MS;
    }
    victim.pass(SECOND * 5).unwrap();
    victim.session.shrink();
    let inspected = victim.session.inspect();
    assert!(inspected.is_at_rest() && inspected.sent_entries == 0, "{inspected:?}");
    assert_eq!((inspected.lanes_in, inspected.lanes_out), (0, 0));
    assert!(victim.pass(SECOND * 86_400).unwrap().is_empty());
    let bytes = size_of::<crate::proto::session::Session>();
    assert!(bytes <= 1200, "a session has {bytes} bytes");
}

#[test]
fn probes_say_again_what_has_come() {
    // r[verify ack.probe]
    let mut victim = Victim::new(Side::Server);
    victim.take(&Writer::new().ping()).unwrap();
    victim.push(0, 100);
    assert_eq!(kinds(&victim.sends()[0].1), ["ack", "frame"]);
    // That is lost. Nothing new has come since.
    let probes = victim.pass(SECOND * 2).unwrap();
    assert!(!probes.is_empty());
    assert_eq!(kinds(&probes[0].1), ["ack", "frame"]);
}

#[test]
fn a_window_that_stays_closed_is_asked_about() {
    // r[verify window.probe]
    let mut victim = Victim::new(Side::Server);
    for _ in 0..5000 {
        victim.push(0, 10);
    }
    for _ in 0..300 {
        for (_, datagram) in victim.sends() {
            victim.take(&Writer::new().ack(number(&datagram), 0, &[])).unwrap();
        }
        victim.now += MS * 10;
    }
    let inspected = victim.session.inspect();
    assert_eq!((inspected.window, inspected.is_waiting), (0, false));
    // For as long as that lasts, and ever less often.
    let mut asked = 0;
    for _ in 0..20 {
        for (_, datagram) in victim.pass(SECOND).unwrap() {
            assert_eq!(kinds(&datagram).last(), Some(&"ping"));
            victim.take(&Writer::new().ack(number(&datagram), 0, &[])).unwrap();
            asked += 1;
        }
    }
    assert!((5..100).contains(&asked), "asked {asked} times");
    victim.pn += 1;
    victim.take(&Writer::new().ack_with(0, 0, &[], 0, 5000)).unwrap();
    victim.pass(SECOND).unwrap();
    assert_eq!(victim.queue.taken, 5000);
}
