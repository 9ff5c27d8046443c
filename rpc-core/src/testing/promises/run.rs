//! Carries out one plan: servers, channels and calls that come and go; then sees that nothing is
//! left.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    task::{JoinSet, yield_now},
};

use super::{
    Broken, Network, Promise, TIMEOUT,
    ledger::Ledger,
    plan::{CHANNELS, CallPlan, GRACE, Plan, Step},
    service::{Book, SERVICES, carry_out},
};
use crate::{
    client::Channel, clock, connection::Connection, server::Server, service::Service,
    transport::Address,
};

/// How long every call together may take to end when nothing new is begun: longer than any timeout.
const ENDS_WITHIN: Duration = Duration::from_secs(60);

/// The longest pause between two looks at what is left.
const PAUSE: Duration = Duration::from_millis(50);

/// How often a condition is looked at before time passes between two looks.
const LOOKS: usize = 20;

/// Everything that exists in one run.
struct Stage<'a, N> {
    network: &'a N,
    plan: &'a Plan,
    /// Whether nothing but drains with time enough ends a connection.
    peaceful: bool,
    ledger: Arc<Ledger>,
    address: Address,
    server: Server,
    channels: Vec<Channel>,
    calls: JoinSet<()>,
    /// Servers that drain.
    drains: JoinSet<bool>,
    /// Connections that were seen. None may outlive the run.
    connections: Vec<Weak<Connection>>,
}

/// Carries out a plan. Returns how many calls it made, and how often each end came.
pub(super) async fn run<N: Network>(
    network: &N,
    plan: &Plan,
) -> Result<(usize, BTreeMap<String, u64>), Broken> {
    let ledger = Arc::new(Ledger::new(plan.late));
    let tasks = alive_tasks();
    let (server, address) = serve(network, &ledger, plan, None).await?;
    let mut stage = Stage {
        network,
        plan,
        peaceful: plan.peaceful && !network.breaks(),
        ledger: Arc::clone(&ledger),
        channels: Vec::new(),
        address,
        server,
        calls: JoinSet::new(),
        drains: JoinSet::new(),
        connections: Vec::new(),
    };
    stage.channels = (0..CHANNELS).map(|_| stage.channel()).collect();
    for step in &plan.steps {
        stage.step(step).await?;
    }
    stage.wind_down(tasks).await?;
    ledger.judge()?;
    Ok((ledger.calls(), ledger.ends()))
}

