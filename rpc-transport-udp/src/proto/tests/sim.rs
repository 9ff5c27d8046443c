//! Seeded runs: clients call while everything goes wrong that can, and the books have to balance.
//!
//! `RPC_SEEDS=n` tries so many seeds, `RPC_SEED=x` that one.

use std::{collections::HashSet, env, ops::Range, thread, time::Duration};

use rpc_core::testing::checkout;

use super::world::{Config, Faults, Habits, Outcome, World};
use crate::proto::session::{CloseCode, Lost};

/// Seeds of an ordinary run: they take some seconds without optimization.
const SEEDS: u64 = 150;

/// Seeds that are run twice.
const TWICE: u64 = 5;

/// When all faults end. Sessions last 30 s without an answer, and calls some more.
const FAULTS_END: Duration = Duration::from_secs(30);

/// What has happened by then has come to its end.
const CALLS_END: Duration = Duration::from_secs(400);

pub(super) fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

/// Tells how to see a failure again.
pub(super) struct Replay(pub(super) u64, pub(super) &'static str);

impl Drop for Replay {
    fn drop(&mut self) {
        if thread::panicking() {
            let (Self(seed, name), commit) = (self, checkout());
            let target = "-p rpc-transport-udp --lib";
            eprintln!("to see it again: RPC_SEED={seed} cargo test {target} {name}{commit}");
        }
    }
}

/// What runs came to.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Figures {
    trace: u64,
    calls: u64,
    done: u64,
    not_sent: u64,
    never_ran: u64,
    unknown: u64,
    frames: u64,
    datagrams: u64,
    lost: u64,
    damaged: u64,
    resets: u64,
    silences: u64,
}

impl Figures {
    fn add(&mut self, other: &Self) {
        self.trace ^= other.trace;
        self.calls += other.calls;
        self.done += other.done;
        self.not_sent += other.not_sent;
        self.never_ran += other.never_ran;
        self.unknown += other.unknown;
        self.frames += other.frames;
        self.datagrams += other.datagrams;
        self.lost += other.lost;
        self.damaged += other.damaged;
        self.resets += other.resets;
        self.silences += other.silences;
    }

    fn of(world: &World) -> Self {
        let mut figures =
            Self { trace: world.trace, datagrams: world.datagrams, ..Self::default() };
        for client in &world.clients {
            figures.frames += client.frames;
            figures.lost += client.up.lost + client.down.lost;
            figures.damaged += client.up.damaged + client.down.damaged;
            figures.resets += client.resets;
            figures.silences += client.losses.len() as u64;
            for call in &client.calls {
                figures.calls += 1;
                match call.outcome {
                    Some(Outcome::Done) => figures.done += 1,
                    Some(Outcome::NotSent) => figures.not_sent += 1,
                    Some(Outcome::NeverRan) => figures.never_ran += 1,
                    Some(Outcome::Unknown) | None => figures.unknown += 1,
                }
            }
        }
        figures
    }
}

#[test]
fn calls_keep_their_promises_whatever_happens_to_datagrams() {
    let seeds = seeds(SEEDS);
    let mut all = Figures::default();
    for seed in seeds {
        all.add(&run(seed));
    }
    eprintln!("{all:?}");
    assert!(all.done > 0);
    eprintln!("FIGURE simulated.calls={}", all.calls);
}

#[test]
fn the_same_seed_leaves_the_same_trace() {
    let seeds = seeds(TWICE);
    let count = seeds.end - seeds.start;
    let mut different = HashSet::new();
    for seed in seeds {
        let _replay = Replay(seed, "the_same_seed");
        let (first, second) = (run(seed), run(seed));
        assert_eq!(first, second, "the second run did something else");
        different.insert(first.trace);
    }
    assert_eq!(different.len() as u64, count, "each does something of its own");
    eprintln!("FIGURE determinism.world={count}");
}

/// The seeds to try.
fn seeds(usual: u64) -> Range<u64> {
    match number("RPC_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("RPC_SEEDS").unwrap_or(usual),
    }
}

