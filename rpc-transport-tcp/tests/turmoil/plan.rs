//! What one seed makes happen, as data: calls of each client, and what befalls the network and the
//! server meanwhile. Who carries it out is `world`.

use std::time::Duration;

use fastrand::Rng;

/// How many hosts call.
pub(crate) const CLIENTS: usize = 2;

/// How many calls each client makes.
const CALLS: usize = 250;

/// How long it takes to begin them, in milliseconds, at most.
const SPREAD_MS: u64 = 2000;

/// Makes what readers of items do follow from other numbers than all else that a seed makes happen.
const READERS: u64 = 0x7265_6164_6572_7321;

/// How long a call may take that says nothing about it.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(1);

/// Bytes of a large message: more than one frame.
const LARGE_BYTES: usize = 100 * 1024;

/// Everything that one run does.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Nothing befalls anybody: every call has to end well.
    pub(crate) peaceful: bool,
    /// How far time goes on before segments are delivered: more of them come at once then.
    pub(crate) tick: Duration,
    /// How long a segment is under way at most, beyond the tick that each takes.
    pub(crate) latency: Duration,
    /// How many calls of a connection the server runs at a time.
    pub(crate) places: u32,
    pub(crate) calls: [Vec<CallPlan>; CLIENTS],
    /// One after the other, until all calls have ended: so long nothing happens, then this.
    pub(crate) faults: Vec<(Duration, Fault)>,
}

/// One call.
#[derive(Debug, Clone)]
pub(crate) struct CallPlan {
    /// How long after the one before it.
    pub(crate) pause: Duration,
    /// The client drops its channel before, with whatever calls it has, and makes another.
    pub(crate) reopens: bool,
    pub(crate) shape: Shape,
    /// Bytes of text in the arguments, and in the reply.
    pub(crate) bytes: [usize; 2],
    pub(crate) idempotent: bool,
    pub(crate) patience: Patience,
    /// When its caller drops it, if it hasn't ended.
    pub(crate) leave: Option<Duration>,
    pub(crate) reading: Reading,
}

/// How items are read. The place of the end is the one behind the last item.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Reading {
    /// Before the item at this place its reader does something else for so long.
    pub(crate) pause: Option<(usize, Duration)>,
    /// Before the item at this place it drops the stream.
    pub(crate) leave: Option<usize>,
}

/// How long a call may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// [`TIMEOUT`].
    Usual,
    Timeout(Duration),
    Endless,
}

/// What the handler does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Answer,
    /// It waits, then answers.
    Wait(Duration),
    /// It runs until it is stopped.
    Forever,
    /// Its caller waits only until the request has left.
    Oneway,
    /// So many items are the reply, with so much time between two of them.
    Items(usize, Duration),
}

/// What befalls the network or the server.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// What goes between the server and this client is lost, for so long.
    Cut(usize, Way, Duration),
    /// It waits, for so long; then all comes at once.
    Hold(usize, Duration),
    /// The server's process dies, and its host closes its sockets; another starts after so long.
    Crash(Duration),
    /// The server's host dies without a word; it starts again after so long.
    Vanish(Duration),
    /// The server stops, and has so long to end what is under way; another starts.
    Drain(Duration),
    /// From now on segments may take so long.
    Slow(Duration),
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Way {
    Both,
    ToServer,
    ToClient,
}

impl Plan {
    pub(crate) fn random(seed: u64) -> Self {
        let rng = &mut Rng::with_seed(seed);
        let peaceful = rng.u8(..10) == 0;
        // From a rush at the beginning to calls that are alone, or nearly.
        let pause = rng.u64(..SPREAD_MS) / CALLS as u64;
        let mut each = || (0..CALLS).map(|_| CallPlan::random(rng, pause)).collect();
        let mut calls: [Vec<CallPlan>; CLIENTS] = std::array::from_fn(|_| each());
        let readers = &mut Rng::with_seed(seed ^ READERS);
        calls.iter_mut().flatten().for_each(|call| call.draw_reading(readers));
        Self {
            peaceful,
            tick: millis(rng, 2, 5),
            latency: millis(rng, 1, 20),
            places: if rng.bool() { 256 } else { rng.u32(2..16) },
            calls,
            faults: if peaceful { Vec::new() } else { faults(rng) },
        }
    }
}

