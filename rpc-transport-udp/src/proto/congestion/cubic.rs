//! The window after slow start as a function of time (RFC 9438, section 4); in bytes. Slow start
//! and when to begin anew isn't decided here.

use std::time::{Duration, Instant};

/// What is left of the window after a loss.
pub(super) const BETA: f64 = 0.7;

/// How steep the cubic function is, in datagrams per cubic second.
const C: f64 = 0.4;

/// Growth in datagrams a round trip that, with `BETA`, has the same throughput as Reno (section
/// 4.3).
const ALPHA: f64 = 3.0 * (1.0 - BETA) / (1.0 + BETA);

/// State since the last loss.
#[derive(Debug, Default)]
pub(super) struct Cubic {
    /// The window at the last loss, or less if it had shrunk from loss to loss: the plateau. 0 if
    /// there was none that says something about the path now.
    plateau: f64,
    /// The window just before the last loss.
    prior: f64,
    epoch: Option<Epoch>,
    /// Since when the window wasn't used; that time doesn't count.
    paused: Option<Instant>,
}

/// A stage of congestion avoidance, from the first acknowledgement after a recovery on.
#[derive(Debug, Clone, Copy)]
struct Epoch {
    start: Instant,
    /// Seconds until the function reaches the plateau.
    k: f64,
    /// What Reno's window would be.
    reno: f64,
}

impl Cubic {
    /// The window after `acked` bytes were acknowledged.
    pub(super) fn grow(
        &mut self,
        now: Instant,
        srtt: Duration,
        window: f64,
        acked: f64,
        datagram: f64,
    ) -> f64 {
        let mut epoch = self.epoch(now, window, datagram);
        let alpha = if epoch.reno >= self.prior { 1.0 } else { ALPHA };
        // An ACK may be worth more than a window, when packets have piled up somewhere.
        let share = (acked / window).min(1.0);
        epoch.reno += alpha * share * datagram;
        self.epoch = Some(epoch);

        let t = now.saturating_duration_since(epoch.start).as_secs_f64();
        let at = |t: f64| C * datagram * (t - epoch.k).powi(3) + self.plateau;
        if at(t) < epoch.reno {
            return epoch.reno.max(window);
        }
        // To where it should be in a round trip, but by no more than half.
        let target = at(t + srtt.as_secs_f64()).clamp(window, 1.5 * window);
        window + (target - window) * share
    }

    /// The window isn't in use, until the next `grow`.
    pub(super) fn pause(&mut self, now: Instant) {
        self.paused.get_or_insert(now);
    }

    /// A loss, or a mark that says the same, with `window` as it was before.
    pub(super) fn on_congestion(&mut self, window: f64) {
        // Fast convergence: the path has less room than the last time, so that a part of what this
        // flow gives up is left to others (section 4.7).
        let shrinks = window < self.plateau;
        self.plateau = if shrinks { window * (1.0 + BETA) / 2.0 } else { window };
        self.prior = window;
        self.epoch = None;
    }

    /// What was learnt about the path doesn't hold any more (section 4.8).
    pub(super) fn forget(&mut self) {
        self.plateau = 0.0;
        self.epoch = None;
    }

    /// The stage that lasts, without the time in which the window wasn't used.
    fn epoch(&mut self, now: Instant, window: f64, datagram: f64) -> Epoch {
        let paused = self.paused.take();
        if let Some(mut epoch) = self.epoch {
            if let Some(since) = paused {
                epoch.start += now.saturating_duration_since(since);
            }
            return epoch;
        }
        // Slow start ended without a loss: the plateau is here (section 4.10).
        self.plateau = self.plateau.max(window);
        self.prior = self.prior.max(window);
        let k = ((self.plateau - window) / datagram / C).cbrt();
        Epoch { start: now, k, reno: window }
    }
}
