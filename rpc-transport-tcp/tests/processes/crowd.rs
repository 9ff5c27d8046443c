//! A process that stands for many peers of raw bytes, each on a connection of its own.

use std::{
    io::{Read, Write},
    net::TcpStream,
    thread,
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
    /// It says hello, asks for [`REPLIES`] replies of [`REPLY_BYTES`], and reads a byte at a time.
    Sips,
    /// It says hello, announces a frame of [`REPLY_BYTES`], and sends a byte of it at a time.
    Drips,
    /// It says half of a hello, and the rest a byte at a time.
    Stammers,
    /// It says half of a hello.
    Breaks,
    /// It comes, says hello, asks for something, and is gone before it has any answer.
    Storms,
}

/// What the frame of a peer that sends half of one claims to be.
pub(crate) const CLAIMED: u32 = 16 << 20;

/// What such a peer sends of it.
const SENT: usize = 64 * 1024;

/// What a peer that reads slowly asks for: replies of one frame each, in as many calls as it may have.
pub(crate) const REPLIES: u64 = 1000;
pub(crate) const REPLY_BYTES: u32 = 32 * 1024;

/// From one byte to the next of those who take their time.
const PAUSE: Duration = Duration::from_millis(50);

impl Manner {
    const ALL: [Self; 9] = [
        Self::Calls,
        Self::Silent,
        Self::Claims,
        Self::Begins,
        Self::Sips,
        Self::Drips,
        Self::Stammers,
        Self::Breaks,
        Self::Storms,
    ];

    /// What each peer has sent when it stands still.
    pub(crate) fn sent(self) -> Vec<u8> {
        let mut bytes = raw::hello();
        match self {
            Self::Silent => bytes.clear(),
            Self::Calls | Self::Storms => bytes.extend(raw::request(0, "run", 1)),
            Self::Claims => bytes.extend(raw::prefix(CLAIMED, true, raw::lane(0))),
            Self::Begins => {
                let request = raw::request(0, "run", 1);
                bytes.extend(raw::prefix(CLAIMED, true, raw::lane(0)));
                bytes.extend(&request[12..]);
                bytes.resize(bytes.len() + SENT - (request.len() - 12), 7);
            }
            Self::Sips => {
                let request = |n| raw::request(n, "fill", REPLY_BYTES.into());
                bytes.extend((0..REPLIES).flat_map(request));
            }
            Self::Drips => bytes.extend(raw::prefix(REPLY_BYTES, true, raw::lane(0))),
            Self::Stammers | Self::Breaks => bytes.truncate(HELLO_BYTES / 2),
        }
        bytes
    }

    /// What a peer does after each pause, for the time being the `nth`. Who is closed to it goes on.
    fn goes_on(self, peer: &mut TcpStream, nth: usize) {
        let hello = raw::hello();
        let _ = match self {
            Self::Sips => peer.read(&mut [0]),
            Self::Drips => peer.write(&[7]),
            Self::Stammers => peer.write(hello[HELLO_BYTES / 2..].get(nth..=nth).unwrap_or(&[])),
            _ => Ok(0),
        };
    }
}

/// Starts a crowd of `peers` peers, and waits until they stand still, or are all there.
pub(crate) async fn gather(address: &str, peers: u64, manner: Manner) -> Process {
    let mut crowd = call_up(address, peers, manner);
    crowd.told("standing").await;
    crowd
}

/// Starts one. It says `standing` when all of its peers have done what they do.
pub(crate) fn call_up(address: &str, peers: u64, manner: Manner) -> Process {
    let (peers, manner) = (peers.to_string(), format!("{manner:?}"));
    let parameters = [("ADDRESS", address), ("PEERS", &peers), ("MANNER", &manner)];
    Process::start("crowd", &parameters, None)
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
        if manner != Manner::Storms {
            crowd.push(peer);
        }
    }
    tell("standing");
    thread::spawn(move || {
        for nth in 0.. {
            thread::sleep(PAUSE);
            crowd.iter_mut().for_each(|peer| manner.goes_on(peer, nth));
        }
    });
    orders().for_each(drop);
}