fn faults(rng: &mut Rng) -> Vec<(Duration, Fault)> {
    (0..rng.usize(3..12)).map(|_| (millis(rng, 0, 150), Fault::random(rng))).collect()
}

impl Fault {
    fn random(rng: &mut Rng) -> Self {
        let client = rng.usize(..CLIENTS);
        match rng.u8(..10) {
            // Shorter ones than a keepalive takes to notice, and longer ones.
            0..3 => Self::Cut(client, Way::random(rng), millis(rng, 1, 600)),
            3..5 => Self::Hold(client, millis(rng, 1, 600)),
            5..7 => Self::Crash(millis(rng, 0, 200)),
            7 => Self::Vanish(millis(rng, 0, 500)),
            8 => Self::Drain(millis(rng, 0, 300)),
            _ => Self::Slow(millis(rng, 1, 60)),
        }
    }
}

impl Way {
    fn random(rng: &mut Rng) -> Self {
        match rng.u8(..4) {
            0 => Self::ToServer,
            1 => Self::ToClient,
            _ => Self::Both,
        }
    }
}

impl CallPlan {
    fn random(rng: &mut Rng, pause: u64) -> Self {
        let shape = Shape::random(rng);
        let mut call = Self {
            pause: if rng.bool() { Duration::ZERO } else { millis(rng, 0, 4 * pause) },
            reopens: rng.u8(..100) == 0,
            shape,
            bytes: [bytes(rng), bytes(rng)],
            idempotent: rng.u8(..4) == 0,
            patience: match rng.u8(..10) {
                0 => Patience::Endless,
                1..3 => Patience::Timeout(millis(rng, 0, 200)),
                _ => Patience::Usual,
            },
            leave: (rng.u8(..8) == 0).then(|| millis(rng, 0, 100)),
            reading: Reading::default(),
        };
        if shape == Shape::Forever && call.leave.is_none() {
            call.patience = Patience::Timeout(millis(rng, 1, 200));
        }
        call
    }

    /// Some readers pause, for longer than a keepalive takes to notice that all is silent, or go.
    fn draw_reading(&mut self, rng: &mut Rng) {
        let Shape::Items(items, _) = self.shape else { return };
        if rng.u8(..3) == 0 {
            self.reading.pause = Some((rng.usize(..=items), millis(rng, 0, 800)));
        }
        if rng.u8(..5) == 0 {
            self.reading.leave = Some(rng.usize(..=items));
        }
    }

    /// How long the call may take, as far as its caller said so.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        match self.patience {
            Patience::Usual => Some(TIMEOUT),
            Patience::Timeout(timeout) => Some(timeout),
            Patience::Endless => None,
        }
    }
}

impl Shape {
    fn random(rng: &mut Rng) -> Self {
        match rng.u8(..20) {
            0..10 => Self::Answer,
            10..14 => Self::Wait(millis(rng, 1, 50)),
            14..16 => Self::Forever,
            16..18 => Self::Oneway,
            _ => Self::Items(rng.usize(..20), millis(rng, 0, 5)),
        }
    }
}

/// Nothing, something, or a large message.
fn bytes(rng: &mut Rng) -> usize {
    match rng.u8(..50) {
        0 => 0,
        1 => rng.usize(LARGE_BYTES / 2..LARGE_BYTES),
        _ => rng.usize(1..200),
    }
}

fn millis(rng: &mut Rng, least: u64, most: u64) -> Duration {
    Duration::from_millis(rng.u64(least..=most))
}
