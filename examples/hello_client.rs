//! A client in a process of its own. Without a server it says what it tried and why that failed.
//!
//! `cargo run --example hello_client -- --addr 127.0.0.1:7000 Ada`, perhaps with `--transport udp`

mod hello_service;

use std::{error::Error, process::ExitCode};

use hello_service::{GreeterClient, exit_code, parse_args};
use rpc_core::Channel;
use rpc_transport_tcp as transport; // swap: use rpc_transport_udp as transport;
use rpc_transport_udp as udp;

async fn greet() -> Result<(), Box<dyn Error>> {
    let args = parse_args("hello_client [--addr HOST:PORT] [--transport tcp|udp] [NAME]...")?;
    let channel = match args.udp {
        false => Channel::connect(transport::connector(args.addr)).await?,
        true => Channel::connect(udp::connector(args.addr)).await?,
    };
    let names = args.rest;
    let greeter = GreeterClient::new(channel);
    for name in if names.is_empty() { vec!["world".to_owned()] } else { names } {
        println!("{}", greeter.hello(&name).await?);
    }
    Ok(())
}

#[tokio::main]
async fn main() -> ExitCode {
    exit_code(greet().await)
}
