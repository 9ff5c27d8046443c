//! Keeps the two cores from halting: on each spins a process that runs only when nothing else would.
//!
//! To wake a halted core takes a virtual machine 50 to 150 µs, many times what any contender takes.
//! It comes and goes by itself and says nothing of any contender.

use std::convert::Infallible;
use std::hint;
use std::io;
use std::process::{Command, Stdio};
use std::thread;

use crate::cpu;
use crate::process::Process;

/// What a spinning process prints when it has begun.
const SPINNING: &str = "spinning";

/// Runs a command at `SCHED_IDLE`, from util-linux: anything else on the core goes first, at once.
const AT_IDLE: [&str; 3] = ["chrt", "--idle", "0"];

/// Whether the cores are kept awake; if they are, until this is dropped.
pub(crate) enum Awake {
    Kept {
        _spinning: Vec<Process>,
    },
    NotAsked,
    /// It was asked for, and why it can't be.
    Impossible(String),
}

impl Awake {
    pub(crate) fn start(asked: bool, cores: Option<[usize; 2]>) -> Self {
        if !asked {
            return Self::NotAsked;
        }
        let Some(cores) = cores else {
            return Self::Impossible("no two cores to pin to".to_owned());
        };
        match cores.into_iter().map(start_spinning).collect() {
            Ok(spinning) => Self::Kept { _spinning: spinning },
            Err(error) => Self::Impossible(error.to_string()),
        }
    }

    /// For the report.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Kept { .. } => "cores kept awake".to_owned(),
            Self::NotAsked => "cores halt when idle".to_owned(),
            Self::Impossible(why) => format!("cores halt when idle (to keep them awake: {why})"),
        }
    }
}

fn start_spinning(core: usize) -> io::Result<Process> {
    let [chrt, ..] = AT_IDLE;
    let found = Command::new(chrt).arg("--version").stdout(Stdio::null()).status();
    found.map_err(|error| io::Error::other(format!("{chrt}: {error}")))?;
    let mut process = Process::start_under(&AT_IDLE, &["spin"], Some(core))?;
    let announced: String = process.read()?;
    assert_eq!(announced, SPINNING, "what a spinning process prints first");
    Ok(process)
}

/// Spins until standard input ends, so that it never outlives the driver. Refuses to at any other
/// priority than idle, at which it would take the core from what is measured.
pub(crate) fn spin(core: Option<usize>) -> io::Result<Infallible> {
    if !cpu::is_scheduled_when_idle() {
        return Err(io::Error::other("only at SCHED_IDLE: chrt --idle 0 compare spin"));
    }
    core.map_or(Ok(()), cpu::pin)?;
    println!("{SPINNING}");
    thread::spawn(|| {
        loop {
            hint::spin_loop();
        }
    });
    io::copy(&mut io::stdin(), &mut io::sink())?;
    std::process::exit(0)
}
