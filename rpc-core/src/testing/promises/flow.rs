//! Items of the kit's streams, at both ends: they come once, in order, and with an end only if their sender
//! ended them. Calls without items are in `service`.

use std::{future::pending, ops::Range, sync::Arc};

use super::{
    ledger::{End, Ledger, Run, Told, item, reply_text},
    plan::{CallPlan, Flow, Reading},
    service::{failed, with_settings},
};
use crate::{
    client::Channel,
    clock,
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
                if leaves_before(at, &call.reading).await {
                    break;
                }
                match (arriving.next().await, at < items) {
                    (Some(Ok(came)), true) if came == item(number, up, at) => {}
                    (None, false) => {}
                    // The call is over. If its handler isn't stopped now, the kit will find it.
                    (Some(Err(_)), _) => return pending().await,
                    (other, _) => ledger.mangle(number, format!("item {at} came as {other:?}")),
                }
            }
            drop(arriving);
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

/// The caller of one. What it says at last is the text of a reply without items. How long it has waited
/// is the time since what it got last, in which its own pauses don't count.
pub(super) async fn calls(
    channel: Channel,
    method: &'static Method,
    args: (u32, String),
    plan: &CallPlan,
    flow: Flow,
    items: usize,
) -> Told {
    let began = clock::now();
    let (number, [up, down]) = (args.0, plan.bytes);
    if flow == Flow::Up {
        let call = with_settings(channel.call::<Plain<String>>(method, &args), plan, number);
        drop(channel);
        let ended = match call.with_items(all(number, up, 0..items)).await {
            Ok(text) => (End::Value, text),
            Err(error) => failed(&error),
        };
        return Told::since(began, ended);
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
        Err(error) => return Told::since(began, failed(&error)),
    };
    let bytes = if flow == Flow::Both { up } else { down };
    let mut at = 0;
    loop {
        let leaves = leaves_before(at, &plan.reading).await;
        let began = clock::now();
        if leaves {
            return Told::since(began, (End::Dropped, String::new()));
        }
        let ended = match (arriving.next().await, at < items) {
            (Some(Ok(came)), true) if came == item(number, bytes, at) => {
                at += 1;
                continue;
            }
            (None, false) => (End::Value, reply_text(number, down)),
            (Some(Err(error)), _) => match arriving.next().await {
                None => failed(&error),
                other => (End::Value, format!("behind an error came {other:?}")),
            },
            (other, _) => (End::Value, format!("item {at} came as {other:?}")),
        };
        return Told::since(began, ended);
    }
}

/// What a reader does before the item at this place. Returns whether it goes.
async fn leaves_before(at: usize, reading: &Reading) -> bool {
    if let Some((_, time)) = reading.pause.filter(|(before, _)| *before == at) {
        tokio::time::sleep(time).await;
    }
    reading.leave == Some(at)
}

fn all(number: u32, bytes: usize, which: Range<usize>) -> Streaming<String> {
    which.map(move |at| item(number, bytes, at)).collect()
}
