//! Names are strings.

#[rpc_core::service(name)]
pub trait Greeter {
    #[rpc(name)]
    async fn no_value(&self);
    #[rpc(name = 3)]
    async fn number(&self);
}

fn main() {}
