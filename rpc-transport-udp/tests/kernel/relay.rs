//! A relay between a client and a server that holds each datagram back for a time of its own, so that
//! they overtake each other.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::net::UdpSocket;

/// A relay for one client. Its tasks end with the runtime.
pub(crate) struct Relay {
    /// Where it takes the server's place.
    pub(crate) address: SocketAddr,
    overtaken: Arc<AtomicU64>,
}

impl Relay {
    /// How many datagrams were sent on behind one that had come later.
    pub(crate) fn overtaken(&self) -> u64 {
        self.overtaken.load(Ordering::Relaxed)
    }
}

/// Starts one. Datagrams wait for up to `delay_ms`.
pub(crate) async fn start(server: SocketAddr, delay_ms: u64) -> Relay {
    let near = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap());
    let far = Arc::new(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await.unwrap());
    far.connect(server).await.unwrap();
    let address = near.local_addr().unwrap();
    let overtaken = Arc::<AtomicU64>::default();
    let client = Arc::new(Mutex::new(None));
    for upwards in [true, false] {
        let (near, far) = (Arc::clone(&near), Arc::clone(&far));
        let (client, overtaken) = (Arc::clone(&client), Arc::clone(&overtaken));
        tokio::spawn(async move {
            let latest = Arc::<AtomicU64>::default();
            let mut buffer = [0; 2048];
            for number in 1.. {
                let length = if upwards {
                    let Ok((length, from)) = near.recv_from(&mut buffer).await else { continue };
                    *client.lock().unwrap() = Some(from);
                    length
                } else {
                    let Ok(length) = far.recv(&mut buffer).await else { continue };
                    length
                };
                let datagram = buffer[..length].to_vec();
                let (near, far) = (Arc::clone(&near), Arc::clone(&far));
                let (latest, overtaken) = (Arc::clone(&latest), Arc::clone(&overtaken));
                let client = *client.lock().unwrap();
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(fastrand::u64(0..=delay_ms))).await;
                    if latest.fetch_max(number, Ordering::Relaxed) > number {
                        overtaken.fetch_add(1, Ordering::Relaxed);
                    }
                    // What can't be sent is lost.
                    let _ = match client {
                        Some(client) if !upwards => near.send_to(&datagram, client).await,
                        _ => far.send(&datagram).await,
                    };
                });
            }
        });
    }
    Relay { address, overtaken }
}
