//! What calls promise, over loopback sockets, as rpc-core's kit checks it.

use std::{io, thread};

use rpc_core::{
    testing::{
        mortal::Switchboard,
        promises::{Kit, Network},
    },
    transport::{Address, Connector, Listener},
};
use rpc_transport_tcp::{connector, listen};

#[tokio::test]
async fn calls_keep_their_promises() {
    let tally = Kit::new().seeds(150).run(|_| Loopback::default()).await;
    eprintln!("TCP: {tally}");
}

/// Three seeds at a time: sockets that linger are most of the time that one takes.
#[test]
fn calls_keep_their_promises_among_threads() {
    let run = |share| {
        let kit = Kit::new().seeds(150).share(share, 3);
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
        let tally = runtime.block_on(kit.run(|_| Loopback::default()));
        eprintln!("TCP, among threads: {tally}");
    };
    thread::scope(|scope| {
        for share in 0..3 {
            // A failure names the test by the name of its thread.
            let name = thread::current().name().unwrap_or_default().to_owned();
            thread::Builder::new().name(name).spawn_scoped(scope, move || run(share)).unwrap();
        }
    });
}

/// A port of this machine.
#[derive(Default)]
struct Loopback {
    /// The connections of the clients.
    switchboard: Switchboard,
}

impl Network for Loopback {
    async fn listen(&self, again: Option<&Address>) -> io::Result<impl Listener> {
        listen(again.map_or("127.0.0.1:0".to_owned(), ToString::to_string)).await
    }

    fn connector(&self, to: &Address) -> impl Connector {
        self.switchboard.connector(connector(to))
    }

    /// What comes in the last moment is told nothing, and comes again.
    fn connects_between_servers(&self) -> bool {
        cfg!(target_os = "linux")
    }

    /// One that lives: its socket is dropped with whatever is in it, which resets it.
    fn kill(&self, whim: u64) {
        self.switchboard.kill(whim);
    }
}
