//! Serves greetings, and prints where.

use std::error::Error;

use hello_ours::{Greeter, GreeterServer};
use rpc_core::Server;
use rpc_transport_tcp as transport;

struct English;

impl Greeter for English {
    async fn hello(&self, name: &str) -> String {
        format!("Hello, {name}!")
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = transport::listen("127.0.0.1:0").await?;
    println!("{}", listener.local_addr());
    let mut server =
        Server::builder().service(GreeterServer::new(English)).listen(listener).start()?;
    server.wait().await;
    Ok(())
}
