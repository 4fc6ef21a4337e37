//! One measurement: the workers of a row, the closed loop, and what is counted meanwhile.
//!
//! In the closed loop every connection asks, waits for its answer, and asks again; the open one has
//! a file of its own.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::cluster::{Cluster, Kind};
use crate::dns::Answer;
use crate::figures::{float, per};
use crate::histogram::Histogram;
use crate::machine::{self, Disk, Effort};
use crate::open::{Alarm, Schedule, open};
use crate::rows::Row;
use crate::source::Source;
use crate::steps::Size;
use crate::worker::{Worker, lanes};

/// Share of errors above which a row of a run does not count, in requests: 1 in 1,000.
const ERRORS_ONE_IN: u64 = 1_000;
/// Kinds of errors that are told apart in one worker; the rest count as "other".
const ERROR_KINDS_MAX: usize = 16;
/// Pause after an error, so that a dead server is not asked a million times a second.
const PAUSE: Duration = Duration::from_millis(10);

/// When a row is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    from: Instant,
    to: Instant,
}

impl Window {
    /// From `from` on, for `measured`.
    pub(crate) fn new(from: Instant, measured: Duration) -> Self {
        Self { from, to: from + measured }
    }

    /// Whether a moment is between the two.
    pub(crate) fn holds(&self, moment: Instant) -> bool {
        moment >= self.from && moment < self.to
    }
}

/// What a row showed in one run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample {
    /// Good answers a second, those that came within the window.
    pub(crate) rate: f64,
    /// In the open loop, how many were due a second; zero in the closed one.
    pub(crate) due: f64,
    /// Median latency in milliseconds.
    pub(crate) p50: f64,
    /// 99th percentile in milliseconds.
    pub(crate) p99: f64,
    /// What a good answer cost the servers together.
    pub(crate) servers: Effort,
    /// What it cost the load generator.
    pub(crate) client: Effort,
    /// What the disk did for a good answer, by everybody; none where it is not counted.
    pub(crate) disk: Option<Disk>,
    /// Processors that the load generator itself kept busy.
    pub(crate) client_cores: f64,
    /// Processors that programs beside the measurement kept busy, or the host took away.
    pub(crate) other_cores: f64,
    /// Bytes of an answer's body (HTTP) or message (gRPC, DNS), on average.
    pub(crate) bytes: f64,
    /// Records in a DNS answer, on average; zero for others.
    pub(crate) records: f64,
    /// Good answers, all that latencies stand on.
    pub(crate) good: u64,
    /// In the open loop, requests that found every connection busy when they were due.
    pub(crate) late: u64,
    /// Everything else, by kind.
    pub(crate) errors: BTreeMap<String, u64>,
}

impl Sample {
    /// Whether at most one request in a thousand failed, and any succeeded.
    pub(crate) fn is_valid(&self) -> bool {
        self.good > 0 && self.failed() * ERRORS_ONE_IN <= self.good + self.failed()
    }

    /// How many requests failed.
    pub(crate) fn failed(&self) -> u64 {
        self.errors.values().sum()
    }
}

/// What everybody has cost so far, or cost between two moments.
#[derive(Clone, Copy, Debug)]
struct Cost {
    servers: Effort,
    client: Effort,
    /// Processor seconds of all programs.
    everybody: f64,
    disk: Option<Disk>,
}

/// Which answers' latencies count.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Counts {
    /// Those that come within the window: the closed loop's.
    WhatEnds,
    /// Those of requests that were due within it, however late they come: the open loop's.
    WhatIsDue,
}

/// What one worker counted.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Of the good answers that count.
    pub(crate) latencies: Histogram,
    /// Good answers that came within the window.
    pub(crate) answered: u64,
    /// Requests due within the window that found all connections busy.
    pub(crate) late: u64,
    bytes: u64,
    records: u64,
    /// All that went wrong, by kind.
    pub(crate) errors: BTreeMap<String, u64>,
}

/// Drives one row against the servers behind `doors` and returns when it is over.
pub(crate) async fn drive(
    row: Row,
    doors: &[SocketAddr],
    cluster: &Cluster,
    plan: Plan,
) -> anyhow::Result<Sample> {
    let connected = connect(row, doors, cluster.kind(), plan.size).await?;
    let start = Instant::now();
    let window = Window::new(start + plan.warmup, plan.measured);
    let schedule = plan.rate.map(|rate| Arc::new(Schedule::new(start, window.to, rate)));
    let mut workers = JoinSet::new();
    for worker in connected {
        match &schedule {
            None => workers.spawn(closed(worker, window)),
            Some(schedule) => {
                let alarm = Alarm::new().context("no timer for a worker")?;
                workers.spawn(open(worker, Arc::clone(schedule), alarm, window))
            }
        };
    }
    sleep_until(window.from).await;
    let before = Cost::read(cluster)?;
    sleep_until(window.to).await;
    let cost = Cost::read(cluster)?.since(before);
    let mut sum = Tally::default();
    while let Some(tally) = workers.join_next().await {
        sum.merge(tally.context("a worker of the load generator failed")?);
    }
    let sample = sum.sample(plan.measured, cost);
    Ok(Sample { due: plan.rate.unwrap_or(0.0), ..sample })
}

