//! How many bytes may be in flight: CUBIC (RFC 9438) on the recovery periods of RFC 9002, with
//! HyStart++ (RFC 9406). It neither detects losses nor counts what is in flight.
//!
//! For each ACK frame: [`on_acked`](Congestion::on_acked) for each packet that it newly
//! acknowledges, then [`on_congestion`](Congestion::on_congestion) if it shows a loss or a CE mark,
//! then [`on_ack_end`](Congestion::on_ack_end) once.

mod cubic;
mod hystart;

use std::time::{Duration, Instant};

use cubic::{BETA, Cubic};
use hystart::HyStart;

/// No window is larger. It is 5 Gbit/s over 100 ms, and more than the peer's window of frames; the
/// bound keeps numbers where an `f64` counts single bytes exactly.
pub(crate) const WINDOW_MAX_BYTES: u64 = 64 << 20;

/// An initial window in bytes, as long as datagrams are small (RFC 9002, section 7.2).
const INITIAL_BYTES: f64 = 14_720.0;

/// The congestion window of one path.
#[derive(Debug)]
pub(crate) struct Congestion {
    /// The largest datagram in use.
    datagram_bytes: f64,
    /// In bytes; growth of less than a byte for each ACK adds up.
    window: f64,
    /// Slow start goes on below it; infinite until something ended the first one.
    threshold: f64,
    /// Packets sent until then have had their say: neither their loss nor their acknowledgement
    /// changes the window.
    recovery_start: Option<Instant>,
    /// Bytes acknowledged since the last `on_ack_end` that may grow the window.
    credit: u64,
    cubic: Cubic,
    hystart: HyStart,
}

impl Congestion {
    /// For a path whose datagrams have at most `datagram_bytes` bytes for now.
    pub(crate) fn new(datagram_bytes: u16) -> Self {
        let datagram_bytes = f64::from(datagram_bytes.max(1));
        let initial = (10.0 * datagram_bytes).min(INITIAL_BYTES.max(2.0 * datagram_bytes));
        Self {
            datagram_bytes,
            window: initial,
            threshold: f64::INFINITY,
            recovery_start: None,
            credit: 0,
            cubic: Cubic::default(),
            hystart: HyStart::default(),
        }
    }

    /// Bytes of packets, in flight, beyond which nothing new is sent; probes excepted.
    pub(crate) fn window(&self) -> u64 {
        whole(self.window)
    }

    /// Whether the window grows exponentially, for which the pacer has to leave room.
    pub(crate) fn in_slow_start(&self) -> bool {
        self.window < self.threshold
    }

    /// A packet was sent that counts as in flight.
    pub(crate) fn on_sent(&mut self, number: u64) {
        self.hystart.on_sent(number);
    }

    /// One packet in flight of `bytes`, sent at `sent`, is acknowledged for the first time.
    pub(crate) fn on_acked(&mut self, sent: Instant, bytes: u64) {
        if !self.in_recovery(sent) {
            self.credit = self.credit.saturating_add(bytes);
        }
    }

    /// All of an ACK frame has been handled, of which `largest` is the largest packet number.
    ///
    /// `sample` is the round-trip time it has measured, with nothing taken off, if it has;
    /// `smoothed` is the estimate. `app_limited`: it wasn't the window (nor the pacer) that the
    /// sender last waited for, but data or the peer's permission; such a window has proved
    /// nothing and doesn't grow.
    pub(crate) fn on_ack_end(
        &mut self,
        now: Instant,
        largest: u64,
        sample: Option<Duration>,
        smoothed: Duration,
        app_limited: bool,
    ) {
        let credit = std::mem::take(&mut self.credit) as f64;
        let growth = self.hystart.on_ack(largest, sample);
        if growth.ends {
            self.threshold = self.window;
        }
        if app_limited {
            self.cubic.pause(now);
            return;
        }
        if credit == 0.0 {
            return;
        }
        if self.in_slow_start() {
            // Beyond the threshold it isn't slow start any more.
            self.window = (self.window + credit / growth.divisor).min(self.threshold);
        } else {
            let (window, datagram) = (self.window, self.datagram_bytes);
            self.window = self.cubic.grow(now, smoothed, window, credit, datagram);
        }
        self.window = self.window.min(WINDOW_MAX_BYTES as f64);
    }

    /// A packet sent at `sent` was lost (of several, the last one sent counts) or an ACK has shown
    /// a new CE mark (then `sent` of the largest packet it newly acknowledges). True if that made
    /// the window smaller, which it does once in a round trip.
    pub(crate) fn on_congestion(&mut self, now: Instant, sent: Instant) -> bool {
        if self.in_recovery(sent) {
            return false;
        }
        self.recovery_start = Some(now);
        // What the same ACK acknowledges was sent before.
        self.credit = 0;
        self.cubic.on_congestion(self.window);
        self.hystart.stop();
        self.window = (self.window * BETA).max(self.minimum());
        self.threshold = self.window;
        true
    }

    /// Everything sent for some PTOs was lost (RFC 9002, section 7.6): begins again with the least
    /// window. To be called after [`on_congestion`](Self::on_congestion) for the same losses.
    pub(crate) fn on_persistent_congestion(&mut self, now: Instant) {
        self.recovery_start = Some(now);
        self.credit = 0;
        self.cubic.forget();
        self.window = self.minimum();
        self.threshold = self.threshold.max(self.window);
    }

    /// The path turned out to take larger datagrams, or no longer does.
    pub(crate) fn on_mtu_change(&mut self, datagram_bytes: u16) {
        self.datagram_bytes = f64::from(datagram_bytes.max(1));
        self.window = self.window.max(self.minimum());
    }

    fn in_recovery(&self, sent: Instant) -> bool {
        self.recovery_start.is_some_and(|start| sent <= start)
    }

    fn minimum(&self) -> f64 {
        2.0 * self.datagram_bytes
    }
}

/// Whole bytes.
#[expect(clippy::cast_possible_truncation, reason = "to whole bytes is what it is for; saturates")]
fn whole(bytes: f64) -> u64 {
    bytes as u64
}

#[cfg(test)]
mod tests;
