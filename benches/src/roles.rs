//! The two processes of a measurement: a server and a client, on the same kind of runtime.

use std::io;
use std::net::SocketAddr;

use tokio::runtime::{Builder, Runtime};

use crate::contender::Contender;
use crate::cpu;
use crate::harness::Load;

/// Serves until standard input ends; answers each of its lines with the CPU time so far.
pub(crate) fn serve(contender: Contender, addr: SocketAddr, core: Option<usize>) -> io::Result<()> {
    core.map_or(Ok(()), cpu::pin)?;
    let runtime = runtime()?;
    println!("{}", runtime.block_on(contender.serve(addr))?);
    for line in io::stdin().lines() {
        line?;
        println!("{}", cpu::time()?.as_nanos());
    }
    Ok(())
}

pub(crate) fn load(contender: Contender, load: Load, core: Option<usize>) -> io::Result<()> {
    core.map_or(Ok(()), cpu::pin)?;
    let runtime = runtime()?;
    // Spawned: a future under `block_on` would run on this thread, beside the worker.
    let measuring = runtime.spawn(contender.measure(load));
    println!("{}", runtime.block_on(measuring)??);
    Ok(())
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(1).enable_all().build()
}
