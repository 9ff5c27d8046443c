//! A caller that goes away stops its handler, unless the handler hands its work to a task.
//!
//! ```text
//! soup: begun
//! soup: stopped half-way
//! roast: begun
//! the roast: Kitchen.cook: deadline exceeded: no reply within 100ms (the handler may have run)
//! roast: stopped half-way
//! stew: begun
//! stew: stopped half-way
//! bread: begun
//! nobody waits for the bread
//! bread: finished
//! ```

use std::{error::Error, time::Duration};

use rpc_core::{Channel, Server};
use rpc_transport_tcp as transport;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

#[rpc_core::service]
trait Kitchen {
    /// Takes for ever. Stops when nobody waits for it.
    async fn cook(&self, dish: &str);
    /// Finishes what it has begun, whoever waits.
    async fn bake(&self, dish: &str) -> bool;
}

/// Reports when work begins and how it ends, also when it is dropped half-way.
struct Work {
    dish: String,
    finished: bool,
    reports: UnboundedSender<String>,
}

impl Work {
    fn begin(dish: &str, reports: &UnboundedSender<String>) -> Self {
        let _nobody_listens = reports.send(format!("{dish}: begun"));
        Self { dish: dish.to_owned(), finished: false, reports: reports.clone() }
    }

    fn finish(mut self) {
        self.finished = true;
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let end = if self.finished { "finished" } else { "stopped half-way" };
        let _nobody_listens = self.reports.send(format!("{}: {end}", self.dish));
    }
}

struct Cook {
    reports: UnboundedSender<String>,
}

impl Kitchen for Cook {
    async fn cook(&self, dish: &str) {
        let _work = Work::begin(dish, &self.reports);
        // Cancelled here, at an await. Code between two awaits always runs to the second one.
        std::future::pending().await
    }

    async fn bake(&self, dish: &str) -> bool {
        let work = Work::begin(dish, &self.reports);
        // A task of its own: dropping this handler drops the handle, and the task goes on. Calls
        // made there don't inherit the deadline, and no shutdown waits for a task that is left.
        let baking = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(50)).await;
            work.finish();
        });
        baking.await.is_ok()
    }
}

async fn next(reports: &mut UnboundedReceiver<String>) -> String {
    reports.recv().await.unwrap_or_default()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (sender, mut reports) = mpsc::unbounded_channel();
    let server = Server::builder()
        .service(KitchenServer::new(Cook { reports: sender }))
        .listen(transport::listen("127.0.0.1:0").await?)
        .start()?;
    let channel = Channel::connect(transport::connector(server.local_addr()?)).await?;
    let kitchen = KitchenClient::new(channel);

    // The branch that loses is dropped, and a call that is dropped is cancelled.
    tokio::select! {
        done = kitchen.cook("soup") => done?,
        report = next(&mut reports) => println!("{report}"),
    }
    println!("{}", next(&mut reports).await);

    // So is one whose time is up.
    let late = kitchen.cook("roast").timeout(Duration::from_millis(100)).await;
    println!("{}", next(&mut reports).await);
    println!("the roast: {}", late.err().ok_or("expected a timeout")?);
    println!("{}", next(&mut reports).await);

    // And one whose task is aborted.
    let task = tokio::spawn(kitchen.cook("stew"));
    println!("{}", next(&mut reports).await);
    task.abort();
    println!("{}", next(&mut reports).await);

    tokio::select! {
        done = kitchen.bake("bread") => println!("baked: {}", done?),
        report = next(&mut reports) => println!("{report}"),
    }
    println!("nobody waits for the bread");
    println!("{}", next(&mut reports).await);
    Ok(())
}
