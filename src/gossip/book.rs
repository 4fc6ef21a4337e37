//! What this member knows of all, itself among them, and what each is shown as (pure).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use uuid::Uuid;

use super::identity::Identity;
use crate::codec;
use crate::limits::{CARD_BYTES_MAX, MEMBERS_MAX};
use crate::model::{Member, MemberList, MemberStatus};

/// What a member says of itself. The newer one, by generation and version, takes the older's place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Card {
    /// Grows with each change within a generation.
    pub(super) version: u32,
    /// The member; its status is `Left` once it has said goodbye, else `Alive`. Who is shown as it
    /// says is shown by this very one: a pool has as many of them as members.
    pub(super) member: Arc<Member>,
}

/// How new a card is.
pub(super) type Age = (u64, u32);

/// Somebody's word that a member which does not answer is gone for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Dismissal {
    /// Who is gone.
    pub(super) id: Uuid,
    /// Up to this generation of it: who comes back with a later one is a member again.
    pub(super) generation: u64,
    /// Whether it is to be shown no more.
    pub(super) prune: bool,
}

/// All known members by id.
pub(super) struct Book {
    me: Uuid,
    known: BTreeMap<Uuid, Known>,
}

/// One member: what it said, whether it lives, and what was said of it.
#[derive(Default)]
struct Known {
    card: Option<Arc<Card>>,
    life: Option<Life>,
    dismissed: Option<Dismissal>,
    /// Since when it is gone, once it is.
    gone_since: Option<Instant>,
    shown: Option<Arc<Member>>,
}

/// What the failure detector says of a member.
#[derive(Clone, Copy)]
struct Life {
    identity: Identity,
    up: bool,
}

impl Card {
    /// How new it is.
    pub(super) fn age(&self) -> Age {
        (self.member.generation, self.version)
    }

    /// Whose it is; `None` where the id is no UUID.
    pub(super) fn id(&self) -> Option<Uuid> {
        Uuid::parse_str(&self.member.id).ok()
    }

    /// Whether it is short enough to travel in a packet.
    pub(super) fn fits(&self) -> bool {
        codec::encode(self).len() <= CARD_BYTES_MAX
    }
}

impl Book {
    /// A book with one member: this one.
    pub(super) fn new(me: Identity, card: Card, now: Instant) -> Self {
        let mut book = Self { me: me.id, known: BTreeMap::new() };
        book.take(Arc::new(card), now);
        book.lives(me, true, now);
        book
    }

    /// This member's own card.
    pub(super) fn mine(&self) -> &Arc<Card> {
        let mine = self.known.get(&self.me).and_then(|known| known.card.as_ref());
        mine.expect("this member always has its own card")
    }

    /// Whether a card says that it is this member's.
    pub(super) fn is_mine(&self, card: &Card) -> bool {
        card.id() == Some(self.me)
    }

    /// Takes in what a member said of itself; whether it is news.
    pub(super) fn take(&mut self, card: Arc<Card>, now: Instant) -> bool {
        let Some(id) = card.id() else { return false };
        if !card.fits() || self.is_full_for(id) {
            return false;
        }
        let known = self.known.entry(id).or_default();
        if known.card.as_ref().is_some_and(|older| older.age() >= card.age()) {
            return false;
        }
        known.card = Some(card);
        known.refresh(now);
        true
    }

    /// Takes in what the failure detector says of a member.
    pub(super) fn lives(&mut self, identity: Identity, up: bool, now: Instant) {
        if self.is_full_for(identity.id) {
            return;
        }
        let known = self.known.entry(identity.id).or_default();
        if known.life.is_none_or(|life| life.identity <= identity) {
            known.life = Some(Life { identity, up });
            known.refresh(now);
        }
    }

    /// A member took on another identity; whether it lives is as before.
    pub(super) fn renamed(&mut self, identity: Identity, now: Instant) {
        let up = self.known.get(&identity.id).and_then(|known| known.life);
        self.lives(identity, up.is_some_and(|life| life.up), now);
    }

