//! Gossip detects, the leader decides: members become nodes of the catalog and voters of Raft.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use raft::{NodeId, Peer};

use super::handle::Inner;
use super::leader::{self, Members};
use crate::lifecycle::Shutdown;
use crate::limits;
use crate::model::{
    Answer, Check, CheckStatus, CheckUpdate, Command, Deregistration, Index, Member, MemberStatus,
    Node, NodeServices, Query, Registration, ServerHealth, Service, host_port,
};

/// The check that says what failure detection thinks of a node. Clients know the name.
const HEALTH: &str = "serfHealth";
/// What it says of a member that answers.
const ALIVE: &str = "Agent alive and reachable";
/// What it says of one that does not.
const FAILED: &str = "Agent not live or unreachable";
/// The service that every server is an instance of.
const SERVERS: &str = "consul";

/// The Raft id of the member with this UUID: its first half. `None` for what is no UUID.
pub(super) fn node_id(id: &str) -> Option<NodeId> {
    let (high, _) = uuid::Uuid::parse_str(id).ok()?.as_u64_pair();
    (high != 0).then_some(high)
}

/// Brings catalog and membership in line with `members`; says whether all of it is done.
pub(super) async fn reconcile(inner: &Inner, members: &[Arc<Member>]) -> bool {
    let mut done = true;
    for member in members.iter().filter(|m| m.datacenter == inner.options.datacenter) {
        done &= match member.status {
            MemberStatus::Alive => alive(inner, member).await,
            MemberStatus::Leaving => true,
            MemberStatus::Left => left(inner, member).await,
            MemberStatus::Failed => failed(inner, member).await,
        };
    }
    done & begin(inner).await
}

async fn alive(inner: &Inner, member: &Member) -> bool {
    let registered = match registration(inner, member) {
        Some(registration) => {
            leader::propose(inner, &Command::Register(Box::new(registration))).await
        }
        None => true,
    };
    registered && (member.server_port == 0 || join(inner, member).await)
}

/// Whether a registration by the leader leaves the node's own record as it is. One that enters
/// itself meanwhile says more of itself than the leader knows, so an absent one is left to it too:
/// such a registration makes the record only where there is none when it is applied.
fn leaves_node(known: Option<&Node>, member: &Member) -> bool {
    known.is_none_or(|known| is_of(known, member))
}

fn is_of(node: &Node, member: &Member) -> bool {
    node.id == member.id && node.address == member.address
}

