//! What a cluster without other faults does when one server is cut off: one election if it led,
//! none if it did not, and none when it comes back.
//!
//! Source of both: Ongaro, "Consensus: Bridging Theory and Practice", 2014, sections 3.4 and 9.6.

use std::collections::BTreeSet;
use std::time::Duration;

use portolan::replica::ClusterStatus;
use raft::sim::World;

use crate::arena::Arena;

/// How long one is cut off: much longer than a server waits before it wants to lead.
const CUT: Duration = Duration::from_secs(4);
/// How long after it is back all must be as before: longer than an election takes.
const CALM: Duration = Duration::from_secs(2);
/// By when the cluster must have a leader, and every server a vote.
const SETTLED: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(100);
/// With fewer servers, one that is cut off leaves no majority.
const SERVERS_MIN: usize = 3;

/// Who leads, and the newest term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reign {
    leader: u64,
    term: u64,
}

/// Cuts a follower off, then the leader. Says what was not as it must be.
pub(crate) async fn judge(world: &World, arena: &Arena) -> Result<(), String> {
    if arena.doors().len() < SERVERS_MIN {
        return Ok(());
    }
    let first = settled(arena).await?;
    let follower = arena.doors().iter().map(|(number, _)| *number).find(|it| *it != first.leader);
    isolate(world, arena, follower.expect("there are others")).await;
    let second = reign(arena);
    if second != Some(first) {
        return Err(format!("a follower was cut off and came back: {first:?} became {second:?}"));
    }
    isolate(world, arena, first.leader).await;
    let third = reign(arena);
    let one = third.is_some_and(|it| it.leader != first.leader && it.term == first.term + 1);
    if !one {
        return Err(format!("the leader was cut off and came back: {first:?} became {third:?}"));
    }
    Ok(())
}

/// Cuts one server off from all others for a while.
async fn isolate(world: &World, arena: &Arena, one: u64) {
    let others = arena.doors().into_iter().map(|(number, _)| number).filter(|it| *it != one);
    let cuts: BTreeSet<(u64, u64)> = others.flat_map(|it| [(one, it), (it, one)]).collect();
    world.net.set_cuts(cuts);
    tokio::time::sleep(CUT).await;
    world.net.set_cuts(BTreeSet::new());
    tokio::time::sleep(CALM).await;
}

/// Waits for a leader that all servers vote for.
async fn settled(arena: &Arena) -> Result<Reign, String> {
    let until = portolan::time::now() + SETTLED;
    loop {
        let all = statuses(arena);
        let vote = |status: &ClusterStatus| {
            status.servers.len() == all.len() && status.servers.iter().all(|server| server.voter)
        };
        if let Some(reign) = reign(arena)
            && all.iter().all(|(_, status)| vote(status))
        {
            return Ok(reign);
        }
        if portolan::time::now() > until {
            return Err(format!("not every server has a vote: {all:?}"));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The leader and the term that all servers name; `None` if they do not agree.
fn reign(arena: &Arena) -> Option<Reign> {
    let all = statuses(arena);
    let (leader, of_leader) = all.iter().find(|(_, status)| status.is_leader)?;
    let agrees =
        |status: &ClusterStatus| status.term == of_leader.term && status.leader == of_leader.leader;
    let agreed = all.iter().all(|(_, status)| agrees(status));
    agreed.then_some(Reign { leader: *leader, term: of_leader.term })
}

fn statuses(arena: &Arena) -> Vec<(u64, ClusterStatus)> {
    let doors = arena.doors().into_iter();
    doors.map(|(number, (replica, _))| (number, replica.status())).collect()
}
