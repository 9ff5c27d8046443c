//! Constants don't go over the wire.

#[rpc_core::service]
pub trait Greeter {
    const LIMIT: usize;

    async fn get(&self) -> u8;
}

struct English;

impl Greeter for English {
    const LIMIT: usize = 1;

    async fn get(&self) -> u8 {
        1
    }
}

fn main() {}
