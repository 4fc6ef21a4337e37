//! What neighbours hold: register, deregister, tell a TTL check, maintenance, and see the claim.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::client::Client;
use crate::lifecycle::Tasks;
use crate::model::{Check, CheckStatus, Node, Service};
use crate::time;

use super::checks::Checker;
use super::claim::Claim;
use super::disk::{Batch, Disk, Kept, Verdict};
use super::plan::{Plan, maintenance_check, maintenance_id};
use super::registry::{Judged, Registry};
use super::run;

/// What this host claims, and the right to change it. Cheap to clone.
///
/// A change that was begun is finished even if the caller drops the future midway. Nothing here
/// needs a leader: what cannot be pushed now is pushed later.
#[derive(Clone)]
pub struct Agent {
    claim: Arc<Claim>,
    checker: Checker,
    tasks: Tasks,
}

/// What the agent needs to know of its host.
#[derive(Clone, Debug)]
pub struct Options {
    /// This node as the catalog shows it (id, name, address, tagged addresses, meta).
    pub node: Node,
    /// Where registrations are kept; `None` keeps none.
    pub dir: Option<PathBuf>,
    /// How long a new output alone may wait, within half of it more or less; zero does not wait.
    /// Consul: `check_update_interval`, 5 min.
    pub output_interval: Duration,
}

/// A check as its owner defines it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckSpec {
    /// Id, name, notes, service, first status, kind and definition; empty id and name are filled
    /// in by [`Agent::register_service`] as Consul does (`service:<id>`, `service:<id>:1`…).
    pub check: Check,
    /// Passing results in a row before it passes; 0 and 1 mean at once.
    pub success_before_passing: u32,
    /// Failures in a row before it is critical; 0 and 1 mean at once.
    pub failures_before_critical: u32,
    /// Bytes of output kept, at most [`crate::limits::CHECK_OUTPUT_BYTES_MAX`], which 0 means.
    pub output_max: usize,
}

/// Why the agent says no.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AgentError {
    /// No such service here.
    #[error("unknown service {0:?}")]
    UnknownService(String),
    /// No such check here.
    #[error("unknown check {0:?}")]
    UnknownCheck(String),
    /// The check is no TTL check, or there is none.
    #[error("check {0:?} does not have an associated ttl")]
    NoTtl(String),
    /// This agent holds as many as it may.
    #[error("more than {0} registrations")]
    TooMany(usize),
    /// The registration could not be kept on disk.
    #[error("cannot keep the registration: {0}")]
    Disk(String),
}

/// Whether checks that a re-registration does not name are dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReplaceChecks {
    /// They stay.
    #[default]
    No,
    /// They go.
    Yes,
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agent").finish_non_exhaustive()
    }
}

impl Agent {
    /// Loads what was kept, starts checks and anti-entropy. Must be called within tokio's runtime;
    /// reads the disk, so it belongs to the start of the program.
    ///
    /// # Errors
    ///
    /// [`AgentError::Disk`] if `options.dir` cannot be made or read, or no HTTP client be built. A
    /// single damaged file is reported, set aside, and no error.
    pub fn start(options: Options, client: Client, tasks: &Tasks) -> Result<Self, AgentError> {
        let agent = Self::load(options, tasks)?;
        let keep_true = run::keep_true(client, Arc::clone(&agent.claim), tasks.shutdown());
        tasks.spawn(keep_true);
        tasks.spawn(run::reap(agent.clone(), tasks.shutdown()));
        Ok(agent)
    }

    /// As `start`, but tells the catalog nothing.
    fn load(options: Options, tasks: &Tasks) -> Result<Self, AgentError> {
        let (disk, kept) = match &options.dir {
            Some(dir) => {
                let opened = Disk::open(dir);
                let opened = opened.map_err(|error| AgentError::Disk(error.to_string()));
                opened.map(|(disk, kept)| (Some(disk), kept))?
            }
            None => (None, Kept::default()),
        };
        let mut registry = Registry::new(options.node, options.output_interval);
        let starts = registry.load(kept, time::now());
        let claim = Arc::new(Claim::new(registry, disk));
        let checker = Checker::new(Arc::clone(&claim), tasks.clone())?;
        checker.start_all(starts);
        Ok(Self { claim, checker, tasks: tasks.clone() })
    }

