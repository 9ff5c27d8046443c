//! How many sessions were offered lately and haven't begun, so that a server that goes knows for how
//! long to wait; it knows nothing of any of them, and decides nothing.

/// Offers are counted for so long at least, and for twice as long at most: enough for a round trip and
/// for what a client repeats when its first packets are lost, which is after a second.
const PERIOD_MS: u64 = 1500;

/// Counts, by when the offers were made. What strangers make of them costs nothing but that wait.
#[derive(Debug, Default)]
pub(super) struct Offers {
    period: u64,
    /// Those of this period that haven't begun, and those of the one before.
    recent: u64,
    older: u64,
}

impl Offers {
    /// A session is offered.
    pub(super) fn make(&mut self, now_ms: u64) {
        self.pass(now_ms);
        self.recent += 1;
    }

    /// A session has begun that was offered at that time. Each offer leads to one at most.
    pub(super) fn take(&mut self, now_ms: u64, issued_ms: u64) {
        self.pass(now_ms);
        match self.period.checked_sub(issued_ms / PERIOD_MS) {
            Some(0) => self.recent = self.recent.saturating_sub(1),
            Some(1) => self.older = self.older.saturating_sub(1),
            _ => {}
        }
    }

    /// Until when to wait for those that haven't begun, if there are any.
    pub(super) fn awaited_until_ms(&mut self, now_ms: u64) -> Option<u64> {
        self.pass(now_ms);
        let periods = match (self.recent, self.older) {
            (0, 0) => return None,
            (0, _) => 1,
            _ => 2,
        };
        Some((self.period + periods) * PERIOD_MS)
    }

    fn pass(&mut self, now_ms: u64) {
        let period = now_ms / PERIOD_MS;
        match period.saturating_sub(self.period) {
            0 => return,
            1 => self.older = self.recent,
            _ => self.older = 0,
        }
        (self.period, self.recent) = (period, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_have_not_begun_are_awaited_for_a_while() {
        let mut offers = Offers::default();
        assert_eq!(offers.awaited_until_ms(0), None);
        offers.make(1400);
        offers.make(1600);
        assert_eq!(offers.awaited_until_ms(1700), Some(4500));
        offers.take(1700, 1600);
        assert_eq!(offers.awaited_until_ms(2999), Some(3000));
        assert_eq!(offers.awaited_until_ms(3000), None);
        // This one comes too late to be waited for, and counts for no other.
        offers.make(3000);
        offers.take(3001, 1400);
        assert_eq!(offers.awaited_until_ms(3002), Some(6000));
        assert_eq!(offers.awaited_until_ms(60_000), None);
    }

    // r[verify setup.last]
    #[test]
    fn none_is_missed_for_the_shortest_time_that_counts() {
        for made in 0..2 * PERIOD_MS {
            for later in [0, 1, PERIOD_MS - 1, PERIOD_MS] {
                let mut offers = Offers::default();
                offers.make(made);
                offers.make(made + later);
                offers.take(made + later, made + later);
                let until = offers.awaited_until_ms(made + later).expect("the first hasn't begun");
                assert!(
                    (made + PERIOD_MS..=made + 2 * PERIOD_MS).contains(&until),
                    "{made} {until}"
                );
                offers.take(made + later, made);
                assert_eq!(offers.awaited_until_ms(made + later), None);
            }
        }
    }
}
