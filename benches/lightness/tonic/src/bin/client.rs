//! Makes one call, prints the greeting.

use std::{env, error::Error};

use hello_tonic::{Greeting, HELLO, Name};
use http::uri::PathAndQuery;
use tonic::{Request, client::Grpc, transport::Endpoint};
use tonic_prost::ProstCodec;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let addr = env::args().nth(1).unwrap_or_default();
    let channel = Endpoint::from_shared(format!("http://{addr}"))?.connect().await?;
    let mut greeter = Grpc::new(channel);
    greeter.ready().await?;
    let name = Request::new(Name { name: "Ada".to_owned() });
    let path = PathAndQuery::from_static(HELLO);
    let codec = ProstCodec::<Name, Greeting>::default();
    println!("{}", greeter.unary(name, path, codec).await?.into_inner().text);
    Ok(())
}
