//! The half through which items enter a stream one by one, and what happens at its end.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, PoisonError},
    task::{Context, Poll, Waker},
    thread,
};

use futures_core::Stream;
use tokio::sync::mpsc;

use super::{Source, Streaming, pump::Broken};
use crate::sync::{Mutex, MutexGuard};

/// Sends items into a stream: the other half of [`Streaming::channel`]. Cheap to clone.
///
/// # How the stream ends
/// | what happens | what the reader gets after the items |
/// |---|---|
/// | the sender and all its clones are dropped | the end: these were all items |
/// | [`abort`](StreamSender::abort), of any of them | an error: there are items missing |
/// | one of them is dropped by a panic of its thread or task | an error |
///
/// A drop is a regular end whatever is the reason for it. A task that can be stopped before it has sent
/// everything (by a timeout around it, by `JoinHandle::abort`) or that returns early at an error ends the
/// stream as well, and half of it looks like all of it: `abort` it there.
pub struct StreamSender<T> {
    items: mpsc::Sender<T>,
    breach: Arc<Breach>,
}

pub(super) fn channel<T: Send + 'static>(capacity: usize) -> (StreamSender<T>, Streaming<T>) {
    let (items, received) = mpsc::channel(capacity.max(1));
    let breach = Arc::default();
    let receiver =
        Receiver { items: received, breach: Arc::clone(&breach), broken: None, is_over: false };
    (StreamSender { items, breach }, Streaming { source: Source::Sent(Box::pin(receiver)) })
}

impl<T> StreamSender<T> {
    /// Sends an item, as soon as there is room for it.
    ///
    /// # Errors
    /// Nobody reads the stream any more, or it was aborted: the item comes back.
    ///
    /// # Cancel safety
    /// If the future is dropped the item is lost, and was not sent.
    pub async fn send(&self, item: T) -> Result<(), T> {
        self.items.send(item).await.map_err(|error| error.0)
    }

    /// Waits until nobody reads the stream any more, or it was aborted.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn closed(&self) {
        self.items.closed().await;
    }

    /// Breaks the stream off, for the clones as well: what was sent isn't everything, and won't be. What
    /// is sent before that arrives, and then an error of the kind *cancelled*, with `why` in its text.
    ///
    /// For a stream among arguments that is the error of its call, or of the stream in reply if that has
    /// begun, and the handler is stopped as by any cancel.
    pub fn abort(self, why: impl fmt::Display) {
        self.breach.open(Broken::Aborted(format!("the stream was aborted: {why}")));
    }
}

impl<T> Clone for StreamSender<T> {
    fn clone(&self) -> Self {
        Self { items: self.items.clone(), breach: Arc::clone(&self.breach) }
    }
}

impl<T> Drop for StreamSender<T> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.breach.open(Broken::Panicked);
        }
    }
}

impl<T> fmt::Debug for StreamSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamSender")
            .field("closed", &self.items.is_closed())
            .finish_non_exhaustive()
    }
}

/// Whether the stream was broken off, beside its items: an abort needs no room.
#[derive(Default)]
struct Breach(Mutex<(Option<Broken>, Option<Waker>)>);

impl Breach {
    /// The first reason counts.
    fn open(&self, why: Broken) {
        let waker = {
            let mut breach = self.lock();
            breach.0.get_or_insert(why);
            breach.1.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn take(&self) -> Option<Broken> {
        self.lock().0.take()
    }

    /// Takes the reason, or leaves a waker for when there is one.
    fn poll(&self, waker: &Waker) -> Option<Broken> {
        let waker = waker.clone();
        let (broken, old) = {
            let mut breach = self.lock();
            (breach.0.take(), breach.1.replace(waker))
        };
        drop(old);
        broken
    }

    fn lock(&self) -> MutexGuard<'_, (Option<Broken>, Option<Waker>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Receiver<T> {
    items: mpsc::Receiver<T>,
    breach: Arc<Breach>,
    /// Why the stream breaks off behind the items that are still to come.
    broken: Option<Broken>,
    is_over: bool,
}

impl<T> Stream for Receiver<T> {
    type Item = Result<T, Broken>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        while !this.is_over {
            match this.items.poll_recv(cx) {
                Poll::Ready(Some(item)) => return Poll::Ready(Some(Ok(item))),
                Poll::Ready(None) => {
                    this.is_over = true;
                    let broken = this.broken.take().or_else(|| this.breach.take());
                    return Poll::Ready(broken.map(Err));
                }
                Poll::Pending if this.broken.is_some() => return Poll::Pending,
                Poll::Pending => {
                    this.broken = this.breach.poll(cx.waker());
                    if this.broken.is_none() {
                        return Poll::Pending;
                    }
                    // What was sent before comes first; clones send no more.
                    this.items.close();
                }
            }
        }
        Poll::Ready(None)
    }
}

#[cfg(all(test, rpc_shuttle))]
mod models {
    use std::future::poll_fn;

    use shuttle::{future::block_on, thread};

    use super::*;
    use crate::models::exhaust;

    #[test]
    fn who_waits_for_a_breach_hears_of_the_first() {
        exhaust(|| {
            let breach = Arc::<Breach>::default();
            let threads = [0; 2].map(|_| {
                let breach = Arc::clone(&breach);
                thread::spawn(move || breach.open(Broken::Panicked))
            });
            let heard = poll_fn(|cx| breach.poll(cx.waker()).map_or(Poll::Pending, Poll::Ready));
            assert_eq!(block_on(heard), Broken::Panicked);
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
    }
}