    /// This node as it is registered.
    pub fn node(&self) -> Arc<Node> {
        Arc::clone(&self.claim.registry().node)
    }

    /// Adds or replaces a service with its checks; an empty id is its name.
    ///
    /// A check that is there already keeps its verdict, and its timetable if it is run as before;
    /// a TTL begins anew. What is registered as it was is neither kept again nor pushed.
    /// Returns once it is kept on disk and the push to the catalog is done, or failed once, or
    /// took longer than a second; anti-entropy goes on.
    ///
    /// # Errors
    ///
    /// [`AgentError::TooMany`], [`AgentError::Disk`]: nothing is claimed then.
    ///
    /// Source: Consul HTTP API, "Register Service".
    pub async fn register_service(
        &self,
        service: Service,
        checks: Vec<CheckSpec>,
        replace_checks: ReplaceChecks,
    ) -> Result<(), AgentError> {
        let agent = self.clone();
        self.finish(async move {
            let _turn = agent.claim.turn().await;
            let plan = agent.claim.registry().plan_service(service, checks, replace_checks)?;
            agent.carry_out(plan).await
        })
        .await
    }

    /// Removes a service and its checks. Returns as [`Agent::register_service`].
    ///
    /// # Errors
    ///
    /// [`AgentError::UnknownService`]; [`AgentError::Disk`]: it is still claimed then.
    pub async fn deregister_service(&self, id: &str) -> Result<(), AgentError> {
        let id = id.to_owned();
        let agent = self.clone();
        self.finish(async move {
            let _turn = agent.claim.turn().await;
            agent.remove_service(&id).await
        })
        .await
    }

    /// Adds or replaces a check of the node, or of the service that it names; an empty id is its
    /// name. Returns as [`Agent::register_service`].
    ///
    /// # Errors
    ///
    /// [`AgentError::UnknownService`], [`AgentError::TooMany`], [`AgentError::Disk`].
    ///
    /// Source: Consul HTTP API, "Register Check".
    pub async fn register_check(&self, check: CheckSpec) -> Result<(), AgentError> {
        let agent = self.clone();
        self.finish(async move {
            let _turn = agent.claim.turn().await;
            agent.put_check(check).await
        })
        .await
    }

    /// Removes a check. Returns as [`Agent::register_service`].
    ///
    /// # Errors
    ///
    /// [`AgentError::UnknownCheck`]; [`AgentError::Disk`]: it is still claimed then.
    pub async fn deregister_check(&self, id: &str) -> Result<(), AgentError> {
        let id = id.to_owned();
        let agent = self.clone();
        self.finish(async move {
            let _turn = agent.claim.turn().await;
            agent.remove_check(&id).await
        })
        .await
    }

