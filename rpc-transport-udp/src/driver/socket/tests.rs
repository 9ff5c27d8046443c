//! Sockets of the system against each other over loopback: what is received, asked for or not.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::io::Write;

use bytes::Bytes;

use super::*;
use crate::proto::{
    session::Side,
    tests::craft::{Victim, Writer},
};

/// Receives until there is nothing more. Returns how many pieces came.
fn pieces(kernel: &Kernel) -> usize {
    let (mut cx, mut count) = (Context::from_waker(std::task::Waker::noop()), 0);
    while kernel.poll_recv(&mut cx, &mut |_| count += 1).is_ready() {}
    count
}

/// One call has no room for all, and no further wake-up comes for the rest.
#[tokio::test]
async fn a_socket_that_was_calm_misses_nothing_of_what_comes_at_once() {
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = receiver.local_addr().unwrap();
    receiver.set_nonblocking(true).unwrap();
    let kernel = Kernel::new(receiver).unwrap();
    // Of different senders, so that the kernel puts nothing together.
    let senders = [0; 2 * BUFFERS + 1].map(|_| UdpSocket::bind("127.0.0.1:0").unwrap());
    for at_once in [1, BUFFERS_CALM, 1, BUFFERS_CALM + 1, 1, BUFFERS, 1, senders.len()] {
        for sender in senders.iter().take(at_once) {
            sender.send_to(&[7; 10], to).unwrap();
        }
        let ready = std::future::poll_fn(|cx| kernel.socket.poll_recv(cx, |_| Ok(())));
        ready.await.unwrap();
        assert_eq!(pieces(&kernel), at_once);
        // So what follows comes at few buffers.
        assert!(kernel.is_calm.load(Ordering::Relaxed) || at_once > 1);
    }
}

/// A socket that has just received, and one that is connected to it.
async fn calm_pair() -> (Kernel, UdpSocket) {
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    receiver.set_nonblocking(true).unwrap();
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    sender.connect(receiver.local_addr().unwrap()).unwrap();
    let kernel = Kernel::new(receiver).unwrap();
    for _ in 0..BARE_BEHIND {
        assert_eq!(kernel.bare.load(Ordering::Relaxed), 0);
        sender.send(&[7; 10]).unwrap();
        received(&kernel).await;
    }
    assert!(BARE_IN_A_ROW.contains(&kernel.bare.load(Ordering::Relaxed)));
    (kernel, sender)
}

/// Waits for the next, and receives until there is nothing more: lengths, strides, marks.
async fn received(kernel: &Kernel) -> Vec<(usize, usize, bool)> {
    std::future::poll_fn(|cx| kernel.socket.poll_recv(cx, |_| Ok(()))).await.unwrap();
    let (mut cx, mut out) = (Context::from_waker(std::task::Waker::noop()), Vec::new());
    let mut note = |piece: Piece<'_>| out.push((piece.bytes.len(), piece.stride, piece.marked));
    while kernel.poll_recv(&mut cx, &mut note).is_ready() {}
    out
}

// r[verify congestion.ecn]
#[tokio::test]
async fn of_lone_datagrams_some_tell_of_congestion_and_nobody_can_say_which() {
    let (kernel, sender) = calm_pair().await;
    SockRef::from(&sender).set_tos_v4(EcnCodepoint::Ce as u32).unwrap();
    let (mut bare, mut rows) = (0, Vec::new());
    while rows.len() < 200 {
        sender.send(&[7; 100]).unwrap();
        let pieces = received(&kernel).await;
        let [(100, 100, is_marked)] = pieces[..] else { panic!("{pieces:?}") };
        if is_marked {
            rows.push(bare);
        }
        bare = if is_marked { 0 } else { bare + 1 };
    }
    assert!(rows.iter().all(|bare| BARE_IN_A_ROW.contains(bare)), "{rows:?}");
    // That 200 draws leave out one of the thirteen is one chance in ten million; five of them, none.
    rows.sort_unstable();
    rows.dedup();
    assert!(rows.len() > 8, "{rows:?}");
}

// r[verify congestion.ecn]
#[tokio::test]
async fn large_datagrams_tell_of_congestion_though_they_come_one_at_a_time() {
    let (kernel, sender) = calm_pair().await;
    SockRef::from(&sender).set_tos_v4(EcnCodepoint::Ce as u32).unwrap();
    for (nth, bytes) in [1001, 1452, 1001, 1000, 40, 40, 40, 40].into_iter().enumerate() {
        sender.send(&vec![7; bytes]).unwrap();
        // But for the first, for nobody knows what comes; and four short ones have to come again.
        let is_told = (1..=6).contains(&nth);
        assert_eq!(received(&kernel).await, [(bytes, bytes, is_told)], "nth: {nth}");
    }
}

