//! Spreads datagrams over a round trip with a token bucket; how many may be in flight is the
//! congestion controller's decision.

use std::time::{Duration, Instant};

/// How much a burst is worth: timers are late by up to 1 ms, so that a smaller one would leave the
/// path idle between two of them.
const BURST: Duration = Duration::from_millis(2);

/// The finest timer there is. What comes due within it is due together.
const TIMER: Duration = Duration::from_millis(1);

/// Datagrams that may always leave together: an initial window (RFC 9002, section 7.7).
const BURST_MIN: f64 = 10.0;

/// Datagrams that leave together at most, as far as timers allow it: this much fits into the
/// receive buffer that systems give by default.
const BURST_MAX: f64 = 256.0;

/// A shorter round trip is measured no better than this.
const RTT_MIN: Duration = Duration::from_micros(1);

/// A wait is never longer, whatever the numbers: it is looked at again then.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// What the rate follows from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Pace {
    /// The congestion window in bytes.
    pub(crate) window: u64,
    /// The smoothed round-trip time.
    pub(crate) srtt: Duration,
    /// The largest datagram that the path is known to take.
    pub(crate) datagram_bytes: u16,
    /// Whether the window may double in this round trip.
    pub(crate) slow_start: bool,
}

impl Pace {
    /// Bytes a second: somewhat more than a window in each round trip, so that the window is what
    /// limits, and enough for a window that doubles.
    fn rate(&self) -> f64 {
        let gain = if self.slow_start { 2.0 } else { 1.25 };
        gain * self.window as f64 / self.srtt.max(RTT_MIN).as_secs_f64()
    }

    /// What the bucket holds. A rate that is above `BURST_MAX` in a `TIMER` would never be reached
    /// with a bucket of that size, hence the last line. A round trip below a millisecond is such a
    /// case: a whole window may leave at once then.
    fn capacity(&self, rate: f64) -> f64 {
        let datagram = f64::from(self.datagram_bytes);
        (rate * BURST.as_secs_f64())
            .min(BURST_MAX * datagram)
            .max(BURST_MIN * datagram)
            .max(rate * TIMER.as_secs_f64())
    }
}

/// A bucket of bytes that may be sent now; it fills at the rate of a [`Pace`].
#[derive(Debug)]
pub(crate) struct Pacer {
    tokens: f64,
    /// When `tokens` was right; none if nothing was ever sent, and the bucket is full.
    filled: Option<Instant>,
}

impl Pacer {
    pub(crate) fn new() -> Self {
        Self { tokens: 0.0, filled: None }
    }

    /// Whether `bytes` may certainly be sent: there was enough when it was last looked at, and nothing but
    /// sending makes it less. If not, [`delay`](Self::delay) knows.
    pub(crate) fn has(&self, bytes: usize) -> bool {
        self.filled.is_some() && self.tokens >= bytes as f64
    }

    /// When `bytes` may be sent; none if that is now. A batch that is larger than the bucket may
    /// go when the bucket is full.
    pub(crate) fn delay(&mut self, now: Instant, bytes: usize, pace: &Pace) -> Option<Instant> {
        let rate = pace.rate();
        let capacity = pace.capacity(rate);
        self.fill(now, rate, capacity);
        let needed = (bytes as f64).min(capacity);
        if self.tokens >= needed {
            return None;
        }
        // Waking up is worth it for what a timer's tick holds, not for one datagram.
        let worth = needed.max((rate * TIMER.as_secs_f64()).min(capacity));
        let wait = Duration::try_from_secs_f64((worth - self.tokens) / rate);
        let wait = wait.unwrap_or(WAIT_MAX).min(WAIT_MAX);
        // The deadline is rounded to a nanosecond; it must not be now.
        Some(now + wait.max(Duration::from_nanos(1)))
    }

    /// How many bytes may be sent now, at the time of the last [`delay`](Self::delay): what limits a
    /// batch. May be less than a datagram.
    pub(crate) fn budget_bytes(&self) -> u64 {
        floor(self.tokens)
    }

    /// Takes what was sent out of the bucket; more than there is, if a window's owner had to send,
    /// which later datagrams wait for. Datagrams that carry nothing but acknowledgements are free.
    pub(crate) fn on_sent(&mut self, now: Instant, bytes: usize, pace: &Pace) {
        if self.filled != Some(now) {
            let rate = pace.rate();
            self.fill(now, rate, pace.capacity(rate));
        }
        self.tokens -= bytes as f64;
        if self.tokens < 0.0 {
            // No more debt than one bucket: a probe must not silence a session for long.
            self.tokens = self.tokens.max(-pace.capacity(pace.rate()));
        }
    }

    /// Adds what has come in since the last time. However long that is, the bucket just becomes
    /// full; and a fraction of a byte isn't lost, however short it is.
    fn fill(&mut self, now: Instant, rate: f64, capacity: f64) {
        let Some(filled) = self.filled.replace(now) else {
            self.tokens = capacity;
            return;
        };
        let elapsed = now.saturating_duration_since(filled);
        self.filled = Some(now.max(filled));
        self.tokens = (self.tokens + rate * elapsed.as_secs_f64()).min(capacity);
    }
}

/// Whole bytes, and none if negative.
#[expect(clippy::cast_possible_truncation, reason = "to whole bytes is what it is for; saturates")]
fn floor(bytes: f64) -> u64 {
    bytes as u64
}

#[cfg(test)]
mod tests;
