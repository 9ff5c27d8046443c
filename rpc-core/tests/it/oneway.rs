//! One-way calls: what `Ok` says, what holds them back, and where it shows what nobody hears of.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use rpc_core::{
    Call, Channel, Counters, Delivery, ErrorKind, Limits, RpcError, Server, ServerBuilder,
    testing::adversary::{Adversary, Death, Direction},
    transport::memory::{self, MemoryConnector},
};
use tokio::{
    io::{AsyncReadExt, DuplexStream, duplex},
    sync::{Mutex, Semaphore, mpsc},
    task::{JoinSet, yield_now},
    time::{sleep, timeout},
};

use crate::raw::PipeConnector;

#[rpc_core::service]
trait Journal {
    #[rpc(oneway)]
    async fn log(&self, number: u32, line: String);
    #[rpc(oneway)]
    async fn panic(&self);
    async fn ask(&self);
}

/// The same service, as another version knows it.
#[rpc_core::service(name = "Journal")]
trait Other {
    #[rpc(oneway)]
    async fn log(&self, line: String);
    #[rpc(oneway)]
    async fn shred(&self);
    #[rpc(oneway)]
    async fn ask(&self);
}

/// The service that has an error to return where callers wait for none.
#[rpc_core::service(name = "Journal")]
trait Fallible {
    async fn log(&self, number: u32, line: String) -> Result<(), String>;
}

struct Full;

impl Fallible for Full {
    async fn log(&self, _: u32, _: String) -> Result<(), String> {
        Err("the page is full".into())
    }
}

/// What the handlers did; each needs a permit of the pen to come to its end.
struct Book {
    pen: Semaphore,
    begun: AtomicU64,
    written: AtomicU64,
    /// The most that were begun and not written at a time.
    most: AtomicU64,
    /// How often each number was begun.
    runs: Vec<AtomicU32>,
}

impl Book {
    fn new(permits: usize) -> Arc<Self> {
        let (pen, zero) = (Semaphore::new(permits), AtomicU64::default);
        let runs = (0..1000).map(|_| AtomicU32::new(0)).collect();
        Arc::new(Self { pen, begun: zero(), written: zero(), most: zero(), runs })
    }

    /// With a pen for everybody.
    fn open() -> Arc<Self> {
        Self::new(Semaphore::MAX_PERMITS)
    }

    fn begun(&self) -> u64 {
        self.begun.load(Ordering::SeqCst)
    }

    fn written(&self) -> u64 {
        self.written.load(Ordering::SeqCst)
    }

    fn server(self: &Arc<Self>) -> ServerBuilder {
        Server::builder().service(JournalServer::from_arc(Arc::clone(self)))
    }
}

impl Journal for Book {
    async fn log(&self, number: u32, _: String) {
        self.begun.fetch_add(1, Ordering::SeqCst);
        self.most.fetch_max(self.begun() - self.written(), Ordering::SeqCst);
        if let Some(runs) = self.runs.get(number as usize) {
            runs.fetch_add(1, Ordering::SeqCst);
        }
        self.pen.acquire().await.unwrap().forget();
        self.written.fetch_add(1, Ordering::SeqCst);
    }
    async fn panic(&self) {
        panic!("no ink");
    }
    async fn ask(&self) {}
}

/// Long enough for everything that can happen without time to have happened.
async fn rest() {
    sleep(Duration::from_millis(10)).await;
}

/// Whether a call still waits when nothing more happens by itself.
async fn waits(call: &mut Call<()>) -> bool {
    timeout(Duration::from_millis(10), call).await.is_err()
}

async fn start(server: ServerBuilder, name: &str) -> (Server, MemoryConnector) {
    let server = server.listen(memory::listen(name).await.unwrap()).start().unwrap();
    (server, memory::connector(name.to_owned()))
}

/// A server for this book, and a client.
async fn open(book: &Arc<Book>, name: &str) -> (Server, JournalClient) {
    let (server, connector) = start(book.server(), name).await;
    (server, JournalClient::new(Channel::connect(connector).await.unwrap()))
}

