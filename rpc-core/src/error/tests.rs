//! The code tables both ways and against the specification, and what errors say; no connection.

use std::collections::HashSet;

use super::*;
use crate::{frame::FrameError, frame::MetadataError, transport::TransportError};

/// Every kind there is. The `match` makes the compiler ask for new ones.
fn kinds() -> Vec<ErrorKind> {
    use ErrorKind as K;
    let next = |kind| match kind {
        K::Cancelled => Some(K::DeadlineExceeded),
        K::DeadlineExceeded => Some(K::Overloaded),
        K::Overloaded => Some(K::ShuttingDown),
        K::ShuttingDown => Some(K::UnknownService),
        K::UnknownService => Some(K::UnknownMethod),
        K::UnknownMethod => Some(K::MalformedRequest),
        K::MalformedRequest => Some(K::MalformedReply),
        K::MalformedReply => Some(K::TooLarge),
        K::TooLarge => Some(K::HandlerPanicked),
        K::HandlerPanicked => Some(K::Unauthenticated),
        K::Unauthenticated => Some(K::PermissionDenied),
        K::PermissionDenied => Some(K::ConnectionLost),
        K::ConnectionLost => Some(K::IncompatiblePeer),
        K::IncompatiblePeer => None,
    };
    std::iter::successors(Some(K::Cancelled), |kind| next(*kind)).collect()
}

/// Kinds that are this side's own finding and never come from a peer.
const LOCAL: [ErrorKind; 2] = [ErrorKind::ConnectionLost, ErrorKind::IncompatiblePeer];

const DELIVERIES: [Delivery; 4] =
    [Delivery::NotSent, Delivery::Rejected, Delivery::Unknown, Delivery::Replied];

/// The rows of the table in the specification whose header begins with these columns.
fn spec_table(header: &str) -> Vec<Vec<String>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/spec/wire.md");
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().skip_while(|line| !line.starts_with(header));
    let rows = lines.skip(2).take_while(|line| line.starts_with('|'));
    let cells =
        |row: &str| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    let rows: Vec<Vec<String>> = rows.map(cells).collect();
    assert!(!rows.is_empty(), "no table {header}");
    rows
}

/// `too large` and `TooLarge` as `TOO_LARGE`.
fn capitals(name: &str) -> String {
    let mut out = String::new();
    for char in name.chars() {
        if char.is_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.extend(char.to_uppercase());
    }
    out.replace(' ', "_")
}

// r[verify error.codes]
#[test]
fn error_codes_go_both_ways_and_stand_in_the_specification() {
    let on_the_wire: Vec<_> = kinds().into_iter().filter(|kind| !LOCAL.contains(kind)).collect();
    let codes: HashSet<_> = on_the_wire.iter().map(|kind| code::of(*kind)).collect();
    assert_eq!(codes.len(), on_the_wire.len(), "two kinds with one code");
    assert!(on_the_wire.iter().all(|kind| code::kind(code::of(*kind)) == *kind));
    let rows: Vec<_> = on_the_wire
        .iter()
        .map(|kind| (code::of(*kind).to_string(), capitals(kind.text())))
        .collect();
    let spec = spec_table("| code | name | what went wrong |");
    let spec: Vec<_> = spec.into_iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    assert_eq!(rows, spec);
}

// r[verify error.unknown-code]
#[test]
fn codes_from_the_future_are_malformed_replies() {
    for number in (0..=u16::MAX).filter(|number| !(1..=12).contains(number)) {
        assert_eq!(code::kind(number), ErrorKind::MalformedReply);
    }
    assert!(LOCAL.iter().all(|kind| code::kind(code::of(*kind)) == ErrorKind::Overloaded));
}

// r[verify error.ran]
#[test]
fn what_ran_says_of_the_handler_is_what_the_caller_learns() {
    let spec = spec_table("| value | name | meaning |");
    for (byte, row) in (0..).zip(&spec) {
        let ran = Ran::from_byte(byte).unwrap();
        let name = format!("{ran:?}").to_lowercase();
        assert_eq!((ran as u8, &row[0], &row[1]), (byte, &byte.to_string(), &name));
        let learns = format!("*{}*", format!("{:?}", ran.delivery()).to_lowercase());
        assert!(row[3].starts_with(&learns), "{row:?}");
    }
    assert_eq!(spec.len(), 3);
    assert!((3..=u8::MAX).all(|byte| Ran::from_byte(byte).is_none()));
}

// r[verify close.codes]
#[test]
fn close_codes_go_both_ways_and_stand_in_the_specification() {
    let spec = spec_table("| code | name | why |");
    let mut reasons = HashSet::new();
    for (number, row) in (0..).zip(&spec) {
        let reason = CloseReason::from_code(number);
        assert_eq!(reason.code(), number);
        assert!(reasons.insert(reason), "two codes for {reason:?}");
        let (code, name) = (number.to_string(), capitals(&format!("{reason:?}")));
        assert_eq!((&row[0], &row[1], &row[3]), (&code, &name, &reason.kind().to_string()));
        check_text(reason.text());
    }
    let unknown = CloseReason::Unknown;
    for number in u16::try_from(spec.len()).unwrap()..=u16::MAX {
        assert_eq!(CloseReason::from_code(number), unknown);
    }
    assert_eq!((unknown.code(), unknown.kind()), (u16::MAX, ErrorKind::ConnectionLost));
    assert!(!reasons.contains(&unknown));
}

