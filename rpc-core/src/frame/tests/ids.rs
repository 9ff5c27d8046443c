//! Call ids, method ids and metadata against their vectors and limits; what peers' hellos allow.

use super::{extension::METADATA_ENTRIES_MAX, *};
use crate::{
    limits::PeerLimits,
    service::{Method, MethodId},
};

// r[verify call.id] r[verify call.opener]
#[test]
fn call_ids_are_a_sequence_a_slot_and_a_side() {
    for Vector { name, fields, bytes } in Vector::read("call_ids") {
        let number = fields.u64("number");
        assert_eq!(number.to_le_bytes()[..], bytes, "{name}");
        let Some(id) = CallId::from_wire(number) else {
            assert_eq!(fields.refused(), Some("sequence"), "{name}");
            continue;
        };
        assert_eq!(fields.refused(), None, "{name}");
        let opener = match fields.text("opener") {
            "connector" => Role::Connector,
            "acceptor" => Role::Acceptor,
            other => panic!("{name}: {other}"),
        };
        assert_eq!(id.sequence(), fields.u64("sequence"), "{name}");
        assert_eq!(id.slot() as u64, fields.u64("slot"), "{name}");
        assert_eq!(id.opener(), opener, "{name}");
        assert_eq!(id.opener().other().other(), opener, "{name}");
        let same = CallId::new(fields.u64("sequence"), fields.u32("slot"), opener);
        assert_eq!(same.lane(), Lane::new(number), "{name}");
    }
}

// r[verify call.new]
#[test]
fn of_two_ids_in_a_slot_the_later_is_the_greater() {
    let id = |sequence, slot| CallId::new(sequence, slot, Role::Acceptor);
    assert!(id(2, 7) > id(1, 7));
    assert!(id(1 << 39, 0) > id((1 << 39) - 1, CallId::SLOTS_MAX - 1));
    assert!(id(CallId::SEQUENCE_MAX, 0) > id(CallId::SEQUENCE_MAX - 1, 0));
}

// r[verify method.id]
#[test]
fn method_ids_are_hashes_of_names() {
    for Vector { name, fields, bytes } in Vector::read("method_ids") {
        let id = MethodId::of(fields.text("service"), fields.text("method"));
        assert_eq!(id.number(), fields.u64("number"), "{name}");
        assert_eq!(id.number().to_le_bytes()[..], bytes, "{name}");
        let fold = |key| fields.u64(key) >> 32 ^ fields.u64(key) & 0xffff_ffff;
        let (service, method) = (fold("service_hash"), fold("method_hash"));
        assert_eq!(id.number(), service << 32 | method, "{name}");
        assert_eq!(u64::from(id.service_half()), service, "{name}");
        assert_eq!(MethodId::from_wire(id.number()), id, "{name}");
    }
}

#[test]
fn two_methods_of_one_name_stop_the_compiler() {
    const METHODS: [Method; 2] = [Method::new("Store", "get"), Method::new("Store", "put")];
    const UNIQUE: &[Method] = Method::unique(&METHODS);
    assert_eq!(UNIQUE, METHODS);
    let twice = [Method::new("Store", "get"), Method::new("Store", "get").idempotent()];
    let refused = std::panic::catch_unwind(|| Method::unique(&twice).len());
    assert!(refused.is_err());
}

// r[verify metadata.layout] r[verify metadata.limits]
#[test]
fn metadata_vectors_read_and_write() {
    for Vector { name, fields, bytes } in Vector::read("metadata") {
        let decoded = Metadata::decode(&bytes, Metadata::BYTES_MAX);
        if let Some(reason) = fields.refused() {
            let expected = match reason {
                "malformed" => MetadataError::Malformed,
                "too-many" => MetadataError::TooMany,
                other => panic!("{name}: {other}"),
            };
            assert_eq!(decoded, Err(expected), "{name}");
            continue;
        }
        let decoded = decoded.unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut made = Metadata::new();
        for (key, value) in &fields.0 {
            made.insert(key, &unhex(value)).unwrap();
        }
        let entries: Vec<_> = decoded.iter().map(|(k, v)| (k.to_owned(), hex(v))).collect();
        assert_eq!(entries, fields.0, "{name}");
        assert_eq!(decoded, made, "{name}");
        assert_eq!(
            (decoded.len(), decoded.encoded_bytes()),
            (fields.0.len(), bytes.len()),
            "{name}"
        );
        assert_eq!(extension_of(&made)[COMMON_BYTES..], bytes, "{name}");
        for cut in 0..bytes.len() {
            let cut = Metadata::decode(&bytes[..cut], Metadata::BYTES_MAX);
            assert!(cut.is_err() || cut.unwrap().len() < decoded.len(), "{name}");
        }
    }
}

