//! Carries out one plan: a simulated network with a server and clients, and what befalls them.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::watch;
use turmoil::{Builder, Sim};

use crate::{
    books::Books,
    hosts::{Orders, Stage, call, serve},
    network::SERVER,
    plan::{CLIENTS, Fault, Plan, Way},
};

const NAMES: [&str; CLIENTS] = ["client 0", "client 1"];

/// How long a run may take, in simulated time: longer than all that has a limit of its own.
const LIMIT: Duration = Duration::from_secs(60);

/// The tasks of a runtime that ends, as in a crash, are dropped in an order that depends on their ids,
/// which tokio counts for the whole process. So that a seed does the same each time, only one runs at
/// a time, and begins at a multiple of this: tokio looks at fewer of an id's last bits.
const IDS: u64 = 64;

static ALONE: Mutex<()> = Mutex::new(());

/// What is done when its time has come.
#[derive(Debug, Clone, Copy)]
enum Act {
    Begin(Fault),
    End(Fault),
}

/// Runs a seed to its end, and returns the books.
pub(crate) fn run(seed: u64, plan: Plan) -> Arc<Books> {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    align_ids();
    // What programs draw of their own, such as the pauses between attempts to connect.
    fastrand::seed(seed);
    let mut sim = Builder::new()
        .rng_seed(seed)
        .enable_random_order()
        .simulation_duration(LIMIT)
        .tick_duration(plan.tick)
        // The clocks of hosts are apart by a tick at most. What takes less than that may come before
        // it was sent, and a server know of a deadline before it is there.
        .min_message_latency(plan.tick)
        .max_message_latency(plan.tick + plan.latency)
        .build();
    let mut acts = acts(&plan.faults).into_iter().peekable();
    let (orders, _) = watch::channel(Orders::default());
    let stage = Arc::new(Stage { plan, books: Arc::default(), orders });
    let on_server = Arc::clone(&stage);
    sim.host(SERVER, move || serve(Arc::clone(&on_server)));
    for (client, name) in NAMES.into_iter().enumerate() {
        sim.client(name, call(Arc::clone(&stage), client));
    }
    while !step(&mut sim) {
        while let Some((_, act)) = acts.next_if(|(at, _)| *at <= sim.elapsed()) {
            carry_out(&mut sim, &stage, act);
        }
    }
    // The fault that is under way ends with the last call.
    if let Some((_, act @ Act::End(_))) = acts.next() {
        carry_out(&mut sim, &stage, act);
    }
    stage.orders.send_modify(|orders| orders.end = true);
    let until = sim.elapsed() + LIMIT;
    while sim.is_host_running(SERVER) && sim.elapsed() < until {
        step(&mut sim);
    }
    if sim.is_host_running(SERVER) {
        stage.books.complain("the server doesn't end".to_owned());
    }
    drop(sim);
    Arc::clone(&stage.books)
}

/// Uses up task ids.
fn align_ids() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let next = || runtime.spawn(async {}).id().to_string().parse::<u64>().unwrap();
    while !next().is_multiple_of(IDS) {}
}

/// Lets a moment pass. Returns whether all clients are done.
fn step(sim: &mut Sim<'_>) -> bool {
    sim.step().unwrap_or_else(|error| panic!("not every call ended: {error}"))
}

/// When each fault begins and ends.
fn acts(faults: &[(Duration, Fault)]) -> Vec<(Duration, Act)> {
    let mut acts = Vec::new();
    let mut now = Duration::ZERO;
    for (pause, fault) in faults {
        now += *pause;
        acts.push((now, Act::Begin(*fault)));
        now += fault.takes();
        acts.push((now, Act::End(*fault)));
    }
    acts
}

impl Fault {
    fn takes(self) -> Duration {
        match self {
            Self::Cut(_, _, time) | Self::Hold(_, time) => time,
            Self::Crash(time) | Self::Vanish(time) => time,
            Self::Drain(_) | Self::Slow(_) => Duration::ZERO,
        }
    }
}

fn carry_out(sim: &mut Sim<'_>, stage: &Stage, act: Act) {
    match act {
        Act::Begin(Fault::Cut(client, Way::Both, _)) => sim.partition(SERVER, NAMES[client]),
        Act::Begin(Fault::Cut(client, Way::ToServer, _)) => {
            sim.partition_oneway(NAMES[client], SERVER);
        }
        Act::Begin(Fault::Cut(client, Way::ToClient, _)) => {
            sim.partition_oneway(SERVER, NAMES[client]);
        }
        Act::End(Fault::Cut(client, ..)) => sim.repair(SERVER, NAMES[client]),
        Act::Begin(Fault::Hold(client, _)) => sim.hold(SERVER, NAMES[client]),
        Act::End(Fault::Hold(client, _)) => sim.release(SERVER, NAMES[client]),
        Act::Begin(Fault::Crash(_)) => sim.crash(SERVER),
        Act::End(Fault::Crash(_)) => sim.bounce(SERVER),
        Act::Begin(Fault::Vanish(_)) => {
            NAMES.iter().for_each(|name| sim.partition(SERVER, *name));
            sim.crash(SERVER);
        }
        Act::End(Fault::Vanish(_)) => {
            NAMES.iter().for_each(|name| sim.repair(SERVER, *name));
            sim.bounce(SERVER);
        }
        Act::Begin(Fault::Drain(grace)) => stage.orders.send_modify(|orders| {
            orders.drains += 1;
            orders.grace = grace;
        }),
        Act::Begin(Fault::Slow(latency)) => sim.set_max_message_latency(stage.plan.tick + latency),
        Act::End(Fault::Drain(_) | Fault::Slow(_)) => {}
    }
}
