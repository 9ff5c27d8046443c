//! Networks of namespaces, one for each test, and how a test gets inside of its own; no calls.
//!
//! A test is started twice: once by the harness, which makes the namespaces, starts the test again as
//! a process in the client's namespace, and removes them whatever became of it; and once there, where
//! its body runs. So a test's sockets are in its own network without any unsafe code.

use std::{
    env, fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    process::{Child, Command, Output, Stdio},
    sync::{
        Once,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use crate::process::parameter;

/// What the names of all namespaces begin with; the process that made them follows.
const PREFIX: &str = "rpcudp";

/// Longer than any test takes. Whatever hangs is ended then.
const LIMIT: Duration = Duration::from_secs(150);

/// Where the server of a test listens.
pub(crate) const PORT: u16 = 7000;

/// The machines of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Host {
    Client,
    Router,
    Server,
}

/// How they are connected: by a device called `wire` at the client and at the server. A router
/// between them has `left`, to the client, and `right`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Direct,
    Routed,
}

impl Shape {
    fn hosts(self) -> &'static [Host] {
        match self {
            Self::Direct => &[Host::Client, Host::Server],
            Self::Routed => &[Host::Client, Host::Server, Host::Router],
        }
    }
}

/// The network that a test is in.
#[derive(Debug, Clone)]
pub(crate) struct Lab {
    name: String,
}

impl Lab {
    /// The client's address.
    pub(crate) const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 1, 1));
    /// The server's address.
    pub(crate) const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 2, 1));

    /// Where the server of a test listens.
    pub(crate) fn address() -> String {
        SocketAddr::new(Self::SERVER, PORT).to_string()
    }

    /// The name of a host's namespace.
    pub(crate) fn namespace(&self, host: Host) -> String {
        format!("{}-{host:?}", self.name).to_lowercase()
    }

    /// Runs a command at a host. Returns what it printed.
    #[track_caller]
    pub(crate) fn run(&self, host: Host, command: &str) -> String {
        self.try_run(host, command, "").unwrap_or_else(|error| panic!("{error}"))
    }

    fn try_run(&self, host: Host, command: &str, input: &str) -> Result<String, String> {
        run(&format!("ip netns exec {} {command}", self.namespace(host)), input)
    }

    /// Replaces a host's rules, given as the chains of a table, in the syntax of `nft`.
    #[track_caller]
    pub(crate) fn rules(&self, host: Host, chains: &str) {
        self.try_rules(host, "inet", chains).unwrap_or_else(|error| panic!("{error}"));
    }

    /// Replaces a host's rules by some that belong to its devices.
    #[track_caller]
    pub(crate) fn device_rules(&self, host: Host, chains: &str) {
        self.try_rules(host, "netdev", chains).unwrap_or_else(|error| panic!("{error}"));
    }

    /// A host has no rules any more.
    #[track_caller]
    pub(crate) fn no_rules(&self, host: Host) {
        self.rules(host, "");
    }

    fn try_rules(&self, host: Host, family: &str, chains: &str) -> Result<(), String> {
        let rules = format!("flush ruleset\ntable {family} lab {{\n{chains}\n}}\n");
        self.try_run(host, "nft -f -", &rules).map(drop)
    }

    /// How many packets the counter of a host's rules with this comment has counted.
    pub(crate) fn counted(&self, host: Host) -> u64 {
        let rules = self.run(host, "nft list ruleset");
        let mut words = rules.split_whitespace();
        let mut sum = 0;
        while words.any(|word| word == "packets") {
            sum += words.next().unwrap().parse::<u64>().unwrap();
        }
        sum
    }

    /// A counter of the kernel's at a host, as `/proc/net/snmp` has it.
    pub(crate) fn kernel_counter(&self, host: Host, protocol: &str, name: &str) -> u64 {
        let text = self.run(host, "cat /proc/net/snmp");
        let mut lines = text.lines().filter(|line| line.starts_with(&format!("{protocol}:")));
        let names = lines.next().unwrap().split_whitespace();
        let values = lines.next().unwrap().split_whitespace();
        let (_, value) = names.zip(values).find(|(at, _)| *at == name).unwrap();
        value.parse().unwrap()
    }

    fn set_up(&self, shape: Shape) -> Result<(), String> {
        for host in shape.hosts() {
            run(&format!("ip netns add {}", self.namespace(*host)), "")?;
            self.try_run(*host, "ip link set lo up", "")?;
            // Without it a device talks as soon as it is up.
            self.try_run(*host, "sysctl -q -w net.ipv6.conf.default.disable_ipv6=1", "")?;
        }
        match shape {
            Shape::Direct => {
                self.connect((Host::Client, "wire"), (Host::Server, "wire"))?;
                let (client, server) = (Self::CLIENT, Self::SERVER);
                self.add_address(Host::Client, "wire", &format!("{client} peer {server}"))?;
                self.add_address(Host::Server, "wire", &format!("{server} peer {client}"))?;
            }
            Shape::Routed => {
                self.connect((Host::Client, "wire"), (Host::Router, "left"))?;
                self.connect((Host::Server, "wire"), (Host::Router, "right"))?;
                self.add_address(Host::Client, "wire", &format!("{}/24", Self::CLIENT))?;
                self.add_address(Host::Server, "wire", &format!("{}/24", Self::SERVER))?;
                self.add_address(Host::Router, "left", "10.77.1.254/24")?;
                self.add_address(Host::Router, "right", "10.77.2.254/24")?;
                self.try_run(Host::Router, "sysctl -q -w net.ipv4.ip_forward=1", "")?;
                self.try_run(Host::Client, "ip route add default via 10.77.1.254", "")?;
                self.try_run(Host::Server, "ip route add default via 10.77.2.254", "")?;
            }
        }
        let harmless = "chain trial {\n type filter hook input priority 0\n}";
        self.try_rules(Host::Server, "inet", harmless)?;
        self.try_rules(Host::Server, "inet", "")
    }

    fn connect(&self, left: (Host, &str), right: (Host, &str)) -> Result<(), String> {
        let (at, peer) = (self.namespace(left.0), self.namespace(right.0));
        let (left_name, right_name) = (left.1, right.1);
        let add = format!("type veth peer name {right_name} netns {peer}");
        run(&format!("ip -n {at} link add {left_name} {add}"), "")?;
        run(&format!("ip -n {at} link set {left_name} up"), "")?;
        run(&format!("ip -n {peer} link set {right_name} up"), "").map(drop)
    }

    fn add_address(&self, host: Host, device: &str, address: &str) -> Result<(), String> {
        self.try_run(host, &format!("ip address add {address} dev {device}"), "").map(drop)
    }

    fn tear_down(&self, shape: Shape) {
        for host in shape.hosts() {
            let name = self.namespace(*host);
            // Nobody but the processes of this test is in there.
            let pids = run(&format!("ip netns pids {name}"), "").unwrap_or_default();
            let pids = pids.split_whitespace().collect::<Vec<_>>().join(" ");
            if !pids.is_empty() {
                let _ = run(&format!("kill -KILL {pids}"), "");
            }
            let _ = run(&format!("ip netns del {name}"), "");
        }
    }
}

