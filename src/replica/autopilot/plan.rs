//! What the leader does next about Raft's membership (pure): who is taken in, who gets a vote, who
//! goes. One rule is above all others: no step leaves fewer voters that answer than a majority of
//! those that there are after it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use raft::{NodeId, Peer, Status};

use super::names::{Names, is_there};
use crate::model::{Autopilot, Member, MemberStatus, host_port};

/// All that a step is decided from.
#[derive(Debug)]
pub(super) struct Scene<'a> {
    /// Raft as the leader sees it.
    pub(super) raft: &'a Status,
    /// How long ago each other server answered the leader.
    pub(super) contacts: &'a BTreeMap<NodeId, Duration>,
    /// A server that has been silent for longer does not answer.
    pub(super) silence_max: Duration,
    /// The members of the pool, servers and others.
    pub(super) members: &'a [Arc<Member>],
    /// Who of them stands for which name.
    pub(super) names: &'a Names,
    /// The cluster's settings.
    pub(super) settings: &'a Autopilot,
    /// The servers that have been well for long enough.
    pub(super) stable: &'a BTreeSet<NodeId>,
    /// The servers that asked to be let go.
    pub(super) leavers: &'a BTreeSet<NodeId>,
    /// Whether the pool has had the time to show everyone.
    pub(super) seasoned: bool,
}

/// One change of the membership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Ends a change of voters that was left half done.
    Settle,
    /// Takes a new server in, without a vote.
    Add(NodeId, Peer),
    /// Notes a server's new name or address.
    Update(NodeId, Peer),
    /// Gives a server its vote.
    Promote(NodeId),
    /// Takes a server out.
    Remove(NodeId, Why),
}

/// Why a server is taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Its id came back with another disk.
    Replaced,
    /// It left.
    Left,
    /// The pool says that it failed, and it does not answer.
    Failed,
    /// The pool does not know it, and it does not answer.
    Unknown,
}

impl Why {
    /// For the log.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Replaced => "its id came back with another disk",
            Self::Left => "it left",
            Self::Failed => "it failed",
            Self::Unknown => "no member of the pool stands for it",
        }
    }
}

/// The steps that may be done now, the most urgent first. Once one is done, the rest is void.
pub(super) fn steps(scene: &Scene<'_>) -> Vec<Step> {
    let mut steps = Vec::new();
    steps.extend(scene.raft.joint.then_some(Step::Settle));
    steps.extend(updates(scene));
    steps.extend(leaves(scene));
    steps.extend(removals(scene));
    steps.extend(additions(scene));
    steps.extend(promotions(scene));
    steps
}

/// Why an operator must not take a server out now, if so.
pub(super) fn objection(scene: &Scene<'_>, node: NodeId) -> Option<String> {
    if !scene.raft.voters.contains(&node) || scene.may_go(node) {
        return None;
    }
    let (left, there) = scene.without(node);
    if left == 0 {
        return Some("it is the last voter".to_owned());
    }
    // A dead one that goes makes a majority no harder to reach.
    (node == scene.raft.node || scene.answers(node)).then(|| {
        format!(
            "it answers, and of the {left} voters that would be left only {there} do: remove those \
             that are gone first"
        )
    })
}

/// Who should lead next: of the other voters that answer, one that stays, with the longest log.
pub(super) fn heir(scene: &Scene<'_>) -> Option<NodeId> {
    let others = scene.raft.voters.iter().copied();
    let fit = others.filter(|node| *node != scene.raft.node && scene.answers(*node));
    fit.max_by_key(|node| {
        let stays = scene.member(*node).is_some_and(|member| member.status == MemberStatus::Alive);
        (stays, scene.raft.matched.get(node).copied(), std::cmp::Reverse(*node))
    })
}

