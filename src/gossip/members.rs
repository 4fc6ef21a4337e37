//! What this member knows of the others, and the rules by which news of them counts (pure).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::limits;
use crate::model::{Member, MemberList, MemberStatus};

/// Unanswered calls in a row after which a member has failed.
const MISSES_MAX: u32 = 3;

/// The tag of a member that left and is to be shown no more. No member gives itself this one.
const PRUNED: &str = "pruned";

/// All known members by id, this one among them.
pub(super) struct Members {
    me: String,
    known: BTreeMap<String, Known>,
}

struct Known {
    member: Member,
    misses: u32,
}

impl Members {
    pub(super) fn new(me: Member) -> Self {
        let id = me.id.clone();
        Self { known: BTreeMap::from([(id.clone(), Known { member: me, misses: 0 })]), me: id }
    }

    /// This member.
    pub(super) fn me(&self) -> &Member {
        &self.known[&self.me].member
    }

    /// Changes what this member says of itself.
    pub(super) fn change_me(&mut self, change: impl FnOnce(&mut Member)) {
        let me = self.known.get_mut(&self.me).expect("this member always knows itself");
        change(&mut me.member);
    }

    /// Everyone, by name.
    pub(super) fn all(&self) -> MemberList {
        let all = self.known.values().map(|known| Arc::new(known.member.clone()));
        let mut all: Vec<Arc<Member>> = all.collect();
        all.sort_by(|one, two| one.name.cmp(&two.name).then_with(|| one.id.cmp(&two.id)));
        all.into()
    }

    /// The others that should answer: all but those that left.
    pub(super) fn to_call(&self) -> Vec<Member> {
        let others = self.known.values().map(|known| &known.member);
        others.filter(|m| m.id != self.me && m.status != MemberStatus::Left).cloned().collect()
    }

    /// Takes in what `from` said of itself and of others; `from` is alive, for it spoke.
    pub(super) fn hear(&mut self, from: &Member, others: &[Member]) {
        self.saw(from);
        for other in others {
            if other.id != from.id {
                self.heard_of(other);
            }
        }
    }

    /// A member spoke for itself.
    fn saw(&mut self, member: &Member) {
        if member.id == self.me || self.is_full_for(member) {
            return;
        }
        let older = self.known.get(&member.id).is_some_and(|known| {
            known.member.generation > member.generation
                || (known.member.generation == member.generation
                    && known.member.status == MemberStatus::Left)
        });
        if !older {
            let known = Known { member: member.clone(), misses: 0 };
            self.known.insert(member.id.clone(), known);
        }
    }

    /// Somebody told of a member: that it exists or left is news; life and death are not, for
    /// this member sees them itself.
    fn heard_of(&mut self, member: &Member) {
        if member.id == self.me || self.is_full_for(member) {
            return;
        }
        match self.known.get_mut(&member.id) {
            Some(known) if known.member.generation > member.generation => {}
            Some(known) if known.member.generation == member.generation => {
                if member.status == MemberStatus::Left {
                    known.member.status = MemberStatus::Left;
                }
                if is_pruned(member) {
                    known.member.tags.insert(PRUNED.to_owned(), String::new());
                }
            }
            Some(_) | None => {
                let known = Known { member: member.clone(), misses: 0 };
                self.known.insert(member.id.clone(), known);
            }
        }
    }

    fn is_full_for(&self, member: &Member) -> bool {
        self.known.len() >= limits::MEMBERS_MAX && !self.known.contains_key(&member.id)
    }

    /// A call of this member was not answered; true when that makes it failed.
    pub(super) fn missed(&mut self, id: &str) -> bool {
        let Some(known) = self.known.get_mut(id) else { return false };
        known.misses = known.misses.saturating_add(1);
        let fails = known.misses >= MISSES_MAX && known.member.status == MemberStatus::Alive;
        if fails {
            known.member.status = MemberStatus::Failed;
        }
        fails
    }

    /// Everyone who is to be shown: all but those that left and were told to be forgotten.
    pub(super) fn shown(&self) -> Vec<Member> {
        let mut all: Vec<Member> = self.all().iter().map(|member| Member::clone(member)).collect();
        all.retain(|member| !is_pruned(member));
        all
    }

    /// Has the members of a name that left shown no more, here and, as they hear of it, elsewhere.
    pub(super) fn prune(&mut self, name: &str) {
        for known in self.known.values_mut() {
            let member = &mut known.member;
            if member.name == name && member.status == MemberStatus::Left && member.id != self.me {
                member.tags.insert(PRUNED.to_owned(), String::new());
            }
        }
    }

