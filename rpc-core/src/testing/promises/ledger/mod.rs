//! The ledger: what handlers ran and what callers were told, call by call, and whether the two
//! agree; nothing here makes a call.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{
    Broken, Promise,
    plan::{CallPlan, Flow, Leave, Patience, Shape},
};
use crate::{
    clock,
    context::Context,
    error::{Delivery, ErrorKind},
};

/// The key of the metadata that calls are given.
pub(super) const METADATA_KEY: &str = "call";

/// How long after its deadline a call may end: it ends at once, but machines have other work too.
pub(super) const LATE: Duration = Duration::from_secs(5);

/// The books of one run.
#[derive(Debug)]
pub(super) struct Ledger {
    entries: Mutex<Vec<Entry>>,
    /// How long after their deadlines calls may end.
    late: Duration,
}

/// What is known of one call.
#[derive(Debug, Clone)]
struct Entry {
    call: CallPlan,
    /// Whether a connection may break, or a server close before it is done.
    peaceful: bool,
    /// How long after its deadline it may end.
    late: Duration,
    /// How often its handler began, and how those runs ended.
    began: u32,
    finished: u32,
    panicked: u32,
    stopped: u32,
    /// What was wrong with the request that a handler got.
    mangled: Option<String>,
    told: Option<Told>,
}

/// What a caller was told.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub(super) end: End,
    /// The text of the value or of the error.
    pub(super) text: String,
    /// How long the caller had waited; of a stream that has begun, for the last that came.
    pub(super) waited: Duration,
}

impl Told {
    /// A caller that has waited since then is told this, now.
    pub(super) fn since(began: Instant, (end, text): (End, String)) -> Self {
        Self { end, text, waited: clock::now().duration_since(began) }
    }
}

/// How a call ended, as far as its caller knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Value,
    AppError,
    Failed(ErrorKind, Delivery),
    /// Its request has left, and that is all its caller waits for.
    Left,
    Dropped,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value => f.write_str("value"),
            Self::AppError => f.write_str("error of the handler"),
            Self::Failed(kind, delivery) => write!(f, "{kind}, {delivery:?}"),
            Self::Left => f.write_str("left"),
            Self::Dropped => f.write_str("dropped"),
        }
    }
}

/// The text of a call's arguments.
pub(super) fn text(number: u32, bytes: usize) -> String {
    let word = format!("{number};");
    let mut text = word.repeat(bytes / word.len() + 1);
    text.truncate(bytes);
    text
}

/// The text of its reply, which isn't that of any other call, however short it is.
pub(super) fn reply_text(number: u32, bytes: usize) -> String {
    format!("reply to {number}: {}", text(number, bytes))
}

/// An item of a stream.
pub(super) fn item(number: u32, bytes: usize, at: usize) -> String {
    format!("{at}: {}", text(number, bytes))
}

impl Ledger {
    pub(super) fn new(late: Duration) -> Self {
        Self { entries: Mutex::default(), late }
    }

    /// Opens the entry of a call, and gives the call a number.
    pub(super) fn open(&self, call: &CallPlan, peaceful: bool) -> u32 {
        let mut entries = self.lock();
        entries.push(Entry {
            call: call.clone(),
            peaceful,
            late: self.late,
            began: 0,
            finished: 0,
            panicked: 0,
            stopped: 0,
            mangled: None,
            told: None,
        });
        u32::try_from(entries.len() - 1).unwrap_or(u32::MAX)
    }

    /// A handler begins. Returns what it is to do, and what it ends its entry with. `None`: no call
    /// has that number.
    pub(super) fn begin(
        self: &Arc<Self>,
        service: usize,
        number: u32,
        text: &str,
        context: &Context,
    ) -> Option<(CallPlan, Run)> {
        let mut entries = self.lock();
        let entry = entries.get_mut(number as usize)?;
        entry.began += 1;
        if let Err(found) = entry.check_request(service, number, text, context) {
            entry.mangled = Some(found);
        }
        Some((entry.call.clone(), Run { ledger: Arc::clone(self), number, how: RunEnd::Stopped }))
    }

    /// A handler got something else than its caller gave.
    pub(super) fn mangle(&self, number: u32, found: String) {
        self.with(number, |entry| entry.mangled = Some(found));
    }

    /// The caller of a call was told how it ended, or doesn't want to know any more.
    pub(super) fn close(&self, number: u32, told: Told) {
        self.with(number, |entry| entry.told = Some(told));
    }

    /// How many calls were made.
    pub(super) fn calls(&self) -> usize {
        self.lock().len()
    }

