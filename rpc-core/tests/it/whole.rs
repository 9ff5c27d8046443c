//! Large `Bytes` travel as they lie, and mean the same as any other value.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use rpc_core::{Channel, Server, transport::memory};

use crate::raw::{Raw, request, show};

/// Takes and returns bytes in all the places where they may stand.
#[rpc_core::service]
trait Store {
    async fn echo(&self, data: Bytes) -> Bytes;
    async fn put(&self, name: &str, tags: Vec<String>, data: Bytes) -> Result<u64, String>;
    async fn get(&self, name: &str) -> Result<Bytes, String>;
    async fn first(&self, data: Bytes, name: &str) -> (Bytes, String);
    async fn maybe(&self, data: Option<Bytes>) -> Option<Bytes>;
}

/// The same methods, of types that serde codes byte by byte.
#[rpc_core::service(name = "Store")]
trait Plain {
    async fn echo(&self, data: Vec<u8>) -> Vec<u8>;
    async fn put(&self, name: &str, tags: Vec<String>, data: Vec<u8>) -> Result<u64, String>;
}

/// What is called `Bytes` and isn't.
mod own {
    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    pub(super) struct Bytes(pub(super) Vec<u32>);
}

#[rpc_core::service]
trait Own {
    async fn echo(&self, n: u8, data: own::Bytes) -> Result<own::Bytes, String>;
}

#[derive(Default)]
struct Shelf(Mutex<Bytes>);

impl Store for Shelf {
    async fn echo(&self, data: Bytes) -> Bytes {
        data
    }
    async fn put(&self, name: &str, tags: Vec<String>, data: Bytes) -> Result<u64, String> {
        assert_eq!((name, tags), ("name", vec!["a".to_owned(), "b".to_owned()]));
        let bytes = data.len() as u64;
        *self.0.lock().unwrap() = data;
        Ok(bytes)
    }
    async fn get(&self, name: &str) -> Result<Bytes, String> {
        if name == "name" { Ok(self.0.lock().unwrap().clone()) } else { Err(name.to_owned()) }
    }
    async fn first(&self, data: Bytes, name: &str) -> (Bytes, String) {
        (data, name.to_owned())
    }
    async fn maybe(&self, data: Option<Bytes>) -> Option<Bytes> {
        data
    }
}

impl Own for Shelf {
    async fn echo(&self, n: u8, mut data: own::Bytes) -> Result<own::Bytes, String> {
        data.0.push(n.into());
        Ok(data)
    }
}

fn data(bytes: usize) -> Bytes {
    (0..bytes).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect()
}

async fn serve(name: &str) -> (Server, Channel) {
    let shelf = Arc::new(Shelf::default());
    let server = Server::builder()
        .service(StoreServer::from_arc(Arc::clone(&shelf)))
        .service(OwnServer::from_arc(shelf))
        .listen(memory::listen(name).await.unwrap())
        .start()
        .unwrap();
    let channel = Channel::connect(memory::connector(name)).await.unwrap();
    (server, channel)
}

/// Around each size at which something changes.
const SIZES: [usize; 10] =
    [0, 1, 16_367, 16_383, 16_384, 16_385, 65_500, 65_536, 300_000, 5_000_000];

#[tokio::test]
async fn bytes_of_any_size_arrive_as_they_were_wherever_they_stand() {
    let (_server, channel) = serve("whole-sizes").await;
    let store = StoreClient::new(channel.clone());
    let plain = PlainClient::new(channel);
    for bytes in SIZES {
        let data = data(bytes);
        assert_eq!(store.echo(data.clone()).await.unwrap(), data);
        let tags = || vec!["a".to_owned(), "b".to_owned()];
        assert_eq!(store.put("name", tags(), data.clone()).await.unwrap(), bytes as u64);
        assert_eq!(store.get("name").await.unwrap(), data);
        let (first, name) = store.first(data.clone(), "n").await.unwrap();
        assert_eq!((first, &*name), (data.clone(), "n"));
        assert_eq!(store.maybe(Some(data.clone())).await.unwrap(), Some(data.clone()));
        // Another type with the same layout can't tell the difference.
        assert_eq!(plain.echo(data.to_vec()).await.unwrap(), data);
        assert_eq!(plain.put("name", tags(), data.to_vec()).await.unwrap(), bytes as u64);
    }
    assert_eq!(store.get("other").await.unwrap_err().app(), Some(&"other".to_owned()));
}

#[tokio::test]
async fn a_type_that_is_only_called_bytes_is_coded_like_any_other() {
    let (_server, channel) = serve("whole-own").await;
    let numbers: Vec<u32> = (0..100_000).collect();
    let echoed = OwnClient::new(channel).echo(7, own::Bytes(numbers.clone())).await.unwrap();
    assert_eq!(echoed, own::Bytes([&numbers[..], &[7]].concat()));
}

/// A length that isn't that of what follows is a malformed request, whether it is large or not.
// r[verify codec.whole]
#[tokio::test]
async fn lengths_that_lie_are_refused() {
    let server = || Server::builder().service(StoreServer::new(Shelf::default()));
    for bytes in [100_usize, 20_000] {
        for claimed in [0, 1, bytes - 1, bytes + 1, usize::MAX] {
            let mut raw = Raw::to(server());
            raw.greet().await;
            let body = [&claimed.to_le_bytes()[..], &vec![7; bytes]].concat();
            raw.send(&request("Store", "echo", &show(&body))).await;
            let (code, ran, text) = raw.error().await;
            assert_eq!((code, ran), (7, 0), "{bytes} bytes that claim to be {claimed}: {text}");
        }
    }
    // Nor does a length alone make anything of nothing.
    let mut raw = Raw::to(server());
    raw.greet().await;
    raw.send(&request("Store", "echo", "0040")).await;
    assert_eq!(raw.error().await.0, 7, "MALFORMED_REQUEST");
}
