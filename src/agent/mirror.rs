//! A catalog for tests: takes the commands that this room sends, as the store would.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::{Check, CheckUpdate, Command, Deregistration, Node, NodeServices, Service};

use super::push::Push;
use super::sync::Seen;

/// What the catalog holds of one node.
#[derive(Debug, Default)]
pub(super) struct Mirror {
    pub(super) node: Option<Node>,
    pub(super) services: BTreeMap<String, Service>,
    pub(super) checks: BTreeMap<String, Check>,
    /// How many commands it took.
    pub(super) commands: usize,
}

impl Mirror {
    /// Takes pushes; how many commands they were.
    pub(super) fn take(&mut self, pushes: Vec<Push>) -> usize {
        let before = self.commands;
        for command in pushes.into_iter().flat_map(|push| push.commands) {
            self.apply(command);
        }
        self.commands - before
    }

    fn apply(&mut self, command: Command) {
        self.commands += 1;
        match command {
            Command::Register(registration) => {
                self.node = Some(registration.node);
                let services = registration.service.into_iter();
                self.services.extend(services.map(|service| (service.id.clone(), service)));
                for check in registration.checks {
                    let known = self.services.contains_key(&check.service_id);
                    assert!(known || check.service_id.is_empty(), "{check:?} has its service");
                    self.checks.insert(check.id.clone(), check);
                }
            }
            Command::Deregister(Deregistration { check: Some(id), .. }) => {
                self.checks.remove(&id);
            }
            Command::Deregister(Deregistration { service: Some(id), .. }) => {
                self.services.remove(&id);
                self.checks.retain(|_, check| check.service_id != id);
            }
            Command::CheckUpdate(updates) => updates.into_iter().for_each(|one| self.update(one)),
            other => panic!("an agent does not send {other:?}"),
        }
    }

    fn update(&mut self, update: CheckUpdate) {
        if let Some(check) = self.checks.get_mut(&update.check) {
            (check.status, check.output) = (update.status, update.output);
        }
    }

    /// What a read of it brings.
    pub(super) fn seen(&self) -> Seen {
        let services = || self.services.values().cloned().map(Arc::new).collect();
        let here = |node: Node| NodeServices { node: Arc::new(node), services: services() };
        let checks = self.checks.values().cloned().map(Arc::new).collect();
        Seen { here: self.node.clone().map(here), checks }
    }
}