/// Lower case, no full stop, no line break: texts are put together with colons.
#[track_caller]
fn check_text(text: &str) {
    assert!(!text.is_empty());
    assert!(!text.starts_with(char::is_uppercase), "begins with a capital: {text}");
    assert!(!text.ends_with(['.', '!', ' ', ':']), "ends like a sentence: {text}");
    assert!(!text.contains('\n'), "goes over two lines: {text}");
}

#[test]
fn every_text_follows_the_rules() {
    kinds().iter().for_each(|kind| check_text(&kind.to_string()));
    DELIVERIES.iter().for_each(|delivery| check_text(&delivery.to_string()));
    for error in [
        FrameError::TooShort,
        FrameError::UnknownKind(12),
        FrameError::WrongLane,
        FrameError::BadExtension,
        FrameError::BadText,
        FrameError::BadValue,
    ] {
        check_text(&error.to_string());
        assert_eq!(CloseReason::from(error), CloseReason::MalformedFrame);
    }
    for error in [
        MetadataError::Key { bytes: 300 },
        MetadataError::TooLarge { bytes: 9000, limit: 8192 },
        MetadataError::TooMany,
        MetadataError::Malformed,
    ] {
        check_text(&error.to_string());
    }
    for error in [
        TransportError::NotOurs { began_with: *b"GET / HT" },
        TransportError::Version { ours: 1, theirs: 2 },
        TransportError::FrameTooLarge { bytes: 100, limit: 10 },
        TransportError::Truncated,
    ] {
        check_text(&error.to_string());
    }
}

#[test]
fn errors_that_are_about_a_size_name_it_and_the_limit() {
    let text = MetadataError::TooLarge { bytes: 9000, limit: 8192 }.to_string();
    assert_eq!(text, "metadata of 9000 bytes, 8192 are allowed");
    assert_eq!(MetadataError::TooMany.to_string(), "more than 64 metadata entries");
    let text = TransportError::FrameTooLarge { bytes: 100, limit: 10 }.to_string();
    assert_eq!(text, "the peer announced a frame of 100 bytes, this side accepts 10");
}

const HELLO: Method = Method::new("Greeter", "hello");

#[test]
fn an_error_names_method_kind_detail_and_delivery() {
    for kind in kinds() {
        for delivery in DELIVERIES {
            let bare = RpcError::new(kind, delivery, "");
            assert_eq!(bare.to_string(), kind.to_string());
            let error = RpcError::new(kind, delivery, "this and that").of_method(&HELLO);
            assert_eq!(
                error.to_string(),
                format!("Greeter.hello: {kind}: this and that ({delivery})")
            );
            assert_eq!((error.kind(), error.delivery()), (kind, delivery));
            assert_eq!(error.method(), Some(&HELLO));
            check_text(&bare.to_string());
        }
    }
}

#[test]
fn the_cause_is_told_by_source_alone() {
    let cause = std::io::Error::other("the cause");
    let error =
        RpcError::new(ErrorKind::ConnectionLost, Delivery::NotSent, "no luck").with_source(cause);
    assert_eq!(error.to_string(), "connection lost: no luck");
    assert_eq!(error.source().unwrap().to_string(), "the cause");
    assert!(format!("{error:?}").contains("the cause"));
    let shared = RpcError::new(ErrorKind::ConnectionLost, Delivery::NotSent, "no luck");
    assert_eq!(shared, error, "causes aren't compared");
    let shared = shared.with_shared_source(Arc::new(std::io::Error::other("another")));
    assert_eq!(shared.source().unwrap().to_string(), "another");
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the name is empty")]
struct Empty;

#[test]
fn the_two_owners_of_a_failure_are_told_apart() {
    let rpc = RpcError::new(ErrorKind::Overloaded, Delivery::Rejected, "").of_method(&HELLO);
    let app = CallError::App(Empty);
    assert_eq!((app.delivery(), app.app(), app.rpc()), (Delivery::Replied, Some(&Empty), None));
    assert_eq!(app.to_string(), "the name is empty");
    let framework: CallError<Empty> = rpc.clone().into();
    assert_eq!((framework.delivery(), framework.app()), (Delivery::Rejected, None));
    assert_eq!((framework.rpc(), framework.to_string()), (Some(&rpc), rpc.to_string()));
}

/// What an error costs on the way where there is none.
#[test]
fn errors_are_one_pointer() {
    assert_eq!(size_of::<RpcError>(), size_of::<usize>());
    assert_eq!(size_of::<Result<(), RpcError>>(), size_of::<usize>());
    assert_eq!(size_of::<CallError<()>>(), size_of::<usize>());
    assert!(size_of::<Result<u64, CallError<u8>>>() <= 16);
}

#[test]
fn a_call_may_be_repeated_if_that_is_safe_and_can_help() {
    const ONCE: Method = Method::new("S", "once");
    const TWICE: Method = Method::new("S", "twice").idempotent();
    let repeats = |method: &Method| {
        let all = kinds().into_iter().flat_map(|kind| DELIVERIES.map(|delivery| (kind, delivery)));
        let errors =
            all.map(|(kind, delivery)| RpcError::new(kind, delivery, "").of_method(method));
        let errors: Vec<_> = errors.filter(RpcError::may_repeat).collect();
        let kinds: HashSet<_> = errors.iter().map(RpcError::kind).collect();
        let deliveries: HashSet<_> = errors.iter().map(RpcError::delivery).collect();
        (kinds.len(), deliveries)
    };
    let never_ran = DELIVERIES.into_iter().filter(|delivery| delivery.never_ran()).collect();
    assert_eq!(repeats(&ONCE), (3, never_ran));
    assert_eq!(repeats(&TWICE), (3, DELIVERIES.into_iter().collect()));
}
