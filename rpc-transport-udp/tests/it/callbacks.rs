//! Calls back over loopback sockets: the server reaches the client over the session that the client began.

use std::sync::{Arc, Mutex};

use rpc_core::{Channel, Context, Delivery, ErrorKind, Server};
use rpc_transport_udp::{connector, listen};
use tokio::sync::mpsc;

#[rpc_core::service]
trait Job {
    /// Takes so many steps, reports each, and returns where the reports went.
    async fn run(&self, #[ctx] cx: &Context, steps: u32) -> Result<String, String>;
}

#[rpc_core::service]
trait Progress {
    /// Returns whether to go on.
    async fn report(&self, #[ctx] cx: &Context, step: u32) -> bool;
}

/// Hands its channels out.
struct Worker(mpsc::UnboundedSender<Channel>);

impl Job for Worker {
    async fn run(&self, cx: &Context, steps: u32) -> Result<String, String> {
        let channel = cx.channel();
        let progress = ProgressClient::new(channel.clone());
        let mut step = 0;
        while step < steps && progress.report(step).await.map_err(|error| error.to_string())? {
            step += 1;
        }
        assert_eq!(channel.target(), cx.peer().address());
        let target = channel.target().to_string();
        self.0.send(channel).map_err(|error| error.to_string())?;
        Ok(target)
    }
}

/// What was reported, and by whom.
#[derive(Clone, Default)]
struct Watch(Arc<Mutex<Vec<(u32, String)>>>);

impl Progress for Watch {
    async fn report(&self, cx: &Context, step: u32) -> bool {
        let mut reports = self.0.lock().expect("no panic");
        reports.push((step, cx.peer().address().to_string()));
        reports.len() < 100
    }
}

#[tokio::test]
async fn a_server_calls_back_over_the_connection_of_its_client() {
    let (channels, mut handed_out) = mpsc::unbounded_channel();
    let server = Server::builder()
        .service(JobServer::new(Worker(channels)))
        .listen(listen("127.0.0.1:0").await.expect("a port"))
        .start()
        .expect("a server");
    let address = server.local_addr().expect("an address").clone();
    let watch = Watch::default();
    let builder = Channel::builder().service(ProgressServer::new(watch.clone()));
    let channel = builder.connect(connector(&address)).await.expect("a connection");
    let target = JobClient::new(channel.clone()).run(1000).await.expect("it ran");

    let reports = watch.0.lock().expect("no panic").clone();
    let expected: Vec<_> = (0..100).map(|step| (step, address.to_string())).collect();
    assert_eq!(reports, expected);
    assert_ne!(target, address.to_string(), "the client's end has a port of its own");
    assert_eq!(server.counters().connections, 1, "nobody connected to the client");

    // The client is gone, and whoever would call it learns that.
    let back = handed_out.recv().await.expect("a channel");
    drop(channel);
    assert_eq!(back.closed().await.kind(), ErrorKind::ConnectionLost);
    let error = ProgressClient::new(back).report(0).await.expect_err("nobody is there");
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::ConnectionLost, Delivery::NotSent));
    assert!(error.to_string().contains(&format!("the peer that called, {target}, has gone")));
}
