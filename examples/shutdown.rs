//! The end of a server: it finishes what is under way, but doesn't wait for ever.
//!
//! ```text
//! server: stopping
//! server: a call was still under way
//! quick call: Ok("done")
//! stuck call: Err(shutting down, the handler may have run)
//! late call: Err(deadline exceeded, the request was not sent)
//! the address is free
//! ```

use std::{error::Error, time::Duration};

use rpc_core::{Channel, RpcError, Server};
use rpc_transport_tcp as transport;
use tokio::sync::{mpsc, oneshot};

#[rpc_core::service]
trait Clerk {
    /// Takes a moment.
    async fn quick(&self) -> String;
    /// Never ends.
    async fn stuck(&self) -> String;
}

struct Slow {
    /// Hears of every call that has begun.
    begun: mpsc::UnboundedSender<()>,
}

impl Clerk for Slow {
    async fn quick(&self) -> String {
        let _nobody_listens = self.begun.send(());
        tokio::time::sleep(Duration::from_millis(100)).await;
        "done".to_owned()
    }

    async fn stuck(&self) -> String {
        let _nobody_listens = self.begun.send(());
        std::future::pending().await
    }
}

/// Serves until it is told to stop: here by a channel, in a program of its own by
/// `tokio::signal::ctrl_c()`, as in `hello_server`.
async fn serve(mut server: Server, stop: oneshot::Receiver<()>) {
    tokio::select! {
        () = server.wait() => {}
        _ = stop => println!("server: stopping"),
    }
    // Callers are told to make no further calls here. Those under way have half a second.
    let finished = server.shutdown(Duration::from_millis(500)).await;
    println!("server: {}", if finished { "finished" } else { "a call was still under way" });
}

fn show(call: &str, result: Result<String, RpcError>) {
    match result {
        Ok(text) => println!("{call} call: Ok({text:?})"),
        Err(error) => println!("{call} call: Err({}, {})", error.kind(), error.delivery()),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (sender, mut begun) = mpsc::unbounded_channel();
    let server = Server::builder()
        .service(ClerkServer::new(Slow { begun: sender }))
        .listen(transport::listen("127.0.0.1:0").await?)
        .start()?;
    let address = server.local_addr()?.clone();
    let (stop, stopped) = oneshot::channel();
    let server = tokio::spawn(serve(server, stopped));

    let channel = Channel::connect(transport::connector(&address)).await?;
    let clerk = ClerkClient::new(channel);
    let quick = tokio::spawn(clerk.quick());
    let stuck = tokio::spawn(clerk.stuck());
    for _ in 0..2 {
        begun.recv().await.ok_or("the server is gone")?;
    }
    stop.send(()).map_err(|()| "the server is gone")?;
    server.await?;

    show("quick", quick.await?);
    show("stuck", stuck.await?);
    // A channel outlives its connections: this call waits for a server until its time is up.
    show("late", clerk.quick().timeout(Duration::from_millis(200)).await);
    transport::listen(&address).await?;
    println!("the address is free");
    Ok(())
}
