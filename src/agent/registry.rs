//! What this host claims, in memory: services, checks with their verdicts, and what of it the
//! catalog has yet to be told. Pure: time and chance come in as arguments.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::limits;
use crate::model::{Check, CheckKind, CheckStatus, Node, Service};
use crate::time;

use super::bounds;
use super::checks::{Runner, alias_verdict, expired, told};
use super::disk::{Kept, Verdict};
use super::handle::{AgentError, ReplaceChecks};
use super::plan::{
    Plan, Planned, belong, fill_check, fill_checks, fill_service, output_max, shown, span,
};
use super::push::Pending;
use super::spec::CheckSpec;

/// What this host claims.
#[derive(Debug)]
pub(super) struct Registry {
    pub(super) node: Arc<Node>,
    output_interval: Duration,
    /// Most bytes of output that a check keeps.
    pub(super) output_max: usize,
    /// Whether outputs are not kept at all.
    pub(super) discard_output: bool,
    pub(super) services: BTreeMap<String, ServiceEntry>,
    pub(super) checks: BTreeMap<String, CheckEntry>,
    /// The ids of each service's checks. Holds exactly the checks that have a service.
    pub(super) of_service: BTreeMap<String, BTreeSet<String>>,
    /// The ids of the checks that have none: the node's own.
    of_node: BTreeSet<String>,
    /// The ids of the aliases of this agent's own instances, by the instance's id.
    aliases: BTreeMap<String, BTreeSet<String>>,
    pub(super) pending: Pending,
    /// When new outputs alone are told. Holds exactly what the entries hold.
    pub(super) outputs_due: BTreeSet<(Instant, String)>,
    /// Grows with each change that is to be pushed.
    pub(super) generation: u64,
    /// Tells of each change of a service as it is shown.
    told: watch::Sender<()>,
    runs: u64,
}

/// A service that is claimed.
#[derive(Debug)]
pub(super) struct ServiceEntry {
    /// As its owner gave it.
    given: Service,
    /// As it is claimed: the catalog may have put other tags.
    pub(super) shown: Arc<Service>,
}

/// A check that is claimed.
#[derive(Debug)]
pub(super) struct CheckEntry {
    /// As its owner gave it; its status is the first one only.
    pub(super) spec: CheckSpec,
    /// As it is claimed.
    pub(super) shown: Arc<Check>,
    /// Which start of it is running; a word of another one is late.
    run: u64,
    /// Keeps it running.
    runner: Option<Runner>,
    critical_since: Option<Instant>,
    /// When its new output is told.
    pub(super) output_due: Option<Instant>,
    /// It was loaded and has no verdict of its own yet.
    pub(super) unjudged: bool,
}

/// What a verdict changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judged {
    /// Nothing.
    Same,
    /// The output alone.
    Output,
    /// The status.
    Status,
}

/// The moment, and what chance says in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct When {
    pub(super) now: Instant,
    pub(super) chance: u64,
}

/// A check that must be started: the answer is [`Registry::attach`].
#[derive(Debug)]
pub(super) struct Start {
    /// The check.
    pub(super) spec: CheckSpec,
    /// The number to report with.
    pub(super) run: u64,
}

impl Registry {
    /// Claims nothing yet.
    pub(super) fn new(node: Node, output_interval: Duration) -> Self {
        Self {
            node: Arc::new(node),
            output_interval,
            output_max: limits::CHECK_OUTPUT_BYTES_MAX,
            discard_output: false,
            services: BTreeMap::new(),
            checks: BTreeMap::new(),
            of_service: BTreeMap::new(),
            of_node: BTreeSet::new(),
            aliases: BTreeMap::new(),
            pending: Pending::default(),
            outputs_due: BTreeSet::new(),
            generation: 0,
            told: watch::Sender::new(()),
            runs: 0,
        }
    }

