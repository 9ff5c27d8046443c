//! What connections cost a server in memory, measured in a process of its own.

use std::{
    fs,
    io::{self, Write},
    time::Duration,
};

use crate::{
    crowd::{CLAIMED, Manner, gather},
    lab::LabProcess,
    load::channel,
    process::{Memory, ONE_HEAP, Process, times},
    record::Books,
};

/// What a connection may take beside what its peer has sent.
const IDLE_BYTES: u64 = 4 * 1024;
const HALF_FRAME_BYTES: u64 = 8 * 1024;

/// What it may take of the address space besides: 60 KiB are reserved for a large frame of which 64 have
/// come.
const VIRTUAL_BYTES: u64 = 64 * 1024;

/// What a crowd does to a server's memory.
struct Growth {
    peers: u64,
    before: Memory,
    after: Memory,
}

impl Growth {
    /// Measures it. `settled` is how long the server has to have been quiet.
    async fn of(manner: Manner, peers: u64, frame_bytes: u32, settled: Duration) -> Option<Self> {
        let peers = allowed(peers)?;
        let books = Books::open(&format!("memory-{manner:?}"));
        let frame_bytes = frame_bytes.to_string();
        let mut parameters = vec![
            ("ADDRESS", "127.0.0.1:0"),
            ("RECORD", books.path()),
            ("FRAME_BYTES", &frame_bytes),
        ];
        // Where addresses are counted, those that glibc asks for beforehand would be most of them.
        if matches!(manner, Manner::Claims | Manner::Begins) {
            parameters.push(ONE_HEAP);
        }
        let mut server = LabProcess::listening(Process::start("server", &parameters, None)).await;
        // What it keeps for all connections, it has from now on.
        let lab = channel(&server.address);
        for call in 0..100 {
            assert_eq!(lab.run(call).await, Ok(call));
        }
        let before = server.process.memory();
        let crowd = gather(&server.address, peers, manner).await;
        server.process.settle(settled).await;
        let connections = server.connections().await;
        assert_eq!(connections as u64, peers + 1, "all of them are there");
        let after = server.process.memory();
        drop(crowd);
        Some(Self { peers, before, after })
    }

    fn resident(&self) -> u64 {
        self.after.resident.saturating_sub(self.before.resident) / self.peers
    }

    fn virtually(&self) -> u64 {
        self.after.virtually.saturating_sub(self.before.virtually) / self.peers
    }

    fn print(&self, what: &str) {
        let build = if cfg!(debug_assertions) { "debug" } else { "release" };
        println!(
            "{} {what}, {build} build: {} bytes of memory each, {} of address space",
            self.peers,
            self.resident(),
            self.virtually(),
        );
    }
}

/// Says so where the harness doesn't keep it to itself.
fn skipped(what: &str) {
    let _ = writeln!(io::stderr(), "SKIPPED: {what}");
}

/// How many of these peers there can be: each is an open file on both sides. None, with a loud
/// word, where the system tells nothing about memory.
fn allowed(peers: u64) -> Option<u64> {
    if !fs::exists("/proc/self/status").unwrap_or_default() {
        skipped("this machine has no /proc to read memory from");
        return None;
    }
    let limits = fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let hard = line.split_whitespace().nth(1).unwrap().parse().unwrap_or(u64::MAX);
    let most = hard.saturating_sub(100);
    if most < peers {
        skipped(&format!("{peers} peers, {most} are tried: this machine allows {hard} open files"));
    }
    Some(most.min(peers))
}

#[tokio::test]
async fn ten_thousand_idle_connections_take_4_kib_each() {
    // Buffers are given back after a second or two.
    let settled = Duration::from_millis(1500);
    let Some(growth) = Growth::of(Manner::Calls, 10_000, 64 * 1024, settled).await else { return };
    growth.print("idle connections after a call");
    assert!(growth.resident() <= IDLE_BYTES, "{}", growth.resident());
    println!("FIGURE idle.tcp_peers={}", growth.peers);
    println!("FIGURE idle.tcp_kib={:.1}", growth.resident() as f64 / 1024.0);
}

#[tokio::test]
async fn connections_that_say_nothing_take_4_kib_each() {
    let settled = Duration::from_millis(200);
    let Some(growth) = Growth::of(Manner::Silent, 5_000, 64 * 1024, settled).await else { return };
    growth.print("connections that say nothing");
    assert!(growth.resident() <= IDLE_BYTES, "{}", growth.resident());
}

#[tokio::test]
async fn half_a_frame_takes_what_was_sent_of_it_and_not_what_it_claims() {
    let settled = Duration::from_millis(500);
    let (mut peers, mut above, mut addresses) = (u64::MAX, 0, 0);
    for manner in [Manner::Claims, Manner::Begins] {
        let asked = times(2_000) as u64;
        let Some(growth) = Growth::of(manner, asked, CLAIMED, settled).await else { return };
        let sent = manner.sent().len() as u64;
        growth.print(&format!("peers that sent {sent} bytes and claim {CLAIMED}"));
        assert!(growth.resident() <= sent + HALF_FRAME_BYTES, "{}", growth.resident());
        assert!(growth.virtually() <= sent + VIRTUAL_BYTES, "{}", growth.virtually());
        peers = peers.min(growth.peers);
        above = above.max(growth.resident().saturating_sub(sent));
        addresses = addresses.max(growth.virtually().saturating_sub(sent));
    }
    println!("FIGURE half.peers={peers}");
    println!("FIGURE half.above_bytes={above}");
    println!("FIGURE half.addresses_kib={}", addresses / 1024);
}
