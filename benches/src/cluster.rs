//! Three servers of one system on loopback addresses, from an empty disk to the end.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use crate::http::{Connection, request};
use crate::machine::{self, Memory};

/// Port of the HTTP door.
const HTTP_PORT: u16 = 8500;
/// Port of the DNS door.
const DNS_PORT: u16 = 8600;
/// Longest time from start to a leader that all know.
const START_PATIENCE: Duration = Duration::from_mins(1);
/// Longest time that one request outside a measured row may take.
const ASK_PATIENCE: Duration = Duration::from_secs(10);
/// Pause between two looks at something that is not ready.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Bytes shown of the log of a server that died.
const LOG_TAIL_BYTES: usize = 1_000;
/// The same for both systems. Consul's default of 200 connections a client would refuse the load.
const SETTINGS: &str = "performance { raft_multiplier = 1 } \
     limits { http_max_conns_per_client = 10000 } disable_update_check = true";

/// A system that can be measured.
#[derive(Clone, Debug)]
pub(crate) struct System {
    /// How the table calls it.
    pub(crate) name: &'static str,
    /// Its program, as an absolute path.
    pub(crate) program: PathBuf,
    /// The first three bytes of its servers' addresses; they end in 1, 2 and 3.
    pub(crate) net: [u8; 3],
}

/// Three running servers. Dropped, they are killed.
#[derive(Debug)]
pub(crate) struct Cluster {
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
        let output = Command::new(&self.program).arg("version").output();
        let output = output.await.with_context(|| format!("{path} does not start"))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(text.lines().next().unwrap_or("unknown version").to_owned())
    }

    fn ips(&self) -> [Ipv4Addr; 3] {
        let [a, b, c] = self.net;
        [1, 2, 3].map(|last| Ipv4Addr::new(a, b, c, last))
    }
}

impl Cluster {
    /// Starts three servers with data and logs under `dir`, whose former content goes, and returns
    /// when all three name the same leader and take a write.
    ///
    /// # Errors
    /// If something else answers at the addresses, a server ends, or a minute passes.
    pub(crate) async fn start(system: &System, dir: &Path) -> anyhow::Result<Self> {
        for ip in system.ips() {
            let http = SocketAddr::from((ip, HTTP_PORT));
            let taken = Connection::open(http).await.is_ok();
            anyhow::ensure!(!taken, "{http}: another program answers here; stop it first");
        }
        if dir.exists() {
            std::fs::remove_dir_all(dir).with_context(|| dir.display().to_string())?;
        }
        std::fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
        let [first, second, third] = system.ips();
        let mut cluster = Self { servers: vec![Server::start(system, first, dir)?] };
        // The others join this one. Were it not listening yet, Consul would try again after 30 s.
        cluster.wait_for_door().await.with_context(|| format!("{} does not start", system.name))?;
        for ip in [second, third] {
            cluster.servers.push(Server::start(system, ip, dir)?);
        }
        cluster.wait().await.with_context(|| format!("{} does not start", system.name))?;
        Ok(cluster)
    }