    /// Tells a TTL check its verdict, and begins its TTL anew. Returns once a new status is kept;
    /// the catalog is told at once, but not waited for.
    ///
    /// # Errors
    ///
    /// [`AgentError::NoTtl`].
    ///
    /// Source: Consul HTTP API, "TTL Check Update".
    pub async fn update_ttl(
        &self,
        id: &str,
        status: CheckStatus,
        output: String,
    ) -> Result<(), AgentError> {
        if self.claim.tell(id, Verdict { status, output })? == Judged::Status {
            let id = id.to_owned();
            let agent = self.clone();
            self.in_a_task(async move {
                agent.claim.keep_verdict(&id).await;
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    /// Sets or lifts maintenance of the node (`service: None`) or of one service; `reason: None`
    /// lifts, an empty reason is given a default text. Returns as [`Agent::register_service`].
    ///
    /// # Errors
    ///
    /// [`AgentError::UnknownService`], [`AgentError::TooMany`], [`AgentError::Disk`].
    ///
    /// Source: Consul HTTP API, "Enable Maintenance Mode".
    pub async fn maintenance(
        &self,
        service: Option<&str>,
        reason: Option<String>,
    ) -> Result<(), AgentError> {
        let service = service.map(str::to_owned);
        let agent = self.clone();
        self.finish(async move {
            let _turn = agent.claim.turn().await;
            agent.maintain(service.as_deref(), reason).await
        })
        .await
    }

    /// The local services by id.
    pub fn services(&self) -> BTreeMap<String, Arc<Service>> {
        self.claim.registry().shown_services()
    }

    /// The local checks by id, as the catalog shows them: without what they are run with.
    pub fn checks(&self) -> BTreeMap<String, Arc<Check>> {
        self.claim.registry().shown_checks()
    }

    /// Deregisters the services that were critical for too long.
    pub(super) async fn reap(&self) {
        let overdue = self.claim.registry().overdue(time::now());
        for service in overdue {
            tracing::info!(%service, "a service was critical for too long and is deregistered");
            if let Err(error) = self.deregister_service(&service).await {
                tracing::warn!(%service, %error, "it is still registered");
            }
        }
    }

    /// Does `work` in a task, so that it is finished in any case, then awaits the push.
    async fn finish<F>(&self, work: F) -> Result<(), AgentError>
    where
        F: Future<Output = Result<(), AgentError>> + Send + 'static,
    {
        self.in_a_task(work).await?;
        self.claim.pushed().await;
        Ok(())
    }

    async fn in_a_task<F>(&self, work: F) -> Result<(), AgentError>
    where
        F: Future<Output = Result<(), AgentError>> + Send + 'static,
    {
        let (tell, told) = oneshot::channel();
        self.tasks.spawn(async move {
            let result = work.await;
            drop(tell.send(result)); // whoever asked may have gone
        });
        let stopping = |_gone| Err(AgentError::Disk("this agent is stopping".to_owned()));
        told.await.unwrap_or_else(stopping)
    }

    /// Keeps, claims and starts what a plan says. For whoever has the turn.
    async fn carry_out(&self, plan: Plan) -> Result<(), AgentError> {
        let service = plan.service.as_ref().filter(|service| service.changed);
        let checks = plan.checks.iter().filter(|check| check.changed);
        let batch = Batch {
            service: service.map(|service| service.what.clone()),
            checks: checks.map(|check| check.what.clone()).collect(),
            gone_checks: plan.dropped.clone(),
            ..Batch::default()
        };
        self.claim.keep(batch).await?;
        let starts = self.claim.registry().commit(plan, time::now());
        self.checker.start_all(starts);
        Ok(())
    }

    async fn put_check(&self, spec: CheckSpec) -> Result<(), AgentError> {
        let plan = self.claim.registry().plan_check(spec)?;
        self.carry_out(plan).await
    }

    async fn remove_service(&self, id: &str) -> Result<(), AgentError> {
        let gone_checks = self.claim.registry().plan_removal(id)?;
        let gone_service = Some(id.to_owned());
        self.claim.keep(Batch { gone_service, gone_checks, ..Batch::default() }).await?;
        self.claim.registry().remove_service(id);
        Ok(())
    }

    async fn remove_check(&self, id: &str) -> Result<(), AgentError> {
        if !self.claim.registry().checks.contains_key(id) {
            return Err(AgentError::UnknownCheck(id.to_owned()));
        }
        let gone_checks = vec![id.to_owned()];
        self.claim.keep(Batch { gone_checks, ..Batch::default() }).await?;
        self.claim.registry().drop_check(id);
        Ok(())
    }

    async fn maintain(
        &self,
        service: Option<&str>,
        reason: Option<String>,
    ) -> Result<(), AgentError> {
        let is_on = {
            let registry = self.claim.registry();
            if let Some(id) = service.filter(|id| !registry.services.contains_key(*id)) {
                return Err(AgentError::UnknownService(id.to_owned()));
            }
            registry.checks.contains_key(&maintenance_id(service))
        };
        match reason {
            Some(reason) if !is_on => self.put_check(maintenance_check(service, reason)).await,
            None if is_on => self.remove_check(&maintenance_id(service)).await,
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;
    use tokio::net::TcpListener;
    use tokio::sync::Notify;
    use tokio::time::{Instant, sleep, sleep_until};

    use super::super::mirror::Mirror;
    use super::*;
    use crate::model::CheckKind;

    /// An agent whose catalog is a [`Mirror`].
    struct Host {
        agent: Agent,
        tasks: Tasks,
        mirror: Arc<Mutex<Mirror>>,
        /// Told after each push.
        pushed: Arc<Notify>,
    }

    impl Host {
        fn start(dir: Option<PathBuf>) -> Self {
            let node = Node { name: "n1".to_owned(), ..Node::default() };
            let output_interval = Duration::from_mins(5);
            let tasks = Tasks::new();
            let agent = Agent::load(Options { node, dir, output_interval }, &tasks).unwrap();
            let mirror = Arc::<Mutex<Mirror>>::default();
            let (claim, there) = (Arc::clone(&agent.claim), Arc::clone(&mirror));
            let pushed = Arc::new(Notify::new());
            let tell = Arc::clone(&pushed);
            tasks.spawn(async move {
                loop {
                    claim.woken().await;
                    let pushes = claim.registry().take_pushes(time::now(), 100);
                    let generation = claim.registry().generation;
                    there.lock().take(pushes);
                    claim.push_tried(generation);
                    tell.notify_one();
                }
            });
            tasks.spawn(run::reap(agent.clone(), tasks.shutdown()));
            Self { agent, tasks, mirror, pushed }
        }

        async fn register(&self, checks: Vec<CheckSpec>) {
            let service = Service { name: "web".to_owned(), ..Service::default() };
            self.agent.register_service(service, checks, ReplaceChecks::No).await.unwrap();
        }

        async fn tell(&self, status: CheckStatus, output: &str) {
            self.agent.update_ttl("service:web", status, output.to_owned()).await.unwrap();
        }

        fn verdict(&self, id: &str) -> (CheckStatus, String) {
            let check = Arc::clone(&self.agent.checks()[id]);
            (check.status.clone(), check.output.clone())
        }

        fn commands(&self) -> usize {
            self.mirror.lock().commands
        }
    }

    fn ttl(seconds: u64) -> CheckSpec {
        let mut spec = CheckSpec::default();
        spec.check.kind = CheckKind::Ttl;
        spec.check.definition.ttl_ms = seconds * 1000;
        spec
    }

    async fn at(start: Instant, seconds: f64) {
        sleep_until(start + Duration::from_secs_f64(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_ttl_that_is_not_renewed_runs_out() {
        let host = Host::start(None);
        let start = time::now();
        host.register(vec![ttl(10)]).await;
        assert_eq!(time::now(), start, "the push was not waited out");
        assert_eq!(host.verdict("service:web"), (CheckStatus::Critical, String::new()));
        at(start, 5.0).await;
        host.tell(CheckStatus::Passing, "fine").await;
        at(start, 14.9).await;
        assert_eq!(host.verdict("service:web").0, CheckStatus::Passing);
        at(start, 15.1).await;
        let expired = "TTL expired (last output before timeout follows): fine".to_owned();
        assert_eq!(host.verdict("service:web"), (CheckStatus::Critical, expired));
        host.tell(CheckStatus::Warning, "so so").await;
        at(start, 25.0).await;
        assert_eq!(host.verdict("service:web").0, CheckStatus::Warning);
        at(start, 25.2).await;
        assert_eq!(host.verdict("service:web").0, CheckStatus::Critical);
        let at_catalog = host.mirror.lock().checks["service:web"].status.clone();
        assert_eq!(at_catalog, CheckStatus::Critical);
    }

    #[tokio::test(start_paused = true)]
    async fn a_registration_as_before_renews_the_ttl_and_pushes_nothing() {
        let host = Host::start(None);
        let start = time::now();
        host.register(vec![ttl(10)]).await;
        host.tell(CheckStatus::Passing, "fine").await;
        at(start, 9.0).await;
        let commands = host.commands();
        host.register(vec![ttl(10)]).await;
        assert_eq!(host.verdict("service:web"), (CheckStatus::Passing, "fine".to_owned()));
        at(start, 18.9).await;
        assert_eq!(host.verdict("service:web").0, CheckStatus::Passing);
        assert_eq!(host.commands(), commands);
        at(start, 19.1).await;
        assert_eq!(host.verdict("service:web").0, CheckStatus::Critical);
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_that_is_gone_does_not_run_out() {
        let host = Host::start(None);
        host.register(vec![ttl(10)]).await;
        host.agent.deregister_check("service:web").await.unwrap();
        let commands = host.commands();
        sleep(Duration::from_mins(1)).await;
        assert_eq!((host.agent.checks().len(), host.commands()), (0, commands));
        assert_eq!(host.tasks.stop(Duration::from_secs(5)).await, 1, "all but the test's own");
    }

    #[tokio::test]
    async fn registrations_and_told_verdicts_outlive_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Host::start(Some(dir.path().to_owned()));
        let host = open();
        host.register(vec![ttl(60)]).await;
        host.tell(CheckStatus::Passing, "fine").await;
        host.agent.maintenance(None, Some("paint".to_owned())).await.unwrap();
        drop(host);

        let host = open();
        assert_eq!(host.verdict("service:web"), (CheckStatus::Passing, "fine".to_owned()));
        assert_eq!(host.agent.checks()["_node_maintenance"].notes, "paint");
        host.agent.deregister_service("web").await.unwrap();
        host.agent.maintenance(None, None).await.unwrap();
        drop(host);

        let host = open();
        assert_eq!((host.agent.services().len(), host.agent.checks().len()), (0, 0));
    }

    #[tokio::test]
    async fn maintenance_is_a_check_that_comes_and_goes() {
        let host = Host::start(None);
        let unknown = Err(AgentError::UnknownService("web".to_owned()));
        assert_eq!(host.agent.maintenance(Some("web"), None).await, unknown);
        host.register(Vec::new()).await;
        for reason in ["first", "second"] {
            host.agent.maintenance(Some("web"), Some(reason.to_owned())).await.unwrap();
            let there = host.mirror.lock().checks["_service_maintenance:web"].clone();
            assert_eq!((there.status, there.notes.as_str()), (CheckStatus::Critical, "first"));
        }
        for _ in 0..2 {
            host.agent.maintenance(Some("web"), None).await.unwrap();
            assert_eq!(host.mirror.lock().checks.len(), 0);
        }
    }

    #[tokio::test]
    async fn who_is_not_there_is_said() {
        let host = Host::start(None);
        let agent = &host.agent;
        let service = Err(AgentError::UnknownService("x".to_owned()));
        let check = Err(AgentError::UnknownCheck("x".to_owned()));
        let no_ttl = Err(AgentError::NoTtl("x".to_owned()));
        assert_eq!(agent.deregister_service("x").await, service);
        assert_eq!(agent.deregister_check("x").await, check);
        assert_eq!(agent.update_ttl("x", CheckStatus::Passing, String::new()).await, no_ttl);
        let mut orphan = ttl(10);
        orphan.check.service_id = "x".to_owned();
        assert_eq!(agent.register_check(orphan).await, service);
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_that_is_critical_for_too_long_goes() {
        let host = Host::start(None);
        let start = time::now();
        let mut check = ttl(3600);
        check.check.definition.deregister_after_ms = 1; // cut up to a minute
        host.register(vec![check]).await;
        at(start, 59.0).await;
        assert_eq!(host.agent.services().len(), 1);
        at(start, 95.0).await;
        assert_eq!(host.agent.services().len(), 0);
        assert_eq!(host.mirror.lock().services.len(), 0);
    }

    #[tokio::test]
    async fn a_check_that_runs_brings_its_verdict_to_the_catalog() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = Host::start(None);
        let mut check = CheckSpec::default();
        check.check.kind = CheckKind::Tcp;
        check.check.definition.tcp = listener.local_addr().unwrap().to_string();
        check.check.definition.interval_ms = 1; // cut up to a second
        host.register(vec![check]).await;
        let passes = |mirror: &Mirror| mirror.checks["service:web"].status == CheckStatus::Passing;
        while !passes(&host.mirror.lock()) {
            host.pushed.notified().await;
        }
        let shown = Arc::clone(&host.agent.checks()["service:web"]);
        assert_eq!(shown.definition, crate::model::CheckDefinition::default());
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_catalog_a_registration_returns_after_a_second() {
        let tasks = Tasks::new();
        let node = Node { name: "n1".to_owned(), ..Node::default() };
        let options = Options { node, dir: None, output_interval: Duration::ZERO };
        let agent = Agent::load(options, &tasks).unwrap();
        let start = time::now();
        let service = Service { name: "web".to_owned(), ..Service::default() };
        agent.register_service(service, Vec::new(), ReplaceChecks::No).await.unwrap();
        assert_eq!(agent.services().len(), 1);
        let waited = time::now() - start;
        assert!(waited >= Duration::from_secs(1) && waited < Duration::from_secs(2), "{waited:?}");
    }
}
