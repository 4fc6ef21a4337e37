//! The events that this agent took: the last of them, and who waits for the next.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use regex::{Regex, RegexBuilder};
use tokio::sync::watch;

use crate::limits::EVENTS_KEPT_MAX;
use crate::model::{Event, Service};

/// Most memory that one compiled pattern of a stranger may take, in bytes.
const PATTERN_BYTES_MAX: usize = 256 * 1024;

/// Why an event cannot be fired. The texts are Consul's, but for what is wrong with a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// A filter is no pattern: which one, and why.
    #[error("Invalid {0} filter: error parsing regexp: {1}")]
    Pattern(&'static str, String),
    /// Tags are those of services.
    #[error("Cannot provide tag filter without service filter")]
    TagWithoutService,
}

/// The patterns of an event.
struct Filters {
    node: Option<Regex>,
    service: Option<Regex>,
    tag: Option<Regex>,
}

/// Says what is wrong with an event's filters, if anything is.
pub(super) fn check(event: &Event) -> Result<(), EventError> {
    if event.service_filter.is_empty() && !event.tag_filter.is_empty() {
        return Err(EventError::TagWithoutService);
    }
    Filters::of(event).map(drop)
}

impl Filters {
    fn of(event: &Event) -> Result<Self, EventError> {
        Ok(Self {
            node: pattern("node", &event.node_filter)?,
            service: pattern("service", &event.service_filter)?,
            tag: pattern("tag", &event.tag_filter)?,
        })
    }

    /// Whether an event is for a node with these services.
    fn admit<'a>(&self, node: &str, mut services: impl Iterator<Item = &'a Arc<Service>>) -> bool {
        let fits = |pattern: &Option<Regex>, text: &str| {
            pattern.as_ref().is_none_or(|pattern| pattern.is_match(text))
        };
        let serves = |service: &Arc<Service>| {
            let named = fits(&self.service, &service.name) || fits(&self.service, &service.id);
            named && (self.tag.is_none() || service.tags.iter().any(|tag| fits(&self.tag, tag)))
        };
        fits(&self.node, node) && (self.service.is_none() || services.any(serves))
    }
}

fn pattern(which: &'static str, text: &str) -> Result<Option<Regex>, EventError> {
    if text.is_empty() {
        return Ok(None);
    }
    let compiled = RegexBuilder::new(text).size_limit(PATTERN_BYTES_MAX).build();
    compiled.map(Some).map_err(|error| {
        let told = error.to_string();
        let why = told.lines().last().unwrap_or_default().trim_start_matches("error: ");
        EventError::Pattern(which, format!("{why}: `{text}`"))
    })
}

/// The last events that were for this agent.
#[derive(Debug, Default)]
pub(super) struct Events {
    kept: Mutex<VecDeque<Arc<Event>>>,
    /// How many there were; grows behind each.
    count: watch::Sender<u64>,
}

impl Events {
    /// Keeps an event if it is for this agent.
    pub(super) fn hear<'a>(
        &self,
        event: Event,
        node: &str,
        services: impl Iterator<Item = &'a Arc<Service>>,
    ) {
        match Filters::of(&event) {
            Ok(filters) if filters.admit(node, services) => {}
            Ok(_) => return,
            Err(error) => {
                tracing::warn!(event = event.name, %error, "an event cannot be judged");
                return;
            }
        }
        tracing::debug!(event = event.name, id = %event.id, "new event");
        let mut kept = self.kept.lock();
        if kept.len() == EVENTS_KEPT_MAX {
            kept.pop_front();
        }
        kept.push_back(Arc::new(event));
        drop(kept);
        self.count.send_modify(|count| *count += 1);
    }

    /// The events from the oldest on.
    pub(super) fn all(&self) -> Vec<Arc<Event>> {
        self.kept.lock().iter().map(Arc::clone).collect()
    }

    /// Changes with each event from now on.
    pub(super) fn count(&self) -> watch::Receiver<u64> {
        self.count.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(filters: [&str; 3]) -> Event {
        let [node_filter, service_filter, tag_filter] = filters.map(str::to_owned);
        Event { node_filter, service_filter, tag_filter, ..Event::default() }
    }

    #[test]
    fn an_event_is_for_those_whom_all_filters_match() {
        let web = Service { id: "w1".into(), name: "web".into(), ..Service::default() };
        let tags = vec!["blue".into()];
        let db = Service { id: "db".into(), name: "db".into(), tags, ..Service::default() };
        let services = [Arc::new(web), Arc::new(db)];
        for (filters, want) in [
            (["", "", ""], true),
            (["^n", "", ""], true),
            (["^m", "", ""], false),
            (["", "web", ""], true),
            (["", "^w1$", ""], true),
            (["", "x", ""], false),
            (["", "web", "blue"], false),
            (["", "web|db", "^bl"], true),
            (["n2", "db", "blue"], false),
        ] {
            let events = Events::default();
            events.hear(event(filters), "n1", services.iter());
            assert_eq!(events.all().len() == 1, want, "{filters:?}");
        }
    }

    #[test]
    fn patterns_are_judged_before_they_are_sent() {
        assert_eq!(check(&event(["", "", "a"])), Err(EventError::TagWithoutService));
        let told = check(&event(["(", "", ""])).unwrap_err().to_string();
        assert_eq!(told, "Invalid node filter: error parsing regexp: unclosed group: `(`");
        let told = check(&event(["", "a", "["])).unwrap_err().to_string();
        assert!(told.starts_with("Invalid tag filter: error parsing regexp: "), "{told}");
        assert!(check(&event(["", "(a{1000}){1000}", ""])).is_err(), "a pattern has a bound");
        assert_eq!(check(&event(["a", "b", "c"])), Ok(()));
    }

    #[test]
    fn the_last_ones_are_kept() {
        let events = Events::default();
        let heard = events.count();
        for ltime in 0..=EVENTS_KEPT_MAX as u64 {
            events.hear(Event { ltime, ..Event::default() }, "n1", [].iter());
        }
        assert!(heard.has_changed().unwrap());
        let kept = events.all();
        assert_eq!((kept.len(), kept[0].ltime), (EVENTS_KEPT_MAX, 1));
    }
}
