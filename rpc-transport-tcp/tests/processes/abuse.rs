//! Peers of raw bytes that take their time, or come and go in a storm: they cost little, and others
//! go on.

use std::time::{Duration, Instant};

use crate::{
    crowd::{Manner, REPLIES, REPLY_BYTES, call_up, gather},
    lab::{LabClient, LabProcess},
    load::{Numbers, channel},
    process::{PATIENCE, Process},
    record::Books,
};

/// How long the server is watched while they are there.
const WATCHED: Duration = Duration::from_secs(2);

/// What others may wait for a call meanwhile, on a busy machine.
const SOON: Duration = Duration::from_secs(1);

const MIB: u64 = 1 << 20;

/// A server, and a client that calls it whatever others do.
struct Site {
    books: Books,
    server: LabProcess,
    honest: LabClient,
    numbers: Numbers,
    /// The memory of the server when it had the client alone, and the most since.
    before: u64,
    most: u64,
}

impl Site {
    async fn new(name: &str, hello: Duration) -> Self {
        let books = Books::open(name);
        let hello = hello.as_millis().to_string();
        let parameters =
            [("ADDRESS", "127.0.0.1:0"), ("RECORD", books.path()), ("HELLO_MS", &hello)];
        let server = LabProcess::listening(Process::start("server", &parameters, None)).await;
        let honest = channel(&server.address);
        let mut site =
            Self { books, server, honest, numbers: Numbers::default(), before: 0, most: 0 };
        for _ in 0..100 {
            site.goes_on().await;
        }
        site.before = site.server.process.memory().resident;
        site.most = site.before;
        site
    }

    /// The honest client makes a call, and has its reply soon.
    async fn goes_on(&mut self) {
        let (call, asked) = (self.numbers.next(), Instant::now());
        assert_eq!(self.honest.run(call).await, Ok(call));
        assert!(asked.elapsed() < SOON, "{:?}", asked.elapsed());
        self.most = self.most.max(self.server.process.memory().resident);
    }

    /// It does so for a while.
    async fn watch(&mut self) {
        let began = Instant::now();
        while began.elapsed() < WATCHED {
            self.goes_on().await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// It does so until the server has its connection alone.
    async fn alone_again(&mut self) {
        let began = Instant::now();
        while self.server.connections().await > 1 {
            assert!(began.elapsed() < PATIENCE, "connections that are over stay");
            self.goes_on().await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(self.server.connections().await, 1, "its own has outlived them");
    }

    /// What they have cost at most, all together.
    fn cost(&self, what: &str) -> u64 {
        let cost = self.most - self.before;
        println!("{what}: {} KiB of memory at most", cost / 1024);
        cost
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_readers_are_kept_no_more_replies_for_than_a_connection_may_hold() {
    const READERS: u64 = 16;
    let mut site = Site::new("slow-readers", 2 * PATIENCE).await;
    let crowd = gather(&site.server.address, READERS, Manner::Sips).await;
    site.watch().await;
    assert_eq!(site.server.connections().await as u64, READERS + 1, "they are still served");
    // No handler of theirs starts while 4 MiB of replies wait for its connection; those that run already
    // add theirs, and what is being written has buffers of its own. All replies would be 32 MiB each.
    let cost = site.cost("16 slow readers");
    assert!(cost < READERS * 8 * MIB, "{cost}");
    site.books.read_on();
    let ran = u64::from(site.books.ran(REPLY_BYTES.into()));
    println!("{ran} of their {} calls ran", READERS * REPLIES);
    assert!(ran > READERS && ran < READERS * REPLIES, "the limit is in force: {ran}");
    drop(crowd);
    site.alone_again().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_that_comes_a_byte_at_a_time_costs_what_has_come() {
    const PEERS: u64 = 300;
    let mut site = Site::new("drips", 2 * PATIENCE).await;
    let crowd = gather(&site.server.address, PEERS, Manner::Drips).await;
    site.watch().await;
    assert_eq!(site.server.connections().await as u64, PEERS + 1, "nothing is wrong with them");
    let cost = site.cost("300 frames that drip");
    assert!(cost < PEERS * 12 * 1024, "{cost}");
    drop(crowd);
    site.alone_again().await;
}

/// Spec: `r[hello.timeout]`. Bytes that come don't prolong it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hello_that_never_ends_or_drips_is_given_up_in_time() {
    const PEERS: u64 = 300;
    for manner in [Manner::Breaks, Manner::Stammers] {
        let mut site = Site::new(&format!("hello-{manner:?}"), SOON).await;
        let crowd = gather(&site.server.address, PEERS, manner).await;
        site.alone_again().await;
        let cost = site.cost(&format!("300 hellos, {manner:?}"));
        assert!(cost < PEERS * 12 * 1024, "{cost}");
        // Until then they would have stayed.
        drop(crowd);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_connections_leaves_nothing_behind() {
    const PEERS: u64 = 5000;
    let mut site = Site::new("storm", 2 * PATIENCE).await;
    let mut storm = call_up(&site.server.address, PEERS, Manner::Storms);
    let is_over = storm.told("standing");
    tokio::pin!(is_over);
    let mut calls = 0;
    while (tokio::time::timeout(Duration::from_millis(1), &mut is_over).await).is_err() {
        site.goes_on().await;
        calls += 1;
    }
    println!("{calls} calls meanwhile");
    site.alone_again().await;
    let cost = site.cost("a storm of 5000 connections");
    assert!(cost < 16 * MIB, "{cost}");
    // And who comes now is served.
    assert_eq!(channel(&site.server.address).run(0).await, Ok(0));
}
