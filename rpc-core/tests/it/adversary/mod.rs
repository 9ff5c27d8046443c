//! The adversarial transport: unkind in every way it promises, the same way for the same seed.

use std::{
    io,
    task::{Context, Poll, Waker},
};

use rpc_core::{
    testing::adversary::{Adversary, AdversaryTransport, Death, Direction},
    transport::{Batch, InFrame, Inbox, Lane, OutFrame, Received, Transport, TransportError},
};

/// Polls after which whatever can happen has happened.
const POLLS: usize = 1000;

/// Received frames: lane, and the number that is their payload.
#[derive(Debug, Default, PartialEq, Eq)]
struct Arrived(Vec<(u64, u8)>);

impl Inbox for Arrived {
    fn push(&mut self, frame: InFrame<'_>) {
        self.0.push((frame.lane.number(), frame.payload.as_slice()[0]));
    }

    fn frame_bytes_max(&self) -> usize {
        1024
    }
}

/// A hello, then `count` frames on three lanes in turn.
fn batch(count: u8) -> Batch {
    (0..=count)
        .map(|number| {
            let lane = if number == 0 { 0 } else { 1 + u64::from(number) % 3 };
            OutFrame::new(Lane::new(lane), false, vec![number])
        })
        .collect()
}

/// How sending ended, how receiving did, and what arrived.
struct Outcome {
    sent: Poll<io::Result<()>>,
    left: usize,
    received: Poll<Result<Received, TransportError>>,
    arrived: Arrived,
    /// What each call did: the bytes left in the batch, the frames received.
    trace: Vec<(usize, usize)>,
}

/// Sends a hello and `count` frames from one end to the other, polling both in turn.
fn pump(from: &mut AdversaryTransport, to: &mut AdversaryTransport, count: u8) -> Outcome {
    let cx = &mut Context::from_waker(Waker::noop());
    let mut batch = batch(count);
    let mut sent = Poll::Pending;
    let mut received = Poll::Pending;
    let mut arrived = Arrived::default();
    let mut trace = Vec::new();
    for _ in 0..POLLS {
        if sent.is_pending() {
            sent = from.poll_send(cx, &mut batch);
        }
        if !matches!(received, Poll::Ready(Ok(Received::End) | Err(_))) {
            received = to.poll_recv(cx, &mut arrived);
        }
        trace.push((bytes::Buf::remaining(&batch), arrived.0.len()));
    }
    let left = std::iter::from_fn(|| batch.next_frame()).count();
    Outcome { sent, left, received, arrived, trace }
}

#[test]
fn the_same_seed_does_the_same() {
    let trace = |seed| {
        let (mut a, mut b) = Adversary::new(seed).pair();
        let Outcome { arrived, trace, .. } = pump(&mut a, &mut b, 60);
        (arrived, trace)
    };
    for seed in 0..10 {
        assert_eq!(trace(seed), trace(seed));
        assert_ne!(trace(seed), trace(seed + 1));
    }
}

#[test]
fn each_connection_has_a_seed_of_its_own() {
    let adversary = Adversary::new(1);
    let trace = || {
        let (mut a, mut b) = adversary.pair();
        pump(&mut a, &mut b, 60).trace
    };
    assert_ne!(trace(), trace());
}

#[test]
fn lanes_overtake_each_other_but_never_the_hello() {
    for seed in 0..20 {
        let (mut a, mut b) = Adversary::new(seed).pair();
        let Arrived(arrived) = pump(&mut a, &mut b, 60).arrived;
        assert_eq!(arrived.len(), 61, "seed {seed}");
        assert_eq!(arrived[0], (0, 0), "seed {seed}");
        assert!(!arrived.is_sorted_by_key(|(_, number)| *number), "seed {seed}: nothing overtook");
        for lane in 1..=3 {
            let numbers = arrived.iter().filter(|(of, _)| *of == lane).map(|(_, number)| *number);
            assert!(numbers.is_sorted(), "seed {seed}: lane {lane} is out of order");
        }
    }
}

