//! The servers of one system on loopback addresses, from an empty disk to the end.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use crate::consul;
use crate::etcd;
use crate::machine::{self, Disk, Effort, Memory};
use crate::rows::Work;
use crate::unbound;

/// Port of the DNS door.
pub(crate) const DNS_PORT: u16 = 8600;
/// Longest time from start to a leader that all know.
const START_PATIENCE: Duration = Duration::from_mins(1);
/// Longest time from a start on a full disk to the same.
const RESTART_PATIENCE: Duration = Duration::from_mins(10);
/// Pause between two looks at something that is not ready.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Bytes shown of the log of a server that died.
const LOG_TAIL_BYTES: usize = 1_000;

/// A system that can be measured.
#[derive(Clone, Debug)]
pub(crate) struct System {
    /// How the table calls it.
    pub(crate) name: &'static str,
    /// What it speaks.
    pub(crate) kind: Kind,
    /// Its program, as an absolute path.
    pub(crate) program: PathBuf,
    /// The first three bytes of its servers' addresses; they end in 1, 2 and 3, or only in 1.
    pub(crate) net: [u8; 3],
    /// Instances that it is given at its start if nobody can register them.
    pub(crate) instances: u32,
}

/// What a system speaks, and what its command line looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Consul's HTTP and DNS: ours and Consul itself.
    Consul,
    /// etcd's gRPC.
    Etcd,
    /// DNS alone, from a configuration.
    Unbound,
}

impl Kind {
    /// Whether a system of this kind can do such work at all.
    pub(crate) fn takes(self, work: Work) -> bool {
        match self {
            Self::Consul => true,
            Self::Etcd => work != Work::Srv,
            Self::Unbound => work == Work::Srv,
        }
    }

    /// Writes several keys in one transaction.
    pub(crate) async fn write_all(
        self,
        door: SocketAddr,
        batch: &[(String, Vec<u8>)],
    ) -> anyhow::Result<()> {
        match self {
            Self::Consul => consul::write_all(door, batch).await,
            Self::Etcd => etcd::write_all(door, batch).await,
            Self::Unbound => anyhow::bail!("{door}: holds no keys"),
        }
    }

    fn port(self) -> u16 {
        match self {
            Self::Consul => consul::HTTP_PORT,
            Self::Etcd => etcd::CLIENT_PORT,
            Self::Unbound => DNS_PORT,
        }
    }

    /// What makes the program tell its version.
    fn version(self) -> &'static str {
        match self {
            Self::Consul => "version",
            Self::Etcd => "--version",
            Self::Unbound => "-V",
        }
    }

    /// How many servers a cluster has: the three that a store needs, or one that only answers.
    fn servers(self) -> usize {
        match self {
            Self::Consul | Self::Etcd => 3,
            Self::Unbound => 1,
        }
    }

    /// Whether it holds the data set, so that its memory says something.
    pub(crate) fn stores(self) -> bool {
        self.servers() > 1
    }

    async fn leader(self, doors: &[SocketAddr]) -> anyhow::Result<SocketAddr> {
        match self {
            Self::Consul => consul::leader(doors).await,
            Self::Etcd => etcd::leader(doors).await,
            Self::Unbound => doors.first().copied().context("no server"),
        }
    }

    /// Whether a server takes a write, or whatever it takes.
    async fn try_out(self, door: SocketAddr) -> anyhow::Result<()> {
        match self {
            Self::Consul => consul::write(door, "bench-ready", b"yes").await,
            Self::Etcd => etcd::write(door, "bench-ready", b"yes").await,
            Self::Unbound => {
                TcpStream::connect(door).await?;
                Ok(())
            }
        }
    }
}

/// Running servers. Dropped, they are killed.
#[derive(Debug)]
pub(crate) struct Cluster {
    kind: Kind,
    dir: PathBuf,
    servers: Vec<Server>,
}

