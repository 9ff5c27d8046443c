//! Finds the service of a method, remembers which methods are quick, counts the handlers that run;
//! runs nothing.

use std::{collections::HashSet, sync::Arc, time::Duration};

use crate::{
    error::ErrorKind,
    service::{MethodId, Refusal, Service},
    sync::atomic::{AtomicU32, AtomicUsize, Ordering},
};

/// First polls that have to be fast before a method runs inline.
const PROMOTE_AFTER: u32 = 16;

/// A first poll that takes longer than this sends its method back to tasks: it has held up the
/// connection's other calls for that long.
pub(super) const SLOW_POLL: Duration = Duration::from_micros(20);

/// All services that a side offers, by method.
#[derive(Default)]
pub(crate) struct Router {
    /// Sorted by id.
    routes: Vec<Route>,
    /// The half of the ids that names the service, sorted.
    services: Vec<u32>,
    /// How many handlers have tasks, and how many may.
    tasks: AtomicUsize,
    capacity: Capacity,
}

/// How many calls a side runs at a time.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Capacity {
    pub(crate) calls: usize,
    /// Who says so, and with which setting.
    pub(crate) side: &'static str,
    pub(crate) setting: &'static str,
}

/// One method of a service.
pub(super) struct Route {
    id: MethodId,
    pub(super) service: Arc<dyn Service>,
    /// Fast first polls in a row.
    streak: AtomicU32,
}

/// Why services can't be side by side.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum RouterError {
    #[error("two services are named `{0}`: give one another name with #[service(name = \"..\")]")]
    DuplicateService(&'static str),
    #[error("`{0}` has the method id of another method: rename one of them")]
    DuplicateMethod(String),
}

impl Router {
    pub(crate) fn new(
        services: Vec<Arc<dyn Service>>,
        capacity: Capacity,
    ) -> Result<Self, RouterError> {
        let mut router = Self { capacity, ..Self::default() };
        let mut names = HashSet::new();
        let mut ids = HashSet::new();
        for service in services {
            if !names.insert(service.name()) {
                return Err(RouterError::DuplicateService(service.name()));
            }
            for method in service.methods() {
                if !ids.insert(method.id()) {
                    // r[impl method.unique]
                    return Err(RouterError::DuplicateMethod(method.to_string()));
                }
                let (id, service) = (method.id(), Arc::clone(&service));
                router.services.push(id.service_half());
                router.routes.push(Route { id, service, streak: AtomicU32::new(0) });
            }
        }
        router.routes.sort_by_key(|route| route.id);
        router.services.sort_unstable();
        router.services.dedup();
        Ok(router)
    }

    /// Takes a place for a handler's task, to be given back with [`leave`](Self::leave).
    pub(super) fn enter(&self) -> Result<(), Refusal> {
        if self.tasks.fetch_add(1, Ordering::Relaxed) < self.capacity.calls {
            return Ok(());
        }
        self.leave();
        Err(self.full())
    }

    /// Takes a place for a handler that was started without one.
    pub(super) fn enter_begun(&self) {
        self.tasks.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn leave(&self) {
        self.tasks.fetch_sub(1, Ordering::Relaxed);
    }

    /// What is said to requests that find every place taken.
    fn full(&self) -> Refusal {
        let Capacity { calls, side, setting } = self.capacity;
        let detail = format!("{side} runs {calls} calls already ({setting})");
        Refusal { kind: ErrorKind::Overloaded, detail }
    }

    /// The route that [`find`](Self::find) found.
    pub(super) fn route(&self, at: usize) -> Option<&Route> {
        self.routes.get(at)
    }

    /// Has all methods tried where they are decoded.
    #[cfg(all(test, rpc_shuttle))]
    pub(crate) fn promote_all(&self) {
        for route in &self.routes {
            route.streak.store(PROMOTE_AFTER, Ordering::Relaxed);
        }
    }

    /// Sends every method back to tasks: one of them has blocked. The others come back after 16
    /// calls, which costs them less than that did.
    pub(super) fn demote_all(&self) {
        for route in &self.routes {
            route.streak.store(0, Ordering::Relaxed);
        }
    }

    /// Finds a method that may be run now.
    #[inline]
    pub(super) fn find(&self, id: MethodId) -> Result<(usize, &Route), Refusal> {
        let found = self.routes.binary_search_by_key(&id, |route| route.id);
        match found.ok().and_then(|at| Some((at, self.routes.get(at)?))) {
            Some(_) if self.tasks.load(Ordering::Relaxed) >= self.capacity.calls => {
                Err(self.full())
            }
            Some(found) => Ok(found),
            // r[impl method.unknown]
            None if self.services.binary_search(&id.service_half()).is_ok() => {
                Err(Refusal::of(ErrorKind::UnknownMethod))
            }
            None => Err(Refusal::of(ErrorKind::UnknownService)),
        }
    }
}

impl Route {
    /// Whether to try a request of this method where it was decoded.
    pub(super) fn is_inline(&self) -> bool {
        self.streak.load(Ordering::Relaxed) >= PROMOTE_AFTER
    }

    /// Notes how long a first poll took.
    pub(super) fn note(&self, took: Duration) {
        if took > SLOW_POLL {
            self.streak.store(0, Ordering::Relaxed);
        } else if !self.is_inline() {
            self.streak.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::{Handler, Method, Request};

    struct One;

    impl Service for One {
        fn name(&self) -> &'static str {
            "One"
        }
        fn methods(&self) -> &'static [Method] {
            const { &[Method::new("One", "method")] }
        }
        fn call(&self, request: Request) -> Handler {
            request.unknown_method()
        }
    }

    #[test]
    fn a_method_comes_inline_after_fast_polls_and_leaves_after_a_slow_one() {
        let router =
            Router::new(vec![Arc::new(One)], Capacity { calls: 1, ..Capacity::default() }).unwrap();
        let (_, route) = router.find(MethodId::of("One", "method")).ok().unwrap();
        for _ in 0..2 {
            for _ in 0..PROMOTE_AFTER {
                assert!(!route.is_inline());
                route.note(SLOW_POLL);
            }
            assert!(route.is_inline());
            route.note(SLOW_POLL + Duration::from_nanos(1));
        }
        assert!(!route.is_inline());
    }
}

#[cfg(all(test, rpc_shuttle))]
mod models {
    use shuttle::thread;

    use super::*;
    use crate::{models::exhaust, sync::Mutex};

    #[test]
    fn no_more_handlers_have_places_than_there_are() {
        exhaust(|| {
            let capacity = Capacity { calls: 1, ..Capacity::default() };
            let router = Arc::new(Router { capacity, ..Router::default() });
            let inside = Arc::new(Mutex::new(0));
            let threads = [0; 2].map(|_| {
                let (router, inside) = (Arc::clone(&router), Arc::clone(&inside));
                thread::spawn(move || {
                    if router.enter().is_err() {
                        return;
                    }
                    *inside.lock().unwrap() += 1;
                    assert_eq!(*inside.lock().unwrap(), 1, "two have the one place");
                    *inside.lock().unwrap() -= 1;
                    router.leave();
                })
            });
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            assert!(router.enter().is_ok(), "a place is lost");
        });
    }
}
