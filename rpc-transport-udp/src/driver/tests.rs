//! Tests of a session's end over sockets that have more than is taken at once.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::{Duration, Instant},
};

use rpc_core::transport::{InFrame, Inbox, Received, Transport};
use tokio::time::timeout;

use super::{
    UdpTransport,
    endpoint::Endpoint,
    socket::{Datagrams, Piece, Writable},
};
use crate::proto::{
    cookie::CookieKey,
    packet::{self, Epoch, InitAck, Nonce, Params, Reset, SessionId},
    session::{Agreed, Budget, Session, Side, Source, Transmit},
    setup::{Established, SetUpClient},
    table::{COOKIE_LIFETIME, Decision, RETENTION, Table, TableConfig},
    tests::craft::{Victim, Writer},
};

pub(super) const PEER: SocketAddr =
    SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 7000);

const PARAMS: Params = Params { datagram_bytes: 1452, ack_delay_ms: 5, window: 4096, features: 0 };

/// A socket at which comes what this hands out, and into which everything vanishes.
pub(super) struct Scripted<F>(pub(super) F);

impl<F> fmt::Debug for Scripted<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scripted").finish_non_exhaustive()
    }
}

impl<F> Datagrams for Scripted<F>
where
    F: Fn(&mut dyn FnMut(Piece<'_>)) -> Poll<io::Result<()>> + Send + Sync + 'static,
{
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(PEER)
    }

    fn try_send(&self, _: &Transmit, _: Option<IpAddr>) -> io::Result<()> {
        Ok(())
    }

    fn writable(self: Arc<Self>) -> Writable {
        Box::pin(std::future::ready(Ok(())))
    }

    fn poll_recv(
        &self,
        _: &mut Context<'_>,
        take: &mut dyn FnMut(Piece<'_>),
    ) -> Poll<io::Result<()>> {
        (self.0)(take)
    }

    fn segments_max(&self) -> usize {
        1
    }
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

struct Empty;

impl Inbox for Empty {
    fn push(&mut self, frame: InFrame<'_>) {
        panic!("no frame was sent: {frame:?}");
    }

    fn frame_bytes_max(&self) -> usize {
        65_536
    }
}

fn agreed(side: Side) -> Agreed {
    Agreed {
        side,
        id: SessionId(7),
        epoch: Epoch(9),
        remote: PEER,
        ours: PARAMS,
        theirs: PARAMS,
        cookie: (side == Side::Client).then_some([1; 40]),
    }
}

/// A server's table, whose cookies any other of these takes, too.
pub(super) fn table<H: Clone>() -> Table<H> {
    let config = TableConfig {
        epoch: Epoch(9),
        params: PARAMS,
        sessions: 100,
        cookie_lifetime: COOKIE_LIFETIME,
        retention: RETENTION,
    };
    Table::new(config, CookieKey::new(&[7; CookieKey::BYTES]))
}

/// What a client sends to such a server first when it has its cookie.
pub(super) fn first_datagram() -> Vec<u8> {
    let now = Instant::now();
    let mut client = SetUpClient::new(now, PEER, PARAMS, Nonce(5));
    let init = client.poll_transmit(now).expect("it is time");
    let mut server = table::<()>();
    let Decision::Answer(ack) = server.handle_datagram(0, PEER, &init) else { panic!("no cookie") };
    let established = client.handle_datagram(&ack).expect("an answer").expect("a session");
    let mut session = Session::new(established.agreed, Budget::new(1 << 20), 1);
    session.poll_transmit(now, &mut Large(1), 1).expect("a frame").bytes.to_vec()
}

fn established() -> Established {
    Established { agreed: agreed(Side::Client), retention: Duration::from_secs(60) }
}

#[tokio::test(start_paused = true)]
async fn rubbish_does_not_keep_a_thread() {
    let reads = Arc::new(AtomicUsize::new(0));
    // Rubbish comes in faster than anybody reads it.
    let counted = Arc::clone(&reads);
    let flood = move |take: &mut dyn FnMut(Piece<'_>)| {
        assert!(counted.fetch_add(1, Ordering::Relaxed) < 1000, "it reads on and on");
        take(Piece { from: PEER, to: None, marked: false, bytes: &[0x41; 400], stride: 40 });
        Poll::Ready(Ok(()))
    };
    let mut transport = UdpTransport::connected(Arc::new(Scripted(flood)), established());
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let polled = transport.poll_recv(&mut Context::from_waker(&waker), &mut Empty);
    assert!(polled.is_pending(), "nothing came that counts as a sign of life");
    assert_eq!(wakes.0.load(Ordering::Relaxed), 1, "there is more to read");
    assert!(reads.load(Ordering::Relaxed) <= 16);
}

/// Frames of lane 0 that each fill most of a datagram.
struct Large(u8);

impl Source for Large {
    fn peek(&self) -> Option<(u64, bool, usize)> {
        (self.0 > 0).then_some((0, false, 1000))
    }

    fn take(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[self.0; 1000]);
        self.0 -= 1;
    }

    fn remaining(&self) -> usize {
        0
    }
}

/// The first byte of each frame.
#[derive(Default)]
struct Firsts(Vec<u8>);

impl Inbox for Firsts {
    fn push(&mut self, frame: InFrame<'_>) {
        self.0.extend(frame.payload.as_slice().first());
    }

    fn frame_bytes_max(&self) -> usize {
        65_536
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_taken_in_parts_is_taken_all_and_in_order() {
    let mut server = Session::new(agreed(Side::Server), Budget::new(1 << 20), 1);
    let now = tokio::time::Instant::now().into_std();
    let mut source = Large(9);
    let pieces =
        [4, 3, 2].map(|segments| server.poll_transmit(now, &mut source, segments).unwrap());
    let pieces = Mutex::new(Vec::from(pieces));
    let once = move |take: &mut dyn FnMut(Piece<'_>)| {
        let pieces = std::mem::take(&mut *pieces.lock().unwrap());
        for Transmit { bytes, segment_bytes: stride, .. } in &pieces {
            take(Piece { from: PEER, to: None, marked: false, bytes, stride: *stride });
        }
        if pieces.is_empty() { Poll::Pending } else { Poll::Ready(Ok(())) }
    };
    let mut transport = UdpTransport::connected(Arc::new(Scripted(once)), established());
    let (mut parts, mut inbox) = (0, Firsts::default());
    let mut cx = Context::from_waker(Waker::noop());
    while let Poll::Ready(received) = transport.poll_recv(&mut cx, &mut inbox) {
        parts += usize::from(received.unwrap() == Received::Part);
    }
    assert_eq!(inbox.0, [9, 8, 7, 6, 5, 4, 3, 2, 1]);
    assert!(parts >= 3, "{parts} parts");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn strangers_whose_datagrams_were_put_together_are_answered_one_by_one() {
    let listener = crate::listen("127.0.0.1:0").await.unwrap();
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(listener.local_addr()).await.unwrap();
    let state = quinn_udp::UdpSocketState::new((&socket).into()).unwrap();
    let datagram = Victim::new(Side::Server).packet(1, &Writer::new().ping());
    // Nobody asks how long they are of what follows one that came alone.
    for count in [1, 3] {
        let transmit = quinn_udp::Transmit {
            destination: listener.local_addr(),
            ecn: None,
            contents: &datagram.repeat(count),
            segment_size: (count > 1).then_some(datagram.len()),
            src_ip: None,
        };
        state.try_send((&socket).into(), &transmit).unwrap();
        for _ in 0..count {
            let mut answer = [0; 100];
            let received = timeout(Duration::from_secs(10), socket.recv(&mut answer)).await;
            let bytes = received.expect("there is an answer for each").unwrap();
            assert!(Reset::decode(&answer[..bytes]).is_some(), "{count}");
        }
    }
}

/// How often a server's socket is read before the one whom a datagram has woken runs.
async fn reads_before_the_woken() -> usize {
    let (reads, datagram) = (Arc::new(AtomicUsize::new(0)), first_datagram());
    let counted = Arc::clone(&reads);
    let socket = Scripted(move |take: &mut dyn FnMut(Piece<'_>)| {
        let bytes =
            if counted.fetch_add(1, Ordering::Relaxed) == 0 { &datagram } else { &[0; 40][..] };
        take(Piece { from: PEER, to: None, marked: false, bytes, stride: bytes.len() });
        Poll::Ready(Ok(()))
    });
    let endpoint = Endpoint::start(Arc::new(socket), table(), Budget::new(1 << 20));
    std::future::poll_fn(|cx| endpoint.poll_accept(cx)).await.expect("a session has begun");
    let before = reads.load(Ordering::Relaxed);
    endpoint.close();
    before
}

#[tokio::test]
async fn a_reader_steps_behind_whom_it_woke_where_there_is_one_thread() {
    // In a task: what the runtime itself waits for has turns of its own.
    assert_eq!(tokio::spawn(reads_before_the_woken()).await.unwrap(), 1);
}

/// Case U13 of `spec/cases.md`.
#[tokio::test]
async fn datagrams_of_no_bytes_and_of_all_that_ip_takes_are_answered_with_nothing() {
    // r[verify datagram.size]
    const BYTES_MAX: usize = 65_507;
    let listener = crate::listen("127.0.0.1:0").await.unwrap();
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(listener.local_addr()).await.unwrap();
    let now = Instant::now();
    let mut client = SetUpClient::new(now, PEER, PARAMS, Nonce(5));
    let init = client.poll_transmit(now).expect("it is time");
    // A whole INIT, if it weren't for its length.
    let mut long = init.clone();
    long.resize(BYTES_MAX, 0);
    packet::seal(&mut long);
    for strange in [&[][..], &[0; BYTES_MAX], &[0x41; BYTES_MAX], &long, &[]] {
        assert_eq!(socket.send(strange).await.unwrap(), strange.len());
    }
    // What came before was seen before.
    socket.send(&init).await.unwrap();
    let mut answer = [0; 2000];
    let received = timeout(Duration::from_secs(10), socket.recv(&mut answer)).await;
    let bytes = received.expect("in time").expect("an answer");
    assert!(InitAck::decode(&answer[..bytes]).is_some(), "the answer to a whole INIT");
    let further = socket.try_recv(&mut answer).expect_err("nothing else is answered");
    assert_eq!(further.kind(), io::ErrorKind::WouldBlock);
}
