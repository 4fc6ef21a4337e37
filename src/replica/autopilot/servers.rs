//! Carries the plan for Raft's membership out, step by step, while this server leads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use raft::{MembershipError, NodeId, Status};

use super::health::{Moment, Seen};
use super::names::Names;
use super::plan::{self, Scene, Step, Why};
use crate::model::{Answer, Autopilot, Command, Index, Member, Query, ServerHealth};
use crate::replica::handle::Inner;
use crate::replica::leader::{self, ROUND};
use crate::{limits, time};

/// Servers that asked to be let go. They ask anew whoever leads until they are out.
#[derive(Default)]
pub(in crate::replica) struct Leavers(Mutex<BTreeSet<NodeId>>);

impl Leavers {
    /// Notes that a server wants to go.
    pub(in crate::replica) fn ask(&self, node: NodeId) {
        self.0.lock().insert(node);
    }

    fn of(&self, status: &Status) -> BTreeSet<NodeId> {
        let mut leavers = self.0.lock();
        leavers.retain(|node| status.peers.contains_key(node));
        leavers.clone()
    }
}

/// Looks after the servers for as long as this one leads; dropped when it does not.
pub(in crate::replica) async fn keep_servers(inner: &Inner) {
    let began = time::now();
    let mut told = BTreeSet::new();
    loop {
        begin(inner).await;
        let seasoned = began.elapsed() >= limits::UNSEEN_GRACE;
        for step in with_scene(inner, seasoned, plan::steps) {
            let Err(error) = carry_out(inner, &step).await else {
                told.clear();
                break;
            };
            // What is impossible for one is no reason to let the next wait.
            if told.insert((format!("{step:?}"), error.clone())) {
                tracing::warn!(?step, error, "a change of the servers is not done yet");
            }
        }
        tokio::time::sleep(ROUND).await;
    }
}

/// Looks how each server is for as long as this one leads, also while a change is under way;
/// dropped when it does not lead any more.
pub(in crate::replica) async fn watch_servers(inner: &Inner) {
    loop {
        with_scene(inner, false, |scene| look(inner, scene));
        tokio::time::sleep(ROUND).await;
    }
}

/// Stores the settings that a new cluster begins with, unless there are some.
async fn begin(inner: &Inner) {
    if matches!(&*inner.view.query(&Query::Autopilot).answer, Answer::Autopilot(None)) {
        let settings = Box::new(inner.options.autopilot.clone());
        leader::propose(inner, &Command::Autopilot { settings, index: Some(Index(0)) }).await;
    }
}

fn settings(inner: &Inner) -> Autopilot {
    match &*inner.view.query(&Query::Autopilot).answer {
        Answer::Autopilot(Some(settings)) => Autopilot::clone(settings),
        _ => inner.options.autopilot.clone(),
    }
}

