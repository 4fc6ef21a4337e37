//! The systems that a run can drive: program, command line, clients, and how to see that one
//! serves and who leads.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use hyper::Method;
use serde_json::Value;

use crate::clients::{Client, Connection, ConsulClient, EtcdClient};

/// How long a look at one node may take.
const LOOK_LIMIT: Duration = Duration::from_millis(400);
/// Variable that names the program under test where it does not lie beside this one.
const BINARY_VARIABLE: &str = "PORTOLAN_TEST_BINARY";
/// Variable that names the folder of the real peers, and the folder below home otherwise.
const PEERS_VARIABLE: &str = "PEERS";
const PEERS_FOLDER: &str = ".cache/portolan-peers";

/// What both Consul and we are told: small limits, so that snapshots happen within a run, short
/// sessions, and an answer while there is no leader.
const CONSUL_SETTINGS: &str = "session_ttl_min = \"1s\" raft_snapshot_threshold = 2000 \
     raft_trailing_logs = 500 disable_update_check = true \
     dns_config { max_stale = \"1s\" } \
     performance { raft_multiplier = 1 rpc_hold_timeout = \"1s\" } \
     limits { http_max_conns_per_client = 10000 }";
/// Who was cleaned up while it was away gets its vote again soon.
const OUR_SETTINGS: &str = "autopilot { server_stabilization_time = \"1s\" }";

/// Which system it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// Portolan.
    Ours,
    /// The real Consul.
    Consul,
    /// The real etcd.
    Etcd,
}

impl Kind {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Consul => "consul",
            Self::Etcd => "etcd",
        }
    }
}

/// The name of a node, from 0.
pub fn node_name(node: usize) -> String {
    format!("n{}", node + 1)
}

/// A system and its program.
#[derive(Clone, Debug)]
pub struct System {
    /// Which it is.
    pub kind: Kind,
    /// Its program.
    pub program: PathBuf,
    /// Whether servers that are away for long lose their place by themselves, where that can be
    /// said.
    pub cleans_up: bool,
}

impl System {
    /// A client of the node at this address.
    pub fn client(&self, node: Ipv4Addr, limit: Duration) -> Box<dyn Client> {
        match self.kind {
            Kind::Ours | Kind::Consul => Box::new(ConsulClient::new(IpAddr::V4(node), limit)),
            Kind::Etcd => Box::new(EtcdClient::new(IpAddr::V4(node), limit)),
        }
    }

    /// The arguments that start node `node` of a cluster at these addresses, with its data below
    /// this folder.
    pub(super) fn arguments(&self, node: usize, all: &[Ipv4Addr], data: &Path) -> Vec<String> {
        match self.kind {
            Kind::Ours => {
                let mut arguments = consul_arguments(node, all, data);
                let cleaning = format!("autopilot {{ cleanup_dead_servers = {} }}", self.cleans_up);
                for settings in [OUR_SETTINGS, &cleaning] {
                    arguments.extend(["-hcl".to_owned(), settings.to_owned()]);
                }
                arguments
            }
            Kind::Consul => consul_arguments(node, all, data),
            Kind::Etcd => etcd_arguments(node, all, data),
        }
    }

    /// The address of the leader that a node knows of; none if it knows none or does not answer.
    pub(super) async fn leader_known_to(&self, node: Ipv4Addr, all: &[Ipv4Addr]) -> Option<usize> {
        match self.kind {
            Kind::Ours | Kind::Consul => {
                let text = ask(node, 8500, Method::GET, "/v1/status/leader").await?;
                let leader: SocketAddr = text.as_str()?.parse().ok()?;
                all.iter().position(|address| IpAddr::V4(*address) == leader.ip())
            }
            Kind::Etcd => {
                let status = ask(node, 2379, Method::POST, "/v3/maintenance/status").await?;
                let leads = status["leader"].as_str()? == status["header"]["member_id"].as_str()?;
                leads.then(|| all.iter().position(|address| *address == node)).flatten()
            }
        }
    }

    /// The names of those that vote, as the leader has them; none where that is not known.
    pub(super) async fn voters(&self, node: Ipv4Addr) -> Option<usize> {
        match self.kind {
            Kind::Ours | Kind::Consul => {
                let path = "/v1/operator/raft/configuration";
                let configuration = ask(node, 8500, Method::GET, path).await?;
                let servers = configuration["Servers"].as_array()?;
                Some(servers.iter().filter(|server| server["Voter"] == true).count())
            }
            Kind::Etcd => {
                let members = ask(node, 2379, Method::POST, "/v3/cluster/member/list").await?;
                Some(members["members"].as_array()?.len())
            }
        }
    }

