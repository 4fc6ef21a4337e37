//! What every server takes from the pool, also without a leader: where the others are now, and
//! since when one has failed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use raft::NodeId;
use tokio::time::Instant;

use super::names::is_there;
use crate::lifecycle::Shutdown;
use crate::model::{Member, MemberStatus, host_port};
use crate::replica::handle::Inner;
use crate::time;

/// Since when each failed member has been so here. Each server counts for itself, so a new leader
/// does not begin anew.
#[derive(Default)]
pub(in crate::replica) struct Failed(Mutex<BTreeMap<String, Instant>>);

impl Failed {
    fn note(&self, members: &[Arc<Member>]) {
        let now = time::now();
        let failed = members.iter().filter(|member| member.status == MemberStatus::Failed);
        let mut since = self.0.lock();
        let before = std::mem::take(&mut *since);
        let at = |member: &Arc<Member>| before.get(&member.id).copied().unwrap_or(now);
        *since = failed.map(|member| (member.id.clone(), at(member))).collect();
    }

    /// How long a member has been failed; `None` if it is not.
    pub(super) fn since(&self, id: &str) -> Option<Duration> {
        self.0.lock().get(id).map(Instant::elapsed)
    }
}

/// Follows the pool until `shutdown`: Raft reaches each living server where the pool says that it
/// is. So a cluster that comes back with new addresses finds itself by its servers' numbers, before
/// anybody leads who could note the addresses.
pub(in crate::replica) async fn follow(inner: Arc<Inner>, mut shutdown: Shutdown) {
    let following = async {
        let mut members = inner.members.clone();
        members.mark_changed();
        let mut told = BTreeMap::new();
        // An error means that the pool has ended.
        while members.changed().await.is_ok() {
            members.borrow_and_update();
            let known = inner.members();
            inner.failed.note(&known);
            let wanted = addresses(&known, inner.node);
            redirect(&inner, &told, &wanted);
            told = wanted;
        }
    };
    // What is told stands for itself, so following may be dropped.
    tokio::select! {
        () = following => {}
        () = shutdown.wait() => {}
    }
}

/// Where the living servers are, this one left out.
fn addresses(members: &[Arc<Member>], own: NodeId) -> BTreeMap<NodeId, String> {
    let servers = members.iter().filter(|member| {
        is_there(member) && member.server_port != 0 && member.raft != 0 && member.raft != own
    });
    servers.map(|member| (member.raft, host_port(&member.address, member.server_port))).collect()
}

/// Tells Raft what has changed. Of one that the pool does not see, Raft's own word holds.
fn redirect(inner: &Inner, told: &BTreeMap<NodeId, String>, wanted: &BTreeMap<NodeId, String>) {
    for (node, address) in wanted {
        if told.get(node) == Some(address) {
            continue;
        }
        let peers = inner.raft.now().peers;
        if let Some(peer) = peers.get(node).filter(|peer| peer.address != *address) {
            let (server, old) = (&peer.name, &peer.address);
            tracing::info!(
                server,
                id = peer.id,
                old,
                address,
                "server is reached at its new address"
            );
        }
        inner.raft.redirect(*node, Some(address.clone()));
    }
    for node in told.keys().filter(|node| !wanted.contains_key(node)) {
        inner.raft.redirect(*node, None);
    }
}

#[cfg(test)]
mod tests {
    use super::super::names::tests::member;
    use super::*;

    #[test]
    fn living_servers_are_reached_where_the_pool_sees_them() {
        use MemberStatus::{Alive, Failed, Left};
        let mut all = vec![
            member("a", "n1", 1, Alive),
            member("b", "n2", 2, Alive),
            member("c", "n3", 3, Failed),
            member("d", "n4", 4, Left),
            member("e", "n5", 5, Alive),
        ];
        all[4].server_port = 0;
        all.push(Member { address: "::1".to_owned(), ..member("f", "n6", 6, Alive) });
        let all: Vec<_> = all.into_iter().map(Arc::new).collect();
        let want = [(2, "10.0.0.2:8300".to_owned()), (6, "[::1]:8300".to_owned())];
        assert_eq!(addresses(&all, 1), want.into());
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_counts_until_it_ends() {
        use MemberStatus::{Alive, Failed as Gone};
        let failed = Failed::default();
        let note = |status| failed.note(&[Arc::new(member("a", "n1", 1, status))]);
        note(Gone);
        tokio::time::advance(Duration::from_mins(1)).await;
        note(Gone);
        assert_eq!(failed.since("a"), Some(Duration::from_mins(1)));
        note(Alive);
        assert_eq!(failed.since("a"), None);
        note(Gone);
        assert_eq!(failed.since("a"), Some(Duration::ZERO));
    }
}
