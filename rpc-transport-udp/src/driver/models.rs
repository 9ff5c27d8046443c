//! Models of a server's endpoint: sessions that come, are accepted and end, beside the task that reads the socket.

use std::{
    future::poll_fn,
    sync::{Arc, Mutex, Weak},
    task::{Context, Poll},
};

use shuttle::{future::block_on, thread};

use super::{
    endpoint::Endpoint,
    socket::{Datagrams, Piece},
    tests::{PEER, Scripted, first_datagram, table},
};
use crate::{models::check, proto::session::Budget};

/// An endpoint of a socket at which so much comes, the last first, and then nothing that would wake
/// anybody.
fn endpoint(datagrams: Vec<Vec<u8>>) -> Arc<Endpoint> {
    endpoint_and_socket(datagrams).0
}

fn endpoint_and_socket(datagrams: Vec<Vec<u8>>) -> (Arc<Endpoint>, Weak<dyn Datagrams>) {
    let datagrams = Mutex::new(datagrams);
    let socket = Scripted(move |take: &mut dyn FnMut(Piece<'_>)| {
        let next = datagrams.lock().expect("nobody panics with it").pop();
        let Some(bytes) = next else { return Poll::Pending };
        take(Piece { from: PEER, to: None, marked: false, bytes: &bytes, stride: bytes.len() });
        Poll::Ready(Ok(()))
    });
    let socket: Arc<dyn Datagrams> = Arc::new(socket);
    let weak = Arc::downgrade(&socket);
    (Endpoint::start(socket, table(), Budget::new(1 << 20)), weak)
}

#[test]
fn a_session_that_comes_is_accepted_and_has_its_datagrams() {
    check(|| {
        let first = first_datagram();
        // The same twice: the second is for the session that the first has begun.
        let endpoint = endpoint(vec![first.clone(), first]);
        let begun = block_on(poll_fn(|cx| endpoint.poll_accept(cx))).expect("a session");
        let session = begun.agreed.id;
        let mut taken = 0;
        while taken < 2 {
            let mut pieces = std::collections::VecDeque::new();
            block_on(poll_fn(|cx| {
                begun.inbound.poll_take(cx, &mut pieces).map_or(Poll::Pending, Poll::Ready)
            }))
            .expect("the socket is there");
            taken += pieces.len();
        }
        let closing = Arc::clone(&endpoint);
        let listener = thread::spawn(move || closing.close());
        endpoint.end(session);
        listener.join().unwrap();
    });
}

#[test]
fn the_socket_is_closed_when_its_listener_has_gone() {
    check(|| {
        let (endpoint, socket) = endpoint_and_socket(vec![vec![0x41; 40], vec![0x41; 40]]);
        endpoint.close();
        // Its address is free: the task that reads may run, but has let go of it.
        assert_eq!(socket.strong_count(), 0);
    });
}

#[test]
fn a_listener_goes_while_a_session_comes() {
    check(|| {
        let endpoint = endpoint(vec![first_datagram()]);
        let closing = Arc::clone(&endpoint);
        let listener = thread::spawn(move || closing.close());
        let accepted = {
            let cx = Context::from_waker(std::task::Waker::noop());
            endpoint.poll_accept(&cx)
        };
        if let Poll::Ready(Ok(begun)) = accepted {
            endpoint.end(begun.agreed.id);
        }
        listener.join().unwrap();
        // `check` waits for the task that reads: nobody needs it any more.
    });
}
