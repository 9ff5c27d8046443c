//! Sets of numbers that arrive mostly in order, kept as ranges; it doesn't know what they number.

#![cfg_attr(not(any(fuzzing, test)), warn(clippy::arithmetic_side_effects))]

use std::collections::VecDeque;

/// A set of `u64` as ascending ranges, both ends inclusive, that neither overlap nor touch.
///
/// What it costs is the number of gaps, not of numbers; whoever feeds it a peer's numbers bounds
/// that with [`limit`](Self::limit).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ranges {
    ranges: VecDeque<(u64, u64)>,
}

impl Ranges {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// The number of ranges.
    pub(crate) fn len(&self) -> usize {
        self.ranges.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Gives back the memory that nothing is in, unless there are gaps, which come and go.
    pub(crate) fn shrink(&mut self) {
        if self.ranges.len() <= 1 {
            self.ranges.shrink_to_fit();
        }
    }

    /// The highest number.
    pub(crate) fn max(&self) -> Option<u64> {
        self.ranges.back().map(|&(_, last)| last)
    }

    /// The lowest number.
    #[cfg(any(fuzzing, test))]
    pub(crate) fn min(&self) -> Option<u64> {
        self.ranges.front().map(|&(first, _)| first)
    }

    pub(crate) fn contains(&self, number: u64) -> bool {
        let at = self.reaching(number);
        self.ranges.get(at).is_some_and(|&(first, _)| first <= number)
    }

    /// Adds a number; false if it was there already.
    pub(crate) fn insert(&mut self, number: u64) -> bool {
        match self.ranges.back_mut() {
            // Nearly every number is the next one.
            Some((_, last)) if number > *last => {
                if number.saturating_sub(*last) == 1 {
                    *last = number;
                } else {
                    self.ranges.push_back((number, number));
                }
                true
            }
            Some(_) => {
                let new = !self.contains(number);
                if new {
                    self.insert_range(number, number);
                }
                new
            }
            None => {
                self.ranges.push_back((number, number));
                true
            }
        }
    }

    /// Adds all numbers from `first` to `last`, inclusive; none if `first` is above `last`.
    pub(crate) fn insert_range(&mut self, first: u64, last: u64) {
        if first > last {
            return;
        }
        // All ranges that overlap or touch the new one become one with it.
        let begin = self.reaching(first.saturating_sub(1));
        let end = self.ranges.partition_point(|range| range.0 <= last.saturating_add(1));
        if begin >= end {
            self.ranges.insert(begin, (first, last));
            return;
        }
        let lowest = self.ranges.get(begin).map_or(first, |range| range.0.min(first));
        let highest =
            self.ranges.get(end.saturating_sub(1)).map_or(last, |range| range.1.max(last));
        if let Some(range) = self.ranges.get_mut(begin) {
            *range = (lowest, highest);
        }
        let after = begin.saturating_add(1);
        if after < end {
            self.ranges.drain(after..end);
        }
    }

    /// Removes all numbers below `floor`.
    pub(crate) fn remove_below(&mut self, floor: u64) {
        while let Some(range) = self.ranges.front_mut() {
            if range.1 >= floor {
                range.0 = range.0.max(floor);
                return;
            }
            self.ranges.pop_front();
        }
    }

    /// The lowest number at or above `from` that isn't in the set; `u64::MAX` if all are.
    pub(crate) fn lowest_missing(&self, from: u64) -> u64 {
        match self.ranges.get(self.reaching(from)) {
            Some(&(first, last)) if first <= from => last.saturating_add(1),
            _ => from,
        }
    }

    /// The ranges, the highest first, as (lowest, highest) number of each.
    pub(crate) fn iter_desc(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.ranges.iter().rev().copied()
    }

    /// Forgets all but the highest `max` ranges.
    ///
    /// Returns the number below which it has forgotten some, if it did: from then on whatever is
    /// below counts as seen, because nobody can tell any more.
    pub(crate) fn limit(&mut self, max: usize) -> Option<u64> {
        let excess = self.ranges.len().checked_sub(max).filter(|&excess| excess > 0)?;
        self.ranges.drain(..excess).next_back().map(|(_, last)| last.saturating_add(1))
    }

    /// Where the first range is that ends at or above `number`.
    fn reaching(&self, number: u64) -> usize {
        self.ranges.partition_point(|&(_, last)| last < number)
    }
}

#[cfg(test)]
mod tests;