    /// Takes in that a member is gone for good; whether it is news.
    pub(super) fn dismiss(&mut self, dismissal: Dismissal, now: Instant) -> bool {
        if dismissal.id == self.me {
            return false; // who is dismissed and lives, says so by living
        }
        let Some(known) = self.known.get_mut(&dismissal.id) else { return false };
        let newer = known.dismissed.is_none_or(|older| {
            (older.generation, older.prune) < (dismissal.generation, dismissal.prune)
        });
        if newer {
            known.dismissed = Some(dismissal);
            known.refresh(now);
        }
        newer
    }

    /// The words by which the members of this name that do not answer are dismissed.
    pub(super) fn dismissals(&self, name: &str, prune: bool) -> Vec<Dismissal> {
        let gone = self.known.iter().filter(|(id, known)| {
            let shown = known.shown.as_ref();
            **id != self.me
                && shown.is_some_and(|member| {
                    member.name == name && member.status != MemberStatus::Alive
                })
        });
        gone.map(|(id, known)| Dismissal { id: *id, generation: known.generation(), prune })
            .collect()
    }

    /// Whether somebody of this name is known.
    pub(super) fn has_name(&self, name: &str) -> bool {
        self.known.values().filter_map(|known| known.shown.as_ref()).any(|m| m.name == name)
    }

    /// Whether this member is known.
    pub(super) fn knows(&self, id: Uuid) -> bool {
        self.known.contains_key(&id)
    }

    /// Whether the failure detector has spoken of this member.
    pub(super) fn has_life(&self, id: Uuid) -> bool {
        self.known.get(&id).is_some_and(|known| known.life.is_some())
    }

    /// Whether the failure detector thinks that a member lives.
    #[cfg(test)]
    pub(super) fn is_up(&self, id: Uuid) -> Option<bool> {
        self.known.get(&id).and_then(|known| known.life).map(|life| life.up)
    }

    /// Members that live and of whom nothing else is known yet.
    pub(super) fn strangers(&self) -> Vec<Identity> {
        let lives = self.known.values().filter(|known| known.card.is_none());
        lives.filter_map(|known| known.life).filter(|life| life.up).map(|l| l.identity).collect()
    }

    /// Whether there is no place left for a member that is not known yet.
    pub(super) fn is_full_for(&self, id: Uuid) -> bool {
        self.known.len() >= MEMBERS_MAX && !self.knows(id)
    }

    /// What a member said of itself last.
    pub(super) fn card(&self, id: Uuid) -> Option<&Arc<Card>> {
        self.known.get(&id).and_then(|known| known.card.as_ref())
    }

    /// How new each card here is.
    pub(super) fn ages(&self) -> Vec<(Uuid, Age)> {
        let cards = self.known.iter();
        cards.filter_map(|(id, known)| Some((*id, known.card.as_ref()?.age()))).collect()
    }

    /// The cards here that are newer than these, or not among them.
    pub(super) fn newer_than(&self, theirs: &BTreeMap<Uuid, Age>) -> Vec<Arc<Card>> {
        let cards = self.known.iter().filter_map(|(id, known)| Some((id, known.card.as_ref()?)));
        let newer = cards.filter(|(id, card)| theirs.get(id).is_none_or(|age| *age < card.age()));
        newer.map(|(_, card)| Arc::clone(card)).collect()
    }

    /// Every word that a member is gone for good.
    pub(super) fn dismissed(&self) -> Vec<Dismissal> {
        self.known.values().filter_map(|known| known.dismissed).collect()
    }

    /// Everyone of whom there is something to show, by name; those that were dismissed for good
    /// are among them as left.
    pub(super) fn all(&self) -> MemberList {
        let shown = self.known.values().filter_map(|known| known.shown.clone());
        by_name(shown.collect())
    }

    /// As [`Book::all`], without those that are to be shown no more.
    pub(super) fn shown(&self) -> MemberList {
        let known = self.known.values().filter(|known| !known.is_pruned());
        by_name(known.filter_map(|known| known.shown.clone()).collect())
    }

