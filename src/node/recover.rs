//! Recovery from a lost quorum, on the data folder of a stopped server.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use raft::{NodeId, Peer, Recovery, StateMachine as _};

use super::identity;
use super::run::NodeError;
use crate::replica::{self, StartError};

/// What is asked of a recovery.
#[derive(Debug, Clone)]
pub struct Recover {
    /// The data folder of this server, which must be stopped.
    pub data_dir: PathBuf,
    /// Who is left, by id, each with a new address if it has one; nobody named: this server alone.
    pub survivors: BTreeMap<String, Option<String>>,
    /// What is done.
    pub mode: RecoverMode,
}

/// How far a recovery goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecoverMode {
    /// It only says what it would do.
    Look,
    /// It rewrites the folder.
    Write,
}

/// A server, as the membership in the log has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Server {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: String,
    /// Where the others reach it.
    pub address: String,
    /// Whether it has a vote.
    pub voter: bool,
}

/// What a recovery found, and what it comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoverAccount {
    /// This server.
    pub own: Server,
    /// All members before.
    pub before: Vec<Server>,
    /// Those after it; all vote.
    pub after: Vec<Server>,
    /// Whether a change of membership was under way.
    pub changing: bool,
    /// Index and term of the last entry in the log.
    pub last: (u64, u64),
    /// Index of the last entry that was known here to be committed.
    pub committed: u64,
}

/// Looks at the folder of a stopped server, and rewrites it for the survivors if that is asked.
///
/// # Errors
///
/// The server runs, it never belonged to a cluster, a survivor is no member, this server is no
/// survivor, or the disk fails.
pub async fn recover(asked: &Recover) -> Result<RecoverAccount, NodeError> {
    let dir = &asked.data_dir;
    let id = identity::kept_id(dir)?
        .ok_or_else(|| NodeError::File(dir.clone(), "no server has kept its id here".to_owned()))?;
    let recovery = Recovery::open(&dir.join("raft")).await.map_err(fault)?;
    let done = within(&recovery, asked, &id.to_string()).await;
    recovery.close().await;
    done
}

async fn within(
    recovery: &Recovery,
    asked: &Recover,
    id: &str,
) -> Result<RecoverAccount, NodeError> {
    let machine = replica::machine(&asked.data_dir)?;
    let found = recovery.account(machine.position().as_deref()).await.map_err(fault)?;
    let voters: BTreeSet<NodeId> = found.voters.iter().flatten().copied().collect();
    let server = |(number, peer): (&NodeId, &Peer)| Server {
        name: peer.name.clone(),
        id: peer.id.clone(),
        address: peer.address.clone(),
        voter: voters.contains(number),
    };
    let own = found.members.iter().find(|(_, peer)| peer.id == id).ok_or_else(|| {
        let what = format!("this server, {id}, is no member of the cluster that its log knows");
        NodeError::Config(what)
    })?;
    let survivors = survivors(&found.members, &asked.survivors, own)?;
    let account = RecoverAccount {
        own: server(own),
        before: found.members.iter().map(server).collect(),
        after: survivors.iter().map(|one| Server { voter: true, ..server(one) }).collect(),
        changing: found.voters.len() > 1,
        last: (found.last, found.last_term),
        committed: found.committed,
    };
    if asked.mode == RecoverMode::Write {
        recovery.rewrite(*own.0, survivors, machine).await.map_err(fault)?;
    }
    Ok(account)
}

/// The members that were named, with their new addresses.
fn survivors(
    members: &BTreeMap<NodeId, Peer>,
    named: &BTreeMap<String, Option<String>>,
    (own, me): (&NodeId, &Peer),
) -> Result<BTreeMap<NodeId, Peer>, NodeError> {
    if named.is_empty() {
        return Ok(BTreeMap::from([(*own, me.clone())]));
    }
    if !named.contains_key(&me.id) {
        let what = format!("this server, {} ({}), must be among the survivors", me.name, me.id);
        return Err(NodeError::Config(what));
    }
    let member = |(id, address): (&String, &Option<String>)| {
        let (number, peer) = members.iter().find(|(_, peer)| peer.id == *id).ok_or_else(|| {
            NodeError::Config(format!("{id:?} is no member of the cluster that this log knows"))
        })?;
        let address = address.clone().unwrap_or_else(|| peer.address.clone());
        Ok((*number, Peer { address, ..peer.clone() }))
    };
    named.iter().map(member).collect()
}

fn fault(fault: raft::Fault) -> NodeError {
    NodeError::Replica(StartError::Raft(fault))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survivors_are_members_and_this_server_is_one() {
        let peer = |of: &str| Peer {
            id: format!("id-{of}"),
            name: of.to_owned(),
            address: format!("{of}:8300"),
        };
        let members = BTreeMap::from([(1, peer("a")), (2, peer("b")), (3, peer("c"))]);
        let me = (&2, &members[&2]);
        let told = |named: &[(&str, Option<&str>)]| {
            let named = named.iter().map(|(id, at)| ((*id).to_owned(), at.map(str::to_owned)));
            survivors(&members, &named.collect(), me).map_err(|error| error.to_string())
        };
        assert_eq!(told(&[]).unwrap(), BTreeMap::from([(2, peer("b"))]));
        let moved = told(&[("id-b", None), ("id-c", Some("d:8300"))]).unwrap();
        assert_eq!(moved.keys().copied().collect::<Vec<_>>(), [2, 3]);
        assert_eq!((moved[&2].address.as_str(), moved[&3].address.as_str()), ("b:8300", "d:8300"));
        let missing = "this server, b (id-b), must be among the survivors";
        assert_eq!(told(&[("id-c", None)]).unwrap_err(), missing);
        let stranger = "\"id-x\" is no member of the cluster that this log knows";
        assert_eq!(told(&[("id-b", None), ("id-x", None)]).unwrap_err(), stranger);
    }
}
