//! The client of the model: when it connects, sends, sends again and gives up, and what it tells of its
//! requests. The real code reads answers to INITs and says which requests never ran.

use std::time::{Duration, Instant};

use super::{
    Mutant, TICK,
    net::{Frame, Offer, Offered, Packet},
    server::address,
    world::{Answer, REQUESTS, State, Step, World},
};
use crate::{
    driver::positions::Positions,
    proto::{
        packet::{Nonce, Params},
        setup::{Established, SetUpClient},
    },
};

/// What the client knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Client {
    pub(super) phase: Phase,
    /// Attempts to get a session so far, and the nonce of the last.
    attempts: u8,
    pub(super) nonce: u64,
    /// In ticks.
    pub(super) clock: u8,
    /// The cookie that goes with what it sends: gone once the server has answered.
    cookie: Option<Offer>,
    pub(super) has_moved: bool,
    /// Frames sent in this session.
    frames: u8,
    pub(super) requests: [Request; REQUESTS],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    Idle,
    SettingUp,
    Session(Offer),
}

/// One request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Request {
    pub(super) told: Told,
    /// The number of its frame in this session, once it was sent.
    number: u8,
    /// When it was sent first, by the client's clock.
    sent: u8,
}

/// What a caller knows of a request, or would if it asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Told {
    /// There is none in this model.
    None,
    /// It wasn't sent, or a session in which it was never ran it.
    NotSent,
    /// Nothing yet: it was sent in this session.
    Nothing,
    Ok,
    NeverRan,
    Unknown,
}

impl Client {
    pub(super) fn new(requests: usize) -> Self {
        let request = |told| Request { told, number: 0, sent: 0 };
        let mut all = [request(Told::None); REQUESTS];
        all[..requests].fill(request(Told::NotSent));
        Self {
            phase: Phase::Idle,
            attempts: 0,
            nonce: 0,
            clock: 0,
            cookie: None,
            has_moved: false,
            frames: 0,
            requests: all,
        }
    }

    /// The session is over. `judge` tells of a request under way whether it never ran.
    fn leave(&mut self, judge: impl Fn(&Request) -> bool) {
        for request in self.requests.iter_mut().filter(|it| it.told == Told::Nothing) {
            let told = if judge(request) { Told::NeverRan } else { Told::Unknown };
            *request = Request { told, number: 0, sent: 0 };
        }
        self.phase = Phase::Idle;
        self.frames = 0;
        self.cookie = None;
    }
}

impl World {
    /// What the client may do of its own accord.
    pub(super) fn client(&mut self, state: &State, into: &mut Vec<(Step, State)>) {
        let client = &state.client;
        if self.bounds().moves && !client.has_moved {
            let client = Client { has_moved: true, ..*client };
            into.push((Step::Move, State { client, ..*state }));
        }
        for at in 0..REQUESTS {
            if let Some(next) = self.retry(state, at) {
                into.push((Step::Retry(at), next));
            }
        }
        match client.phase {
            Phase::Idle => {
                if client.attempts < self.bounds().attempts {
                    into.push((Step::Connect, self.connect(state)));
                }
            }
            Phase::SettingUp => into.push((Step::GiveUp, self.give_up(state))),
            Phase::Session(session) => {
                into.push((Step::GiveUp, self.give_up(state)));
                // Requests are alike: of those that weren't sent, it may as well be the first.
                let unsent = client.requests.iter().position(|it| it.told == Told::NotSent);
                if let Some(at) = unsent {
                    into.push((Step::Send(at), self.send_first(state, session, at)));
                }
                for (at, request) in client.requests.iter().enumerate() {
                    if request.told == Told::Nothing {
                        into.push((Step::SendAgain(at), self.send_again(state, session, at)));
                    }
                }
            }
        }
    }

    /// A request that never ran may be made again, as if it were new.
    fn retry(&mut self, state: &State, at: usize) -> Option<State> {
        let mut next = *state;
        let told = &mut next.client.requests[at].told;
        let may = match *told {
            Told::NeverRan => true,
            Told::Unknown => self.is(Mutant::SentAgainUnproved),
            _ => false,
        };
        *told = Told::NotSent;
        may.then_some(next)
    }

    fn connect(&mut self, state: &State) -> State {
        let mut next = *state;
        next.client.phase = Phase::SettingUp;
        next.client.attempts += 1;
        if state.client.nonce == 0 || !self.is(Mutant::NonceReused) {
            next.client.nonce += 1;
        }
        let from = Self::place(&next.client);
        next.net = self.send(next.net, Packet::Init { nonce: next.client.nonce, from });
        next
    }

    fn give_up(&mut self, state: &State) -> State {
        let mut next = *state;
        let never_ran = self.is(Mutant::GivenUpNeverRan);
        next.client.leave(|_| never_ran);
        self.forget(next)
    }

    /// Takes off the network what doesn't matter any more.
    fn forget(&mut self, mut state: State) -> State {
        let packets = self.nets.packets(state.net).to_vec();
        let gone: Vec<u32> =
            packets.into_iter().filter(|it| !self.matters(&state.client, *it)).collect();
        state.net = self.nets.only(state.net, |it| !gone.contains(&it));
        state
    }

