//! Other processes: this binary started again with a role, what it is told and tells, and what
//! `/proc` says about it.

use std::{
    env, fs,
    io::{self, BufRead, BufReader, Write},
    process::{Child, ChildStdin, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tokio::{sync::mpsc, time::timeout};

/// How long anything that always comes to pass may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The role of this process, if it has one.
pub(crate) fn role() -> Option<String> {
    parameter("ROLE")
}

/// What this process was started with.
pub(crate) fn parameter(name: &str) -> Option<String> {
    env::var(format!("RPC_PROCESS_{name}")).ok()
}

/// Tells the test that started this process. On a line of its own: the test harness may have begun
/// one.
pub(crate) fn tell(line: &str) {
    println!("\n{line}");
}

/// What the test tells this process, line by line, until the test is gone.
pub(crate) fn orders() -> impl Iterator<Item = String> {
    io::stdin().lines().map_while(Result::ok)
}

/// A process that is killed when it is dropped.
pub(crate) struct Process {
    child: Child,
    orders: Option<ChildStdin>,
    told: mpsc::UnboundedReceiver<String>,
}

/// A parameter: all threads share one heap. Else glibc asks for 64 MiB of addresses at a time for each of
/// them, used or not.
pub(crate) const ONE_HEAP: (&str, &str) = ("ONE_HEAP", "yes");

impl Process {
    /// Starts this binary in a role, with as many open files as the system allows, or `files`.
    pub(crate) fn start(role: &str, parameters: &[(&str, &str)], files: Option<u32>) -> Self {
        Self::start_in(None, role, parameters, files)
    }

    /// The same, in a network namespace.
    pub(crate) fn start_in(
        namespace: Option<&str>,
        role: &str,
        parameters: &[(&str, &str)],
        files: Option<u32>,
    ) -> Self {
        let files = files.map_or("$(ulimit -H -n)".to_owned(), |files| files.to_string());
        let mut command = Command::new(if namespace.is_some() { "ip" } else { "sh" });
        // Each replaces the one before: the process that was started is this binary in the end.
        if let Some(namespace) = namespace {
            command.args(["netns", "exec", namespace, "sh"]);
        }
        command.args(["-c", &format!("ulimit -n {files}; exec \"$0\" \"$@\"")]);
        command.arg(env::current_exe().unwrap());
        command.args(["--exact", "the_other_process", "--nocapture"]);
        for (name, value) in [("ROLE", role)].iter().chain(parameters) {
            command.env(format!("RPC_PROCESS_{name}"), value);
        }
        if parameters.contains(&ONE_HEAP) {
            command.env("MALLOC_ARENA_MAX", "1");
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (tell, told) = mpsc::unbounded_channel();
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        let orders = child.stdin.take();
        Self { child, orders, told }
    }

    /// Waits for a line that begins like this, and returns what follows.
    pub(crate) async fn told(&mut self, beginning: &str) -> String {
        let waiting = async {
            while let Some(line) = self.told.recv().await {
                if let Some(rest) = line.strip_prefix(beginning) {
                    return rest.trim().to_owned();
                }
            }
            panic!("the process ended, and never said `{beginning}`");
        };
        timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("no `{beginning}` in time"))
    }

    pub(crate) fn order(&mut self, order: &str) {
        writeln!(self.orders.as_mut().unwrap(), "{order}").unwrap();
    }

    /// Kills it without a warning, and waits until it is gone.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends a signal, by its name.
    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success(), "{kill}");
    }

    /// The processor time it has taken, in hundredths of a second (`proc(5)`: the unit of `stat` is
    /// 1/100 s wherever Linux runs).
    pub(crate) fn cpu_ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // The name of the program is in parentheses, and may hold anything.
        let (_, fields) = stat.rsplit_once(')').unwrap();
        let fields: Vec<_> = fields.split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    /// Its memory: resident and virtual, in bytes.
    pub(crate) fn memory(&self) -> Memory {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let value = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            let kib = line.and_then(|line| line.split_whitespace().next());
            kib.and_then(|kib| kib.parse::<u64>().ok()).map(|kib| kib * 1024)
        };
        let value = |key: &str| value(key).expect(key);
        Memory { resident: value("VmRSS:"), peak: value("VmHWM:"), virtually: value("VmSize:") }
    }

    /// Waits until it has used no processor time for `window`.
    pub(crate) async fn settle(&self, window: Duration) {
        let began = Instant::now();
        let mut last = (self.cpu_ticks(), Instant::now());
        while last.1.elapsed() < window {
            assert!(began.elapsed() < PATIENCE, "it never comes to rest");
            tokio::time::sleep(Duration::from_millis(50)).await;
            let ticks = self.cpu_ticks();
            if ticks != last.0 {
                last = (ticks, Instant::now());
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What `/proc/PID/status` says about memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    pub(crate) resident: u64,
    /// The most that was resident.
    #[allow(dead_code, reason = "the tests of UDP use it")]
    pub(crate) peak: u64,
    pub(crate) virtually: u64,
}

/// Waits for a condition that always comes to be true.
#[track_caller]
pub(crate) fn until(
    what: &str,
    mut condition: impl FnMut() -> bool,
) -> impl Future<Output = Duration> {
    let caller = std::panic::Location::caller();
    async move {
        let began = Instant::now();
        while !condition() {
            assert!(began.elapsed() < PATIENCE, "{what}: not in time, at {caller}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        began.elapsed()
    }
}

/// How often something is done: as often as for every change, or `RPC_TIMES` times as often.
pub(crate) fn times(usual: usize) -> usize {
    usual * env::var("RPC_TIMES").ok().and_then(|times| times.parse().ok()).unwrap_or(1)
}
