//! The UDP transport of [`rpc_core`]: frames in datagrams, reliable and at most once; no encryption.

mod driver;
mod options;
mod proto;
#[cfg(feature = "testing")]
pub mod testing;

use std::io;

pub use driver::{UdpConnector, UdpListener, UdpTransport};
pub use options::UdpOptions;

/// Listens on `addr` with the default [`UdpOptions`].
///
/// # Errors
/// The address is malformed (`InvalidInput`), its name can't be resolved, or none of its addresses
/// can be bound; the message names each with its cause.
pub async fn listen(addr: impl ToString) -> io::Result<UdpListener> {
    UdpOptions::new().listen(addr).await
}

/// Connects to `addr` with the default [`UdpOptions`], whenever a session is needed.
///
/// Nothing happens here: names are resolved, and a malformed address is reported, at each connect.
#[must_use]
pub fn connector(addr: impl ToString) -> UdpConnector {
    UdpOptions::new().connector(addr)
}
