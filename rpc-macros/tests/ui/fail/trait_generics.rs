//! A service has one meaning on the wire. What is generic is the implementation.

use rpc_core::service;

#[service]
pub trait Store<'a, K, const N: usize> {
    async fn get(&self, key: K) -> [u8; N];
}

struct Memory;

#[service]
pub trait Concrete {
    async fn get(&self, key: String) -> Vec<u8>;
}

impl<T: Send + Sync + 'static> Concrete for std::sync::Mutex<T> {
    async fn get(&self, key: String) -> Vec<u8> {
        key.into()
    }
}

fn main() {
    let _ = StoreServer::new(Memory);
    let _ = ConcreteServer::new(std::sync::Mutex::new(Memory));
}
