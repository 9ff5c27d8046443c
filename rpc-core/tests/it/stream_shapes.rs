//! Streams as `#[service]` writes them: every shape, over a connection and in the same process.

use rpc_core::transport::memory;
use rpc_core::{CallError, Channel, Context, ErrorKind, RpcError, Server, Streaming};
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Denied;

#[rpc_core::service]
trait Shapes {
    async fn count(&self, to: u32) -> Streaming<u32>;
    async fn join(&self, separator: &str, words: Streaming<String>) -> String;
    async fn total(&self, words: Streaming<String>, #[ctx] cx: &Context) -> (usize, bool);
    async fn checked(&self, to: u32) -> Result<Streaming<u32>, Denied>;
    async fn squares(&self, numbers: Streaming<u32>) -> Streaming<Result<u32, Denied>>;
    async fn echo(
        &self,
        allowed: bool,
        items: Streaming<String>,
    ) -> Result<Streaming<String>, Denied>;
}

struct Shaper;

impl Shapes for Shaper {
    async fn count(&self, to: u32) -> Streaming<u32> {
        (0..to).collect()
    }
    async fn join(&self, separator: &str, mut words: Streaming<String>) -> String {
        let mut joined = Vec::new();
        while let Some(Ok(word)) = words.next().await {
            joined.push(word);
        }
        joined.join(separator)
    }
    async fn total(&self, mut words: Streaming<String>, cx: &Context) -> (usize, bool) {
        let mut bytes = 0;
        while let Some(word) = words.next().await {
            bytes += word.map_or(0, |word| word.len());
        }
        (bytes, cx.deadline().is_some())
    }
    async fn checked(&self, to: u32) -> Result<Streaming<u32>, Denied> {
        if to > 100 { Err(Denied) } else { Ok((0..to).collect()) }
    }
    async fn squares(&self, mut numbers: Streaming<u32>) -> Streaming<Result<u32, Denied>> {
        let (sender, squares) = Streaming::channel(1);
        tokio::spawn(async move {
            while let Some(Ok(number)) = numbers.next().await {
                let square = number.checked_mul(number).ok_or(Denied);
                if sender.send(square).await.is_err() {
                    return;
                }
            }
        });
        squares
    }
    async fn echo(
        &self,
        allowed: bool,
        items: Streaming<String>,
    ) -> Result<Streaming<String>, Denied> {
        // Forwarded as it comes.
        if allowed { Ok(items) } else { Err(Denied) }
    }
}

/// A client over a connection, and one of a server in the same process.
async fn clients(name: &str) -> (Server, [ShapesClient; 2]) {
    let listener = memory::listen(name).await.unwrap();
    let server = Server::builder().service(ShapesServer::new(Shaper)).listen(listener);
    let server = server.start().unwrap();
    let remote = Channel::connect(memory::connector(name)).await.unwrap();
    let local = Channel::local(ShapesServer::new(Shaper));
    (server, [ShapesClient::new(remote), ShapesClient::new(local)])
}

async fn all<T>(mut items: Streaming<T>) -> Result<Vec<T>, RpcError> {
    let mut all = Vec::new();
    while let Some(item) = items.next().await {
        all.push(item?);
    }
    Ok(all)
}

fn words(words: &[&str]) -> Streaming<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[tokio::test]
async fn a_stream_in_reply() {
    let (_server, clients) = clients("shapes-reply").await;
    for client in clients {
        let numbers = client.count(1000).await.unwrap();
        assert_eq!(all(numbers).await.unwrap(), (0..1000).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_stream_among_the_arguments() {
    let (_server, clients) = clients("shapes-argument").await;
    for client in clients {
        assert_eq!(client.join("-", words(&["a", "b", "c"])).await.unwrap(), "a-b-c");
        assert_eq!(client.join("-", words(&[])).await.unwrap(), "");
        assert_eq!(client.total(words(&["four", "letters"])).await.unwrap(), (11, true));
    }
}

#[tokio::test]
async fn a_stream_or_an_error() {
    let (_server, clients) = clients("shapes-fallible").await;
    for client in clients {
        let numbers = client.checked(3).await.unwrap();
        assert_eq!(all(numbers).await.unwrap(), [0, 1, 2]);
        let refused = client.checked(101).await.unwrap_err();
        assert!(matches!(refused, CallError::App(Denied)), "{refused:?}");
    }
}

#[tokio::test]
async fn streams_both_ways_with_items_that_fail_one_by_one() {
    let (_server, clients) = clients("shapes-both").await;
    for client in clients {
        let (sender, numbers) = Streaming::channel(1);
        let mut squares = client.squares(numbers).await.unwrap();
        for (number, square) in [(2, Ok(4)), (1 << 20, Err(Denied)), (3, Ok(9))] {
            sender.send(number).await.unwrap();
            assert_eq!(squares.next().await.unwrap().unwrap(), square);
        }
        drop(sender);
        assert_eq!(squares.next().await, None);
    }
}

#[tokio::test]
async fn a_handler_may_return_the_stream_that_it_got() {
    let (_server, clients) = clients("shapes-echo").await;
    for client in clients {
        let echoed = client.echo(true, words(&["a", "b"])).await.unwrap();
        assert_eq!(all(echoed).await.unwrap(), ["a", "b"]);
        let refused = client.echo(false, words(&["a"])).await.unwrap_err();
        assert!(matches!(refused, CallError::App(Denied)), "{refused:?}");
    }
}

#[tokio::test]
async fn what_one_call_returns_goes_into_another() {
    let (_server, clients) = clients("shapes-forward").await;
    let [remote, local] = &clients;
    for (from, to) in [(remote, local), (local, remote), (remote, remote)] {
        let letters = from.echo(true, words(&["x", "y"])).await.unwrap();
        assert_eq!(to.join("", letters).await.unwrap(), "xy");
    }
}

#[tokio::test]
async fn a_stream_of_another_service_has_the_kind_of_any_other_error() {
    let channel = Channel::local(ShapesServer::new(Shaper));
    #[rpc_core::service(name = "Others")]
    trait Others {
        async fn count(&self, to: u32) -> Streaming<u32>;
        async fn join(&self, words: Streaming<String>) -> u8;
    }
    let others = OthersClient::new(channel);
    let error = others.count(3).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownService);
    let error = others.join(words(&["a"])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownService);
}
