//! An event: a word that somebody throws into the pool, for those whom it fits.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::limits::{EVENT_BYTES_MAX, EVENT_HEAD_BYTES, EVENT_NAME_TIMES};

/// An event. Source: Consul HTTP API, "Event".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Random, chosen by who fires it.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// What it carries; may be empty.
    pub payload: Bytes,
    /// A pattern: only nodes whose name it matches take the event. Empty: all.
    pub node_filter: String,
    /// A pattern: only agents with a service whose name or id it matches. Empty: all.
    pub service_filter: String,
    /// A pattern: only agents with such a service that has a tag which it matches. Empty: all.
    pub tag_filter: String,
    /// Lamport time: above that of every event that its sender had seen. 0 until it is fired.
    pub ltime: u64,
}

impl Event {
    /// Whether it is small enough to be fired: [`EVENT_BYTES_MAX`] with everything around it.
    pub fn fits(&self) -> bool {
        let filters = [&self.node_filter, &self.service_filter, &self.tag_filter];
        let filters = filters.into_iter().filter(|filter| !filter.is_empty());
        let filters: usize = filters.map(|filter| filter.len() + 4).sum();
        let name = self.name.len() * EVENT_NAME_TIMES;
        EVENT_HEAD_BYTES + name + filters + self.payload.len() <= EVENT_BYTES_MAX
    }

    /// The index by which readers tell the newest event from another: both halves of its id,
    /// one over the other. It does not grow.
    pub fn index(&self) -> u64 {
        let (high, low) = self.id.as_u64_pair();
        high ^ low
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_is_that_of_consul() {
        let fits = |name: usize, payload: usize, filters: [&str; 3]| {
            let [node_filter, service_filter, tag_filter] = filters.map(str::to_owned);
            let payload = Bytes::from(vec![b'x'; payload]);
            let name = "e".repeat(name);
            Event { name, payload, node_filter, service_filter, tag_filter, ..Event::default() }
                .fits()
        };
        for (name, filters, most) in [
            (1, ["", "", ""], 414),
            (10, ["", "", ""], 396),
            (1, ["n", "", ""], 409),
            (1, ["nnnnn", "", ""], 405),
            (1, ["n", "s", "t"], 399),
        ] {
            assert!(
                fits(name, most, filters) && !fits(name, most + 1, filters),
                "{name} {filters:?}"
            );
        }
    }

    #[test]
    fn the_index_is_that_of_consul() {
        let id = Uuid::parse_str("debcf8db-b9c7-43f7-9236-4edeaebd93e9").unwrap();
        assert_eq!(Event { id, ..Event::default() }.index(), 5_515_420_826_653_610_014);
    }
}