impl Scene<'_> {
    /// The member whose disk has this number.
    fn member(&self, node: NodeId) -> Option<&Arc<Member>> {
        self.members.iter().find(|member| member.raft == node)
    }

    /// Whether a server answers the leader.
    fn answers(&self, node: NodeId) -> bool {
        let heard = |age: &Duration| *age <= self.silence_max;
        node == self.raft.node || self.contacts.get(&node).is_some_and(heard)
    }

    /// How many voters there are without `node`, and how many of these answer.
    fn without(&self, node: NodeId) -> (usize, usize) {
        let rest = self.raft.voters.iter().filter(|voter| **voter != node);
        if planted!("planted_b19") {
            // B19: whoever answers counts, with a vote or without.
            let all = self.raft.peers.keys().filter(|peer| **peer != node);
            return (rest.count(), all.filter(|peer| self.answers(**peer)).count());
        }
        (rest.clone().count(), rest.filter(|voter| self.answers(**voter)).count())
    }

    /// Whether those that answer are still a majority once `node` is gone.
    fn may_go(&self, node: NodeId) -> bool {
        if !self.raft.voters.contains(&node) {
            return true;
        }
        let (left, there) = self.without(node);
        left > 0 && there > left / 2
    }

    /// Whether those that answer are still a majority once `node` votes.
    fn may_vote(&self, node: NodeId) -> bool {
        let voters = self.raft.voters.iter().chain([&node]);
        let there = voters.filter(|voter| self.answers(**voter)).count();
        there > self.raft.voters.len().saturating_add(1) / 2
    }

    /// What is wrong with a server that does not answer, if something is.
    fn loss(&self, node: NodeId, peer: &Peer) -> Option<Why> {
        if node == self.raft.node || self.answers(node) {
            return None;
        }
        match self.member(node).map(|member| member.status) {
            Some(MemberStatus::Left) => Some(Why::Left),
            Some(MemberStatus::Failed) => Some(Why::Failed),
            Some(MemberStatus::Alive | MemberStatus::Leaving) => None,
            None if self.members.iter().any(|member| member.id == peer.id && member.raft != 0) => {
                Some(Why::Replaced)
            }
            None => self.seasoned.then_some(Why::Unknown),
        }
    }

    /// The servers that are lost, each with why.
    fn lost(&self) -> Vec<(NodeId, Why)> {
        let peers = self.raft.peers.iter();
        peers.filter_map(|(node, peer)| Some((*node, self.loss(*node, peer)?))).collect()
    }
}

/// Members that Raft knows by another name or address.
fn updates(scene: &Scene<'_>) -> Vec<Step> {
    let update = |(node, known): (&NodeId, &Peer)| {
        let member = scene.member(*node).filter(|member| is_there(member))?;
        let peer = peer_of(member);
        (peer != *known).then_some(Step::Update(*node, peer))
    };
    scene.raft.peers.iter().filter_map(update).collect()
}

/// Servers that asked to be let go. Where one of them is needed because others are dead, these go
/// first, if that may be.
fn leaves(scene: &Scene<'_>) -> Vec<Step> {
    let leavers = scene.leavers.iter().filter(|node| {
        **node != scene.raft.node && scene.raft.peers.contains_key(node) && scene.has_left(**node)
    });
    let leavers: Vec<NodeId> = leavers.copied().collect();
    let free = leavers.iter().filter(|node| scene.may_go(**node));
    let mut steps: Vec<Step> = free.map(|node| Step::Remove(*node, Why::Left)).collect();
    if steps.len() < leavers.len() {
        let dead = scene.lost().into_iter().filter(|(node, _)| scene.may_go(*node));
        steps.extend(dead.map(|(node, why)| Step::Remove(node, why)));
    }
    steps
}

impl Scene<'_> {
    /// Whether the pool says that a server left, or knows nothing of it any more.
    fn has_left(&self, node: NodeId) -> bool {
        self.member(node).is_none_or(|member| member.status == MemberStatus::Left)
    }
}

