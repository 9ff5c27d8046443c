//! What the sessions of one endpoint may hold together; counts bytes only.

#![cfg_attr(not(any(fuzzing, test)), warn(clippy::arithmetic_side_effects))]

use std::sync::Arc;

use crate::{
    planted::planted,
    sync::atomic::{AtomicUsize, Ordering},
};

/// Which part of the limit isn't given to frames that come early. All of those wait for others: if
/// they had everything, a piece that is missing could never be taken, nor anything that waits for it.
/// With the default limit it is 32 MiB, 500 of the largest frames of core's default.
const RESERVE_PART: usize = 8;

/// Bytes that one session holds, out of what all sessions of an endpoint may.
#[derive(Debug)]
pub(crate) struct Budget {
    shared: Arc<Shared>,
    used: usize,
}

#[derive(Debug)]
struct Shared {
    used: AtomicUsize,
    limit: usize,
}

impl Budget {
    /// A budget of so many bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self { shared: Arc::new(Shared { used: AtomicUsize::new(0), limit }), used: 0 }
    }

    /// For one more session.
    pub(crate) fn share(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), used: 0 }
    }

    /// Takes so many bytes, if they are left. The last part of the limit is for frames of which none
    /// before is missing.
    pub(super) fn take(&mut self, bytes: usize, is_next: bool) -> bool {
        let limit = self.shared.limit;
        let limit = if is_next { limit } else { limit.saturating_sub(limit / RESERVE_PART) };
        // Relaxed: it orders nothing, it only counts.
        let seen = planted("budget-overrun").then(|| self.shared.used.load(Ordering::Relaxed));
        let before = self.shared.used.fetch_add(bytes, Ordering::Relaxed);
        let before = seen.unwrap_or(before);
        if before.saturating_add(bytes) > limit {
            self.shared.used.fetch_sub(bytes, Ordering::Relaxed);
            return false;
        }
        self.used = self.used.saturating_add(bytes);
        true
    }

    /// Gives so many bytes back.
    pub(super) fn give(&mut self, bytes: usize) {
        debug_assert!(bytes <= self.used);
        self.used = self.used.saturating_sub(bytes);
        self.shared.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// What this session holds.
    #[cfg(any(fuzzing, test))]
    pub(super) fn used(&self) -> usize {
        self.used
    }
}

impl Drop for Budget {
    fn drop(&mut self) {
        self.shared.used.fetch_sub(self.used, Ordering::Relaxed);
    }
}

#[cfg(all(test, rpc_shuttle))]
mod models {
    use shuttle::thread;

    use super::*;
    use crate::{models::exhaust, sync::Mutex};

    #[test]
    fn two_sessions_never_hold_more_than_the_limit() {
        exhaust(|| {
            let endpoint = Budget::new(100);
            let held = Arc::new(Mutex::new(0));
            let threads = [0; 2].map(|_| {
                let (mut session, held) = (endpoint.share(), Arc::clone(&held));
                thread::spawn(move || {
                    if !session.take(60, true) {
                        return;
                    }
                    *held.lock().unwrap() += 60;
                    assert!(*held.lock().unwrap() <= 100, "above the limit");
                    *held.lock().unwrap() -= 60;
                    session.give(60);
                })
            });
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            assert!(endpoint.share().take(100, true), "bytes are lost");
        });
    }
}
