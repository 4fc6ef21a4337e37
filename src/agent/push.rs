//! What the catalog has yet to be told, cut into commands. A push is taken out, sent, and put
//! back if it failed; whatever changes meanwhile is simply pending again.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use crate::limits;
use crate::model::{Check, CheckUpdate, Command, Deregistration, Registration, Service};

use super::bounds;
use super::registry::Registry;

/// Ids of what differs from the catalog, as far as is known.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// The node itself.
    pub(super) node: bool,
    /// Services to register, with all of their checks.
    pub(super) services: BTreeSet<String>,
    /// Checks to register.
    pub(super) checks: BTreeSet<String>,
    /// Checks whose verdict is to be told.
    pub(super) verdicts: BTreeSet<String>,
    /// Services to take out.
    pub(super) gone_services: BTreeSet<String>,
    /// Checks to take out, each with its service or nothing.
    pub(super) gone_checks: BTreeMap<String, String>,
}

/// Commands to send one after the other, and what is pending again if one of them fails.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Push {
    pub(super) commands: Vec<Command>,
    pub(super) what: What,
}

/// What a push is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    Node,
    Service(String),
    Checks(Vec<String>),
    Verdicts(Vec<String>),
    GoneService(String),
    GoneCheck(String, String),
}

impl Pending {
    /// Notes that a service went. Past the limit it is left to the next comparison.
    pub(super) fn forget_service(&mut self, id: &str) {
        if self.gone_services.len() < limits::AGENT_REGISTRATIONS_MAX {
            self.gone_services.insert(id.to_owned());
        }
    }

    /// Notes that a check went, likewise.
    pub(super) fn forget_check(&mut self, id: &str, service: String) {
        if self.gone_checks.len() < limits::AGENT_REGISTRATIONS_MAX {
            self.gone_checks.insert(id.to_owned(), service);
        }
    }
}

impl Registry {
    /// Takes up to `max` pushes out of what is pending.
    pub(super) fn take_pushes(&mut self, now: Instant, max: usize) -> Vec<Push> {
        self.outputs_fall_due(now);
        let mut pushes = Vec::new();
        let gone = self.take_gone_checks(max);
        while pushes.len() < max {
            let Some(id) = self.pending.gone_services.pop_first() else { break };
            let service = Some(id.clone());
            pushes.push(self.deregister(service, None, What::GoneService(id)));
        }
        for (id, service) in gone {
            pushes.push(self.deregister(None, Some(id.clone()), What::GoneCheck(id, service)));
        }
        while pushes.len() < max {
            let Some(push) = self.take_registration() else { break };
            pushes.push(push);
        }
        while pushes.len() < max && !self.pending.verdicts.is_empty() {
            pushes.extend(self.take_verdicts());
        }
        pushes
    }

    /// Outputs that waited long enough are told.
    fn outputs_fall_due(&mut self, now: Instant) {
        while self.outputs_due.first().is_some_and(|(due, _)| *due <= now) {
            let (_, id) = self.outputs_due.pop_first().expect("looked at just now");
            let entry = self.checks.get_mut(&id).expect("outputs_due names checks that are there");
            entry.output_due = None;
            self.pending.verdicts.insert(id);
            self.generation += 1;
        }
    }

    /// The checks that went without their service, which takes its own along.
    fn take_gone_checks(&mut self, max: usize) -> Vec<(String, String)> {
        let pending = &mut self.pending;
        let services = &pending.gone_services;
        pending.gone_checks.retain(|_, service| !services.contains(service));
        let mut gone = Vec::new();
        while gone.len() < max.saturating_sub(services.len()) {
            let Some(check) = pending.gone_checks.pop_first() else { break };
            gone.push(check);
        }
        gone
    }

    fn deregister(&self, service: Option<String>, check: Option<String>, what: What) -> Push {
        let node = self.node.name.clone();
        let commands = vec![Command::Deregister(Deregistration { node, service, check })];
        Push { commands, what }
    }

    fn take_registration(&mut self) -> Option<Push> {
        let push = if let Some(id) = self.pending.services.pop_first() {
            self.service_push(id)
        } else if let Some(id) = self.pending.checks.pop_first() {
            self.checks_push(id)
        } else if self.pending.node {
            Push { commands: vec![self.register(None, Vec::new())], what: What::Node }
        } else {
            return None;
        };
        self.pending.node = false; // every registration carries it
        Some(push)
    }

    /// A service and all its checks: one command, unless there are very many checks.
    fn service_push(&mut self, id: String) -> Push {
        let entry = self.services.get(&id).expect("pending names services that are there");
        let service = Service::clone(&entry.shown);
        let ids: Vec<String> = self.checks_of(&id).cloned().collect();
        let checks = ids.iter().map(|id| self.tell_check(id)).collect();
        Push { commands: self.registrations(Some(service), checks), what: What::Service(id) }
    }

