//! Keeps the catalog's nodes in line with the pool's members while this server leads. What did not
//! change since it was handled costs nothing; once a minute everything is compared.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::names::{Names, folded, is_there};
use super::nodes::{self, Deed, Known};
use crate::model::{
    Answer, CheckStatus, Command, Deregistration, Member, MemberStatus, NodeServices, Query,
};
use crate::replica::handle::Inner;
use crate::replica::leader::{self, ROUND};
use crate::{limits, time};

/// Between two looks at nodes that no member stands for, while there are such.
const UNSEEN_ROUND: Duration = Duration::from_secs(5);

/// What one term of leading remembers.
struct Keeper {
    began: Instant,
    /// Members that need nothing more, by id, as they were then.
    handled: BTreeMap<String, Arc<Member>>,
    /// Whose each name is, by id, as far as this leader saw.
    owners: BTreeMap<String, String>,
    /// Newcomers that were refused for their name, each with its holder: told once.
    refused: BTreeSet<(String, String)>,
    /// Nodes that no member stands for, and since when.
    unseen: BTreeMap<String, Instant>,
    /// When all members were handled anew, and when such nodes were looked for.
    swept: Option<Instant>,
    /// How often the state had been replaced by then.
    replaced: u64,
    compared: Option<Instant>,
}

/// Does it for as long as this server leads; dropped when it does not.
pub(in crate::replica) async fn keep_nodes(inner: &Inner) {
    let mut keeper = Keeper {
        began: time::now(),
        handled: BTreeMap::new(),
        owners: BTreeMap::new(),
        refused: BTreeSet::new(),
        unseen: BTreeMap::new(),
        swept: None,
        replaced: inner.replaced.count(),
        compared: None,
    };
    let mut changes = inner.members.clone();
    changes.mark_changed();
    loop {
        if keeper.sweeps(inner) {
            keeper.handled.clear();
            keeper.swept = Some(time::now());
            keeper.replaced = inner.replaced.count();
            keeper.compared = None;
            dismiss_lost(inner, &inner.members());
            changes.mark_changed();
        }
        if changes.has_changed().unwrap_or(false) {
            changes.borrow_and_update();
            if !keeper.round(inner, &inner.members()).await {
                changes.mark_changed(); // what was not done is due again
            }
        }
        if keeper.compares() {
            keeper.compare(inner, &inner.members()).await;
        }
        tokio::time::sleep(ROUND).await;
    }
}

impl Keeper {
    /// Whether all members are to be handled anew: after a while, and at once where a backup has
    /// taken the place of what they were entered in.
    fn sweeps(&self, inner: &Inner) -> bool {
        self.swept.is_none_or(|at| at.elapsed() >= limits::RECONCILE_INTERVAL)
            || inner.replaced.count() != self.replaced
    }

    /// Whether nodes that no member stands for are to be looked for again.
    fn compares(&self) -> bool {
        let every = if self.unseen.is_empty() { limits::RECONCILE_INTERVAL } else { UNSEEN_ROUND };
        self.compared.is_none_or(|at| at.elapsed() >= every)
    }

    /// Handles who has changed; says whether all of it is done.
    async fn round(&mut self, inner: &Inner, members: &[Arc<Member>]) -> bool {
        let names = Names::of(members, |name| id_of(inner, name));
        let mut done = true;
        for (member, holder) in &names.refused {
            done = false; // its holder may go
            if self.refused.insert((member.id.clone(), holder.id.clone())) {
                tell_refused(member, &holder.id);
            }
        }
        for member in &names.holders {
            let handled = self.handled.get(&member.id).is_some_and(|before| before == member);
            if handled {
                continue;
            }
            if self.handle(inner, member, members).await {
                self.handled.insert(member.id.clone(), Arc::clone(member));
            } else {
                done = false;
            }
        }
        done
    }

    /// Brings one member's node in line; says whether it is.
    async fn handle(&mut self, inner: &Inner, member: &Member, members: &[Arc<Member>]) -> bool {
        let seasoned = self.began.elapsed() >= limits::UNSEEN_GRACE;
        let known = known(inner, &member.name);
        let gone = |id: &str| is_gone(members, id, seasoned);
        match nodes::deed(member, &known, gone) {
            Deed::None => {
                self.note_owner(member, None);
                true
            }
            Deed::Wait => {
                let holder = known.node.as_ref().map(|known| known.node.id.clone());
                let holder = holder.unwrap_or_default();
                if self.refused.insert((member.id.clone(), holder.clone())) {
                    tell_refused(member, &holder);
                }
                false
            }
            Deed::Enter { registration, after } => {
                let entry = Command::Register(registration);
                let done = leader::propose(inner, &entry).await;
                if done {
                    self.note_owner(member, after);
                }
                done
            }
            Deed::Fail => {
                let dead = member.status == MemberStatus::Failed;
                if dead {
                    tracing::warn!(member = member.name, address = member.address, "member failed");
                }
                fail(inner, &member.name).await && dead
            }
            Deed::Remove if member.id == inner.options.id => true, // who leads next does it
            Deed::Remove => {
                tracing::info!(member = member.name, id = member.id, "member left");
                remove(inner, &member.name).await
            }
        }
    }

    /// Notes whose a name is now, and says so where it was another's: `before` as the catalog had
    /// it, or as it was noted last, for a newcomer may have entered itself.
    fn note_owner(&mut self, member: &Member, before: Option<String>) {
        if !is_there(member) {
            return;
        }
        let (name, id) = (&member.name, &member.id);
        let noted = self.owners.insert(folded(name), id.clone());
        if let Some(before) = before.or(noted).filter(|before| before != id) {
            tracing::info!(name, before, id, "a name was taken over: its former node is gone");
        }
    }