    /// Takes a server out of Raft's membership, by any node.
    pub(super) async fn remove(&self, by: Ipv4Addr, node: Ipv4Addr) -> Option<Result<(), String>> {
        if self.kind != Kind::Ours {
            return None;
        }
        let mut http = Connection::new(SocketAddr::from((by, 8500)), Duration::from_secs(5));
        let path = format!("/v1/operator/raft/peer?address={node}:8300");
        Some(match http.ask(Method::DELETE, &path, Vec::new()).await {
            Ok(answer) if answer.status.is_success() => Ok(()),
            Ok(answer) => Err(answer.words()),
            Err(failure) => Err(format!("{failure:?}")),
        })
    }
}

fn consul_arguments(node: usize, all: &[Ipv4Addr], data: &Path) -> Vec<String> {
    let own = all[node];
    let mut arguments = vec![
        "agent".to_owned(),
        "-server".to_owned(),
        format!("-bootstrap-expect={}", all.len()),
        format!("-node={}", node_name(node)),
        format!("-bind={own}"),
        format!("-client={own}"),
        format!("-data-dir={}", data.display()),
        "-retry-interval=1s".to_owned(),
    ];
    arguments.extend(all.iter().map(|peer| format!("-retry-join={peer}")));
    arguments.extend(["-hcl".to_owned(), CONSUL_SETTINGS.to_owned()]);
    arguments
}

fn etcd_arguments(node: usize, all: &[Ipv4Addr], data: &Path) -> Vec<String> {
    let own = all[node];
    let peers: Vec<String> = all
        .iter()
        .enumerate()
        .map(|(at, peer)| format!("{}=http://{peer}:2380", node_name(at)))
        .collect();
    vec![
        format!("--name={}", node_name(node)),
        format!("--data-dir={}", data.display()),
        format!("--initial-cluster={}", peers.join(",")),
        format!("--listen-client-urls=http://{own}:2379"),
        format!("--advertise-client-urls=http://{own}:2379"),
        format!("--listen-peer-urls=http://{own}:2380"),
        format!("--initial-advertise-peer-urls=http://{own}:2380"),
        "--snapshot-count=2000".to_owned(),
        "--log-level=error".to_owned(),
    ]
}

/// JSON that a node answers soon, if it does.
async fn ask(node: Ipv4Addr, port: u16, method: Method, path: &str) -> Option<Value> {
    let mut http = Connection::new(SocketAddr::from((node, port)), LOOK_LIMIT);
    let body = if method == Method::POST { b"{}".to_vec() } else { Vec::new() };
    let answer = http.ask(method, path, body).await.ok()?;
    if answer.status.is_success() { answer.json().ok() } else { None }
}

/// Our program: the one that is named, or that the environment names, or that lies beside this
/// one, where a build of the whole workspace puts it.
///
/// # Errors
///
/// If there is none, with what to do.
#[expect(clippy::disallowed_methods, reason = "this program has no configuration but this")]
pub fn find_binary(named: Option<&Path>) -> anyhow::Result<PathBuf> {
    let from_environment = std::env::var(BINARY_VARIABLE).ok().filter(|path| !path.is_empty());
    let program = match (named, from_environment) {
        (Some(named), _) => named.to_owned(),
        (None, Some(named)) => PathBuf::from(named),
        (None, None) => {
            let own = std::env::current_exe()?;
            // A test program lies one folder below.
            let folders = own.ancestors().skip(1).take(2);
            let beside = folders.map(|folder| folder.join("portolan")).find(|path| path.is_file());
            beside.with_context(|| {
                format!(
                    "no program `portolan` beside {}: build it (cargo build), or name one with \
                     --binary or {BINARY_VARIABLE}",
                    own.display()
                )
            })?
        }
    };
    anyhow::ensure!(program.is_file(), "{}: no such program", program.display());
    Ok(std::path::absolute(program)?)
}

/// The program of a real peer, as `.ci/peers` fetches it.
///
/// # Errors
///
/// If it was not fetched.
#[expect(clippy::disallowed_methods, reason = "this program has no configuration but this")]
pub fn find_peer(name: &str) -> anyhow::Result<PathBuf> {
    let folder = match std::env::var(PEERS_VARIABLE) {
        Ok(folder) => PathBuf::from(folder),
        Err(_) => PathBuf::from(std::env::var("HOME").context("HOME")?).join(PEERS_FOLDER),
    };
    let program = folder.join("usr/bin").join(name);
    anyhow::ensure!(program.is_file(), "{}: fetch it with .ci/peers", program.display());
    Ok(program)
}
