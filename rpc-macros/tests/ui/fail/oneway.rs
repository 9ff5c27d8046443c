//! There are no one-way methods yet.

#[rpc_core::service]
pub trait Greeter {
    #[rpc(oneway)]
    async fn log(&self, line: String);
}

fn main() {}