    /// All pending checks of the same service, or of the node, as this one.
    fn checks_push(&mut self, first: String) -> Push {
        let service = self.checks[&first].shown.service_id.clone();
        let siblings: Vec<String> = if service.is_empty() {
            let node_s = |id: &&String| self.checks[*id].shown.service_id.is_empty();
            self.pending.checks.iter().filter(node_s).cloned().collect()
        } else {
            let waits = |id: &&String| self.pending.checks.contains(*id);
            self.checks_of(&service).filter(waits).cloned().collect()
        };
        let ids: Vec<String> = std::iter::once(first).chain(siblings).collect();
        let checks = ids.iter().map(|id| self.tell_check(id)).collect();
        Push { commands: self.registrations(None, checks), what: What::Checks(ids) }
    }

    /// The check as it is now; with this, nothing of it is pending any more.
    fn tell_check(&mut self, id: &str) -> Check {
        self.pending.checks.remove(id);
        self.pending.verdicts.remove(id);
        let entry = self.checks.get_mut(id).expect("pending names checks that are there");
        if let Some(due) = entry.output_due.take() {
            self.outputs_due.remove(&(due, id.to_owned()));
        }
        Check::clone(&entry.shown)
    }

    fn registrations(&self, service: Option<Service>, mut checks: Vec<Check>) -> Vec<Command> {
        let rest = checks.split_off(checks.len().min(bounds::CHECKS_A_COMMAND_MAX));
        let rest = rest.chunks(bounds::CHECKS_A_COMMAND_MAX);
        let rest = rest.map(|chunk| self.register(None, chunk.to_vec()));
        std::iter::once(self.register(service, checks)).chain(rest).collect()
    }

    fn register(&self, service: Option<Service>, checks: Vec<Check>) -> Command {
        let node = crate::model::Node::clone(&self.node);
        let skip_node_update = false;
        Command::Register(Box::new(Registration { node, skip_node_update, service, checks }))
    }

    fn take_verdicts(&mut self) -> Option<Push> {
        let mut updates = Vec::new();
        let mut ids = Vec::new();
        while updates.len() < bounds::CHECKS_A_COMMAND_MAX {
            let Some(id) = self.pending.verdicts.pop_first() else { break };
            if !self.checks.contains_key(&id) {
                continue;
            }
            let Check { node, id: check, status, output, .. } = self.tell_check(&id);
            updates.push(CheckUpdate { node, check, status, output });
            ids.push(id);
        }
        let commands = vec![Command::CheckUpdate(updates)];
        (!ids.is_empty()).then_some(Push { commands, what: What::Verdicts(ids) })
    }

