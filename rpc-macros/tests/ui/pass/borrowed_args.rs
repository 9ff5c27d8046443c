//! `&str`, `&[u8]` and types with a lifetime borrow from the request; the call borrows nothing.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
pub struct Pair<'a>(#[serde(borrow)] &'a str, usize);

#[rpc_core::service]
pub trait Texts {
    async fn plain(&self, text: &str, bytes: &[u8]) -> usize;
    async fn optional(&self, text: Option<&str>, bytes: Option<&[u8]>) -> usize;
    async fn nested(&self, list: Vec<&str>, pair: (&str, Pair<'_>), cow: Cow<'_, str>) -> usize;
    async fn owned(&self, bytes: Vec<u8>, maybe: Option<Vec<u8>>, std: std::vec::Vec<u8>) -> Vec<u8>;
    async fn twice(&self, text: &str) -> Result<Option<Vec<u8>>, String> {
        let twice = text.repeat(2);
        self.plain(&twice, text.as_bytes()).await;
        Ok(Some(twice.into_bytes()))
    }
}

struct Impl;

impl Texts for Impl {
    async fn plain(&self, text: &str, bytes: &[u8]) -> usize {
        text.len() + bytes.len()
    }
    async fn optional(&self, text: Option<&str>, _: Option<&[u8]>) -> usize {
        text.map_or(0, str::len)
    }
    async fn nested(&self, list: Vec<&str>, (_, pair): (&str, Pair<'_>), _: Cow<'_, str>) -> usize {
        list.len() + pair.1 + pair.0.len()
    }
    async fn owned(&self, bytes: Vec<u8>, _: Option<Vec<u8>>, _: Vec<u8>) -> Vec<u8> {
        bytes
    }
}

fn is_static<T: Send + 'static>(_: T) {}

fn call(client: &TextsClient) {
    let text = String::from("text");
    is_static(client.plain(&text, text.as_bytes()));
    is_static(client.nested(vec![&text], (&text, Pair(&text, 1)), Cow::Borrowed(&text)));
}

fn main() {
    let _ = call;
    is_static(TextsServer::new(Impl));
}
