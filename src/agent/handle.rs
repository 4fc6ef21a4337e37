//! What neighbours hold: register, deregister, tell a TTL check, maintenance, and see the claim.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::client::Client;
use crate::lifecycle::Tasks;
use crate::limits;
use crate::model::{Check, CheckStatus, Event, Node, Service};
use crate::time;
use tokio::sync::{oneshot, watch};

use super::checks::Checker;
use super::claim::Claim;
use super::disk::{Batch, Disk, Kept, Verdict};
use super::events::{self, EventError, Events};
use super::plan::{Plan, maintenance_check, maintenance_id};
use super::registry::{Judged, Registry};
use super::run;
use super::spec::{CheckSpec, Scripts};

/// What this host claims, and the right to change it. Cheap to clone.
///
/// A change that was begun is finished even if the caller drops the future midway. Nothing here
/// needs a leader: what cannot be pushed now is pushed later.
#[derive(Clone)]
pub struct Agent {
    claim: Arc<Claim>,
    checker: Checker,
    events: Arc<Events>,
    scripts: Scripts,
    tasks: Tasks,
}

/// What the agent needs to know of its host.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// This node as the catalog shows it (id, name, address, tagged addresses, meta).
    pub node: Node,
    /// Where registrations are kept; `None` keeps none.
    pub dir: Option<PathBuf>,
    /// How long a new output alone may wait, within half of it more or less; zero does not wait.
    /// Consul: `check_update_interval`, 5 min.
    pub output_interval: Duration,
    /// Most bytes of output that a check keeps, at most [`limits::CHECK_OUTPUT_BYTES_MAX`], which
    /// 0 means. Consul: `check_output_max_size`.
    pub output_max: usize,
    /// Whether outputs are not kept at all. Consul: `discard_check_output`.
    pub discard_output: bool,
    /// Which checks may run programs.
    pub scripts: Scripts,
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
    /// The check runs a program, and this agent was not told to let it; the text is Consul's.
    #[error("{0}")]
    ScriptsOff(&'static str),
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
    /// Loads what was kept, starts checks and anti-entropy. `pool` says how many members the pool
    /// has: the more there are, the less often each compares its claim with the catalog. Must be
    /// called within tokio's runtime; reads the disk, so it belongs to the start of the program.
    ///
    /// # Errors
    ///
    /// [`AgentError::Disk`] if `options.dir` cannot be made or read, or no HTTP client be built. A
    /// single damaged file is reported, set aside, and no error.
    pub fn start(
        options: Options,
        client: Client,
        pool: impl Fn() -> usize + Send + Sync + 'static,
        tasks: &Tasks,
    ) -> Result<Self, AgentError> {
        let agent = Self::load(options, Some(client.clone()), tasks)?;
        let sync = run::Sync::new(client, Arc::clone(&agent.claim), Box::new(pool));
        let keep_true = sync.keep_true(tasks.shutdown());
        tasks.spawn(keep_true);
        tasks.spawn(run::reap(agent.clone(), tasks.shutdown()));
        Ok(agent)
    }

    /// As `start`, but tells the catalog nothing, and reads it only to follow aliases.
    fn load(options: Options, client: Option<Client>, tasks: &Tasks) -> Result<Self, AgentError> {
        let scripts = options.scripts;
        let (disk, kept) = match &options.dir {
            Some(dir) => open(dir, scripts)?,
            None => (None, Kept::default()),
        };
        let output_max = match options.output_max {
            0 => limits::CHECK_OUTPUT_BYTES_MAX,
            own => own.min(limits::CHECK_OUTPUT_BYTES_MAX),
        };
        let mut registry = Registry::new(options.node, options.output_interval);
        (registry.output_max, registry.discard_output) = (output_max, options.discard_output);
        let starts = registry.load(kept, time::now());
        let claim = Arc::new(Claim::new(registry, disk));
        let checker = Checker::new(Arc::clone(&claim), tasks.clone(), client, output_max)?;
        checker.start_all(starts);
        Ok(Self { claim, checker, events: Arc::default(), scripts, tasks: tasks.clone() })
    }

    /// Keeps outputs from now on, or keeps them no more; those that are there stay.
    pub fn discard_output(&self, discard: bool) {
        self.claim.registry().discard_output = discard;
    }

    /// Which checks may run programs; it stays so until the program ends.
    pub fn scripts(&self) -> Scripts {
        self.scripts
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
    /// [`AgentError::ScriptsOff`], [`AgentError::TooMany`], [`AgentError::Disk`]: nothing is
    /// claimed then.
    ///
    /// Source: Consul HTTP API, "Register Service".
    pub async fn register_service(
        &self,
        service: Service,
        checks: Vec<CheckSpec>,
        replace_checks: ReplaceChecks,
    ) -> Result<(), AgentError> {
        checks.iter().try_for_each(|check| self.scripts.judge(check))?;
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
    /// [`AgentError::ScriptsOff`], [`AgentError::UnknownService`], [`AgentError::TooMany`],
    /// [`AgentError::Disk`].
    ///
    /// Source: Consul HTTP API, "Register Check".
    pub async fn register_check(&self, check: CheckSpec) -> Result<(), AgentError> {
        self.scripts.judge(&check)?;
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

    /// One local service.
    pub fn service(&self, id: &str) -> Option<Arc<Service>> {
        self.claim.registry().services.get(id).map(|entry| Arc::clone(&entry.shown))
    }

    /// Tells of each change of a local service from now on; which one it was is not said.
    pub fn service_changes(&self) -> watch::Receiver<()> {
        self.claim.registry().listen()
    }

    /// The local checks by id, as the catalog shows them: without what they are run with.
    pub fn checks(&self) -> BTreeMap<String, Arc<Check>> {
        self.claim.registry().shown_checks()
    }

    /// Says what is wrong with an event that somebody wants to fire.
    ///
    /// # Errors
    ///
    /// [`EventError`]: a filter that is no pattern, or that hangs in the air.
    pub fn check_event(&self, event: &Event) -> Result<(), EventError> {
        events::check(event)
    }

    /// Takes an event of the pool, and keeps it if its filters say that it is for this agent.
    pub fn hear(&self, event: Event) {
        let (node, services) = (self.node(), self.services());
        self.events.hear(event, &node.name, services.values());
    }

    /// The last [`crate::limits::EVENTS_KEPT_MAX`] events that were for this agent, from the
    /// oldest on.
    pub fn events(&self) -> Vec<Arc<Event>> {
        self.events.all()
    }

    /// Changes with each event that this agent keeps from now on.
    pub fn event_count(&self) -> watch::Receiver<u64> {
        self.events.count()
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

/// Opens the folder and reads what is kept. A check that may not run its program any more is
/// taken out, as Consul does.
fn open(dir: &Path, scripts: Scripts) -> Result<(Option<Disk>, Kept), AgentError> {
    let failed = |error: io::Error| AgentError::Disk(error.to_string());
    let (disk, mut kept) = Disk::open(dir).map_err(failed)?;
    let mut gone_checks = Vec::new();
    kept.checks.retain(|(spec, _)| match scripts.judge(spec) {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(check = spec.check.id, %error, "a kept check is taken out");
            gone_checks.push(spec.check.id.clone());
            false
        }
    });
    disk.write(&Batch { gone_checks, ..Batch::default() }).map_err(failed)?;
    Ok((Some(disk), kept))
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
            let scripts = Scripts::On;
            let options = Options { node, dir, output_interval, scripts, ..Options::default() };
            let agent = Agent::load(options, None, &tasks).unwrap();
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

    fn alias(service: &str) -> CheckSpec {
        let mut spec = CheckSpec::default();
        spec.check.name = format!("alias of {service}");
        spec.check.kind = CheckKind::Alias;
        service.clone_into(&mut spec.how.alias_service);
        spec
    }

    /// Returns once a check has this verdict.
    async fn seen(host: &Host, id: &str, status: CheckStatus, output: &str) {
        let wanted = (status, output.to_owned());
        while host.verdict(id) != wanted {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_alias_follows_at_once() {
        use CheckStatus::{Critical, Passing, Warning};
        let host = Host::start(None);
        let start = time::now();
        host.agent.register_check(alias("web")).await.unwrap();
        let gone = "Service web could not be found on node ";
        seen(&host, "alias of web", Critical, gone).await;
        host.register(vec![ttl(3600)]).await;
        let failing = |why: &str| format!("Aliased check \"Service 'web' check\" failing: {why}");
        seen(&host, "alias of web", Critical, &failing("")).await;
        host.tell(Passing, "fine").await;
        seen(&host, "alias of web", Passing, "All checks passing.").await;
        host.tell(Warning, "so so").await;
        seen(&host, "alias of web", Warning, &failing("so so")).await;
        host.agent.maintenance(None, Some(String::new())).await.unwrap();
        let maintained = "Aliased check \"Node Maintenance Mode\" failing: ";
        seen(&host, "alias of web", Critical, maintained).await;
        host.agent.maintenance(None, None).await.unwrap();
        seen(&host, "alias of web", Warning, &failing("so so")).await;
        host.agent.deregister_service("web").await.unwrap();
        seen(&host, "alias of web", Critical, gone).await;
        assert!(time::now() - start < Duration::from_secs(1), "nothing was polled for");
        let there = host.mirror.lock().checks["alias of web"].status.clone();
        assert_eq!(there, Critical, "the catalog is told as well");
        host.agent.deregister_check("alias of web").await.unwrap();
        assert_eq!(host.agent.checks().len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn aliases_of_each_other_come_to_rest() {
        let host = Host::start(None);
        for (own, other) in [("a", "b"), ("b", "a")] {
            let service = Service { name: own.to_owned(), ..Service::default() };
            let checks = vec![alias(other)];
            host.agent.register_service(service, checks, ReplaceChecks::No).await.unwrap();
        }
        sleep(Duration::from_secs(10)).await;
        let rest = host.verdict("service:a");
        assert_eq!(rest.0, CheckStatus::Critical);
        assert!(rest.1.len() <= limits::CHECK_OUTPUT_BYTES_MAX, "{} bytes", rest.1.len());
        sleep(Duration::from_secs(10)).await;
        assert_eq!(host.verdict("service:a"), rest);
    }

    fn script(from_file: bool) -> CheckSpec {
        let mut spec = CheckSpec { from_file, ..CheckSpec::default() };
        spec.check.name = format!("from a file: {from_file}");
        spec.check.kind = CheckKind::Script;
        spec.how.args = vec!["true".to_owned()];
        spec
    }

    #[tokio::test]
    async fn a_kept_program_is_not_run_where_it_is_not_allowed_any_more() {
        let dir = tempfile::tempdir().unwrap();
        let host = Host::start(Some(dir.path().to_owned()));
        host.agent.register_check(script(true)).await.unwrap();
        host.agent.register_check(script(false)).await.unwrap();
        drop(host);
        for (scripts, left) in [(Scripts::FromFiles, 1), (Scripts::On, 1), (Scripts::Off, 0)] {
            let options =
                Options { dir: Some(dir.path().to_owned()), scripts, ..Options::default() };
            let agent = Agent::load(options, None, &Tasks::new()).unwrap();
            assert_eq!(agent.checks().len(), left, "{scripts:?}");
            let network = agent.register_check(script(false)).await;
            assert_eq!(network.is_ok(), scripts == Scripts::On, "{scripts:?}");
            if scripts == Scripts::On {
                agent.deregister_check("from a file: false").await.unwrap();
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn outputs_are_bounded_or_not_kept_at_all() {
        let host = Host::start(None);
        host.agent.claim.registry().output_max = 4;
        host.register(vec![ttl(3600)]).await;
        host.tell(CheckStatus::Passing, "a long story").await;
        let cut = "a lo ... (captured 4 of 12 bytes)".to_owned();
        assert_eq!(host.verdict("service:web"), (CheckStatus::Passing, cut));
        host.agent.discard_output(true);
        host.tell(CheckStatus::Warning, "a long story").await;
        assert_eq!(host.verdict("service:web"), (CheckStatus::Warning, String::new()));
    }

    #[tokio::test]
    async fn changes_of_services_are_told_and_others_are_not() {
        let host = Host::start(None);
        host.register(vec![ttl(60)]).await;
        let mut changes = host.agent.service_changes();
        assert!(!changes.has_changed().unwrap());
        host.tell(CheckStatus::Passing, "fine").await;
        host.register(vec![ttl(60)]).await;
        assert!(!changes.has_changed().unwrap(), "a verdict and the same again are no news");
        let other = Service { name: "web".to_owned(), port: 1, ..Service::default() };
        host.agent.register_service(other, Vec::new(), ReplaceChecks::No).await.unwrap();
        changes.changed().await.unwrap();
        assert_eq!(host.agent.service("web").map(|service| service.port), Some(1));
        host.agent.deregister_service("web").await.unwrap();
        changes.changed().await.unwrap();
        assert!(host.agent.service("web").is_none());
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
        let shows = crate::model::CheckDefinition { interval_ms: 1, ..Default::default() };
        assert_eq!(shown.definition, shows);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_catalog_a_registration_returns_after_a_second() {
        let tasks = Tasks::new();
        let node = Node { name: "n1".to_owned(), ..Node::default() };
        let agent = Agent::load(Options { node, ..Options::default() }, None, &tasks).unwrap();
        let start = time::now();
        let service = Service { name: "web".to_owned(), ..Service::default() };
        agent.register_service(service, Vec::new(), ReplaceChecks::No).await.unwrap();
        assert_eq!(agent.services().len(), 1);
        let waited = time::now() - start;
        assert!(waited >= Duration::from_secs(1) && waited < Duration::from_secs(2), "{waited:?}");
    }
}
