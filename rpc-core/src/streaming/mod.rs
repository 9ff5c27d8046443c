//! Streams of items, as handlers and callers see them; how items travel is the mux's business.

mod incoming;
mod pump;
mod sender;

use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
    vec,
};

use futures_core::Stream;

pub(crate) use incoming::{Caller, Incoming};
use pump::Broken;
pub(crate) use pump::{ArgumentPump, Items, Pump, Pumped};
pub use sender::StreamSender;

use crate::{
    codec::{Bincode, Codec, DecodeError},
    error::RpcError,
};

/// Items one after the other: what a method with `Streaming<T>` in its signature takes or returns.
///
/// Whoever sends makes one of any [`Stream`] with [`new`](Streaming::new), or of values that come up
/// elsewhere with [`channel`](Streaming::channel). Whoever receives awaits
/// [`next`](Streaming::next), or uses it as a [`Stream`], of `Result<T, RpcError>`: `None` says that
/// the sender has finished, an error that it broke off, and why. There is nothing after an error.
///
/// Items are sent as the reader takes them: some 64 KiB are under way at first, up to 2 MiB for a
/// reader that keeps up. Dropping a stream tells the other side, which drops its half.
///
/// Within one process it works as well: what was made of a stream yields `Ok` of its items, and what
/// comes from a sender an error if that breaks off.
#[must_use = "a stream does nothing unless it is read or returned"]
pub struct Streaming<T> {
    source: Source<T>,
}

enum Source<T> {
    /// Made in this process.
    Local(Pin<Box<dyn Stream<Item = T> + Send>>),
    /// Made in this process through a sender, which may break it off.
    Sent(Pin<Box<dyn Stream<Item = Result<T, Broken>> + Send>>),
    /// Comes over a connection. The function knows `T`.
    Remote(Incoming, fn(&[u8]) -> Result<T, DecodeError>),
}

impl<T> Streaming<T> {
    /// Makes one of a stream.
    pub fn new(stream: impl Stream<Item = T> + Send + 'static) -> Self {
        Self { source: Source::Local(Box::pin(stream)) }
    }

    pub(crate) fn remote(incoming: Incoming) -> Self
    where
        T: serde::de::DeserializeOwned,
    {
        Self { source: Source::Remote(incoming, |item| Bincode::decode(item)) }
    }

    /// The next item, or `None` after the last.
    ///
    /// # Errors
    /// The other side broke off, or an item did not come in time (the call's timeout counts for each
    /// item), or could not be decoded. The stream is over then.
    ///
    /// # Cancel safety
    /// No item is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Result<T, RpcError>> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl<T: Send + 'static> Streaming<T> {
    /// A stream of what is sent through the other half, of which `capacity` items (1 at least) may
    /// wait. It ends when the sender and its clones are dropped, and breaks off when one of them is
    /// aborted or dropped by a panic.
    pub fn channel(capacity: usize) -> (StreamSender<T>, Self) {
        sender::channel(capacity)
    }
}

impl<T> Unpin for Streaming<T> {}

impl<T> Stream for Streaming<T> {
    type Item = Result<T, RpcError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match &mut self.source {
            Source::Local(stream) => stream.as_mut().poll_next(cx).map(|item| item.map(Ok)),
            Source::Sent(items) => items.as_mut().poll_next(cx).map_err(Broken::within_process),
            Source::Remote(incoming, decode) => {
                let Some(item) = ready!(incoming.poll_next(cx)) else { return Poll::Ready(None) };
                let decoded =
                    item.and_then(|item| decode(&item).map_err(|error| incoming.refuse(error)));
                Poll::Ready(Some(decoded))
            }
        }
    }
}

impl<T: Send + 'static> From<Vec<T>> for Streaming<T> {
    fn from(items: Vec<T>) -> Self {
        items.into_iter().collect()
    }
}

impl<T: Send + 'static> FromIterator<T> for Streaming<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        Self::new(Ready(items.into_iter().collect::<Vec<_>>().into_iter()))
    }
}

/// A stream whose items are there.
struct Ready<T>(vec::IntoIter<T>);

impl<T> Unpin for Ready<T> {}

impl<T> Stream for Ready<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<T>> {
        Poll::Ready(self.0.next())
    }
}

impl<T> fmt::Debug for Streaming<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = match &self.source {
            Source::Local(_) | Source::Sent(_) => "local",
            Source::Remote(..) => "remote",
        };
        f.debug_struct("Streaming").field("source", &source).finish_non_exhaustive()
    }
}
