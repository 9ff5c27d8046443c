//! Peers that ask for more than they take, and more calls than a server runs: what has to wait
//! waits, what can't is refused, and nothing grows.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rpc_core::{
    Channel, Delivery, ErrorKind, Limits, Server,
    transport::memory::{self, MemoryConnector},
};
use tokio::{
    io::{AsyncReadExt, DuplexStream, duplex},
    sync::mpsc,
    time::sleep,
};

use crate::raw::{Pipes, Raw, request, show};

const MIB: u32 = 1024 * 1024;

#[rpc_core::service]
trait Store {
    async fn load(&self, bytes: u32) -> Vec<u8>;
    async fn forever(&self);
}

#[derive(Clone, Default)]
struct Counted {
    runs: Arc<AtomicUsize>,
}

impl Counted {
    fn runs(&self) -> usize {
        self.runs.load(Ordering::Relaxed)
    }
}

impl Store for Counted {
    async fn load(&self, bytes: u32) -> Vec<u8> {
        self.runs.fetch_add(1, Ordering::Relaxed);
        vec![7; bytes as usize]
    }
    async fn forever(&self) {
        self.runs.fetch_add(1, Ordering::Relaxed);
        pending::<()>().await;
    }
}

/// A request for `bytes` bytes, as the `number`th call of its connection, in a slot of its own.
fn load(number: u32, bytes: u32) -> String {
    let id = format!("{}{}", show(&(2 * number).to_le_bytes()[..3]), show(&number.to_le_bytes()));
    request("Store", "load", &show(&bytes.to_le_bytes())).replace("0000000100000000", &(id + "00"))
}

/// Calls 16 times, so that the method runs where its requests are decoded from then on.
async fn promote(raw: &mut Raw) {
    for number in 1..=16 {
        raw.send(&load(number, 1)).await;
        assert_eq!(raw.frame().await.1[0], 3, "a reply");
    }
}