/// Servers that are gone. One that left, or whose disk was replaced, goes at once; one that is
/// dead by Consul's rule: only while the dead are few, and never below the settings' minimum.
///
/// Consul asks that all that are dead at one moment be fewer than half of the voters, rounded
/// down: five voters lose two that die one after another, and keep two that die together. Here
/// that is asked of each as if it were alone, which comes to the same for both.
fn removals(scene: &Scene<'_>) -> Vec<Step> {
    let peers = scene.raft.voters.len();
    let keeps = usize::try_from(scene.settings.min_quorum).unwrap_or(usize::MAX);
    let few = 1 < peers / 2 && peers.saturating_sub(1) >= keeps;
    let goes = |(node, why): &(NodeId, Why)| match why {
        Why::Replaced | Why::Left => scene.may_go(*node),
        Why::Failed | Why::Unknown => {
            let votes = scene.raft.voters.contains(node);
            scene.settings.cleanup_dead_servers && (!votes || (few && scene.may_go(*node)))
        }
    };
    let lost = scene.lost().into_iter().filter(goes);
    lost.map(|(node, why)| Step::Remove(node, why)).collect()
}

/// Living servers that Raft does not know.
fn additions(scene: &Scene<'_>) -> Vec<Step> {
    let new = scene.members.iter().filter(|member| {
        member.status == MemberStatus::Alive
            && member.server_port != 0
            && member.raft != 0
            && !scene.raft.peers.contains_key(&member.raft)
            && !scene.names.refuses(member)
    });
    new.map(|member| Step::Add(member.raft, peer_of(member))).collect()
}

/// Learners that have been well for long enough.
fn promotions(scene: &Scene<'_>) -> Vec<Step> {
    let ready = scene.raft.learners.iter().filter(|node| {
        let member = scene.member(**node);
        let alive = |member: &Arc<Member>| {
            member.status == MemberStatus::Alive && !scene.names.refuses(member)
        };
        scene.stable.contains(node) && member.is_some_and(alive) && scene.may_vote(**node)
    });
    ready.map(|node| Step::Promote(*node)).collect()
}

/// A member as Raft's membership has it.
pub(super) fn peer_of(member: &Member) -> Peer {
    Peer {
        id: member.id.clone(),
        name: member.name.clone(),
        address: host_port(&member.address, member.server_port),
    }
}

#[cfg(test)]
mod tests {
    use super::super::names::tests::member;
    use super::*;

    /// A situation in words: `1+` a voter that answers, `1-` one that does not, `1l` a learner
    /// that answers, `1x` one that does not; the first leads.
    struct Case {
        servers: &'static str,
        /// `1a` alive, `1f` failed, `1l` left, `1r` its id with the number 1 + 100.
        pool: &'static str,
        stable: &'static [NodeId],
        leavers: &'static [NodeId],
        settings: Autopilot,
        seasoned: bool,
        joint: bool,
    }

    impl Case {
        fn new(servers: &'static str, pool: &'static str) -> Self {
            let settings = Autopilot::default();
            let (stable, leavers): (&[NodeId], &[NodeId]) = (&[], &[]);
            Self { servers, pool, stable, leavers, settings, seasoned: true, joint: false }
        }

        fn stable(self, stable: &'static [NodeId]) -> Self {
            Self { stable, ..self }
        }

        fn leavers(self, leavers: &'static [NodeId]) -> Self {
            Self { leavers, ..self }
        }

        fn settings(self, change: impl FnOnce(&mut Autopilot)) -> Self {
            let mut settings = self.settings.clone();
            change(&mut settings);
            Self { settings, ..self }
        }

