//! The process and its core: pins one to the other and reads the CPU time spent.

use std::fs;
use std::io;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

/// CPU time of this process so far, user and system, all threads.
pub(crate) fn time() -> io::Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let micros = (usage.user_time() + usage.system_time()).num_microseconds();
    Ok(Duration::from_micros(micros.unsigned_abs()))
}

/// The first two cores this process may run on, if it has two and can pin to them.
#[cfg(target_os = "linux")]
pub(crate) fn first_two() -> Option<[usize; 2]> {
    use nix::sched::{CpuSet, sched_getaffinity};
    use nix::unistd::Pid;

    let allowed = sched_getaffinity(Pid::from_raw(0)).ok()?;
    let mut cores = (0..CpuSet::count()).filter(|&core| allowed.is_set(core).unwrap_or(false));
    Some([cores.next()?, cores.next()?])
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn first_two() -> Option<[usize; 2]> {
    None
}

/// Whether this process runs at `SCHED_IDLE`: only when nothing else wants its core.
pub(crate) fn is_scheduled_when_idle() -> bool {
    /// `SCHED_IDLE` in the kernel's headers.
    const IDLE: &str = "5";
    /// Of the scheduling policy in `/proc/self/stat`, counted from what follows the command's name.
    const FIELD: usize = 38;

    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit_once(')').map(|(_, fields)| fields);
    fields.and_then(|fields| fields.split_whitespace().nth(FIELD)) == Some(IDLE)
}

/// Pins this thread, and every thread it starts from now on, to one core.
#[cfg(target_os = "linux")]
pub(crate) fn pin(core: usize) -> io::Result<()> {
    use nix::sched::{CpuSet, sched_setaffinity};
    use nix::unistd::Pid;

    let mut set = CpuSet::new();
    set.set(core)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn pin(_core: usize) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "pinning to a core needs Linux"))
}
