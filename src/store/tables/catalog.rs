//! Nodes with their instances and checks, and the ways to find them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::last::{NodeLast, ServiceLast};
use crate::model::{Check, CheckStatus, Node, NodeCoordinate, Service};

/// The form in which names of nodes and services are compared.
pub(crate) fn fold(name: &str) -> String {
    name.to_lowercase()
}

/// A node with everything that is on it.
#[derive(Debug)]
pub(crate) struct NodeRecord {
    /// The node.
    pub(crate) node: Arc<Node>,
    /// Its instances by id.
    pub(crate) services: BTreeMap<String, Arc<Service>>,
    /// Its checks by id.
    pub(crate) checks: BTreeMap<String, Arc<Check>>,
    /// The same checks by instance; the node's own under the empty id.
    groups: BTreeMap<String, BTreeMap<String, Arc<Check>>>,
    /// Where it lies in the network, by segment.
    pub(crate) coordinates: BTreeMap<String, Arc<NodeCoordinate>>,
    /// Its last indexes.
    pub(crate) last: NodeLast,
}

impl NodeRecord {
    /// The checks of one instance, or of the node itself under the empty id.
    pub(crate) fn checks_of(&self, service_id: &str) -> impl Iterator<Item = &Arc<Check>> {
        self.groups.get(service_id).into_iter().flat_map(BTreeMap::values)
    }
}

/// A service: where its instances are.
#[derive(Debug, Default)]
pub(crate) struct ServiceRecord {
    /// (node in lower case, instance id).
    pub(crate) instances: BTreeSet<(String, String)>,
    /// Its last indexes.
    pub(crate) last: ServiceLast,
}

/// The catalog. Nodes and services stand under their names in lower case.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    nodes: BTreeMap<String, NodeRecord>,
    nodes_by_id: BTreeMap<String, String>,
    nodes_by_address: BTreeSet<(String, String)>,
    services: BTreeMap<String, ServiceRecord>,
    services_by_address: BTreeSet<(String, String, String)>,
    checks_by_state: BTreeMap<String, BTreeSet<(String, String)>>,
}

impl Catalog {
    /// A node by its name in lower case.
    pub(crate) fn node(&self, node: &str) -> Option<&NodeRecord> {
        self.nodes.get(node)
    }

    /// The name, in lower case, of the node that has this id.
    pub(crate) fn node_of_id(&self, id: &str) -> Option<&str> {
        if id.is_empty() {
            return None;
        }
        self.nodes_by_id.get(&fold(id)).map(String::as_str)
    }

    /// All nodes in order.
    pub(crate) fn nodes(&self) -> &BTreeMap<String, NodeRecord> {
        &self.nodes
    }

    /// The last indexes of a node, to be moved.
    pub(crate) fn node_last(&mut self, node: &str) -> Option<&mut NodeLast> {
        self.nodes.get_mut(node).map(|record| &mut record.last)
    }

    /// Stores a node; what is on it stays.
    pub(crate) fn insert_node(&mut self, node: Arc<Node>) {
        let name = fold(&node.name);
        if let Some(record) = self.nodes.get(&name) {
            let old = Arc::clone(&record.node);
            self.unlist_node(&name, &old);
        }
        if !node.id.is_empty() {
            let former = self.nodes_by_id.insert(fold(&node.id), name.clone());
            assert!(former.is_none(), "node id {} names one node", node.id);
        }
        self.nodes_by_address.insert((node.address.clone(), name.clone()));
        if let Some(record) = self.nodes.get_mut(&name) {
            record.node = node;
            return;
        }
        let record = NodeRecord {
            node,
            services: BTreeMap::new(),
            checks: BTreeMap::new(),
            groups: BTreeMap::new(),
            coordinates: BTreeMap::new(),
            last: NodeLast::default(),
        };
        self.nodes.insert(name, record);
    }

    fn unlist_node(&mut self, name: &str, node: &Node) {
        if !node.id.is_empty() {
            self.nodes_by_id.remove(&fold(&node.id));
        }
        self.nodes_by_address.remove(&(node.address.clone(), name.to_owned()));
    }

    /// Removes a node that has no instances and no checks any more.
    pub(crate) fn remove_node(&mut self, name: &str) {
        let Some(record) = self.nodes.remove(name) else { return };
        assert!(record.services.is_empty(), "node {name:?} goes after its instances");
        assert!(record.checks.is_empty(), "node {name:?} goes after its checks");
        self.unlist_node(name, &record.node);
    }

    /// Removes a node that carries nothing; one that carries something only loses its id.
    pub(crate) fn clear_node(&mut self, name: &str) {
        let Some(record) = self.nodes.get(name) else { return };
        let bare = record.services.is_empty() && record.checks.is_empty();
        if bare && record.coordinates.is_empty() {
            return self.remove_node(name);
        }
        let node = Node { id: String::new(), ..Node::clone(&record.node) };
        self.insert_node(Arc::new(node));
    }

    /// The nodes that have this address, by name in lower case.
    pub(crate) fn nodes_at(&self, address: &str) -> impl Iterator<Item = &NodeRecord> {
        let from = (address.to_owned(), String::new());
        let of = address.to_owned();
        self.nodes_by_address
            .range(from..)
            .take_while(move |(at, _)| *at == of)
            .filter_map(|(_, name)| self.nodes.get(name))
    }

    /// Stores where a node lies; false when it is not there.
    pub(crate) fn insert_coordinate(&mut self, one: Arc<NodeCoordinate>) -> bool {
        let record = self.nodes.get_mut(&fold(&one.node));
        record.map(|record| record.coordinates.insert(one.segment.clone(), one)).is_some()
    }

