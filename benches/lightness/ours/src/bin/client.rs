//! Makes one call, prints the greeting.

use std::{env, error::Error};

use hello_ours::GreeterClient;
use rpc_core::Channel;
use rpc_transport_tcp as transport;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let addr = env::args().nth(1).unwrap_or_default();
    let channel = Channel::connect(transport::connector(addr)).await?;
    println!("{}", GreeterClient::new(channel).hello("Ada").await?);
    Ok(())
}