impl<N: Network> Stage<'_, N> {
    async fn step(&mut self, step: &Step) -> Result<(), Broken> {
        self.note_connections();
        match step {
            Step::Call(call) => self.begin(call),
            Step::Greet(channels) => {
                if !self.network.connects_between_servers() {
                    channels.clone().map(CallPlan::greeting).for_each(|call| self.begin(&call));
                    self.await_calls().await?;
                }
            }
            Step::Yield => yield_now().await,
            Step::Pause(time) => tokio::time::sleep(*time).await,
            Step::AwaitCalls => self.await_calls().await?,
            Step::Restart(grace) => {
                let server = self.replace_server(|server, drains| {
                    drains.spawn(server.shutdown(*grace));
                });
                server.await?;
            }
            Step::Crash => {
                self.network.crash(&self.address);
                self.replace_server(|server, _| drop(server)).await?;
            }
            Step::Reopen(channel) => {
                let new = self.channel();
                if let Some(channel) = self.channels.get_mut(*channel) {
                    *channel = new;
                }
            }
            Step::Kill(whim) => self.network.kill(*whim),
        }
        Ok(())
    }

    fn channel(&self) -> Channel {
        Channel::builder()
            .timeout(TIMEOUT)
            .backoff(Duration::from_millis(1), Duration::from_millis(20))
            .limits(self.plan.client.clone())
            .lazy(self.network.connector(&self.address))
    }

    fn begin(&mut self, call: &CallPlan) {
        let Some(channel) = self.channels.get(call.channel).cloned() else { return };
        let number = self.ledger.open(call, self.peaceful);
        self.calls.spawn(carry_out(channel, call.clone(), number, Arc::clone(&self.ledger)));
    }

    /// Puts a server in the place of the one that there is, which goes away as `leave` says.
    async fn replace_server(
        &mut self,
        leave: impl FnOnce(Server, &mut JoinSet<bool>),
    ) -> Result<(), Broken> {
        // It has no listener: it only stands in for the moment.
        let nobody = Server::builder().start().map_err(|error| unable("start", &error))?;
        leave(std::mem::replace(&mut self.server, nobody), &mut self.drains);
        let at = Some(&self.address);
        (self.server, self.address) = serve(self.network, &self.ledger, self.plan, at).await?;
        Ok(())
    }

    /// Lets every call come to its end.
    async fn await_calls(&mut self) -> Result<(), Broken> {
        let ended = tokio::time::timeout(ENDS_WITHIN, async {
            while let Some(call) = self.calls.join_next().await {
                call.map_err(|error| Promise::Ends.broken(format!("a call panicked: {error}")))?;
            }
            Ok(())
        });
        let ended = ended.await.unwrap_or_else(|_| {
            let (calls, _) = self.ledger.under_way();
            Err(Promise::Ends.broken(format!("after {ENDS_WITHIN:?} these calls wait: {calls:?}")))
        });
        ended.and_then(|()| self.ledger.judge())
    }

    /// Ends everything, in order, and sees that it is gone.
    async fn wind_down(mut self, tasks: usize) -> Result<(), Broken> {
        self.await_calls().await?;
        let patience = self.network.patience();
        settle(self.plan.left.unwrap_or(patience), || self.leftovers()).await?;
        while let Some(drained) = self.drains.join_next().await {
            if self.peaceful && !drained.unwrap_or(false) {
                let found = format!("a server has not drained within {GRACE:?}");
                return Err(Promise::Drain.broken(found));
            }
        }
        self.note_connections();
        let Self { channels, server, connections, ledger, .. } = self;
        drop(channels);
        settle(patience, || match server.connections() {
            0 => None,
            left => Some(format!("{left} connections whose channels are gone")),
        })
        .await?;
        if !server.shutdown(patience).await {
            return Err(Promise::Rest.broken("a server without connections doesn't shut down"));
        }
        settle(patience, || match alive_tasks().saturating_sub(tasks) {
            0 => None,
            left => Some(format!("{left} tasks")),
        })
        .await?;
        settle(patience, || {
            let left = connections.iter().filter(|weak| weak.strong_count() > 0).count();
            (left > 0).then(|| format!("{left} connections that somebody holds"))
        })
        .await?;
        match ledger.under_way() {
            (_, 0) => ledger.judge_left(),
            (_, left) => Err(Promise::Rest.broken(format!("{left} handlers"))),
        }
    }

    /// What is left of calls, now that all have ended.
    fn leftovers(&self) -> Option<String> {
        let (_, handlers) = self.ledger.under_way();
        if handlers > 0 {
            return Some(format!("{handlers} handlers that nobody waits for"));
        }
        let waiting: usize = self.channels.iter().map(Channel::waiting).sum();
        if waiting > 0 {
            return Some(format!("{waiting} callers that wait for a connection"));
        }
        self.all_connections().find_map(|(side, connection)| {
            let left = connection.leftovers();
            (!left.is_empty()).then(|| format!("on a connection of the {side}: {left:?}"))
        })
    }

    fn all_connections(&self) -> impl Iterator<Item = (&'static str, Arc<Connection>)> {
        let clients = self.channels.iter().filter_map(Channel::connection);
        let servers = self.server.all_connections();
        clients.map(|c| ("client", c)).chain(servers.into_iter().map(|c| ("server", c)))
    }

    fn note_connections(&mut self) {
        self.connections.retain(|weak| weak.strong_count() > 0);
        let seen: Vec<_> = self.all_connections().map(|(_, seen)| Arc::downgrade(&seen)).collect();
        for weak in seen {
            if !self.connections.iter().any(|known| known.ptr_eq(&weak)) {
                self.connections.push(weak);
            }
        }
    }
}

/// Starts a server. At an address that is still taken, as soon as it is free.
async fn serve<N: Network>(
    network: &N,
    ledger: &Arc<Ledger>,
    plan: &Plan,
    at: Option<&Address>,
) -> Result<(Server, Address), Broken> {
    let patience = clock::now() + network.patience();
    let listener = loop {
        match network.listen(at).await {
            Ok(listener) => break listener,
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && clock::now() < patience => {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Err(error) => return Err(unable("listen", &error)),
        }
    };
    let mut builder = Server::builder().limits(plan.server.clone());
    for service in 0..SERVICES {
        builder = builder.service(book(ledger, service));
    }
    let server = builder.listen(listener).start().map_err(|error| unable("start", &error))?;
    let address = server.local_addr().map_err(|error| unable("start", &error))?.clone();
    Ok((server, address))
}

fn book(ledger: &Arc<Ledger>, service: usize) -> impl Service {
    Book { ledger: Arc::clone(ledger), service }
}

fn unable(what: &str, error: &dyn std::error::Error) -> Broken {
    Promise::Rest.broken(format!("a server could not {what}: {error}"))
}

fn alive_tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

/// Waits until nothing is left.
async fn settle(
    patience: Duration,
    mut left: impl FnMut() -> Option<String>,
) -> Result<(), Broken> {
    let until = clock::now() + patience;
    let mut pause = Duration::from_millis(1);
    for look in 0.. {
        let Some(found) = left() else { break };
        if clock::now() > until {
            return Err(Promise::Rest.broken(format!("after {patience:?} there are {found}")));
        }
        if look < LOOKS {
            yield_now().await;
        } else {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE);
        }
    }
    Ok(())
}
