//! Renewals that the leader took and did not replicate yet.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;

use crate::limits;
use crate::model::{ClusterTime, Renewal, Session, SessionId};

/// The leader's table. Empty on a server that does not lead.
#[derive(Default)]
pub(super) struct Renewals {
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    /// Taken, not replicated: when it was taken and when it is due at the latest.
    pending: BTreeMap<SessionId, Pending>,
    /// The earliest `due` in `pending`, so that a write need not look through it.
    earliest: Option<ClusterTime>,
}

#[derive(Clone, Copy)]
struct Pending {
    taken: ClusterTime,
    due: ClusterTime,
}

impl Renewals {
    /// Takes the renewal of `session` at `now`. Replicated at most max(1 s, a tenth of its TTL)
    /// later; a session without TTL needs none.
    pub(super) fn take(&self, session: &Session, now: ClusterTime) {
        let Some(ttl) = session.spec.ttl_ms else { return };
        let patience = Duration::from_millis(ttl / 10).max(Duration::from_secs(1));
        let mut table = self.table.lock();
        let due = now.after(patience);
        let entry = table.pending.entry(session.spec.id).or_insert(Pending { taken: now, due });
        entry.taken = now; // the first that is pending decides when it is due
        let due = entry.due;
        table.earliest = Some(table.earliest.map_or(due, |earliest| earliest.min(due)));
    }

    /// Whether the session was renewed and the state does not know it yet.
    pub(super) fn is_pending(&self, id: SessionId) -> bool {
        self.table.lock().pending.contains_key(&id)
    }

    /// Whether some are due at `now`.
    pub(super) fn due(&self, now: ClusterTime) -> bool {
        self.table.lock().earliest.is_some_and(|earliest| earliest <= now)
    }

    /// The renewals to put into the next command: none before the first is due, then all.
    pub(super) fn drain(&self, now: ClusterTime) -> Vec<Renewal> {
        let mut table = self.table.lock();
        if table.earliest.is_none_or(|earliest| earliest > now) {
            return Vec::new();
        }
        let mut drained = Vec::new();
        while drained.len() < limits::RENEWALS_A_COMMAND_MAX {
            let Some((id, pending)) = table.pending.pop_first() else { break };
            drained.push(Renewal { id, at: pending.taken });
        }
        table.earliest = table.pending.values().map(|pending| pending.due).min();
        drained
    }

    /// Puts back what could not be proposed.
    pub(super) fn restore(&self, renewals: &[Renewal]) {
        let mut table = self.table.lock();
        for renewal in renewals {
            let pending = Pending { taken: renewal.at, due: renewal.at };
            table.pending.entry(renewal.id).or_insert(pending);
            table.earliest =
                Some(table.earliest.map_or(renewal.at, |earliest| earliest.min(renewal.at)));
        }
    }

    /// Forgets all: another server leads.
    pub(super) fn clear(&self) {
        *self.table.lock() = Table::default();
    }
}

/// Whether less than a TTL is left of a session at `now`, as far as its renewals were replicated.
pub(super) fn is_late(session: &Session, now: ClusterTime) -> bool {
    let Some((ttl, deadline)) = session.spec.ttl_ms.zip(session.deadline) else { return false };
    deadline < now.after(Duration::from_millis(ttl))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::model::{Behavior, Index, SessionSpec};

    fn session(number: u128, ttl_ms: u64) -> Session {
        let spec = SessionSpec {
            id: SessionId(Uuid::from_u128(number)),
            name: String::new(),
            node: "n".to_owned(),
            lock_delay_ms: 0,
            behavior: Behavior::Release,
            ttl_ms: Some(ttl_ms),
            ttl_text: String::new(),
            node_checks: Vec::new(),
            service_checks: None,
            checks: None,
        };
        Session { spec, sequence: 0, deadline: None, create: Index(1), modify: Index(1) }
    }

    #[test]
    fn a_renewal_waits_for_a_tenth_of_its_ttl_and_keeps_its_last_time() {
        let renewals = Renewals::default();
        let one = session(1, 30_000);
        renewals.take(&one, ClusterTime(1_000));
        renewals.take(&one, ClusterTime(3_500));
        assert!(renewals.drain(ClusterTime(3_999)).is_empty());
        let drained = renewals.drain(ClusterTime(4_000));
        assert_eq!(drained, [Renewal { id: one.spec.id, at: ClusterTime(3_500) }]);
        assert!(!renewals.is_pending(one.spec.id) && !renewals.due(ClusterTime(99_999)));
    }

    #[test]
    fn what_could_not_be_proposed_comes_back_unless_renewed_meanwhile() {
        let renewals = Renewals::default();
        let one = session(1, 10_000);
        renewals.take(&one, ClusterTime(0));
        let drained = renewals.drain(ClusterTime(1_000));
        renewals.take(&one, ClusterTime(1_500));
        renewals.restore(&drained);
        let again = renewals.drain(ClusterTime(5_000));
        assert_eq!(again, [Renewal { id: one.spec.id, at: ClusterTime(1_500) }]);
    }

    /// What is answered and then lost with its leader must leave the session a TTL to live.
    #[test]
    fn a_renewal_after_its_ttl_is_late() {
        let mut one = session(1, 10_000);
        one.deadline = Some(ClusterTime(21_000)); // renewed at 1,000
        assert!(!is_late(&one, ClusterTime(11_000)));
        assert!(is_late(&one, ClusterTime(11_001)));
        one.spec.ttl_ms = None;
        one.deadline = None;
        assert!(!is_late(&one, ClusterTime(99_999)));
    }
}