#[tokio::test(start_paused = true)]
async fn it_ends_while_its_handler_runs() {
    let book = Book::new(0);
    let (_server, journal) = open(&book, "one-way: ends").await;
    journal.log(1, "a line".into()).await.unwrap();
    rest().await;
    assert_eq!((book.begun(), book.written()), (1, 0));
    book.pen.add_permits(1);
    rest().await;
    assert_eq!(book.written(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_limit_on_calls_holds_it_back_until_handlers_end() {
    let mut limits = Limits::default();
    limits.calls = 4;
    let book = Book::new(0);
    let (_server, connector) = start(book.server().limits(limits), "one-way: limit").await;
    let journal = JournalClient::new(Channel::connect(connector).await.unwrap());
    journal.ask().await.unwrap();
    for number in 0..4 {
        journal.log(number, String::new()).await.unwrap();
    }
    let mut fifth = journal.log(4, String::new());
    assert!(waits(&mut fifth).await, "four handlers run");
    let late = journal.log(5, String::new()).timeout(Duration::from_millis(50)).await.unwrap_err();
    assert_eq!((late.kind(), late.delivery()), (ErrorKind::DeadlineExceeded, Delivery::NotSent));
    book.pen.add_permits(1);
    fifth.await.unwrap();
    rest().await;
    assert_eq!((book.begun(), book.written()), (5, 1), "the late one never ran");
}

/// A client on a pipe of so many bytes, which nobody reads.
fn on_a_pipe(bytes: usize) -> (JournalClient, Channel, DuplexStream) {
    let (pipes, made) = mpsc::unbounded_channel();
    let (ours, theirs) = duplex(bytes);
    pipes.send(theirs).unwrap();
    let channel = Channel::builder().fail_fast(true).lazy(PipeConnector(Mutex::new(made)));
    (JournalClient::new(channel.clone()), channel, ours)
}

/// What goes over the wire before the line: preface, hello, prefix, request, number, length.
const BEFORE_LINE: usize = 8 + (12 + 48) + (12 + 16) + 4 + 8;

#[tokio::test(start_paused = true)]
async fn it_ends_with_the_last_byte_that_the_transport_takes_and_not_before() {
    for line in [3000, 100_000] {
        let (journal, _, mut pipe) = on_a_pipe(1000);
        let mut call = journal.log(1, "x".repeat(line)).no_deadline();
        assert!(waits(&mut call).await);
        // A message of many frames has a prefix and a header for each.
        let frames = (4 + 8 + 16 + line).div_ceil(16 * 1024) - 1;
        let all = BEFORE_LINE + line + frames * (12 + 4);
        let mut bytes = vec![0; all - 1000 - 1];
        pipe.read_exact(&mut bytes).await.unwrap();
        assert!(waits(&mut call).await, "a byte of {all} hasn't left");
        pipe.read_exact(&mut bytes[..1]).await.unwrap();
        call.await.unwrap();
        pipe.read_exact(&mut bytes[..999]).await.unwrap();
        assert!(timeout(Duration::from_secs(1), pipe.read_exact(&mut bytes[..2])).await.is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_cannot_leave_fails_at_its_deadline() {
    let (journal, channel, _pipe) = on_a_pipe(1000);
    let late = journal.log(1, "x".repeat(3000)).timeout(Duration::from_millis(50)).await;
    let late = late.unwrap_err();
    assert_eq!(
        late.to_string(),
        "Journal.log: deadline exceeded: it did not leave within 50ms (the handler may have run)"
    );
    assert_eq!(channel.counters().oneways_failed, 0, "its caller knows");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_before_it_has_left_says_not_sent() {
    let (journal, channel, pipe) = on_a_pipe(1000);
    let mut call = journal.log(1, "x".repeat(3000));
    assert!(waits(&mut call).await);
    drop(pipe);
    let lost = call.await.unwrap_err();
    assert_eq!((lost.kind(), lost.delivery()), (ErrorKind::ConnectionLost, Delivery::NotSent));
    assert_eq!(channel.counters().oneways_failed, 0);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_after_it_has_left_shows_in_the_counters() {
    let (journal, channel, pipe) = on_a_pipe(1000);
    journal.log(1, String::new()).await.unwrap();
    drop(pipe);
    channel.closed().await;
    let Counters { calls, calls_unknown, oneways_failed, .. } = channel.counters();
    assert_eq!((calls, calls_unknown, oneways_failed), (1, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn what_the_server_answers_shows_in_the_counters() {
    let book = Book::new(0);
    let (server, connector) = start(book.server(), "one-way: counted").await;
    let channel = Channel::connect(connector).await.unwrap();
    let (journal, other) = (JournalClient::new(channel.clone()), OtherClient::new(channel.clone()));
    let counted = || {
        let Counters { oneways_failed, calls_refused, calls_unknown, .. } = channel.counters();
        (oneways_failed, calls_refused, calls_unknown)
    };
    other.shred().await.unwrap();
    rest().await;
    assert_eq!(counted(), (1, 1, 0), "an unknown method");
    other.log("no number".into()).await.unwrap();
    rest().await;
    assert_eq!(counted(), (2, 2, 0), "a malformed request");
    journal.panic().await.unwrap();
    rest().await;
    assert_eq!(counted(), (3, 2, 0), "a handler that panics");
    journal.log(1, String::new()).timeout(Duration::from_secs(1)).await.unwrap();
    sleep(Duration::from_secs(2)).await;
    assert_eq!(counted(), (4, 2, 1), "a handler that its deadline stops");
    assert_eq!((server.counters().requests_stopped, server.counters().panics), (1, 1));
    other.ask().await.unwrap();
    rest().await;
    assert_eq!((counted(), channel.counters().calls), ((4, 2, 1), 5), "all went well");
}

#[tokio::test(start_paused = true)]
async fn an_error_that_the_handler_returns_shows_in_the_counters() {
    let builder = Server::builder().service(FallibleServer::new(Full));
    let (_server, connector) = start(builder, "one-way: error").await;
    let channel = Channel::connect(connector).await.unwrap();
    JournalClient::new(channel.clone()).log(1, "a line".into()).await.unwrap();
    rest().await;
    assert_eq!(channel.counters().oneways_failed, 1);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_runs_what_has_left_to_its_end() {
    let book = Book::new(0);
    let (server, journal) = open(&book, "one-way: shutdown").await;
    for number in 0..50 {
        journal.log(number, String::new()).await.unwrap();
    }
    let (pen, shutdown) = (Arc::clone(&book), server.shutdown(Duration::from_secs(60)));
    let open = async {
        rest().await;
        pen.pen.add_permits(50);
    };
    tokio::join!(shutdown, open);
    assert_eq!((book.begun(), book.written()), (50, 50));
}

#[tokio::test(start_paused = true)]
async fn the_last_channel_may_go_before_the_handlers_end() {
    let book = Book::new(0);
    let (server, journal) = open(&book, "one-way: last channel").await;
    for number in 0..50 {
        journal.log(number, String::new()).await.unwrap();
    }
    drop(journal);
    rest().await;
    book.pen.add_permits(50);
    rest().await;
    assert_eq!((book.begun(), book.written(), server.connections()), (50, 50, 0));
}

#[tokio::test(start_paused = true)]
async fn dropping_it_takes_it_back_or_cancels_it_until_it_has_left() {
    let book = Book::new(0);
    let (server, journal) = open(&book, "one-way: dropped").await;
    drop(journal.log(1, String::new()));
    let mut queued = Box::pin(journal.log(2, String::new()));
    tokio::select! {
        biased;
        _ = &mut queued => unreachable!("its driver hasn't run yet"),
        () = std::future::ready(()) => drop(queued),
    }
    rest().await;
    assert_eq!((book.begun(), server.counters().requests), (0, 0));

    let (journal, channel, _pipe) = on_a_pipe(1000);
    let mut stuck = journal.log(3, "x".repeat(3000));
    assert!(waits(&mut stuck).await);
    drop(stuck);
    assert_eq!(channel.counters().calls_cancelled, 1);
}

#[tokio::test]
async fn a_hundred_thousand_never_run_more_than_the_limit_at_a_time() {
    const TASKS: u32 = 100;
    const EACH: u32 = 1000;
    let mut limits = Limits::default();
    limits.calls = 64;
    let book = Book::new(0);
    let (_server, connector) = start(book.server().limits(limits), "one-way: many").await;
    let channel = Channel::connect(connector).await.unwrap();
    let mut tasks = JoinSet::new();
    for _ in 0..TASKS {
        let journal = JournalClient::new(channel.clone());
        tasks.spawn(async move {
            for number in 0..EACH {
                journal.log(number, String::new()).await.unwrap();
            }
        });
    }
    drop(channel);
    let write = async {
        while book.written() < u64::from(TASKS * EACH) {
            // Slower than the callers.
            book.pen.add_permits(8);
            yield_now().await;
        }
    };
    timeout(Duration::from_secs(60), write).await.expect("all of them run");
    tasks.join_all().await;
    assert!(book.runs.iter().all(|runs| runs.load(Ordering::SeqCst) == TASKS));
    assert_eq!(book.most.load(Ordering::SeqCst), 64);
}

/// Makes 200 calls over an adversary. Returns what each caller learnt, and what was counted.
async fn over(adversary: &Adversary, book: &Arc<Book>) -> (Vec<Result<(), RpcError>>, Counters) {
    let _server = book.server().listen(adversary.listen()).start().unwrap();
    let channel = Channel::builder().fail_fast(true).lazy(adversary.connector());
    let journal = JournalClient::new(channel.clone());
    let mut tasks = JoinSet::new();
    for number in 0..200 {
        let line = "x".repeat(if number % 20 == 0 { 20_000 } else { 10 });
        let call = journal.log(number, line);
        tasks.spawn(async move { (number, call.await) });
    }
    let mut ends = tasks.join_all().await;
    ends.sort_by_key(|(number, _)| *number);
    sleep(Duration::from_secs(20)).await;
    (ends.into_iter().map(|(_, end)| end).collect(), channel.counters())
}

#[tokio::test(start_paused = true)]
async fn over_the_adversary_each_runs_once_or_not_at_all_and_its_end_does_not_lie() {
    let (mut lost, mut kept) = (0, 0);
    for seed in 0..100 {
        let mut adversary = Adversary::new(seed).frame_bytes(1100);
        let dies = seed % 4 != 0;
        if dies {
            adversary = adversary.death(Death::when_sent(Direction::ToAcceptor, seed));
        }
        let book = Book::open();
        let (ends, counters) = over(&adversary, &book).await;
        let runs = |number: usize| book.runs[number].load(Ordering::SeqCst);
        let mut unheard = 0;
        for (number, end) in ends.iter().enumerate() {
            let what = || format!("seed {seed}: call {number} ran {} times: {end:?}", runs(number));
            match end {
                Ok(()) if runs(number) == 0 => unheard += 1,
                Ok(()) => assert_eq!(runs(number), 1, "{}", what()),
                Err(error) => {
                    assert_eq!(error.delivery(), Delivery::NotSent, "{}", what());
                    assert_eq!(runs(number), 0, "{}", what());
                }
            }
        }
        assert!(unheard <= counters.oneways_failed, "seed {seed}: {unheard}, {counters:?}");
        assert!(dies || ends.iter().all(Result::is_ok) && unheard == 0, "seed {seed}");
        lost += unheard;
        kept += book.written();
    }
    assert!(lost > 0 && kept > 0, "{lost} were lost, {kept} ran");
}
