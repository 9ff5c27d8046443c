//! Rows 1 to 4: this side refuses the call, and the peer never hears of it.

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};

use rpc_core::{Call, Channel, Delivery, ErrorKind, Limits, RpcError, transport::memory};

use super::{
    LabClient, Sealed, failure,
    phases::{Client, Phase, Setting, WAITING, channel},
    settle,
    wire::{self, MESSAGE_BYTES, METADATA_BYTES, Wire, octets},
};
use crate::raw::PIPE_BYTES;

fn what(error: &RpcError) -> (ErrorKind, Delivery) {
    (error.kind(), error.delivery())
}

/// A channel with a connection, and the hello of the peer at its other end.
async fn connected(limits: Limits, hello: Vec<u8>) -> (Client, Wire) {
    let client = Client::new(channel().limits(limits));
    let (mut wire, _) = client.line(PIPE_BYTES);
    wire.send(hello).await;
    answer_one(&client, &mut wire).await;
    (client, wire)
}

/// A call that goes well, and is all that goes over the wire.
async fn answer_one(client: &Client, wire: &mut Wire) {
    let call = client.start(1, None);
    settle().await;
    let mut frames = wire.frames().await;
    frames.retain(|frame| !frame.is_hello());
    wire.send(wire::reply(frames[0].lane, 0, &octets(b"fine"))).await;
    assert_eq!(call.await.unwrap().unwrap(), b"fine");
    assert_eq!(wire::words(frames), "request");
}

// r[verify delivery.table]
#[tokio::test(start_paused = true)]
async fn row_01_arguments_that_cannot_be_encoded_are_not_sent() {
    let (client, mut wire) = connected(Limits::default(), wire::hello()).await;
    let error = client.lab.sealed(Sealed(true)).await.unwrap_err();
    assert_eq!(what(&error), (ErrorKind::MalformedRequest, Delivery::NotSent));
    // A key that can't be expressed is one of them.
    let error = client.lab.even(2).metadata("", "value").await.unwrap_err();
    let error = error.rpc().unwrap();
    assert_eq!(what(error), (ErrorKind::MalformedRequest, Delivery::NotSent));
    answer_one(&client, &mut wire).await;
}

/// A call that is above a limit.
type TooLarge = fn(&LabClient) -> Call<Vec<u8>>;

// r[verify delivery.table]
#[tokio::test(start_paused = true)]
async fn row_02_arguments_and_metadata_above_a_limit_are_not_sent() {
    let ours = |message_bytes| {
        let mut limits = Limits::default();
        limits.message_bytes = message_bytes;
        limits
    };
    let theirs = |at, bytes: u32| wire::hello_with(at, &bytes.to_le_bytes());
    let default = ours(Limits::default().message_bytes);
    let cases: [(Limits, Vec<u8>, TooLarge); 5] = [
        (ours(1000), wire::hello(), |lab| lab.echo(vec![0; 993])),
        (default.clone(), theirs(MESSAGE_BYTES, 1000), |lab| lab.echo(vec![0; 993])),
        (default.clone(), theirs(METADATA_BYTES, 100), |lab| {
            lab.echo(Vec::new()).metadata("key", vec![0; 100])
        }),
        // What no peer accepts.
        (default.clone(), wire::hello(), |lab| lab.echo(Vec::new()).metadata("key", vec![0; 9000])),
        (default, wire::hello(), |lab| {
            (0..65).fold(lab.echo(Vec::new()), |call, _| call.metadata("key", ""))
        }),
    ];
    for (limits, hello, call) in cases {
        let (client, mut wire) = connected(limits, hello).await;
        let error = call(&client.lab).await.unwrap_err();
        assert_eq!(what(&error), (ErrorKind::TooLarge, Delivery::NotSent), "{error}");
        answer_one(&client, &mut wire).await;
    }
}

#[tokio::test(start_paused = true)]
async fn row_02_arguments_that_waited_for_a_hello_that_forbids_them_are_not_sent() {
    let mut scene = Phase::Hello.reach().await;
    scene.wire.send(wire::hello_with(MESSAGE_BYTES, &1000_u32.to_le_bytes())).await;
    let failed = failure(&mut scene.call).await;
    assert_eq!(failed, (ErrorKind::TooLarge, Delivery::NotSent));
    assert_eq!(scene.left().await, "");
    scene.works_on().await;
}

// r[verify delivery.table]
#[tokio::test(start_paused = true)]
async fn row_03_a_call_too_many_is_not_sent() {
    for phase in WAITING {
        let mut limits = Limits::default();
        limits.waiting_calls = 1;
        let channel = channel().limits(limits);
        let mut scene = phase.reach_with(Setting { channel, ..Setting::default() }).await;
        let mut one_more = scene.client.start(phase.bytes(), None);
        let failed = failure(&mut one_more).await;
        assert_eq!(failed, (ErrorKind::Overloaded, Delivery::NotSent), "{phase:?}");
        assert_eq!(scene.left().await, "", "{phase:?}");
    }
}

// r[verify delivery.table]
#[tokio::test(start_paused = true)]
async fn row_04_whoever_does_not_wait_for_a_connection_learns_that_there_is_none() {
    let none = (ErrorKind::ConnectionLost, Delivery::NotSent);
    let client = Client::new(channel().fail_fast(true));
    let mut call = client.start(1, None);
    settle().await;
    client.refuse();
    assert_eq!(failure(&mut call).await, none);

    // Nor does it wait where no attempt may begin yet.
    let client = Client::new(Channel::builder().fail_fast(true));
    client.refuse();
    assert_eq!(failure(&mut client.start(1, None)).await, none);
    let mut call = pin!(client.lab.echo(Vec::new()));
    let polled = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    let Poll::Ready(Err(error)) = polled else { panic!("it fails at its first poll: {polled:?}") };
    assert_eq!(what(&error), none);

    let nobody = memory::connector("row 4");
    assert_eq!(what(&Channel::connect(nobody).await.unwrap_err()), none);
}

/// There is no point in waiting then, whatever the caller asked for.
#[tokio::test(start_paused = true)]
async fn row_04_whoever_waits_for_a_peer_learns_that_another_protocol_answers() {
    let client = Client::new(channel());
    let (mut wire, _) = client.line(PIPE_BYTES);
    wire.send(b"HTTP/1.1 400 Bad Request").await;
    let failed = failure(&mut client.start(1, None)).await;
    assert_eq!(failed, (ErrorKind::IncompatiblePeer, Delivery::NotSent));
    assert_eq!(wire.words().await, "");
}