/// Something that happens once.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// One direction of a client's path, or both, is cut for so long.
    Cut {
        client: usize,
        up: bool,
        down: bool,
        lasts: Duration,
    },
    Restored {
        client: usize,
    },
    /// A client comes from another port, or from another address.
    Rebind {
        client: usize,
        ip: bool,
    },
    /// A client ends its session and begins another.
    Move {
        client: usize,
    },
    Restart {
        down: Duration,
    },
    /// The server offers no session any more; then it takes none.
    OfferNoMore,
    Leave,
    FreezeServer(Duration),
    FreezeClient(usize, Duration),
    /// The same, and clocks stand still meanwhile.
    SleepServer(Duration),
    SleepClient(usize, Duration),
    /// Applications take nothing.
    DeafServer(Duration),
    DeafClient(usize, Duration),
    Mtu {
        client: usize,
        bytes: usize,
    },
    Faults {
        client: usize,
    },
    Heal,
}

fn run(seed: u64) -> Figures {
    let _replay = Replay(seed, "sim");
    let mut random = fastrand::Rng::with_seed(seed ^ 0x5eed);
    // What came later has a source of its own, so that old seeds do what they did.
    let mut more = fastrand::Rng::with_seed(seed ^ 0x30_5eed);
    let config = Config {
        frames_max: *pick(&mut random, &[1, 4, 4, 40, 200]),
        bytes_max: *pick(&mut random, &[1120, 1120, 6000]),
        budget_bytes: *pick(&mut more, &[256 << 20, 256 << 20, 60_000]),
        window: *pick(&mut more, &[4096, 4096, 256, 64]),
        ..Config::DEFAULT
    };
    let mut world = World::new(seed, config);
    for _ in 0..*pick(&mut random, &[1, 1, 1, 2, 3]) {
        let habits = Habits {
            calls: random.usize(5..60),
            width: *pick(&mut random, &[1, 4, 16, 64]),
            pause: Duration::from_millis(*pick(&mut random, &[0, 20, 300, 2000])),
        };
        let (up, down) = (faults(&mut random), faults(&mut random));
        let (up, down) = if more.u32(..4) == 0 { (stale(up), stale(down)) } else { (up, down) };
        world.add_client(up, down, habits);
    }
    let mut events = plan(&mut random, world.clients.len());
    for _ in 0..more.u32(..4) {
        let client = more.usize(..world.clients.len());
        events.push((Duration::from_millis(more.u64(..12_000)), Event::Move { client }));
    }
    events.extend(goodbye(&mut fastrand::Rng::with_seed(seed ^ 0x00b7_e5ee)));
    events.extend(sleep(&mut fastrand::Rng::with_seed(seed ^ 0x0051_ee90), world.clients.len()));
    events.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    let outages = outages(&events);
    while let Some((at, event)) = events.pop() {
        world.pass((world.begin + at).saturating_duration_since(world.now));
        happen(&mut world, &mut events, event, &mut random);
    }
    let finished = world
        .run_until(CALLS_END, |world| world.clients.iter().all(super::world::Client::is_finished));
    assert!(finished, "calls that never end: {world:?}");
    rest(&mut world);
    world.finish();
    world.check_calls();
    check_losses(&world, outages);
    // An orphan is a session whose client is gone and couldn't say so.
    let orphans: Vec<u64> = world.server.sessions.keys().copied().collect();
    for id in orphans {
        world.server.close(world.server_now(), id);
    }
    world.pass(super::world::Server::MEMORY);
    let uptime_ms = world.server.uptime_ms(world.server_now());
    world.server.table.handle_datagram(uptime_ms, world.address, &[]);
    assert_eq!(world.server.table.len(), 0, "the table remembers");
    Figures::of(&world)
}

