//! Docs, `#[deprecated]`, `#[must_use]` and lints go where they mean something, and nothing warns.

#![deny(warnings, missing_docs, unreachable_pub, unused, unused_qualifications)]
#![deny(clippy::all, clippy::pedantic, elided_lifetimes_in_paths, missing_debug_implementations)]

/// Counts.
#[rpc_core::service]
#[allow(async_fn_in_trait)]
pub trait Counter {
    /// Counts up.
    ///
    /// With more than one line.
    #[must_use = "a count"]
    async fn count(&self, by: u32) -> u32;

    /// The old way.
    #[deprecated = "use `count`"]
    async fn increment(&self) -> u32;

    /// An odd name, and a body that doesn't use it.
    #[expect(non_snake_case)]
    #[cfg_attr(all(), deprecated)]
    async fn countUp(&self, _by: u32) -> u32 {
        1
    }

    #[doc(hidden)]
    async fn hidden(&self);
}

mod inner {
    //! Visibility doesn't matter to lints.

    #[rpc_core::service]
    pub(crate) trait Unused {
        async fn nothing(&self, at_all: u8);
    }

    #[rpc_core::service]
    trait Private {
        async fn nothing(&self);
    }
}

#[allow(dead_code, reason = "it may be a module")]
fn main() {}