    /// Takes over what was kept on disk. The first comparison finds what the catalog lacks.
    pub(super) fn load(&mut self, kept: Kept, now: Instant) -> Vec<Start> {
        for service in kept.services {
            self.put_service(fill_service(&self.node.name, service));
        }
        let mut starts = Vec::new();
        for (mut spec, verdict) in kept.checks {
            spec.check.node.clone_from(&self.node.name);
            if let Some(service) = self.services.get(&spec.check.service_id) {
                belong(&mut spec.check, &service.given);
            }
            let id = spec.check.id.clone();
            starts.extend(self.put_check(spec, now));
            let entry = self.checks.get_mut(&id).expect("put just now");
            let kind = entry.spec.check.kind;
            let verdict = verdict.filter(|_| kind == CheckKind::Ttl);
            entry.unjudged = runs(kind) && verdict.is_none();
            if runs(kind) {
                // Whatever its first status was meant to be: it has not been seen passing yet.
                entry.judge(verdict.unwrap_or_default(), now);
            }
        }
        starts
    }

    /// What the registration of a service would change.
    ///
    /// # Errors
    ///
    /// [`AgentError::TooMany`] if it does not fit.
    pub(super) fn plan_service(
        &self,
        service: Service,
        specs: Vec<CheckSpec>,
        replace: ReplaceChecks,
    ) -> Result<Plan, AgentError> {
        let service = fill_service(&self.node.name, service);
        let specs = fill_checks(&service, specs);
        let dropped = match replace {
            ReplaceChecks::No => Vec::new(),
            ReplaceChecks::Yes => self
                .checks_of(&service.id)
                .filter(|old| !specs.iter().any(|spec| spec.check.id == **old))
                .cloned()
                .collect(),
        };
        let known = self.services.get(&service.id);
        let changed = known.is_none_or(|entry| entry.given != service);
        let checks: Vec<_> = specs.into_iter().map(|spec| self.planned(spec)).collect();
        self.fits(usize::from(known.is_none()) + self.unknown(&checks))?;
        Ok(Plan { service: Some(Planned { what: service, changed }), checks, dropped })
    }

    /// What the registration of a check would change.
    ///
    /// # Errors
    ///
    /// [`AgentError::UnknownService`] if it names one; [`AgentError::TooMany`] if it does not fit.
    pub(super) fn plan_check(&self, spec: CheckSpec) -> Result<Plan, AgentError> {
        let mut spec = fill_check(spec);
        spec.check.node.clone_from(&self.node.name);
        if !spec.check.service_id.is_empty() {
            let id = &spec.check.service_id;
            let service = self.services.get(id);
            let service = service.ok_or_else(|| AgentError::UnknownService(id.clone()))?;
            belong(&mut spec.check, &service.given);
        }
        let checks = vec![self.planned(spec)];
        self.fits(self.unknown(&checks))?;
        Ok(Plan { service: None, checks, dropped: Vec::new() })
    }

    fn planned(&self, spec: CheckSpec) -> Planned<CheckSpec> {
        let changed = self.checks.get(&spec.check.id).is_none_or(|entry| entry.spec != spec);
        Planned { what: spec, changed }
    }

    fn unknown(&self, checks: &[Planned<CheckSpec>]) -> usize {
        checks.iter().filter(|check| !self.checks.contains_key(&check.what.check.id)).count()
    }

    fn fits(&self, more: usize) -> Result<(), AgentError> {
        let max = limits::AGENT_REGISTRATIONS_MAX;
        let fits = self.services.len() + self.checks.len() + more <= max;
        if fits { Ok(()) } else { Err(AgentError::TooMany(max)) }
    }

    /// Makes a plan true. The plan must have been made since the last change.
    pub(super) fn commit(&mut self, plan: Plan, now: Instant) -> Vec<Start> {
        for id in &plan.dropped {
            self.drop_check(id);
        }
        if let Some(service) = plan.service.filter(|service| service.changed) {
            let id = service.what.id.clone();
            self.put_service(service.what);
            self.pending.services.insert(id);
            self.generation += 1;
        }
        let mut starts = Vec::new();
        for Planned { what: spec, changed } in plan.checks {
            let id = spec.check.id.clone();
            starts.extend(self.put_check(spec, now));
            if changed {
                self.pending.checks.insert(id);
                self.generation += 1;
            }
        }
        starts
    }

    fn put_service(&mut self, service: Service) {
        self.pending.gone_services.remove(&service.id);
        for id in self.of_service.get(&service.id).into_iter().flatten() {
            let entry = self.checks.get_mut(id).expect("of_service names checks that are there");
            belong(&mut entry.spec.check, &service);
            belong(Arc::make_mut(&mut entry.shown), &service);
        }
        let shown = Arc::new(service.clone());
        let id = service.id.clone();
        self.services.insert(id.clone(), ServiceEntry { given: service, shown });
        self.stir(&id);
        self.wake();
    }

