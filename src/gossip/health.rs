//! How far this member trusts its own judgement, and the timers that this stretches.
//!
//! Source: Dadgar and others, "Lifeguard: Local Health Awareness for More Accurate Failure
//! Detection", section IV: a member that is slow itself suspects others wrongly.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use foca::Timer;
use tokio::time::Instant;

use super::identity::Identity;

/// The worst score: waits are then nine times as long. Source: the paper, section IV-A.
const SCORE_MAX: u32 = 8;
/// A timer that is run later than this says that this member itself was held up.
pub(super) const LATE: Duration = Duration::from_millis(300);

/// The score: 0 is well.
#[derive(Debug, Default)]
pub(super) struct Health(u32);

impl Health {
    /// Something spoke against this member's own judgement.
    pub(super) fn worse(&mut self) {
        self.0 = (self.0 + 1).min(SCORE_MAX);
    }

    /// A probe was answered in time.
    pub(super) fn better(&mut self) {
        self.0 = self.0.saturating_sub(1);
    }

    /// The score.
    pub(super) fn score(&self) -> u32 {
        self.0
    }

    /// How long a wait should be.
    pub(super) fn stretch(&self, wait: Duration) -> Duration {
        wait * (1 + self.0)
    }
}

/// The detector's timers, the earliest first, those of one moment as they came.
#[derive(Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<Entry>>,
    next: u64,
}

struct Entry {
    due: Instant,
    number: u64,
    timer: Timer<Identity>,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.due, self.number).cmp(&(other.due, other.number))
    }
}

impl Timers {
    /// Sets a timer.
    pub(super) fn push(&mut self, due: Instant, timer: Timer<Identity>) {
        self.heap.push(Reverse(Entry { due, number: self.next, timer }));
        self.next += 1;
    }

    /// When the earliest is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse(entry)| entry.due)
    }

    /// Takes the earliest that is due.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Timer<Identity>> {
        if self.due()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry.timer)
    }

    /// Moves every suspicion's end back: time in which this member could hear no refutation is
    /// nobody's fault.
    pub(super) fn put_off_suspicions(&mut self, by: Duration) {
        self.change(|timer, due| {
            if matches!(timer, Timer::ChangeSuspectToDown { .. }) { due + by } else { due }
        });
    }

    /// Brings the end of the suspicions of one identity forward.
    pub(super) fn hasten(&mut self, whose: Identity, until: Instant) {
        self.change(|timer, due| match timer {
            Timer::ChangeSuspectToDown { member_id, .. } if *member_id == whose => due.min(until),
            _ => due,
        });
    }

    fn change(&mut self, new: impl Fn(&Timer<Identity>, Instant) -> Instant) {
        let entries = std::mem::take(&mut self.heap).into_iter();
        let changed = entries.map(|Reverse(mut entry)| {
            entry.due = new(&entry.timer, entry.due);
            Reverse(entry)
        });
        self.heap = changed.collect();
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::time;

    fn suspicion(number: u128) -> (Identity, Timer<Identity>) {
        let at = std::net::SocketAddr::from(([127, 0, 0, 1], 8301));
        let member_id = Identity { generation: 1, at, id: Uuid::from_u128(number) };
        (member_id, Timer::ChangeSuspectToDown { member_id, incarnation: 0, token: 0 })
    }

    #[test]
    fn waits_grow_with_the_score_up_to_its_end() {
        let mut health = Health::default();
        let second = Duration::from_secs(1);
        assert_eq!(health.stretch(second), second);
        for _ in 0..20 {
            health.worse();
        }
        assert_eq!(health.stretch(second), second * 9);
        health.better();
        assert_eq!(health.stretch(second), second * 8);
    }

    #[test]
    fn suspicions_are_put_off_or_hastened_and_nothing_else_is() {
        let now = time::now();
        let second = Duration::from_secs(1);
        let mut timers = Timers::default();
        let ((one, first), (_, second_one)) = (suspicion(1), suspicion(2));
        timers.push(now + second, first.clone());
        timers.push(now + second, second_one.clone());
        timers.push(now + second, Timer::PeriodicGossip(0));
        timers.put_off_suspicions(second * 4);
        assert_eq!(timers.pop(now + second), Some(Timer::PeriodicGossip(0)));
        assert_eq!(timers.pop(now + second), None);
        timers.hasten(one, now + second * 2);
        assert_eq!(timers.pop(now + second * 2), Some(first));
        assert_eq!(timers.due(), Some(now + second * 5));
        assert_eq!(timers.pop(now + second * 5), Some(second_one));
    }
}
