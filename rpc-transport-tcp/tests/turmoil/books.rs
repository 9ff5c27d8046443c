//! The books of a run: what handlers ran and callers were told, and whether the two agree. They lie
//! outside of the simulated hosts, so that no crash loses them.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rpc_core::{Delivery, ErrorKind, RpcError};

use crate::plan::{CallPlan, Patience, Shape};

/// How long after its deadline a call may end. Time is simulated, so nothing else takes any.
const LATE: Duration = Duration::from_millis(10);

#[derive(Debug, Default)]
pub(crate) struct Books {
    entries: Mutex<Vec<Entry>>,
    complaints: Mutex<Vec<String>>,
}

/// What is known of one call.
#[derive(Debug)]
struct Entry {
    call: CallPlan,
    /// How often its handler began, and how those runs ended.
    began: u32,
    finished: u32,
    stopped: u32,
    /// What its caller was told, and how long that took.
    told: Option<(End, Duration)>,
}

/// How a call ended, as far as its caller knows.
#[derive(Debug, Clone)]
pub(crate) enum End {
    /// With the right reply.
    Value,
    /// With something else.
    Wrong,
    /// Its request has left.
    Left,
    Failed(RpcError),
    /// A stream that had begun broke off.
    Broke(RpcError),
    /// Its caller has gone.
    Dropped,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value => f.write_str("value"),
            Self::Wrong => f.write_str("wrong"),
            Self::Left => f.write_str("left"),
            Self::Failed(error) => write!(f, "{}, {:?}", error.kind(), error.delivery()),
            Self::Broke(error) => write!(f, "stream broke, {}", error.kind()),
            Self::Dropped => f.write_str("dropped"),
        }
    }
}

/// The text of a call's arguments.
pub(crate) fn text(number: u32, bytes: usize) -> String {
    let word = format!("{number};");
    let mut text = word.repeat(bytes / word.len() + 1);
    text.truncate(bytes);
    text
}

/// That of its reply, or of an item of it, which is no other call's, however short it is.
pub(crate) fn reply_text(number: u32, at: usize, bytes: usize) -> String {
    format!("{at} of {number}: {}", text(number, bytes))
}

impl Books {
    /// Opens the entry of a call, and gives the call a number.
    pub(crate) fn open(&self, call: &CallPlan) -> u32 {
        let mut entries = lock(&self.entries);
        entries.push(Entry { call: call.clone(), began: 0, finished: 0, stopped: 0, told: None });
        u32::try_from(entries.len() - 1).unwrap()
    }

    /// A handler begins. Returns what it is to do, and what it ends its entry with.
    pub(crate) fn begin(self: &Arc<Self>, number: u32, came: &str) -> Option<(CallPlan, Run)> {
        let mut entries = lock(&self.entries);
        let Some(entry) = entries.get_mut(number as usize) else {
            self.complain(format!("a handler got the number {number}, which no call has"));
            return None;
        };
        entry.began += 1;
        if came != text(number, entry.call.bytes[0]) {
            self.complain(format!("call {number}: its arguments came as {} bytes", came.len()));
        }
        let run = Run { books: Arc::clone(self), number, finished: false };
        Some((entry.call.clone(), run))
    }

    /// The caller of a call was told how it ended, or doesn't want to know any more.
    pub(crate) fn close(&self, number: u32, end: End, waited: Duration) {
        lock(&self.entries)[number as usize].told = Some((end, waited));
    }

    /// Something is wrong, whatever else is in the books.
    pub(crate) fn complain(&self, found: String) {
        lock(&self.complaints).push(found);
    }

    /// How often each end came.
    pub(crate) fn ends(&self) -> BTreeMap<String, u64> {
        let mut ends = BTreeMap::new();
        for entry in lock(&self.entries).iter() {
            let end = entry.told.as_ref().map_or("nothing".to_owned(), |(end, _)| end.to_string());
            *ends.entry(end).or_default() += 1;
        }
        ends
    }

    /// All that is in them, to be compared with another run's.
    pub(crate) fn to_text(&self) -> String {
        let line = |(number, entry): (usize, &Entry)| format!("{number}: {}\n", entry.facts());
        lock(&self.entries).iter().enumerate().map(line).collect()
    }

    /// What is wrong with them, now that nothing is under way.
    pub(crate) fn violations(&self, peaceful: bool) -> Vec<String> {
        let mut found = lock(&self.complaints).clone();
        for (number, entry) in lock(&self.entries).iter().enumerate() {
            if let Some(what) = entry.check(peaceful) {
                let (facts, call) = (entry.facts(), &entry.call);
                found.push(format!("call {number}: {what}: {facts}; it was {call:?}"));
            }
        }
        found
    }
}

impl Entry {
    fn facts(&self) -> String {
        let Self { began, finished, stopped, told, .. } = self;
        let told = match told {
            Some((end @ (End::Failed(error) | End::Broke(error)), waited)) => {
                format!("{end}, after {waited:?} ({error})")
            }
            Some((end, waited)) => format!("{end}, after {waited:?}"),
            None => "nothing".to_owned(),
        };
        format!("began {began} times, finished {finished}, was stopped {stopped}; told: {told}")
    }

    fn check(&self, peaceful: bool) -> Option<&'static str> {
        if self.began > 1 {
            return Some("it ran more than once");
        }
        if self.began != self.finished + self.stopped {
            return Some("its handler still runs");
        }
        let Some((end, waited)) = &self.told else { return Some("it never ended") };
        if self.call.timeout().is_some_and(|timeout| *waited > timeout + LATE) {
            return Some("it ended long after its deadline");
        }
        // One with less time may have been refused when it came.
        let in_time = peaceful && !matches!(self.call.patience, Patience::Timeout(_));
        match end {
            End::Value if self.finished != 1 => Some("it was answered, and has not run to its end"),
            End::Value if self.call.shape == Shape::Forever => Some("its handler never answers"),
            End::Wrong => Some("this isn't the reply of its handler"),
            End::Left if in_time && self.began != 1 => Some("it has left, and never ran"),
            End::Broke(_) if self.finished != 1 => Some("its stream began, its handler didn't"),
            End::Broke(error) => self.check_cause(error, *waited, peaceful),
            End::Failed(error) if error.delivery().never_ran() && self.began > 0 => {
                Some("it says that it never ran")
            }
            End::Failed(error) if error.delivery() == Delivery::Replied => {
                Some("no handler has failed")
            }
            End::Failed(error) => self.check_cause(error, *waited, peaceful),
            End::Value | End::Left | End::Dropped => None,
        }
    }

    /// Whether anything has happened that ends a call like this.
    fn check_cause(
        &self,
        error: &RpcError,
        waited: Duration,
        peaceful: bool,
    ) -> Option<&'static str> {
        match error.kind() {
            ErrorKind::DeadlineExceeded => {
                let early = self.call.timeout().is_none_or(|timeout| waited < timeout);
                early.then_some("its deadline has not passed")
            }
            ErrorKind::ConnectionLost | ErrorKind::ShuttingDown => {
                peaceful.then_some("nothing has happened that ends its connection")
            }
            _ => Some("nothing has happened that ends it so"),
        }
    }
}

/// A handler that runs. When it is dropped without a word, the handler was stopped.
#[derive(Debug)]
pub(crate) struct Run {
    books: Arc<Books>,
    number: u32,
    finished: bool,
}

impl Run {
    /// The handler has come to its end.
    pub(crate) fn finish(mut self) {
        self.finished = true;
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let entry = &mut lock(&self.books.entries)[self.number as usize];
        match self.finished {
            true => entry.finished += 1,
            false => entry.stopped += 1,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
