//! Which server an agent asks, and whether what failed may be tried again (pure).

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::limits;
use crate::model::{Member, MemberStatus, host_port};
use crate::time;

/// A server that can be asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Target {
    /// Its number in Raft.
    pub(super) raft: u64,
    /// Where servers talk to each other.
    pub(super) address: String,
}

/// The servers of a data center that are there.
pub(super) fn targets<'a>(
    members: impl IntoIterator<Item = &'a Member>,
    datacenter: &str,
) -> Vec<Target> {
    let servers = members.into_iter().filter(|member| {
        let is_server = member.server_port != 0 && member.raft != 0;
        is_server && member.status == MemberStatus::Alive && member.datacenter == datacenter
    });
    let target = |member: &Member| Target {
        raft: member.raft,
        address: host_port(&member.address, member.server_port),
    };
    servers.map(target).collect()
}

/// The server in use, and those that failed lately.
#[derive(Debug, Default)]
pub(super) struct Choice {
    current: Option<(u64, Instant)>,
    failed: BTreeMap<u64, Instant>,
}

impl Choice {
    /// The server to ask; `None` only where there is none. It stays the same until it fails, goes,
    /// or its time is over: then chance decides among those that did not fail lately, and among
    /// failed ones the one goes first that failed longest ago.
    pub(super) fn pick<'a>(
        &mut self,
        targets: &'a [Target],
        now: Instant,
        chance: u64,
    ) -> Option<&'a Target> {
        self.failed.retain(|raft, at| {
            let there = targets.iter().any(|target| target.raft == *raft);
            there && now.duration_since(*at) < limits::AGENT_SERVER_REST
        });
        if let Some((raft, until)) = self.current
            && now < until
            && let Some(target) = targets.iter().find(|target| target.raft == raft)
        {
            return Some(target);
        }
        let fit = |target: &&Target| !self.failed.contains_key(&target.raft);
        let fit: Vec<&Target> = targets.iter().filter(fit).collect();
        let number = u64::try_from(fit.len()).unwrap_or(u64::MAX).max(1);
        let drawn = usize::try_from(chance % number).unwrap_or_default();
        let oldest = || targets.iter().min_by_key(|target| self.failed.get(&target.raft));
        let chosen = fit.get(drawn).copied().or_else(oldest)?;
        let span = limits::AGENT_SERVER_TIME;
        let until = now + span + time::jitter(span, 2, chance.rotate_left(32));
        self.current = Some((chosen.raft, until));
        Some(chosen)
    }

    /// A server did not do what it was asked.
    pub(super) fn failed(&mut self, raft: u64, now: Instant) {
        self.failed.insert(raft, now);
        self.current = self.current.filter(|(current, _)| *current != raft);
    }

    /// The number of the server in use.
    pub(super) fn current(&self) -> Option<u64> {
        self.current.map(|(raft, _)| raft)
    }
}

/// Whether something may be done twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Twice {
    /// It reads, or comes to the same: it is asked of another server whatever became of it.
    Harmless,
    /// It writes: it is asked of another server only if it surely was not done.
    Never,
}

/// How one server failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failed {
    /// It surely did nothing.
    Nothing,
    /// It may have done it.
    Perhaps,
}

/// A blocking read that a server held for longer than this was served until the server went.
const SERVED: Duration = Duration::from_secs(1);

/// Failures in a row.
#[derive(Debug, Default)]
pub(super) struct Row {
    first: Option<Instant>,
}

impl Row {
    /// Takes down a failure of what was asked and ended at these times, and tells how long nothing
    /// has been done by now. What `blocks` was served as long as it waited: the row begins anew.
    pub(super) fn failed(&mut self, (asked, ended): (Instant, Instant), blocks: bool) -> Duration {
        let served = blocks && ended.duration_since(asked) > SERVED;
        let first = if served { ended } else { self.first.unwrap_or(asked) };
        self.first = Some(first);
        ended.duration_since(first)
    }
}

