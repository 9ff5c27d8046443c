//! A process that stands for many peers of raw bytes, each on a connection of its own.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use socket2::SockRef;

use crate::{
    process::{Process, orders, parameter, tell},
    raw::{self, HELLO_BYTES},
};

/// What each peer does before it stands still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// It makes one call, and takes the reply.
    Calls,
    /// It says nothing at all.
    Silent,
    /// It says hello and announces a frame of [`CLAIMED`] bytes.
    Claims,
    /// It says hello, announces a frame of [`CLAIMED`] bytes, and sends [`SENT`] of them.
    Begins,
}

/// What the frame of a peer that sends half of one claims to be.
pub(crate) const CLAIMED: u32 = 16 << 20;

/// What such a peer sends of it.
const SENT: usize = 64 * 1024;

impl Manner {
    const ALL: [Self; 4] = [Self::Calls, Self::Silent, Self::Claims, Self::Begins];

    /// What each peer has sent when it stands still.
    pub(crate) fn sent(self) -> Vec<u8> {
        let mut bytes = raw::hello();
        match self {
            Self::Silent => bytes.clear(),
            Self::Calls => bytes.extend(raw::request(0, "run", 1)),
            Self::Claims => bytes.extend(raw::prefix(CLAIMED, true, raw::lane(0))),
            Self::Begins => {
                let request = raw::request(0, "run", 1);
                bytes.extend(raw::prefix(CLAIMED, true, raw::lane(0)));
                bytes.extend(&request[12..]);
                bytes.resize(bytes.len() + SENT - (request.len() - 12), 7);
            }
        }
        bytes
    }
}

/// Starts a crowd of `peers` peers, and waits until they stand still.
pub(crate) async fn gather(address: &str, peers: u64, manner: Manner) -> Process {
    let (peers, manner) = (peers.to_string(), format!("{manner:?}"));
    let parameters = [("ADDRESS", address), ("PEERS", &peers), ("MANNER", &manner)];
    let mut crowd = Process::start("crowd", &parameters, None);
    crowd.told("standing").await;
    crowd
}

/// The role `crowd`: stands until the test is gone, or has seen enough.
pub(crate) fn stand() {
    let address = parameter("ADDRESS").unwrap();
    let peers: usize = parameter("PEERS").unwrap().parse().unwrap();
    let name = parameter("MANNER").unwrap();
    let manner = Manner::ALL.into_iter().find(|manner| format!("{manner:?}") == name).unwrap();
    let sent = manner.sent();
    let mut crowd = Vec::new();
    for _ in 0..peers {
        let mut peer = TcpStream::connect(&address).unwrap();
        // They leave no port behind that rests for a minute.
        SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
        peer.write_all(&sent).unwrap();
        if manner == Manner::Calls {
            peer.read_exact(&mut [0; HELLO_BYTES]).unwrap();
            raw::read_frame(&mut peer).unwrap();
        }
        crowd.push(peer);
    }
    tell("standing");
    orders().for_each(drop);
}
