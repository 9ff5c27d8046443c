//! Flows that share one queue, with RTT estimate and pacer: they use the path, and share it evenly.

use std::collections::VecDeque;

use super::*;
use crate::proto::{
    pacer::{Pace, Pacer},
    rtt::Rtt,
};

/// A packet that was sent and isn't acknowledged.
#[derive(Clone, Copy)]
struct Packet {
    flow: usize,
    number: u64,
    sent: Instant,
    marked: bool,
}

/// A sender that always has data.
struct Flow {
    congestion: Congestion,
    rtt: Rtt,
    pacer: Pacer,
    starts: Instant,
    number: u64,
    in_flight: VecDeque<Packet>,
    delivered: u64,
    cuts: u32,
}

impl Flow {
    fn new(starts: Instant) -> Self {
        Self {
            congestion: Congestion::new(DATAGRAM),
            rtt: Rtt::new(),
            pacer: Pacer::new(),
            starts,
            number: 0,
            in_flight: VecDeque::new(),
            delivered: 0,
            cuts: 0,
        }
    }

    fn poll_send(&mut self, flow: usize, now: Instant) -> Option<Packet> {
        let bytes = usize::from(DATAGRAM);
        let in_flight = (self.in_flight.len() + 1) * bytes;
        if now < self.starts || in_flight as u64 > self.congestion.window() {
            return None;
        }
        let pace = Pace {
            window: self.congestion.window(),
            srtt: self.rtt.smoothed(),
            datagram_bytes: DATAGRAM,
            slow_start: self.congestion.in_slow_start(),
        };
        if self.pacer.delay(now, bytes, &pace).is_some() {
            return None;
        }
        self.pacer.on_sent(now, bytes, &pace);
        self.number += 1;
        self.congestion.on_sent(self.number);
        let packet = Packet { flow, number: self.number, sent: now, marked: false };
        self.in_flight.push_back(packet);
        Some(packet)
    }

    /// The path keeps the order, so that what was sent before and didn't arrive is lost.
    fn handle_ack(&mut self, packet: Packet, now: Instant) {
        let before = self.in_flight.iter().take_while(|other| other.number < packet.number).count();
        let lost = self.in_flight.drain(..before).next_back();
        self.in_flight.pop_front();
        self.rtt.update(now - packet.sent, Duration::ZERO, now);
        self.delivered += 1;
        self.congestion.on_acked(packet.sent, u64::from(DATAGRAM));
        let signal = lost.or(packet.marked.then_some(packet));
        if let Some(signal) = signal {
            self.cuts += u32::from(self.congestion.on_congestion(now, signal.sent));
        }
        let (sample, smoothed) = (self.rtt.latest(), self.rtt.smoothed());
        self.congestion.on_ack_end(now, packet.number, Some(sample), smoothed, false);
    }
}

/// A queue that loses what it has no room for, on a path of a fixed length.
struct Bottleneck {
    datagrams_per_ms: usize,
    rtt: Duration,
    room: usize,
    /// Marks what comes when more than this is waiting.
    marks_above: usize,
    queue: VecDeque<Packet>,
    /// What has passed, and when its acknowledgement arrives.
    acks: VecDeque<(Instant, Packet)>,
}

impl Bottleneck {
    fn new(datagrams_per_ms: usize, rtt_ms: usize, room: usize) -> Self {
        Self {
            datagrams_per_ms,
            rtt: MS * u32::try_from(rtt_ms).unwrap(),
            room,
            marks_above: usize::MAX,
            queue: VecDeque::new(),
            acks: VecDeque::new(),
        }
    }

    /// Lets a millisecond pass.
    fn step(&mut self, flows: &mut [Flow], now: Instant, turn: usize) {
        let passed = self.datagrams_per_ms.min(self.queue.len());
        self.acks.extend(self.queue.drain(..passed).map(|packet| (now + self.rtt, packet)));
        while let Some(&(due, packet)) = self.acks.front().filter(|(due, _)| *due <= now) {
            self.acks.pop_front();
            flows[packet.flow].handle_ack(packet, due);
        }
        // In turns, packet by packet.
        let count = flows.len();
        let mut idle = 0;
        for flow in (0..count).cycle().skip(turn % count) {
            let Some(mut packet) = flows[flow].poll_send(flow, now) else {
                idle += 1;
                if idle == count {
                    break;
                }
                continue;
            };
            idle = 0;
            packet.marked = self.queue.len() > self.marks_above;
            if self.queue.len() < self.room {
                self.queue.push_back(packet);
            }
        }
    }
}

