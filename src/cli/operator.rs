//! `operator`: who takes part in consensus.

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::autopilot::Autopilot;
use super::columns::{row, table};
use super::recover::Recover;
use super::screen::{DONE, Screen};
use super::target::Servers;

/// Provides cluster-level tools for operators.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Operator {
    /// Provides tools for modifying Autopilot configuration.
    #[command(subcommand)]
    Autopilot(Autopilot),
    /// Shows and repairs the set of Raft servers.
    #[command(subcommand)]
    Raft(Raft),
    Recover(Recover),
}

/// Shows and repairs the set of Raft servers.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Raft {
    ListPeers(ListPeers),
    RemovePeer(RemovePeer),
    TransferLeader(TransferLeader),
}

/// Display the current Raft peer configuration.
#[derive(Debug, clap::Args)]
pub(super) struct ListPeers {
    #[command(flatten)]
    at: Servers,
    #[arg(hide = true)]
    args: Vec<String>,
}

/// Remove a server from the Raft configuration.
#[derive(Debug, clap::Args)]
pub(super) struct RemovePeer {
    #[command(flatten)]
    at: Servers,
    /// Address of the server to remove.
    #[arg(long, value_name = "ip:port")]
    address: Option<String>,
    /// Id of the server to remove.
    #[arg(long, value_name = "id")]
    id: Option<String>,
    #[arg(hide = true)]
    args: Vec<String>,
}

/// Transfer raft leadership to another node.
#[derive(Debug, clap::Args)]
#[command(name = "transfer-leader")]
pub(super) struct TransferLeader {
    #[command(flatten)]
    at: Servers,
    /// Id of the server that is to lead.
    #[arg(long, value_name = "id")]
    id: Option<String>,
    #[arg(hide = true)]
    args: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Transferred {
    success: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Configuration {
    servers: Vec<Server>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Server {
    #[serde(rename = "ID")]
    id: String,
    node: String,
    address: String,
    leader: bool,
    #[serde(default)]
    protocol_version: String,
    voter: bool,
}

impl Operator {
    pub(super) async fn run(self, screen: &mut Screen<'_>) -> Result<u8> {
        match self {
            Self::Autopilot(autopilot) => autopilot.run(screen).await,
            Self::Recover(recover) => recover.run(screen).await,
            Self::Raft(Raft::ListPeers(list)) => list.run(screen).await,
            Self::Raft(Raft::RemovePeer(remove)) => remove.run(screen).await,
            Self::Raft(Raft::TransferLeader(transfer)) => transfer.run(screen).await,
        }
    }
}

impl ListPeers {
    async fn run(self, screen: &mut Screen<'_>) -> Result<u8> {
        let path = "operator/raft/configuration";
        let found = self.at.open()?.get_json::<Configuration>(path, &[]).await;
        let found = found.context("Error getting peers: Failed to retrieve raft configuration")?;
        let mut rows = vec![row(["Node", "ID", "Address", "State", "Voter", "RaftProtocol"])];
        rows.extend(found.servers.iter().map(|server| {
            let state = if server.leader { "leader" } else { "follower" };
            let protocol = match server.protocol_version.as_str() {
                "" => "<=1",
                version => version,
            };
            let voter = server.voter.to_string();
            row([&server.node, &server.id, &server.address, state, &voter, protocol])
        }));
        screen.say(table(&rows))?;
        Ok(DONE)
    }
}

impl RemovePeer {
    async fn run(self, screen: &mut Screen<'_>) -> Result<u8> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let (name, value) = match (given(&self.address), given(&self.id)) {
            (Some(_), Some(_)) => {
                return screen.fail("Error removing peer: cannot give both an address and id");
            }
            (None, None) => {
                return screen.fail(
                    "Error removing peer: an address or id is required for the peer to remove",
                );
            }
            (Some(address), None) => ("address", address),
            (None, Some(id)) => ("id", id),
        };
        let removed = self.at.open()?.delete("operator/raft/peer", &[(name, &value)]).await;
        removed.context("Error removing peer")?;
        screen.say(format_args!("Removed peer with {name} \"{value}\""))?;
        Ok(DONE)
    }
}

impl TransferLeader {
    async fn run(self, screen: &mut Screen<'_>) -> Result<u8> {
        let id = self.id.filter(|id| !id.is_empty());
        let query: Vec<(&str, &str)> = id.iter().map(|id| ("id", id.as_str())).collect();
        let path = "operator/raft/transfer-leader";
        let answer = self.at.open()?.put(path, &query, Vec::new()).await;
        let answer =
            answer.context("Error transfering leadership: Failed to transfer leadership")?;
        if answer.json::<Transferred>()?.success {
            screen.say("Success")?;
            return Ok(DONE);
        }
        screen.fail("Error transfering leadership: Failed to transfer leadership")
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::play;

    #[test]
    fn peers_are_listed_and_removed() {
        let body = r#"{"Servers":[{"ID":"i","Node":"vm","Address":"127.0.0.1:8300","Leader":true,
            "ProtocolVersion":"3","Voter":true}],"Index":0}"#;
        let (code, out, _, _) = play(&["operator", "raft", "list-peers"], &[(200, body)]);
        let shown = "\
Node  ID  Address         State   Voter  RaftProtocol
vm    i   127.0.0.1:8300  leader  true   3
";
        assert_eq!((code, out.as_str()), (0, shown));
        let line = ["operator", "raft", "remove-peer", "-id=x"];
        let (code, out, _, asked) = play(&line, &[(200, "")]);
        assert_eq!((code, out.as_str()), (0, "Removed peer with id \"x\"\n"));
        assert_eq!(asked, ["DELETE /v1/operator/raft/peer?id=x"]);
        let (code, _, err, _) = play(&line, &[(500, "no")]);
        let told = "Error removing peer: Unexpected response code: 500 (no)\n";
        assert_eq!((code, err.as_str()), (1, told));
    }

    #[test]
    fn leadership_is_handed_over() {
        let body = r#"{"Success":true}"#;
        let line = ["operator", "raft", "transfer-leader"];
        let (code, out, _, asked) = play(&line, &[(200, body)]);
        assert_eq!((code, out.as_str()), (0, "Success\n"));
        assert_eq!(asked, ["PUT /v1/operator/raft/transfer-leader"]);
        let line = ["operator", "raft", "transfer-leader", "-id=x"];
        let (code, _, err, asked) = play(&line, &[(500, "no")]);
        assert!(code == 1 && err.starts_with("Error transfering leadership: "), "{err}");
        assert_eq!(asked, ["PUT /v1/operator/raft/transfer-leader?id=x"]);
    }
}