    /// Removes a coordinate, if it is there; the node's name in lower case.
    pub(crate) fn remove_coordinate(&mut self, node: &str, segment: &str) {
        if let Some(record) = self.nodes.get_mut(node) {
            record.coordinates.remove(segment);
        }
    }

    /// A service by its name in lower case.
    pub(crate) fn service(&self, name: &str) -> Option<&ServiceRecord> {
        self.services.get(name)
    }

    /// All services in order.
    pub(crate) fn services(&self) -> &BTreeMap<String, ServiceRecord> {
        &self.services
    }

    /// The last indexes of a service, to be moved.
    pub(crate) fn service_last(&mut self, name: &str) -> Option<&mut ServiceLast> {
        self.services.get_mut(name).map(|record| &mut record.last)
    }

    /// One instance.
    pub(crate) fn instance(&self, node: &str, id: &str) -> Option<&Arc<Service>> {
        self.nodes.get(node).and_then(|record| record.services.get(id))
    }

    /// Stores an instance on a node that is there; false when it is not.
    pub(crate) fn insert_service(&mut self, service: Arc<Service>) -> bool {
        let node = fold(&service.node);
        self.make_room(&node, &service);
        let Some(record) = self.nodes.get_mut(&node) else { return false };
        let id = service.id.clone();
        let of = self.services.entry(fold(&service.name)).or_default();
        of.instances.insert((node.clone(), id.clone()));
        if !service.address.is_empty() {
            self.services_by_address.insert((service.address.clone(), node, id.clone()));
        }
        record.services.insert(id, service);
        true
    }

    /// Takes an older state of an instance out; its service keeps its last indexes if it stays.
    fn make_room(&mut self, node: &str, service: &Service) {
        let Some(old) = self.instance(node, &service.id).map(Arc::clone) else { return };
        if fold(&old.name) != fold(&service.name) {
            self.remove_service(node, &old.id);
        } else if !old.address.is_empty() {
            let key = (old.address.clone(), node.to_owned(), old.id.clone());
            self.services_by_address.remove(&key);
        }
    }

    /// Removes an instance. A service without instances goes, with its last indexes.
    pub(crate) fn remove_service(&mut self, node: &str, id: &str) -> Option<Arc<Service>> {
        let service = self.nodes.get_mut(node)?.services.remove(id)?;
        let name = fold(&service.name);
        let key = (node.to_owned(), id.to_owned());
        let of = self.services.get_mut(&name).expect("an instance is listed under its service");
        of.instances.remove(&key);
        if of.instances.is_empty() {
            self.services.remove(&name);
        }
        if !service.address.is_empty() {
            self.services_by_address.remove(&(service.address.clone(), key.0, key.1));
        }
        Some(service)
    }

    /// The instances that have this address of their own, each as (node in lower case, id).
    pub(crate) fn services_at(&self, address: &str) -> impl Iterator<Item = (&str, &str)> {
        let from = (address.to_owned(), String::new(), String::new());
        let of = address.to_owned();
        self.services_by_address
            .range(from..)
            .take_while(move |(at, _, _)| *at == of)
            .map(|(_, node, id)| (node.as_str(), id.as_str()))
    }

    /// One check.
    pub(crate) fn check(&self, node: &str, id: &str) -> Option<&Arc<Check>> {
        self.nodes.get(node).and_then(|record| record.checks.get(id))
    }

    /// Stores a check on a node that is there; false when it is not.
    pub(crate) fn insert_check(&mut self, check: Arc<Check>) -> bool {
        let node = fold(&check.node);
        self.remove_check(&node, &check.id);
        let Some(record) = self.nodes.get_mut(&node) else { return false };
        let id = check.id.clone();
        let group = record.groups.entry(check.service_id.clone()).or_default();
        group.insert(id.clone(), Arc::clone(&check));
        let state = self.checks_by_state.entry(check.status.as_str().to_owned()).or_default();
        state.insert((node, id.clone()));
        record.checks.insert(id, check);
        true
    }

    /// Removes a check.
    pub(crate) fn remove_check(&mut self, node: &str, id: &str) -> Option<Arc<Check>> {
        let record = self.nodes.get_mut(node)?;
        let check = record.checks.remove(id)?;
        let group = record.groups.get_mut(&check.service_id).expect("a check is in its group");
        group.remove(id);
        if group.is_empty() {
            record.groups.remove(&check.service_id);
        }
        let word = check.status.as_str();
        let state = self.checks_by_state.get_mut(word).expect("a check is listed by its state");
        state.remove(&(node.to_owned(), id.to_owned()));
        if state.is_empty() {
            self.checks_by_state.remove(word);
        }
        Some(check)
    }

    /// The checks in one state, by node and id.
    pub(crate) fn checks_in(&self, status: &CheckStatus) -> impl Iterator<Item = &Arc<Check>> {
        let listed = self.checks_by_state.get(status.as_str()).into_iter().flatten();
        listed.filter_map(|(node, id)| self.check(node, id))
    }

    /// How many entries the indexes have: nodes by id, by address, instances, checks by state.
    #[cfg(any(test, feature = "fuzz"))]
    pub(crate) fn listed(&self) -> [usize; 4] {
        let instances = self.services.values().map(|service| service.instances.len()).sum();
        let checks = self.checks_by_state.values().map(BTreeSet::len).sum();
        [self.nodes_by_id.len(), self.nodes_by_address.len(), instances, checks]
    }

    /// How many instances are listed by an address of their own.
    #[cfg(any(test, feature = "fuzz"))]
    pub(crate) fn listed_addresses(&self) -> usize {
        self.services_by_address.len()
    }
}