#[derive(Debug)]
struct Server {
    child: Child,
    pid: u32,
    ip: Ipv4Addr,
    log: PathBuf,
}

impl System {
    /// The first line of what `version` prints.
    pub(crate) async fn version(&self) -> anyhow::Result<String> {
        let path = self.program.display();
        let output = self.command().arg(self.kind.version()).output();
        let output = output.await.with_context(|| format!("{path} does not start"))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(text.lines().next().unwrap_or("unknown version").to_owned())
    }

    fn ips(&self) -> Vec<Ipv4Addr> {
        let [a, b, c] = self.net;
        (1..).take(self.kind.servers()).map(|last| Ipv4Addr::new(a, b, c, last)).collect()
    }

    fn arguments(&self, ip: Ipv4Addr, data: &Path) -> anyhow::Result<Vec<String>> {
        match self.kind {
            Kind::Consul => Ok(consul::arguments(&self.ips(), ip, data)),
            Kind::Etcd => Ok(etcd::arguments(&self.ips(), ip, data)),
            Kind::Unbound => unbound::arguments(ip, data, self.instances),
        }
    }

    /// Its program; that of unbound finds the libraries that were unpacked beside it.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        let home = self.program.ancestors().nth(2).filter(|_| self.kind == Kind::Unbound);
        if let Some(home) = home {
            let folder = format!("lib/{}-linux-gnu", std::env::consts::ARCH);
            command.env("LD_LIBRARY_PATH", home.join(folder));
        }
        command
    }
}

impl Cluster {
    /// Starts the servers with data and logs under `dir`, whose former content goes, and returns
    /// when all name the same leader and take a write.
    ///
    /// # Errors
    /// If something else answers at the addresses, a server ends, or a minute passes.
    pub(crate) async fn start(system: &System, dir: &Path) -> anyhow::Result<Self> {
        for ip in system.ips() {
            let door = SocketAddr::from((ip, system.kind.port()));
            let taken = TcpStream::connect(door).await.is_ok();
            anyhow::ensure!(!taken, "{door}: another program answers here; stop it first");
        }
        if dir.exists() {
            std::fs::remove_dir_all(dir).with_context(|| dir.display().to_string())?;
        }
        std::fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
        let mut cluster = Self { kind: system.kind, dir: dir.to_owned(), servers: Vec::new() };
        let up = cluster.bring_up(system, dir).await;
        up.with_context(|| format!("{} does not start", system.name))?;
        Ok(cluster)
    }

    async fn bring_up(&mut self, system: &System, dir: &Path) -> anyhow::Result<()> {
        for ip in system.ips() {
            self.servers.push(Server::start(system, ip, dir)?);
            // The others join the first. Were it not listening yet, Consul would try again after
            // 30 s. etcd opens its door when two are there.
            if self.kind == Kind::Consul && self.servers.len() == 1 {
                self.wait_for_door().await?;
            }
        }
        self.wait(START_PATIENCE).await
    }

    /// Kills all at once, starts them on what their disks hold, and returns after how many seconds
    /// all name the same leader and take a write.
    pub(crate) async fn restart(&mut self, system: &System) -> anyhow::Result<f64> {
        for server in &mut self.servers {
            server.child.start_kill().context("cannot kill a server")?;
        }
        for server in &mut self.servers {
            server.child.wait().await.context("cannot wait for a server's end")?;
        }
        let begin = Instant::now();
        self.servers.clear();
        for ip in system.ips() {
            self.servers.push(Server::start(system, ip, &self.dir)?);
        }
        let up = self.wait(RESTART_PATIENCE).await;
        up.with_context(|| format!("{} does not start again", system.name))?;
        Ok(begin.elapsed().as_secs_f64())
    }

