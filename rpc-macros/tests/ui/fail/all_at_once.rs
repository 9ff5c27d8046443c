//! All mistakes are reported in one run, and nothing else: the implementation, the server and the
//! calls of the methods without mistakes compile.

use rpc_core::{Channel, Server};

#[rpc_core::service(nam = "calc")]
pub trait Calculator {
    async fn add(&self, a: i32, b: i32) -> i32;
    fn subtract(&self, a: i32, b: i32) -> i32;
    #[rpc(idempotnt)]
    async fn negate(&mut self, a: &i32) -> i32;
}

struct Impl;

impl Calculator for Impl {
    async fn add(&self, a: i32, b: i32) -> i32 {
        a + b
    }
    fn subtract(&self, a: i32, b: i32) -> i32 {
        a - b
    }
    async fn negate(&mut self, a: &i32) -> i32 {
        -a
    }
}

fn serve(channel: Channel) {
    let _ = CalculatorClient::new(channel).add(1, 2);
    let _ = Server::builder().service(CalculatorServer::new(Impl));
}

fn main() {
    let _ = serve;
}
