//! The beginning of a cluster: as many servers as expected see each other, agree on who of them
//! they are, and none has a log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use futures::future::join_all;
use parking_lot::Mutex;
use raft::{NodeId, Peer};
use tokio::time::Instant;

use super::plan::peer_of;
use crate::lifecycle::Shutdown;
use crate::model::{Member, MemberStatus};
use crate::replica::handle::Inner;
use crate::replica::inbound::{Request, Response};
use crate::{codec, limits, time};

/// The servers with which this one agreed to begin, and until when it agrees to no others.
#[derive(Default)]
pub(in crate::replica) struct Founding(Mutex<Option<(BTreeSet<NodeId>, Instant)>>);

impl Founding {
    /// Agrees to begin with `asked`, if that is whom this server would choose, `own`, and it has
    /// not just agreed to begin with others.
    ///
    /// So two sets that have a server in common cannot both begin, whoever sees whom.
    fn agree(&self, asked: &BTreeSet<NodeId>, own: Option<&BTreeSet<NodeId>>) -> bool {
        let mut promised = self.0.lock();
        let now = time::now();
        let bound = promised.as_ref().filter(|(_, until)| *until > now);
        let agreed = own == Some(asked) && bound.is_none_or(|(others, _)| others == asked);
        if agreed {
            *promised = Some((asked.clone(), now + limits::FOUNDING_PROMISE));
        }
        agreed
    }
}

impl Inner {
    /// Whether this server would begin a cluster with these and no others.
    pub(in crate::replica) fn agrees_to_found(&self, asked: &BTreeSet<NodeId>) -> bool {
        if self.raft.is_bootstrapped() {
            return false;
        }
        let chosen = chosen(&self.members(), self.options.expect);
        let own = chosen.map(|chosen| chosen.into_keys().collect());
        self.founding.agree(asked, own.as_ref())
    }
}

/// Forms a new cluster once as many servers as expected see each other and none has a log.
///
/// Only the one with the lowest number does it, and only if all of them would choose the same.
pub(in crate::replica) async fn found(inner: Arc<Inner>, mut shutdown: Shutdown) {
    let forming = async {
        let mut members = inner.members.clone();
        loop {
            if inner.raft.is_bootstrapped() {
                return;
            }
            members.borrow_and_update();
            if let Some(voters) = chosen(&inner.members(), inner.options.expect)
                && voters.first_key_value().map(|(node, _)| *node) == Some(inner.node)
                && all_agree(&inner, voters.keys().copied().collect()).await
            {
                match inner.raft.bootstrap(voters).await {
                    Ok(()) => tracing::info!("formed a new cluster"),
                    Err(error) => tracing::warn!(%error, "could not form a new cluster"),
                }
            }
            // Also without news of members: others may hear of them later than this server.
            let again = tokio::time::timeout(inner.options.heartbeat * 2, members.changed());
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

/// Asks all that are to begin whether they would begin with just these.
async fn all_agree(inner: &Inner, asked: BTreeSet<NodeId>) -> bool {
    if !inner.agrees_to_found(&asked) {
        return false;
    }
    let request = Bytes::from(codec::encode(&Request::Found(asked.clone())));
    let limit = inner.options.election.0;
    let others = asked.iter().filter(|node| **node != inner.node);
    let answers = others.map(|node| inner.raft.call(*node, request.clone(), limit));
    let agrees = |answer: Result<Bytes, raft::CallError>| {
        let answer = answer.ok().and_then(|bytes| codec::decode::<Response>(&bytes).ok());
        matches!(answer, Some(Response::Flag(true)))
    };
    join_all(answers).await.into_iter().all(agrees)
}

/// The servers with which a cluster would begin, as far as `members` says; `None` if there are too
/// few, or there is a cluster already: its leader will ask this server in.
fn chosen(members: &[Arc<Member>], expect: u32) -> Option<BTreeMap<NodeId, Peer>> {
    let expected = usize::try_from(expect).ok().filter(|expect| *expect > 0)?;
    let servers: Vec<&Arc<Member>> =
        members.iter().filter(|member| member.server_port != 0 && member.raft != 0).collect();
    if servers.iter().any(|server| server.bootstrapped) {
        return None;
    }
    let ready = servers
        .into_iter()
        .filter(|server| server.status == MemberStatus::Alive && server.expect == expect);
    let ready: BTreeMap<NodeId, Peer> =
        ready.map(|server| (server.raft, peer_of(server))).collect();
    (ready.len() >= expected).then(|| ready.into_iter().take(expected).collect())
}

#[cfg(test)]
mod tests {
    use super::super::names::tests::member;
    use super::*;

    fn waiting(node: NodeId) -> Member {
        let (id, name) = (format!("id{node}"), format!("n{node}"));
        Member { expect: 3, bootstrapped: false, ..member(&id, &name, node, MemberStatus::Alive) }
    }

    fn numbers(members: Vec<Member>) -> Option<Vec<NodeId>> {
        let members: Vec<_> = members.into_iter().map(Arc::new).collect();
        chosen(&members, 3).map(|chosen| chosen.into_keys().collect())
    }

    #[test]
    fn the_lowest_of_those_that_wait_begin() {
        let four = || [4, 2, 3, 1].map(waiting).to_vec();
        assert_eq!(numbers(four()), Some(vec![1, 2, 3]));
        assert_eq!(numbers(four().into_iter().skip(2).collect()), None);
        let mut there = four();
        there[1].bootstrapped = true;
        assert_eq!(numbers(there), None, "there is a cluster already");
        let mut fewer = four();
        fewer[0].expect = 1;
        fewer[1].status = MemberStatus::Failed;
        assert_eq!(numbers(fewer), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_begins_with_one_set_only() {
        let sets = [[1, 2, 3], [0, 1, 2]].map(BTreeSet::from);
        let founding = Founding::default();
        assert!(!founding.agree(&sets[0], None), "it knows too few");
        assert!(!founding.agree(&sets[0], Some(&sets[1])), "it would choose others");
        assert!(founding.agree(&sets[0], Some(&sets[0])));
        assert!(founding.agree(&sets[0], Some(&sets[0])), "the same again");
        assert!(!founding.agree(&sets[1], Some(&sets[1])), "it has just promised itself");
        tokio::time::advance(limits::FOUNDING_PROMISE).await;
        assert!(founding.agree(&sets[1], Some(&sets[1])));
    }
}