    /// Kills all and waits until they are gone; there is nothing to save.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        for server in &mut self.servers {
            server.child.kill().await.context("cannot kill a server")?;
        }
        Ok(())
    }

    /// What it speaks.
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// The clients' doors, in the order of their addresses.
    pub(crate) fn doors(&self) -> Vec<SocketAddr> {
        self.servers.iter().map(|server| (server.ip, self.kind.port()).into()).collect()
    }

    /// The leader's door, if all servers name the same.
    pub(crate) async fn leader(&self) -> anyhow::Result<SocketAddr> {
        self.kind.leader(&self.doors()).await
    }

    /// What all servers have cost so far.
    pub(crate) fn effort(&self) -> anyhow::Result<Effort> {
        let mut sum = Effort::default();
        for server in &self.servers {
            sum = sum.and(machine::effort(server.pid)?);
        }
        Ok(sum)
    }

    /// What the disk under their data has done so far, for everybody, where that is counted.
    pub(crate) fn disk(&self) -> Option<Disk> {
        machine::disk(&self.dir)
    }

    /// Memory of each server now.
    pub(crate) fn memory(&self) -> anyhow::Result<Vec<Memory>> {
        self.servers.iter().map(|server| machine::memory(server.pid)).collect()
    }

    /// An error with the end of its log if a server is gone.
    pub(crate) fn check_alive(&mut self) -> anyhow::Result<()> {
        for server in &mut self.servers {
            if let Some(status) = server.child.try_wait()? {
                anyhow::bail!("{} ended with {status}; {}", server.ip, tail(&server.log));
            }
        }
        Ok(())
    }

    /// Returns when the first server takes connections.
    async fn wait_for_door(&mut self) -> anyhow::Result<()> {
        let begin = Instant::now();
        while TcpStream::connect(self.doors()[0]).await.is_err() {
            self.check_alive()?;
            let late = begin.elapsed() > START_PATIENCE;
            anyhow::ensure!(!late, "no door after a minute; {}", tail(&self.servers[0].log));
            sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }

    async fn wait(&mut self, patience: Duration) -> anyhow::Result<()> {
        let begin = Instant::now();
        loop {
            self.check_alive()?;
            let Err(error) = self.ready().await else { return Ok(()) };
            if begin.elapsed() > patience {
                let logs = self.servers[0].log.display();
                return Err(error.context(format!("not ready in time; logs beside {logs}")));
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    async fn ready(&self) -> anyhow::Result<()> {
        self.leader().await?;
        for door in self.doors() {
            self.kind.try_out(door).await?;
        }
        Ok(())
    }
}

impl Server {
    fn start(system: &System, ip: Ipv4Addr, dir: &Path) -> anyhow::Result<Self> {
        let name = format!("server{}", ip.octets()[3]);
        let log = dir.join(format!("{name}.log"));
        let output = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| log.display().to_string())?;
        let data = std::path::absolute(dir.join(name))?;
        let child = system
            .command()
            .args(system.arguments(ip, &data)?)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} does not start", system.program.display()))?;
        let pid = child.id().expect("nobody waited for it yet");
        Ok(Self { child, pid, ip, log })
    }
}

/// The DNS door beside another door.
pub(crate) fn dns_of(door: SocketAddr) -> SocketAddr {
    SocketAddr::new(door.ip(), DNS_PORT)
}

fn tail(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let from = text.len().saturating_sub(LOG_TAIL_BYTES);
    format!("the end of {}:\n{}", log.display(), String::from_utf8_lossy(&text[from..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_server_that_ends_is_told_with_its_log() {
        let dir = std::env::temp_dir().join(format!("portolan-bench-{}", std::process::id()));
        let (kind, program) = (Kind::Consul, "/bin/echo".into());
        let system = System { name: "broken", kind, program, net: [127, 0, 99], instances: 0 };
        let error = Cluster::start(&system, &dir).await.unwrap_err();
        let text = format!("{error:#}");
        assert!(text.starts_with("broken does not start: 127.0.99.1 ended with"), "{text}");
        assert!(text.contains("agent -server -bootstrap-expect=3 -node=server1"), "{text}");
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