fn extension_of(metadata: &Metadata) -> Vec<u8> {
    let mut out = Vec::new();
    Extensions::encode_metadata(&mut out, metadata);
    out
}

// r[verify extension.types]
#[test]
fn of_two_metadata_extensions_the_first_counts() {
    let entry = |number: u16, value: &[u8]| {
        let length = u16::try_from(value.len()).unwrap();
        let head = [number.to_le_bytes(), length.to_le_bytes()];
        [&head.concat()[..], value].concat()
    };
    let all = [entry(9, b"?"), entry(1, b"first"), entry(1, b"second")].concat();
    assert_eq!(Extensions::decode(&all).unwrap().metadata(), b"first");
    assert_eq!(Extensions::decode(&entry(2, b"print")).unwrap().metadata(), b"");
    assert_eq!(Extensions::decode(&[]), Ok(Extensions::default()));
    assert_eq!(extension_of(&Metadata::new()), b"");
}

// r[verify metadata.limits]
#[test]
fn metadata_stops_at_its_limits_and_keeps_what_it_had() {
    let mut metadata = Metadata::new();
    assert_eq!(metadata.insert("", b""), Err(MetadataError::Key { bytes: 0 }));
    assert_eq!(metadata.insert(&"k".repeat(256), b""), Err(MetadataError::Key { bytes: 256 }));
    metadata.insert(&"k".repeat(255), b"").unwrap();

    let room = Metadata::BYTES_MAX - metadata.encoded_bytes() - 4;
    let too_large =
        MetadataError::TooLarge { bytes: Metadata::BYTES_MAX + 1, limit: Metadata::BYTES_MAX };
    assert_eq!(metadata.insert("v", &vec![7; room + 1]), Err(too_large));
    assert_eq!(metadata.len(), 1);
    metadata.insert("v", &vec![7; room]).unwrap();
    assert_eq!(metadata.encoded_bytes(), Metadata::BYTES_MAX);

    let bytes = extension_of(&metadata)[COMMON_BYTES..].to_vec();
    assert_eq!(Metadata::decode(&bytes, Metadata::BYTES_MAX), Ok(metadata));
    let limit = Metadata::BYTES_MAX - 1;
    let too_large = MetadataError::TooLarge { bytes: Metadata::BYTES_MAX, limit };
    assert_eq!(Metadata::decode(&bytes, limit), Err(too_large));

    let mut many = Metadata::new();
    (0..METADATA_ENTRIES_MAX).for_each(|_| many.insert("k", b"v").unwrap());
    assert_eq!(many.insert("k", b"v"), Err(MetadataError::TooMany));
    assert_eq!(many.len(), METADATA_ENTRIES_MAX);
}

#[test]
fn metadata_finds_the_first_entry_of_a_key() {
    let mut metadata = Metadata::new();
    for (key, value) in [("a", &b"1"[..]), ("b", &[0xff]), ("a", b"2")] {
        metadata.insert(key, value).unwrap();
    }
    assert_eq!(metadata.get("a"), Some(&b"1"[..]));
    assert_eq!(
        (metadata.get_str("a"), metadata.get_str("b"), metadata.get("c")),
        (Some("1"), None, None)
    );
    assert_eq!(format!("{metadata:?}"), r#"{"a": "1", "b": "\\xff", "a": "2"}"#);
}

fn hello() -> Hello {
    Hello {
        version: WIRE_VERSION,
        codec: 1,
        features: Features::default(),
        instance: 0,
        frame_bytes: 0,
        message_bytes: 0,
        calls: 0,
        metadata_bytes: 0,
        window_bytes: 0,
    }
}

// r[verify hello.base-limits]
#[test]
fn the_base_limits_are_those_of_the_specification() {
    let base = PeerLimits::BASE;
    assert_eq!((base.frame_bytes, base.message_bytes), (16 * 1024, 256 * 1024));
    assert_eq!((base.calls, base.metadata_bytes), (64, 8 * 1024));
}

// r[verify hello.limits]
#[test]
fn what_a_hello_allows_is_held_within_reason() {
    let least = PeerLimits::of_hello(&hello());
    assert_eq!((least.frame_bytes, least.message_bytes), (16 * 1024, 0));
    assert_eq!((least.calls, least.metadata_bytes), (1, 0));

    let all = u32::MAX;
    let hello =
        Hello { frame_bytes: all, message_bytes: all, calls: all, metadata_bytes: all, ..hello() };
    let most = PeerLimits::of_hello(&hello);
    assert_eq!((most.frame_bytes, most.message_bytes), ((1 << 31) - 1, all as usize));
    assert_eq!((most.calls, most.metadata_bytes), (1 << 23, 8 * 1024));
}
