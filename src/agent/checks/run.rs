//! The timetable: one task a check, begun at a random part of its interval, ended with it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::time::{Instant, sleep};

use crate::client::Client;
use crate::lifecycle::Tasks;
use crate::limits;
use crate::model::CheckKind;
use crate::time;

use super::super::bounds;
use super::super::claim::Claim;
use super::super::disk::Verdict;
use super::super::handle::AgentError;
use super::super::plan::{output_max, span};
use super::super::registry::Start;
use super::super::spec::CheckSpec;
use super::http::Asker;
use super::script::Group;
use super::streak::Streak;
use super::tls::Tls;
use super::words::critical;
use super::{alias, docker, grpc, h2, script, tcp, ttl, udp};

/// Keeps a check running: dropping it ends the check's task.
#[derive(Debug)]
pub(in super::super) struct Runner {
    /// When a TTL check expires. For an alias it only wakes, for others it means nothing.
    due: watch::Sender<Instant>,
}

impl Runner {
    /// Moves the moment at which a TTL check expires.
    pub(in super::super) fn renew(&self, due: Instant) {
        self.due.send_replace(due);
    }

    /// Whether that moment has come.
    pub(in super::super) fn is_due(&self, now: Instant) -> bool {
        *self.due.borrow() <= now
    }

    /// Wakes an alias: what it mirrors may have changed.
    pub(in super::super) fn stir(&self) {
        self.due.send_modify(|_| {});
    }
}

/// How long a check's last run took. Slow ones share places of their own, so that targets that
/// hang delay only each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    Fast,
    Slow,
}

impl Pace {
    fn of(took: Duration) -> Self {
        if took > bounds::CHECK_RUN_SLOW { Self::Slow } else { Self::Fast }
    }
}

/// The places of checks that run at the same moment, by their pace.
#[derive(Clone, Debug)]
struct Places {
    fast: Arc<Semaphore>,
    slow: Arc<Semaphore>,
}

impl Places {
    /// So many of each.
    fn new(count: usize) -> Self {
        Self { fast: Arc::new(Semaphore::new(count)), slow: Arc::new(Semaphore::new(count)) }
    }

    async fn take(&self, pace: Pace) -> SemaphorePermit<'_> {
        let places = match pace {
            Pace::Fast => &self.fast,
            Pace::Slow => &self.slow,
        };
        places.acquire().await.expect("the semaphore is never closed")
    }
}

/// What one run of a check brought.
struct Ran {
    verdict: Verdict,
    pace: Pace,
    /// The program, where it may still be there.
    left: Option<Group>,
}

/// Starts checks.
#[derive(Clone)]
pub(in super::super) struct Checker {
    claim: Arc<Claim>,
    tasks: Tasks,
    /// For checks that hold a socket, and for those that hold a process.
    sockets: Places,
    programs: Places,
    asker: Asker,
    tls: Tls,
    /// The catalog; `None` only where there is none to follow.
    client: Option<Client>,
    output_max: usize,
}

impl Checker {
    /// Starts nothing yet. No check keeps more than `output_max` bytes of output.
    ///
    /// # Errors
    ///
    /// [`AgentError::Disk`] if no HTTP client can be built, which needs what TLS needs.
    pub(in super::super) fn new(
        claim: Arc<Claim>,
        tasks: Tasks,
        client: Option<Client>,
        output_max: usize,
    ) -> Result<Self, AgentError> {
        let tls = Tls::new().map_err(AgentError::Disk)?;
        let asker = Asker::new(tls.clone()).map_err(AgentError::Disk)?;
        let sockets = Places::new(bounds::CHECK_RUNS_MAX);
        let programs = Places::new(bounds::SCRIPT_RUNS_MAX);
        Ok(Self { claim, tasks, sockets, programs, asker, tls, client, output_max })
    }

    /// Runs the checks until they are dropped from the claim or everything stops.
    pub(in super::super) fn start_all(&self, starts: Vec<Start>) {
        for start in starts {
            self.start(start);
        }
    }

    fn start(&self, Start { spec, run }: Start) {
        let due = time::now() + span(spec.check.definition.ttl_ms, Duration::ZERO);
        let (sender, due) = watch::channel(due);
        let id = spec.check.id.clone();
        self.claim.registry().attach(&id, run, Runner { due: sender });
        let checker = self.clone();
        let mut shutdown = self.tasks.shutdown();
        self.tasks.spawn(async move {
            tokio::select! {
                () = shutdown.wait() => {}
                () = checker.work(&spec, run, due) => {}
            }
        });
    }

