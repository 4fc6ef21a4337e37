//! How the servers are, and since when: looked at again and again by the leader (pure).

use std::collections::BTreeMap;
use std::time::Duration;

use raft::NodeId;
use tokio::time::Instant;

use crate::model::{Autopilot, MemberStatus};

/// What the leader sees of a server at one look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// What the pool says of it.
    pub(super) status: Option<MemberStatus>,
    /// How long ago it answered; zero for the leader itself.
    pub(super) contact: Option<Duration>,
    /// How many entries of the log it is behind.
    pub(super) behind: u64,
}

impl Seen {
    /// Whether it is alive, answers and keeps up. A leader that is heard from once a heartbeat
    /// cannot say more than that of a silence.
    pub(super) fn is_well(&self, settings: &Autopilot, heartbeat: Duration) -> bool {
        let most = Duration::from_millis(settings.last_contact_ms).saturating_add(heartbeat);
        self.status == Some(MemberStatus::Alive)
            && self.contact.is_some_and(|age| age <= most)
            && self.behind <= settings.max_trailing_logs
    }
}

/// A moment, on both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) now: Instant,
    /// Seconds since 1970, for display.
    pub(super) wall: u64,
}

/// What the leader's looks came to. Empty on a server that does not lead.
#[derive(Debug, Default)]
pub(in crate::replica) struct Health {
    servers: BTreeMap<NodeId, Record>,
}

/// One server's.
#[derive(Clone, Copy, Debug)]
struct Record {
    well: bool,
    since: Moment,
    /// The last look was against what was held before.
    doubted: bool,
}

impl Health {
    /// Takes a look at all servers in.
    ///
    /// One that was well is ill when two looks in a row say so: a single late one is the leader's
    /// own stumble as often as the server's.
    pub(super) fn look(&mut self, seen: &BTreeMap<NodeId, bool>, at: Moment) {
        self.servers.retain(|node, _| seen.contains_key(node));
        for (node, well) in seen {
            let fresh = Record { well: *well, since: at, doubted: false };
            let record = self.servers.entry(*node).or_insert(fresh);
            if record.well == *well {
                record.doubted = false;
            } else if *well || record.doubted {
                *record = fresh;
            } else {
                record.doubted = true;
            }
        }
    }

    /// Whether a server is well, and since which second; `None` before the first look.
    pub(super) fn of(&self, node: NodeId) -> Option<(bool, u64)> {
        self.servers.get(&node).map(|record| (record.well, record.since.wall))
    }

    /// Whether a server has been well for `span`.
    pub(super) fn is_stable(&self, node: NodeId, span: Duration, now: Instant) -> bool {
        let record = self.servers.get(&node).filter(|record| record.well && !record.doubted);
        record.is_some_and(|record| now.saturating_duration_since(record.since.now) >= span)
    }

    /// Forgets all: another server leads.
    pub(in crate::replica) fn clear(&mut self) {
        self.servers.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time;

    #[test]
    fn a_server_is_well_while_it_is_alive_answers_and_keeps_up() {
        let beat = Duration::from_millis(100);
        let well = Seen {
            status: Some(MemberStatus::Alive),
            contact: Some(Duration::from_millis(300)),
            behind: 250,
        };
        let settings = Autopilot::default();
        assert!(well.is_well(&settings, beat));
        for ill in [
            Seen { contact: Some(Duration::from_millis(301)), ..well },
            Seen { contact: None, ..well },
            Seen { behind: 251, ..well },
            Seen { status: Some(MemberStatus::Failed), ..well },
            Seen { status: Some(MemberStatus::Left), ..well },
            Seen { status: None, ..well },
        ] {
            assert!(!ill.is_well(&settings, beat), "{ill:?}");
        }
        let patient = Autopilot { last_contact_ms: 500, max_trailing_logs: 300, ..settings };
        assert!(
            Seen { contact: Some(Duration::from_millis(600)), behind: 300, ..well }
                .is_well(&patient, beat)
        );
    }

    /// What was looked at every second, one digit a look: `1` well, `0` ill.
    fn looks(text: &str) -> (Health, Instant) {
        let (start, mut health) = (time::now(), Health::default());
        let mut now = start;
        for (second, look) in text.chars().enumerate() {
            now = start + Duration::from_secs(second as u64);
            health.look(&[(7, look == '1')].into(), Moment { now, wall: second as u64 });
        }
        (health, now)
    }

    #[test]
    fn stability_counts_from_the_last_change() {
        for (text, well, since, stable_for) in [
            ("1", true, 0, 0),
            ("1111", true, 0, 3),
            ("1101111", true, 0, 6), // one doubt is forgiven
            ("11001111", true, 4, 3),
            ("0001", true, 3, 0),
            ("01111", true, 1, 3),
        ] {
            let (health, now) = looks(text);
            assert_eq!(health.of(7), Some((well, since)), "{text}");
            assert!(health.is_stable(7, Duration::from_secs(stable_for), now), "{text}");
            assert!(!health.is_stable(7, Duration::from_secs(stable_for + 1), now), "{text}");
        }
        for text in ["0", "1110", "11100"] {
            let (health, now) = looks(text);
            assert!(!health.is_stable(7, Duration::ZERO, now), "{text}");
        }
        let (mut health, now) = looks("111");
        health.look(&BTreeMap::new(), Moment { now, wall: 3 });
        assert_eq!(health.of(7), None, "who is no member any more is forgotten");
    }
}