    /// Makes what failed pending again, as far as it is still true.
    pub(super) fn put_back(&mut self, what: What) {
        match what {
            What::Node => self.pending.node = true,
            What::Service(id) => {
                let there = Some(id).filter(|id| self.services.contains_key(id));
                self.pending.services.extend(there);
            }
            What::Checks(ids) => {
                let there = ids.into_iter().filter(|id| self.checks.contains_key(id));
                self.pending.checks.extend(there);
            }
            What::Verdicts(ids) => {
                let there = ids.into_iter().filter(|id| self.checks.contains_key(id));
                self.pending.verdicts.extend(there);
            }
            What::GoneService(id) => {
                if !self.services.contains_key(&id) {
                    self.pending.forget_service(&id);
                }
            }
            What::GoneCheck(id, service) => {
                if !self.checks.contains_key(&id) {
                    self.pending.forget_check(&id, service);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::disk::Verdict;
    use super::super::handle::{AgentError, ReplaceChecks};
    use super::super::mirror::Mirror;
    use super::super::registry::{Judged, When};
    use super::super::spec::CheckSpec;
    use super::*;
    use crate::model::{CheckKind, CheckStatus, Node};
    use crate::time;

    fn empty() -> Registry {
        Registry::new(Node { name: "n1".to_owned(), ..Node::default() }, Duration::from_mins(5))
    }

    fn register(registry: &mut Registry, service: &str, checks: usize) {
        let service = Service { name: service.to_owned(), ..Service::default() };
        let mut check = CheckSpec::default();
        check.check.kind = CheckKind::Ttl;
        let plan = registry.plan_service(service, vec![check; checks], ReplaceChecks::Yes);
        registry.commit(plan.unwrap(), time::now());
    }

    fn take(registry: &mut Registry) -> Vec<Push> {
        registry.take_pushes(time::now(), 100)
    }

    fn whats(pushes: Vec<Push>) -> Vec<What> {
        pushes.into_iter().map(|push| push.what).collect()
    }

    fn pass(registry: &mut Registry, id: &str) {
        let verdict = Verdict { status: CheckStatus::Passing, output: String::new() };
        registry.tell(id, verdict, When { now: time::now(), chance: 0 }).unwrap();
    }

    #[test]
    fn a_service_goes_with_its_checks_and_verdicts_go_together() {
        let mut registry = empty();
        register(&mut registry, "web", 2);
        register(&mut registry, "db", 1);
        let pushes = take(&mut registry);
        assert_eq!(pushes.iter().map(|push| push.commands.len()).collect::<Vec<_>>(), [1, 1]);
        let Command::Register(web) = &pushes[1].commands[0] else { panic!("{pushes:?}") };
        assert_eq!((web.checks.len(), web.skip_node_update), (2, false));
        assert_eq!(take(&mut registry), []);
        for id in ["service:web:1", "service:db"] {
            pass(&mut registry, id);
        }
        let ids = vec!["service:db".to_owned(), "service:web:1".to_owned()];
        assert_eq!(whats(take(&mut registry)), [What::Verdicts(ids)]);
    }

    #[test]
    fn a_new_verdict_goes_with_the_registration_that_waits() {
        let mut registry = empty();
        register(&mut registry, "web", 1);
        pass(&mut registry, "service:web");
        let pushes = take(&mut registry);
        assert_eq!(pushes.len(), 1);
        let mut mirror = Mirror::default();
        mirror.take(pushes);
        assert_eq!(mirror.checks["service:web"].status, CheckStatus::Passing);
    }

    #[test]
    fn very_many_checks_are_cut_into_commands() {
        let mut registry = empty();
        register(&mut registry, "web", 2 * bounds::CHECKS_A_COMMAND_MAX + 1);
        let pushes = take(&mut registry);
        assert_eq!((pushes.len(), pushes[0].commands.len()), (1, 3));
        let mut mirror = Mirror::default();
        mirror.take(pushes);
        assert_eq!(mirror.checks, registry.shown_checks().into_iter().map(own).collect());
    }

    fn own((id, check): (String, std::sync::Arc<Check>)) -> (String, Check) {
        (id, Check::clone(&check))
    }

    #[test]
    fn a_round_takes_no_more_than_it_may_and_loses_nothing() {
        let mut registry = empty();
        for name in ["a", "b", "c", "d", "e"] {
            register(&mut registry, name, 1);
        }
        let mut mirror = Mirror::default();
        let mut rounds = 0;
        while mirror.take(registry.take_pushes(time::now(), 2)) > 0 {
            rounds += 1;
        }
        assert_eq!((rounds, mirror.services.len(), mirror.checks.len()), (3, 5, 5));
        for name in ["a", "b", "c"] {
            registry.remove_service(name);
        }
        registry.drop_check("service:d");
        while mirror.take(registry.take_pushes(time::now(), 1)) > 0 {}
        assert_eq!((mirror.services.len(), mirror.checks.len()), (2, 1));
    }

    #[test]
    fn what_failed_waits_again_as_far_as_it_is_still_true() {
        let mut registry = empty();
        register(&mut registry, "web", 1);
        register(&mut registry, "db", 1);
        let failed = whats(take(&mut registry));
        registry.remove_service("db");
        for what in failed {
            registry.put_back(what);
        }
        let gone = What::GoneService("db".to_owned());
        let pushes = whats(take(&mut registry));
        assert_eq!(pushes, [gone.clone(), What::Service("web".to_owned())]);

        register(&mut registry, "db", 1);
        registry.put_back(gone);
        assert_eq!(whats(take(&mut registry)), [What::Service("db".to_owned())]);
    }

    #[test]
    fn checks_that_are_not_named_again_go_only_if_replaced() {
        let mut registry = empty();
        register(&mut registry, "web", 2);
        take(&mut registry);
        let service = Service { name: "web".to_owned(), ..Service::default() };
        let plan = registry.plan_service(service, Vec::new(), ReplaceChecks::No).unwrap();
        registry.commit(plan, time::now());
        assert_eq!(take(&mut registry), [], "it is as it was");
        register(&mut registry, "web", 1);
        let first = What::GoneCheck("service:web:1".to_owned(), "web".to_owned());
        let second = What::GoneCheck("service:web:2".to_owned(), "web".to_owned());
        let new = What::Checks(vec!["service:web".to_owned()]);
        assert_eq!(whats(take(&mut registry)), [first, second, new]);
    }

    #[test]
    fn the_word_of_an_older_run_is_late() {
        let mut registry = empty();
        let mut run = |interval_ms| {
            let mut spec = CheckSpec::default();
            spec.check.name = "up".to_owned();
            (spec.check.kind, spec.check.definition.interval_ms) = (CheckKind::Tcp, interval_ms);
            let plan = registry.plan_check(spec).unwrap();
            registry.commit(plan, time::now()).pop().unwrap().run
        };
        let (older, newer) = (run(1000), run(2000));
        let when = When { now: time::now(), chance: 0 };
        let passing = || Verdict { status: CheckStatus::Passing, output: String::new() };
        assert_eq!(registry.report(("up", older), passing(), when), Judged::Same);
        assert_eq!(registry.report(("up", newer), passing(), when), Judged::Status);
        assert_eq!(registry.report(("up", newer), passing(), when), Judged::Same);
    }

    #[test]
    fn more_than_may_be_is_refused() {
        let max = limits::AGENT_REGISTRATIONS_MAX;
        let checks = vec![CheckSpec::default(); max];
        let plan = empty().plan_service(Service::default(), checks, ReplaceChecks::No);
        assert_eq!(plan.unwrap_err(), AgentError::TooMany(max));
    }
}
