//! HAProxy follows our SRV records: servers come, get their weights, and go.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::process::Command;

use super::program::{Program, find};
use crate::harness::{Cluster, Http, beside_others, is_consul, skip, until, within};

/// HAProxy asks every 500 ms here, of each server in turn.
const SEEN_LIMIT: Duration = Duration::from_secs(30);
/// `srv_op_state` of a server that takes connections.
const RUNNING: &str = "2";

fn settings(cluster: &Cluster, folder: &Path) -> String {
    let servers = cluster.servers.iter();
    let names =
        servers.map(|server| format!("  nameserver {} {}:8600\n", server.name(), server.address()));
    format!(
        "global\n  stats socket {}/admin level admin\n  maxconn 100\n\
         defaults\n  mode tcp\n  timeout connect 1s\n  timeout client 1s\n  timeout server 1s\n\
         resolvers portolan\n{}  accepted_payload_size 8192\n  resolve_retries 3\n  \
         timeout resolve 500ms\n  timeout retry 500ms\n  hold valid 500ms\n  hold obsolete 1s\n  \
         hold nx 1s\n\
         backend web\n  server-template web 5 _web._tcp.service.consul resolvers portolan \
         resolve-opts allow-dup-ip resolve-prefer ipv4 init-addr none\n",
        folder.display(),
        names.collect::<String>(),
    )
}

/// `address:port` → weight of the servers that HAProxy uses.
async fn followed(socket: &Path) -> std::io::Result<BTreeMap<String, u32>> {
    let mut stream = UnixStream::connect(socket).await?;
    stream.write_all(b"show servers state web\n").await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    // A version, the names of the columns, a line for each server.
    let mut lines = text.lines().skip(1).map(|line| line.split(' ').collect::<Vec<_>>());
    let head = lines.next().unwrap_or_default();
    let row = |words: Vec<&str>| {
        let at = |name: &str| words[head.iter().position(|word| *word == name).expect(name) - 1];
        let used = at("srv_addr") != "-" && at("srv_op_state") == RUNNING;
        let weight = at("srv_uweight").parse().expect("a weight is a number");
        used.then(|| (format!("{}:{}", at("srv_addr"), at("srv_port")), weight))
    };
    Ok(lines.filter(|words| words.len() > 1).filter_map(row).collect())
}

async fn has(socket: &Path, what: &str, want: &[(&str, u32)]) {
    let want: BTreeMap<String, u32> =
        want.iter().map(|(address, weight)| ((*address).to_owned(), *weight)).collect();
    let look = || async { followed(socket).await.ok().filter(|seen| *seen == want) };
    let seen = within(SEEN_LIMIT, look).await;
    let now = followed(socket).await;
    assert!(seen.is_some(), "{what}: HAProxy follows {now:?}, not {want:?}");
}

/// HAProxy takes an SRV weight as a 256th of itself, at least 1.
async fn register(http: &Http, at: u16, weight: u16, status: &str) {
    let body = format!(
        "{{\"Node\":\"h{at}\",\"Address\":\"10.2.0.{at}\",\
         \"Service\":{{\"ID\":\"web\",\"Service\":\"web\",\"Port\":{port},\
         \"Weights\":{{\"Passing\":{passing},\"Warning\":1}}}},\
         \"Check\":{{\"CheckID\":\"web\",\"Name\":\"c\",\"Status\":\"{status}\",\"ServiceID\":\"web\"}}}}",
        port = 8000 + at,
        passing = weight * 256,
    );
    assert_eq!(http.put("/v1/catalog/register", &body).await.text(), "true");
}

#[tokio::test]
async fn haproxy_follows_srv_records() {
    let Some(program) = find("haproxy").filter(|_| !is_consul()) else {
        let why = "no HAProxy here (tests/peers/get --clients)";
        return skip("haproxy_follows_srv_records", why);
    };
    let _turn = beside_others().await;
    let mut cluster = Cluster::start().await;
    let servers = cluster.https();
    let folder = TempDir::with_prefix("portolan-client-").expect("a temporary folder");
    let socket = folder.path().join("admin");
    let _program = Program::start_in("haproxy", folder, |folder| {
        let file = folder.join("haproxy.cfg");
        std::fs::write(&file, settings(&cluster, folder)).expect("the settings are written");
        let mut command = Command::new(program);
        command.arg("-db").arg("-f").arg(file);
        command
    });
    let (one, two, three) = ("10.2.0.1:8001", "10.2.0.2:8002", "10.2.0.3:8003");

    register(&servers[0], 1, 10, "passing").await;
    register(&servers[1], 2, 20, "passing").await;
    has(&socket, "two servers with their weights", &[(one, 10), (two, 20)]).await;
    register(&servers[2], 3, 30, "passing").await;
    register(&servers[0], 1, 10, "critical").await;
    has(&socket, "a new one, a critical one less", &[(two, 20), (three, 30)]).await;
    register(&servers[1], 2, 20, "warning").await;
    has(&socket, "the weight of a warning", &[(two, 1), (three, 30)]).await;
    let leader = cluster.leader().await;
    cluster.servers[leader].kill().await;
    let alive = (leader + 1) % servers.len();
    until("writes go on", SEEN_LIMIT, || async {
        let gone = "{\"Node\":\"h3\",\"ServiceID\":\"web\"}";
        let reply = servers[alive].try_put("/v1/catalog/deregister", gone).await.ok()?;
        (reply.text() == "true").then_some(())
    })
    .await;
    register(&servers[alive], 1, 10, "passing").await;
    has(&socket, "one back and one gone, our leader dead", &[(one, 10), (two, 1)]).await;
}
