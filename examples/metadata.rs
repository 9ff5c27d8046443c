//! What travels beside the arguments, how far it can be trusted, and how it goes on to the next
//! service.
//!
//! ```text
//! refused: the call names no tenant
//! a.txt of acme, asked for in trace 7f3a
//! it says it is at 10.0.0.1, it is at 127.0.0.1
//! forwarded: acme, 7f3a
//! not forwarded: nobody, no trace
//! ```

use std::error::Error;

use rpc_core::{Call, Channel, Context, Metadata, Server, service::Service};
use rpc_transport_tcp as transport;
use serde::{Deserialize, Serialize};

/// The keys that this system agrees on.
const TENANT: &str = "tenant";
const TRACE: &str = "trace-id";

#[rpc_core::service]
trait Files {
    /// Reads a file of the caller's tenant. `cx` is not a parameter of the client.
    async fn read(&self, #[ctx] cx: &Context, name: &str) -> Result<String, Refused>;
    /// Where the caller is.
    async fn whereabouts(&self, #[ctx] cx: &Context) -> String;
    /// What another service hears, with and without what this one was told.
    async fn audit(&self, #[ctx] cx: &Context, forward: bool) -> Result<String, Refused>;
}

#[rpc_core::service]
trait Log {
    /// On whose behalf it is called.
    async fn caller(&self, #[ctx] cx: &Context) -> String;
}

/// A handler that refuses says so with an error of its own.
#[derive(Debug, Serialize, Deserialize, thiserror::Error)]
enum Refused {
    #[error("the call names no tenant")]
    NoTenant,
    #[error("the log says: {0}")]
    Log(String),
}

struct Disk {
    log: LogClient,
}

impl Files for Disk {
    async fn read(&self, cx: &Context, name: &str) -> Result<String, Refused> {
        let tenant = cx.metadata().get_str(TENANT).ok_or(Refused::NoTenant)?;
        let trace = cx.metadata().get_str(TRACE).unwrap_or("none");
        Ok(format!("{name} of {tenant}, asked for in trace {trace}"))
    }

    async fn whereabouts(&self, cx: &Context) -> String {
        // Metadata is the caller's word; the peer is what the transport knows by itself.
        let said = cx.metadata().get_str("address").unwrap_or("nowhere");
        let known = cx.peer().address().as_socket().map(|address| address.ip().to_string());
        format!("it says it is at {said}, it is at {}", known.unwrap_or_default())
    }

    async fn audit(&self, cx: &Context, forward: bool) -> Result<String, Refused> {
        let mut call = self.log.caller();
        if forward {
            call = forwarded(call, cx.metadata());
        }
        call.await.map_err(|error| Refused::Log(error.to_string()))
    }
}

/// A call inherits the deadline of the handler that makes it, and nothing else: what goes on to the
/// next service is named here.
fn forwarded<T, F>(mut call: Call<T, F>, metadata: &Metadata) -> Call<T, F> {
    for key in [TENANT, TRACE] {
        if let Some(value) = metadata.get(key) {
            call = call.metadata(key, value);
        }
    }
    call
}

struct Book;

impl Log for Book {
    async fn caller(&self, cx: &Context) -> String {
        let tenant = cx.metadata().get_str(TENANT).unwrap_or("nobody");
        format!("{tenant}, {}", cx.metadata().get_str(TRACE).unwrap_or("no trace"))
    }
}

/// A server of its own for a service, and the way to it.
async fn serve(service: impl Service) -> Result<(Server, Channel), Box<dyn Error>> {
    let listener = transport::listen("127.0.0.1:0").await?;
    let server = Server::builder().service(service).listen(listener).start()?;
    let channel = Channel::connect(transport::connector(server.local_addr()?)).await?;
    Ok((server, channel))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (_log, channel) = serve(LogServer::new(Book)).await?;
    let disk = Disk { log: LogClient::new(channel) };
    let (_files, channel) = serve(FilesServer::new(disk)).await?;
    let files = FilesClient::new(channel);

    let refused = files.read("a.txt").await.err().ok_or("expected a refusal")?;
    println!("refused: {refused}");
    println!("{}", files.read("a.txt").metadata(TENANT, "acme").metadata(TRACE, "7f3a").await?);
    println!("{}", files.whereabouts().metadata("address", "10.0.0.1").await?);
    for forward in [true, false] {
        let call = files.audit(forward).metadata(TENANT, "acme").metadata(TRACE, "7f3a");
        println!("{}forwarded: {}", if forward { "" } else { "not " }, call.await?);
    }
    Ok(())
}
