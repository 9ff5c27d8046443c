//! A table's state as plain data and back, so that tests can compare, keep and change it; no
//! decisions.

use super::{CookieKey, Entry, SessionId, Table, TableConfig, Welcome};

/// What a table knows, in a fixed order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Snapshot<H> {
    /// Sessions that haven't ended, by id.
    pub(crate) live: Vec<(SessionId, H)>,
    /// Sessions that have ended, with the time to forget them.
    pub(crate) ended: Vec<(u64, SessionId)>,
    pub(crate) welcome: Welcome,
}

impl<H: Clone> Table<H> {
    /// A table with this state.
    pub(crate) fn restore(config: TableConfig, key: CookieKey, from: &Snapshot<H>) -> Self {
        let mut table = Self::new(config, key);
        for (session, handle) in &from.live {
            table.sessions.insert(*session, Entry::Live(handle.clone()));
        }
        for (at, session) in &from.ended {
            table.sessions.insert(*session, Entry::Ended);
            table.ended.push_back((*at, *session));
        }
        table.welcome = from.welcome;
        table
    }

    /// What it knows. What it has counted, resets and offers among it, is left out.
    pub(crate) fn snapshot(&self) -> Snapshot<H> {
        let live = self.sessions.iter().filter_map(|(session, entry)| match entry {
            Entry::Live(handle) => Some((*session, handle.clone())),
            Entry::Ended => None,
        });
        let mut live: Vec<_> = live.collect();
        live.sort_unstable_by_key(|(session, _)| *session);
        let ended = self.ended.iter().copied().collect();
        Snapshot { live, ended, welcome: self.welcome }
    }
}