    /// Kills all three and waits until they are gone; there is nothing to save.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        for server in &mut self.servers {
            server.child.kill().await.context("cannot kill a server")?;
        }
        Ok(())
    }

    /// The HTTP doors, in the order of their addresses.
    pub(crate) fn http(&self) -> Vec<SocketAddr> {
        self.servers.iter().map(|server| SocketAddr::from((server.ip, HTTP_PORT))).collect()
    }

    /// The leader's HTTP door, as the first server knows it.
    pub(crate) async fn leader(&self) -> anyhow::Result<SocketAddr> {
        let ip = named_leader(self.http()[0]).await?;
        Ok(SocketAddr::from((ip, HTTP_PORT)))
    }

    /// Processor seconds of all three so far.
    pub(crate) fn cpu_seconds(&self) -> anyhow::Result<f64> {
        self.servers.iter().map(|server| machine::cpu_seconds(server.pid)).sum()
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
        while Connection::open(self.http()[0]).await.is_err() {
            self.check_alive()?;
            let late = begin.elapsed() > START_PATIENCE;
            anyhow::ensure!(!late, "no HTTP after a minute; {}", tail(&self.servers[0].log));
            sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }

    async fn wait(&mut self) -> anyhow::Result<()> {
        let begin = Instant::now();
        loop {
            self.check_alive()?;
            let Err(error) = self.ready().await else { return Ok(()) };
            if begin.elapsed() > START_PATIENCE {
                let logs = self.servers[0].log.display();
                return Err(error.context(format!("not ready after a minute; logs beside {logs}")));
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    async fn ready(&self) -> anyhow::Result<()> {
        let doors = self.http();
        let leader = named_leader(doors[0]).await?;
        for door in doors {
            let other = named_leader(door).await?;
            anyhow::ensure!(other == leader, "{door} names {other} as leader, not {leader}");
            ask(door, "PUT", "/v1/kv/bench-ready", b"yes").await?;
        }
        Ok(())
    }
}

impl Server {
    fn start(system: &System, ip: Ipv4Addr, dir: &Path) -> anyhow::Result<Self> {
        let name = format!("server{}", ip.octets()[3]);
        let log = dir.join(format!("{name}.log"));
        let output = File::create(&log).with_context(|| log.display().to_string())?;
        let [first, second, _] = system.ips();
        let child = Command::new(&system.program)
            .args(["agent", "-server", "-bootstrap-expect=3"])
            .arg(format!("-node={name}"))
            .arg(format!("-bind={ip}"))
            .arg(format!("-client={ip}"))
            .arg(format!("-data-dir={}", std::path::absolute(dir.join(name))?.display()))
            .arg(format!("-retry-join={first}"))
            .arg(format!("-retry-join={second}"))
            .args(["-hcl", SETTINGS])
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

/// The DNS door beside an HTTP door.
pub(crate) fn dns_of(http: SocketAddr) -> SocketAddr {
    SocketAddr::new(http.ip(), DNS_PORT)
}

/// One request outside the measured rows, on a connection of its own; anything but 200 within ten
/// seconds is an error.
pub(crate) async fn ask(
    door: SocketAddr,
    method: &str,
    path: &str,
    body: &[u8],
) -> anyhow::Result<Vec<u8>> {
    let exchange = async {
        let mut connection = Connection::open(door).await?;
        let response = connection.exchange(&request(method, path, door, body)).await?;
        let text = String::from_utf8_lossy(response.body);
        anyhow::ensure!(response.status == 200, "status {}: {text}", response.status);
        Ok(response.body.to_vec())
    };
    let answer = timeout(ASK_PATIENCE, exchange).await;
    let answer = answer.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer within 10 s")));
    answer.with_context(|| format!("{method} http://{door}{path}"))
}

/// The address of the leader that a server names.
async fn named_leader(door: SocketAddr) -> anyhow::Result<Ipv4Addr> {
    let body = ask(door, "GET", "/v1/status/leader", b"").await?;
    let text = String::from_utf8_lossy(&body);
    let leader: SocketAddr = text
        .trim()
        .trim_matches('"')
        .parse()
        .with_context(|| format!("{door} knows no leader: {text}"))?;
    match leader {
        SocketAddr::V4(leader) => Ok(*leader.ip()),
        SocketAddr::V6(leader) => anyhow::bail!("{leader}: not one of the addresses we gave"),
    }
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
        let system = System { name: "broken", program: "/bin/echo".into(), net: [127, 0, 99] };
        let error = Cluster::start(&system, &dir).await.unwrap_err();
        let text = format!("{error:#}");
        assert!(text.starts_with("broken does not start: 127.0.99.1 ended with"), "{text}");
        assert!(text.contains("agent -server -bootstrap-expect=3 -node=server1"), "{text}");
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
