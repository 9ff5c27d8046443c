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

/// What a session may take, with everything that core has for a connection. The goal is 4 KiB. It is
/// missed: of about 8 KiB the task has 2.1, core's connection 1.4 and its other tables 0.6; and 3.0 are
/// buffers that stay although nothing is in them: of core's for requests (1.0), the queue between
/// the endpoint and the session (0.8), the tables of lanes (0.9), and packets sent (0.3).
const IDLE_BYTES: u64 = 10 * 1024;

/// How many sessions there are. Each is a socket of the crowd's, and a place in the server's table.
const SESSIONS: u64 = 2000;

/// `RPC_SESSIONS=10000` measures a larger crowd.
fn sessions() -> u64 {
    env::var("RPC_SESSIONS").map_or(SESSIONS, |sessions| sessions.parse().unwrap())
}

#[tokio::test]
async fn idle_sessions_take_10_kib_each() {
    let sessions = sessions();
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
    assert!(each <= IDLE_BYTES, "{each}");
    println!("FIGURE idle.udp_peers={sessions}");
    println!("FIGURE idle.udp_kib={:.1}", each as f64 / 1024.0);
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
