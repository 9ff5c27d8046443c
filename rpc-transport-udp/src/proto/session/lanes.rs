//! Lanes that have begun and not ended, with what is known of each; no frames.

use std::collections::BTreeMap;

use rpc_core::transport::Lane;

const CONTROL: u64 = Lane::CONTROL.number();

/// A map by the number of a lane.
///
/// Lane 0 has a place of its own: it never ends, and a node of a tree has room for eleven lanes, which idle
/// sessions would have for this one.
#[derive(Debug)]
pub(super) struct Lanes<T> {
    control: Option<T>,
    others: BTreeMap<u64, T>,
}

impl<T> Lanes<T> {
    pub(super) fn new() -> Self {
        Self { control: None, others: BTreeMap::new() }
    }

    pub(super) fn len(&self) -> usize {
        // At most all of memory, and one.
        self.others.len().saturating_add(usize::from(self.control.is_some()))
    }

    pub(super) fn get(&self, lane: u64) -> Option<&T> {
        if lane == CONTROL { self.control.as_ref() } else { self.others.get(&lane) }
    }

    pub(super) fn get_mut(&mut self, lane: u64) -> Option<&mut T> {
        if lane == CONTROL { self.control.as_mut() } else { self.others.get_mut(&lane) }
    }

    pub(super) fn contains(&self, lane: u64) -> bool {
        self.get(lane).is_some()
    }

    pub(super) fn insert(&mut self, lane: u64, value: T) {
        if lane == CONTROL {
            self.control = Some(value);
        } else {
            self.others.insert(lane, value);
        }
    }

    /// What is known of the lane, from the start if it is new.
    pub(super) fn begin(&mut self, lane: u64) -> &mut T
    where
        T: Default,
    {
        if lane == CONTROL {
            self.control.get_or_insert_default()
        } else {
            self.others.entry(lane).or_default()
        }
    }

    pub(super) fn remove(&mut self, lane: u64) -> Option<T> {
        if lane == CONTROL { self.control.take() } else { self.others.remove(&lane) }
    }

    /// All of them, in their order.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u64> {
        let control = self.control.iter().map(|_| CONTROL);
        control.chain(self.others.keys().copied())
    }

    /// Gives back the memory that an idle session doesn't need.
    pub(super) fn shrink(&mut self) {
        if self.others.is_empty() {
            self.others = BTreeMap::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lane_0_is_one_of_them() {
        let mut lanes = Lanes::new();
        *lanes.begin(7) += 1_u64;
        lanes.insert(3, 5);
        assert!(!lanes.contains(CONTROL));
        *lanes.begin(CONTROL) += 9;
        assert_eq!(lanes.numbers().collect::<Vec<_>>(), [CONTROL, 3, 7]);
        assert_eq!((lanes.len(), lanes.get(CONTROL), lanes.get(3)), (3, Some(&9), Some(&5)));
        lanes.shrink();
        assert_eq!((lanes.remove(CONTROL), lanes.remove(CONTROL)), (Some(9), None));
        assert_eq!((lanes.remove(3), lanes.remove(7), lanes.len()), (Some(5), Some(1), 0));
    }
}
