//! What calls promise, over loopback sockets, as rpc-core's kit checks it.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use rpc_core::{
    testing::promises::{Kit, Network},
    transport::{
        Address, Batch, Connector, Inbox, Listener, Peer, Received, Transport, TransportError,
    },
};
use rpc_transport_tcp::{TcpConnector, TcpTransport, connector, listen};

#[tokio::test]
async fn calls_keep_their_promises() {
    let tally = Kit::new().seeds(150).run(|_| Loopback::default()).await;
    eprintln!("TCP: {tally}");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_keep_their_promises_among_threads() {
    let tally = Kit::new().seeds(150).run(|_| Loopback::default()).await;
    eprintln!("TCP, among threads: {tally}");
}

/// A port of this machine.
#[derive(Default)]
struct Loopback {
    /// The connections of the clients.
    switches: Arc<Mutex<Vec<Arc<Switch>>>>,
}

impl Network for Loopback {
    async fn listen(&self, again: Option<&Address>) -> io::Result<impl Listener> {
        listen(again.map_or("127.0.0.1:0".to_owned(), ToString::to_string)).await
    }

    fn connector(&self, to: &Address) -> impl Connector {
        MortalConnector { inner: connector(to), switches: Arc::clone(&self.switches) }
    }

    /// One that lives: its socket is dropped with whatever is in it, which resets it.
    fn kill(&self, whim: u64) {
        let switches = self.switches.lock().expect("no panic");
        let at = usize::try_from(whim % switches.len().max(1) as u64).expect("an index");
        if let Some(switch) = switches.get(at) {
            switch.off.store(true, Ordering::SeqCst);
            let waker = switch.driver.lock().expect("no panic").take();
            waker.into_iter().for_each(Waker::wake);
        }
    }
}

/// Ends a connection.
#[derive(Default)]
struct Switch {
    off: AtomicBool,
    driver: Mutex<Option<Waker>>,
}

struct MortalConnector {
    inner: TcpConnector,
    switches: Arc<Mutex<Vec<Arc<Switch>>>>,
}

impl Connector for MortalConnector {
    type Transport = Mortal;

    fn target(&self) -> Address {
        self.inner.target()
    }

    async fn connect(&self) -> io::Result<Mortal> {
        let inner = self.inner.connect().await?;
        let switch = Arc::default();
        self.switches.lock().expect("no panic").push(Arc::clone(&switch));
        Ok(Mortal { inner, switch })
    }
}

/// A connection that can be ended from outside.
struct Mortal {
    inner: TcpTransport,
    switch: Arc<Switch>,
}

impl Mortal {
    fn check(&self, cx: &Context<'_>) -> io::Result<()> {
        *self.switch.driver.lock().expect("no panic") = Some(cx.waker().clone());
        if self.switch.off.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }
}

impl Transport for Mortal {
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
