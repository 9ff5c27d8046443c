//! The protocol on tokio: sockets, tasks and timers; what goes into datagrams is `proto`'s business.
//!
//! The map of this directory: `ready` is when a socket has some, `socket` moves datagrams, many with
//! one system call; `endpoint` is the task that reads a server's socket, and `inbound` the queue
//! through which a session gets its own; `transport` is one session as core drives it, with `intake`
//! for what comes in, `ends` for where frames come from and go to, and `failure` for why it is over;
//! `listener` and `connector` make them.

pub(crate) mod clock;
mod connector;
mod endpoint;
mod ends;
mod failure;
mod inbound;
mod intake;
mod listener;
#[cfg(all(test, rpc_shuttle))]
mod models;
pub(crate) mod positions;
mod ready;
pub(crate) mod socket;
#[cfg(test)]
mod tests;
mod timer;
mod transport;

pub use connector::UdpConnector;
pub use listener::UdpListener;
pub use transport::UdpTransport;