/// Flows that start `stagger` ms apart.
fn flows(count: u32, stagger: u32) -> Vec<Flow> {
    let start = Instant::now();
    (0..count).map(|n| Flow::new(start + MS * (n * stagger))).collect()
}

/// Runs flows for `millis`, and returns them with what each has delivered in the second half.
fn run(path: &mut Bottleneck, mut flows: Vec<Flow>, millis: usize) -> (Vec<Flow>, Vec<f64>) {
    let start = flows[0].starts;
    let mut half = Vec::new();
    for ms in 0..millis {
        if ms == millis / 2 {
            half = flows.iter().map(|flow| flow.delivered).collect();
        }
        path.step(&mut flows, start + MS * u32::try_from(ms).unwrap(), ms);
    }
    let late = flows.iter().zip(half).map(|(flow, half)| (flow.delivered - half) as f64).collect();
    (flows, late)
}

/// Jain's index: 1 if all have the same, 1/n if one has all.
fn jain(shares: &[f64]) -> f64 {
    let sum: f64 = shares.iter().sum();
    sum * sum / (shares.len() as f64 * shares.iter().map(|share| share * share).sum::<f64>())
}

/// How much of the path was used in the second half.
fn utilization(path: &Bottleneck, shares: &[f64], millis: usize) -> f64 {
    shares.iter().sum::<f64>() / (path.datagrams_per_ms * millis / 2) as f64
}

#[test]
fn one_flow_uses_the_path() {
    for (datagrams_per_ms, rtt_ms, room) in [(2, 40, 80), (8, 100, 800), (8, 100, 200), (20, 2, 60)]
    {
        let mut path = Bottleneck::new(datagrams_per_ms, rtt_ms, room);
        let (_, shares) = run(&mut path, flows(1, 0), 30_000);
        let used = utilization(&path, &shares, 30_000);
        assert!(used > 0.85, "{datagrams_per_ms}/ms, {rtt_ms} ms, room for {room}: {used}");
    }
}

#[test]
fn two_flows_share_evenly_though_one_came_later() {
    for (datagrams_per_ms, rtt_ms, room) in [(2, 40, 80), (8, 50, 400), (4, 10, 60)] {
        let mut path = Bottleneck::new(datagrams_per_ms, rtt_ms, room);
        let (flows, shares) = run(&mut path, flows(2, 5000), 80_000);
        let (used, jain) = (utilization(&path, &shares, 80_000), jain(&shares));
        assert!(flows.iter().all(|flow| flow.cuts > 3));
        assert!(jain >= 0.9 && used > 0.85, "jain {jain}, {used} used, {shares:?}");
    }
}

#[test]
fn marks_instead_of_losses_do_the_same() {
    let mut path = Bottleneck::new(4, 20, 1000);
    path.marks_above = 60;
    let (flows, shares) = run(&mut path, flows(4, 1000), 60_000);
    let (used, jain) = (utilization(&path, &shares, 60_000), jain(&shares));
    assert!(jain >= 0.9 && used > 0.9, "jain {jain}, {used} used, {shares:?}");
    let in_flight = flows.iter().map(|flow| flow.in_flight.len()).sum::<usize>();
    assert!(in_flight < 4 * 20 + 200, "{in_flight} datagrams are waiting or on their way");
}

/// How many datagrams the first slow start loses, with HyStart++ or without, where the queue is
/// three times as long as the path.
fn lost_in_slow_start(hystart: bool) -> u64 {
    let mut path = Bottleneck::new(8, 50, 1200);
    let mut flow = Flow::new(Instant::now());
    if !hystart {
        flow.congestion.hystart.stop();
    }
    let flows = run(&mut path, vec![flow], 3000).0;
    flows[0].number - flows[0].delivered - flows[0].in_flight.len() as u64
}

/// It can't save everything: where the queue is shorter than the path, the round trip that fills
/// it is also the one that shows it.
#[test]
fn slow_start_loses_less_when_it_watches_round_trips() {
    let (with, without) = (lost_in_slow_start(true), lost_in_slow_start(false));
    assert!(with * 2 < without, "{with} and {without} datagrams lost");
}
