//! The client has to know every type.

#[rpc_core::service]
pub trait Greeter {
    type Error;

    async fn get(&self) -> u8;
}

struct English;

impl Greeter for English {
    type Error = ();

    async fn get(&self) -> u8 {
        1
    }
}

fn main() {}