/// Asks for 200 MiB of replies and reads none; then reads them all.
async fn ask_and_do_not_read(promoted: bool) {
    let counted = Counted::default();
    let mut raw = Raw::to(Server::builder().service(StoreServer::new(counted.clone())));
    raw.greet().await;
    if promoted {
        promote(&mut raw).await;
    }
    let before = counted.runs();
    for number in 17..217 {
        raw.send(&load(number, MIB)).await;
    }
    sleep(Duration::from_millis(100)).await;
    // What may wait, what is on its way, and what the pipe holds.
    let runs = counted.runs() - before;
    assert!((4..=8).contains(&runs), "{runs} ran, although nobody reads");

    let mut bytes = 0;
    while bytes < 200 * MIB as usize {
        let (_, frame) = raw.frame().await;
        assert!(matches!(frame[0], 3 | 5), "a part of a reply: {}", show(&frame[..4]));
        bytes += frame.len() - 4 - 8 * usize::from(frame[0] == 3);
    }
    assert_eq!((bytes, counted.runs() - before), (200 * MIB as usize, 200));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_holds_up_its_requests_while_they_are_tasks() {
    ask_and_do_not_read(false).await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_holds_up_its_requests_while_they_run_inline() {
    ask_and_do_not_read(true).await;
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_held_up_past_its_deadline_never_ran() {
    let counted = Counted::default();
    let mut limits = Limits::default();
    limits.reply_bytes = MIB as usize;
    let server = Server::builder().service(StoreServer::new(counted.clone())).limits(limits);
    let mut raw = Raw::to(server);
    raw.greet().await;
    // Two of more than the pipe holds, of which the largest doesn't count; then one with a timeout of
    // a second, like those.
    for slot in [1, 2] {
        raw.send(&load(slot, 2 * MIB)).await;
        sleep(Duration::from_millis(10)).await;
    }
    raw.send(&load(3, 1)).await;
    sleep(Duration::from_secs(2)).await;
    let error = loop {
        let (lane, frame) = raw.frame().await;
        if frame[0] == 4 {
            break (lane, frame[4], frame[6]);
        }
    };
    assert_eq!(error, (3 << 24 | 6, 2, 0), "DEADLINE_EXCEEDED, never");
    assert_eq!(counted.runs(), 2);
}

fn to(server: &Server) -> MemoryConnector {
    memory::connector(server.local_addr().unwrap().to_string())
}

#[tokio::test]
async fn calls_beyond_the_limit_of_a_server_are_refused_on_every_connection() {
    let counted = Counted::default();
    let server = Server::builder()
        .service(StoreServer::new(counted.clone()))
        .calls(2)
        .listen(memory::listen("two at a time").await.unwrap())
        .start()
        .unwrap();
    let one = StoreClient::new(Channel::connect(to(&server)).await.unwrap());
    let other = StoreClient::new(Channel::connect(to(&server)).await.unwrap());
    let first = tokio::spawn(one.forever());
    let second = tokio::spawn(other.forever());
    while counted.runs() < 2 {
        tokio::task::yield_now().await;
    }
    for client in [&one, &other] {
        let error = client.load(1).await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::Overloaded, Delivery::Rejected));
        let text = error.to_string();
        assert!(text.contains("the server runs 2 calls already (ServerBuilder::calls)"), "{text}");
    }
    assert_eq!(counted.runs(), 2);
    first.abort();
    // The place is free when the handler is gone.
    while one.load(1).await.is_err() {}
    second.abort();
}

/// Streams that a server accepts, and how to make one.
fn pipes() -> (mpsc::UnboundedSender<DuplexStream>, Pipes) {
    let (pipes, accepted) = mpsc::unbounded_channel();
    (pipes, Pipes(accepted))
}

/// What a server says to a client that says nothing.
async fn last_words(mut io: DuplexStream) -> String {
    let mut said = Vec::new();
    io.read_to_end(&mut said).await.unwrap();
    show(&said)
}

/// A CLOSE frame with TOO_MANY_CONNECTIONS.
const TOO_MANY: &str = "0b0000000300";

#[tokio::test(start_paused = true)]
async fn silent_connections_make_room_for_others_the_oldest_first() {
    let (pipes, listener) = pipes();
    let service = StoreServer::new(Counted::default());
    let server =
        Server::builder().service(service).connections(2).listen(listener).start().unwrap();
    let connect = || {
        let (ours, theirs) = duplex(4096);
        pipes.send(theirs).unwrap();
        ours
    };
    let (first, second) = (connect(), connect());
    let mut third = Raw { io: connect(), server: None };
    third.greet().await;
    assert!(last_words(first).await.contains(TOO_MANY));
    let mut fourth = Raw { io: connect(), server: None };
    fourth.greet().await;
    assert!(last_words(second).await.contains(TOO_MANY));
    // These two have said hello, and stay.
    let fifth = connect();
    assert!(last_words(fifth).await.contains(TOO_MANY));
    for raw in [&mut third, &mut fourth] {
        raw.send(&load(1, 1)).await;
        assert_eq!(raw.frame().await.1[0], 3, "a reply");
    }
    assert_eq!((server.connections(), server.counters().connections_refused), (2, 3));
}

#[tokio::test(start_paused = true)]
async fn so_many_are_turned_away_at_a_time_and_the_rest_without_a_word() {
    let (pipes, listener) = pipes();
    let server = Server::builder().connections(0).listen(listener).start().unwrap();
    let mut ends: Vec<_> = (0..1500)
        .map(|_| {
            let (ours, theirs) = duplex(4096);
            pipes.send(theirs).unwrap();
            ours
        })
        .collect();
    let silent = last_words(ends.pop().unwrap()).await;
    assert_eq!(silent, "", "nothing was said to the last");
    assert!(last_words(ends.swap_remove(0)).await.contains(TOO_MANY));
    assert_eq!(server.counters().connections_refused, 1500);
    // They have gone by now, although none of them ended its side.
    sleep(Duration::from_secs(2)).await;
    let (ours, theirs) = duplex(4096);
    pipes.send(theirs).unwrap();
    assert!(last_words(ours).await.contains(TOO_MANY));
}
