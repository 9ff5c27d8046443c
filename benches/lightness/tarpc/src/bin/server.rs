//! Serves greetings, and prints where.

use std::error::Error;

use futures::{StreamExt, future};
use hello_tarpc::Greeter;
use tarpc::{
    context,
    serde_transport::tcp,
    server::{BaseChannel, Channel},
};
use tokio_serde::formats::Bincode;

#[derive(Clone)]
struct English;

impl Greeter for English {
    async fn hello(self, _: context::Context, name: String) -> String {
        format!("Hello, {name}!")
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let incoming = tcp::listen("127.0.0.1:0", Bincode::default).await?;
    println!("{}", incoming.local_addr());
    incoming
        .filter_map(|transport| future::ready(transport.ok()))
        .for_each(|transport| async {
            let requests = BaseChannel::with_defaults(transport).execute(English.serve());
            tokio::spawn(requests.for_each(|request| async {
                tokio::spawn(request);
            }));
        })
        .await;
    Ok(())
}
