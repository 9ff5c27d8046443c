//! Only an implementation of the trait can be served.

#[rpc_core::service]
pub trait Greeter {
    async fn hello(&self) -> String;
}

struct NotAGreeter;

fn main() {
    let _ = GreeterServer::new(NotAGreeter);
}
