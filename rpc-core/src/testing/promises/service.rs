//! The services that write into the ledger, and the calls to them; items of streams are in `flow`.

use std::{
    future::{Future, poll_fn},
    panic::resume_unwind,
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use super::{
    flow,
    ledger::{End, Ledger, METADATA_KEY, Told, reply_text, text},
    plan::{CallPlan, Leave, Patience, Shape},
};
use crate::{
    client::{Call, Channel},
    clock,
    error::{CallError, RpcError},
    service::{Fallible, Handler, Method, Oneway, Plain, Request, Service},
};

/// The services of each server.
pub(super) const SERVICES: usize = 2;

const NAMES: [&str; SERVICES] = ["Promises.Left", "Promises.Right"];

/// Where the methods of a service stand in its table.
const PLAIN: usize = 0;
const IDEMPOTENT: usize = 1;
const FALLIBLE: usize = 2;
const ONEWAY: usize = 3;
/// A stream of items follows the arguments, or the reply, or both.
const STREAMS: usize = 4;

const METHODS: [[Method; 5]; SERVICES] = [methods(NAMES[0]), methods(NAMES[1])];

static TABLES: [[Method; 5]; SERVICES] = METHODS;
static NO_METHOD: Method = Method::new(NAMES[0], "not there");
static NO_SERVICE: Method = Method::new("Promises.Nowhere", "echo");

const fn methods(service: &'static str) -> [Method; 5] {
    [
        Method::new(service, "plain"),
        Method::new(service, "again").idempotent(),
        Method::new(service, "fallible"),
        Method::new(service, "oneway"),
        Method::new(service, "streams"),
    ]
}

/// One of the services: what its handlers do is written in the ledger.
pub(super) struct Book {
    pub(super) ledger: Arc<Ledger>,
    pub(super) service: usize,
}

impl Service for Book {
    fn name(&self) -> &'static str {
        NAMES.get(self.service).copied().unwrap_or_default()
    }

    fn methods(&self) -> &'static [Method] {
        TABLES.get(self.service).map(<[Method; 5]>::as_slice).unwrap_or_default()
    }

    fn call(&self, request: Request) -> Handler {
        let (ledger, service) = (Arc::clone(&self.ledger), self.service);
        Box::pin(async move {
            let begun = {
                let (number, text): (u32, &str) = request.args()?;
                let begun = ledger.begin(service, number, text, request.context());
                begun.map(|(call, run)| (number, call, run))
            };
            // No call of this run has such arguments: whoever made it is told nothing.
            let Some((number, call, run)) = begun else { return std::future::pending().await };
            match call.shape {
                Shape::Wait(time) if time.is_zero() => tokio::task::yield_now().await,
                Shape::Wait(time) | Shape::Oneway(time) => tokio::time::sleep(time).await,
                Shape::Forever => std::future::pending().await,
                Shape::Panic => {
                    run.panics();
                    // Without the panic hook: there are thousands of these.
                    resume_unwind(Box::new("a handler of the kit panics"));
                }
                Shape::Stream(flow, items) => {
                    return flow::answer(request, &ledger, (number, &call, run), flow, items).await;
                }
                _ => {}
            }
            run.finish();
            let text = reply_text(number, call.bytes[1]);
            match call.shape {
                Shape::Fail => request.reply::<Fallible<Result<String, String>>>(&Err(text)),
                Shape::Oneway(_) => request.reply::<Oneway>(&()),
                _ => request.reply::<Plain<String>>(&text),
            }
        })
    }
}

/// Makes a call as planned, to its end, and closes its entry.
pub(super) async fn carry_out(channel: Channel, call: CallPlan, number: u32, ledger: Arc<Ledger>) {
    let text = text(number, call.bytes[0]);
    let table = TABLES.get(call.service).unwrap_or(&TABLES[0]);
    let told = match call.shape {
        Shape::Fail => {
            let fallible =
                channel.call::<Fallible<Result<String, String>>>(&table[FALLIBLE], &(number, text));
            drop(channel);
            watch(fallible, &call, number, |ended| match ended {
                Ok(text) => (End::Value, text),
                Err(CallError::App(text)) => (End::AppError, text),
                Err(CallError::Rpc(error)) => failed(&error),
            })
            .await
        }
        Shape::Oneway(_) => {
            let oneway = channel.call::<Oneway>(&table[ONEWAY], (number, text));
            drop(channel);
            watch(oneway, &call, number, |ended| match ended {
                Ok(()) => (End::Left, String::new()),
                Err(error) => failed(&error),
            })
            .await
        }
        Shape::Stream(way, items) => {
            let method = &table[STREAMS];
            let streams = flow::calls(channel, method, (number, text), &call, way, items);
            // The time that a call has counts for each item, and this was that of all.
            let gone = || Told { end: End::Dropped, text: String::new(), waited: Duration::ZERO };
            unless_left(&call, streams).await.unwrap_or_else(gone)
        }
        shape => {
            let method = match shape {
                Shape::UnknownMethod => &NO_METHOD,
                Shape::UnknownService => &NO_SERVICE,
                _ if call.idempotent => &table[IDEMPOTENT],
                _ => &table[PLAIN],
            };
            let plain = if shape == Shape::Malformed {
                channel.call::<Plain<String>>(method, &(number, u64::MAX))
            } else {
                channel.call::<Plain<String>>(method, &(number, text))
            };
            drop(channel);
            watch(plain, &call, number, |ended| match ended {
                Ok(text) => (End::Value, text),
                Err(error) => failed(&error),
            })
            .await
        }
    };
    ledger.close(number, told);
}

pub(super) fn failed(error: &RpcError) -> (End, String) {
    (End::Failed(error.kind(), error.delivery()), error.to_string())
}

/// Polls a call to its end, or until its caller leaves.
async fn watch<T, F: From<RpcError>>(
    call: Call<T, F>,
    plan: &CallPlan,
    number: u32,
    explain: impl FnOnce(Result<T, F>) -> (End, String),
) -> Told {
    let call = with_settings(call, plan, number);
    let began = clock::now();
    let ended = unless_left(plan, async { explain(call.await) }).await;
    Told::since(began, ended.unwrap_or((End::Dropped, String::new())))
}

/// The call with the time and the metadata that are planned.
pub(super) fn with_settings<T, F: From<RpcError>>(
    call: Call<T, F>,
    plan: &CallPlan,
    number: u32,
) -> Call<T, F> {
    let call = match plan.patience {
        Patience::Usual => call,
        Patience::Timeout(timeout) => call.timeout(timeout),
        Patience::Endless => call.no_deadline(),
    };
    if plan.metadata { call.metadata(METADATA_KEY, number.to_le_bytes()) } else { call }
}

/// Waits for the end of a call, unless its caller leaves before.
async fn unless_left<T>(plan: &CallPlan, call: impl Future<Output = T>) -> Option<T> {
    match plan.leave {
        Leave::Never => Some(call.await),
        Leave::AfterPolls(polls) => some_polls(call, polls).await,
        Leave::After(time) => tokio::time::timeout(time, call).await.ok(),
    }
}

/// Polls so often, without waiting to be woken, and gives up.
async fn some_polls<T>(future: impl Future<Output = T>, polls: usize) -> Option<T> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|cx| {
        let Some(fewer) = left.checked_sub(1) else { return Poll::Ready(None) };
        left = fewer;
        if let Poll::Ready(ended) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(ended));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}
