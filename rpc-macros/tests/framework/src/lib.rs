//! A framework of somebody else's that re-exports rpc-core and writes services with a macro; no
//! code that runs.

pub use rpc_core as rpc;

/// Writes a service that counts, for whoever has this crate only.
#[macro_export]
macro_rules! counter {
    ($(#[$attr:meta])* $vis:vis $name:ident counts $number:ty) => {
        $(#[$attr])*
        #[$crate::rpc::service(crate = $crate::rpc)]
        $vis trait $name {
            /// Adds to the count, and returns it.
            async fn add(&self, number: $number) -> $number;
        }
    };
}
