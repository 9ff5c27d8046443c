//! What goes over the wire has a known type.

#[rpc_core::service]
pub trait Greeter {
    async fn boxed(&self, error: Box<dyn std::error::Error>);
    async fn borrowed(&self, f: &dyn Fn());
}

fn main() {}
