//! The timetable: one task a check, begun at a random part of its interval, ended with it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep};

use crate::lifecycle::Tasks;
use crate::limits;
use crate::model::{CheckDefinition, CheckKind, CheckStatus};
use crate::time;

use super::super::bounds;
use super::super::claim::Claim;
use super::super::disk::Verdict;
use super::super::handle::{AgentError, CheckSpec};
use super::super::plan::{output_max, span};
use super::super::registry::Start;
use super::http::Asker;
use super::{tcp, ttl};

/// Keeps a check running: dropping it ends the check's task.
#[derive(Debug)]
pub(in super::super) struct Runner {
    /// When a TTL check expires; of no meaning for the others.
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
}

/// Starts checks.
#[derive(Clone)]
pub(in super::super) struct Checker {
    claim: Arc<Claim>,
    tasks: Tasks,
    places: Arc<Semaphore>,
    asker: Asker,
}

impl Checker {
    /// Starts nothing yet.
    ///
    /// # Errors
    ///
    /// [`AgentError::Disk`] if no HTTP client can be built, which needs what TLS needs.
    pub(in super::super) fn new(claim: Arc<Claim>, tasks: Tasks) -> Result<Self, AgentError> {
        let asker = Asker::new().map_err(AgentError::Disk)?;
        let places = Arc::new(Semaphore::new(bounds::CHECK_RUNS_MAX));
        Ok(Self { claim, tasks, places, asker })
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
        if spec.check.kind == CheckKind::Ttl {
            return ttl::watch(&self.claim, (&spec.check.id, run), due).await;
        }
        tokio::select! {
            () = dropped(due) => {}
            () = self.repeat(spec, run) => {}
        }
    }

    async fn repeat(&self, spec: &CheckSpec, run: u64) {
        let definition = &spec.check.definition;
        let interval = span(definition.interval_ms, limits::CHECK_INTERVAL_MIN);
        let mut streak = Streak::new(spec);
        sleep(time::jitter(interval, 1, time::random())).await;
        loop {
            let verdict = self.probe(spec.check.kind, definition, output_max(spec)).await;
            if streak.counts(&verdict.status) {
                self.claim.report((&spec.check.id, run), verdict);
            }
            sleep(interval).await;
        }
    }

    async fn probe(&self, kind: CheckKind, definition: &CheckDefinition, max: usize) -> Verdict {
        let _place = self.places.acquire().await.expect("the semaphore is never closed");
        let patience = match definition.timeout_ms {
            0 => bounds::CHECK_TIMEOUT_DEFAULT,
            own => Duration::from_millis(own).min(bounds::CHECK_TIMEOUT_MAX),
        };
        match kind {
            CheckKind::Tcp => tcp::run(&definition.tcp, patience).await,
            _ => self.asker.run(definition, patience, max).await,
        }
    }
}

/// Returns once nobody holds the runner any more.
async fn dropped(mut due: watch::Receiver<Instant>) {
    while due.changed().await.is_ok() {}
}

/// Results in a row. It begins full, so that the first result counts at once.
#[derive(Debug)]
struct Streak {
    good: u32,
    bad: u32,
    good_needed: u32,
    bad_needed: u32,
}

impl Streak {
    fn new(spec: &CheckSpec) -> Self {
        let (good, bad) = (spec.success_before_passing, spec.failures_before_critical);
        Self { good, bad, good_needed: good, bad_needed: bad }
    }

    /// Whether this result, after those before it, is the check's verdict.
    fn counts(&mut self, status: &CheckStatus) -> bool {
        match status {
            CheckStatus::Passing | CheckStatus::Warning => {
                (self.good, self.bad) = (self.good.saturating_add(1), 0);
                self.good >= self.good_needed
            }
            CheckStatus::Critical | CheckStatus::Other(_) => {
                (self.good, self.bad) = (0, self.bad.saturating_add(1));
                self.bad >= self.bad_needed
            }
        }
    }
}
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_count_once_there_are_enough_in_a_row() {
        // Results, in a row: p passes, w warns, c is critical; capitals are those that count.
        for (success, failures, results) in [
            (0, 0, "PWCPC"),
            (1, 1, "PWCPC"),
            (2, 3, "PPccCpPcpP"),
            (2, 3, "CCpWcpWccC"),
            (3, 0, "PCCppPW"),
        ] {
            let spec = CheckSpec {
                success_before_passing: success,
                failures_before_critical: failures,
                ..CheckSpec::default()
            };
            let mut streak = Streak::new(&spec);
            for (at, sign) in results.chars().enumerate() {
                let status = match sign.to_ascii_lowercase() {
                    'p' => CheckStatus::Passing,
                    'w' => CheckStatus::Warning,
                    _ => CheckStatus::Critical,
                };
                let counts = streak.counts(&status);
                assert_eq!(counts, sign.is_uppercase(), "{at} of {results}");
            }
        }
    }
}