        fn ask<T>(&self, ask: impl FnOnce(&Scene<'_>) -> T) -> T {
            let mut raft = Status { joint: self.joint, ..Status::default() };
            let (mut peers, mut voters, mut learners) =
                (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
            let mut contacts = BTreeMap::new();
            for (node, kind) in marks(self.servers) {
                raft.node = if raft.node == 0 { node } else { raft.node };
                peers.insert(node, peer_of(&numbered(node, MemberStatus::Alive)));
                let set = if "+-".contains(kind) { &mut voters } else { &mut learners };
                set.insert(node);
                let age = if "+l".contains(kind) { 100 } else { 60_000 };
                contacts.insert(node, Duration::from_millis(age));
            }
            (raft.peers, raft.voters) = (peers.into(), voters.into());
            raft.learners = learners.into();
            let members: Vec<Arc<Member>> = marks(self.pool)
                .map(|(node, kind)| {
                    Arc::new(match kind {
                        'f' => numbered(node, MemberStatus::Failed),
                        'l' => numbered(node, MemberStatus::Left),
                        'r' => Member { raft: node + 100, ..numbered(node, MemberStatus::Alive) },
                        _ => numbered(node, MemberStatus::Alive),
                    })
                })
                .collect();
            ask(&Scene {
                raft: &raft,
                contacts: &contacts,
                silence_max: Duration::from_secs(1),
                members: &members,
                names: &Names::of(&members, |_| None),
                settings: &self.settings,
                stable: &self.stable.iter().copied().collect(),
                leavers: &self.leavers.iter().copied().collect(),
                seasoned: self.seasoned,
            })
        }

        /// The steps in short: `+4` in, `^4` votes, `-4` out, `~4` noted anew, `=` settled.
        fn steps(&self) -> String {
            let short = |step: &Step| match step {
                Step::Settle => "=".to_owned(),
                Step::Add(node, _) => format!("+{node}"),
                Step::Update(node, _) => format!("~{node}"),
                Step::Promote(node) => format!("^{node}"),
                Step::Remove(node, _) => format!("-{node}"),
            };
            self.ask(|scene| steps(scene).iter().map(short).collect::<Vec<_>>().join(" "))
        }
    }

    fn numbered(node: NodeId, status: MemberStatus) -> Member {
        member(&format!("id{node}"), &format!("n{node}"), node, status)
    }

    fn marks(text: &str) -> impl Iterator<Item = (NodeId, char)> {
        text.split_whitespace().map(|word| {
            let (number, kind) = word.split_at(word.len() - 1);
            (number.parse().unwrap(), kind.chars().next().unwrap())
        })
    }

    #[test]
    fn new_servers_come_in_and_get_their_vote_when_they_are_stable() {
        for (case, want) in [
            (Case::new("1+ 2+ 3+", "1a 2a 3a"), ""),
            (Case::new("1+ 2+ 3+", "1a 2a 3a 4a"), "+4"),
            (Case::new("1+ 2+ 3+", "1a 2a 3a 4f 5l"), ""),
            (Case::new("1+ 2+ 3+ 4l", "1a 2a 3a 4a"), ""),
            (Case::new("1+ 2+ 3+ 4l", "1a 2a 3a 4a").stable(&[4]), "^4"),
            (Case::new("1+ 2+ 3+ 4l", "1a 2a 3a").stable(&[4]), ""),
            // With one of three dead a fourth is welcome: three of four answer.
            (Case::new("1+ 2+ 3- 4l", "1a 2a 3f 4a").stable(&[4]), "^4"),
            // One that does not answer is no help.
            (Case::new("1+ 2+ 3- 4x", "1a 2a 3f 4a").stable(&[4]), ""),
            (Case { joint: true, ..Case::new("1+ 2+ 3+", "1a 2a 3a") }, "="),
        ] {
            assert_eq!(case.steps(), want, "{} / {}", case.servers, case.pool);
        }
    }

    #[test]
    fn the_dead_go_while_they_are_few() {
        for (case, want) in [
            (Case::new("1+ 2+ 3-", "1a 2a 3f"), ""),
            (Case::new("1+ 2+ 3+ 4-", "1a 2a 3a 4f"), "-4"),
            (Case::new("1+ 2+ 3+ 4+ 5-", "1a 2a 3a 4a 5f"), "-5"),
            // Both may go, one after the other: then three are left, all of which answer.
            (Case::new("1+ 2+ 3+ 4- 5-", "1a 2a 3a 4f 5f"), "-4 -5"),
            (Case::new("1+ 2+ 3+ 5-", "1a 2a 3a 5f"), "-5"),
            // Without four that answer of seven there is no quorum to remove anyone with.
            (Case::new("1+ 2+ 3+ 4- 5- 6- 7-", "1a 2a 3a 4f 5f 6f 7f"), ""),
            // The pool may be wrong about one that answers Raft.
            (Case::new("1+ 2+ 3+ 4+", "1a 2a 3a 4f"), ""),
            // Raft may be slow with one that the pool sees.
            (Case::new("1+ 2+ 3+ 4-", "1a 2a 3a 4a"), ""),
            // Stale: no member stands for it. Not while the pool may not be whole.
            (Case::new("1+ 2+ 3+ 4-", "1a 2a 3a"), "-4"),
            (Case { seasoned: false, ..Case::new("1+ 2+ 3+ 4-", "1a 2a 3a") }, ""),
            (Case::new("1+ 2+ 3-", "1a 2a"), ""),
            // One without a vote is no loss.
            (Case::new("1+ 2+ 3x", "1a 2a 3f"), "-3"),
            (Case::new("1+ 2+ 3x", "1a 2a"), "-3"),
        ] {
            assert_eq!(case.steps(), want, "{} / {}", case.servers, case.pool);
        }
        let four = || Case::new("1+ 2+ 3+ 4-", "1a 2a 3a 4f");
        assert_eq!(four().settings(|it| it.cleanup_dead_servers = false).steps(), "");
        assert_eq!(four().settings(|it| it.min_quorum = 4).steps(), "");
        assert_eq!(four().settings(|it| it.min_quorum = 3).steps(), "-4");
        let learner = Case::new("1+ 2+ 3x", "1a 2a 3f");
        assert_eq!(learner.settings(|it| it.cleanup_dead_servers = false).steps(), "");
    }

    #[test]
    fn a_wiped_disk_is_another_server() {
        // Its old number goes first, where that leaves a majority; the new one comes in anyhow.
        assert_eq!(Case::new("1+ 2+ 3-", "1a 2a 3r").steps(), "-3 +103");
        assert_eq!(Case::new("1+ 2+", "1a 2a 3r").steps(), "+103");
        // As long as the old one answers, two servers use one id.
        assert_eq!(Case::new("1+ 2+ 3+", "1a 2a 3r").steps(), "+103");
        // Also where the dead are not cleaned up: this one surely never comes back.
        let kept = Case::new("1+ 2+ 3-", "1a 2a 3r");
        assert_eq!(kept.settings(|it| it.cleanup_dead_servers = false).steps(), "-3 +103");
        assert_eq!(Case::new("1+ 2- 3-", "1a 2r 3f").steps(), "+102");
    }

    #[test]
    fn leaving_is_safe() {
        for (case, want) in [
            // One that left goes on serving, and voting, until it asks or does not answer.
            (Case::new("1+ 2+ 3+", "1a 2a 3l"), ""),
            (Case::new("1+ 2+ 3+", "1a 2a 3l").leavers(&[3]), "-3"),
            (Case::new("1+ 2+ 3-", "1a 2a 3l"), "-3"),
            (Case::new("1+ 2+", "1a 2l").leavers(&[2]), "-2"),
            // Who says so but is alive in the pool was brought back.
            (Case::new("1+ 2+ 3+", "1a 2a 3a").leavers(&[3]), ""),
            // Never oneself: another must lead first.
            (Case::new("1+ 2+ 3+", "1l 2a 3a").leavers(&[1]), ""),
            // One of three is dead and another leaves: the dead one goes first.
            (Case::new("1+ 2+ 3-", "1a 2l 3f").leavers(&[2]), "-3"),
            (Case::new("1+ 2+", "1a 2l").leavers(&[2]), "-2"),
            // Two of five are dead: likewise, one, and then there is room.
            (Case::new("1+ 2+ 3+ 4- 5-", "1a 2a 3l 4f 5f").leavers(&[3]), "-4 -5 -4 -5"),
            (Case::new("1+ 2+ 3+ 5-", "1a 2a 3l 5f").leavers(&[3]), "-3 -5"),
            (Case::new("1+ 2+ 3l", "1a 2a 3l").leavers(&[3]), "-3"),
        ] {
            assert_eq!(case.steps(), want, "{} / {}", case.servers, case.pool);
        }
    }

    #[test]
    fn an_address_is_followed() {
        let case = Case::new("1+ 2+", "1a 2a");
        let moved = |scene: &Scene<'_>| {
            let mut members = scene.members.to_vec();
            members[1] = Arc::new(Member { address: "10.9.9.9".into(), ..(*members[1]).clone() });
            steps(&Scene { members: &members, ..*scene })
        };
        let peer = Peer { id: "id2".into(), name: "n2".into(), address: "10.9.9.9:8300".into() };
        assert_eq!(case.ask(moved), [Step::Update(2, peer)]);
    }

