//! Arguments and replies that can't be decoded, or shouldn't be: each fails its own call.

use std::{
    collections::{BTreeMap, HashMap},
    num::NonZeroU8,
    thread,
};

use rpc_core::{Delivery, ErrorKind, RpcError, service::MethodId};
use serde::{Deserialize, Serialize};

use super::{DATA, MORE, NO_TIMEOUT, Prey, REPLY, REQUEST, Target, nth};
use crate::raw::{Raw, call_id, framed};

#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(crate) enum Tree {
    #[default]
    Leaf,
    Node(Box<Self>),
}

/// An empty one takes four bytes on the wire.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[expect(clippy::large_enum_variant, reason = "that is what makes it fat")]
pub(crate) enum Fat {
    Thin,
    Fat([u64; 32]),
}

/// Takes values of every kind that can be lied about, and gives them back.
#[rpc_core::service]
pub(crate) trait Mirror {
    async fn text(&self, it: String) -> String;
    async fn octets(&self, it: Vec<u8>) -> Vec<u8>;
    async fn flag(&self, it: bool) -> bool;
    async fn letter(&self, it: char) -> char;
    async fn number(&self, it: u64) -> u64;
    async fn nonzero(&self, it: NonZeroU8) -> NonZeroU8;
    async fn maybe(&self, it: Option<u8>) -> Option<u8>;
    async fn tree(&self, it: Tree) -> Tree;
    async fn units(&self, it: Vec<()>) -> Vec<()>;
    async fn fat(&self, it: Vec<Fat>) -> Vec<Fat>;
    async fn map(&self, it: HashMap<u64, String>) -> HashMap<u64, String>;
    async fn sorted(&self, it: BTreeMap<(), ()>) -> BTreeMap<(), ()>;
    async fn unit(&self, it: ()) -> ();
}

struct Glass;

macro_rules! gives_back {
    ($($method:ident: $ty:ty),* $(,)?) => {
        impl Mirror for Glass {
            $(async fn $method(&self, it: $ty) -> $ty { it })*
        }
    };
}

gives_back! {
    text: String, octets: Vec<u8>, flag: bool, letter: char, number: u64, nonzero: NonZeroU8,
    maybe: Option<u8>, tree: Tree, units: Vec<()>, fat: Vec<Fat>, map: HashMap<u64, String>,
    sorted: BTreeMap<(), ()>, unit: (),
}

fn claim(count: u64, rest: &[u8]) -> Vec<u8> {
    [&count.to_le_bytes()[..], rest].concat()
}

/// Bodies that aren't what the method takes, nor what it gives.
fn undecodable() -> Vec<(&'static str, Vec<u8>)> {
    let mut rows = vec![
        ("text", vec![]),
        ("text", vec![1, 0, 0]),
        ("text", claim(5, b"four")),
        ("text", claim(3, b"a\0bc")),
        ("text", claim(2, b"\xc3\x28")),
        ("text", claim(3, b"\xed\xa0\x80")),
        ("flag", vec![2]),
        ("flag", vec![0xff]),
        ("flag", vec![1, 0]),
        ("letter", vec![0xff]),
        ("letter", b"\xed\xa0\x80".to_vec()),
        ("letter", b"\xf4\x90\x80\x80".to_vec()),
        ("number", vec![0; 7]),
        ("number", vec![0; 9]),
        ("nonzero", vec![0]),
        ("maybe", vec![2, 0]),
        ("maybe", vec![1]),
        ("tree", 2u32.to_le_bytes().to_vec()),
        ("tree", u32::MAX.to_le_bytes().to_vec()),
        ("tree", [1, 0, 0, 0].repeat(100_000)),
        ("units", claim(1 << 20, &[])),
        ("sorted", claim(1 << 20, &[])),
        ("fat", claim(1_000_000, &vec![0; 4_000_000])),
        ("map", claim(1, &[0; 8])),
        ("unit", vec![0]),
    ];
    for count in [2_000, 1 << 32, 1 << 60, u64::MAX] {
        for method in ["text", "octets", "units", "fat", "map", "sorted"] {
            rows.push((method, claim(count, &[])));
        }
    }
    rows
}