/// Whether to ask on, `so_far` after the first failure in a row, and at most for `hold`.
pub(super) fn asks_on(twice: Twice, failed: Failed, so_far: Duration, hold: Duration) -> bool {
    let safe = match (twice, failed) {
        (Twice::Harmless, _) | (Twice::Never, Failed::Nothing) => true,
        (Twice::Never, Failed::Perhaps) => false,
    };
    safe && so_far < hold
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn three() -> Vec<Target> {
        (1..=3).map(|raft| Target { raft, address: format!("10.0.0.{raft}:8300") }).collect()
    }

    #[test]
    fn a_server_is_kept_for_its_time_and_then_chance_decides() {
        let (all, now) = (three(), time::now());
        let mut choice = Choice::default();
        let first = choice.pick(&all, now, 7).unwrap().raft;
        for (chance, after) in [(0, 0), (1, 60), (2, 119)] {
            let again = choice.pick(&all, now + Duration::from_secs(after), chance);
            assert_eq!(again.unwrap().raft, first);
        }
        let later = now + limits::AGENT_SERVER_TIME * 2;
        let drawn: BTreeSet<u64> = (0..30)
            .map(|chance| {
                let mut fresh = Choice { current: choice.current, ..Choice::default() };
                fresh.pick(&all, later, chance).unwrap().raft
            })
            .collect();
        assert_eq!(drawn, BTreeSet::from([1, 2, 3]));
    }

    #[test]
    fn times_differ_so_that_agents_do_not_move_together() {
        let (all, now) = (three(), time::now());
        let ends = (0..50_u64).map(|chance| {
            let mut choice = Choice::default();
            choice.pick(&all, now, chance.wrapping_mul(0x9e37_79b9_7f4a_7c15)).unwrap();
            choice.current.unwrap().1 - now
        });
        let ends: BTreeSet<Duration> = ends.collect();
        assert!(ends.len() > 40, "{ends:?}");
        assert!(ends.iter().all(|end| {
            *end >= limits::AGENT_SERVER_TIME && *end <= limits::AGENT_SERVER_TIME * 3 / 2
        }));
    }

    #[test]
    fn who_failed_rests_and_who_went_is_not_asked() {
        let (all, now) = (three(), time::now());
        let mut choice = Choice::default();
        let first = choice.pick(&all, now, 0).unwrap().raft;
        choice.failed(first, now);
        for chance in 0..20 {
            let other = choice.pick(&all, now, chance).unwrap().raft;
            assert_ne!(other, first);
            choice.current = None;
        }
        let second = choice.pick(&all, now, 0).unwrap().raft;
        let without: Vec<Target> = all.iter().filter(|it| it.raft != second).cloned().collect();
        let third = choice.pick(&without, now, 0).unwrap().raft;
        assert!(third != first && third != second);
        choice.failed(third, now + Duration::from_secs(1));
        let oldest = choice.pick(&without, now + Duration::from_secs(2), 0).unwrap().raft;
        assert_eq!(oldest, first, "where all failed, the one that failed longest ago");
        choice.failed(first, now + Duration::from_secs(2));
        assert_eq!(choice.pick(&[], now, 0), None);
        let rested = now + Duration::from_secs(2) + limits::AGENT_SERVER_REST;
        let drawn: BTreeSet<u64> = (0..30)
            .map(|chance| {
                choice.current = None;
                choice.pick(&all, rested, chance).unwrap().raft
            })
            .collect();
        assert_eq!(drawn.len(), 3, "rested servers are as good as any");
    }

    #[test]
    fn a_wait_that_one_server_after_another_held_is_no_long_failure() {
        let start = time::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut row = Row::default();
        let so_far: Vec<u64> = [(0, 3), (3, 8), (8, 8), (8, 9), (9, 15)]
            .map(|(asked, ended)| row.failed((at(asked), at(ended)), true).as_secs())
            .to_vec();
        assert_eq!(so_far, [0, 0, 0, 1, 0]);
        let mut row = Row::default();
        let so_far = [(0, 3), (3, 8)]
            .map(|(asked, ended)| row.failed((at(asked), at(ended)), false).as_secs());
        assert_eq!(so_far, [3, 8], "what does not block is not served while it hangs");
    }

    #[test]
    fn only_what_may_be_done_twice_is_asked_again() {
        let (short, hold) = (Duration::from_secs(1), Duration::from_secs(7));
        for (twice, failed, so_far, wanted) in [
            (Twice::Harmless, Failed::Nothing, short, true),
            (Twice::Harmless, Failed::Perhaps, short, true),
            (Twice::Never, Failed::Nothing, short, true),
            (Twice::Never, Failed::Perhaps, short, false),
            (Twice::Harmless, Failed::Perhaps, hold, false),
            (Twice::Never, Failed::Nothing, hold, false),
        ] {
            assert_eq!(asks_on(twice, failed, so_far, hold), wanted, "{twice:?} {failed:?}");
        }
    }

    #[test]
    fn servers_are_told_from_agents_and_from_the_gone() {
        let member = |name: &str, server_port, raft, status| Member {
            id: String::new(),
            name: name.to_owned(),
            address: "10.0.0.1".to_owned(),
            port: 8301,
            server_port,
            datacenter: "dc1".to_owned(),
            expect: 0,
            bootstrapped: false,
            tags: BTreeMap::new(),
            status,
            generation: 1,
            raft,
        };
        let elsewhere =
            Member { datacenter: "dc2".to_owned(), ..member("far", 8300, 9, MemberStatus::Alive) };
        let all = [
            member("server", 8300, 1, MemberStatus::Alive),
            member("agent", 0, 0, MemberStatus::Alive),
            member("failed", 8300, 3, MemberStatus::Failed),
            member("left", 8300, 4, MemberStatus::Left),
            member("leaving", 8300, 5, MemberStatus::Leaving),
            elsewhere,
        ];
        let found = targets(&all, "dc1");
        assert_eq!(found, [Target { raft: 1, address: "10.0.0.1:8300".to_owned() }]);
    }
}
