//! The transport contract, over every transport of this crate, as the kit checks it.

use std::future::poll_fn;

use bytes::Bytes;
use rpc_core::{
    testing::{adversary::Adversary, conformance},
    transport::{
        Address, Connector, InFrame, Inbox, Listener, Peer, Transport, TransportError, memory,
        stream::StreamTransport,
    },
};
use tokio::io::{AsyncWriteExt, BufStream, DuplexStream};

type Stream = StreamTransport<DuplexStream>;

/// One connection through a listener and a connector.
async fn connect<L: Listener>(
    mut listener: L,
    connector: impl Connector<Transport = L::Transport>,
) -> (L::Transport, L::Transport) {
    let accepting = poll_fn(|cx| listener.poll_accept(cx));
    let (client, server) = tokio::join!(connector.connect(), accepting);
    (client.unwrap(), server.unwrap())
}

fn duplex(buffer_bytes: usize) -> (Stream, Stream) {
    let (a, b) = tokio::io::duplex(buffer_bytes);
    let transport = |io| StreamTransport::new(io, Peer::new(Address::Unnamed));
    (transport(a), transport(b))
}

#[tokio::test(start_paused = true)]
async fn memory_pair() {
    conformance::run(|| async { memory::pair() }).await;
}

#[tokio::test(start_paused = true)]
async fn memory_listener_and_connector() {
    conformance::run(|| async {
        let listener = memory::listen("conformance:0").await.unwrap();
        let connector = memory::connector(listener.local_addr());
        connect(listener, connector).await
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn adversary_pair() {
    for seed in 0..20 {
        let adversary = Adversary::new(seed);
        conformance::run(|| async { adversary.pair() }).await;
    }
}

#[tokio::test(start_paused = true)]
async fn adversary_with_frames_of_a_datagram() {
    let adversary = Adversary::new(0).frame_bytes(1100);
    conformance::run(|| async { adversary.pair() }).await;
}

#[tokio::test(start_paused = true)]
async fn adversary_listener_and_connector() {
    let adversary = Adversary::new(1);
    conformance::run(|| connect(adversary.listen(), adversary.connector())).await;
}

#[tokio::test(start_paused = true)]
async fn stream_over_a_large_buffer() {
    conformance::run(|| async { duplex(64 * 1024) }).await;
}

#[tokio::test(start_paused = true)]
async fn stream_over_a_buffer_of_odd_size() {
    conformance::run(|| async { duplex(1009) }).await;
}

/// Every prefix, header and preface is cut somewhere.
#[tokio::test(start_paused = true)]
async fn stream_over_a_buffer_of_16_bytes() {
    conformance::run(|| async { duplex(16) }).await;
}

/// A stream that takes bytes before the layer below does, as TLS does: it has to be flushed.
#[tokio::test(start_paused = true)]
async fn stream_that_buffers_what_it_takes() {
    conformance::run(|| async {
        let (a, b) = tokio::io::duplex(200);
        let buffered = |io| BufStream::with_capacity(1000, 1000, io);
        let transport = |io| StreamTransport::new(buffered(io), Peer::new(Address::Unnamed));
        (transport(a), transport(b))
    })
    .await;
}

#[cfg(unix)]
#[tokio::test]
async fn stream_over_a_unix_socket() {
    conformance::run(|| async {
        let (a, b) = tokio::net::UnixStream::pair().unwrap();
        let transport = |io| StreamTransport::new(io, Peer::new(Address::Unnamed));
        (transport(a), transport(b))
    })
    .await;
}

struct Nothing;

impl Inbox for Nothing {
    fn push(&mut self, frame: InFrame<'_>) {
        panic!("there is no frame, but {frame:?} came");
    }

    fn frame_bytes_max(&self) -> usize {
        1000
    }
}

/// The length alone is enough: nothing is allocated for the frame and none of it is awaited.
#[tokio::test(start_paused = true)]
async fn a_stream_refuses_a_large_frame_by_its_length() {
    let (mut peer, ours) = tokio::io::duplex(64);
    let mut transport = StreamTransport::new(ours, Peer::new(Address::Unnamed));
    let mut bytes = Bytes::from_static(b"\x89RPC\r\n\x1a\x01\xff\xff\xff\x7f\0\0\0\0\0\0\0\0");
    peer.write_all_buf(&mut bytes).await.unwrap();
    let error = poll_fn(|cx| transport.poll_recv(cx, &mut Nothing)).await.unwrap_err();
    let TransportError::FrameTooLarge { bytes, limit } = error else { panic!("{error}") };
    assert_eq!((bytes, limit), (0x7fff_ffff, 1000));
}