fn id_of(method: &str) -> [u8; 8] {
    MethodId::of("Mirror", method).number().to_le_bytes()
}

/// A message in frames of 60,000 bytes at most.
fn message(lane: u64, kind: u8, fields: &[u8], body: &[u8]) -> Vec<u8> {
    let mut pieces: Vec<&[u8]> = body.chunks(60_000).collect();
    if pieces.is_empty() {
        pieces.push(&[]);
    }
    let last = pieces.len() - 1;
    let frames = pieces.iter().enumerate().map(|(at, piece)| {
        let more = if at < last { MORE } else { 0 };
        match at {
            0 => framed(lane, kind, more, &[fields, piece].concat()),
            _ => framed(lane, DATA, more, piece),
        }
    });
    frames.collect::<Vec<_>>().concat()
}

fn arguments(lane: u64, method: &str, body: &[u8]) -> Vec<u8> {
    let fields = [&NO_TIMEOUT.to_le_bytes()[..], &id_of(method)].concat();
    message(lane, REQUEST, &fields, body)
}

async fn target() -> Target {
    Target::with(|server| server.service(MirrorServer::new(Glass))).await
}

// r[verify codec.malformed] r[verify codec.whole] r[verify codec.limits] r[verify request.check]
#[tokio::test]
async fn arguments_that_cannot_be_decoded_fail_their_call_alone() {
    let target = target().await;
    let mut raw = target.attacker().await;
    // Calls that wait on the same connection all the while.
    raw.put(&super::request(call_id(1, 1), "forever", NO_TIMEOUT, &[])).await;
    for ((method, body), sequence) in undecodable().into_iter().zip(1..) {
        raw.put(&arguments(nth(2 * sequence), method, &body)).await;
        let shown = &body[..body.len().min(20)];
        assert_eq!(raw.refusal(nth(2 * sequence)).await, (7, 0), "{method}: {shown:x?}");
        raw.good_call(nth(2 * sequence + 1)).await;
    }
    assert_eq!(target.gauge.running(), 1, "nobody touched the call that waits");
    target.others_go_on().await;
}

/// Makes a call whose reply is to be decoded, and drops the value.
async fn ask(mirror: MirrorClient, method: &str) -> Result<(), RpcError> {
    match method {
        "text" => mirror.text(String::new()).await.map(drop),
        "octets" => mirror.octets(Vec::new()).await.map(drop),
        "flag" => mirror.flag(true).await.map(drop),
        "letter" => mirror.letter('x').await.map(drop),
        "number" => mirror.number(1).await.map(drop),
        "nonzero" => mirror.nonzero(NonZeroU8::MAX).await.map(drop),
        "maybe" => mirror.maybe(None).await.map(drop),
        "tree" => mirror.tree(Tree::Leaf).await.map(drop),
        "units" => mirror.units(Vec::new()).await.map(drop),
        "fat" => mirror.fat(Vec::new()).await.map(drop),
        "map" => mirror.map(HashMap::new()).await.map(drop),
        "sorted" => mirror.sorted(BTreeMap::new()).await.map(drop),
        "unit" => mirror.unit(()).await,
        _ => panic!("there is no method `{method}`"),
    }
}

#[tokio::test]
async fn replies_that_cannot_be_decoded_fail_their_call_alone() {
    let prey = Prey::new();
    let mirror = MirrorClient::new(prey.channel.clone());
    let (mut raw, waiting, first) = prey.called().await;
    for (method, body) in undecodable() {
        let call = tokio::spawn(ask(mirror.clone(), method));
        let id = raw.asked().await;
        raw.put(&message(id, REPLY, &[], &body)).await;
        let error = call.await.unwrap().unwrap_err();
        let shown = &body[..body.len().min(20)];
        let ended = (error.kind(), error.delivery());
        assert_eq!(ended, (ErrorKind::MalformedReply, Delivery::Replied), "{method}: {shown:x?}");
        prey.goes_on(Some(&mut raw)).await;
    }
    raw.put(&framed(first, REPLY, 0, &super::text_body("at last"))).await;
    assert_eq!(waiting.await.unwrap().as_deref(), Ok("at last"));
}

