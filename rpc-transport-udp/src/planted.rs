//! Bugs that are planted on purpose, to see whether the tests find them: `.ci/planted` lists them and
//! tries each. Only builds with `--cfg rpc_planted` have any.

/// Whether the bug of this name is in. Without the cfg this is a constant, and nothing of the bug is
/// compiled.
#[cfg(not(rpc_planted))]
#[inline(always)]
pub(crate) const fn planted(_name: &str) -> bool {
    false
}

/// Whether the bug of this name is in: the one that `RPC_PLANTED` named when it was first asked.
#[cfg(rpc_planted)]
pub(crate) fn planted(name: &str) -> bool {
    static CHOSEN: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    CHOSEN.get_or_init(|| std::env::var("RPC_PLANTED").ok()).as_deref() == Some(name)
}
