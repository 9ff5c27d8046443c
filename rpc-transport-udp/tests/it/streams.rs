//! Streams without an end over a network that loses a third of all datagrams: in memory, in paused time.

use std::time::Duration;

use rpc_core::{Channel, Server, Streaming};
use rpc_transport_udp::testing::{Faults, Network};
use tokio::time::Instant;

/// How long an item may take: what a channel allows that is told nothing else.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How many are read.
const ITEMS: u64 = 2000;

#[rpc_core::service]
trait Clock {
    /// Goes on for as long as somebody listens.
    async fn ticks(&self) -> Streaming<(u64, String)>;
    /// How far the numbers go that come, which have to be in a row.
    async fn follow(&self, ticks: Streaming<(u64, String)>) -> u64;
}

struct Wall;

/// All numbers, each with a text that follows from it; some at once, then none for a while.
fn ticks() -> Streaming<(u64, String)> {
    let (sender, ticks) = Streaming::channel(1);
    tokio::spawn(async move {
        for number in 0.. {
            if number % 100 == 0 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            if sender.send(tick(number)).await.is_err() {
                return;
            }
        }
    });
    ticks
}

fn tick(number: u64) -> (u64, String) {
    (number, format!("{number};").repeat(usize::try_from(number % 40).unwrap_or(0)))
}

/// Reads the first ones.
async fn read(mut ticks: Streaming<(u64, String)>) -> u64 {
    for number in 0..ITEMS {
        let came = ticks.next().await.expect("it has no end").expect("in its time");
        assert_eq!(came, tick(number));
    }
    ITEMS
}

impl Clock for Wall {
    async fn ticks(&self) -> Streaming<(u64, String)> {
        ticks()
    }

    async fn follow(&self, ticks: Streaming<(u64, String)>) -> u64 {
        read(ticks).await
    }
}

/// Case U1 of `spec/cases.md`.
#[tokio::test(start_paused = true)]
async fn an_endless_stream_comes_whole_and_in_order_where_a_third_is_lost_each_way() {
    for (seed, burst) in [(1, 1.0), (2, 3.0)] {
        let delay = Duration::from_millis(10);
        let network =
            Network::new(seed).faults(Faults::none().delay(delay, delay).loss(0.3, burst));
        let listener = network.listen().await.expect("a socket");
        let connector = network.connector(listener.local_addr());
        let server = Server::builder().service(ClockServer::new(Wall)).listen(listener).start();
        let server = server.expect("a server");
        let client = ClockClient::new(Channel::builder().timeout(TIMEOUT).lazy(connector));
        let began = Instant::now();
        let down = async { read(client.ticks().await.expect("a stream")).await };
        let up = async { client.follow(ticks()).await.expect("a reply") };
        assert_eq!(tokio::join!(down, up), (ITEMS, ITEMS));
        let (took, counts) = (began.elapsed(), network.counts());
        eprintln!("{ITEMS} items each way, {burst} lost in a row: {took:?}, {counts:?}");
        assert!(4 * counts.lost > counts.sent, "{counts:?}");
        assert_eq!(server.counters().connections, 1, "one session all the time");
        drop(client);
        assert!(server.shutdown(TIMEOUT).await, "nobody listens any more");
        assert_eq!(network.violation(), None);
    }
}
