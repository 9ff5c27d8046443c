//! `#[rpc]` knows two keys.

#[rpc_core::service]
pub trait Keys {
    #[rpc(retries = 3, timeout)]
    async fn unknown(&self);
    #[rpc(idempotent, idempotent)]
    async fn twice(&self);
    #[rpc(idempotent)]
    #[rpc(name = "a", idempotent)]
    async fn twice_in_two(&self);
    #[rpc(idempotent = true)]
    async fn flag(&self);
    #[rpc(name)]
    async fn no_value(&self);
    #[rpc(name = 3)]
    async fn number(&self);
    #[rpc(name = "")]
    async fn empty(&self);
    #[rpc]
    async fn nothing(&self);
    #[rpc = "name"]
    async fn value(&self);
    #[rpc(name: "x")]
    async fn syntax(&self);
    #[cfg_attr(all(), rpc(idempotent))]
    async fn conditional(&self);
}

fn main() {}