    /// Wakes who waits for a change of a service.
    pub(super) fn wake(&self) {
        self.told.send_replace(());
    }

    /// Tells of changes of services from now on; what changed is for its owner to look up.
    pub(super) fn listen(&self) -> watch::Receiver<()> {
        self.told.subscribe()
    }

    /// Puts a check. One that is there keeps its verdict; it is started again only if it is run
    /// differently now, or has a TTL, which begins anew.
    fn put_check(&mut self, spec: CheckSpec, now: Instant) -> Option<Start> {
        let id = spec.check.id.clone();
        let old = self.checks.remove(&id);
        if let Some(old) = &old {
            self.unlink(&id, &old.spec);
        }
        self.pending.gone_checks.remove(&id);
        self.link(&id, &spec);
        let service = spec.check.service_id.clone();
        let mut entry = CheckEntry::new(spec, now);
        let mut kept = None;
        if let Some(old) = old {
            let verdict = old.verdict();
            entry.judge(verdict, now);
            entry.critical_since = old.critical_since;
            (entry.unjudged, entry.output_due) = (old.unjudged, old.output_due);
            let ttl = entry.spec.check.kind == CheckKind::Ttl;
            if same_run(&old.spec, &entry.spec) && !ttl {
                kept = old.runner.map(|runner| (old.run, runner));
            }
        }
        let start = match kept {
            Some((run, runner)) => {
                (entry.run, entry.runner) = (run, Some(runner));
                None
            }
            None => self.start(&mut entry),
        };
        self.checks.insert(id, entry);
        self.stir(&service);
        start
    }

    fn start(&mut self, entry: &mut CheckEntry) -> Option<Start> {
        self.runs += 1;
        entry.run = self.runs;
        let start = Start { spec: entry.spec.clone(), run: entry.run };
        runs(entry.spec.check.kind).then_some(start)
    }

    fn link(&mut self, id: &str, spec: &CheckSpec) {
        let service = &spec.check.service_id;
        if service.is_empty() {
            self.of_node.insert(id.to_owned());
        } else {
            self.of_service.entry(service.clone()).or_default().insert(id.to_owned());
        }
        if let Some(mirrored) = mirrored(spec) {
            self.aliases.entry(mirrored.to_owned()).or_default().insert(id.to_owned());
        }
    }

    fn unlink(&mut self, id: &str, spec: &CheckSpec) {
        let take = |from: &mut BTreeMap<String, BTreeSet<String>>, key: &str| {
            if let Some(ids) = from.get_mut(key) {
                ids.remove(id);
                if ids.is_empty() {
                    from.remove(key);
                }
            }
        };
        take(&mut self.of_service, &spec.check.service_id);
        if let Some(mirrored) = mirrored(spec) {
            take(&mut self.aliases, mirrored);
        }
        self.of_node.remove(id);
    }

    /// Wakes the aliases of an instance, or with no instance all of them: the checks of the node
    /// count for each.
    pub(super) fn stir(&self, service: &str) {
        let own = self.aliases.get(service).into_iter();
        let all = self.aliases.values().filter(|_| service.is_empty());
        for id in own.chain(all).flatten() {
            if let Some(runner) = self.checks.get(id).and_then(|entry| entry.runner.as_ref()) {
                runner.stir();
            }
        }
    }

    /// Judges an alias of one of this agent's own instances, as [`Registry::report`].
    pub(super) fn align(&mut self, who: (&str, u64), when: When) -> Judged {
        let Some(entry) = self.checks.get(who.0) else { return Judged::Same };
        let how = &entry.spec.how;
        let exists = self.services.contains_key(&how.alias_service);
        // An alias must not hold itself up.
        let ids = self.of_node.iter().chain(self.checks_of(&how.alias_service));
        // An alias must not hold itself up.
        let others: Vec<_> = ids.filter(|id| *id != who.0).map(|id| &self.checks[id]).collect();
        if others.iter().any(|entry| entry.unjudged) {
            return Judged::Same; // nothing is known of it yet: a restart makes nothing unfit
        }
        let others = others.into_iter().map(|entry| &*entry.shown);
        let mut verdict = alias_verdict((&how.alias_node, &how.alias_service), others, exists);
        let fits = verdict.output.floor_char_boundary(output_max(&entry.spec, self.output_max));
        verdict.output.truncate(fits);
        self.report(who, verdict, when)
    }