/// Runs the body of a test inside of a network of its own.
pub(crate) fn within<B, F>(shape: Shape, body: B)
where
    B: FnOnce(Lab) -> F,
    F: Future<Output = ()>,
{
    let test = test_of(&body);
    if let Some(name) = parameter("LAB") {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
        let body = async { tokio::time::timeout(LIMIT, body(Lab { name })).await };
        runtime.block_on(body).expect("the test takes too long");
        return;
    }
    static SWEPT: Once = Once::new();
    SWEPT.call_once(sweep);
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let lab = Lab { name: format!("{PREFIX}-{}-{number}", std::process::id()) };
    let site = Site { lab, shape };
    if let Err(reason) = site.lab.set_up(shape) {
        skip(test, &reason);
        return;
    }
    site.start(test);
}

/// Says that a test can't be run here, where nothing holds it back.
pub(crate) fn skip(test: &str, reason: &str) {
    let reason = reason.split_whitespace().collect::<Vec<_>>().join(" ");
    // Not `eprintln`, which the harness keeps to itself.
    let _ = writeln!(io::stderr(), "SKIPPED: {test}: {reason}");
}

/// The name of the test that a closure was written in.
fn test_of<B>(_: &B) -> &'static str {
    let name = std::any::type_name::<B>();
    let name = name.split_once("::").map_or(name, |(_, name)| name);
    name.split_once("::{{").map_or(name, |(name, _)| name)
}

/// A network that goes when it is dropped, with everything that runs in it.
struct Site {
    lab: Lab,
    shape: Shape,
}

impl Site {
    /// Starts the test again, inside.
    fn start(&self, test: &str) {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.lab.namespace(Host::Client)]);
        command.arg(env::current_exe().unwrap());
        command.args(["--exact", test, "--nocapture"]);
        command.env("RPC_PROCESS_LAB", &self.lab.name);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut inside = Inside(command.spawn().unwrap());
        let (stdout, stderr) = (inside.0.stdout.take(), inside.0.stderr.take());
        // What it prints goes through the harness.
        let stderr = thread::spawn(|| {
            let mut text = String::new();
            stderr.unwrap().read_to_string(&mut text).map(|_| text)
        });
        for line in BufReader::new(stdout.unwrap()).lines().map_while(Result::ok) {
            println!("{line}");
        }
        let status = inside.0.wait().unwrap();
        let stderr = stderr.join().unwrap().unwrap_or_default();
        assert!(status.success(), "the test failed inside of its network:\n{stderr}");
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.lab.tear_down(self.shape);
    }
}

struct Inside(Child);

impl Drop for Inside {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Removes what is left of runs that were killed.
fn sweep() {
    for line in run("ip netns list", "").unwrap_or_default().lines() {
        let Some(name) = line.split_whitespace().next() else { continue };
        let Some(rest) = name.strip_prefix(PREFIX) else { continue };
        let process = rest.split('-').nth(1).unwrap_or_default();
        if !fs::exists(format!("/proc/{process}")).unwrap_or(true) {
            let _ = run(&format!("ip netns del {name}"), "");
        }
    }
}

/// Runs a command, without a shell. Returns what it printed.
fn run(command: &str, input: &str) -> Result<String, String> {
    let mut words = command.split_whitespace();
    let program = words.next().unwrap_or_default();
    let failed = |what: &dyn std::fmt::Display| format!("`{command}`: {what}");
    let mut child = Command::new(program)
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(&error))?;
    // A program that reads nothing may have ended already.
    let _ = child.stdin.take().map(|mut stdin| stdin.write_all(input.as_bytes()));
    let Output { status, stdout, stderr } =
        child.wait_with_output().map_err(|error| failed(&error))?;
    if !status.success() {
        return Err(failed(&String::from_utf8_lossy(&stderr)));
    }
    Ok(String::from_utf8_lossy(&stdout).into_owned())
}
