//! The network of the model: datagrams that were sent, each of which may arrive at any later time, any
//! number of times, or never; nobody's rules.
//!
//! Packets, and sets of them, are kept once and named by number, so that a state of the model is small.

use std::{collections::HashMap, hash::Hash, time::Duration};

use crate::proto::packet::Epoch;

/// Values that are named by their number.
#[derive(Debug)]
pub(super) struct Names<T> {
    numbers: HashMap<T, u32>,
    values: Vec<T>,
}

impl<T: Clone + Eq + Hash> Names<T> {
    pub(super) fn new() -> Self {
        Self { numbers: HashMap::new(), values: Vec::new() }
    }

    pub(super) fn name(&mut self, value: T) -> u32 {
        let next = u32::try_from(self.values.len()).expect("as many as states at most");
        let number = *self.numbers.entry(value.clone()).or_insert(next);
        if number == next {
            self.values.push(value);
        }
        number
    }

    pub(super) fn value(&self, number: u32) -> &T {
        &self.values[usize::try_from(number).expect("it was one")]
    }
}

/// A session that a client was offered: the number of what it got to know of it.
pub(super) type Offer = u32;

/// What a client knows of a session.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Offered {
    pub(super) id: u64,
    pub(super) epoch: Epoch,
    pub(super) cookie: [u8; 40],
    pub(super) retention: Duration,
}

/// One of the two addresses that the client has, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Place {
    First,
    Second,
}

/// A request in a lane frame: the frame's number, which the session goes by, and the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Frame {
    pub(super) number: u8,
    pub(super) request: u8,
}

/// What is on its way. What only one side reads is kept in the words of the model; what the code of
/// the protocol reads is made into bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Packet {
    Init {
        nonce: u64,
        from: Place,
    },
    /// A client's packet for a session, with the cookie of an offer. Without a frame it is a PING.
    Data {
        session: Offer,
        cookie: Option<Offer>,
        frame: Option<Frame>,
        from: Place,
    },
    /// The bytes of an answer to an INIT: an offer, or that there is none.
    Answer {
        nonce: u64,
        bytes: Vec<u8>,
    },
    /// A server's packet of a session: an acknowledgement, and perhaps the reply to a frame.
    Reply {
        session: Offer,
        number: Option<u8>,
    },
    /// A reset, and how young the requests are that never ran.
    Reset {
        session: Offer,
        never_ran_since: Duration,
    },
}

impl Packet {
    pub(super) fn is_from_server(&self) -> bool {
        matches!(self, Self::Answer { .. } | Self::Reply { .. } | Self::Reset { .. })
    }
}

/// The sets of packets that are on their way at some time.
#[derive(Debug)]
pub(super) struct Nets {
    sets: Names<Vec<u32>>,
    with: HashMap<(u32, u32), u32>,
}

impl Nets {
    pub(super) fn new() -> Self {
        let mut sets = Names::new();
        sets.name(Vec::new());
        Self { sets, with: HashMap::new() }
    }

    /// The packets of a set, in order.
    pub(super) fn packets(&self, net: u32) -> &[u32] {
        self.sets.value(net)
    }

    /// The set that has this packet too.
    pub(super) fn with(&mut self, net: u32, packet: u32) -> u32 {
        if let Some(known) = self.with.get(&(net, packet)) {
            return *known;
        }
        let mut packets = self.sets.value(net).clone();
        if let Err(at) = packets.binary_search(&packet) {
            packets.insert(at, packet);
        }
        let set = self.sets.name(packets);
        self.with.insert((net, packet), set);
        set
    }

    /// The set without those packets that don't matter any more.
    pub(super) fn only(&mut self, net: u32, matters: impl Fn(u32) -> bool) -> u32 {
        let packets = self.sets.value(net);
        let left: Vec<u32> = packets.iter().copied().filter(|it| matters(*it)).collect();
        if left.len() == packets.len() { net } else { self.sets.name(left) }
    }
}