/// What the catalog lacks of a living member; nothing when it has all.
fn registration(inner: &Inner, member: &Member) -> Option<Registration> {
    let known = node_services(inner, &member.name);
    let node_known = known.as_ref().is_some_and(|known| is_of(&known.node, member));
    let service_known = member.server_port == 0
        || known
            .iter()
            .flat_map(|known| &known.services)
            .any(|service| service.id == SERVERS && service.port == member.server_port);
    let healthy = health(inner, &member.name) == Some(CheckStatus::Passing);
    if node_known && service_known && healthy {
        return None;
    }
    let service = (member.server_port != 0).then(|| Service {
        id: SERVERS.to_owned(),
        name: SERVERS.to_owned(),
        port: member.server_port,
        meta: BTreeMap::from([
            ("raft_version".to_owned(), "3".to_owned()),
            ("version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ]),
        ..Service::default()
    });
    let check = Check {
        id: HEALTH.to_owned(),
        name: "Serf Health Status".to_owned(),
        status: CheckStatus::Passing,
        output: ALIVE.to_owned(),
        ..Check::default()
    };
    let addresses = ["lan", "lan_ipv4", "wan", "wan_ipv4"];
    let node = Node {
        id: member.id.clone(),
        name: member.name.clone(),
        address: member.address.clone(),
        datacenter: member.datacenter.clone(),
        tagged_addresses: addresses
            .iter()
            .map(|purpose| ((*purpose).to_owned(), member.address.clone()))
            .collect(),
        meta: BTreeMap::new(),
        ..Node::default()
    };
    let skip_node_update = leaves_node(known.as_ref().map(|known| &*known.node), member);
    Some(Registration { node, skip_node_update, service, checks: vec![check] })
}

async fn failed(inner: &Inner, member: &Member) -> bool {
    match health(inner, &member.name) {
        Some(CheckStatus::Passing) => {
            tracing::warn!(member = member.name, address = member.address, "member failed");
            let update = CheckUpdate {
                node: member.name.clone(),
                check: HEALTH.to_owned(),
                status: CheckStatus::Critical,
                output: FAILED.to_owned(),
            };
            leader::propose(inner, &Command::CheckUpdate(vec![update])).await
        }
        _ => true,
    }
}

async fn left(inner: &Inner, member: &Member) -> bool {
    if member.id == inner.options.id {
        return true; // who leads now takes this server out once it leads no more
    }
    let known = node_services(inner, &member.name);
    if known.is_none_or(|known| known.node.id != member.id) {
        return true;
    }
    if let Some(node) = node_id(&member.id)
        && inner.raft.now().peers.contains_key(&node)
        && let Err(error) = inner.raft.remove(node).await
    {
        tracing::warn!(member = member.name, %error, "a server that left is still a member");
        return false;
    }
    let node = Deregistration { node: member.name.clone(), ..Deregistration::default() };
    leader::propose(inner, &Command::Deregister(node)).await
}

/// Makes a living server a learner, and a voter once it has caught up. True once it votes and
/// is known by its present address.
async fn join(inner: &Inner, member: &Member) -> bool {
    let status = inner.raft.now();
    let Some(node) = node_id(&member.id) else { return true };
    let address = host_port(&member.address, member.server_port);
    let known = status.peers.get(&node);
    let moved = known.is_some_and(|peer| peer.address != address);
    let votes = status.voters.contains(&node);
    if votes && !moved {
        return true;
    }
    let peer = Peer { id: member.id.clone(), name: member.name.clone(), address };
    let behind = status.last_log.saturating_sub(status.matched.get(&node).copied().unwrap_or(0));
    let (what, step) = if known.is_none() {
        ("joins as a learner", inner.raft.add_learner(node, peer).await)
    } else if moved {
        ("has a new address", inner.raft.update_peer(node, peer).await)
    } else if behind <= limits::PROMOTE_BEHIND_MAX {
        let mut voters = BTreeSet::clone(&status.voters);
        voters.insert(node);
        ("votes", inner.raft.change_voters(voters).await)
    } else {
        return false; // still catching up
    };
    match step {
        Ok(()) => tracing::info!(server = member.name, what, "server joined"),
        Err(error) => tracing::warn!(server = member.name, what, %error, "not done yet"),
    }
    false // the next round looks again
}

fn node_services(inner: &Inner, name: &str) -> Option<NodeServices> {
    match &*inner.view.query(&Query::NodeServices(name.to_owned())).answer {
        Answer::NodeServices(found) => found.clone(),
        _ => None,
    }
}

fn health(inner: &Inner, name: &str) -> Option<CheckStatus> {
    match &*inner.view.query(&Query::NodeChecks(name.to_owned())).answer {
        Answer::Checks(checks) => {
            checks.iter().find(|check| check.id == HEALTH).map(|check| check.status.clone())
        }
        _ => None,
    }
}

/// How the servers are, by name. For the leader: nobody else knows.
pub(super) fn servers(inner: &Inner) -> Vec<ServerHealth> {
    let status = inner.raft.now();
    let contacts = inner.raft.contacts();
    let of = |(node, peer): (&NodeId, &Peer)| {
        let leader = *node == inner.node;
        ServerHealth {
            id: peer.id.clone(),
            name: peer.name.clone(),
            address: peer.address.clone(),
            leader,
            voter: status.voters.contains(node),
            last_contact: if leader { Some(Duration::ZERO) } else { contacts.get(node).copied() },
            heartbeat: inner.options.heartbeat,
            term: status.term,
            last_log: if leader {
                status.last_log
            } else {
                status.matched.get(node).copied().unwrap_or(0)
            },
            leader_log: status.last_log,
        }
    };
    let mut servers: Vec<_> = status.peers.iter().map(of).collect();
    servers.sort_by(|one, two| one.name.cmp(&two.name));
    servers
}

/// Stores the settings that a new cluster begins with, unless there are some; says whether that
/// is done.
async fn begin(inner: &Inner) -> bool {
    match &*inner.view.query(&Query::Autopilot).answer {
        Answer::Autopilot(None) => {
            let settings = Box::new(inner.options.autopilot.clone());
            leader::propose(inner, &Command::Autopilot { settings, index: Some(Index(0)) }).await
        }
        _ => true,
    }
}

/// Forms a new cluster once as many servers as expected see each other and none has a log.
///
/// Only the one with the lowest id does it, so that two halves cannot both begin.
pub(super) async fn bootstrap(inner: Arc<Inner>, mut members: Members, mut shutdown: Shutdown) {
    let forming = async {
        loop {
            if inner.raft.is_bootstrapped() {
                return;
            }
            let known = Arc::clone(&members.borrow_and_update());
            if let Some(voters) = first_voters(&inner, &known) {
                match inner.raft.bootstrap(voters).await {
                    Ok(()) => tracing::info!("formed a new cluster"),
                    Err(error) => tracing::warn!(%error, "could not form a new cluster"),
                }
            }
            // Also without news of members: the last attempt may have failed.
            let again = tokio::time::timeout(inner.options.election.0, members.changed());
            if let Ok(Err(_closed)) = again.await {
                return;
            }
        }
    };
    // Dropping a formation midway is safe: it is one record in the log.
    tokio::select! {
        () = forming => {}
        () = shutdown.wait() => {}
    }
}

fn first_voters(inner: &Inner, members: &[Arc<Member>]) -> Option<BTreeMap<NodeId, Peer>> {
    let expect = inner.options.expect;
    let servers: Vec<&Arc<Member>> = members
        .iter()
        .filter(|m| m.server_port != 0 && m.datacenter == inner.options.datacenter)
        .collect();
    if servers.iter().any(|server| server.bootstrapped) {
        return None; // there is a cluster already: its leader will ask this server in
    }
    let mut ready = BTreeMap::new();
    for server in servers {
        if server.status == MemberStatus::Alive && server.expect == expect {
            let address = host_port(&server.address, server.server_port);
            let peer = Peer { id: server.id.clone(), name: server.name.clone(), address };
            ready.insert(node_id(&server.id)?, peer);
        }
    }
    let enough = expect > 0 && ready.len() >= usize::try_from(expect).ok()?;
    let first = ready.first_key_value().map(|(node, _)| *node);
    let chosen: BTreeSet<NodeId> =
        ready.keys().copied().take(usize::try_from(expect).ok()?).collect();
    ready.retain(|node, _| chosen.contains(node));
    (enough && first == Some(inner.node)).then_some(ready)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_enters_itself_is_not_overwritten() {
        let member = Member {
            id: "aa".into(),
            name: "n1".into(),
            address: "10.0.0.1".into(),
            port: 8301,
            server_port: 8300,
            datacenter: "dc1".into(),
            expect: 1,
            bootstrapped: false,
            tags: BTreeMap::new(),
            status: MemberStatus::Alive,
            generation: 1,
            raft: 0,
        };
        let node = |id: &str, address: &str| Node {
            id: id.into(),
            address: address.into(),
            ..Node::default()
        };
        for (known, leaves) in [
            (None, true),
            (Some(node("aa", "10.0.0.1")), true),
            (Some(node("aa", "10.0.0.9")), false),
            (Some(node("bb", "10.0.0.1")), false),
        ] {
            assert_eq!(leaves_node(known.as_ref(), &member), leaves, "{known:?}");
        }
    }
}
