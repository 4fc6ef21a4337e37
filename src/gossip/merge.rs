//! What two members tell each other when one calls the other: the whole of what both know, or just
//! how they see each other. Made and taken in here; [`super::exchange`] carries it.

use std::collections::BTreeMap;
use std::sync::Arc;

use foca::{Member as Seen, State};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use uuid::Uuid;

use super::book::{Age, Card, Dismissal};
use super::identity::Identity;
use super::pool::Pool;
use super::rumors::Rumor;
use crate::limits::MEMBERS_MAX;
use crate::model::Event;

/// The version of what is exchanged; both must speak the same.
pub(super) const PROTOCOL: u16 = 1;
/// The caller tells on what it learns from an answer if it is no more than this; a newcomer learns
/// what all others know.
const TOLD_ON_MAX: usize = 256;

/// How a member sees one: identity, incarnation, and 0 alive, 1 suspect, 2 down.
type Sight = (Identity, u16, u8);

/// How much is exchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Extent {
    /// Everything.
    Whole,
    /// How the two see each other.
    Pair,
}

/// What the caller says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Offer {
    pub(super) protocol: u16,
    pub(super) datacenter: String,
    /// The caller's name, for people.
    pub(super) name: String,
    from: Identity,
    extent: Extent,
    states: Vec<Sight>,
    /// How new the caller's cards are.
    ages: Vec<(Uuid, Age)>,
    /// Cards that the other surely lacks: the caller's own.
    cards: Vec<Arc<Card>>,
    dismissed: Vec<Dismissal>,
    events: Vec<Event>,
    event_clock: u64,
}

/// What the one that was called says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Reply {
    /// It does not take part in this, and why.
    Refused(String),
    /// What it knows.
    Told(Box<Told>),
}

/// The inside of a [`Reply`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Told {
    from: Identity,
    states: Vec<Sight>,
    /// Cards that the caller lacks.
    cards: Vec<Arc<Card>>,
    /// Whose cards it wants.
    wanted: Vec<Uuid>,
    dismissed: Vec<Dismissal>,
    events: Vec<Event>,
    event_clock: u64,
}

/// What the caller says last: the cards that were wanted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Rest(pub(super) Vec<Arc<Card>>);

impl Told {
    /// Who answered.
    pub(super) fn from(&self) -> Identity {
        self.from
    }
}

impl Pool {
    /// What this member says when it calls another. `whom`, if it is known, is told how it is seen.
    pub(super) fn offer(&self, extent: Extent, whom: Option<Uuid>, now: Instant) -> Offer {
        let states = self.sights(extent, whom);
        let mut heard = self.heard.lock();
        let whole = extent == Extent::Whole;
        let mine = Arc::clone(heard.book.mine());
        Offer {
            protocol: PROTOCOL,
            datacenter: mine.member.datacenter.clone(),
            name: mine.member.name.clone(),
            from: self.me(),
            extent,
            states,
            ages: if whole { heard.book.ages() } else { Vec::new() },
            cards: vec![mine],
            dismissed: if whole { heard.book.dismissed() } else { Vec::new() },
            events: heard.events.still_told(now),
            event_clock: heard.events.clock(),
        }
    }

    /// Takes in what a caller says, and answers.
    pub(super) fn answer(&mut self, offer: Offer, now: Instant) -> Reply {
        if let Err(why) = self.fits(&offer) {
            return Reply::Refused(why);
        }
        let caller = offer.from;
        self.take_cards(offer.cards, now);
        self.take_words(&offer.dismissed, &offer.events, offer.event_clock, now);
        self.take_states(&offer.states, true, now);
        self.spread(now);
        let states = self.sights(offer.extent, Some(caller.id));
        let mut heard = self.heard.lock();
        let theirs: BTreeMap<Uuid, Age> = offer.ages.into_iter().collect();
        let ours: BTreeMap<Uuid, Age> = heard.book.ages().into_iter().collect();
        let newer = theirs.iter().filter(|(id, age)| ours.get(id).is_none_or(|our| our < age));
        let whole = offer.extent == Extent::Whole;
        let cards = if whole {
            heard.book.newer_than(&theirs)
        } else {
            vec![Arc::clone(heard.book.mine())]
        };
        Reply::Told(Box::new(Told {
            from: self.me(),
            states,
            cards,
            wanted: newer.map(|(id, _)| *id).collect(),
            dismissed: if whole { heard.book.dismissed() } else { Vec::new() },
            events: heard.events.still_told(now),
            event_clock: heard.events.clock(),
        }))
    }

