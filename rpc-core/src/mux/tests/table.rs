//! What each frame does to a call of each phase, found by doing it, as a table in the specification's
//! folder. `UPDATE_SNAPSHOTS=1 cargo test -p rpc-core --lib mux::tests::table` writes it.

use std::{env, fmt::Write, fs, path::Path};

use super::{streams::*, *};

/// How far a call is, as the side sees it that gets the frame.
type PhaseRow = (&'static str, fn() -> (Pair, CallId));

/// A frame that comes for it.
type FrameColumn = (&'static str, fn(CallId) -> OutFrame);

/// Frames that the peer of `a` sends, which answers.
const ANSWERS: [FrameColumn; 11] = [
    ("REPLY", |id| raw(id.lane(), 3, 0, b"x")),
    ("REPLY, MORE", |id| raw(id.lane(), 3, 1, b"x")),
    ("REPLY, STREAM", |id| raw(id.lane(), 3, 4, b"")),
    ("ERROR", |id| made(|out| frame::encode_error(out, id, ErrorKind::Overloaded, Ran::Never, ""))),
    ("DATA", |id| raw(id.lane(), 5, 0, b"x")),
    ("DATA, ABORT", |id| raw(id.lane(), 5, 2, b"")),
    ("ITEM", |id| raw(id.lane(), 12, 0, b"x")),
    ("ITEM, MORE", |id| raw(id.lane(), 12, 1, b"x")),
    ("END", |id| raw(id.lane(), 13, 0, b"")),
    ("STOP", |id| made(|out| frame::encode_stop(out, id))),
    ("CREDIT", credit),
];

/// Frames that the peer of `b` sends, which asks.
const QUESTIONS: [FrameColumn; 9] = [
    ("REQUEST", |id| raw(id.lane(), 2, 0, &[0xff; 12])),
    ("REQUEST, STREAM", |id| raw(id.lane(), 2, 4, &[0xff; 12])),
    ("DATA", |id| raw(id.lane(), 5, 0, b"x")),
    ("DATA, ABORT", |id| raw(id.lane(), 5, 2, b"")),
    ("ITEM", |id| raw(id.lane(), 12, 0, b"x")),
    ("ITEM, MORE", |id| raw(id.lane(), 12, 1, b"x")),
    ("END", |id| raw(id.lane(), 13, 0, b"")),
    ("CANCEL", |id| made(|out| frame::encode_cancel(out, id))),
    ("CREDIT", credit),
];

fn credit(id: CallId) -> OutFrame {
    made(|out| frame::encode_credit(out, id.lane(), 1))
}

fn called(want: &Want) -> (Pair, CallId) {
    let mut pair = Pair::new();
    let id = pair.a.call_with(want);
    pair.drive();
    (pair, id)
}

fn queued() -> (Pair, CallId) {
    let mut pair = Pair::new();
    let id = pair.a.call("");
    (pair, id)
}

fn sent() -> (Pair, CallId) {
    called(&Want::default())
}

fn dropped() -> (Pair, CallId) {
    let (mut pair, id) = sent();
    pair.a.drop_call(id);
    pair.drive();
    (pair, id)
}

fn answered() -> (Pair, CallId) {
    let (mut pair, id) = sent();
    pair.b.reply(id, "");
    pair.drive();
    assert!(pair.a.end_of(id).is_some());
    (pair, id)
}

fn half_answered() -> (Pair, CallId) {
    let (mut pair, id) = sent();
    pair.a.take(&raw(id.lane(), 3, 1, b"x"));
    (pair, id)
}

fn reply_unread() -> (Pair, CallId) {
    let (mut pair, id) = replying();
    pair.a.drop_reader(id);
    pair.drive();
    (pair, id)
}

fn within_an_item_of_a_reply() -> (Pair, CallId) {
    let (mut pair, id) = replying();
    pair.a.take(&raw(id.lane(), 12, 1, b"x"));
    (pair, id)
}

fn reply_ended() -> (Pair, CallId) {
    let (mut pair, id) = replying();
    pair.b.end_items(id);
    pair.drive();
    (pair, id)
}

/// A message of which the peer takes only so much at first.
const LARGE_BYTES: usize = 600_000;

/// Two sides that take no more of it before they grant more.
fn narrow() -> Pair {
    let limits = || Limits { window_bytes: 0, ..Limits::default() };
    Pair::with(limits(), limits())
}

fn half_sent() -> (Pair, CallId) {
    let mut pair = narrow();
    let id = pair.a.call(vec![7; LARGE_BYTES]);
    pair.a.draw();
    (pair, id)
}

fn sending() -> (Pair, CallId) {
    let (mut pair, id) = asking();
    assert!(pair.a.send_item(id, b"x"));
    pair.drive();
    (pair, id)
}

fn left() -> (Pair, CallId) {
    let (mut pair, id) = called(&Want { oneway: true, ..Want::default() });
    assert_eq!(pair.a.end_of(id), Some(End::Left));
    (pair, id)
}

const CALLS: [PhaseRow; 12] = [
    ("request not sent", queued),
    ("request half sent", half_sent),
    ("waits for a reply", sent),
    ("waits, and sends items", sending),
    ("reply has begun", half_answered),
    ("given up", dropped),
    ("answered", answered),
    ("reads items", replying),
    ("within an item", within_an_item_of_a_reply),
    ("reads no more", reply_unread),
    ("items have ended", reply_ended),
    ("one-way, and has left", left),
];

fn half_asked() -> (Pair, CallId) {
    let mut pair = Pair::new();
    let id = CallId::new(1, 0, Role::Connector);
    pair.b.take(&raw(id.lane(), 2, 1, &[0xff; 12]));
    (pair, id)
}

fn within_an_item() -> (Pair, CallId) {
    let (mut pair, id) = asking();
    pair.b.take(&raw(id.lane(), 12, 1, b"x"));
    (pair, id)
}

fn items_ended() -> (Pair, CallId) {
    let (mut pair, id) = asking();
    pair.b.take(&raw(id.lane(), 13, 0, b""));
    (pair, id)
}

fn items_unread() -> (Pair, CallId) {
    let (mut pair, id) = asking();
    pair.b.drop_reader(id);
    pair.b.draw();
    (pair, id)
}

fn both_ways() -> (Pair, CallId) {
    let (mut pair, id) = asking();
    pair.b.accept_with_stream(id);
    assert!(pair.b.send_item(id, b"x"));
    pair.b.draw();
    (pair, id)
}

fn outlived() -> (Pair, CallId) {
    let (mut pair, id) = asking();
    pair.b.reply(id, "");
    pair.b.draw();
    (pair, id)
}

fn unknown() -> (Pair, CallId) {
    (Pair::new(), CallId::new(1, 0, Role::Connector))
}

fn cancelled_early() -> (Pair, CallId) {
    let (mut pair, id) = unknown();
    pair.b.take(&made(|out| frame::encode_cancel(out, id)));
    (pair, id)
}

fn half_replied() -> (Pair, CallId) {
    let mut pair = narrow();
    let id = pair.a.call("");
    pair.drive();
    pair.b.reply(id, vec![7; LARGE_BYTES]);
    pair.b.draw();
    (pair, id)
}

fn replied() -> (Pair, CallId) {
    let (mut pair, id) = sent();
    pair.b.reply(id, "");
    pair.b.draw();
    (pair, id)
}

const REQUESTS: [PhaseRow; 12] = [
    ("never came", unknown),
    ("was cancelled before it came", cancelled_early),
    ("not complete", half_asked),
    ("runs", sent),
    ("runs, and reads items", asking),
    ("within an item", within_an_item),
    ("items have ended", items_ended),
    ("reads no more", items_unread),
    ("reads, and sends items", both_ways),
    ("large reply half sent", half_replied),
    ("ended", replied),
    ("ended, and is still read", outlived),
];

/// What a frame leads to, in words.
fn effect(side: &mut Side, id: CallId, frame: &OutFrame) -> String {
    let (strays, accepted, stopped) = (side.mux.strays, side.accepted.len(), side.stopped.len());
    let items = |side: &mut Side| side.mux.streams.is_reader_ready(id);
    let (waits, had) = (side.wakes.count(), items(side));
    side.take(frame);
    let mut words = Vec::new();
    if side.mux.strays > strays {
        words.push("a stray".to_owned());
    }
    if side.accepted.len() > accepted {
        words.push("runs".to_owned());
    }
    if side.accepted.len() < accepted {
        words.push("isn't run".to_owned());
    }
    if side.stopped.len() > stopped {
        words.push("its handler is stopped".to_owned());
    }
    match side.end_of(id) {
        Some(End::Failed(kind, delivery)) => words.push(format!("fails: {kind}, {delivery}")),
        Some(end) => words.push(format!("ends: {end:?}")),
        None if !had && items(side) => words.push("its reader is told".to_owned()),
        None if side.wakes.count() > waits => words.push("its sender is told".to_owned()),
        None => {}
    }
    let frames = side.draw();
    let close = frames.iter().find_map(|frame| match decode(frame) {
        Frame::Close { reason, .. } => Some(reason),
        _ => None,
    });
    match close {
        Some(reason) => words.push(format!("closes with {reason:?}")),
        None if !frames.is_empty() => words.push(format!("sends {}", kinds(&frames))),
        None => {}
    }
    if words.is_empty() { "nothing".to_owned() } else { words.join("; ") }
}

fn table(text: &mut String, phases: &[PhaseRow], frames: &[FrameColumn], by_caller: bool) {
    let names: Vec<_> = frames.iter().map(|(name, _)| *name).collect();
    writeln!(text, "\n| | {} |\n|---|{}", names.join(" | "), "---|".repeat(names.len())).unwrap();
    for (phase, reach) in phases {
        write!(text, "| {phase} |").unwrap();
        for (_, make) in frames {
            let (mut pair, id) = reach();
            let side = if by_caller { &mut pair.a } else { &mut pair.b };
            write!(text, " {} |", effect(side, id, &make(id))).unwrap();
        }
        writeln!(text).unwrap();
    }
}

#[test]
fn every_frame_in_every_phase_does_what_the_table_says() {
    let mut text = String::from(
        "# What a frame does to a call\n\nWritten by `rpc-core/src/mux/tests/table.rs`, which sends \
         each frame in each phase: what this\nimplementation does. What it must do is in \
         [`wire.md`](wire.md).\n\n## The side that called\n",
    );
    table(&mut text, &CALLS, &ANSWERS, true);
    text.push_str("\n## The side that was called\n");
    table(&mut text, &REQUESTS, &QUESTIONS, false);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("spec/states.md");
    if env::var_os("UPDATE_SNAPSHOTS").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == text,
        "{} says otherwise: look at what `UPDATE_SNAPSHOTS=1 cargo test -p rpc-core --lib \
         mux::tests::table` changes",
        path.display()
    );
}