/// Gathers what there is to decide from.
fn with_scene<T>(inner: &Inner, seasoned: bool, ask: impl FnOnce(&Scene<'_>) -> T) -> T {
    let members = inner.members();
    let names = Names::of(&members, |name| super::catalog::id_of(inner, name));
    let (raft, contacts, settings) = (inner.raft.now(), inner.raft.contacts(), settings(inner));
    let span = Duration::from_millis(settings.stabilization_ms);
    let now = time::now();
    let stable = {
        let health = inner.health.lock();
        let learners = raft.learners.iter().copied();
        learners.filter(|node| health.is_stable(*node, span, now)).collect()
    };
    ask(&Scene {
        raft: &raft,
        contacts: &contacts,
        silence_max: inner.options.election.0,
        members: &members,
        names: &names,
        settings: &settings,
        stable: &stable,
        leavers: &inner.leavers.of(&raft),
        seasoned,
    })
}

/// Notes how each server is.
fn look(inner: &Inner, scene: &Scene<'_>) {
    let well = |node: &NodeId| {
        (*node, seen(scene, *node).is_well(scene.settings, inner.options.heartbeat))
    };
    let looked: BTreeMap<NodeId, bool> = scene.raft.peers.keys().map(well).collect();
    let at = Moment { now: time::now(), wall: time::wall_seconds() };
    inner.health.lock().look(&looked, at);
}

fn seen(scene: &Scene<'_>, node: NodeId) -> Seen {
    let member = scene.members.iter().find(|member| member.raft == node);
    let leads = node == scene.raft.node;
    let matched = scene.raft.matched.get(&node).copied().unwrap_or(0);
    Seen {
        status: member.map(|member| member.status),
        contact: if leads { Some(Duration::ZERO) } else { scene.contacts.get(&node).copied() },
        behind: if leads { 0 } else { scene.raft.last_log.saturating_sub(matched) },
    }
}

/// Does one step, within a bound of time. A change that is given up midway is settled later.
async fn carry_out(inner: &Inner, step: &Step) -> Result<(), String> {
    let raft = &inner.raft;
    let change = async {
        match step {
            Step::Settle => raft.settle().await,
            Step::Add(node, peer) => raft.add_learner(*node, peer.clone()).await,
            Step::Update(node, peer) => raft.update_peer(*node, peer.clone()).await,
            Step::Promote(node) => {
                let mut voters = BTreeSet::clone(&raft.now().voters);
                voters.insert(*node);
                raft.change_voters(voters).await
            }
            Step::Remove(node, _) => raft.remove(*node).await,
        }
    };
    let before = raft.now();
    failpoint!("membership.step.before");
    let done = bounded(change).await;
    failpoint!("membership.step.after");
    done.map_err(|error| error.to_string())?;
    told(inner, step, &before);
    Ok(())
}

/// A change of the membership, given up after a while.
pub(in crate::replica) async fn bounded(
    change: impl Future<Output = Result<(), MembershipError>>,
) -> Result<(), MembershipError> {
    let most = limits::MEMBERSHIP_CHANGE_MAX;
    let late = |_elapsed| MembershipError::Unknown(format!("no majority within {most:?}"));
    tokio::time::timeout(most, change).await.map_err(late)?
}

/// Says what was done, and has a dead server declared gone in the pool too.
fn told(inner: &Inner, step: &Step, before: &Status) {
    match step {
        Step::Settle => tracing::info!("ended a change of voters that was left half done"),
        Step::Add(node, peer) => {
            let (server, id, address) = (&peer.name, &peer.id, &peer.address);
            tracing::info!(server, id, address, raft = node, "server joins, without a vote yet");
        }
        Step::Update(node, peer) => {
            let old = before.peers.get(node).map(|old| format!("{} at {}", old.name, old.address));
            let (server, id, address) = (&peer.name, &peer.id, &peer.address);
            tracing::info!(server, id, address, old, "server has a new name or address");
        }
        Step::Promote(node) => {
            let peer = before.peers.get(node).cloned().unwrap_or_default();
            tracing::info!(server = peer.name, id = peer.id, "server votes");
        }
        Step::Remove(node, why) => {
            let peer = before.peers.get(node).cloned().unwrap_or_default();
            let (server, id, address) = (&peer.name, &peer.id, &peer.address);
            tracing::info!(server, id, address, raft = node, why = why.text(), "server removed");
            if *why == Why::Failed {
                inner.dismiss(peer.name);
            }
        }
    }
}

/// Whether an operator may take a server out now; if not, why.
pub(in crate::replica) fn may_be_removed(inner: &Inner, node: NodeId) -> Result<(), String> {
    with_scene(inner, true, |scene| plan::objection(scene, node)).map_or(Ok(()), Err)
}

/// Who should lead after this server.
pub(in crate::replica) fn heir(inner: &Inner) -> Option<NodeId> {
    with_scene(inner, false, plan::heir)
}

/// How the servers are, by name. For the leader: nobody else knows.
pub(in crate::replica) fn shown(inner: &Inner) -> Vec<ServerHealth> {
    with_scene(inner, false, |scene| {
        let mut servers: Vec<ServerHealth> =
            scene.raft.peers.keys().map(|node| one(inner, scene, *node)).collect();
        servers.sort_by(|one, two| (&one.name, &one.id).cmp(&(&two.name, &two.id)));
        servers
    })
}

fn one(inner: &Inner, scene: &Scene<'_>, node: NodeId) -> ServerHealth {
    let peer = scene.raft.peers.get(&node).cloned().unwrap_or_default();
    let leader = node == scene.raft.node;
    let seen = seen(scene, node);
    let now_well = seen.is_well(scene.settings, inner.options.heartbeat);
    let looked = inner.health.lock().of(node);
    let (healthy, stable_since) = looked.unwrap_or((now_well, time::wall_seconds()));
    let member = scene.members.iter().find(|member| member.raft == node);
    let matched = scene.raft.matched.get(&node).copied().unwrap_or(0);
    ServerHealth {
        id: peer.id,
        name: peer.name,
        address: peer.address,
        leader,
        // What people read: a vote that a half-done change may still take back is none yet.
        voter: scene.raft.settled_voters.contains(&node),
        status: seen.status,
        version: member.map(version).unwrap_or_default(),
        last_contact: seen.contact,
        term: scene.raft.term,
        last_log: if leader { scene.raft.last_log } else { matched },
        healthy,
        stable_since,
    }
}

/// The version of a member's program, without what stands behind the colon.
fn version(member: &Arc<Member>) -> String {
    let build = member.tags.get("build").map(String::as_str).unwrap_or_default();
    build.split(':').next().unwrap_or_default().to_owned()
}