    /// The calls whose callers still wait, and how many handlers run.
    pub(super) fn under_way(&self) -> (Vec<usize>, u32) {
        let entries = self.lock();
        let waits = |(number, entry): (usize, &Entry)| entry.told.is_none().then_some(number);
        let waiting = entries.iter().enumerate().filter_map(waits).collect();
        (waiting, entries.iter().map(Entry::running).sum())
    }

    /// How often each end came.
    pub(super) fn ends(&self) -> BTreeMap<String, u64> {
        let mut ends = BTreeMap::new();
        for told in self.lock().iter().filter_map(|entry| entry.told.as_ref()) {
            *ends.entry(told.end.to_string()).or_default() += 1;
        }
        ends
    }

    /// Whether every one-way call that has left was run, now that nothing is under way, unless
    /// a connection may have broken, or its deadline passed.
    pub(super) fn judge_left(&self) -> Result<(), Broken> {
        let lost = |entry: &Entry| {
            let left = entry.told.as_ref().is_some_and(|told| told.end == End::Left);
            let in_time = !matches!(entry.call.patience, Patience::Timeout(_));
            left && in_time && entry.peaceful && entry.began == 0
        };
        match self.lock().iter().position(lost) {
            Some(number) => {
                let found = format!("call {number}: it has left, and was never run");
                Err(Promise::Drain.broken(found))
            }
            None => Ok(()),
        }
    }

    /// The first promise that doesn't hold.
    pub(super) fn judge(&self) -> Result<(), Broken> {
        for (number, entry) in self.lock().iter().enumerate() {
            entry.judge(number)?;
        }
        Ok(())
    }

