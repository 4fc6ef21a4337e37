//! Events that this member knows of, and the rules by which one is news (pure).

use std::collections::{BTreeSet, VecDeque};

use tokio::time::Instant;
use uuid::Uuid;

use crate::limits::{EVENT_SPREAD, EVENTS_A_MESSAGE_MAX, EVENTS_SEEN_MAX};
use crate::model::Event;

/// The Lamport clock, the ids that were seen, and what is still told to others.
#[derive(Debug, Default)]
pub(super) struct Events {
    clock: u64,
    seen: BTreeSet<Uuid>,
    /// The same ids from the oldest on.
    order: VecDeque<Uuid>,
    /// What is told, from the oldest on, with the moment until when.
    told: VecDeque<(Instant, Event)>,
}

impl Events {
    /// The Lamport clock: the time of the latest event that is known.
    pub(super) fn clock(&self) -> u64 {
        self.clock
    }

    /// The time that an event of this member's own gets.
    pub(super) fn next_time(&self) -> u64 {
        self.clock.saturating_add(1)
    }

    /// Takes in what another member told, whose clock is `clock`; gives what is news, in order.
    pub(super) fn hear(&mut self, events: &[Event], clock: u64, now: Instant) -> Vec<Event> {
        let mut news: Vec<Event> = Vec::new();
        let told = events.iter().map(|event| event.ltime).max().unwrap_or_default();
        self.clock = self.clock.max(clock).max(told);
        for event in events.iter().take(EVENTS_A_MESSAGE_MAX) {
            let too_old = event.ltime.saturating_add(EVENTS_SEEN_MAX as u64) < self.clock;
            if !too_old && event.fits() && !self.seen.contains(&event.id) {
                self.remember(event, now);
                news.push(event.clone());
            }
        }
        news.sort_by_key(|event| event.ltime);
        news
    }

    /// What others are told, from the oldest on.
    pub(super) fn still_told(&mut self, now: Instant) -> Vec<Event> {
        while self.told.front().is_some_and(|(until, _)| *until <= now) {
            self.told.pop_front();
        }
        self.told.iter().map(|(_, event)| event.clone()).collect()
    }

    fn remember(&mut self, event: &Event, now: Instant) {
        self.seen.insert(event.id);
        self.order.push_back(event.id);
        if self.order.len() > EVENTS_SEEN_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.seen.remove(&oldest);
        }
        self.told.push_back((now + EVENT_SPREAD, event.clone()));
        if self.told.len() > EVENTS_A_MESSAGE_MAX {
            self.told.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time;

    fn event(id: u128) -> Event {
        Event { id: Uuid::from_u128(id), name: "e".to_owned(), ..Event::default() }
    }

    /// Fires an event of the member's own.
    fn fire(events: &mut Events, mut event: Event, now: Instant) -> Event {
        event.ltime = events.next_time();
        let news = events.hear(std::slice::from_ref(&event), events.clock(), now);
        assert_eq!(news, [event.clone()]);
        event
    }

    fn ids(events: &[Event]) -> Vec<u128> {
        events.iter().map(|event| event.id.as_u128()).collect()
    }

    #[test]
    fn an_event_is_news_once_and_later_ones_have_later_times() {
        let now = time::now();
        let (mut one, mut two) = (Events::default(), Events::default());
        let first = fire(&mut one, event(1), now);
        let told = one.still_told(now);
        assert_eq!(ids(&two.hear(&told, one.clock(), now)), [1]);
        assert!(two.hear(&told, one.clock(), now).is_empty());
        assert!(one.hear(&two.still_told(now), two.clock(), now).is_empty());
        let second = fire(&mut two, event(2), now);
        assert!((first.ltime, second.ltime) == (1, 2));
        assert_eq!(ids(&one.hear(&two.still_told(now), two.clock(), now)), [2]);
    }

    #[test]
    fn an_event_is_told_for_a_while() {
        let now = time::now();
        let mut events = Events::default();
        fire(&mut events, event(1), now);
        assert_eq!(ids(&events.still_told(now + EVENT_SPREAD / 2)), [1]);
        assert!(events.still_told(now + EVENT_SPREAD).is_empty());
    }

    /// Anyone who reaches the pool's port may claim any time.
    #[test]
    fn a_clock_at_its_end_stops_nobody() {
        let now = time::now();
        let (mut one, mut two) = (Events::default(), Events::default());
        one.hear(&[], u64::MAX, now);
        assert_eq!(fire(&mut one, event(1), now).ltime, u64::MAX);
        fire(&mut one, event(2), now);
        assert_eq!(ids(&two.hear(&one.still_told(now), one.clock(), now)), [1, 2]);
    }

    #[test]
    fn what_is_kept_is_bounded_and_what_is_too_old_or_too_long_is_no_news() {
        let now = time::now();
        let mut events = Events::default();
        let all = EVENTS_SEEN_MAX as u128 + 10;
        let fired: Vec<Event> = (0..all).map(|id| fire(&mut events, event(id), now)).collect();
        assert_eq!(events.still_told(now).len(), EVENTS_A_MESSAGE_MAX);
        assert_eq!((events.seen.len(), events.order.len()), (EVENTS_SEEN_MAX, EVENTS_SEEN_MAX));
        assert!(events.hear(&fired[..1], 0, now).is_empty(), "forgotten, and too old");
        let long = Event { payload: vec![0; 600].into(), ltime: 9000, ..event(9000) };
        assert!(events.hear(&[long], 0, now).is_empty());
        assert_eq!(events.clock(), 9000);
    }
}
