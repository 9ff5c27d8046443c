//! The accept loop, on paused time: whatever `accept` fails with, it goes on, and it does not spin.
#![cfg(target_os = "linux")]

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use rpc_core::{
    Server,
    transport::{Address, Listener, stream::StreamTransport},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    time::Instant,
};

use crate::raw::{HELLO, Raw, hex, request, transport};

/// What `accept(2)` can fail with, and whether that says something about one connection only, so
/// that the next one can be accepted at once.
const ERRORS: [(&str, i32, bool); 20] = [
    ("EPERM", 1, false),
    ("EINTR", 4, true),
    ("EBADF", 9, false),
    ("EAGAIN", 11, false),
    ("ENOMEM", 12, false),
    ("EINVAL", 22, false),
    ("ENFILE", 23, false),
    ("EMFILE", 24, false),
    ("ENONET", 64, false),
    ("EPROTO", 71, false),
    ("ENOPROTOOPT", 92, false),
    ("EOPNOTSUPP", 95, false),
    ("ENETDOWN", 100, false),
    ("ENETUNREACH", 101, true),
    ("ECONNABORTED", 103, true),
    ("ECONNRESET", 104, true),
    ("ENOBUFS", 105, false),
    ("ETIMEDOUT", 110, true),
    ("EHOSTDOWN", 112, false),
    ("EHOSTUNREACH", 113, true),
];

/// Fails, and then accepts one connection.
struct Failing {
    errno: i32,
    times: usize,
    then: Option<DuplexStream>,
    accepts: Arc<AtomicUsize>,
}

impl Listener for Failing {
    type Transport = StreamTransport<DuplexStream>;

    fn local_addr(&self) -> Address {
        Address::Unnamed
    }

    fn poll_accept(&mut self, _: &mut Context<'_>) -> Poll<io::Result<Self::Transport>> {
        if self.accepts.fetch_add(1, Ordering::SeqCst) < self.times {
            return Poll::Ready(Err(io::Error::from_raw_os_error(self.errno)));
        }
        self.then.take().map_or(Poll::Pending, |io| Poll::Ready(Ok(transport(io))))
    }
}

/// Starts a server whose listener fails so many times. Returns the client's end of the connection
/// that it accepts then, and the number of times that it was asked.
fn start(errno: i32, times: usize) -> (Server, DuplexStream, Arc<AtomicUsize>) {
    let (ours, theirs) = duplex(4096);
    let accepts = Arc::default();
    let listener = Failing { errno, times, then: Some(theirs), accepts: Arc::clone(&accepts) };
    (Server::builder().listen(listener).start().unwrap(), ours, accepts)
}

#[tokio::test(start_paused = true)]
async fn accepting_goes_on_whatever_it_fails_with() {
    for (name, errno, of_one_connection) in ERRORS {
        let began = Instant::now();
        let (_server, mut client, _) = start(errno, 5);
        client.write_all(&hex(HELLO)).await.unwrap();
        client.read_exact(&mut [0; 8 + 12 + 48]).await.unwrap();
        // 10, 20, 40, 80 and 160 ms, for want of resources.
        let pauses = Duration::from_millis(if of_one_connection { 0 } else { 310 });
        let late = began.elapsed().checked_sub(pauses);
        assert!(
            late.is_some_and(|late| late < Duration::from_millis(10)),
            "{name}: {:?}",
            began.elapsed()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn accepting_never_spins_whatever_it_fails_with() {
    for (name, errno, of_one_connection) in ERRORS {
        let (_server, _client, accepts) = start(errno, usize::MAX);
        tokio::time::sleep(Duration::from_secs(3)).await;
        let accepts = accepts.load(Ordering::SeqCst);
        // A hundred in 10 ms; or five that double the pause up to 250 ms, then four a second.
        let most = if of_one_connection { 100 * 301 } else { 17 };
        assert!((8..=most).contains(&accepts), "{name}: {accepts} in 3 s");
    }
}

/// A listening socket that is closed resets what nobody has accepted yet: a client that sent its
/// first request with its hello couldn't know whether it was run.
#[tokio::test(start_paused = true)]
async fn a_connection_that_waits_to_be_accepted_is_served_although_the_server_shuts_down() {
    let mut client = Raw::to(Server::builder());
    client.send(HELLO).await;
    client.send(&request("Nobody", "nothing", "")).await;
    // On one thread: the acceptor hasn't run yet.
    let server = client.server.take().unwrap();
    let shutdown = tokio::spawn(server.shutdown(Duration::from_secs(1)));
    client.io.read_exact(&mut [0; 8 + 12 + 48]).await.unwrap();
    let mut frames = Vec::new();
    // Until CLOSE.
    while frames.last().is_none_or(|(lane, frame): &(u64, Vec<u8>)| (*lane, frame[0]) != (0, 11)) {
        frames.push(client.frame().await);
    }
    let answered = |(lane, frame): &(u64, Vec<u8>)| (*lane, frame[0]) == (0x100_0000, 4);
    assert!(frames.iter().any(answered), "{frames:?}");
    assert!(!shutdown.await.unwrap(), "this client doesn't answer the go-away");
}
