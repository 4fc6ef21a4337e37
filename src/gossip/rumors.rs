//! What travels from member to member on top of failure detection: cards, dismissals, events and
//! questions to everyone. Each is told on by who hears it for the first time.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;

use foca::{BroadcastHandler, Invalidates};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use uuid::Uuid;

use super::book::{Book, Card, Dismissal};
use super::events::Events;
use super::identity::Identity;
use super::questions::Question;
use crate::codec;
use crate::limits::QUESTIONS_SEEN_MAX;
use crate::model::Event;

/// One rumor.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Rumor {
    /// A member speaks of itself.
    Card(Arc<Card>),
    /// A member is gone for good.
    Dismissal(Dismissal),
    /// An event, with its sender's Lamport clock.
    Event(u64, Box<Event>),
    /// A question to everyone.
    Question(Question),
}

/// What a rumor is about: a later one about the same takes its place on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    Member(Uuid),
    Gone(Uuid),
    Event(Uuid),
    Question(u64),
}

impl Invalidates for About {
    fn invalidates(&self, other: &Self) -> bool {
        self == other
    }
}

/// What a member heard: the book, the events, and what came new since it was looked at last.
pub(super) struct Heard {
    pub(super) book: Book,
    pub(super) events: Events,
    /// Events that nobody took yet.
    pub(super) new_events: Vec<Event>,
    /// Questions that nobody answered yet.
    pub(super) new_questions: Vec<Question>,
    /// Whether the book changed.
    pub(super) changed: bool,
    /// The time of the call under way: the detector asks no clock.
    pub(super) now: Instant,
    /// Questions heard of late, from the oldest on.
    questions: VecDeque<u64>,
    /// Whether a rumor that cannot be read was reported.
    unread: bool,
}

impl Heard {
    pub(super) fn new(book: Book, now: Instant) -> Self {
        Self {
            book,
            events: Events::default(),
            new_events: Vec::new(),
            new_questions: Vec::new(),
            changed: true,
            now,
            questions: VecDeque::new(),
            unread: false,
        }
    }

    /// Takes in what another member told in an exchange.
    pub(super) fn hear_events(&mut self, events: &[Event], clock: u64) {
        let news = self.events.hear(events, clock, self.now);
        self.new_events.extend(news);
    }

    /// Takes in a card; whether it is news.
    pub(super) fn take(&mut self, card: Arc<Card>) -> bool {
        let news = self.book.take(card, self.now);
        self.changed |= news;
        news
    }

    /// Takes in a dismissal; whether it is news.
    pub(super) fn dismiss(&mut self, dismissal: Dismissal) -> bool {
        let news = self.book.dismiss(dismissal, self.now);
        self.changed |= news;
        news
    }

    /// Takes a rumor in; what it is about if it is news.
    fn hear(&mut self, rumor: Rumor) -> Option<About> {
        match rumor {
            Rumor::Card(card) => {
                let id = card.id()?;
                self.take(card).then_some(About::Member(id))
            }
            Rumor::Dismissal(dismissal) => {
                self.dismiss(dismissal).then_some(About::Gone(dismissal.id))
            }
            Rumor::Event(clock, event) => {
                let before = self.new_events.len();
                self.hear_events(std::slice::from_ref(&event), clock);
                (self.new_events.len() > before).then_some(About::Event(event.id))
            }
            Rumor::Question(question) => {
                if self.questions.contains(&question.id) {
                    return None;
                }
                if self.questions.len() >= QUESTIONS_SEEN_MAX {
                    self.questions.pop_front();
                }
                self.questions.push_back(question.id);
                let id = question.id;
                self.new_questions.push(question);
                Some(About::Question(id))
            }
        }
    }
}

/// The detector's side of it.
pub(super) struct Rumors(pub(super) Arc<Mutex<Heard>>);

impl BroadcastHandler<Identity> for Rumors {
    type Key = About;
    type Error = Infallible;

    fn receive_item(
        &mut self,
        data: &[u8],
        sender: Option<&Identity>,
    ) -> Result<Option<About>, Infallible> {
        let mut heard = self.0.lock();
        match codec::decode::<Rumor>(data) {
            // Nobody else says who this member is.
            Ok(Rumor::Card(card)) if sender.is_some() && heard.book.is_mine(&card) => Ok(None),
            Ok(rumor) => Ok(heard.hear(rumor)),
            Err(error) => {
                // A later version may say more than this one understands; it is not told on.
                if !std::mem::replace(&mut heard.unread, true) {
                    tracing::warn!(%error, "another member says what this version cannot read");
                }
                Ok(None)
            }
        }
    }
}
