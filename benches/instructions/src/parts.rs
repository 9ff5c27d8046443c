//! The ends of a call by themselves: frames, and the codec behind its fence; no connection.

use std::{error::Error, hint::black_box};

use rpc_core::{
    service::{MethodId, Plain, Reply},
    testing::paths,
    transport::Lane,
};
use serde::{Deserialize, Serialize};

/// The arguments of `add(u64, u64)`.
const BODY: [u8; 16] = [7; 16];

/// A body with a bit of everything.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Order {
    id: u64,
    customer: String,
    items: Vec<(u32, u16)>,
    note: Option<String>,
    paid: bool,
}

impl Order {
    fn example() -> Self {
        Self {
            id: 7,
            customer: "Ada Lovelace".to_owned(),
            items: vec![(1, 2), (3, 4), (5, 6), (7, 8)],
            note: None,
            paid: true,
        }
    }
}

pub(crate) fn encode_frames(times: usize) -> Result<(), Box<dyn Error>> {
    let method = MethodId::of("Bench", "add");
    let mut out = Vec::new();
    for number in 0..times {
        out.clear();
        let lane = Lane::new(1 << 24 | (number as u64) << 1);
        paths::encode_request(black_box(&mut out), lane, method, black_box(&BODY));
    }
    Ok(())
}

pub(crate) fn decode_frames(times: usize) -> Result<(), Box<dyn Error>> {
    let mut frame = Vec::new();
    let lane = Lane::new(1 << 24);
    paths::encode_request(&mut frame, lane, MethodId::of("Bench", "add"), &BODY);
    for _ in 0..times {
        let bytes = paths::decode_request(black_box(&frame));
        if bytes != Some(BODY.len()) {
            return Err("a frame was decoded into another".into());
        }
    }
    Ok(())
}

pub(crate) fn encode_bodies(times: usize) -> Result<(), Box<dyn Error>> {
    let order = Order::example();
    let mut body = Vec::new();
    for _ in 0..times {
        body.clear();
        Plain::<Order>::encode(black_box(&order), black_box(&mut body))?;
    }
    Ok(())
}

pub(crate) fn decode_bodies(times: usize) -> Result<(), Box<dyn Error>> {
    let order = Order::example();
    let mut body = Vec::new();
    Plain::<Order>::encode(&order, &mut body)?;
    for _ in 0..times {
        let decoded = Plain::<Order>::decode(black_box(&body), false)??;
        if black_box(&decoded).id != order.id {
            return Err("a body was decoded into another".into());
        }
    }
    Ok(())
}
