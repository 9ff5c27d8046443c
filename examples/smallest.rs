//! Hello world in 20 lines: a contract, a server, a client, a call over TCP.

use rpc_core::{Channel, Server};
use rpc_transport_tcp as transport;

#[rpc_core::service]
trait Greeter {
    async fn hello(&self, name: &str) -> String;
}

struct English;
impl Greeter for English {
    async fn hello(&self, name: &str) -> String {
        format!("Hello, {name}!")
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = transport::listen("127.0.0.1:0").await?;
    let server = Server::builder().service(GreeterServer::new(English)).listen(listener).start()?;
    let channel = Channel::connect(transport::connector(server.local_addr()?)).await?;
    println!("{}", GreeterClient::new(channel).hello("Ada").await?);
    Ok(())
}