    fn with(&self, number: u32, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.lock().get_mut(number as usize) {
            change(entry);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A handler that runs. When it is dropped without a word, the handler was stopped.
#[derive(Debug)]
pub(super) struct Run {
    ledger: Arc<Ledger>,
    number: u32,
    how: RunEnd,
}

#[derive(Debug, Clone, Copy)]
enum RunEnd {
    Finished,
    Panicked,
    Stopped,
}

impl Run {
    /// The handler has come to its end.
    pub(super) fn finish(mut self) {
        self.how = RunEnd::Finished;
    }

    /// The handler is about to panic.
    pub(super) fn panics(mut self) {
        self.how = RunEnd::Panicked;
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.ledger.with(self.number, |entry| match self.how {
            RunEnd::Finished => entry.finished += 1,
            RunEnd::Panicked => entry.panicked += 1,
            RunEnd::Stopped => entry.stopped += 1,
        });
    }
}

impl Entry {
    fn running(&self) -> u32 {
        self.began - self.finished - self.panicked - self.stopped
    }

    fn check_request(
        &self,
        service: usize,
        number: u32,
        got: &str,
        context: &Context,
    ) -> Result<(), String> {
        if self.call.service != service {
            return Err(format!("it was made to service {}", self.call.service));
        }
        let sent = text(number, self.call.bytes[0]);
        if sent != got {
            return Err(format!("{} bytes arrived as {} others", sent.len(), got.len()));
        }
        let metadata = context.metadata().get(METADATA_KEY);
        let given = self.call.metadata.then(|| number.to_le_bytes());
        if metadata != given.as_ref().map(<[u8; 4]>::as_slice) {
            return Err(format!("metadata {given:?} arrived as {metadata:?}"));
        }
        if self.call.timeout() == Some(Duration::ZERO) {
            return Err("it had expired when it was made".to_owned());
        }
        // Timeouts go over the wire in whole milliseconds, rounded up.
        let most = self.call.timeout().map(|timeout| timeout + Duration::from_millis(1));
        match (context.remaining(), most) {
            (Some(left), Some(most)) if left > most => {
                Err(format!("{left:?} of {most:?} are left"))
            }
            (Some(_), None) => Err("it has a deadline, and was given none".to_owned()),
            (None, Some(most)) => Err(format!("it has no deadline, and was given {most:?}")),
            _ => Ok(()),
        }
    }

    fn judge(&self, number: usize) -> Result<(), Broken> {
        let broken = |promise: Promise, found: &str| {
            let Self { call, began, finished, panicked, stopped, told, .. } = self;
            let runs = format!(
                "began {began} times: {finished} finished, {panicked} panicked, {stopped} stopped"
            );
            let told = match told {
                Some(Told { end, text, waited }) => {
                    format!(
                        "{end}, after {waited:?}: {}",
                        text.chars().take(200).collect::<String>()
                    )
                }
                None => "nothing yet".to_owned(),
            };
            let found = format!(
                "call {number}: {found}\n  told:   {told}\n  ran:    {runs}\n  call:   {call:?}"
            );
            Err(promise.broken(found))
        };
        if let Some(found) = &self.mangled {
            return broken(Promise::Whole, found);
        }
        if self.began > 1 && !self.call.idempotent {
            return broken(Promise::Once, "its handler ran more than once");
        }
        let Some(told) = &self.told else { return Ok(()) };
        match self.check(number, told) {
            Ok(()) => Ok(()),
            Err((promise, found)) => broken(promise, found),
        }
    }

    /// Whether what the caller was told is true.
    fn check(&self, number: usize, told: &Told) -> Result<(), (Promise, &'static str)> {
        let most = self.call.timeout().map(|timeout| timeout * self.call.periods());
        if most.is_some_and(|most| told.waited > most + self.late) {
            return Err((Promise::Ends, "its deadline has passed long before"));
        }
        match told.end {
            End::Dropped if self.call.leave == Leave::AfterPolls(0) && self.began > 0 => {
                Err((Promise::NotSent, "it was never polled, and ran"))
            }
            End::Dropped => Ok(()),
            End::Left if matches!(self.call.shape, Shape::Oneway(_)) => Ok(()),
            End::Left => Err((Promise::Answered, "it isn't one-way")),
            End::Value | End::AppError => self.check_reply(number, told),
            End::Failed(kind, delivery) => {
                self.check_delivery(delivery)?;
                self.check_cause(kind, delivery, told.waited)
            }
        }
    }

    fn check_reply(&self, number: usize, told: &Told) -> Result<(), (Promise, &'static str)> {
        let end = match self.call.shape {
            Shape::Echo | Shape::Wait(_) => End::Value,
            Shape::Stream(flow, _) if flow != Flow::Endless => End::Value,
            Shape::Fail => End::AppError,
            _ => return Err((Promise::Answered, "no handler of this sort answers")),
        };
        if told.end != end {
            return Err((Promise::Answered, "a value came as an error, or an error as a value"));
        }
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        if told.text != reply_text(number, self.call.bytes[1]) {
            return Err((Promise::Answered, "this isn't the reply of its handler"));
        }
        if self.finished == 0 {
            return Err((Promise::Answered, "no handler has finished"));
        }
        Ok(())
    }

    fn check_delivery(&self, delivery: Delivery) -> Result<(), (Promise, &'static str)> {
        match delivery {
            Delivery::NotSent if self.began > 0 => Err((Promise::NotSent, "its handler ran")),
            Delivery::Rejected if self.began > 0 => Err((Promise::Rejected, "its handler ran")),
            Delivery::Replied if self.finished + self.panicked == 0 => {
                Err((Promise::Replied, "no handler has come to its end"))
            }
            _ => Ok(()),
        }
    }

    /// Whether anything has happened that ends a call like this.
    fn check_cause(
        &self,
        kind: ErrorKind,
        delivery: Delivery,
        waited: Duration,
    ) -> Result<(), (Promise, &'static str)> {
        let shape = self.call.shape;
        let caused = match (kind, delivery) {
            (ErrorKind::HandlerPanicked, Delivery::Replied) => shape == Shape::Panic,
            (ErrorKind::TooLarge, Delivery::Replied) => shape == Shape::LargeReply,
            (ErrorKind::TooLarge, Delivery::NotSent | Delivery::Rejected) => {
                shape == Shape::LargeRequest
            }
            (ErrorKind::UnknownMethod, Delivery::Rejected) => shape == Shape::UnknownMethod,
            (ErrorKind::UnknownService, Delivery::Rejected) => shape == Shape::UnknownService,
            (ErrorKind::MalformedRequest, Delivery::Rejected) => shape == Shape::Malformed,
            (ErrorKind::DeadlineExceeded, delivery) if delivery != Delivery::Replied => {
                let timeout = self.call.timeout();
                if timeout.is_some_and(|timeout| waited < timeout) {
                    return Err((Promise::Cause, "its deadline hasn't passed yet"));
                }
                if self.peaceful && self.call.patience == Patience::Usual {
                    return Err((Promise::Ends, "nothing has held it up for so long"));
                }
                timeout.is_some()
            }
            (
                ErrorKind::ConnectionLost | ErrorKind::ShuttingDown,
                Delivery::NotSent | Delivery::Rejected | Delivery::Unknown,
            ) => {
                if self.peaceful {
                    return Err((Promise::Drain, "nothing but a drain has ended a connection"));
                }
                true
            }
            _ => false,
        };
        if caused { Ok(()) } else { Err((Promise::Cause, "nothing has happened that ends it so")) }
    }
}

#[cfg(test)]
mod tests;
