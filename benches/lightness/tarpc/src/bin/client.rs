//! Makes one call, prints the greeting.

use std::{env, error::Error};

use hello_tarpc::GreeterClient;
use tarpc::{client, context, serde_transport::tcp};
use tokio_serde::formats::Bincode;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let addr = env::args().nth(1).unwrap_or_default();
    let transport = tcp::connect(addr, Bincode::default).await?;
    let greeter = GreeterClient::new(client::Config::default(), transport).spawn();
    println!("{}", greeter.hello(context::current(), "Ada".to_owned()).await?);
    Ok(())
}
