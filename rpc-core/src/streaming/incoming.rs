//! The reading end of a stream that comes over a connection: items as bytes, the wait for each, the
//! end.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use crate::{
    client::Channel,
    clock,
    codec::DecodeError,
    connection::Connection,
    error::{Delivery, ErrorKind, RpcError},
    frame::CallId,
    mux::{NextItem, StreamEnd},
    service::Method,
    sync::{AbortHandle, Sleep, sleep, sleep_until},
};

/// A stream of encoded items.
pub(crate) struct Incoming {
    connection: Arc<Connection>,
    id: CallId,
    /// Whether nothing comes any more.
    is_over: bool,
    /// On the caller's side.
    caller: Option<Caller>,
}

/// What a caller's side knows beside.
pub(crate) struct Caller {
    /// Held, so that the connection stays.
    pub(crate) _channel: Channel,
    pub(crate) method: &'static Method,
    /// How long each item may take.
    pub(crate) patience: Option<Duration>,
    pub(crate) timer: Option<Pin<Box<Sleep>>>,
    /// The task that sends the arguments' items, stopped with the call.
    pub(crate) pump: Option<AbortHandle>,
}

impl Incoming {
    pub(crate) fn new(connection: Arc<Connection>, id: CallId, caller: Option<Caller>) -> Self {
        Self { connection, id, is_over: false, caller }
    }

    pub(super) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Vec<u8>, RpcError>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        match self.connection.poll_item(self.id, cx.waker()) {
            Poll::Ready(NextItem::Item(item)) => {
                if let Some(Caller { timer, .. }) = &mut self.caller {
                    *timer = None;
                }
                Poll::Ready(Some(Ok(item)))
            }
            Poll::Ready(NextItem::End(end)) => {
                self.end();
                Poll::Ready(self.explain(end).map(Err))
            }
            Poll::Pending => self.poll_patience(cx),
        }
    }

    /// Whether the wait for the next item has been too long.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Vec<u8>, RpcError>>> {
        let Some(Caller { patience: Some(patience), timer, .. }) = &mut self.caller else {
            return Poll::Pending;
        };
        let patience = *patience;
        let timer = timer.get_or_insert_with(|| {
            let by = clock::now().checked_add(patience);
            Box::pin(by.map_or_else(|| sleep(patience), |by| sleep_until(by.into())))
        });
        if timer.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.end();
        let text = format!("no item within {patience:?}");
        let error = RpcError::new(ErrorKind::DeadlineExceeded, Delivery::Unknown, text);
        Poll::Ready(Some(Err(self.of_method(error))))
    }

    /// An item that isn't what the reader expects.
    pub(super) fn refuse(&mut self, error: DecodeError) -> RpcError {
        self.end();
        let kind = if self.caller.is_some() {
            ErrorKind::MalformedReply
        } else {
            ErrorKind::MalformedRequest
        };
        let text = "an item could not be decoded";
        self.of_method(RpcError::new(kind, Delivery::Replied, text).with_source(error))
    }

    /// What the end says to whoever waits for an item.
    fn explain(&self, end: StreamEnd) -> Option<RpcError> {
        let error = match end {
            StreamEnd::Finished => return None,
            StreamEnd::Failed { kind, delivery, detail } => RpcError::new(kind, delivery, detail),
            StreamEnd::Lost => match self.connection.closed() {
                Some(closed) => RpcError::new(closed.kind, Delivery::Unknown, closed.text),
                None => RpcError::new(ErrorKind::ConnectionLost, Delivery::Unknown, ""),
            },
        };
        Some(self.of_method(error))
    }

    fn of_method(&self, error: RpcError) -> RpcError {
        match &self.caller {
            Some(caller) => error.of_method(caller.method),
            None => error,
        }
    }

    /// Nothing more is wanted: the other side is told, unless it has finished.
    fn end(&mut self) {
        if !std::mem::replace(&mut self.is_over, true) {
            self.connection.drop_reader(self.id);
            if let Some(pump) = self.caller.as_mut().and_then(|caller| caller.pump.take()) {
                pump.abort();
            }
        }
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.end();
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("is_over", &self.is_over).finish_non_exhaustive()
    }
}