    /// Forgets members that failed or left so long ago, and says which.
    pub(super) fn reap(&mut self, failed: Duration, left: Duration, now: Instant) -> Vec<Uuid> {
        let over = |known: &Known| {
            let status = known.shown.as_ref().map(|member| member.status);
            let after = if status == Some(MemberStatus::Failed) { failed } else { left };
            known.gone_since.is_some_and(|since| now.duration_since(since) >= after)
        };
        let gone = self.known.iter().filter(|(id, known)| **id != self.me && over(known));
        let gone: Vec<Uuid> = gone.map(|(id, _)| *id).collect();
        for id in &gone {
            self.known.remove(id);
        }
        gone
    }
}

impl Known {
    /// The newest generation that is known of it.
    fn generation(&self) -> u64 {
        let card = self.card.as_ref().map_or(0, |card| card.member.generation);
        self.life.map_or(0, |life| life.identity.generation).max(card)
    }

    fn status(&self) -> Option<MemberStatus> {
        let card = self.card.as_ref()?;
        let later = self.life.filter(|life| life.identity.generation > card.member.generation);
        if card.member.status == MemberStatus::Left && !later.is_some_and(|life| life.up) {
            return Some(MemberStatus::Left);
        }
        // A card without a life is of one that the failure detector does not know yet.
        match self.life? {
            Life { up: true, .. } => Some(MemberStatus::Alive),
            Life { up: false, .. } if self.is_dismissed() => Some(MemberStatus::Left),
            Life { up: false, .. } => Some(MemberStatus::Failed),
        }
    }

    fn is_dismissed(&self) -> bool {
        self.dismissed.is_some_and(|dismissal| dismissal.generation >= self.generation())
    }

    fn is_pruned(&self) -> bool {
        let left = self.shown.as_ref().is_some_and(|member| member.status == MemberStatus::Left);
        left && self.is_dismissed() && self.dismissed.is_some_and(|dismissal| dismissal.prune)
    }

    fn refresh(&mut self, now: Instant) {
        let status = self.status();
        let gone = matches!(status, Some(MemberStatus::Left | MemberStatus::Failed));
        self.gone_since = gone.then(|| self.gone_since.unwrap_or(now));
        self.shown = status.zip(self.card.as_ref()).map(|(status, card)| {
            let (said, generation) = (&card.member, self.generation());
            if (said.status, said.generation) == (status, generation) {
                return Arc::clone(said);
            }
            Arc::new(Member { status, generation, ..Member::clone(said) })
        });
    }
}

