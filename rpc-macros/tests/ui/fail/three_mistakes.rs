//! Three different mistakes are three errors, each under what has to change.

#[rpc_core::service]
pub trait Calculator {
    fn add(&self, a: i32, b: i32) -> i32;
    async fn negate(&mut self, a: i32) -> i32;
    async fn sum(&self, list: &[i32]) -> i32;
}

struct Impl;

impl Calculator for Impl {
    fn add(&self, a: i32, b: i32) -> i32 {
        a + b
    }
    async fn negate(&mut self, a: i32) -> i32 {
        -a
    }
    async fn sum(&self, list: &[i32]) -> i32 {
        list.iter().sum()
    }
}

fn main() {
    let _ = CalculatorServer::new(Impl);
}
