//! Only strings and bytes can be borrowed from a request.

pub struct Config;

#[rpc_core::service]
pub trait Borrows {
    async fn reference(&self, config: &Config);
    async fn path(&self, config: &std::collections::HashMap<u8, Vec<Config>>);
    async fn mutable(&self, config: &mut Config);
    async fn string(&self, name: &String);
    async fn mutable_str(&self, name: &mut str);
    async fn slice(&self, list: &[Config], bytes: &Vec<u8>);
    async fn nested(&self, list: Vec<(u8, &Config)>);
    async fn dynamic(&self, f: &dyn Fn());
}

fn main() {}
