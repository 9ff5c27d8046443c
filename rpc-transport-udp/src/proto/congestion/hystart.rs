//! When slow start has found the path's capacity: as soon as round trips become longer, before
//! packets are lost (RFC 9406). It holds no window.

use std::time::Duration;

/// A round trip is longer than the one before if by an eighth of it, but within these.
const THRESHOLD_MIN: Duration = Duration::from_millis(4);
const THRESHOLD_MAX: Duration = Duration::from_millis(16);
const THRESHOLD_DIVISOR: u32 = 8;

/// Samples that a round needs for a verdict.
const SAMPLES: u32 = 8;

/// How much slower the window grows while it isn't certain that the capacity is found.
const CAUTIOUS_DIVISOR: f64 = 4.0;

/// Rounds after which it is.
const CAUTIOUS_ROUNDS: u32 = 5;

/// What slow start may do with an acknowledgement.
#[derive(Debug, Clone, Copy)]
pub(super) struct Growth {
    /// The window grows by the acknowledged bytes divided by this.
    pub(super) divisor: f64,
    /// Whether slow start ends with it.
    pub(super) ends: bool,
}

/// Watches the first slow start of a path; later ones know their threshold, and it rests
/// (section 4.3).
#[derive(Debug, Default)]
pub(super) struct HyStart {
    stopped: bool,
    last_sent: u64,
    /// The round ends when this packet, or a later one, is acknowledged; none if it begins with
    /// the next acknowledgement.
    round_end: Option<u64>,
    last_min: Option<Duration>,
    current_min: Option<Duration>,
    samples: u32,
    caution: Option<Caution>,
}

/// The capacity may have been found.
#[derive(Debug)]
struct Caution {
    /// The round trip that was longer than the one before.
    baseline: Duration,
    rounds: u32,
}

impl HyStart {
    pub(super) fn on_sent(&mut self, number: u64) {
        self.last_sent = self.last_sent.max(number);
    }

    /// An ACK whose largest packet number is `largest`.
    pub(super) fn on_ack(&mut self, largest: u64, sample: Option<Duration>) -> Growth {
        if self.stopped {
            return Growth { divisor: 1.0, ends: false };
        }
        if let Some(sample) = sample {
            self.current_min = Some(self.current_min.map_or(sample, |min| min.min(sample)));
            self.samples = self.samples.saturating_add(1);
        }
        self.judge();
        let divisor = if self.caution.is_some() { CAUTIOUS_DIVISOR } else { 1.0 };
        if largest >= *self.round_end.get_or_insert(self.last_sent) {
            self.end_round(largest);
        }
        Growth { divisor, ends: self.stopped }
    }

    /// Slow start is over, or not the first one.
    pub(super) fn stop(&mut self) {
        self.stopped = true;
    }

    fn judge(&mut self) {
        let Some(current) = self.current_min.filter(|_| self.samples >= SAMPLES) else { return };
        if let Some(caution) = &self.caution {
            if current < caution.baseline {
                self.caution = None;
            }
        } else if let Some(last) = self.last_min {
            let threshold = (last / THRESHOLD_DIVISOR).clamp(THRESHOLD_MIN, THRESHOLD_MAX);
            if current >= last.saturating_add(threshold) {
                self.caution = Some(Caution { baseline: current, rounds: 0 });
            }
        }
    }

    fn end_round(&mut self, largest: u64) {
        // With nothing on its way, the next round is what will be by the time of its first ACK.
        self.round_end = Some(self.last_sent).filter(|&end| end > largest);
        self.last_min = self.current_min.take();
        self.samples = 0;
        if let Some(caution) = &mut self.caution {
            caution.rounds += 1;
            self.stopped = caution.rounds >= CAUTIOUS_ROUNDS;
        }
    }
}