    fn send_first(&mut self, state: &State, session: Offer, at: usize) -> State {
        let mut next = *state;
        let client = &mut next.client;
        let number = client.frames;
        client.frames += 1;
        client.requests[at] = Request { told: Told::Nothing, number, sent: client.clock };
        next.net = self.send_frame(&next, session, at);
        next
    }

    fn send_again(&mut self, state: &State, session: Offer, at: usize) -> State {
        let mut next = *state;
        if self.is(Mutant::AgeOfLastCopy) {
            next.client.requests[at].sent = next.client.clock;
        }
        next.net = self.send_frame(&next, session, at);
        next
    }

    fn send_frame(&mut self, state: &State, session: Offer, at: usize) -> u32 {
        let client = &state.client;
        let request = u8::try_from(at).expect("there are few");
        let frame = Some(Frame { number: client.requests[at].number, request });
        let cookie = client.cookie.filter(|_| !self.is(Mutant::CookieLeftOutEarly));
        let from = Self::place(client);
        self.send(state.net, Packet::Data { session, cookie, frame, from })
    }

    pub(super) fn arrive_at_client(&mut self, state: &State, packet: u32) -> State {
        let mut next = *state;
        match self.packets.value(packet).clone() {
            Packet::Answer { bytes, .. } => return self.take_answer(next, packet, &bytes),
            Packet::Reply { session, number } if next.client.phase == Phase::Session(session) => {
                if !self.is(Mutant::CookieKept) {
                    next.client.cookie = None;
                }
                let requests = next.client.requests.iter_mut();
                for request in requests.filter(|it| it.told == Told::Nothing) {
                    if number == Some(request.number) {
                        request.told = Told::Ok;
                    }
                }
            }
            Packet::Reset { session, never_ran_since } => {
                let is_any = self.is(Mutant::ResetOfAnySession);
                let is_ours = next.client.phase == Phase::Session(session);
                if is_ours || is_any && matches!(next.client.phase, Phase::Session(_)) {
                    let from = never_ran_from(&next.client, never_ran_since);
                    next.client.leave(|it| from.is_some_and(|from| it.number >= from));
                    return self.forget(next);
                }
            }
            _ => {}
        }
        next
    }

    /// An answer to an INIT.
    fn take_answer(&mut self, mut state: State, packet: u32, bytes: &[u8]) -> State {
        let key = (packet, state.client.nonce);
        let answer = match self.answers.get(&key) {
            Some(known) => *known,
            None => self.read_answer(&state.client, bytes),
        };
        self.answers.insert(key, answer);
        let client = &mut state.client;
        match (answer, client.phase) {
            (Answer::Refusal, Phase::SettingUp) => {
                client.phase = Phase::Idle;
                self.forget(state)
            }
            (Answer::Offer(offer), Phase::SettingUp) => {
                client.phase = Phase::Session(offer);
                client.cookie = Some(offer);
                let from = Self::place(client);
                let cookie = Some(offer);
                let greeting = Packet::Data { session: offer, cookie, frame: None, from };
                state.net = self.send(state.net, greeting);
                self.forget(state)
            }
            (Answer::Offer(offer), Phase::Session(_))
                if self.is(Mutant::CookieRefreshed) && client.cookie.is_some() =>
            {
                client.cookie = Some(offer);
                state
            }
            _ => state,
        }
    }

    fn read_answer(&mut self, client: &Client, bytes: &[u8]) -> Answer {
        let mut nonce = client.nonce;
        if self.is(Mutant::AckOfAnyNonce) {
            nonce = u64::from_le_bytes(bytes[8..16].try_into().expect("eight bytes"));
        }
        let server = address(Self::place(client));
        let ours = Params { datagram_bytes: 1452, ack_delay_ms: 5, window: 4096, features: 0 };
        let setup = SetUpClient::new(Instant::now(), server, ours, Nonce(nonce));
        match setup.handle_datagram(bytes) {
            None => Answer::Nothing,
            Some(Err(_)) => Answer::Refusal,
            Some(Ok(Established { agreed, retention })) => {
                let cookie = agreed.cookie.expect("a client has one");
                let offered = Offered { id: agreed.id.0, epoch: agreed.epoch, cookie, retention };
                Answer::Offer(self.offers.name(offered))
            }
        }
    }
}

/// The number of the first frame of those that never ran: what the driver makes of a reset.
fn never_ran_from(client: &Client, never_ran_since: Duration) -> Option<u8> {
    let mut sent: Vec<_> =
        client.requests.iter().filter(|it| matches!(it.told, Told::Nothing | Told::Ok)).collect();
    sent.sort_unstable_by_key(|it| it.number);
    // Later than the beginning of time by more than all ages but the one without end.
    let begin = Instant::now() + Duration::from_secs(1_000_000);
    let mut positions = Positions::default();
    for request in sent {
        positions.note(begin + TICK * request.sent.into(), request.number.into());
    }
    let now = begin + TICK * client.clock.into();
    let from = positions.sent_since(now.checked_sub(never_ran_since))?;
    Some(u8::try_from(from).expect("there are few"))
}
