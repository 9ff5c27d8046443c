//! rpc-core may be renamed, or come through another crate.

mod my {
    pub mod framework {
        pub use rpc_core::*;
    }
}

#[my::framework::service(crate = "crate::my::framework")]
trait Renamed {
    async fn get(&self) -> Result<u8, String>;
}

mod nested {
    use super::my;

    #[my::framework::service(crate = "my::framework", name = "nested.v1")]
    pub trait Nested {
        #[rpc(name = "get.v2", idempotent)]
        async fn get(&self, bytes: &[u8]) -> u8;
    }
}

fn main() {}
