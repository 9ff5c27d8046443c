//! Bytes of the protocol, as a peer says them that knows nothing but the specification.

use std::{
    io::{self, Read},
    net::TcpStream,
};

use rpc_core::service::MethodId;

/// The preface and a hello with the default limits, as the specification's example has them.
pub(crate) fn hello() -> Vec<u8> {
    let mut bytes = vec![0x89, b'R', b'P', b'C', b'\r', b'\n', 0x1a, 1];
    bytes.extend(prefix(48, false, 0));
    // HELLO; version 1, codec 1, no features; instance
    bytes.extend([1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0].iter().chain(&[9; 16]));
    // frame, message, calls, metadata, window
    for limit in [64 * 1024_u32, 64 << 20, 1024, 8192, 8 << 20] {
        bytes.extend(limit.to_le_bytes());
    }
    bytes
}

/// What the hello and its preface take, ours and anybody else's.
pub(crate) const HELLO_BYTES: usize = 8 + 12 + 48;

/// What stands before each frame.
pub(crate) fn prefix(length: u32, end: bool, lane: u64) -> [u8; 12] {
    let mut prefix = [0; 12];
    prefix[..4].copy_from_slice(&(length | u32::from(end) << 31).to_le_bytes());
    prefix[4..].copy_from_slice(&lane.to_le_bytes());
    prefix
}

/// The lane of the connecting side's call number `n`, from 0 on, each in a slot of its own.
pub(crate) fn lane(n: u64) -> u64 {
    (n + 1) << 24 | n << 1
}

/// A request of the connecting side's call number `n` for a method of `Lab`, with a timeout of a
/// minute.
pub(crate) fn request(n: u64, method: &str, argument: u64) -> Vec<u8> {
    let mut bytes = prefix(24, true, lane(n)).to_vec();
    bytes.extend([2, 0, 0, 0].iter().chain(&60_000_u32.to_le_bytes()));
    bytes.extend(MethodId::of("Lab", method).number().to_le_bytes());
    bytes.extend(argument.to_le_bytes());
    bytes
}

/// A reply to a call.
pub(crate) fn reply(lane: u64, value: u64) -> Vec<u8> {
    let mut bytes = prefix(12, true, lane).to_vec();
    bytes.extend([3, 0, 0, 0].iter().chain(&value.to_le_bytes()));
    bytes
}

/// Reads one frame: its lane, and its bytes from the kind on.
pub(crate) fn read_frame(stream: &mut TcpStream) -> io::Result<(u64, Vec<u8>)> {
    let mut prefix = [0; 12];
    stream.read_exact(&mut prefix)?;
    let (length, lane) = prefix.split_first_chunk().unwrap();
    let length = u32::from_le_bytes(*length) & 0x7fff_ffff;
    let lane = u64::from_le_bytes(lane.try_into().unwrap());
    let mut frame = vec![0; length as usize];
    stream.read_exact(&mut frame)?;
    Ok((lane, frame))
}
