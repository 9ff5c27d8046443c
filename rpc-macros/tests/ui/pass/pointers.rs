//! Pointers to implementations are implementations, and take nothing away from the user's own.

#![deny(warnings)]

use std::{
    fmt::Debug,
    ops::Deref,
    sync::{Arc, Mutex},
};

use rpc_core::Context;

#[rpc_core::service]
pub trait Greeter {
    async fn hello(&self, #[ctx] cx: &Context, name: &str) -> Result<String, String>;
    #[cfg(any())]
    async fn gone(&self, missing: DoesNotExist) -> DoesNotExist;
    async fn nothing(&self) {}
}

#[rpc_core::service]
pub trait Demanding: Debug + Clone
where
    Self: Default + PartialEq,
{
    async fn demand(&self) -> u8;
}

struct English;

impl Greeter for English {
    async fn hello(&self, _: &Context, name: &str) -> Result<String, String> {
        Ok(name.to_owned())
    }
}

// A generic implementation, around what is shared.
struct Logged<G>(G);

impl<G: Greeter> Greeter for Logged<G> {
    async fn hello(&self, cx: &Context, name: &str) -> Result<String, String> {
        self.0.hello(cx, name).await
    }
}

// It derefs, and is an implementation itself.
struct Wrapped(English);

impl Deref for Wrapped {
    type Target = English;
    fn deref(&self) -> &English {
        &self.0
    }
}

impl Greeter for Wrapped {
    async fn hello(&self, _: &Context, _: &str) -> Result<String, String> {
        Err("wrapped".to_owned())
    }
}

// Types of std may be implementations, too, where the trait is.
impl Greeter for () {
    async fn hello(&self, _: &Context, _: &str) -> Result<String, String> {
        Err("nobody".to_owned())
    }
}

impl<T: Send + 'static> Greeter for Mutex<T> {
    async fn hello(&self, _: &Context, _: &str) -> Result<String, String> {
        Err("locked".to_owned())
    }
}

impl Greeter for Arc<Vec<English>> {
    async fn hello(&self, cx: &Context, name: &str) -> Result<String, String> {
        self[0].hello(cx, name).await
    }
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Demands;

impl Demanding for Demands {
    async fn demand(&self) -> u8 {
        1
    }
}

fn takes(_: impl Greeter) {}

fn demands(_: impl Demanding) {}

// What borrows from a lock, or from a list, leads to the implementation, as it always did.
struct Guard<'a, T>(&'a T);

impl<T> Deref for Guard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        self.0
    }
}

async fn borrowed(list: &[&English], cx: &Context) {
    for english in list {
        let _ = english.hello(cx, "Ada").await;
        let _ = Guard(*english).hello(cx, "Ada").await;
        let _ = Arc::new(Box::new(English)).hello(cx, "Ada").await;
    }
}

fn main() {
    takes(Arc::new(English));
    takes(Logged(Box::new(Arc::new(Logged(English)))));
    takes(Wrapped(English));
    takes(());
    takes(Arc::new(Mutex::new(())));
    takes(Arc::new(vec![English]));
    demands(Arc::new(Box::new(Demands)));
    let shared = Arc::new(Logged(English));
    let _ = (GreeterServer::new(Arc::clone(&shared)), GreeterServer::from_arc(shared));
    let _ = borrowed;
}
