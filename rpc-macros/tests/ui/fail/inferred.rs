//! The compiler itself refuses `_`.

#[rpc_core::service]
pub trait Types {
    async fn inferred(&self, p: Vec<_>);
}

fn main() {}
