//! What a handler knows about its call: deadline, metadata, peer; how calls inherit it.

use std::{
    cell::Cell,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{clock, frame::Metadata, transport::Peer};

thread_local! {
    static CURRENT: Cell<Option<Context>> = const { Cell::new(None) };
}

/// The context of the call that a handler is running for. Cheap to clone.
///
/// A handler gets it from [`Context::current`], or as a `#[ctx] cx: &Context` parameter of its
/// method. Calls made inside a handler inherit its deadline and nothing else: metadata goes on only
/// where the handler adds it to a call, as in `examples/metadata.rs`.
#[derive(Debug, Clone)]
pub struct Context {
    peer: Arc<Peer>,
    deadline: Option<Instant>,
    metadata: Option<Arc<Metadata>>,
}

impl Context {
    pub(crate) fn new(peer: Arc<Peer>, deadline: Option<Instant>, metadata: Metadata) -> Self {
        let metadata = (!metadata.is_empty()).then(|| Arc::new(metadata));
        Self { peer, deadline, metadata }
    }

    /// A context without a deadline, for tests of handlers that take one.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn for_test(peer: Peer, metadata: Metadata) -> Self {
        Self::new(Arc::new(peer), None, metadata)
    }

    /// The context of the handler that is running on this task; `None` outside of handlers, and in
    /// tasks that a handler has spawned (move a clone into those).
    #[must_use]
    pub fn current() -> Option<Self> {
        let current = CURRENT.take();
        let copy = current.clone();
        CURRENT.set(current);
        copy
    }

    /// The caller's deadline, on this machine's clock.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// How much time is left until the deadline; zero when it has passed, `None` when there is none.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(clock::now()))
    }

    /// What the caller wrote beside its arguments. Its word, and nothing more.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        const NONE: &Metadata = &Metadata::new();
        self.metadata.as_deref().unwrap_or(NONE)
    }

    /// What the transport knows about the caller.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.peer
    }
}

/// The deadline that a call made here inherits.
#[inline]
pub(crate) fn inherited_deadline() -> Option<Instant> {
    let current = CURRENT.take();
    let deadline = current.as_ref().and_then(|context| context.deadline);
    CURRENT.set(current);
    deadline
}

/// Makes a context the current one, until [`leave`](Entered::leave) gives it back.
pub(crate) struct Entered(Option<Context>);

impl Entered {
    #[inline]
    pub(crate) fn enter(context: Context) -> Self {
        Self(CURRENT.replace(Some(context)))
    }

    #[inline]
    pub(crate) fn leave(self) -> Option<Context> {
        CURRENT.replace(self.0)
    }
}