    /// Gives a check that was started what keeps it running.
    pub(super) fn attach(&mut self, id: &str, run: u64, runner: Runner) {
        if let Some(entry) = self.checks.get_mut(id).filter(|entry| entry.run == run) {
            entry.runner = Some(runner);
        }
    }

    /// The checks that go with a service.
    ///
    /// # Errors
    ///
    /// [`AgentError::UnknownService`].
    pub(super) fn plan_removal(&self, id: &str) -> Result<Vec<String>, AgentError> {
        if self.services.contains_key(id) {
            Ok(self.checks_of(id).cloned().collect())
        } else {
            Err(AgentError::UnknownService(id.to_owned()))
        }
    }

    /// Stops claiming a service and its checks, if it is claimed.
    pub(super) fn remove_service(&mut self, id: &str) {
        if self.services.remove(id).is_none() {
            return;
        }
        let checks: Vec<String> = self.checks_of(id).cloned().collect();
        for check in &checks {
            self.drop_check(check);
        }
        self.stir(id);
        self.pending.services.remove(id);
        self.pending.forget_service(id);
        self.generation += 1;
        self.wake();
    }

    /// Stops claiming a check, if it is claimed.
    pub(super) fn drop_check(&mut self, id: &str) {
        let Some(entry) = self.checks.remove(id) else { return };
        self.unlink(id, &entry.spec);
        self.stir(&entry.spec.check.service_id);
        if let Some(due) = entry.output_due {
            self.outputs_due.remove(&(due, id.to_owned()));
        }
        self.pending.checks.remove(id);
        self.pending.verdicts.remove(id);
        self.pending.forget_check(id, entry.spec.check.service_id);
        self.generation += 1;
    }

    /// The services as they are claimed.
    pub(super) fn shown_services(&self) -> BTreeMap<String, Arc<Service>> {
        self.services.iter().map(|(id, entry)| (id.clone(), Arc::clone(&entry.shown))).collect()
    }

    /// The checks as they are claimed.
    pub(super) fn shown_checks(&self) -> BTreeMap<String, Arc<Check>> {
        self.checks.iter().map(|(id, entry)| (id.clone(), Arc::clone(&entry.shown))).collect()
    }

    /// The ids of a service's checks.
    pub(super) fn checks_of(&self, service: &str) -> impl Iterator<Item = &String> {
        self.of_service.get(service).into_iter().flatten()
    }

    /// When the next output is to be told.
    pub(super) fn next_output_due(&self) -> Option<Instant> {
        self.outputs_due.first().map(|(due, _)| *due)
    }

    /// Takes the verdict of the run `run`; one of an older run is passed over.
    pub(super) fn report(&mut self, who: (&str, u64), verdict: Verdict, when: When) -> Judged {
        match self.checks.get(who.0) {
            Some(entry) if entry.run == who.1 => self.judge(who.0, verdict, when),
            _ => Judged::Same,
        }
    }

    /// Makes a TTL check critical, unless it was told just now.
    pub(super) fn expire(&mut self, who: (&str, u64), when: When) -> Judged {
        let Some(entry) = self.checks.get(who.0) else { return Judged::Same };
        if entry.runner.as_ref().is_none_or(|runner| !runner.is_due(when.now)) {
            return Judged::Same;
        }
        let output = expired(&entry.shown.output);
        self.report(who, Verdict { status: CheckStatus::Critical, output }, when)
    }

    /// Takes what the owner of a TTL check says, and begins its TTL anew.
    ///
    /// # Errors
    ///
    /// [`AgentError::NoTtl`] if it is none.
    pub(super) fn tell(
        &mut self,
        id: &str,
        verdict: Verdict,
        when: When,
    ) -> Result<Judged, AgentError> {
        let entry = self.checks.get(id).filter(|entry| entry.spec.check.kind == CheckKind::Ttl);
        let entry = entry.ok_or_else(|| AgentError::NoTtl(id.to_owned()))?;
        if let Some(runner) = &entry.runner {
            runner.renew(when.now + span(entry.spec.check.definition.ttl_ms, Duration::ZERO));
        }
        let output = told(verdict.output, output_max(&entry.spec, self.output_max));
        Ok(self.judge(id, Verdict { output, ..verdict }, when))
    }