/// The workers of a row, connected: at a low rate the warm-up would not reach all of them.
async fn connect(
    row: Row,
    doors: &[SocketAddr],
    kind: Kind,
    size: Size,
) -> anyhow::Result<Vec<Worker>> {
    let mut connecting = JoinSet::new();
    for number in 0..row.connections {
        let source = Source::new(row.work, size, number);
        let worker = Worker::new(kind, source, lanes(doors, number, row.connections));
        connecting.spawn(worker.connect());
    }
    let mut workers = Vec::with_capacity(row.connections);
    while let Some(worker) = connecting.join_next().await {
        workers.push(worker.context("a worker of the load generator failed")?);
    }
    Ok(workers)
}

/// How long rows run, over which data, and how fast.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Load before the measurement.
    pub(crate) warmup: Duration,
    /// The measurement.
    pub(crate) measured: Duration,
    /// What the system holds.
    pub(crate) size: Size,
    /// Requests that are due a second; none is the closed loop, as many as are answered.
    pub(crate) rate: Option<f64>,
}

/// Asks, waits and asks again until the window closes.
async fn closed(mut worker: Worker, window: Window) -> Tally {
    let mut tally = Tally::default();
    let mut begin = Instant::now();
    while begin < window.to {
        let outcome = worker.ask().await;
        tally.count(outcome, begin, window, Counts::WhatEnds).await;
        begin = Instant::now();
    }
    tally
}

impl Cost {
    fn read(cluster: &Cluster) -> anyhow::Result<Self> {
        let client = machine::effort(std::process::id())?;
        let (servers, disk) = (cluster.effort()?, cluster.disk());
        Ok(Self { servers, client, everybody: machine::busy_seconds()?, disk })
    }

    fn since(self, before: Self) -> Self {
        Self {
            servers: self.servers.since(before.servers),
            client: self.client.since(before.client),
            everybody: self.everybody - before.everybody,
            disk: self.disk.zip(before.disk).map(|(now, before)| now.since(before)),
        }
    }
}

impl Tally {
    /// Counts an answer that is there now, its latency from `begin`.
    pub(crate) async fn count(
        &mut self,
        outcome: Result<Answer, String>,
        begin: Instant,
        window: Window,
        counts: Counts,
    ) {
        let end = Instant::now();
        let is_within = match counts {
            Counts::WhatEnds => window.holds(end),
            Counts::WhatIsDue => window.holds(begin),
        };
        match outcome {
            Ok(answer) => {
                self.answered += u64::from(window.holds(end));
                if is_within {
                    self.latencies.record(end - begin);
                    self.bytes += answer.bytes as u64;
                    self.records += u64::from(answer.records);
                }
            }
            Err(kind) => {
                // Errors count whenever they come: one in the warm-up is no better.
                self.error(kind);
                sleep(PAUSE).await;
            }
        }
    }

    /// Counts an error.
    pub(crate) fn error(&mut self, kind: String) {
        self.errors_of(kind, 1);
    }

    fn errors_of(&mut self, kind: String, count: u64) {
        let room = self.errors.len() < ERROR_KINDS_MAX || self.errors.contains_key(&kind);
        *self.errors.entry(if room { kind } else { "other".to_owned() }).or_default() += count;
    }

    /// Adds all that another worker counted.
    pub(crate) fn merge(&mut self, other: Self) {
        self.answered += other.answered;
        self.late += other.late;
        self.latencies.merge(&other.latencies);
        self.bytes += other.bytes;
        self.records += other.records;
        for (kind, count) in other.errors {
            self.errors_of(kind, count);
        }
    }

    /// What all workers' counts amount to.
    fn sample(self, measured: Duration, cost: Cost) -> Sample {
        let good = self.latencies.total();
        let seconds = measured.as_secs_f64();
        let answered = float(self.answered);
        let ours = cost.servers.cpu + cost.client.cpu;
        let millis = |per_mille| self.latencies.quantile(per_mille).as_secs_f64() * 1e3;
        Sample {
            rate: answered / seconds,
            due: 0.0,
            p50: millis(500),
            p99: millis(990),
            servers: cost.servers.each(answered),
            client: cost.client.each(answered),
            disk: cost.disk.map(|disk| disk.each(answered)),
            client_cores: cost.client.cpu / seconds,
            other_cores: (cost.everybody - ours).max(0.0) / seconds,
            bytes: per(float(self.bytes), float(good)),
            records: per(float(self.records), float(good)),
            good,
            late: self.late,
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
