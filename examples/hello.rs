//! Server and client in one process: a greeting, the handler's own error, a call that takes too
//! long.
//!
//! `cargo run --example hello`, or with `-- --transport udp` or `-- --transport memory`.
//!
//! ```text
//! greeting: Hello, Ada!
//! typed error: nobody to greet
//! timed out: Greeter.nap: deadline exceeded: no reply within 50ms (the handler may have run)
//! ```

use std::{error::Error, time::Duration};

use rpc_core::{
    CallError, Channel, Server,
    transport::{Connector, Listener, memory},
};
use rpc_transport_tcp as transport; // swap: use rpc_transport_udp as transport;
use rpc_transport_udp as udp;
use serde::{Deserialize, Serialize};

/// What both sides share: usually a crate of its own.
#[rpc_core::service]
trait Greeter {
    /// Greets one person.
    async fn hello(&self, name: &str) -> Result<String, GreetError>;
    /// Takes its time.
    async fn nap(&self, time: Duration);
}

#[derive(Debug, Serialize, Deserialize, thiserror::Error)]
enum GreetError {
    #[error("nobody to greet")]
    Empty,
}

/// The server's side.
struct English;

impl Greeter for English {
    async fn hello(&self, name: &str) -> Result<String, GreetError> {
        if name.is_empty() {
            return Err(GreetError::Empty);
        }
        Ok(format!("Hello, {name}!"))
    }

    async fn nap(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

/// The client's side.
async fn greet(greeter: GreeterClient) -> Result<(), Box<dyn Error>> {
    println!("greeting: {}", greeter.hello("Ada").await?);

    match greeter.hello("").await {
        Err(CallError::App(error)) => println!("typed error: {error}"),
        other => return Err(format!("expected an error of the handler: {other:?}").into()),
    }

    let nap = greeter.nap(Duration::from_secs(5)).timeout(Duration::from_millis(50));
    match nap.await {
        Err(error) => println!("timed out: {error}"),
        Ok(()) => return Err("expected a timeout".into()),
    }
    Ok(())
}

async fn run(listener: impl Listener, connector: impl Connector) -> Result<(), Box<dyn Error>> {
    let server = Server::builder().service(GreeterServer::new(English)).listen(listener).start()?;
    let channel = Channel::connect(connector).await?;
    greet(GreeterClient::new(channel)).await?;
    server.shutdown(Duration::from_secs(1)).await;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        [] | ["--transport", "tcp"] => {
            let listener = transport::listen("127.0.0.1:0").await?;
            let connector = transport::connector(listener.local_addr());
            run(listener, connector).await
        }
        ["--transport", "udp"] => {
            let listener = udp::listen("127.0.0.1:0").await?;
            let connector = udp::connector(listener.local_addr());
            run(listener, connector).await
        }
        ["--transport", "memory"] => {
            let listener = memory::listen("hello").await?;
            run(listener, memory::connector("hello")).await
        }
        _ => Err("usage: hello [--transport tcp|udp|memory]".into()),
    }
}
