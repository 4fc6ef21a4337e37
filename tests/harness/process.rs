//! One agent as a child process: its address, its folder, its log, its signals and its end.

use std::fs::{File, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::Child;

use super::{Host, Http, until};

/// How many of the last lines of a log are shown when a test fails.
const LOG_LINES_SHOWN: usize = 60;
/// How long an agent may take until its HTTP door answers.
const START_LIMIT: Duration = Duration::from_secs(30);
/// How long an agent may take to stop in order.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// The next host number on this test program's own loopback network.
static NEXT_HOST: AtomicU32 = AtomicU32::new(1);

/// Whether the program under test is the real Consul, asked once.
static IS_CONSUL: LazyLock<bool> = LazyLock::new(|| {
    let out = Command::new(program()).arg("version").output().expect("the program starts");
    out.stdout.starts_with(b"Consul")
});

/// The value of an environment variable that steers the tests, if it is set and not empty.
#[expect(clippy::disallowed_methods, reason = "tests have no configuration but this")]
pub(crate) fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The program under test: ours, or what `PORTOLAN_TEST_BINARY` names.
pub(crate) fn program() -> PathBuf {
    let ours = || PathBuf::from(env!("CARGO_BIN_EXE_portolan"));
    setting("PORTOLAN_TEST_BINARY").map_or_else(ours, PathBuf::from)
}

/// Whether the tables are being checked against the real Consul, whose known differences
/// from us the rows name.
pub(crate) fn is_consul() -> bool {
    *IS_CONSUL
}

/// Says on stderr, so that nobody takes it for a pass, that a test could not run here.
pub(crate) fn skip(test: &str, why: &str) {
    say(&format!("SKIPPED: {test}: {why}"));
}

/// Says something on stderr that shows even where the test passes: past the test runner's
/// capture, which would swallow it.
pub(crate) fn say(text: &str) {
    let shown = std::io::Write::write_all(&mut std::io::stderr(), format!("{text}\n").as_bytes());
    shown.expect("stderr takes a line");
}

/// Agents that one loopback network has addresses for.
const HOSTS: u32 = 254;
/// The networks that one run of the tests may use: 127.64.0.0/10, then 127.128.0.0/10.
const NETWORKS: [u32; 2] = [0x7f40_0000, 0x7f80_0000];

/// A loopback address that nobody listens on: 127.x.y.z with x.y from this process's id.
pub(crate) fn free_address() -> Ipv4Addr {
    let own = (std::process::id() & 0x3fff) << 8;
    loop {
        let next = NEXT_HOST.fetch_add(1, Ordering::Relaxed) - 1;
        let network = NETWORKS.get(usize::try_from(next / HOSTS).expect("a small number"));
        let network = network.expect("one run of the tests may start at most 508 agents");
        let address = Ipv4Addr::from_bits(network | own | (next % HOSTS + 1));
        if [8300, 8500, 8600].iter().all(|port| is_free(address, *port)) {
            return address;
        }
    }
}

fn is_free(address: Ipv4Addr, port: u16) -> bool {
    TcpListener::bind(SocketAddr::from((address, port))).is_ok()
}

/// Which kind of agent to start.
#[derive(Clone)]
pub(crate) enum Shape {
    /// One process, everything in it, nothing kept.
    Dev,
    /// One of several servers: how many there will be, and whom to join.
    Server { expect: usize, join: Vec<Ipv4Addr> },
    /// A server that joins a cluster there is.
    Joining { join: Vec<Ipv4Addr> },
    /// An agent without a server, and whom it joins.
    Client { join: Vec<Ipv4Addr> },
}

/// A child process that runs an agent. Dropping it kills the child.
pub(crate) struct Agent {
    name: String,
    program: PathBuf,
    address: Ipv4Addr,
    /// The network namespace that it runs in, if that is not this process's own.
    space: Option<PathBuf>,
    arguments: Vec<String>,
    failpoints: bool,
    folder: TempDir,
    child: Option<Child>,
}

impl Agent {
    /// Starts a single node for development and waits until it serves.
    pub(crate) async fn dev() -> Self {
        Self::dev_with(&[]).await
    }

    /// Starts a single node with extra fragments of configuration (HCL), and waits for it.
    pub(crate) async fn dev_with(fragments: &[&str]) -> Self {
        let mut agent = Self::new("n1", free_address(), &Shape::Dev, fragments);
        agent.start();
        agent.serving().await;
        agent
    }

    /// As [`Agent::dev_with`], of another program with the same command line.
    pub(crate) async fn dev_of(program: PathBuf, fragments: &[&str]) -> Self {
        let mut agent = Self::new("n1", free_address(), &Shape::Dev, fragments);
        agent.program = program;
        agent.start();
        agent.serving().await;
        agent
    }

    /// Prepares an agent without starting it.
    pub(crate) fn new(name: &str, at: Ipv4Addr, shape: &Shape, fragments: &[&str]) -> Self {
        let folder = TempDir::with_prefix("portolan-test-").expect("a temporary folder");
        let mut arguments: Vec<String> =
            vec!["agent".into(), format!("-node={name}"), format!("-bind={at}")];
        arguments.push(format!("-client={at}"));
        if let Shape::Server { expect, .. } = shape {
            arguments.push(format!("-bootstrap-expect={expect}"));
        }
        match shape {
            Shape::Dev => arguments.push("-dev".into()),
            Shape::Server { join, .. } | Shape::Joining { join } | Shape::Client { join } => {
                arguments.push(format!("-data-dir={}", folder.path().join("data").display()));
                arguments.extend(join.iter().map(|peer| format!("-retry-join={peer}")));
                arguments.push("-retry-interval=1s".into());
            }
        }
        if matches!(shape, Shape::Server { .. } | Shape::Joining { .. }) {
            arguments.push("-server".into());
        }
        let quiet = "disable_update_check = true";
        for fragment in fragments.iter().chain([&quiet]) {
            arguments.extend(["-hcl".to_owned(), (*fragment).to_owned()]);
        }
        Self {
            name: name.into(),
            program: program(),
            address: at,
            space: None,
            arguments,
            failpoints: false,
            folder,
            child: None,
        }
    }

    /// Prepares an agent that runs on a host of a network, at its address.
    pub(crate) fn on_host(name: &str, host: &Host, shape: &Shape, fragments: &[&str]) -> Self {
        let mut agent = Self::new(name, host.address(), shape, fragments);
        agent.space = Some(host.space());
        agent
    }

    /// Runs another program with the same command line. For an agent that does not run yet.
    pub(crate) fn with_program(mut self, program: PathBuf) -> Self {
        self.program = program;
        self
    }

    /// Reads this configuration file as well. For an agent that does not run yet.
    pub(crate) fn with_file(mut self, file: &Path) -> Self {
        self.arguments.push(format!("-config-file={}", file.display()));
        self
    }

    /// Moves an agent that does not run to another address, where it looks for `join`. What it has
    /// on disk stays.
    pub(crate) fn move_to(&mut self, at: Ipv4Addr, join: &[Ipv4Addr]) {
        assert!(self.child.is_none(), "{} runs", self.name);
        let stays = |argument: &String| {
            !["-bind=", "-client=", "-retry-join="].iter().any(|flag| argument.starts_with(flag))
        };
        self.arguments.retain(stays);
        self.arguments.extend([format!("-bind={at}"), format!("-client={at}")]);
        self.arguments.extend(join.iter().map(|peer| format!("-retry-join={peer}")));
        self.address = at;
    }

    /// Takes everything away that an agent, which does not run, has on disk.
    pub(crate) fn wipe(&mut self) {
        assert!(self.child.is_none(), "{} runs", self.name);
        std::fs::remove_dir_all(self.folder.path().join("data")).expect("the data can go");
    }

    /// What has been logged so far, over all its starts.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).expect("the log can be read")
    }

    /// Starts the child, or starts it again on what it left on disk. Does not wait.
    pub(crate) fn start(&mut self) {
        assert!(self.child.is_none(), "{} runs already", self.name);
        let log = OpenOptions::new().create(true).append(true).open(self.log_path());
        let log = log.expect("the log can be opened");
        let mut command = match &self.space {
            // It enters, and becomes the program: the child's id is the agent's.
            Some(space) => {
                let mut enter = tokio::process::Command::new("nsenter");
                enter.arg(format!("--net={}", space.display())).arg(&self.program);
                enter
            }
            None => tokio::process::Command::new(&self.program),
        };
        if self.failpoints {
            command.env("PORTOLAN_FAILPOINTS", self.folder.path().join("failpoints"));
        }
        let child = command
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .kill_on_drop(true)
            .spawn();
        self.child = Some(child.expect("the program under test starts"));
    }

    /// Waits until this agent knows a leader, takes a write and is in the catalogue with its check,
    /// which the leader puts there a moment after it began to lead.
    pub(crate) async fn serving(&mut self) {
        let http = self.http();
        let look = || async {
            let reply = http.try_put("/v1/kv/serving", "yes").await.ok()?;
            let leader = http.try_get("/v1/status/leader").await.ok()?;
            let checks = http.try_get(&format!("/v1/health/node/{}", self.name)).await.ok()?;
            // The leader enters a node, and the node itself adds what only it knows.
            let node = http.try_get(&format!("/v1/catalog/node/{}", self.name)).await.ok()?;
            let led = reply.text() == "true" && leader.text().contains("8300");
            let whole = node.text().contains("consul-network-segment");
            (led && whole && checks.text().contains("serfHealth")).then_some(())
        };
        until(&format!("{} serves", self.name), START_LIMIT, look).await;
    }

    /// The name of the node.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Where all its doors listen.
    pub(crate) fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Where it keeps its data, unless it keeps none.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A client for its HTTP door.
    pub(crate) fn http(&self) -> Http {
        Http::new(SocketAddr::from((self.address, 8500)))
    }

    /// Whether the child is running.
    pub(crate) fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// Has the child take orders for its failpoints at a socket beside its data. For an agent that
    /// does not run yet, of a program that has failpoints.
    pub(crate) fn with_failpoints(mut self) -> Self {
        self.failpoints = true;
        self
    }

    /// Whether the child has ended by itself; it is then [`Agent::stopped`] at once.
    pub(crate) fn has_ended(&mut self) -> bool {
        let child = self.child.as_mut().expect("it was started");
        child.try_wait().expect("the child can be asked").is_some()
    }

    /// Kills the child at once and waits until it is gone.
    pub(crate) async fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().await.expect("the child can be killed");
    }

    /// Asks the child to stop in order (SIGTERM) without waiting for it.
    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    /// Waits until a child that was asked to stop is gone; panics if it takes too long.
    pub(crate) async fn stopped(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("it runs");
        let ended = tokio::time::timeout(STOP_LIMIT, child.wait()).await;
        let ended = ended.unwrap_or_else(|_| panic!("{} does not stop", self.name));
        ended.expect("the child can be waited for")
    }

    /// Stops the child in its tracks (SIGSTOP): it neither runs nor closes its sockets.
    pub(crate) fn pause(&self) {
        self.signal("STOP");
    }

    /// Lets a paused child go on (SIGCONT).
    pub(crate) fn go_on(&self) {
        self.signal("CONT");
    }

    /// Has the child read its configuration anew (SIGHUP). Does not wait.
    pub(crate) fn reload(&self) {
        self.signal("HUP");
    }

    /// The child's process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().and_then(Child::id).expect("it runs")
    }

    fn signal(&self, name: &str) {
        let script = format!("kill -{name} {}", self.pid());
        let sent = Command::new("sh").args(["-c", &script]).status().expect("sh starts");
        assert!(sent.success(), "{} cannot be sent {name}", self.name);
    }

    /// Lines of the log that hold this text.
    pub(crate) fn logged(&self, text: &str) -> Vec<String> {
        self.log().lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended by itself; the child is killed on drop in any case.
            drop(child.start_kill());
        }
        if std::thread::panicking() {
            eprintln!("--- the last lines of {} ({}) ---", self.name, self.address);
            eprintln!("{}", last_lines(&self.log_path()));
        }
    }
}

fn last_lines(path: &Path) -> String {
    let read = File::open(path).and_then(std::io::read_to_string);
    let text = read.unwrap_or_else(|error| format!("no log: {error}"));
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(LOG_LINES_SHOWN);
    lines.iter().skip(from).copied().collect::<Vec<_>>().join("\n")
}
