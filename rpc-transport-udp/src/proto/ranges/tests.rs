//! Ranges beside a set of single numbers, which does the same slowly.

use std::collections::BTreeSet;

use proptest::{collection::vec, prelude::*};

use super::*;

/// Numbers are below this, so that ranges often meet.
const SPAN: u64 = 64;

#[derive(Debug, Clone)]
enum Op {
    Insert(u64),
    InsertRange(u64, u64),
    RemoveBelow(u64),
    Limit(usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (0..SPAN).prop_map(Op::Insert),
        3 => (0..SPAN, 0..6u64).prop_map(|(first, more)| Op::InsertRange(first, first + more)),
        1 => (0..SPAN).prop_map(Op::RemoveBelow),
        1 => (0..12usize).prop_map(Op::Limit),
    ]
}

/// Ascending ranges of the numbers of a set.
fn ranges(model: &BTreeSet<u64>) -> Vec<(u64, u64)> {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for &number in model {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    ranges
}

fn apply(op: &Op, set: &mut Ranges, model: &mut BTreeSet<u64>) {
    match *op {
        Op::Insert(number) => assert_eq!(set.insert(number), model.insert(number)),
        Op::InsertRange(first, last) => {
            set.insert_range(first, last);
            model.extend(first..=last);
        }
        Op::RemoveBelow(floor) => {
            set.remove_below(floor);
            model.retain(|&number| number >= floor);
        }
        Op::Limit(max) => {
            let all = ranges(model);
            let floor = all.len().checked_sub(max + 1).map(|last| all[last].1 + 1);
            assert_eq!(set.limit(max), floor);
            model.retain(|&number| number >= floor.unwrap_or(0));
        }
    }
}

proptest! {
    #[test]
    fn ranges_are_the_set_of_their_numbers(ops in vec(op(), 0..80)) {
        let (mut set, mut model) = (Ranges::new(), BTreeSet::new());
        for op in &ops {
            apply(op, &mut set, &mut model);
            let mut found: Vec<_> = set.iter_desc().collect();
            found.reverse();
            prop_assert_eq!(&found, &ranges(&model));
            prop_assert_eq!(set.len(), found.len());
            prop_assert_eq!(set.is_empty(), model.is_empty());
            prop_assert_eq!((set.min(), set.max()), (model.first().copied(), model.last().copied()));
            for number in 0..SPAN + 8 {
                prop_assert_eq!(set.contains(number), model.contains(&number));
                let missing = (number..).find(|number| !model.contains(number));
                prop_assert_eq!(Some(set.lowest_missing(number)), missing);
            }
        }
    }
}

#[test]
fn numbers_in_order_are_one_range() {
    let mut set = Ranges::new();
    assert!((0..1000).all(|number| set.insert(number)));
    assert!(!set.insert(500));
    assert_eq!(set.iter_desc().collect::<Vec<_>>(), [(0, 999)]);
    assert_eq!(set.lowest_missing(0), 1000);
}

#[test]
fn the_ends_of_the_numbers_are_numbers_too() {
    let mut set = Ranges::new();
    assert!(set.insert(u64::MAX) && set.insert(0) && !set.insert(u64::MAX) && !set.insert(0));
    set.insert_range(u64::MAX - 1, u64::MAX);
    set.insert_range(1, 0);
    assert_eq!(set.iter_desc().collect::<Vec<_>>(), [(u64::MAX - 1, u64::MAX), (0, 0)]);
    assert_eq!(set.lowest_missing(u64::MAX - 1), u64::MAX);
    assert_eq!(set.limit(0), Some(u64::MAX));
    assert!(set.is_empty());
    set.insert_range(0, u64::MAX);
    assert!(!set.insert(7));
    set.remove_below(u64::MAX);
    assert_eq!(set.iter_desc().collect::<Vec<_>>(), [(u64::MAX, u64::MAX)]);
}
