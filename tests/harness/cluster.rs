//! Three servers of one cluster, as three child processes.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::Value;

use super::{Agent, Host, Http, Shape, free_address, is_consul, until, within};

/// How long a new leader may take to be known everywhere, in any test that does not measure it.
const LEADER_LIMIT: Duration = Duration::from_mins(1);

/// Consul's own fastest timers; ours are as fast by default, so only Consul gets them.
const QUICK: &str = "performance { raft_multiplier = 1 }";
const MANY_CONNECTIONS: &str = "limits { http_max_conns_per_client = 10000 }";

/// What every server of a cluster is configured with, beside these fragments.
fn usual<'a>(fragments: &[&'a str]) -> Vec<&'a str> {
    let quick = is_consul().then_some(QUICK);
    fragments.iter().copied().chain([MANY_CONNECTIONS]).chain(quick).collect()
}

/// A cluster of servers that die with it.
pub(crate) struct Cluster {
    /// The servers, running or not, in the order of their names `c1`, `c2`, …
    pub(crate) servers: Vec<Agent>,
}

impl Cluster {
    /// Starts three servers and waits until each of them takes writes.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts three servers with extra fragments of configuration, and waits for them.
    pub(crate) async fn start_with(fragments: &[&str]) -> Self {
        let addresses: Vec<Ipv4Addr> = (0..3).map(|_| free_address()).collect();
        Self::start_at(&addresses, fragments).await
    }

    /// Starts a server at each of these addresses, which must be this machine's, and waits.
    pub(crate) async fn start_at(addresses: &[Ipv4Addr], fragments: &[&str]) -> Self {
        let shape = Shape::Server { expect: addresses.len(), join: addresses.to_vec() };
        let fragments = usual(fragments);
        let agent = |(at, address): (usize, &Ipv4Addr)| {
            Agent::new(&format!("c{}", at + 1), *address, &shape, &fragments)
        };
        Self::start_all(addresses.iter().enumerate().map(agent).collect()).await
    }

    /// As [`Cluster::start_with`], each server taking orders for its failpoints.
    pub(crate) async fn start_listening(fragments: &[&str]) -> Self {
        let join: Vec<Ipv4Addr> = (0..3).map(|_| free_address()).collect();
        let shape = Shape::Server { expect: join.len(), join: join.clone() };
        let fragments = usual(fragments);
        let agent = |(at, address): (usize, &Ipv4Addr)| {
            Agent::new(&format!("c{}", at + 1), *address, &shape, &fragments).with_failpoints()
        };
        Self::start_all(join.iter().enumerate().map(agent).collect()).await
    }

    /// Starts a server on each of these hosts, and waits.
    pub(crate) async fn start_on(hosts: &[Host], fragments: &[&str]) -> Self {
        let join = hosts.iter().map(Host::address).collect();
        let shape = Shape::Server { expect: hosts.len(), join };
        let fragments = usual(fragments);
        let agent = |(at, host): (usize, &Host)| {
            Agent::on_host(&format!("c{}", at + 1), host, &shape, &fragments)
        };
        Self::start_all(hosts.iter().enumerate().map(agent).collect()).await
    }

    async fn start_all(servers: Vec<Agent>) -> Self {
        let mut cluster = Self { servers };
        for server in &mut cluster.servers {
            server.start();
        }
        for server in &mut cluster.servers {
            server.serving().await;
        }
        cluster.settled().await;
        cluster
    }

    /// HTTP clients of all servers, in order.
    pub(crate) fn https(&self) -> Vec<Http> {
        self.servers.iter().map(Agent::http).collect()
    }

    /// The place of the server that leads, agreed upon by all that run.
    pub(crate) async fn leader(&self) -> usize {
        let look = || async { self.leader_now().await };
        until("one leader, known to every running server", LEADER_LIMIT, look).await.0
    }

    /// The places of the servers that do not lead.
    pub(crate) async fn followers(&self) -> Vec<usize> {
        let leader = self.leader().await;
        (0..self.servers.len()).filter(|at| *at != leader).collect()
    }

    /// Waits until every server takes part: these and no others are voters, and all that run
    /// know the leader. Gives how long that took.
    pub(crate) async fn settled(&self) -> Duration {
        let all: BTreeSet<String> =
            self.servers.iter().map(|server| format!("{}:8300", server.address())).collect();
        let look = || async {
            let leader = self.leader_now().await?;
            let http = self.servers[leader].http();
            let reply = http.try_get("/v1/operator/raft/configuration").await.ok()?;
            if reply.status != 200 {
                return None;
            }
            let servers = reply.json()["Servers"].as_array().cloned()?;
            let voters = servers.iter().filter(|server| server["Voter"] == true);
            let voters = voters.filter_map(|server| server["Address"].as_str().map(str::to_owned));
            (voters.collect::<BTreeSet<_>>() == all).then_some(())
        };
        until(&format!("{all:?} are the voters"), LEADER_LIMIT, look).await.1
    }

    /// Starts one more server, which joins the others, and waits until it has a vote. Gives how
    /// long that took.
    pub(crate) async fn grow(&mut self, name: &str, fragments: &[&str]) -> Duration {
        let shape = Shape::Joining { join: self.addresses() };
        let mut server = Agent::new(name, free_address(), &shape, &usual(fragments));
        server.start();
        self.servers.push(server);
        self.settled().await
    }

    /// The addresses of the servers, in order.
    pub(crate) fn addresses(&self) -> Vec<Ipv4Addr> {
        self.servers.iter().map(Agent::address).collect()
    }

    /// The state of every server, once all have applied the same and none moves any more.
    ///
    /// Each is `{"Index", "Hash", "Applied"}`; panics if two servers at the same index differ,
    /// and if they do not come to the same index within `limit`.
    pub(crate) async fn agreed(&self, limit: Duration) -> Value {
        let look = || async {
            let mut states = Vec::new();
            for server in &self.servers {
                let reply = server.http().try_get("/v1/internal/state").await.ok()?;
                states.push((reply.status == 200).then(|| reply.json())?);
            }
            for pair in states.windows(2) {
                if pair[0]["Applied"] != pair[1]["Applied"] {
                    return None;
                }
                assert_eq!(pair[0], pair[1], "two servers that applied the same differ");
            }
            states.pop()
        };
        match within(limit, look).await {
            Some(state) => state,
            None => panic!("the servers do not come to the same state within {limit:?}"),
        }
    }

    async fn leader_now(&self) -> Option<usize> {
        let mut named = None;
        for server in self.servers.iter().filter(|server| server.is_running()) {
            let http = Http::with_limit(server.http().address(), Duration::from_secs(1));
            let reply = http.try_get("/v1/status/leader").await.ok()?;
            let leader = reply.json().as_str()?.to_owned();
            if named.get_or_insert_with(|| leader.clone()) != &leader {
                return None;
            }
        }
        let named = named?;
        self.servers
            .iter()
            .position(|server| server.is_running() && named == format!("{}:8300", server.address()))
    }
}
