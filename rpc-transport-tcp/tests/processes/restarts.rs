//! Servers that are replaced while clients call at full speed.

use rpc_core::{Delivery, ErrorKind};

use crate::{
    lab::{LabClient, LabProcess},
    load::{Load, Numbers, Outcome, channel},
    process::times,
    record::Books,
};

const RESTARTS: usize = 10;
const CHANNELS: usize = 4;
const CALLERS: usize = 32;

/// The least that they make of calls a second, in a release build.
const PER_SECOND: f64 = 5000.0;

/// Replaces the server again and again, under callers with clients that `client` makes of its
/// address. Returns what became of the calls, once the books are seen to balance.
async fn restart<C>(
    name: &str,
    address: &str,
    calls: usize,
    client: impl FnOnce(String) -> C,
) -> Outcome
where
    C: Fn(usize) -> LabClient + Send + Sync + 'static,
{
    let mut books = Books::open(name);
    let mut server = LabProcess::start(address, &books).await;
    let address = server.address.clone();
    let load = Load::start(CALLERS, &Numbers::default(), client(address.clone()));
    let restarts = times(RESTARTS);
    for _ in 0..restarts {
        load.progress(1, calls).await;
        let next = LabProcess::starting(&address, &books, None);
        server.process.order("shutdown");
        assert_eq!(server.process.told("drained").await, "true");
        server = LabProcess::listening(next).await;
    }
    load.progress(1, calls).await;
    let outcome = load.stop().await;

    books.read_on();
    println!(
        "{name}: {restarts} restarts, {} calls, {} repeats, {} lost",
        outcome.ok.len(),
        outcome.repeated.len(),
        outcome.lost.len(),
    );
    let wrong: Vec<_> = outcome.ok.iter().filter(|call| books.ran(**call) != 1).collect();
    assert!(wrong.is_empty(), "answered, and not run once: {wrong:?}");
    assert_eq!(books.repeated(), Vec::<u64>::new(), "ran twice");
    let lost = outcome.lost.iter().filter(|lost| books.ran(lost.call) > 0).count();
    assert_eq!(books.calls(), outcome.ok.len() + lost, "nothing else ran");
    outcome
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_rolling_restarts_lose_no_call_and_run_none_twice() {
    // An address of its own, so that no other test takes the port in between.
    let outcome = restart("restarts", "127.0.0.81:0", 1000, |address| {
        let channels: Vec<_> = (0..CHANNELS).map(|_| channel(&address)).collect();
        move |caller| channels[caller % CHANNELS].clone()
    });
    let Outcome { ok, repeated, lost, took } = outcome.await;
    assert!(lost.is_empty(), "{lost:?}");
    assert!(repeated.is_empty(), "none fails, not even as one that may be repeated: {repeated:?}");
    let per_second = ok.len() as f64 / took.as_secs_f64();
    println!("{per_second:.0} calls a second");
    assert!(cfg!(debug_assertions) || per_second >= PER_SECOND, "{per_second} calls a second");
    println!("FIGURE restarts.count={}", times(RESTARTS));
    println!("FIGURE restarts.calls={}", ok.len());
    println!("FIGURE restarts.per_second={per_second:.0}");
    println!("FIGURE restarts.repeated={}", repeated.len());
}

/// A client that sends its first request with its hello can be lost between the last accept and the
/// closing of the listener: a matter of microseconds, and it learns that it does not know.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_come_during_restarts_are_served_or_told_that_they_may_have_run() {
    let outcome = restart("newcomers", "127.0.0.83:0", 200, |address| move |_| channel(&address));
    let lost = outcome.await.lost;
    for lost in &lost {
        let (kind, delivery) = (lost.error.kind(), lost.error.delivery());
        assert_eq!((kind, delivery), (ErrorKind::ConnectionLost, Delivery::Unknown), "{lost:?}");
    }
    assert!(lost.len() <= times(RESTARTS), "{lost:?}");
}