// r[verify congestion.ecn]
#[tokio::test]
async fn what_comes_together_tells_of_congestion_but_for_the_first() {
    let (kernel, sender) = calm_pair().await;
    SockRef::from(&sender).set_tos_v4(EcnCodepoint::Ce as u32).unwrap();
    (0..6).for_each(|_| assert_eq!(sender.send(&[7; 100]).unwrap(), 100));
    kernel.bare.store(5, Ordering::Relaxed);
    let pieces = received(&kernel).await;
    let marks = [false, false, true, true, true, true];
    assert_eq!(pieces, marks.map(|mark| (100, 100, mark)), "the second is found by looking");
}

// r[verify congestion.ecn]
#[tokio::test]
async fn rows_that_the_system_puts_together_tell_of_congestion_beside_lone_datagrams() {
    let (kernel, sender) = calm_pair().await;
    let state = UdpSocketState::new(UdpSockRef::from(&sender)).unwrap();
    if state.max_gso_segments() < 3 {
        let _ = writeln!(io::stderr(), "SKIPPED: the system puts nothing together");
        return;
    }
    let row = [7; 3600];
    for round in 0..20 {
        let transmit = quinn_udp::Transmit {
            destination: sender.peer_addr().unwrap(),
            ecn: Some(EcnCodepoint::Ce),
            contents: &row,
            segment_size: Some(1200),
            src_ip: None,
        };
        state.try_send(UdpSockRef::from(&sender), &transmit).unwrap();
        let [(3600, stride, is_told)] = received(&kernel).await[..] else { panic!("{round}") };
        // Nobody asked about the first.
        let asked = (stride, is_told) == (1200, true);
        assert!(asked || round == 0, "{round}: {stride}");
        sender.send(&[7; 40]).unwrap();
        assert_eq!(received(&kernel).await.len(), 1);
    }
}

#[tokio::test]
async fn datagrams_that_were_put_together_are_told_apart_unasked() {
    // Of what is longer than a datagram it is clear at once that it is several.
    for (payload, is_clear) in [(&[0; 80][..], false), (&[0; 700], true)] {
        let (kernel, sender) = calm_pair().await;
        let state = UdpSocketState::new(UdpSockRef::from(&sender)).unwrap();
        if state.max_gso_segments() < 3 {
            let _ = writeln!(io::stderr(), "SKIPPED: the system puts nothing together");
            return;
        }
        let frames = Writer::new().last(0, 4, 0, payload);
        let datagram = Victim::new(Side::Server).packet(1, &frames);
        let row = datagram.repeat(3);
        let transmit = quinn_udp::Transmit {
            destination: sender.peer_addr().unwrap(),
            ecn: None,
            contents: &row,
            segment_size: Some(datagram.len()),
            src_ip: None,
        };
        state.try_send(UdpSockRef::from(&sender), &transmit).unwrap();
        // One more than the row: that it is asked about the next is then the row's doing.
        kernel.bare.store(2, Ordering::Relaxed);
        let stride = if is_clear { datagram.len() } else { row.len() };
        assert_eq!(received(&kernel).await, [(row.len(), stride, false)]);
        let (from, to) = (sender.local_addr().unwrap(), None);
        let piece = Piece { from, to, marked: false, bytes: &row, stride };
        assert_eq!(piece.told_apart().stride, datagram.len());
        // Whoever sends so sends more: next time the system is asked.
        assert_eq!(kernel.bare.load(Ordering::Relaxed) == 0, is_clear);
    }
}

// r[verify congestion.ecn]
#[tokio::test]
async fn every_datagram_says_that_it_may_be_marked() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let receiver = UdpSocket::bind(address).unwrap();
        let state = UdpSocketState::new(UdpSockRef::from(&receiver)).unwrap();
        receiver.set_nonblocking(false).unwrap();
        let (to, contents) = (receiver.local_addr().unwrap(), Bytes::from_static(&[7; 100]));
        for is_connected in [true, false] {
            let socket = UdpSocket::bind(address).unwrap();
            socket.set_nonblocking(true).unwrap();
            if is_connected {
                socket.connect(to).unwrap();
            }
            let kernel = Kernel::new(socket).unwrap();
            assert_eq!(kernel.known.expect("it is marked").to, is_connected.then_some(to));
            // One datagram, and two at once.
            for (segment_bytes, source) in [(100, None), (100, Some(to.ip())), (50, None)] {
                let transmit = Transmit { to, bytes: contents.clone(), segment_bytes };
                kernel.try_send(&transmit, source).unwrap();
                let mut meta = [RecvMeta::default()];
                let mut buffer = [0; 200];
                let mut buffers = [IoSliceMut::new(&mut buffer)];
                state.recv(UdpSockRef::from(&receiver), &mut buffers, &mut meta).unwrap();
                let expected = Some(EcnCodepoint::Ect0);
                assert_eq!(meta[0].ecn, expected, "{to}, {segment_bytes} bytes each");
                assert_eq!((meta[0].len, meta[0].stride), (100, segment_bytes));
            }
        }
    }
}
