//! What `#[rpc_core::service]` writes, written by hand against the public API.
//!
//! The trait, the client and the server below are what the attribute makes of
//!
//! ```ignore
//! #[rpc_core::service]
//! trait Calculator {
//!     async fn add(&self, a: i64, b: i64) -> i64;
//!     async fn divide(&self, a: i64, b: i64) -> Result<i64, String>;
//! }
//! ```

use std::{error::Error, sync::Arc};

use rpc_core::{
    Call, CallError, Channel, RpcError, Server,
    service::{Fallible, Handler, Method, Plain, Request, Service},
};
use rpc_transport_tcp as transport;

/// The contract. Implementers write `async fn`.
trait Calculator: Send + Sync + 'static {
    fn add(&self, a: i64, b: i64) -> impl Future<Output = i64> + Send;
    fn divide(&self, a: i64, b: i64) -> impl Future<Output = Result<i64, String>> + Send;
}

const ADD: Method = Method::new("Calculator", "add").idempotent();
const DIVIDE: Method = Method::new("Calculator", "divide").idempotent();

/// The client: one method per method, each a call into the channel.
#[derive(Clone, Debug)]
struct CalculatorClient {
    channel: Channel,
}

impl CalculatorClient {
    fn new(channel: Channel) -> Self {
        Self { channel }
    }

    fn add(&self, a: i64, b: i64) -> Call<i64, RpcError> {
        self.channel.call::<Plain<i64>>(&ADD, (a, b))
    }

    fn divide(&self, a: i64, b: i64) -> Call<i64, CallError<String>> {
        self.channel.call::<Fallible<Result<i64, String>>>(&DIVIDE, (a, b))
    }
}

/// The server: decodes arguments, calls the implementation, encodes what it returns.
struct CalculatorServer<S> {
    service: Arc<S>,
}

impl<S: Calculator> Service for CalculatorServer<S> {
    fn name(&self) -> &'static str {
        "Calculator"
    }

    fn methods(&self) -> &'static [Method] {
        &[ADD, DIVIDE]
    }

    fn call(&self, request: Request) -> Handler {
        let service = Arc::clone(&self.service);
        match request.method() {
            id if id == ADD.id() => Box::pin(async move {
                let (a, b) = request.args()?;
                let reply = service.add(a, b).await;
                request.reply::<Plain<i64>>(&reply)
            }),
            id if id == DIVIDE.id() => Box::pin(async move {
                let (a, b) = request.args()?;
                let reply = service.divide(a, b).await;
                request.reply::<Fallible<Result<i64, String>>>(&reply)
            }),
            _ => request.unknown_method(),
        }
    }
}

struct Exact;

impl Calculator for Exact {
    async fn add(&self, a: i64, b: i64) -> i64 {
        a.wrapping_add(b)
    }

    async fn divide(&self, a: i64, b: i64) -> Result<i64, String> {
        a.checked_div(b).ok_or_else(|| format!("{a} / {b} is no number"))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let server = Server::builder()
        .service(CalculatorServer { service: Arc::new(Exact) })
        .listen(transport::listen("127.0.0.1:0").await?)
        .start()?;
    let channel = Channel::connect(transport::connector(server.local_addr()?)).await?;
    let calculator = CalculatorClient::new(channel);

    println!("2 + 3 = {}", calculator.add(2, 3).await?);
    println!("7 / 2 = {}", calculator.divide(7, 2).await?);
    match calculator.divide(1, 0).await {
        Err(CallError::App(error)) => println!("the handler says: {error}"),
        other => println!("unexpected: {other:?}"),
    }
    Ok(())
}