    /// A leader and four servers, each with a vote or without, which answers or does not, with
    /// every word of the pool about each.
    fn all_cases() -> impl Iterator<Item = Case> {
        let words = |first: &str, number: usize, choice: [&str; 4]| {
            let word = |at: u32| {
                let word = choice[number / choice.len().pow(at) % choice.len()];
                format!("{}{word}", at + 2)
            };
            let others: Vec<String> = (0..4).map(word).collect();
            format!("1{first} {}", others.join(" ")).leak() as &'static str
        };
        (0..4_usize.pow(4)).flat_map(move |servers| {
            (0..4_usize.pow(4)).map(move |pool| {
                let servers = words("+", servers, ["+", "-", "l", "x"]);
                let pool = words("a", pool, ["a", "f", "l", "r"]);
                Case::new(servers, pool).leavers(&[2, 3, 4, 5])
            })
        })
    }

    /// Whatever is dead, and whatever the pool says: no step takes the majority away.
    #[test]
    fn no_step_loses_the_quorum() {
        let mut looked_at = 0;
        let mut look = |scene: &Scene<'_>, step: &Step, case: &Case| {
            let Step::Remove(node, _) = step else { return };
            looked_at += 1;
            assert_ne!(*node, 1, "the leader takes itself out");
            if !scene.raft.voters.contains(node) {
                return;
            }
            // Counted from the words of the case: only who has a vote counts.
            let left = |kind| {
                marks(case.servers).filter(|(other, is)| other != node && *is == kind).count()
            };
            let (there, silent) = (left('+'), left('-'));
            assert!(there > silent, "{} / {}: -{node}", case.servers, case.pool);
        };
        for case in all_cases() {
            case.ask(|scene| steps(scene).iter().for_each(|step| look(scene, step, &case)));
        }
        assert!(looked_at > 1_000, "{looked_at}");
    }

