//! Arguments and methods may be called like anything that generated code uses.

#![deny(warnings)]

#[rpc_core::service]
pub trait Names {
    async fn call(&self, request: u8, service: u8, reply: u8, id: u8, channel: u8) -> u8;
    async fn clone(&self, self_: u8, method: u8, args: u8, context: u8, rpc: u8) -> u8;
    async fn name(&self, call: u8, result: u8, this: u8, r#type: u8, r#fn: &str) -> u8;
    async fn methods(&self) -> u8;
    async fn drop(&self) -> u8;
    async fn rpc(&self) -> u8;
    async fn fmt(&self) -> u8;
    async fn from_arc(&self) -> u8;
    async fn r#match(&self) -> u8;
}

#[rpc_core::service]
#[allow(non_camel_case_types)]
pub trait r#trait {
    async fn r#async(&self, r#await: u8);
}

/// Also called like the type parameter of other servers.
#[rpc_core::service]
pub trait S {
    async fn s(&self, s: T) -> Result<Vec<u8>, T>;
}

#[derive(serde::Serialize, serde::Deserialize)]
pub struct T;

fn calls(names: &NamesClient, raw: &traitClient, s: &SClient) {
    let _ = (names.r#match(), names.methods(), raw.r#async(1), s.s(T));
}

fn main() {
    let _ = calls;
}
