//! What is asked of ours and of Consul outside the measured rows, and how a server is started.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::http::{Connection, request};
use crate::patience::patiently;

/// Port of the HTTP door.
pub(crate) const HTTP_PORT: u16 = 8500;
/// The same for both systems. Consul's default of 200 connections a client would refuse the load.
const SETTINGS: &str = "performance { raft_multiplier = 1 } \
     limits { http_max_conns_per_client = 10000 } disable_update_check = true";

/// The command line of one of three servers, which join the first two.
pub(crate) fn arguments(ips: &[Ipv4Addr], ip: Ipv4Addr, data: &Path) -> Vec<String> {
    let mut line = ["agent", "-server", "-bootstrap-expect=3"].map(str::to_owned).to_vec();
    line.push(format!("-node=server{}", ip.octets()[3]));
    line.push(format!("-bind={ip}"));
    line.push(format!("-client={ip}"));
    line.push(format!("-data-dir={}", data.display()));
    line.extend(ips.iter().take(2).map(|ip| format!("-retry-join={ip}")));
    line.extend(["-hcl", SETTINGS].map(str::to_owned));
    line
}

/// The leader's door, if all servers name the same.
pub(crate) async fn leader(doors: &[SocketAddr]) -> anyhow::Result<SocketAddr> {
    let mut leader = None;
    for door in doors {
        let other = named_leader(*door).await?;
        let leader = *leader.get_or_insert(other);
        anyhow::ensure!(other == leader, "{door} names {other} as leader, not {leader}");
    }
    Ok(SocketAddr::from((leader.context("no servers")?, HTTP_PORT)))
}

/// Writes one key.
pub(crate) async fn write(door: SocketAddr, key: &str, value: &[u8]) -> anyhow::Result<()> {
    ask(door, "PUT", &format!("/v1/kv/{key}"), value).await.map(drop)
}

/// Writes several keys in one transaction.
pub(crate) async fn write_all(door: SocketAddr, batch: &[(String, Vec<u8>)]) -> anyhow::Result<()> {
    let sets = batch.iter().map(|(key, value)| {
        let value = STANDARD.encode(value);
        format!(r#"{{"KV":{{"Verb":"set","Key":"{key}","Value":"{value}"}}}}"#)
    });
    let body = format!("[{}]", sets.collect::<Vec<_>>().join(","));
    ask(door, "PUT", "/v1/txn", body.as_bytes()).await.map(drop)
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
    patiently(exchange).await.with_context(|| format!("{method} http://{door}{path}"))
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
