//! A job that tells its caller how far it is: the server calls back a service of its client's.
//!
//! ```text
//! film.mkv: 25 %
//! film.mkv: 50 %
//! film.mkv: 75 %
//! film.mkv: 100 %
//! film.mkv: converted
//! song.flac: 25 %
//! song.flac: 50 %
//! song.flac: given up half-way
//! without a service: nobody listens, converted all the same
//! the client has gone: connection lost, the request was not sent
//! ```

use std::error::Error;

use rpc_core::{Channel, Context, ErrorKind, Server};
use rpc_transport_tcp as transport;
use tokio::sync::mpsc::{self, UnboundedSender};

/// What the server offers.
#[rpc_core::service]
trait Converter {
    /// Converts a file, and reports to the caller as it goes.
    async fn convert(&self, #[ctx] cx: &Context, file: &str) -> String;
}

/// What the client offers to the server.
#[rpc_core::service]
trait Progress {
    /// Returns whether to go on.
    async fn report(&self, file: &str, percent: u32) -> bool;
}

struct Studio {
    /// Channels back to those who called, for when their calls are over.
    visitors: UnboundedSender<Channel>,
}

impl Converter for Studio {
    async fn convert(&self, cx: &Context, file: &str) -> String {
        // Over the connection that the call came on: the server needs no address of the client's, and
        // the client no open port.
        let back = cx.channel();
        let _nobody_collects = self.visitors.send(back.clone());
        let progress = ProgressClient::new(back);
        for percent in [25, 50, 75, 100] {
            // A call like any other: here it ends with this handler's deadline at the latest.
            match progress.report(file, percent).await {
                Ok(true) => {}
                Ok(false) => return "given up half-way".to_owned(),
                Err(error) if error.kind() == ErrorKind::UnknownService => {
                    return "nobody listens, converted all the same".to_owned();
                }
                Err(error) => return error.to_string(),
            }
        }
        "converted".to_owned()
    }
}

struct Screen;

impl Progress for Screen {
    async fn report(&self, file: &str, percent: u32) -> bool {
        println!("{file}: {percent} %");
        file != "song.flac" || percent < 50
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (sender, mut visitors) = mpsc::unbounded_channel();
    let server = Server::builder()
        .service(ConverterServer::new(Studio { visitors: sender }))
        .listen(transport::listen("127.0.0.1:0").await?)
        .start()?;
    let address = server.local_addr()?;

    // A channel serves like a server, as many services as you like, on the connections it makes.
    let channel = Channel::builder()
        .service(ProgressServer::new(Screen))
        .connect(transport::connector(address))
        .await?;
    let converter = ConverterClient::new(channel);
    for file in ["film.mkv", "song.flac"] {
        println!("{file}: {}", converter.convert(file).await?);
    }

    // Clients that offer nothing are not obliged to.
    let silent = ConverterClient::new(Channel::connect(transport::connector(address)).await?);
    println!("without a service: {}", silent.convert("film.mkv").await?);

    // A channel back outlives its call, as a chat would need it. It keeps nothing alive, and says when
    // its connection has ended.
    let back = visitors.recv().await.ok_or("nobody called")?;
    drop(converter);
    back.closed().await;
    let late = ProgressClient::new(back).report("film.mkv", 0).await;
    let error = late.err().ok_or("nobody was to be there")?;
    println!("the client has gone: {}, {}", error.kind(), error.delivery());
    Ok(())
}