fn by_name(mut members: Vec<Arc<Member>>) -> MemberList {
    members.sort_by(|one, two| one.name.cmp(&two.name).then_with(|| one.id.cmp(&two.id)));
    members.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time;

    fn id(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    fn identity(number: u128, generation: u64) -> Identity {
        let at = std::net::SocketAddr::from(([127, 0, 0, 1], 8301));
        Identity { generation, at, id: id(number) }
    }

    fn card(number: u128, generation: u64, version: u32, status: MemberStatus) -> Arc<Card> {
        let member = Member {
            id: id(number).to_string(),
            name: format!("n{number}"),
            address: "127.0.0.1".to_owned(),
            port: 8301,
            server_port: 0,
            datacenter: "dc1".to_owned(),
            expect: 0,
            bootstrapped: false,
            tags: BTreeMap::new(),
            status,
            generation,
            raft: 0,
        };
        Arc::new(Card { version, member: Arc::new(member) })
    }

    fn book(now: Instant) -> Book {
        Book::new(identity(1, 1), Card::clone(&card(1, 1, 1, MemberStatus::Alive)), now)
    }

    fn status(book: &Book, number: u128) -> Option<MemberStatus> {
        let all = book.all();
        all.iter().find(|member| member.id == id(number).to_string()).map(|m| m.status)
    }

    #[test]
    fn a_member_is_shown_once_it_has_a_card_and_a_life() {
        let now = time::now();
        let mut book = book(now);
        book.lives(identity(2, 1), true, now);
        assert_eq!(status(&book, 2), None);
        assert_eq!(book.strangers(), [identity(2, 1)]);
        assert!(book.take(card(2, 1, 1, MemberStatus::Alive), now));
        assert_eq!(status(&book, 2), Some(MemberStatus::Alive));
        let (known, shown) = (&book.known[&id(2)], book.all());
        let said = &known.card.as_ref().unwrap().member;
        assert!(shown.iter().any(|it| Arc::ptr_eq(it, said)), "no second copy of what it said");
        assert!(book.strangers().is_empty());
        assert!(!book.take(card(2, 1, 1, MemberStatus::Left), now), "no newer than the first");
        book.lives(identity(2, 1), false, now);
        assert_eq!(status(&book, 2), Some(MemberStatus::Failed));
        book.lives(identity(2, 2), true, now);
        assert_eq!(status(&book, 2), Some(MemberStatus::Alive));
        book.lives(identity(2, 1), false, now);
        assert_eq!(status(&book, 2), Some(MemberStatus::Alive), "the word is of an older one");
    }

    #[test]
    fn who_left_stays_so_until_a_later_generation_lives() {
        let now = time::now();
        let mut book = book(now);
        book.lives(identity(2, 5), true, now);
        book.take(card(2, 5, 1, MemberStatus::Alive), now);
        assert!(book.take(card(2, 5, 2, MemberStatus::Left), now));
        assert_eq!(status(&book, 2), Some(MemberStatus::Left), "also before it is found dead");
        book.lives(identity(2, 5), false, now);
        assert_eq!(status(&book, 2), Some(MemberStatus::Left));
        book.lives(identity(2, 6), true, now);
        assert_eq!(status(&book, 2), Some(MemberStatus::Alive));
    }

    #[test]
    fn who_is_dismissed_is_left_and_only_while_it_does_not_answer() {
        let now = time::now();
        let mut book = book(now);
        book.lives(identity(2, 1), true, now);
        book.take(card(2, 1, 1, MemberStatus::Alive), now);
        assert!(book.dismissals("n2", false).is_empty(), "it answers");
        book.lives(identity(2, 1), false, now);
        let word = book.dismissals("n2", false).pop().unwrap();
        assert!(book.dismiss(word, now) && !book.dismiss(word, now), "it is news once");
        assert_eq!(status(&book, 2), Some(MemberStatus::Left));
        let prune = Dismissal { prune: true, ..word };
        assert!(book.dismiss(prune, now));
        assert_eq!((book.shown().len(), book.all().len()), (1, 2));
        assert!(!book.dismiss(Dismissal { id: id(1), ..word }, now), "never oneself");
        book.lives(identity(2, 2), true, now);
        assert_eq!(status(&book, 2), Some(MemberStatus::Alive));
        book.lives(identity(2, 2), false, now);
        assert_eq!(status(&book, 2), Some(MemberStatus::Failed), "the word was of an older one");
    }

    #[test]
    fn cards_that_another_lacks_are_told_and_old_members_forgotten() {
        let now = time::now();
        let mut book = book(now);
        for number in [2, 3] {
            book.lives(identity(number, 1), true, now);
            book.take(card(number, 1, 4, MemberStatus::Alive), now);
        }
        let theirs = BTreeMap::from([(id(1), (1, 1)), (id(2), (1, 3)), (id(3), (2, 0))]);
        let told: Vec<_> = book.newer_than(&theirs).into_iter().map(|card| card.id()).collect();
        assert_eq!(told, [Some(id(2))]);
        book.lives(identity(2, 1), false, now);
        book.take(card(3, 1, 5, MemberStatus::Left), now);
        let (hour, day) = (Duration::from_hours(1), Duration::from_hours(24));
        assert!(book.reap(day, hour, now).is_empty());
        assert_eq!(book.reap(day, hour, now + hour), [id(3)]);
        assert_eq!(book.reap(day, hour, now + day), [id(2)]);
        assert_eq!(book.all().len(), 1);
    }

    #[test]
    fn a_card_too_long_for_a_packet_is_not_taken() {
        let now = time::now();
        let mut book = book(now);
        let mut long = Card::clone(&card(2, 1, 1, MemberStatus::Alive));
        Arc::make_mut(&mut long.member).tags.insert("t".to_owned(), "x".repeat(CARD_BYTES_MAX));
        assert!(!book.take(Arc::new(long), now));
    }
}