    /// Declares a member that does not answer gone; false when there is none of this name.
    pub(super) fn force_leave(&mut self, name: &str) -> bool {
        let me = self.me.clone();
        let mut found = false;
        for known in self.known.values_mut() {
            if known.member.name == name && known.member.id != me {
                found = true;
                if known.member.status != MemberStatus::Alive {
                    known.member.status = MemberStatus::Left;
                }
            }
        }
        found
    }
}

fn is_pruned(member: &Member) -> bool {
    member.status == MemberStatus::Left && member.tags.contains_key(PRUNED)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: &str, generation: u64, status: MemberStatus) -> Member {
        Member {
            id: id.to_owned(),
            name: format!("name-{id}"),
            address: "127.0.0.1".to_owned(),
            port: 8301,
            server_port: 8300,
            datacenter: "dc1".to_owned(),
            expect: 3,
            bootstrapped: false,
            tags: BTreeMap::new(),
            status,
            generation,
            raft: 0,
            raft: 0,
        }
    }

    fn status(members: &Members, id: &str) -> Option<MemberStatus> {
        members.all().iter().find(|member| member.id == id).map(|member| member.status)
    }

    #[test]
    fn three_misses_fail_a_member_and_a_word_of_its_own_brings_it_back() {
        let mut members = Members::new(member("a", 1, MemberStatus::Alive));
        let other = member("b", 1, MemberStatus::Alive);
        members.hear(&other, &[]);
        assert!(!members.missed("b") && !members.missed("b") && members.missed("b"));
        assert_eq!(status(&members, "b"), Some(MemberStatus::Failed));
        members.hear(&other, &[]);
        assert_eq!(status(&members, "b"), Some(MemberStatus::Alive));
    }

    #[test]
    fn who_left_stays_gone_until_a_new_generation() {
        let mut members = Members::new(member("a", 1, MemberStatus::Alive));
        members.hear(&member("b", 1, MemberStatus::Left), &[]);
        members.hear(&member("c", 1, MemberStatus::Alive), &[member("b", 1, MemberStatus::Alive)]);
        members.hear(&member("b", 1, MemberStatus::Alive), &[]);
        assert_eq!(status(&members, "b"), Some(MemberStatus::Left));
        members.hear(&member("b", 2, MemberStatus::Alive), &[]);
        assert_eq!(status(&members, "b"), Some(MemberStatus::Alive));
    }

    #[test]
    fn others_tell_of_members_but_not_of_their_death() {
        let mut members = Members::new(member("a", 1, MemberStatus::Alive));
        let c = member("c", 1, MemberStatus::Alive);
        members.hear(&c, &[member("b", 1, MemberStatus::Alive)]);
        members.hear(&c, &[member("b", 1, MemberStatus::Failed)]);
        assert_eq!(status(&members, "b"), Some(MemberStatus::Alive));
        members.hear(&c, &[member("b", 1, MemberStatus::Left)]);
        assert_eq!(status(&members, "b"), Some(MemberStatus::Left));
        members.hear(&c, &[member("a", 9, MemberStatus::Left)]);
        assert_eq!(status(&members, "a"), Some(MemberStatus::Alive), "nobody else speaks for me");
    }

    #[test]
    fn only_who_does_not_answer_can_be_forced_to_leave() {
        let mut members = Members::new(member("a", 1, MemberStatus::Alive));
        members.hear(&member("b", 1, MemberStatus::Alive), &[]);
        assert!(members.force_leave("name-b"));
        assert_eq!(status(&members, "b"), Some(MemberStatus::Alive));
        assert!((0..3).any(|_| members.missed("b")), "three misses fail it");
        assert!(members.force_leave("name-b") && !members.force_leave("name-x"));
        assert_eq!(status(&members, "b"), Some(MemberStatus::Left));
        members.prune("name-a");
        members.prune("name-b");
        assert_eq!((members.all().len(), members.shown().len()), (2, 1), "never oneself");
        let mut other = Members::new(member("c", 1, MemberStatus::Alive));
        other.hear(members.me(), &members.all());
        assert_eq!(other.shown().len(), 2, "the others hear of it");
        other.hear(&member("b", 2, MemberStatus::Alive), &[]);
        assert_eq!(other.shown().len(), 3, "who comes back is shown again");
    }
}
