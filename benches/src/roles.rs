//! The two processes of a measurement: a server and a client, on the same kind of runtime.

use std::io;
use std::net::SocketAddr;
use std::process;
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use crate::contender::Contender;
use crate::cpu;
use crate::files;
use crate::harness::Load;
use crate::scenario::Work;
use crate::usage::Usage;

/// How long a client may take in any case, and how many times the measured time on top.
const PATIENCE: Duration = Duration::from_secs(60);
const PATIENCE_FACTOR: u32 = 20;

/// Serves until standard input ends; answers each of its lines with what it used so far.
pub(crate) fn serve(contender: Contender, addr: SocketAddr, core: Option<usize>) -> io::Result<()> {
    core.map_or(Ok(()), cpu::pin)?;
    files::raise_limit()?;
    let runtime = runtime()?;
    println!("{}", runtime.block_on(contender.serve(addr))?);
    for line in io::stdin().lines() {
        line?;
        println!("{}", Usage::now()?);
    }
    Ok(())
}

pub(crate) fn load(contender: Contender, load: Load, core: Option<usize>) -> io::Result<()> {
    give_up_after(PATIENCE + load.time * PATIENCE_FACTOR);
    core.map_or(Ok(()), cpu::pin)?;
    files::raise_limit()?;
    let runtime = runtime()?;
    // Spawned: a future under `block_on` would run on this thread, beside the worker.
    let measuring = runtime.spawn(contender.measure(load));
    println!("{}", runtime.block_on(measuring)??);
    if load.scenario.work == Work::Idle {
        // The connections have to be there while the server is asked what they cost it.
        io::copy(&mut io::stdin(), &mut io::sink())?;
    }
    Ok(())
}

/// Ends the process if it still runs then. Raw loops over UDP wait for ever for what was lost, and a
/// long comparison should not.
fn give_up_after(limit: Duration) {
    thread::spawn(move || {
        thread::sleep(limit);
        eprintln!("given up after {limit:?}");
        process::exit(1);
    });
}

/// What both processes run on.
pub(crate) fn runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(1).enable_all().build()
}