/// After some time without calls nothing is under way, held or waited for.
fn rest(world: &mut World) {
    world.pass(Duration::from_secs(70));
    let before = world.datagrams;
    world.pass(Duration::from_secs(600));
    assert_eq!(world.datagrams, before, "idle sessions send");
    let ends = world.clients.iter().filter_map(super::world::Client::end);
    for end in ends.chain(world.server.sessions.values()) {
        let inspected = end.session.inspect();
        assert!(inspected.is_at_rest(), "{inspected:?}");
        assert!(inspected.lanes_in <= 1 && inspected.lanes_out <= 1, "{inspected:?}");
    }
}

/// How long nothing may have come through, at most, if losses aren't to blame.
fn outages(events: &[(Duration, Event)]) -> Duration {
    let lengths = events.iter().map(|(_, event)| match event {
        Event::Cut { lasts, .. }
        | Event::FreezeServer(lasts)
        | Event::FreezeClient(_, lasts)
        | Event::SleepServer(lasts)
        | Event::SleepClient(_, lasts)
        | Event::DeafServer(lasts)
        | Event::DeafClient(_, lasts)
        | Event::Restart { down: lasts } => *lasts,
        _ => Duration::ZERO,
    });
    lengths.sum()
}

/// Nobody broke the rules, and nobody gave a peer up that was there.
fn check_losses(world: &World, outages: Duration) {
    let silences = world.clients.iter().map(|client| client.losses.len()).sum::<usize>();
    assert!(silences == 0 || outages > Duration::from_secs(10), "given up: {:?}", world.clients);
    for lost in world.clients.iter().flat_map(|client| &client.losses) {
        let fine =
            matches!(lost, Lost::Silent | Lost::Closed(CloseCode::Timeout | CloseCode::Abort));
        assert!(fine, "a session was lost: {lost}");
    }
}

fn pick<'a, T>(random: &mut fastrand::Rng, of: &'a [T]) -> &'a T {
    &of[random.usize(..of.len())]
}

fn faults(random: &mut fastrand::Rng) -> Faults {
    let ms = Duration::from_millis;
    let mut faults = Faults { delay: ms(random.u64(0..60)), ..Faults::NONE };
    match random.u32(..6) {
        0 => {}
        1 => faults.lose = 20,
        2 => (faults.lose, faults.burst, faults.repeat) = (300, 3, 300),
        3 => (faults.lose, faults.burst, faults.damage) = (100, 10, 50),
        4 => (faults.repeat, faults.reorder, faults.late) = (100, 300, ms(500)),
        _ => {
            faults.jitter = ms(200);
            faults.damage = 20;
        }
    }
    if random.u32(..4) == 0 {
        faults.rate = Some(*pick(random, &[30_000, 200_000, 5_000_000]));
        faults.queue_bytes = *pick(random, &[8_000, 40_000, 300_000]);
        faults.marks = random.bool();
    }
    faults.bytes_max = *pick(random, &[1200, 1280, 1400, 1452, 1500, 1500]);
    faults
}

/// A network that keeps copies of datagrams for longer than their sessions last.
fn stale(faults: Faults) -> Faults {
    Faults { repeat: faults.repeat.max(200), stale: Duration::from_secs(14), ..faults }
}

/// What happens, the latest first.
fn plan(random: &mut fastrand::Rng, clients: usize) -> Vec<(Duration, Event)> {
    let ms = Duration::from_millis;
    let mut events = vec![(FAULTS_END, Event::Heal)];
    for _ in 0..random.u32(..6) {
        let client = random.usize(..clients);
        let short = ms(random.u64(10..4000));
        let long = ms(random.u64(10..20_000));
        let event = match random.u32(..10) {
            0 => Event::Cut { client, up: random.bool(), down: random.bool(), lasts: long },
            1 => Event::Cut { client, up: true, down: true, lasts: short },
            2 => Event::Rebind { client, ip: random.bool() },
            3 => Event::Restart { down: short },
            4 => Event::FreezeServer(long),
            5 => Event::FreezeClient(client, long),
            6 => Event::DeafServer(short),
            7 => Event::DeafClient(client, short),
            8 => Event::Mtu { client, bytes: *pick(random, &[1200, 1300, 1400, 1500]) },
            _ => Event::Faults { client },
        };
        // Most calls are made early.
        let at = if random.bool() { random.u64(..2000) } else { random.u64(..29_000) };
        events.push((ms(at), event));
    }
    events.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    events
}

