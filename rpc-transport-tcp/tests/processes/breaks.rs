//! Connections that break or half-close under calls, at the hands of a peer of raw bytes.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, atomic::AtomicUsize, atomic::Ordering, mpsc},
    thread,
    time::{Duration, Instant},
};

use rpc_core::{Delivery, ErrorKind, RpcError, Server};
use rpc_transport_tcp::listen;
use socket2::SockRef;
use tokio::task::JoinHandle;

use crate::{
    lab::{Bench, server},
    load::channel,
    process::{PATIENCE, until},
    raw::{self, HELLO_BYTES},
    record::Books,
};

/// Calls that are under way when the connection breaks.
const CALLS: u64 = 50;

/// Within this time everybody has to know.
const SOON: Duration = Duration::from_secs(1);

/// A server in this process, and a peer of raw bytes that has said hello and `CALLS` requests.
struct Site {
    books: Books,
    held: Arc<AtomicUsize>,
    server: Server,
    peer: Option<TcpStream>,
}

impl Site {
    async fn new(name: &str) -> Self {
        let books = Books::open(name);
        let bench = Bench::new(books.path());
        let held = bench.held();
        let listener = listen("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr();
        let server = server(bench).listen(listener).start().unwrap();
        let mut peer = TcpStream::connect(address).unwrap();
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        let requests = (0..CALLS).flat_map(|n| raw::request(n, "hold", n));
        peer.write_all(&raw::hello().into_iter().chain(requests).collect::<Vec<_>>()).unwrap();
        let site = Self { books, held, server, peer: Some(peer) };
        until("its calls run", || site.held() == CALLS).await;
        site
    }

    fn held(&self) -> u64 {
        self.held.load(Ordering::SeqCst) as u64
    }

    /// Waits until nothing of the peer is left, and checks that it did not take long.
    async fn check_gone(&mut self) {
        let gone = until("its calls and its connection are gone", || {
            self.held() == 0 && self.server.connections() == 0
        });
        let took = gone.await;
        assert!(took < SOON, "{took:?}");
        self.books.read_on();
        assert!((0..CALLS).all(|call| self.books.dropped(call)), "every handler was dropped");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_resets_leaves_no_handler_and_no_connection_behind() {
    let mut site = Site::new("reset").await;
    let mut peer = site.peer.take().unwrap();
    SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
    // The other half of the pipeline: requests that nobody waits for any more.
    let more: Vec<_> = (CALLS..2 * CALLS).flat_map(|n| raw::request(n, "run", n)).collect();
    peer.write_all(&more).unwrap();
    drop(peer);
    site.check_gone().await;
}

/// Spec: `r[stream.end]`. A peer that leaves in good order says CLOSE first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_half_closes_is_a_lost_connection() {
    let mut site = Site::new("half-close").await;
    let mut peer = site.peer.as_ref().unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    peer.read_exact(&mut [0; HELLO_BYTES]).unwrap();
    // Nothing more comes, neither replies nor errors: the server is gone too.
    let read = peer.read(&mut [0]).map_err(|error| error.kind());
    assert!(matches!(read, Ok(0) | Err(io::ErrorKind::ConnectionReset)), "{read:?}");
    site.check_gone().await;
}

/// How a server of raw bytes ends a connection.
#[derive(Debug, Clone, Copy)]
enum End {
    Reset,
    HalfClose,
}

/// A server of raw bytes: takes `CALLS` requests, answers every other one, and waits for the word
/// to end the connection.
fn raw_server(end: End) -> (String, mpsc::Sender<()>, thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (word, wait) = mpsc::channel();
    let serving = thread::spawn(move || {
        let (mut peer, _) = listener.accept().unwrap();
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        peer.write_all(&raw::hello()).unwrap();
        peer.read_exact(&mut [0; HELLO_BYTES]).unwrap();
        for _ in 0..CALLS {
            let (lane, frame) = raw::read_frame(&mut peer).unwrap();
            let call = u64::from_le_bytes(frame[16..].try_into().unwrap());
            if call % 2 == 0 {
                peer.write_all(&raw::reply(lane, call)).unwrap();
            }
        }
        wait.recv().unwrap();
        match end {
            End::Reset => SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap(),
            End::HalfClose => {
                peer.shutdown(Shutdown::Write).unwrap();
                // Until the client has left too.
                while peer.read(&mut [0; 1024]).is_ok_and(|read| read > 0) {}
            }
        }
    });
    (address, word, serving)
}

async fn check_broken_by_server(end: End) {
    let (address, word, serving) = raw_server(end);
    let lab = channel(&address);
    let calls: Vec<JoinHandle<(Result<u64, RpcError>, Instant)>> = (0..CALLS)
        .map(|call| {
            let call = lab.run(call);
            tokio::spawn(async move { (call.await, Instant::now()) })
        })
        .collect();
    until("every other call is answered", || calls.iter().step_by(2).all(JoinHandle::is_finished))
        .await;
    assert!(calls.iter().skip(1).step_by(2).all(|call| !call.is_finished()));
    let broken = Instant::now();
    word.send(()).unwrap();
    for (call, ended) in (0..CALLS).zip(calls) {
        let (result, at) = ended.await.unwrap();
        if call % 2 == 0 {
            assert_eq!(result, Ok(call));
            continue;
        }
        let error = result.unwrap_err();
        let outcome = (error.kind(), error.delivery());
        assert_eq!(outcome, (ErrorKind::ConnectionLost, Delivery::Unknown), "{end:?}: {error}");
        assert!(at.duration_since(broken) < SOON, "{end:?}: {:?}", at.duration_since(broken));
    }
    serving.join().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_resets_or_half_closes_leaves_answered_calls_alone_and_loses_the_others() {
    for end in [End::Reset, End::HalfClose] {
        check_broken_by_server(end).await;
    }
}
