//! `Arc` and `Box` have their implementations: one for all types would be a second one.

trait Backend: Send + Sync + 'static {}

#[rpc_core::service]
pub trait Store {
    async fn get(&self, key: &str) -> Option<String>;
}

impl<B: Backend> Store for B {
    async fn get(&self, key: &str) -> Option<String> {
        Some(key.to_owned())
    }
}

fn main() {}
