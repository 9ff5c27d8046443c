//! Connections of any transport that can be ended from outside; what happens to them is the
//! transport's own.
//!
//! Transports over real sockets die of what the network does, which a test can't ask for. A
//! [`Switchboard`] wraps their connectors, and ends whichever connection it is told to: the transport
//! is dropped with whatever is in it, as when a process drops a socket.
//!
//! ```
//! use rpc_core::{Channel, Server, testing::mortal::Switchboard, transport::memory};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Server::builder().listen(memory::listen("mortal:0").await?).start()?;
//! let switchboard = Switchboard::default();
//! let connector = switchboard.connector(memory::connector(server.local_addr()?));
//! let channel = Channel::connect(connector).await?;
//! switchboard.kill(0);
//! channel.closed().await;
//! # Ok(())
//! # }
//! ```

use std::{
    fmt, io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker, ready},
    time::Instant,
};

use crate::transport::{
    Address, Batch, Connector, Inbox, Listener, Peer, Received, Transport, TransportError,
};

/// Knows the connections that were made through it, and ends them. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct Switchboard {
    switches: Arc<Mutex<Vec<Arc<Switch>>>>,
}

/// Ends one connection.
#[derive(Debug, Default)]
struct Switch {
    off: AtomicBool,
    driver: Mutex<Option<Waker>>,
}

impl Switchboard {
    /// A connector like `inner`, whose connections this can end.
    #[must_use]
    pub fn connector<C>(&self, inner: C) -> MortalConnector<C> {
        MortalConnector { inner, switchboard: self.clone() }
    }

    /// A listener like `inner`, of whose connections this can end the server's side.
    #[must_use]
    pub fn listener<L>(&self, inner: L) -> MortalListener<L> {
        MortalListener { inner, switchboard: self.clone() }
    }

    fn adopt<T>(&self, inner: T) -> Mortal<T> {
        let switch = Arc::default();
        lock(&self.switches).push(Arc::clone(&switch));
        Mortal { inner, switch }
    }

    /// Ends one of the connections that were made so far, if there are any. Which one follows from
    /// the number; it may have ended before.
    pub fn kill(&self, whim: u64) {
        let switches = lock(&self.switches);
        let at = usize::try_from(whim % switches.len().max(1) as u64).unwrap_or_default();
        let Some(switch) = switches.get(at).cloned() else { return };
        drop(switches);
        switch.off.store(true, Ordering::SeqCst);
        let waker = lock(&switch.driver).take();
        waker.into_iter().for_each(Waker::wake);
    }
}

/// Makes connections that a [`Switchboard`] can end.
#[derive(Debug, Clone)]
pub struct MortalConnector<C> {
    inner: C,
    switchboard: Switchboard,
}

impl<C: Connector> Connector for MortalConnector<C> {
    type Transport = Mortal<C::Transport>;

    fn target(&self) -> Address {
        self.inner.target()
    }

    async fn connect(&self) -> io::Result<Self::Transport> {
        Ok(self.switchboard.adopt(self.inner.connect().await?))
    }
}

/// Accepts connections that a [`Switchboard`] can end.
#[derive(Debug)]
pub struct MortalListener<L> {
    inner: L,
    switchboard: Switchboard,
}

impl<L: Listener> Listener for MortalListener<L> {
    type Transport = Mortal<L::Transport>;

    fn local_addr(&self) -> Address {
        self.inner.local_addr()
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Self::Transport>> {
        let accepted = ready!(self.inner.poll_accept(cx));
        Poll::Ready(accepted.map(|inner| self.switchboard.adopt(inner)))
    }

    fn invite_no_more(&mut self) -> Option<Instant> {
        self.inner.invite_no_more()
    }

    fn refuse_more(&mut self) {
        self.inner.refuse_more();
    }
}

/// A connection that a [`Switchboard`] can end. Its user then gets
/// [`ConnectionReset`](io::ErrorKind::ConnectionReset), and drops it.
pub struct Mortal<T> {
    inner: T,
    switch: Arc<Switch>,
}

impl<T> Mortal<T> {
    fn check(&self, cx: &Context<'_>) -> io::Result<()> {
        *lock(&self.switch.driver) = Some(cx.waker().clone());
        if self.switch.off.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }
}

impl<T: Transport> Transport for Mortal<T> {
    fn peer(&self) -> Peer {
        self.inner.peer()
    }

    fn frame_bytes(&self) -> usize {
        self.inner.frame_bytes()
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, batch: &mut Batch) -> Poll<io::Result<()>> {
        self.check(cx)?;
        self.inner.poll_send(cx, batch)
    }

    fn poll_recv<I: Inbox>(
        &mut self,
        cx: &mut Context<'_>,
        inbox: &mut I,
    ) -> Poll<Result<Received, TransportError>> {
        self.check(cx)?;
        self.inner.poll_recv(cx, inbox)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        self.inner.poll_close(cx)
    }
}

impl<T> fmt::Debug for Mortal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mortal").field("switch", &self.switch).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
