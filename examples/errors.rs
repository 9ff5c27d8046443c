//! What can go wrong, who has to act, and whether the handler may have run.

use std::{error::Error, time::Duration};

use rpc_core::{CallError, Channel, Delivery, ErrorKind, Limits, RpcError, Server};
use rpc_transport_tcp as transport;
use serde::{Deserialize, Serialize};

#[rpc_core::service]
trait Account {
    /// Returns errors of its own.
    async fn withdraw(&self, amount: u32) -> Result<u32, AccountError>;
    /// Has a bug.
    async fn audit(&self);
    /// Never ends.
    async fn close(&self);
    /// Takes a document of any size.
    async fn upload(&self, document: &[u8]) -> u64;
}

#[derive(Debug, Serialize, Deserialize, thiserror::Error)]
enum AccountError {
    #[error("{missing} short")]
    Overdrawn { missing: u32 },
}

struct Empty;

impl Account for Empty {
    async fn withdraw(&self, amount: u32) -> Result<u32, AccountError> {
        if amount > 0 { Err(AccountError::Overdrawn { missing: amount }) } else { Ok(0) }
    }

    async fn audit(&self) {
        panic!("this panic is a part of the example");
    }

    async fn close(&self) {
        std::future::pending().await
    }

    async fn upload(&self, document: &[u8]) -> u64 {
        document.len() as u64
    }
}

/// A service that the server doesn't have.
#[rpc_core::service]
trait Elsewhere {
    async fn anything(&self);
}

/// What a caller can decide by: the kind says who must act, the delivery whether to repeat.
fn explain(error: &RpcError) {
    let advice = match error.delivery() {
        _ if error.may_repeat() => "call again",
        Delivery::NotSent | Delivery::Rejected => "it did not run, and would not the next time",
        Delivery::Replied => "it ran, and calling again would run it again",
        _ => "find out whether it ran",
    };
    println!("{error} -> {advice}");
}

fn expect<T>(result: Result<T, RpcError>, kind: ErrorKind) -> Result<(), Box<dyn Error>> {
    match result {
        Err(error) if error.kind() == kind => explain(&error),
        Err(error) => return Err(error.into()),
        Ok(_) => return Err(format!("expected an error: {kind}").into()),
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut limits = Limits::default();
    limits.message_bytes = 1024 * 1024;
    let server = Server::builder()
        .service(AccountServer::new(Empty))
        .limits(limits)
        .listen(transport::listen("127.0.0.1:0").await?)
        .start()?;
    let addr = server.local_addr()?.clone();
    let channel = Channel::connect(transport::connector(&addr)).await?;
    let account = AccountClient::new(channel.clone());

    match account.withdraw(5).await {
        Err(CallError::App(error)) => println!("the handler's own error: {error}"),
        other => return Err(format!("unexpected: {other:?}").into()),
    }
    expect(account.audit().await, ErrorKind::HandlerPanicked)?;
    expect(account.close().timeout(Duration::from_millis(20)).await, ErrorKind::DeadlineExceeded)?;
    expect(account.upload(&vec![0; 2 * 1024 * 1024]).await, ErrorKind::TooLarge)?;
    expect(ElsewhereClient::new(channel).anything().await, ErrorKind::UnknownService)?;

    // One bad call fails alone: the connection is the same as before.
    println!("still there: {} bytes", account.upload(b"small").await?);

    server.shutdown(Duration::from_secs(1)).await;
    let patient = Duration::from_millis(200);
    expect(account.upload(b"late").timeout(patient).await, ErrorKind::DeadlineExceeded)?;
    Ok(())
}