    /// Takes in what the one that was called says; the cards that it wants are to be sent.
    pub(super) fn take(&mut self, told: Told, now: Instant) -> Rest {
        self.take_cards(told.cards, now);
        self.take_words(&told.dismissed, &told.events, told.event_clock, now);
        let tell_on = told.states.len() <= TOLD_ON_MAX;
        self.take_states(&told.states, tell_on, now);
        self.spread(now);
        let heard = self.heard.lock();
        let wanted = told.wanted.iter().filter_map(|id| heard.book.card(*id));
        Rest(wanted.take(MEMBERS_MAX).cloned().collect())
    }

    /// Takes in the cards that this member wanted.
    pub(super) fn take_rest(&mut self, rest: Rest, now: Instant) {
        self.take_cards(rest.0, now);
        self.spread(now);
    }

    fn take_cards(&mut self, cards: Vec<Arc<Card>>, now: Instant) {
        let tell_on = cards.len() <= TOLD_ON_MAX;
        let me = self.me().id;
        for card in cards.into_iter().filter(|card| card.id() != Some(me)) {
            if tell_on {
                self.learn(&Rumor::Card(card), now);
            } else {
                let mut heard = self.heard.lock();
                heard.now = now;
                heard.take(card);
            }
        }
    }

    fn take_words(&mut self, gone: &[Dismissal], events: &[Event], clock: u64, now: Instant) {
        for dismissal in gone {
            self.learn(&Rumor::Dismissal(*dismissal), now);
        }
        let mut heard = self.heard.lock();
        heard.now = now;
        heard.hear_events(events, clock);
    }

    fn take_states(&mut self, states: &[Sight], tell_on: bool, now: Instant) {
        let me = self.me();
        let seen: Vec<Seen<Identity>> = {
            let heard = self.heard.lock();
            let there = states.iter().filter(|(who, _, _)| !heard.book.is_full_for(who.id));
            there.map(|sight| seen(*sight)).collect()
        };
        let down: Vec<Identity> =
            seen.iter().filter(|one| one.state() == State::Down).map(|one| *one.id()).collect();
        let suspected = seen.iter().filter(|one| *one.id() == me && one.state() == State::Suspect);
        let suspected = suspected.map(Seen::incarnation).max();
        // As with packets: who left must not answer the others that it lives.
        if !self.has_left() {
            self.run(now, |foca, driver| foca.apply_many(seen.into_iter(), tell_on, driver));
        }
        if let Some(incarnation) = suspected.filter(|_| self.me() == me) {
            // The refutation: also where the detector had nobody to send it to.
            let above = incarnation.saturating_add(1);
            self.driver.incarnation = self.driver.incarnation.max(above);
        }
        let mut heard = self.heard.lock();
        for identity in down {
            // Who was down before this member came is no news to the detector.
            if identity.id != me.id && !heard.book.has_life(identity.id) {
                heard.book.lives(identity, false, now);
                heard.changed = true;
            }
        }
    }

    fn fits(&self, offer: &Offer) -> Result<(), String> {
        if offer.protocol != PROTOCOL {
            let theirs = offer.protocol;
            return Err(format!("pool protocol {theirs} is not {PROTOCOL}: update the older one"));
        }
        let heard = self.heard.lock();
        let ours = &heard.book.mine().member.datacenter;
        if offer.datacenter != *ours {
            return Err(format!("this is data center {ours:?}, not {:?}", offer.datacenter));
        }
        if heard.book.is_full_for(offer.from.id) {
            return Err(format!("this pool has {MEMBERS_MAX} members, as many as it may"));
        }
        Ok(())
    }

    /// How this member sees the others and itself.
    fn sights(&self, extent: Extent, whom: Option<Uuid>) -> Vec<Sight> {
        let mine = if self.has_left() { State::Down } else { State::Alive };
        let me = Seen::new(self.me(), self.driver.incarnation, mine);
        let others = self.foca.iter_membership_state().filter(|seen| {
            extent == Extent::Whole || whom.is_some_and(|whom| seen.id().id == whom)
        });
        std::iter::once(&me).chain(others).map(sight).collect()
    }
}

fn sight(seen: &Seen<Identity>) -> Sight {
    let state = match seen.state() {
        State::Alive => 0,
        State::Suspect => 1,
        State::Down => 2,
    };
    (*seen.id(), seen.incarnation(), state)
}

fn seen((identity, incarnation, state): Sight) -> Seen<Identity> {
    let state = match state {
        0 => State::Alive,
        1 => State::Suspect,
        _ => State::Down,
    };
    Seen::new(identity, incarnation, state)
}
