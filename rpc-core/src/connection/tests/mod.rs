//! What the driver does with the buffer of large messages that its connection keeps; `times` is about
//! what it does by when, `turns` about how often it gets its turn.

mod times;
mod turns;

use std::future::poll_fn;

use super::*;
use crate::{
    clock,
    frame::{Metadata, Role},
    limits::Limits,
    mux::{Opened, Settings},
    service::MethodId,
    transport::{Transport, memory::pair},
};

const MIB: usize = 1024 * 1024;

const CONFIG: DriverConfig =
    DriverConfig { hello_timeout: Duration::from_secs(5), idle_timeout: None };

/// A connection, and the task that drives it.
fn drive<T: Transport>(role: Role, transport: T) -> (Arc<Connection>, tokio::task::JoinHandle<()>) {
    let (connection, driver) = driver(role, transport);
    (connection, tokio::spawn(driver))
}

fn driver<T: Transport>(role: Role, transport: T) -> (Arc<Connection>, Driver<T>) {
    let limits = Limits::default();
    let settings =
        Settings { limits, keepalive: None, frame_bytes: 65_536, instance: 1, cautious: false };
    let connection = Connection::new(role, settings);
    let router = Arc::new(Router::new(Vec::new(), Capacity::default()).unwrap());
    let driver = Driver::new(Arc::clone(&connection), transport, router, CONFIG);
    (connection, driver)
}

/// Makes a call that the peer has no method for, and waits for its end.
async fn call(connection: &Connection, bytes: usize) {
    let now = clock::now();
    let mut body = vec![7; bytes];
    let mut opened = None;
    poll_fn(|cx| {
        if let Some(id) = opened {
            return connection.poll_call(id, cx.waker()).map_or(Poll::Pending, |_| Poll::Ready(()));
        }
        let mut options = CallOptions {
            method: MethodId::from_wire(7),
            idempotent: true,
            oneway: false,
            metadata: &Metadata::new(),
            stream: false,
            tail: None,
            limit: TimeLimit::new(None, now.checked_add(Duration::from_secs(60))),
        };
        match connection.open_call(&mut options, None, &mut body, cx.waker()) {
            Opened::Call(id) => opened = Some(id),
            other => panic!("{other:?}"),
        }
        Poll::Pending
    })
    .await;
}

fn kept(connection: &Connection) -> usize {
    connection.with(|mux| mux.shelf().free_bytes().iter().sum())
}

#[tokio::test(start_paused = true)]
async fn the_buffer_of_large_messages_is_given_back_when_none_comes() {
    let (near, far) = pair();
    let (client, _driving) = drive(Role::Connector, near);
    let (server, _serving) = drive(Role::Acceptor, far);
    // A small one first: by then the two know each other's limits.
    call(&client, 10).await;
    call(&client, 2 * MIB).await;
    assert!(kept(&server) >= 2 * MIB);
    tokio::time::sleep(Duration::from_millis(2100)).await;
    assert_eq!(kept(&server), 0, "nothing happens on the connection");

    call(&client, 2 * MIB).await;
    for _ in 0..25 {
        assert!(client.closed().is_none());
        tokio::time::sleep(Duration::from_millis(100)).await;
        call(&client, 10).await;
    }
    assert_eq!(kept(&server), 0, "only small calls came");
}

#[tokio::test(start_paused = true)]
async fn the_buffer_of_large_messages_goes_with_the_connection() {
    let (near, far) = pair();
    let (client, driving) = drive(Role::Connector, near);
    let (server, serving) = drive(Role::Acceptor, far);
    // A small one first: by then the two know each other's limits.
    call(&client, 10).await;
    call(&client, 2 * MIB).await;
    assert!(kept(&server) >= 2 * MIB);
    client.retire();
    driving.await.unwrap();
    serving.await.unwrap();
    assert_eq!(kept(&server), 0);
}
