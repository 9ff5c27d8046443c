//! What a handler knows about its call: deadline, metadata, peer, the way back; how calls inherit it.

use std::{
    cell::Cell,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    client::Channel,
    clock,
    connection::Origin,
    frame::{CallId, Metadata},
    sync::thread_local,
    transport::Peer,
};

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
    origin: Arc<Origin>,
    call: Option<CallId>,
    /// As the request had it. Items move it.
    deadline: Option<Instant>,
    metadata: Option<Arc<Metadata>>,
}

impl Context {
    pub(crate) fn new(
        origin: Arc<Origin>,
        call: Option<CallId>,
        deadline: Option<Instant>,
        metadata: Metadata,
    ) -> Self {
        let metadata = (!metadata.is_empty()).then(|| Arc::new(metadata));
        Self { origin, call, deadline, metadata }
    }

    /// A context without a deadline and without a connection, for tests of handlers that take one.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn for_test(peer: Peer, metadata: Metadata) -> Self {
        Self::new(Arc::new(Origin::nowhere(peer)), None, None, metadata)
    }

    /// The context of the handler that is running on this task; `None` outside of handlers, and in
    /// tasks that a handler has spawned (move a clone into those).
    #[must_use]
    pub fn current() -> Option<Self> {
        let current = CURRENT.with(Cell::take);
        let copy = current.clone();
        CURRENT.with(|cell| cell.set(current));
        copy
    }

    /// The caller's deadline, on this machine's clock. Each item of a stream among the arguments moves
    /// it, and a reply that is a stream has none once it has begun.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let first = self.deadline?;
        let connection = self.call.and_then(|call| Some((self.origin.connection()?, call)));
        let now = connection.and_then(|(connection, call)| connection.deadline_of(call));
        now.unwrap_or(Some(first))
    }

    /// How much time is left until the deadline; zero when it has passed, `None` when there is none.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline().map(|deadline| deadline.saturating_duration_since(clock::now()))
    }

    /// What the caller wrote beside its arguments. Its word, and nothing more.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        const NONE: &Metadata = &Metadata::new();
        self.metadata.as_deref().unwrap_or(NONE)
    }

    /// A channel back to the caller, to call what it offers (see
    /// [`ChannelBuilder::service`](crate::ChannelBuilder::service)), over the connection that this
    /// call came on and no other. Cheap to get and to clone, and free to outlive the handler.
    ///
    /// - It never reconnects: once the connection has ended, every call fails with *connection lost*,
    ///   not sent, and [`Channel::closed`] returns. Repeating the call there doesn't help; the caller
    ///   may come back on another connection. While one side is going away (a server that is
    ///   shut down, an idle connection) further calls fail with *shutting down*, not sent.
    /// - It keeps nothing alive. A connection over which nobody calls is idle, whoever could call
    ///   back; see [`ServerBuilder::idle_timeout`](crate::ServerBuilder::idle_timeout).
    /// - Calls have places of their own, so that a call back within a handler always finds one,
    ///   unless as many are under way as the caller accepts ([`Limits::calls`](crate::Limits::calls)).
    ///   Then it waits, until its deadline at most.
    /// - A call takes 10 seconds at most unless it says otherwise, and within a handler no longer
    ///   than that.
    /// - [`Channel::target`] is the caller's address, [`Channel::counters`] are those of the
    ///   connection.
    ///
    /// Whoever called may offer nothing: then calls fail with *unknown service*, rejected.
    #[must_use]
    pub fn channel(&self) -> Channel {
        Channel::back(Arc::clone(&self.origin))
    }

    /// What the transport knows about the caller.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        self.origin.peer()
    }
}

/// The deadline that a call made here inherits.
#[inline]
pub(crate) fn inherited_deadline() -> Option<Instant> {
    let current = CURRENT.with(Cell::take);
    let deadline = current.as_ref().and_then(Context::deadline);
    CURRENT.with(|cell| cell.set(current));
    deadline
}

/// Makes a context the current one, until [`leave`](Entered::leave) gives it back.
pub(crate) struct Entered(Option<Context>);

impl Entered {
    #[inline]
    pub(crate) fn enter(context: Context) -> Self {
        Self(CURRENT.with(|cell| cell.replace(Some(context))))
    }

    #[inline]
    pub(crate) fn leave(self) -> Option<Context> {
        CURRENT.with(|cell| cell.replace(self.0))
    }
}
