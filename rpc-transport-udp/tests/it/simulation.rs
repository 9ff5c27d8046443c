//! What calls promise over a network that misbehaves, in memory and in paused time.
//!
//! `cargo test` tries some seeds. The big simulation, a million calls and more, is
//!
//! ```console
//! RPC_SEEDS=40000 cargo test --release -p rpc-transport-udp --test it simulation -- --nocapture
//! ```
//!
//! What may be demanded depends on the network. Where datagrams are only delayed, no connection may
//! break. Where they are lost, damaged and reordered, servers vanish and networks are cut, calls may be
//! lost, and then have to say so: the rest of what they promise holds all the same.

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use rpc_core::{
    testing::{
        checkout,
        mortal::Switchboard,
        promises::{Kit, Network},
    },
    transport::{Address, Connector, Listener},
};
use rpc_transport_udp::testing::{self, Counts, Faults};

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A network whose servers are killed and whose connections are ended, moved and cut.
struct Rough {
    network: testing::Network,
    switchboard: Switchboard,
    /// Whether connections may break of what happens to datagrams.
    breaks: bool,
    totals: Arc<Mutex<Counts>>,
}

impl Rough {
    fn new(seed: u64, faults: Faults, breaks: bool, totals: &Arc<Mutex<Counts>>) -> Self {
        let is_replay = std::env::var_os("RPC_SEED").is_some();
        Self {
            network: testing::Network::new(seed).faults(faults).traced(is_replay),
            switchboard: Switchboard::default(),
            breaks,
            totals: Arc::clone(totals),
        }
    }
}

impl Network for Rough {
    async fn listen(&self, again: Option<&Address>) -> io::Result<impl Listener> {
        let listener = match again.and_then(Address::as_socket) {
            Some(address) => self.network.listen_at(address).await?,
            None => self.network.listen().await?,
        };
        Ok(self.switchboard.listener(listener))
    }

    fn connector(&self, to: &Address) -> impl Connector {
        self.switchboard.connector(self.network.connector(to))
    }

    fn kill(&self, whim: u64) {
        match whim % 4 {
            0 => self.network.partition(millis(whim >> 8 & 0xfff)),
            1 => self.network.rebind(),
            _ => self.switchboard.kill(whim >> 8),
        }
    }

    fn crash(&self, server: &Address) {
        // Every other one: the rest says goodbye.
        let quietly = self.network.fingerprint() & 1 == 0;
        if let Some(server) = server.as_socket().filter(|_| quietly) {
            self.network.kill(server);
        }
    }

    fn breaks(&self) -> bool {
        self.breaks
    }

    fn connects_between_servers(&self) -> bool {
        true
    }

    fn patience(&self) -> Duration {
        // What a server doesn't learn of a client's end it learns when the connection has been idle
        // for ten minutes, and has asked in vain.
        Duration::from_secs(700)
    }

    fn objection(&self) -> Result<(), String> {
        let counts = self.network.counts();
        let mut totals = self.totals.lock().expect("no panic");
        totals.sent += counts.sent;
        totals.lost += counts.lost;
        totals.duplicated += counts.duplicated;
        totals.delayed += counts.delayed;
        totals.damaged += counts.damaged;
        totals.refused += counts.refused;
        self.network.violation().map_or(Ok(()), Err)
    }
}

/// Returns how many calls there were.
async fn simulate(name: &str, seeds: u64, faults: impl Fn(u64) -> Faults, breaks: bool) -> u64 {
    let totals = Arc::default();
    let kit = Kit::new().seeds(seeds).large_bytes(20_000).punctual();
    let tally = kit.run(|seed| Rough::new(seed, faults(seed), breaks, &totals)).await;
    eprintln!("UDP, {name}: {tally}\n  {:?}", totals.lock().expect("no panic"));
    eprintln!("FIGURE simulated.calls={}", tally.calls());
    tally.calls()
}

#[tokio::test(start_paused = true)]
async fn calls_keep_their_promises_over_a_network_that_only_delays() {
    simulate("delays", 100, |_| Faults::none(), false).await;
}

/// Copies of datagrams arrive when their session is long over, in every other seed.
fn rough(seed: u64) -> Faults {
    let late_by = match seed % 4 {
        0 => millis(100),
        1 => millis(2000),
        _ => millis(20),
    };
    Faults::rough().reordering(0.1, late_by)
}

// r[verify session.no-move]
// r[verify session.not-sent]
#[tokio::test(start_paused = true)]
async fn calls_keep_their_promises_over_a_rough_network() {
    let calls = simulate("rough", 100, rough, true).await;
    // The goal on loss is about these alone.
    eprintln!("FIGURE rough.calls={calls}");
}

/// Runs some seeds, and returns what became of the calls, and of each seed what went over its network.
async fn fingerprints() -> (String, Vec<(u64, u64)>) {
    let (totals, networks) = (Arc::default(), Mutex::new(Vec::new()));
    let kit = Kit::new().seeds(20).large_bytes(20_000);
    let tally = kit
        .run(|seed| {
            let rough = Rough::new(seed, Faults::rough(), true, &totals);
            networks.lock().expect("no panic").push((seed, rough.network.clone()));
            rough
        })
        .await;
    let networks = networks.into_inner().expect("no panic");
    let seen = networks.iter().map(|(seed, network)| (*seed, network.fingerprint())).collect();
    (tally.to_string(), seen)
}

#[test]
fn the_same_seed_does_the_same() {
    // Each in a runtime of its own: which of two timers goes off first at the same millisecond depends on
    // how old the runtime is.
    let run = || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().start_paused(true).build().unwrap().block_on(fingerprints())
    };
    let (first, second) = (run(), run());
    for ((seed, one), (_, other)) in first.1.iter().zip(&second.1) {
        assert_eq!(
            one,
            other,
            "it sent something else\n  replay: RPC_SEED={seed} cargo test -p rpc-transport-udp --test \
             it the_same_seed{}",
            checkout(),
        );
    }
    assert_eq!(first, second);
    eprintln!("FIGURE determinism.seeds={}", first.1.len());
}

/// Sockets that are full or fail, small paths, addresses that change, marks of congestion.
fn moody() -> Faults {
    Faults::none()
        .delay(millis(1), millis(4))
        .loss(0.02, 1.5)
        .blocking(0.1, millis(20))
        .no_buffers(0.02)
        .not_permitted(0.005)
        .refusals(0.02)
        .interface_bytes(1400)
        .path_bytes(1300)
        .rebinding(0.01)
        .marks(0.05)
        .rate(2_000_000, 60_000)
}

#[tokio::test(start_paused = true)]
async fn calls_keep_their_promises_over_moody_sockets() {
    simulate("moody", 50, |_| moody(), true).await;
}