#[test]
fn it_takes_a_part_of_a_batch_and_holds_frames_back() {
    for seed in 0..20 {
        let (mut a, mut b) = Adversary::new(seed).pair();
        let trace = pump(&mut a, &mut b, 60).trace;
        let taken = trace.iter().position(|(left, _)| *left == 0).unwrap();
        let arrived = trace.iter().position(|(_, arrived)| *arrived == 61).unwrap();
        assert!(taken > 5, "seed {seed}: taken in {taken} polls");
        assert!(arrived > taken, "seed {seed}: arrived in {arrived} polls, taken in {taken}");
    }
}

#[test]
fn a_connection_dies_between_two_frames_of_a_batch() {
    for seed in 0..20 {
        for frames in 0..10 {
            let death =
                Death::when_sent(Direction::ToAcceptor, frames).with_error(io::ErrorKind::TimedOut);
            let (mut a, mut b) = Adversary::new(seed).death(death).pair();
            let outcome = pump(&mut a, &mut b, 60);
            let Poll::Ready(Err(sent)) = outcome.sent else { panic!("{:?}", outcome.sent) };
            assert_eq!(sent.kind(), io::ErrorKind::TimedOut);
            assert_eq!(outcome.left as u64, 61 - frames, "seed {seed}");
            assert!(outcome.arrived.0.len() as u64 <= frames, "seed {seed}");
            let Poll::Ready(Err(TransportError::Io(received))) = outcome.received else {
                panic!("seed {seed}: {:?}", outcome.received);
            };
            assert_eq!(received.kind(), io::ErrorKind::TimedOut);
        }
    }
}

#[test]
fn a_connection_dies_after_a_frame_that_arrived() {
    for seed in 0..20 {
        for frames in 0..10 {
            let death = Death::when_received(Direction::ToConnector, frames);
            let (mut a, mut b) = Adversary::new(seed).death(death).pair();
            let outcome = pump(&mut b, &mut a, 60);
            assert_eq!(outcome.arrived.0.len() as u64, frames, "seed {seed}");
            assert!(matches!(outcome.received, Poll::Ready(Err(_))), "seed {seed}");
            // The sender hears of it, also when all of its frames had been taken.
            let cx = &mut Context::from_waker(Waker::noop());
            assert!(matches!(b.poll_send(cx, &mut batch(1)), Poll::Ready(Err(_))), "seed {seed}");
        }
    }
}

/// What the sender had sent arrives, then the end; what was under way to it does not.
#[test]
fn a_killed_sender_leaves_what_it_had_sent() {
    for seed in 0..20 {
        let death = Death::when_sent(Direction::ToAcceptor, 5).with_end();
        let (mut a, mut b) = Adversary::new(seed).death(death).pair();
        let cx = &mut Context::from_waker(Waker::noop());
        let mut answers = batch(60);
        let _pending = b.poll_send(cx, &mut answers);
        let outcome = pump(&mut a, &mut b, 60);
        assert_eq!(outcome.arrived.0.len(), 5, "seed {seed}");
        assert!(matches!(outcome.received, Poll::Ready(Ok(Received::End))), "seed {seed}");
        assert!(matches!(b.poll_send(cx, &mut answers), Poll::Ready(Err(_))), "seed {seed}");
        let mut arrived = Arrived::default();
        let received = a.poll_recv(cx, &mut arrived);
        assert!(matches!(received, Poll::Ready(Err(_))), "seed {seed}: {received:?}");
        assert_eq!(arrived, Arrived::default());
    }
}

#[test]
fn connections_die_in_the_order_planned_and_then_no_more() {
    let death = |frames| Death::when_sent(Direction::ToAcceptor, frames);
    let adversary = Adversary::new(3).death(death(2)).death(death(4));
    let left = || {
        let (mut a, mut b) = adversary.pair();
        pump(&mut a, &mut b, 9).left
    };
    assert_eq!([left(), left(), left()], [8, 6, 0]);
}