    /// Looks for nodes with an agent check that no member stands for: turns them critical, and
    /// removes them in the end.
    async fn compare(&mut self, inner: &Inner, members: &[Arc<Member>]) {
        let now = time::now();
        self.compared = Some(now);
        let standing: BTreeSet<String> = members.iter().map(|m| folded(&m.name)).collect();
        let lone = agent_checks(inner).into_iter();
        let lone: BTreeMap<String, CheckStatus> =
            lone.filter(|(node, _)| !standing.contains(&folded(node))).collect();
        self.unseen.retain(|node, _| lone.contains_key(node));
        for (node, status) in lone {
            let since = *self.unseen.entry(node.clone()).or_insert(now);
            match fate(now.saturating_duration_since(since), &status) {
                Fate::Wait => {}
                Fate::Fail => {
                    tracing::warn!(node, "no member of the pool stands for this node: critical");
                    fail(inner, &node).await;
                }
                Fate::Remove => {
                    tracing::warn!(node, "no member of the pool stands for this node: removed");
                    remove(inner, &node).await;
                }
            }
        }
    }
}

/// What becomes of a node that no member stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Wait,
    Fail,
    Remove,
}

fn fate(unseen: Duration, status: &CheckStatus) -> Fate {
    if unseen >= limits::UNSEEN_GRACE + limits::UNSEEN_KEPT {
        Fate::Remove
    } else if unseen >= limits::UNSEEN_GRACE && *status != CheckStatus::Critical {
        Fate::Fail
    } else {
        Fate::Wait
    }
}

/// Whether nobody with this id takes part: it failed or left, or the pool has had the time to show
/// it and did not.
fn is_gone(members: &[Arc<Member>], id: &str, seasoned: bool) -> bool {
    let mut of_id = members.iter().filter(|member| member.id.eq_ignore_ascii_case(id)).peekable();
    match of_id.peek() {
        Some(_) => !of_id.any(|member| is_there(member)),
        None => seasoned,
    }
}

fn tell_refused(member: &Member, holder: &str) {
    let (name, id, address) = (&member.name, &member.id, &member.address);
    tracing::warn!(
        name,
        id,
        address,
        holder,
        "a member is refused: another node has its name, and is not gone"
    );
}

async fn fail(inner: &Inner, node: &str) -> bool {
    leader::propose(inner, &Command::CheckUpdate(vec![nodes::critical(node)])).await
}

async fn remove(inner: &Inner, node: &str) -> bool {
    let node = Deregistration { node: node.to_owned(), ..Deregistration::default() };
    leader::propose(inner, &Command::Deregister(node)).await
}

/// Has members declared gone that failed too long ago: as for all that left, their nodes go then.
fn dismiss_lost(inner: &Inner, members: &[Arc<Member>]) {
    for member in members.iter().filter(|member| member.status == MemberStatus::Failed) {
        if inner.failed.since(&member.id) >= Some(inner.options.reconnect_timeout) {
            let (name, id) = (&member.name, &member.id);
            tracing::warn!(name, id, "a member failed too long ago to be waited for");
            inner.dismiss(name.clone());
        }
    }
}

fn known(inner: &Inner, name: &str) -> Known {
    let node = node_of(inner, name);
    let health = match &*inner.view.query(&Query::NodeChecks(name.to_owned())).answer {
        Answer::Checks(checks) => {
            let found = checks.iter().find(|check| check.id == nodes::HEALTH);
            found.map(|check| check.status.clone())
        }
        _ => None,
    };
    Known { node, health }
}

fn node_of(inner: &Inner, name: &str) -> Option<NodeServices> {
    match &*inner.view.query(&Query::NodeServices(name.to_owned())).answer {
        Answer::NodeServices(found) => found.clone(),
        _ => None,
    }
}

/// The id under which the catalog has a name.
pub(super) fn id_of(inner: &Inner, name: &str) -> Option<String> {
    node_of(inner, name).map(|known| known.node.id.clone())
}

/// The nodes that have an agent check, each with its verdict.
fn agent_checks(inner: &Inner) -> Vec<(String, CheckStatus)> {
    match &*inner.view.query(&Query::ChecksInState("any".to_owned())).answer {
        Answer::Checks(checks) => {
            let of_agents = checks.iter().filter(|check| check.id == nodes::HEALTH);
            of_agents.map(|check| (check.node.clone(), check.status.clone())).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::names::tests::member;
    use super::*;

    #[test]
    fn a_node_that_nobody_stands_for_is_critical_and_then_gone() {
        use CheckStatus::{Critical, Passing};
        for (seconds, status, want) in [
            (0, Passing, Fate::Wait),
            (29, Passing, Fate::Wait),
            (30, Passing, Fate::Fail),
            (31, Critical, Fate::Wait),
            (329, Critical, Fate::Wait),
            (329, Passing, Fate::Fail),
            (330, Critical, Fate::Remove),
        ] {
            assert_eq!(fate(Duration::from_secs(seconds), &status), want, "{seconds} {status:?}");
        }
    }

    #[test]
    fn who_takes_part_is_not_gone() {
        use MemberStatus::{Alive, Failed, Leaving, Left};
        for (members, seasoned, want) in [
            (vec![], false, false),
            (vec![], true, true),
            (vec![("x", Alive)], true, true),
            (vec![("A", Alive)], true, false),
            (vec![("a", Leaving)], true, false),
            (vec![("a", Failed)], false, true),
            (vec![("a", Left)], false, true),
            (vec![("a", Left), ("a", Alive)], true, false),
        ] {
            let all: Vec<_> =
                members.iter().map(|(id, status)| Arc::new(member(id, "n", 1, *status))).collect();
            assert_eq!(is_gone(&all, "a", seasoned), want, "{members:?} {seasoned}");
        }
    }
}
