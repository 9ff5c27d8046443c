//! A server in a process of its own, until Ctrl-C; then it finishes what is under way.
//!
//! `cargo run --example hello_server -- --addr 127.0.0.1:7000`, perhaps with `--transport udp`

mod hello_service;

use std::{error::Error, process::ExitCode, time::Duration};

use hello_service::{Greeter, GreeterServer, exit_code, parse_args};
use rpc_core::Server;
use rpc_transport_tcp as transport; // swap: use rpc_transport_udp as transport;
use rpc_transport_udp as udp;

struct English;

impl Greeter for English {
    async fn hello(&self, name: &str) -> String {
        format!("Hello, {name}!")
    }
}

async fn serve() -> Result<(), Box<dyn Error>> {
    let args = parse_args("hello_server [--addr HOST:PORT] [--transport tcp|udp]")?;
    let server = Server::builder().service(GreeterServer::new(English));
    let server = match args.udp {
        false => server.listen(transport::listen(args.addr).await?),
        true => server.listen(udp::listen(args.addr).await?),
    };
    let mut server = server.start()?;
    println!("listening on {}", server.local_addr()?);

    tokio::select! {
        () = server.wait() => {}
        signal = tokio::signal::ctrl_c() => signal?,
    }
    let finished = server.shutdown(Duration::from_secs(5)).await;
    println!("{}", if finished { "finished" } else { "closed with calls under way" });
    Ok(())
}

#[tokio::main]
async fn main() -> ExitCode {
    exit_code(serve().await)
}
