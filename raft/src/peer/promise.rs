//! Whom this node would have as leader, for the moment.
//!
//! openraft answers yes to every pre-vote that it could follow with a vote. Two followers whose
//! patience ends at the same time then both pass, both stand in the same term, and may halve the
//! votes: a term without a leader, and a second election. A node that says yes to one at a time
//! lets one of them pass; or none, and they try again after a random time, in the same term.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::options::NodeId;

/// The word that a node gave last. Pre-votes bind nobody, so losing this costs nothing but a term.
pub(crate) struct Promise {
    given: Mutex<Option<Given>>,
    lasts: Duration,
}

#[derive(Clone, Copy)]
struct Given {
    to: NodeId,
    term: u64,
    at: Instant,
}

impl Promise {
    /// Each lasts as long as an election needs, and must end before whoever got none tries again.
    pub(crate) fn new(lasts: Duration) -> Promise {
        Promise { given: Mutex::new(None), lasts }
    }

    /// Gives `to` the word for `term`, unless another one has it for this term or a later one.
    pub(super) fn give(&self, to: NodeId, term: u64) -> bool {
        self.give_at(Instant::now(), to, term)
    }

    fn give_at(&self, now: Instant, to: NodeId, term: u64) -> bool {
        let mut given = self.given.lock();
        let taken = given.is_some_and(|given| {
            given.to != to && given.term >= term && now < given.at + self.lasts
        });
        if !taken {
            *given = Some(Given { to, term, at: now });
        }
        !taken
    }

    /// Takes back what `to` has, if it has it.
    pub(super) fn take_back(&self, to: NodeId) {
        let mut given = self.given.lock();
        *given = given.take().filter(|given| given.to != to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_has_it() {
        let lasts = Duration::from_millis(200);
        let promise = Promise::new(lasts);
        let now = Instant::now();
        assert!(promise.give_at(now, 1, 5));
        assert!(!promise.give_at(now, 2, 5), "1 has it");
        assert!(promise.give_at(now, 1, 5), "and keeps it");
        assert!(!promise.give_at(now, 2, 4), "for what was before, too");
        assert!(promise.give_at(now, 2, 6), "a later term is another matter");
        assert!(!promise.give_at(now + lasts / 2, 1, 6));
        assert!(promise.give_at(now + lasts, 1, 6), "it is over");
        promise.take_back(2);
        assert!(!promise.give_at(now + lasts, 2, 6), "2 had nothing");
        promise.take_back(1);
        assert!(promise.give_at(now + lasts, 2, 6));
    }
}
