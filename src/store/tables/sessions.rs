//! Sessions by id, by node, by check and by deadline.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::catalog::fold;
use crate::model::{ClusterTime, Session, SessionId};

/// The living sessions.
#[derive(Debug, Default)]
pub(crate) struct SessionTable {
    sessions: BTreeMap<SessionId, Arc<Session>>,
    of_nodes: BTreeMap<String, BTreeSet<SessionId>>,
    of_checks: BTreeMap<(String, String), BTreeSet<SessionId>>,
    deadlines: BTreeSet<(ClusterTime, SessionId)>,
}

impl SessionTable {
    /// The session of this id.
    pub(crate) fn get(&self, id: SessionId) -> Option<&Arc<Session>> {
        self.sessions.get(&id)
    }

    /// All sessions in the order of their ids.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Session>> {
        self.sessions.values()
    }

    /// Stores a session, also in place of an older state of itself.
    pub(crate) fn insert(&mut self, session: Arc<Session>) {
        let id = session.spec.id;
        self.remove(id);
        let node = fold(&session.spec.node);
        for check in session.bound_checks() {
            self.of_checks.entry((node.clone(), check.to_owned())).or_default().insert(id);
        }
        self.of_nodes.entry(node).or_default().insert(id);
        if let Some(deadline) = session.deadline {
            self.deadlines.insert((deadline, id));
        }
        self.sessions.insert(id, session);
    }

    /// Removes a session.
    pub(crate) fn remove(&mut self, id: SessionId) -> Option<Arc<Session>> {
        let session = self.sessions.remove(&id)?;
        let node = fold(&session.spec.node);
        for check in session.bound_checks() {
            let key = (node.clone(), check.to_owned());
            // A check that is named twice in one session was dropped with its first name.
            if let Some(ids) = self.of_checks.get_mut(&key) {
                ids.remove(&id);
                if ids.is_empty() {
                    self.of_checks.remove(&key);
                }
            }
        }
        let ids = self.of_nodes.get_mut(&node).expect("a session is listed under its node");
        ids.remove(&id);
        if ids.is_empty() {
            self.of_nodes.remove(&node);
        }
        if let Some(deadline) = session.deadline {
            self.deadlines.remove(&(deadline, id));
        }
        Some(session)
    }

    /// The sessions of a node; its name in lower case.
    pub(crate) fn of_node(&self, node: &str) -> Vec<SessionId> {
        self.of_nodes.get(node).map(|ids| ids.iter().copied().collect()).unwrap_or_default()
    }

    /// The sessions that end with a check; the node's name in lower case.
    pub(crate) fn of_check(&self, node: &str, check: &str) -> Vec<SessionId> {
        let key = (node.to_owned(), check.to_owned());
        self.of_checks.get(&key).map(|ids| ids.iter().copied().collect()).unwrap_or_default()
    }

    /// The deadlines from the nearest on.
    pub(crate) fn deadlines(&self) -> &BTreeSet<(ClusterTime, SessionId)> {
        &self.deadlines
    }

    /// How many entries the indexes by node and by check have.
    #[cfg(any(test, feature = "fuzz"))]
    pub(crate) fn listed(&self) -> (usize, usize) {
        let by_node = self.of_nodes.values().map(BTreeSet::len).sum();
        (by_node, self.of_checks.values().map(BTreeSet::len).sum())
    }
}
