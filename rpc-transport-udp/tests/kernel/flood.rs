//! A flood of INITs under many addresses: what it costs a server in memory, and those whom it serves.

use std::{
    env,
    net::{Ipv4Addr, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use rpc_transport_udp::connector;

use crate::{
    load::{Load, builder},
    process::Process,
    record::Books,
    service::BenchClient,
};

/// What the server's memory may grow by, however many there are.
const GROWTH_MAX: u64 = 1024 * 1024;

/// How many INITs there are, and how many of them wait for an answer at a time.
const INITS: usize = 50_000;
const AT_A_TIME: usize = 256;

/// `RPC_INITS=1000000` sends a million.
fn inits() -> usize {
    env::var("RPC_INITS").map_or(INITS, |inits| inits.parse().unwrap())
}

/// An INIT, from the specification's example: all but its nonce and its checksum are always the same.
fn init(nonce: u64) -> Vec<u8> {
    let mut init = vec![0; 1200];
    init[..4].copy_from_slice(&[0x61, 1, 0, 0]);
    init[8..16].copy_from_slice(&nonce.to_le_bytes());
    init[16..24].copy_from_slice(&[0xac, 5, 5, 0, 0, 0x10, 0, 0]);
    let crc = crc32c::crc32c_append(crc32c::crc32c(&init[..4]), &init[8..]);
    init[4..8].copy_from_slice(&crc.to_le_bytes());
    init
}

/// Sends so many, each some hundred from another address, and lets nobody have a session. Every one is
/// answered. Returns how many were sent again, because they or their answers were lost.
fn flood(server: &str, inits: usize) -> usize {
    let datagrams: Vec<_> = (0..AT_A_TIME as u64).map(init).collect();
    let (mut answered, mut lost) = (0, 0);
    for source in 0_u32.. {
        if answered >= inits {
            break;
        }
        let [_, high, low, _] = (source << 8).to_be_bytes();
        let socket = UdpSocket::bind((Ipv4Addr::new(127, 1, high, low), 0)).unwrap();
        socket.connect(server).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        datagrams.iter().for_each(|init| assert_eq!(socket.send(init).unwrap(), init.len()));
        for nth in 0..AT_A_TIME {
            let mut answer = [0; 1500];
            let Ok(bytes) = socket.recv(&mut answer) else {
                lost += AT_A_TIME - nth;
                break;
            };
            assert_eq!((answer[..2].to_vec(), bytes), (vec![0x71, 2], 88), "an INIT_ACK");
            answered += 1;
        }
    }
    lost
}

#[tokio::test]
async fn a_flood_of_inits_costs_no_memory_and_no_call() {
    let inits = inits();
    let mut books = Books::open("flood");
    let parameters = [("ADDRESS", "127.0.0.1:0"), ("RECORD", books.path())];
    let mut server = Process::start("server", &parameters, None);
    let address = server.told("listening on").await;
    let bench = BenchClient::new(builder().lazy(connector(&address)));
    // What its threads need for calls they have from then on.
    let load = Load::start(4, &bench);
    tokio::time::sleep(WARM_UP).await;
    let (before, began) = (server.memory().resident, Instant::now());
    let flooding = thread::spawn(move || flood(&address, inits));
    while !flooding.is_finished() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (took, lost) = (began.elapsed(), flooding.join().unwrap());
    let growth = server.memory().resident.saturating_sub(before);
    let outcome = load.stop().await;
    println!(
        "{inits} INITs in {took:?}, {lost} sent again: {growth} bytes more; {} calls beside, the \
         slowest took {:?}",
        outcome.ok.len(),
        outcome.slowest()
    );
    println!("FIGURE flood.inits={inits}\nFIGURE flood.bytes={growth}");
    assert!(growth < GROWTH_MAX, "{growth}");
    assert!(outcome.lost.is_empty() && outcome.repeats == 0, "{:?}", outcome.lost);
    let during = outcome.ok.iter().filter(|(_, at, _)| *at > began && *at < began + took);
    assert!(during.count() > 0, "nobody was served meanwhile");
    outcome.check(&mut books);
    server.order("count");
    assert_eq!(server.told("connections").await, "1 0");
}

/// Until the server has all that it needs for calls.
const WARM_UP: Duration = Duration::from_millis(500);
