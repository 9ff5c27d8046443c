//! A role as a child process: the same binary again, spoken to in lines.

use std::env;
use std::fmt::Display;
use std::io::{self, BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::str::FromStr;

/// Killed when dropped.
pub(crate) struct Process {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Process {
    pub(crate) fn start(args: &[&str], core: Option<usize>) -> io::Result<Self> {
        Self::start_under(&[], args, core)
    }

    /// Lets another program start it, such as one that sets its priority.
    pub(crate) fn start_under(
        launcher: &[&str],
        args: &[&str],
        core: Option<usize>,
    ) -> io::Result<Self> {
        let exe = env::current_exe()?;
        let mut command = match launcher {
            [] => Command::new(exe),
            [program, options @ ..] => {
                let mut command = Command::new(program);
                command.args(options).arg(exe);
                command
            }
        };
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
        if let Some(core) = core {
            command.args(["--core", &core.to_string()]);
        }
        let mut child = command.spawn()?;
        let input = child.stdin.take().expect("stdin is piped");
        let output = child.stdout.take().expect("stdout is piped");
        Ok(Self { child, input, output: BufReader::new(output).lines() })
    }

    /// Waits for the next line of output.
    pub(crate) fn read<T: FromStr<Err: Display>>(&mut self) -> io::Result<T> {
        let ended = || io::Error::other("a server or client process ended early");
        let line = self.output.next().ok_or_else(ended)??;
        line.parse().map_err(|error| io::Error::other(format!("{error}: {line:?}")))
    }

    /// Sends an empty line, and waits for the next line of output.
    pub(crate) fn ask<T: FromStr<Err: Display>>(&mut self) -> io::Result<T> {
        self.input.write_all(b"\n")?;
        self.read()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when the process is already gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
