//! The number of arguments is fixed.

#[rpc_core::service]
pub trait Greeter {
    async unsafe extern "C" fn variadic(&self, args: ...);
}

fn main() {}
