//! What had been sent by when, to tell later which requests are young; a few entries.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// How fine the record is.
const STEP: Duration = Duration::from_secs(1);

/// How many entries are kept: more than the retention of sessions has seconds.
const ENTRIES_MAX: usize = 64;

/// Positions in what a connection sends (`Batch::position`), by the time before which they were
/// reached.
#[derive(Debug, Default)]
pub(crate) struct Positions {
    entries: VecDeque<(Instant, u64)>,
}

impl Positions {
    /// Something behind `position` is about to be sent.
    pub(crate) fn note(&mut self, now: Instant, position: u64) {
        if self.entries.back().is_some_and(|(at, _)| now < *at + STEP) {
            return;
        }
        if self.entries.len() >= ENTRIES_MAX {
            self.entries.pop_front();
        }
        self.entries.push_back((now, position));
    }

    /// A position of which everything behind it was sent later than `since`, if one is known. Not at
    /// `since`: who asks for what was sent since now wants nothing, on a clock that stands still too.
    pub(crate) fn sent_since(&self, since: Option<Instant>) -> Option<u64> {
        let Some(since) = since else {
            // Before there was time: all of it.
            return Some(0);
        };
        self.entries.iter().find(|(at, _)| *at > since).map(|(_, position)| *position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_behind_a_position_is_younger_than_asked_for() {
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        let mut positions = Positions::default();
        positions.note(at(0), 0);
        positions.note(at(400), 10);
        positions.note(at(1500), 20);
        positions.note(at(2600), 30);
        assert_eq!(positions.sent_since(begin.checked_sub(Duration::from_millis(1))), Some(0));
        assert_eq!(positions.sent_since(Some(at(0))), Some(20));
        assert_eq!(positions.sent_since(Some(at(1499))), Some(20));
        assert_eq!(positions.sent_since(Some(at(1500))), Some(30));
        assert_eq!(positions.sent_since(Some(at(2599))), Some(30));
        assert_eq!(positions.sent_since(Some(at(2600))), None);
        assert_eq!(positions.sent_since(None), Some(0));
    }

    #[test]
    fn nothing_was_sent_since_now() {
        let now = Instant::now();
        let mut positions = Positions::default();
        positions.note(now, 0);
        assert_eq!(positions.sent_since(Some(now)), None);
    }

    #[test]
    fn old_entries_are_forgotten() {
        let begin = Instant::now();
        let mut positions = Positions::default();
        for second in 0..1000 {
            positions.note(begin + Duration::from_secs(second), second);
        }
        assert_eq!(positions.entries.len(), ENTRIES_MAX);
        assert_eq!(positions.sent_since(Some(begin)), Some(1000 - ENTRIES_MAX as u64));
    }
}
