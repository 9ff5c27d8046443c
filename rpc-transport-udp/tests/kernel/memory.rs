//! What idle sessions cost a server in memory, measured in a process of its own, over loopback.

use std::{env, time::Duration};

use rpc_transport_udp::connector;
use tokio::task::JoinSet;

use crate::{
    load::builder,
    process::{Process, orders, parameter, tell},
    record::Books,
    service::BenchClient,
};

/// What a session may take, with everything that core has for a connection: the task 1.8 KiB, core's
/// connection 1.4, timers and tables 0.5.
const IDLE_BYTES: u64 = 4 * 1024;

/// Sessions that are all made within the second for which core keeps the buffers of a call have those
/// at the same time. They are given back to the allocator, which keeps them for what comes.
const BUFFER_BYTES: u64 = 1024;

/// A crowd of so many takes longer than that, and sessions use the buffers of those before them again.
const LARGE_CROWD: u64 = 10_000;

/// How many sessions there are. Each is a socket of the crowd's, and a place in the server's table.
const SESSIONS: u64 = 2000;

/// `RPC_SESSIONS=10000` measures a larger crowd.
fn sessions() -> u64 {
    env::var("RPC_SESSIONS").map_or(SESSIONS, |sessions| sessions.parse().unwrap())
}

/// How many crowds are measured at most. What the allocator keeps of what was freed is up to 150 bytes for
/// each session, more in one run than in another: what sessions take is what they take in the best of some.
const CROWDS: usize = 3;

#[tokio::test]
async fn idle_sessions_take_4_kib_each() {
    let sessions = sessions();
    let buffers = if sessions < LARGE_CROWD { BUFFER_BYTES } else { 0 };
    let most = IDLE_BYTES + buffers;
    let mut each = u64::MAX;
    for _ in 0..CROWDS {
        each = each.min(measure(sessions).await);
        if each <= most {
            break;
        }
    }
    assert!(each <= most, "{each}");
    println!("FIGURE idle.udp_peers={sessions}");
    println!("FIGURE idle.udp_kib={:.1}", each as f64 / 1024.0);
}

/// What so many sessions take of a server's memory, in bytes each.
async fn measure(sessions: u64) -> u64 {
    let books = Books::open("memory");
    let parameters = [("ADDRESS", "127.0.0.1:0"), ("RECORD", books.path())];
    let mut server = Process::start("server", &parameters, None);
    let address = server.told("listening on").await;
    // What it keeps for all sessions, it has from now on.
    let bench = BenchClient::new(builder().lazy(connector(&address)));
    for call in 0..100 {
        assert_eq!(bench.run(call).await, Ok(call));
    }
    let before = server.memory().resident;
    let count = sessions.to_string();
    let mut crowd = Process::start("crowd", &[("ADDRESS", &address), ("SESSIONS", &count)], None);
    crowd.told("standing").await;
    server.settle(SETTLED).await;
    server.order("count");
    assert_eq!(server.told("connections").await, format!("{} 0", sessions + 1));
    let each = server.memory().resident.saturating_sub(before) / sessions;
    let build = if cfg!(debug_assertions) { "debug" } else { "release" };
    println!("{sessions} idle sessions after a call, {build} build: {each} bytes of memory each");
    each
}

/// Buffers are given back after a second or two.
const SETTLED: Duration = Duration::from_millis(1500);

/// Sessions that are set up at a time.
const AT_A_TIME: usize = 64;

/// The role `crowd`: many clients that make a call each, and stand still then.
pub(crate) fn stand() {
    let sessions: u64 = parameter("SESSIONS").unwrap().parse().unwrap();
    let address = parameter("ADDRESS").unwrap();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let crowd = runtime.block_on(async {
        let mut joining = JoinSet::new();
        let mut crowd = Vec::new();
        for call in 0..sessions {
            let bench = BenchClient::new(builder().lazy(connector(&address)));
            joining.spawn(async move {
                assert_eq!(bench.run(call).await, Ok(call));
                bench
            });
            if joining.len() == AT_A_TIME {
                crowd.extend(joining.join_next().await.map(Result::unwrap));
            }
        }
        crowd.extend(joining.join_all().await);
        crowd
    });
    tell("standing");
    orders().for_each(drop);
    drop(crowd);
}