    /// Runs a check until its runner is dropped.
    async fn work(&self, spec: &CheckSpec, run: u64, due: watch::Receiver<Instant>) {
        let who = (spec.check.id.as_str(), run);
        if spec.check.kind == CheckKind::Ttl {
            return ttl::watch(&self.claim, who, due).await;
        }
        if spec.check.kind != CheckKind::Alias {
            return tokio::select! {
                () = dropped(due) => {}
                () = self.repeat(spec, run) => {}
            };
        }
        match &self.client {
            Some(client) if !spec.how.alias_node.is_empty() => tokio::select! {
                () = dropped(due) => {}
                () = Box::pin(alias::follow_remote(client, &self.claim, who, spec)) => {}
            },
            _ => alias::follow_local(&self.claim, who, due).await,
        }
    }

    async fn repeat(&self, spec: &CheckSpec, run: u64) {
        let interval = span(spec.check.definition.interval_ms, limits::CHECK_INTERVAL_MIN);
        let mut streak = Streak::new(spec);
        let mut pace = Pace::Fast;
        sleep(time::jitter(interval, 1, time::random())).await;
        loop {
            // In a box of its own: between two runs a check is small.
            let ran = Box::pin(self.probe(spec, pace)).await;
            if let Some(verdict) = streak.judge(ran.verdict) {
                self.claim.report((&spec.check.id, run), verdict);
            }
            if let Some(group) = ran.left {
                group.gone().await;
            }
            pace = ran.pace;
            sleep(interval).await;
        }
    }

    /// Runs a check once, as soon as there is a place for it.
    async fn probe(&self, spec: &CheckSpec, pace: Pace) -> Ran {
        let program = matches!(spec.check.kind, CheckKind::Script | CheckKind::Docker);
        let (places, patience) = if program {
            (&self.programs, bounds::SCRIPT_TIMEOUT_DEFAULT)
        } else {
            (&self.sockets, bounds::CHECK_TIMEOUT_DEFAULT)
        };
        let patience = match spec.check.definition.timeout_ms {
            0 => patience,
            own => Duration::from_millis(own).min(bounds::CHECK_TIMEOUT_MAX),
        };
        let _place = places.take(pace).await;
        let began = time::now();
        let (verdict, left) = self.ask(spec, patience).await;
        Ran { verdict, left, pace: Pace::of(time::now() - began) }
    }

    async fn ask(&self, spec: &CheckSpec, patience: Duration) -> (Verdict, Option<Group>) {
        let max = output_max(spec, self.output_max);
        let verdict = match spec.check.kind {
            CheckKind::Script => return script::run(&spec.how.args, patience, max).await,
            CheckKind::Docker => docker::run(&spec.how, patience, max).await,
            CheckKind::Http => self.asker.run(spec, patience, max).await,
            CheckKind::Tcp => tcp::run(spec, &self.tls, patience).await,
            CheckKind::Udp => udp::run(&spec.how.udp, patience).await,
            CheckKind::Grpc => grpc::run(spec, &self.tls, patience).await,
            CheckKind::H2ping => h2::ping(spec, &self.tls, patience).await,
            CheckKind::None | CheckKind::Ttl | CheckKind::Alias | CheckKind::Maintenance => {
                critical("nobody runs a check of this kind")
            }
        };
        (verdict, None)
    }
}

/// Returns once nobody holds the runner any more.
async fn dropped(mut due: watch::Receiver<Instant>) {
    while due.changed().await.is_ok() {}
}

#[cfg(test)]
mod tests {
    use super::super::super::registry::Registry;
    use super::*;
    use crate::model::{CheckStatus, Node};
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn targets_that_hang_delay_only_each_other() {
        let registry = Registry::new(Node::default(), Duration::ZERO);
        let claim = Arc::new(Claim::new(registry, None));
        let mut checker = Checker::new(claim, Tasks::new(), None, 4096).unwrap();
        checker.sockets = Places::new(1);
        let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = mute.local_addr().unwrap();
        let mut hangs = CheckSpec::default();
        hangs.check.kind = CheckKind::Http;
        hangs.check.definition.http = format!("http://{address}/");
        hangs.check.definition.timeout_ms = 60_000;
        let mut connects = CheckSpec::default();
        connects.check.kind = CheckKind::Tcp;
        connects.check.definition.tcp = address.to_string();
        let quick = tokio::select! {
            biased; // so that it hangs before the other one begins
            _ = Box::pin(checker.probe(&hangs, Pace::Slow)) => panic!("nobody answers it"),
            quick = Box::pin(checker.probe(&connects, Pace::Fast)) => quick,
        };
        assert_eq!((quick.verdict.status, quick.pace), (CheckStatus::Passing, Pace::Fast));
        assert_eq!(Pace::of(bounds::CHECK_RUN_SLOW * 2), Pace::Slow);
    }
}
