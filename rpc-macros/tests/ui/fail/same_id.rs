//! What only the compiler sees: two methods, under conditions, with one name on the wire.

#[rpc_core::service]
pub trait Names {
    #[cfg(all())]
    async fn plus(&self);
    #[cfg(all())]
    #[rpc(name = "plus")]
    async fn sum(&self);
}

fn main() {}
