//! Whether a server sends more to strangers than came from them: judged from the datagrams alone.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
};

use crate::proto::{
    frame::{Frame, Frames},
    packet::{self, InitAck},
};

/// What went to and came from each address, as seen from outside of one run of a server.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    addresses: HashMap<SocketAddr, Account>,
}

#[derive(Debug, Default)]
struct Account {
    came: u64,
    went: u64,
    is_proved: bool,
    cookies: HashSet<[u8; 40]>,
    questions: HashSet<[u8; 8]>,
}

impl Meter {
    /// A datagram came from an address.
    pub(crate) fn note_arrival(&mut self, from: SocketAddr, datagram: &[u8]) {
        let account = self.addresses.entry(from).or_default();
        account.came += datagram.len() as u64;
        let Some(data) = packet::decode_data(datagram) else { return };
        account.is_proved |= data.cookie.is_some_and(|cookie| account.cookies.contains(cookie));
        for frame in Frames::new(data.frames).flatten() {
            if let Frame::Answer(answer) = frame {
                account.is_proved |= account.questions.contains(&answer);
            }
        }
    }

    /// A datagram is sent to an address.
    pub(crate) fn note_sent(&mut self, to: SocketAddr, datagram: &[u8]) {
        let account = self.addresses.entry(to).or_default();
        account.went += datagram.len() as u64;
        if let Some(ack) = InitAck::decode(datagram) {
            account.cookies.insert(ack.cookie);
        }
        if let Some(data) = packet::decode_data(datagram) {
            for frame in Frames::new(data.frames).flatten() {
                if let Frame::Challenge(question) = frame {
                    account.questions.insert(question);
                }
            }
        }
        // Stricter than the threefold that RFC 9000 allows.
        let Account { came, went, is_proved, .. } = *account;
        assert!(is_proved || went <= came, "{went} bytes to {to}, which sent {came}");
    }
}
