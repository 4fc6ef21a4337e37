//! All of a backup's content, and how it is cut into pieces of a bounded size.

use serde::{Deserialize, Serialize};

use super::autopilot::Autopilot;
use super::catalog::{Check, Node, Service};
use super::coordinate::NodeCoordinate;
use super::kv::KvEntry;
use super::prepared::PreparedQuery;
use super::session::Session;

/// All of a backup's content.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup {
    /// The keys.
    pub kv: Vec<KvEntry>,
    /// The sessions.
    pub sessions: Vec<Session>,
    /// The nodes.
    pub nodes: Vec<Node>,
    /// The instances.
    pub services: Vec<Service>,
    /// The checks.
    pub checks: Vec<Check>,
    /// The prepared queries.
    pub prepared: Vec<PreparedQuery>,
    /// The coordinates of nodes.
    pub coordinates: Vec<NodeCoordinate>,
    /// Autopilot's settings, once a leader has stored any.
    pub autopilot: Option<Autopilot>,
}

/// What a record is taken to cost beside its texts: names of fields cost nothing, numbers little.
const RECORD_BYTES: usize = 256;

impl Backup {
    /// Cuts it into backups of about `bytes` each, at most one record above that; none is empty.
    /// Together, in this order, they are the whole.
    pub fn parts(&self, bytes: usize) -> Vec<Self> {
        let mut cut = Cut { bytes, filled: 0, part: Self::default(), parts: Vec::new() };
        for entry in &self.kv {
            let size = entry.key.len() + entry.value.len();
            cut.add(size, |part| part.kv.push(entry.clone()));
        }
        for session in &self.sessions {
            let spec = &session.spec;
            let checks: usize = session.bound_checks().map(str::len).sum();
            let size = spec.name.len() + spec.node.len() + checks;
            cut.add(size, |part| part.sessions.push(session.clone()));
        }
        for node in &self.nodes {
            let size = pairs(&node.meta) + pairs(&node.tagged_addresses);
            cut.add(size, |part| part.nodes.push(node.clone()));
        }
        for service in &self.services {
            let tags: usize = service.tags.iter().map(|tag| tag.len() + 8).sum();
            let mesh = service.proxy.len() + service.connect.len();
            let size = pairs(&service.meta) + tags + mesh;
            cut.add(size, |part| part.services.push(service.clone()));
        }
        for check in &self.checks {
            let tags: usize = check.service_tags.iter().map(|tag| tag.len() + 8).sum();
            let size = check.output.len() + check.notes.len() + tags;
            cut.add(size, |part| part.checks.push(check.clone()));
        }
        for query in &self.prepared {
            cut.add(query.text_bytes(), |part| part.prepared.push(query.clone()));
        }
        for one in &self.coordinates {
            let size = one.node.len() + one.segment.len();
            cut.add(size, |part| part.coordinates.push(one.clone()));
        }
        if let Some(autopilot) = &self.autopilot {
            cut.add(0, |part| part.autopilot = Some(autopilot.clone()));
        }
        cut.end()
    }

    /// Puts `part` behind what is here.
    pub fn append(&mut self, part: Self) {
        let Self { kv, sessions, nodes, services, checks, prepared, coordinates, autopilot } = part;
        self.kv.extend(kv);
        self.sessions.extend(sessions);
        self.nodes.extend(nodes);
        self.services.extend(services);
        self.checks.extend(checks);
        self.prepared.extend(prepared);
        self.coordinates.extend(coordinates);
        self.autopilot = autopilot.or(self.autopilot.take());
    }
}

fn pairs(pairs: &std::collections::BTreeMap<String, String>) -> usize {
    pairs.iter().map(|(key, value)| key.len() + value.len() + 16).sum()
}

struct Cut {
    bytes: usize,
    filled: usize,
    part: Backup,
    parts: Vec<Backup>,
}

impl Cut {
    fn add(&mut self, size: usize, push: impl FnOnce(&mut Backup)) {
        let size = size + RECORD_BYTES;
        if self.filled > 0 && self.filled + size > self.bytes {
            self.parts.push(std::mem::take(&mut self.part));
            self.filled = 0;
        }
        push(&mut self.part);
        self.filled += size;
    }

    fn end(mut self) -> Vec<Backup> {
        if self.filled > 0 {
            self.parts.push(self.part);
        }
        self.parts
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::model::Index;

    fn entry(key: usize, value: usize) -> KvEntry {
        KvEntry {
            key: format!("{key:04}"),
            value: Bytes::from(vec![0; value]),
            flags: 0,
            session: None,
            lock_index: 0,
            create: Index(1),
            modify: Index(1),
        }
    }

    #[test]
    fn parts_are_bounded_and_together_the_whole() {
        let mut whole = Backup::default();
        whole.kv.extend((0..100).map(|key| entry(key, key * 10)));
        whole.nodes.push(Node::default());
        whole.autopilot = Some(Autopilot::default());
        let parts = whole.parts(4096);
        let mut again = Backup::default();
        for part in &parts {
            let bytes: usize = part.kv.iter().map(|kv| kv.value.len() + 4 + RECORD_BYTES).sum();
            assert!(bytes <= 4096 && *part != Backup::default());
            again.append(part.clone());
        }
        assert!(parts.len() > 10 && again == whole);
    }

    #[test]
    fn a_record_above_the_bound_is_a_part_of_its_own() {
        let whole = Backup { kv: vec![entry(1, 9000), entry(2, 9000)], ..Backup::default() };
        assert_eq!(whole.parts(4096).len(), 2);
        assert!(Backup::default().parts(4096).is_empty());
    }
}
