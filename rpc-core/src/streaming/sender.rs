//! The half through which items enter a stream one by one.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;
use tokio::sync::mpsc;

use super::Streaming;

/// Sends items into a stream: the other half of [`Streaming::channel`]. Cheap to clone.
pub struct StreamSender<T> {
    items: mpsc::Sender<T>,
}

pub(super) fn channel<T: Send + 'static>(capacity: usize) -> (StreamSender<T>, Streaming<T>) {
    let (items, received) = mpsc::channel(capacity.max(1));
    (StreamSender { items }, Streaming::new(Receiver(received)))
}

impl<T> StreamSender<T> {
    /// Sends an item, as soon as there is room for it.
    ///
    /// # Errors
    /// Nobody reads the stream any more: the item comes back.
    ///
    /// # Cancel safety
    /// If the future is dropped the item is lost, and was not sent.
    pub async fn send(&self, item: T) -> Result<(), T> {
        self.items.send(item).await.map_err(|error| error.0)
    }

    /// Waits until nobody reads the stream any more.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn closed(&self) {
        self.items.closed().await;
    }
}

impl<T> Clone for StreamSender<T> {
    fn clone(&self) -> Self {
        Self { items: self.items.clone() }
    }
}

impl<T> fmt::Debug for StreamSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamSender")
            .field("closed", &self.items.is_closed())
            .finish_non_exhaustive()
    }
}

struct Receiver<T>(mpsc::Receiver<T>);

impl<T> Stream for Receiver<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        self.0.poll_recv(cx)
    }
}
