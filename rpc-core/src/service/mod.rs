//! The seam that generated servers implement: services, methods, requests; no dispatch.

mod method;
mod reply;
#[cfg(feature = "runtime")]
mod request;
#[cfg(feature = "runtime")]
mod stream_reply;

pub use method::{Method, MethodId};
pub use reply::{
    Fallible, FallibleWhole, OctetsReply, Oneway, Plain, Reply, ReplyPart, ResultType, Whole,
};
#[cfg(feature = "runtime")]
pub use request::{Answer, Handler, Outcome, Refusal, Request};
#[cfg(feature = "runtime")]
pub use stream_reply::{FallibleStreamed, StreamReply, Streamed};

/// A service as the server sees it: a name, methods, and a way to run a request.
///
/// `#[service]` implements it for the generated server type; `examples/by_hand.rs` shows what that
/// looks like.
#[cfg(feature = "runtime")]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a service",
    note = "wrap the implementation into the generated server: `GreeterServer::new(english)`"
)]
pub trait Service: Send + Sync + 'static {
    /// The service's name on the wire. A server refuses to start with two services of one name.
    fn name(&self) -> &'static str;

    /// Every method that [`call`](Service::call) knows.
    fn methods(&self) -> &'static [Method];

    /// Begins one request. It should only make the future: it may run on the connection's task, and
    /// a call that ends before its first poll counts as one that never ran.
    fn call(&self, request: Request) -> Handler;
}
