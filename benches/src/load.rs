//! The closed loop: every connection asks, waits for its answer, and asks again.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::cluster::Cluster;
use crate::dns::Answer;
use crate::figures::{float, per};
use crate::histogram::Histogram;
use crate::machine;
use crate::rows::Row;
use crate::source::Source;
use crate::worker::{Worker, lanes};

/// Kinds of errors that are told apart in one worker; the rest count as "other".
const ERROR_KINDS_MAX: usize = 16;
/// Pause after an error, so that a dead server is not asked a million times a second.
const PAUSE: Duration = Duration::from_millis(10);

/// When a row is measured: what finishes between the two counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    from: Instant,
    to: Instant,
}

/// What a row showed in one run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample {
    /// Good answers a second.
    pub(crate) rate: f64,
    /// Median latency in milliseconds.
    pub(crate) p50: f64,
    /// 99th percentile in milliseconds.
    pub(crate) p99: f64,
    /// Processor seconds of the three servers for 1,000 good answers.
    pub(crate) server_cpu: f64,
    /// Processors that the load generator itself kept busy.
    pub(crate) client_cores: f64,
    /// Processors that programs beside the measurement kept busy, or the host took away.
    pub(crate) other_cores: f64,
    /// Bytes of an answer's body (HTTP) or message (gRPC, DNS), on average.
    pub(crate) bytes: f64,
    /// Records in a DNS answer, on average; zero for others.
    pub(crate) records: f64,
    /// Good answers.
    pub(crate) good: u64,
    /// Everything else, by kind.
    pub(crate) errors: BTreeMap<String, u64>,
}

/// Processor seconds so far, or between two moments.
#[derive(Clone, Copy, Debug)]
struct Cpu {
    servers: f64,
    client: f64,
    everybody: f64,
}

/// What one worker counted.
#[derive(Debug, Default)]
struct Tally {
    latencies: Histogram,
    bytes: u64,
    records: u64,
    errors: BTreeMap<String, u64>,
}

/// Drives one row against the servers behind `doors` and returns when it is over.
pub(crate) async fn drive(
    row: Row,
    doors: &[SocketAddr],
    cluster: &Cluster,
    plan: Plan,
) -> anyhow::Result<Sample> {
    let from = Instant::now() + plan.warmup;
    let window = Window { from, to: from + plan.measured };
    let mut workers = JoinSet::new();
    for number in 0..row.connections {
        let source = Source::new(row.work, plan.keys, number);
        let worker = Worker::new(cluster.kind(), source, lanes(doors, number, row.connections));
        workers.spawn(closed(worker, window));
    }
    sleep_until(window.from).await;
    let before = Cpu::read(cluster)?;
    sleep_until(window.to).await;
    let cpu = Cpu::read(cluster)?.since(before);
    let mut sum = Tally::default();
    while let Some(tally) = workers.join_next().await {
        sum.merge(tally.context("a worker of the load generator failed")?);
    }
    Ok(sum.sample(plan.measured, cpu))
}

/// How long rows run and over how many keys.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Load before the measurement.
    pub(crate) warmup: Duration,
    /// The measurement.
    pub(crate) measured: Duration,
    /// Keys in the data set.
    pub(crate) keys: u32,
}

/// Asks, waits and asks again until the window closes.
async fn closed(mut worker: Worker, window: Window) -> Tally {
    let mut tally = Tally::default();
    let mut begin = Instant::now();
    while begin < window.to {
        let outcome = worker.ask().await;
        begin = tally.count(outcome, begin, window).await;
    }
    tally
}

impl Cpu {
    fn read(cluster: &Cluster) -> anyhow::Result<Self> {
        let servers = cluster.cpu_seconds()?;
        let client = machine::cpu_seconds(std::process::id())?;
        Ok(Self { servers, client, everybody: machine::busy_seconds()? })
    }

    fn since(self, before: Self) -> Self {
        Self {
            servers: self.servers - before.servers,
            client: self.client - before.client,
            everybody: self.everybody - before.everybody,
        }
    }
}

impl Tally {
    /// Counts what finished within the window, and returns when the next request may begin.
    async fn count(
        &mut self,
        outcome: Result<Answer, String>,
        begin: Instant,
        window: Window,
    ) -> Instant {
        let end = Instant::now();
        let counts = end >= window.from && end < window.to;
        match outcome {
            Ok(answer) if counts => {
                self.latencies.record(end - begin);
                self.bytes += answer.bytes as u64;
                self.records += u64::from(answer.records);
                end
            }
            Ok(_) => end,
            Err(kind) => {
                // Errors count whenever they come: one in the warm-up is no better.
                self.error(kind);
                sleep(PAUSE).await;
                Instant::now()
            }
        }
    }

    fn error(&mut self, kind: String) {
        self.errors_of(kind, 1);
    }

    fn errors_of(&mut self, kind: String, count: u64) {
        let room = self.errors.len() < ERROR_KINDS_MAX || self.errors.contains_key(&kind);
        *self.errors.entry(if room { kind } else { "other".to_owned() }).or_default() += count;
    }

    fn merge(&mut self, other: Self) {
        self.latencies.merge(&other.latencies);
        self.bytes += other.bytes;
        self.records += other.records;
        for (kind, count) in other.errors {
            self.errors_of(kind, count);
        }
    }

    fn sample(self, measured: Duration, cpu: Cpu) -> Sample {
        let good = self.latencies.total();
        let seconds = measured.as_secs_f64();
        let millis = |per_mille| self.latencies.quantile(per_mille).as_secs_f64() * 1e3;
        Sample {
            rate: float(good) / seconds,
            p50: millis(500),
            p99: millis(990),
            server_cpu: per(cpu.servers * 1e3, float(good)),
            client_cores: cpu.client / seconds,
            other_cores: (cpu.everybody - cpu.servers - cpu.client).max(0.0) / seconds,
            bytes: per(float(self.bytes), float(good)),
            records: per(float(self.records), float(good)),
            good,
            errors: self.errors,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_errors_are_bounded() {
        let mut tally = Tally::default();
        for kind in 0..100 {
            tally.error(format!("{kind:03}"));
        }
        assert_eq!(tally.errors.len(), ERROR_KINDS_MAX + 1);
        assert_eq!(tally.errors["other"], 84);
    }
}