    fn judge(&mut self, id: &str, mut verdict: Verdict, when: When) -> Judged {
        let fits = verdict.output.floor_char_boundary(bounds::CHECK_WORDS_BYTES_MAX);
        verdict.output.truncate(if self.discard_output { 0 } else { fits });
        let entry = self.checks.get_mut(id).expect("the caller looked it up");
        let service = entry.spec.check.service_id.clone();
        let first = std::mem::take(&mut entry.unjudged);
        let judged = if entry.shown.status != verdict.status {
            Judged::Status
        } else if entry.shown.output != verdict.output {
            Judged::Output
        } else {
            if first {
                self.stir(&service);
            }
            return Judged::Same;
        };
        entry.judge(verdict, when.now);
        if judged == Judged::Status || self.output_interval.is_zero() {
            self.pending.verdicts.insert(id.to_owned());
            self.generation += 1;
        } else if entry.output_due.is_none() {
            let spread = time::jitter(self.output_interval, 1, when.chance);
            let due = when.now + self.output_interval / 2 + spread;
            entry.output_due = Some(due);
            self.outputs_due.insert((due, id.to_owned()));
        }
        self.stir(&service);
        judged
    }

    /// The verdict of a check as it is to be kept, unless it is not to be kept.
    pub(super) fn verdict_to_keep(&self, id: &str) -> Option<Verdict> {
        let entry = self.checks.get(id)?;
        (entry.spec.check.kind == CheckKind::Ttl).then(|| entry.verdict())
    }

    /// The services that were critical for longer than one of their checks bears.
    pub(super) fn overdue(&self, now: Instant) -> BTreeSet<String> {
        let is_overdue = |entry: &&CheckEntry| {
            let after = entry.spec.check.definition.deregister_after_ms;
            let bears = span(after, bounds::DEREGISTER_AFTER_MIN);
            after > 0 && entry.critical_since.is_some_and(|since| now - since > bears)
        };
        let overdue = self.checks.values().filter(is_overdue);
        let services = overdue.map(|entry| &entry.spec.check.service_id);
        services.filter(|service| !service.is_empty()).cloned().collect()
    }
}

impl CheckEntry {
    fn new(spec: CheckSpec, now: Instant) -> Self {
        let shown = Arc::new(shown(&spec));
        let critical_since = (shown.status == CheckStatus::Critical).then_some(now);
        let (run, runner, output_due, unjudged) = (0, None, None, false);
        Self { spec, shown, run, runner, critical_since, output_due, unjudged }
    }

    fn verdict(&self) -> Verdict {
        Verdict { status: self.shown.status.clone(), output: self.shown.output.clone() }
    }

    /// Shows a verdict and notes since when it is critical.
    pub(super) fn judge(&mut self, verdict: Verdict, now: Instant) {
        let critical = verdict.status == CheckStatus::Critical;
        self.critical_since = critical.then(|| self.critical_since.unwrap_or(now));
        let check = Arc::make_mut(&mut self.shown);
        (check.status, check.output) = (verdict.status, verdict.output);
    }
}

/// The instance of this agent that a check mirrors, if it is such an alias.
fn mirrored(spec: &CheckSpec) -> Option<&str> {
    let local = spec.check.kind == CheckKind::Alias && spec.how.alias_node.is_empty();
    local.then_some(spec.how.alias_service.as_str())
}

/// Whether somebody runs checks of this kind.
fn runs(kind: CheckKind) -> bool {
    match kind {
        CheckKind::Ttl
        | CheckKind::Http
        | CheckKind::Tcp
        | CheckKind::Script
        | CheckKind::Docker
        | CheckKind::Udp
        | CheckKind::Grpc
        | CheckKind::H2ping
        | CheckKind::Alias => true,
        CheckKind::None | CheckKind::Maintenance => false,
    }
}

/// Whether two wordings of a check are run alike.
fn same_run(old: &CheckSpec, new: &CheckSpec) -> bool {
    let thresholds = |spec: &CheckSpec| {
        (
            spec.success_before_passing,
            spec.failures_before_warning,
            spec.failures_before_critical,
            spec.output_max,
        )
    };
    old.check.kind == new.check.kind
        && old.check.definition == new.check.definition
        && old.how == new.how
        && thresholds(old) == thresholds(new)
}