/// In every third run a server goes that tells its clients so, and another one takes its place. It waits
/// for as long as it likes for those that it has offered a session.
fn goodbye(random: &mut fastrand::Rng) -> Vec<(Duration, Event)> {
    if random.u32(..3) > 0 {
        return Vec::new();
    }
    let ms = Duration::from_millis;
    let by = *pick(random, &[200, 2000, 15_000]);
    let at = ms(random.u64(..by));
    let leaves = at + ms(random.u64(..4000));
    let restarts = leaves + ms(random.u64(1..8000));
    let down = ms(random.u64(..1000));
    vec![(at, Event::OfferNoMore), (leaves, Event::Leave), (restarts, Event::Restart { down })]
}

/// In every third run a machine sleeps once, the server's or a client's.
fn sleep(random: &mut fastrand::Rng, clients: usize) -> Option<(Duration, Event)> {
    let ms = Duration::from_millis;
    let sleeps = random.u32(..3) == 0;
    let (at, lasts) = (ms(random.u64(..20_000)), ms(random.u64(10..40_000)));
    let event = match random.usize(..=clients) {
        0 => Event::SleepServer(lasts),
        client => Event::SleepClient(client - 1, lasts),
    };
    sleeps.then_some((at, event))
}

fn happen(
    world: &mut World,
    events: &mut Vec<(Duration, Event)>,
    event: Event,
    random: &mut fastrand::Rng,
) {
    let now = world.now;
    match event {
        Event::Cut { client, up, down, lasts } => {
            world.clients[client].up.is_down = up;
            world.clients[client].down.is_down = down;
            events.push((world.elapsed() + lasts, Event::Restored { client }));
            events.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        }
        Event::Restored { client } => {
            world.clients[client].up.is_down = false;
            world.clients[client].down.is_down = false;
        }
        Event::Rebind { client, ip } => rebind(world, client, ip),
        Event::Move { client } => {
            let client = &mut world.clients[client];
            client.is_moving = client.end().is_some();
        }
        Event::Restart { down } => world.restart_server(down),
        Event::OfferNoMore => world.server.table.offer_no_more(),
        Event::Leave => world.server.table.leave(),
        Event::FreezeServer(lasts) => world.freeze_server(lasts, false),
        Event::SleepServer(lasts) => world.freeze_server(lasts, true),
        Event::FreezeClient(client, lasts) => world.clients[client].freeze(now, lasts),
        Event::SleepClient(client, lasts) => world.clients[client].fall_asleep(now, lasts),
        Event::DeafServer(lasts) => {
            let until = world.server_now() + lasts;
            for end in world.server.sessions.values_mut() {
                end.deaf_until = Some(until);
            }
        }
        Event::DeafClient(client, lasts) => {
            let until = world.clients[client].own(now) + lasts;
            if let Some(end) = world.clients[client].end_mut() {
                end.deaf_until = Some(until);
            }
        }
        Event::Mtu { client, bytes } => {
            world.clients[client].up.faults.bytes_max = bytes;
            world.clients[client].down.faults.bytes_max = bytes;
        }
        Event::Faults { client } => {
            world.clients[client].up.faults = faults(random);
            world.clients[client].down.faults = faults(random);
        }
        Event::Heal => {
            for client in &mut world.clients {
                client.up.is_down = false;
                client.down.is_down = false;
                client.up.faults = Faults::NONE;
                client.down.faults = Faults::NONE;
            }
        }
    }
}

/// The client's NAT has forgotten it.
fn rebind(world: &mut World, client: usize, ip: bool) {
    let outer = &mut world.clients[client].outer;
    outer.set_port(outer.port() + 1);
    if ip {
        let host = u8::try_from(100 + client).unwrap();
        let net = u8::try_from(outer.port() % 200).unwrap();
        outer.set_ip([203, 0, net, host].into());
    }
}