    #[test]
    fn who_answers_and_stays_leads_next() {
        let heir_of = |servers, pool, logs: &'static [(NodeId, u64)]| {
            Case::new(servers, pool).ask(|scene| {
                let raft = Status { matched: logs.iter().copied().collect(), ..scene.raft.clone() };
                heir(&Scene { raft: &raft, ..*scene })
            })
        };
        assert_eq!(heir_of("1+ 2+ 3+", "1a 2a 3a", &[(2, 9), (3, 8)]), Some(2));
        assert_eq!(heir_of("1+ 2+ 3+", "1a 2a 3a", &[(2, 8), (3, 9)]), Some(3));
        assert_eq!(heir_of("1+ 2+ 3-", "1a 2a 3f", &[(2, 8), (3, 9)]), Some(2), "3 is dead");
        assert_eq!(heir_of("1+ 2+ 3+", "1a 2a 3l", &[(2, 8), (3, 9)]), Some(2), "3 leaves");
        assert_eq!(heir_of("1+ 2+ 3+", "1a 2l 3l", &[(2, 9), (3, 8)]), Some(2), "better than none");
        assert_eq!(heir_of("1+ 2l 3-", "1a 2a 3a", &[(2, 9)]), None);
    }

    #[test]
    fn an_operator_is_told_why_not() {
        let objects = |servers, node| Case::new(servers, "").ask(|scene| objection(scene, node));
        assert_eq!(objects("1+ 2+ 3+", 3), None);
        assert_eq!(objects("1+ 2+ 3-", 3), None);
        assert_eq!(objects("1+ 2- 3-", 3), None, "a dead one may always go");
        assert_eq!(objects("1+ 2+ 3l", 3), None);
        assert_eq!(objects("1+", 1).unwrap(), "it is the last voter");
        assert!(objects("1+ 2+ 3- 4l", 2).is_some(), "who has no vote is no majority");
        let why = objects("1+ 2+ 3-", 2).unwrap();
        assert!(why.starts_with("it answers, and of the 2 voters that would be left only 1"));
        assert!(objects("1+ 2+ 3-", 1).is_some(), "the leader, of itself");
    }
}
