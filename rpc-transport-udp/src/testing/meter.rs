//! Whether a server sends more to an address than came from there, before that has proved that
//! somebody is there; it only counts.
//!
//! Rules: `spec/datagram.md`, on amplification. To an address from which an INIT of full size came a
//! server sends at most three times what came; to any other no more than came. Proof is what can't be
//! known without having received something there: a cookie, or the answer to a challenge.

use std::{collections::HashMap, net::SocketAddr};

use crate::proto::{
    frame::{Frame, Frames},
    packet::{Init, InitAck, decode_data},
};

/// How much more may be sent than came, once an INIT did.
const FACTOR: u64 = 3;

/// The books of all servers of a network.
#[derive(Debug, Default)]
pub(super) struct Meter {
    accounts: HashMap<(u64, SocketAddr), Account>,
    violation: Option<String>,
}

/// What went between one server and one address.
#[derive(Debug, Default)]
struct Account {
    came: u64,
    went: u64,
    has_init: bool,
    is_proved: bool,
    /// What somebody at that address could know only from there.
    cookies: Vec<[u8; 40]>,
    questions: Vec<[u8; 8]>,
}

impl Meter {
    /// The first time that too much was sent.
    pub(super) fn violation(&self) -> Option<&str> {
        self.violation.as_deref()
    }

    /// A server takes a datagram.
    pub(super) fn note_came(&mut self, server: u64, from: SocketAddr, datagram: &[u8]) {
        let account = self.accounts.entry((server, from)).or_default();
        if account.is_proved {
            return;
        }
        account.came += datagram.len() as u64;
        account.has_init |= Init::decode(datagram).is_some();
        let Some(data) = decode_data(datagram) else { return };
        let has_cookie = data.cookie.is_some_and(|cookie| account.cookies.contains(cookie));
        let mut frames = Frames::new(data.frames).map_while(Result::ok);
        let answers = frames.any(|frame| match frame {
            Frame::Answer(answer) => account.questions.contains(&answer),
            _ => false,
        });
        if has_cookie || answers {
            *account = Account { is_proved: true, ..Account::default() };
        }
    }

    /// A server sends a datagram.
    pub(super) fn note_went(&mut self, server: u64, to: SocketAddr, datagram: &[u8]) {
        let account = self.accounts.entry((server, to)).or_default();
        if account.is_proved {
            return;
        }
        account.went += datagram.len() as u64;
        let factor = if account.has_init { FACTOR } else { 1 };
        if account.went > factor * account.came && self.violation.is_none() {
            let Account { came, went, has_init, .. } = *account;
            self.violation = Some(format!(
                "a server sent {went} bytes to {to}, from where {came} came (an INIT: {has_init}), \
                 and which isn't proved"
            ));
        }
        if let Some(ack) = InitAck::decode(datagram) {
            account.cookies.push(ack.cookie);
        }
        let Some(data) = decode_data(datagram) else { return };
        for frame in Frames::new(data.frames).map_while(Result::ok) {
            if let Frame::Challenge(question) = frame {
                account.questions.push(question);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::packet::{Nonce, Params};

    fn init() -> Vec<u8> {
        let params = Params { datagram_bytes: 1452, ack_delay_ms: 5, window: 4096, features: 0 };
        let mut out = Vec::new();
        Init { nonce: Nonce(1), params }.encode(&mut out);
        out
    }

    #[test]
    fn what_is_sent_to_strangers_is_metered() {
        let stranger: SocketAddr = "10.0.0.1:1".parse().unwrap();
        let mut meter = Meter::default();
        meter.note_came(1, stranger, &[0; 40]);
        meter.note_went(1, stranger, &[0; 40]);
        assert_eq!(meter.violation(), None);
        meter.note_went(1, stranger, &[0; 1]);
        assert!(meter.violation().is_some(), "more than came");
    }

    #[test]
    fn an_init_allows_three_times_as_much() {
        let stranger: SocketAddr = "10.0.0.1:1".parse().unwrap();
        let mut meter = Meter::default();
        meter.note_came(1, stranger, &init());
        meter.note_went(1, stranger, &[0; 3600]);
        assert_eq!(meter.violation(), None);
        meter.note_went(2, stranger, &[0; 1]);
        assert!(meter.violation().is_some(), "it wasn't that server that it came to");
    }
}