/// Server, attacker and honest client on one thread of 512 KiB, in a debug build too.
#[test]
fn a_million_levels_do_not_overflow_a_small_stack() {
    let attack = async {
        let target = target().await;
        let mut raw = target.attacker().await;
        let body = [1, 0, 0, 0].repeat(1_000_000);
        raw.put(&arguments(nth(1), "tree", &body)).await;
        assert_eq!(raw.refusal(nth(1)).await, (7, 0), "MALFORMED_REQUEST, never");
        raw.good_call(nth(2)).await;
        target.others_go_on().await;

        let prey = Prey::new();
        let mut raw = prey.liar();
        let call = tokio::spawn(MirrorClient::new(prey.channel.clone()).tree(Tree::Leaf));
        raw.greet().await;
        let id = raw.asked().await;
        raw.put(&message(id, REPLY, &[], &body)).await;
        assert_eq!(call.await.unwrap().unwrap_err().kind(), ErrorKind::MalformedReply);
        prey.goes_on(Some(&mut raw)).await;
    };
    let on_a_small_stack = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(Box::pin(attack));
    };
    thread::scope(|scope| {
        let small = thread::Builder::new().stack_size(512 * 1024);
        small.spawn_scoped(scope, on_a_small_stack).unwrap().join().unwrap();
    });
}

/// One reply after the other that says what no method of the peer's can return.
// r[verify reply.app-error]
#[tokio::test]
async fn an_error_from_a_method_that_returns_none_is_a_malformed_reply() {
    let prey = Prey::new();
    let (mut raw, call, id) = prey.called().await;
    raw.put(&framed(id, REPLY, 2, &super::text_body("an error"))).await;
    let error = call.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::MalformedReply, Delivery::Replied));
    prey.goes_on(Some(&mut raw)).await;
}

// r[verify method.unknown]
#[tokio::test]
async fn methods_and_services_that_there_are_not_fail_their_call_alone() {
    let target = target().await;
    let mut raw = target.attacker().await;
    let upper = MethodId::of("Mirror", "text").number() & 0xffff_ffff_0000_0000;
    let methods = [(0, 5), (u64::MAX, 5), (1, 5), (upper, 6), (upper | 0xffff_ffff, 6)];
    for ((method, code), sequence) in methods.into_iter().zip(1..) {
        let fields = [&NO_TIMEOUT.to_le_bytes()[..], &u64::to_le_bytes(method)].concat();
        raw.put(&message(nth(2 * sequence), REQUEST, &fields, b"any")).await;
        assert_eq!(raw.refusal(nth(2 * sequence)).await, (code, 0), "{method:x}");
        raw.good_call(nth(2 * sequence + 1)).await;
    }
    target.others_go_on().await;
}

/// A REQUEST of `echo` with these extensions.
fn with_extensions(id: u64, extensions: &[u8]) -> Vec<u8> {
    let fields = super::request_fields("echo", NO_TIMEOUT);
    let body = super::text_body("x");
    let mut frame = framed(id, REQUEST, 0, &[&fields[..], extensions, &body].concat());
    let length = u16::try_from(extensions.len()).unwrap();
    frame[14..16].copy_from_slice(&length.to_le_bytes());
    frame
}

fn metadata(value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).unwrap();
    [&[1, 0][..], &length.to_le_bytes(), value].concat()
}

/// An entry of metadata.
fn entry(key: &[u8], value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).unwrap().to_le_bytes();
    [&[u8::try_from(key.len()).unwrap()], key, &length, value].concat()
}

