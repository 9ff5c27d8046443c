//! Items of the kit's streams, at both ends: they come once, in order, and with an end only if their sender
//! ended them. Calls without items are in `service`.

use std::{future::pending, ops::Range, sync::Arc};

use super::{
    ledger::{End, Ledger, Run, item, reply_text},
    plan::{CallPlan, Flow},
    service::{failed, with_settings},
};
use crate::{
    client::Channel,
    service::{Method, Outcome, Plain, Request, Streamed},
    streaming::Streaming,
};

/// The handler of a call with items.
pub(super) async fn answer(
    mut request: Request,
    ledger: &Arc<Ledger>,
    (number, call, run): (u32, &CallPlan, Run),
    flow: Flow,
    items: usize,
) -> Outcome {
    let [up, down] = call.bytes;
    match flow {
        Flow::Up => {
            let mut arriving = request.items::<String>()?;
            for at in 0..=items {
                match (arriving.next().await, at < items) {
                    (Some(Ok(came)), true) if came == item(number, up, at) => {}
                    (None, false) => {}
                    // The call is over. If its handler isn't stopped now, the kit will find it.
                    (Some(Err(_)), _) => return pending().await,
                    (other, _) => ledger.mangle(number, format!("item {at} came as {other:?}")),
                }
            }
            run.finish();
            request.reply::<Plain<String>>(&reply_text(number, down))
        }
        Flow::Down => {
            run.finish();
            request.stream::<Streamed<String>>(all(number, down, 0..items))
        }
        Flow::Both => {
            let mut arriving = request.items::<String>()?;
            let (sender, leaving) = Streaming::channel(1);
            tokio::spawn(async move {
                while let Some(came) = arriving.next().await {
                    let Ok(came) = came else { return sender.abort("it isn't sent back") };
                    if sender.send(came).await.is_err() {
                        return;
                    }
                }
            });
            run.finish();
            request.stream::<Streamed<String>>(leaving)
        }
        Flow::Endless => {
            let (sender, leaving) = Streaming::channel(1);
            tokio::spawn(async move {
                for at in 0..items {
                    if sender.send(item(number, down, at)).await.is_err() {
                        return;
                    }
                }
                sender.closed().await;
            });
            run.finish();
            request.stream::<Streamed<String>>(leaving)
        }
    }
}

/// The caller of one. What it says at last is the text of a reply without items.
pub(super) async fn calls(
    channel: Channel,
    method: &'static Method,
    args: (u32, String),
    plan: &CallPlan,
    flow: Flow,
    items: usize,
) -> (End, String) {
    let (number, [up, down]) = (args.0, plan.bytes);
    if flow == Flow::Up {
        let call = with_settings(channel.call::<Plain<String>>(method, &args), plan, number);
        drop(channel);
        return match call.with_items(all(number, up, 0..items)).await {
            Ok(text) => (End::Value, text),
            Err(error) => failed(&error),
        };
    }
    let call = channel.call_stream::<Streamed<String>>(method, &args);
    drop(channel);
    let call = with_settings(call, plan, number);
    let begun = match flow {
        Flow::Both => call.with_items(all(number, up, 0..items)).await,
        _ => call.await,
    };
    let mut arriving = match begun {
        Ok(arriving) => arriving,
        Err(error) => return failed(&error),
    };
    let bytes = if flow == Flow::Both { up } else { down };
    for at in 0..=items {
        match (arriving.next().await, at < items) {
            (Some(Ok(came)), true) if came == item(number, bytes, at) => {}
            (None, false) => {}
            (Some(Err(error)), _) => return failed(&error),
            (other, _) => return (End::Value, format!("item {at} came as {other:?}")),
        }
    }
    (End::Value, reply_text(number, down))
}

fn all(number: u32, bytes: usize, which: Range<usize>) -> Streaming<String> {
    which.map(move |at| item(number, bytes, at)).collect()
}
