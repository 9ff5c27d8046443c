//! A search of every state that a model can reach, nearest first; knows nothing of any model.
//!
//! The states are kept whole, not as fingerprints: that none was taken for another is no matter of
//! luck. The first fault found is one of the fewest steps.

use std::{
    collections::HashSet,
    fmt::Debug,
    hash::{BuildHasherDefault, Hash, Hasher},
};

/// What is searched. The world may remember what it has computed, but a state's next ones must not
/// depend on that.
pub(super) trait World {
    type State: Copy + Eq + Hash;
    type Step: Copy + Debug;

    fn first(&mut self) -> Self::State;

    /// All that may happen next.
    fn next(&mut self, state: &Self::State, into: &mut Vec<(Self::Step, Self::State)>);

    /// What must not be, if it is.
    fn fault(&self, state: &Self::State) -> Option<&'static str>;

    /// A step in words.
    fn describe(&self, step: Self::Step) -> String;
}

/// What a search came to.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) states: usize,
    /// The most steps that a state is away from the first one.
    pub(super) depth: u16,
    pub(super) fault: Option<Fault>,
    /// Whether there are no other states.
    pub(super) is_exhaustive: bool,
}

/// What must not be, and how it comes about.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) what: &'static str,
    pub(super) steps: Vec<String>,
}

/// Searches until there is a fault, or nothing new, or so many states.
pub(super) fn search<W: World>(world: &mut W, states_max: usize) -> Report {
    let mut found = Found { places: HashSet::default(), states: Vec::new() };
    let first = world.first();
    found.add(first, 0, 0);
    let mut next = Vec::new();
    let mut at = 0;
    while let Some(&(state, _, depth)) = found.states.get(at) {
        let report = |found: &Found<W::State>, fault, is_exhaustive| {
            let states = found.states.len();
            Report { states, depth, fault, is_exhaustive }
        };
        if let Some(what) = world.fault(&state) {
            let steps = found.path(world, at);
            return report(&found, Some(Fault { what, steps }), false);
        }
        if found.states.len() >= states_max {
            return report(&found, None, false);
        }
        world.next(&state, &mut next);
        for (_, state) in next.drain(..) {
            found.add(state, at, depth + 1);
        }
        at += 1;
        if at == found.states.len() {
            return report(&found, None, true);
        }
    }
    unreachable!("the first state is found, and the last one ends the search")
}

/// The states so far, each with the place of the one that it was found from and its distance.
struct Found<S> {
    places: HashSet<S, BuildHasherDefault<Mix>>,
    states: Vec<(S, u32, u16)>,
}

impl<S: Copy + Eq + Hash> Found<S> {
    fn add(&mut self, state: S, from: usize, depth: u16) {
        if self.places.insert(state) {
            let from = u32::try_from(from).expect("states are bounded");
            self.states.push((state, from, depth));
        }
    }

    /// The steps that lead to a state.
    fn path<W: World<State = S>>(&self, world: &mut W, to: usize) -> Vec<String> {
        let mut steps = Vec::new();
        let mut next = Vec::new();
        let mut at = to;
        while at != 0 {
            let (state, from, _) = self.states[at];
            let from = usize::try_from(from).expect("it was one");
            next.clear();
            world.next(&self.states[from].0, &mut next);
            let (step, _) = next.iter().find(|(_, it)| *it == state).expect("it was found there");
            steps.push(world.describe(*step));
            at = from;
        }
        steps.reverse();
        steps
    }
}

/// A hash that is quick where nothing is optimized, as in tests. States are compared whole.
#[derive(Default)]
struct Mix(u64);

impl Mix {
    fn add(&mut self, value: u64) {
        // As FxHash does it; the number is odd and has its ones spread.
        self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
}

impl Hasher for Mix {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.add(u64::from(*byte)));
    }

    fn write_u8(&mut self, value: u8) {
        self.add(u64::from(value));
    }

    fn write_u32(&mut self, value: u32) {
        self.add(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        self.add(value);
    }

    fn write_isize(&mut self, value: isize) {
        // The discriminants of enums.
        self.add(u64::try_from(value).unwrap_or(u64::MAX));
    }

    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }
}
