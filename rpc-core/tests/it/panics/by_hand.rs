//! A service written by hand: its own code, and that of its futures, is user code too.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll},
};

use rpc_core::{
    Call, Delivery, ErrorKind,
    service::{self, Handler, Method, Outcome, Request, Service},
};

use super::{SLOTS, blow};
use crate::rig::{Rig, check, rig};

struct ByHand;

static BY_HAND: [Method; 3] = [
    Method::new("ByHand", "panics_when_called"),
    Method::new("ByHand", "panics_when_polled"),
    Method::new("ByHand", "panics_when_dropped"),
];

/// Answers at once, and panics when it is dropped.
struct AnswersAndPanics(Option<Request>);

impl Future for AnswersAndPanics {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Outcome> {
        match self.0.take() {
            Some(request) => Poll::Ready(request.reply::<service::Plain<u64>>(&1)),
            None => Poll::Pending,
        }
    }
}

impl Drop for AnswersAndPanics {
    fn drop(&mut self) {
        blow();
    }
}

impl Service for ByHand {
    fn name(&self) -> &'static str {
        "ByHand"
    }
    fn methods(&self) -> &'static [Method] {
        &BY_HAND
    }
    fn call(&self, request: Request) -> Handler {
        match BY_HAND.iter().position(|method| method.id() == request.method()) {
            Some(0) => {
                blow();
                request.unknown_method()
            }
            Some(1) => Box::pin(poll_fn(|_| {
                blow();
                Poll::Pending
            })),
            _ => Box::pin(AnswersAndPanics(Some(request))),
        }
    }
}

#[tokio::test]
async fn a_panic_in_a_service_written_by_hand_fails_its_own_call_only() {
    let Rig { channel, dials, server: _server } = rig(ByHand, SLOTS).await;
    for method in &BY_HAND {
        // Often enough that they run both in tasks and inline.
        for _ in 0..40 {
            let call: Call<u64> = channel.call::<service::Plain<u64>>(method, &());
            match call.await {
                Err(error) => check(&error, ErrorKind::HandlerPanicked, Delivery::Replied),
                // Its answer was complete before it panicked.
                Ok(answer) => assert_eq!((method.name(), answer), ("panics_when_dropped", 1)),
            }
        }
    }
    assert_eq!(dials.count(), 1);
}