// r[verify metadata.layout] r[verify metadata.limits] r[verify extension.types]
#[tokio::test]
async fn metadata_that_is_none_or_too_much_fails_its_call_alone() {
    let (malformed, too_large) = ((7, 0), (9, 0));
    let rows: &[(&str, Vec<u8>, (u8, u8))] = &[
        ("an empty key", entry(b"", b"v"), malformed),
        ("a key that is no text", entry(b"\xff", b"v"), malformed),
        ("a key cut short", vec![5, b'k'], malformed),
        ("no length of the value", vec![1, b'k', 0], malformed),
        ("a value cut short", vec![1, b'k', 2, 0, b'v'], malformed),
        ("a value of any length", vec![1, b'k', 0xff, 0xff], malformed),
        ("bytes behind it", [&entry(b"k", b"v")[..], &[0]].concat(), malformed),
        ("65 entries", entry(b"k", b"v").repeat(65), too_large),
        ("thousands of entries", entry(b"k", b"").repeat(2_000), too_large),
        ("8,193 bytes", entry(b"k", &vec![0; 8_193 - 4]), too_large),
        ("60,000 bytes", entry(b"k", &vec![0; 60_000]), too_large),
    ];
    let target = target().await;
    let mut raw = target.attacker().await;
    let started = target.gauge.started();
    for ((name, value, expected), sequence) in rows.iter().zip(1..) {
        raw.put(&with_extensions(nth(sequence), &metadata(value))).await;
        assert_eq!(raw.refusal(nth(sequence)).await, *expected, "{name}");
    }
    assert_eq!(target.gauge.started(), started);
    // As much as there may be, twice, of which the first counts, and numbers nobody knows.
    let most = entry(b"k", &[0; 8_192 / 64 - 4]).repeat(64);
    let extensions = [metadata(&most), metadata(b"garbage"), vec![9, 9, 1, 0, 7]].concat();
    raw.put(&with_extensions(nth(100), &extensions)).await;
    assert_eq!(raw.answer(nth(100)).await.0, REPLY);
    target.others_go_on().await;
}

// r[verify message.size]
#[tokio::test]
async fn a_message_above_the_limit_is_refused_as_soon_as_it_is() {
    let mut limits = rpc_core::Limits::default();
    limits.message_bytes = 50_000;
    let target = Target::limited(limits).await;
    let mut raw = target.attacker().await;
    raw.put(&super::request(nth(1), "echo", NO_TIMEOUT, &[0; 50_001])).await;
    assert_eq!(raw.refusal(nth(1)).await, (9, 0), "TOO_LARGE, never");
    raw.put(&super::request_begins(nth(2), "echo", &[0; 30_000])).await;
    raw.put(&framed(nth(2), DATA, MORE, &[0; 20_001])).await;
    assert_eq!(raw.refusal(nth(2)).await, (9, 0), "before the message is complete");
    raw.good_call(nth(3)).await;
    target.others_go_on().await;
}

impl Raw {
    /// Timeouts that are no time at all, and those that no clock can express.
    async fn good_call_within(&mut self, id: u64, timeout_ms: u32) {
        self.put(&super::request(id, "echo", timeout_ms, &super::text_body("x"))).await;
        assert_eq!(self.answer(id).await.0, REPLY, "{timeout_ms} ms");
    }
}

// r[verify request.timeout] r[verify request.expired]
#[tokio::test]
async fn timeouts_of_any_length_are_taken() {
    let target = target().await;
    let mut raw = target.attacker().await;
    for (timeout_ms, sequence) in
        [u32::MAX, u32::MAX - 1, 1 << 31, 2_592_000_001].into_iter().zip(1..)
    {
        raw.good_call_within(nth(sequence), timeout_ms).await;
    }
    let started = target.gauge.started();
    raw.put(&super::request(nth(10), "echo", 0, &super::text_body("x"))).await;
    assert_eq!(raw.refusal(nth(10)).await, (2, 0), "DEADLINE_EXCEEDED, never");
    assert_eq!(target.gauge.started(), started);
    target.others_go_on().await;
}
