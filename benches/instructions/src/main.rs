//! Runs one path of a call so many times, so that callgrind can count what it costs; it counts nothing
//! itself, see `.ci/instructions`.
//!
//! ```sh
//! rpc-instructions               # the paths: name, what is counted, how often to run it
//! rpc-instructions PATH TIMES
//! ```
//!
//! Everything that would differ from run to run is held still: one thread runs client and server, time
//! stands still (`calls`), and the tables with random seeds are touched while connecting only.

mod calls;
mod parts;

use std::{env, error::Error, process::ExitCode};

/// Something whose cost is counted.
struct Path {
    name: &'static str,
    /// What one time is.
    unit: &'static str,
    /// How often it runs in the shorter of two runs. The longer is three times that, so that their
    /// difference is large beside what is done once in a hundred times.
    times: usize,
    run: fn(usize) -> Result<(), Box<dyn Error>>,
}

/// Small enough that all of them take a minute under callgrind, and multiples of the 64 that are in
/// flight at a time.
const PATHS: [Path; 13] = [
    Path {
        name: "frame-encode",
        unit: "request of 16 bytes",
        times: 6400,
        run: parts::encode_frames,
    },
    Path {
        name: "frame-decode",
        unit: "request of 16 bytes",
        times: 6400,
        run: parts::decode_frames,
    },
    Path {
        name: "body-encode",
        unit: "struct of 5 fields",
        times: 6400,
        run: parts::encode_bodies,
    },
    Path {
        name: "body-decode",
        unit: "struct of 5 fields",
        times: 6400,
        run: parts::decode_bodies,
    },
    Path { name: "call-memory", unit: "call", times: 1280, run: calls::memory },
    Path {
        name: "batch-memory",
        unit: "call, 64 in flight",
        times: 6400,
        run: calls::memory_batch,
    },
    Path { name: "echo-memory", unit: "echo of 64 KiB", times: 320, run: calls::memory_echo },
    Path { name: "stream-memory", unit: "item of a reply", times: 6400, run: calls::memory_stream },
    Path { name: "call-tcp", unit: "call", times: 1280, run: calls::tcp },
    Path { name: "batch-tcp", unit: "call, 64 in flight", times: 6400, run: calls::tcp_batch },
    Path { name: "echo-tcp", unit: "echo of 64 KiB", times: 320, run: calls::tcp_echo },
    Path { name: "call-udp", unit: "call", times: 1280, run: calls::udp },
    Path { name: "batch-udp", unit: "call, 64 in flight", times: 6400, run: calls::udp_batch },
];

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let result = match &args[..] {
        [] => {
            for Path { name, unit, times, .. } in PATHS {
                println!("{name} {times} {unit}");
            }
            Ok(())
        }
        [name, times] => run(name, times),
        _ => Err("usage: rpc-instructions [PATH TIMES]".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(name: &str, times: &str) -> Result<(), Box<dyn Error>> {
    let path = PATHS.iter().find(|path| path.name == name);
    let path = path.ok_or_else(|| format!("no such path: {name}"))?;
    (path.run)(times.parse()?)
}
