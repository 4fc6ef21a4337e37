//! Every metric in one table: name, kind, labels, unit, meaning.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus::core::Collector;
use prometheus::proto::MetricType;
use prometheus::{
    Encoder as _, Gauge as PlainGauge, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry,
    TextEncoder,
};

use super::process;

/// Upper ends of the classes of request durations, in seconds. A request that blocks ends in the
/// last ones.
const SECONDS_CLASSES: [f64; 12] =
    [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0];

/// A metric as a page of reference shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricText {
    /// Its name for Prometheus.
    pub name: &'static str,
    /// Its name in Consul's JSON.
    pub json: &'static str,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// Its unit.
    pub unit: &'static str,
    /// What it counts.
    pub meaning: &'static str,
}

const fn text(
    name: &'static str,
    json: &'static str,
    labels: &'static [&'static str],
    unit: &'static str,
    meaning: &'static str,
) -> MetricText {
    MetricText { name, json, labels, unit, meaning }
}

const HTTP_REQUESTS: MetricText = text(
    "portolan_http_requests_total",
    "consul.http.requests",
    &["route", "status"],
    "requests",
    "requests answered at the HTTP door",
);
const HTTP_SECONDS: MetricText = text(
    "portolan_http_request_seconds",
    "consul.http.request_seconds",
    &["route"],
    "seconds",
    "from a request's head to its answer; blocking reads with their wait",
);
const DNS_QUERIES: MetricText = text(
    "portolan_dns_queries_total",
    "consul.dns.queries",
    &["type", "code"],
    "questions",
    "questions answered at the DNS door",
);
const DNS_CACHE: MetricText = text(
    "portolan_dns_cache_total",
    "consul.dns.cache",
    &["outcome"],
    "questions",
    "questions about services by whether the encoded answer was at hand: hit, miss",
);
const READS: MetricText = text(
    "portolan_reads_total",
    "consul.reads",
    &["query", "outcome"],
    "reads",
    "reads by kind, and whether they were answered",
);
const WRITES: MetricText = text(
    "portolan_writes_total",
    "consul.writes",
    &["outcome"],
    "writes",
    "writes by what became of them: ok, refused, not_applied, unknown",
);
const WAKES: MetricText = text(
    "portolan_wakes_total",
    "consul.wakes",
    &["topic"],
    "wakes",
    "blocking reads woken by a change, by the kind of topic that they wait for",
);
const EVALUATIONS: MetricText = text(
    "portolan_evaluations_total",
    "consul.evaluations",
    &["way"],
    "evaluations",
    "evaluations that blocking reads needed: made, or shared with others who wait for the same",
);
const ENCODINGS: MetricText = text(
    "portolan_encodings_total",
    "consul.encodings",
    &["way"],
    "encodings",
    "answers of blocking reads encoded: made, or shared with others who asked the same",
);
const HTTP_REFUSED: MetricText = text(
    "portolan_http_refused_total",
    "consul.http.refused",
    &["bound"],
    "refusals",
    "connections and requests refused at the HTTP door, by the bound that they met",
);

/// A gauge that rooms set. The variants are the rows of its part of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gauge {
    /// 1 while this server leads.
    RaftLeader,
    /// Raft's term.
    RaftTerm,
    /// The last entry of the log on disk.
    RaftLastLog,
    /// The last entry that a majority has.
    RaftCommitted,
    /// The last entry that was applied here.
    RaftApplied,
    /// The last entry inside a snapshot.
    RaftSnapshot,
    /// Seconds since this server heard of the leader.
    RaftLastContact,
    /// The servers of the cluster.
    RaftServers,
    /// The members of the pool.
    Members,
    /// The members of the pool that do not answer.
    MembersFailed,
    /// Blocking reads that wait here.
    Waiters,
    /// Open connections at the HTTP door.
    HttpConnections,
    /// Memory in use.
    ResidentBytes,
    /// Processor time used so far.
    CpuSeconds,
    /// Open files and connections.
    OpenFiles,
    /// Threads.
    Threads,
}

/// The gauges, in the order of [`Gauge`].
const GAUGES: [(Gauge, MetricText); 16] = [
    (
        Gauge::RaftLeader,
        text("portolan_raft_leader", "consul.raft.leader", &[], "", "1 while this server leads"),
    ),
    (Gauge::RaftTerm, text("portolan_raft_term", "consul.raft.term", &[], "", "Raft's term")),
    (
        Gauge::RaftLastLog,
        text(
            "portolan_raft_last_log_index",
            "consul.raft.last_index",
            &[],
            "entries",
            "the last entry of the log on disk",
        ),
    ),
    (
        Gauge::RaftCommitted,
        text(
            "portolan_raft_commit_index",
            "consul.raft.commit_index",
            &[],
            "entries",
            "the last entry that a majority has",
        ),
    ),
    (
        Gauge::RaftApplied,
        text(
            "portolan_raft_applied_index",
            "consul.raft.applied_index",
            &[],
            "entries",
            "the last entry that was applied here",
        ),
    ),
    (
        Gauge::RaftSnapshot,
        text(
            "portolan_raft_snapshot_index",
            "consul.raft.snapshot_index",
            &[],
            "entries",
            "the last entry inside a snapshot",
        ),
    ),
    (
        Gauge::RaftLastContact,
        text(
            "portolan_raft_last_contact_seconds",
            "consul.raft.last_contact_seconds",
            &[],
            "seconds",
            "since this server heard of the leader",
        ),
    ),
    (
        Gauge::RaftServers,
        text(
            "portolan_raft_servers",
            "consul.raft.servers",
            &[],
            "servers",
            "the servers of the cluster",
        ),
    ),
    (
        Gauge::Members,
        text("portolan_members", "consul.members", &[], "members", "the members of the pool"),
    ),
    (
        Gauge::MembersFailed,
        text(
            "portolan_members_failed",
            "consul.members_failed",
            &[],
            "members",
            "the members of the pool that do not answer",
        ),
    ),
    (
        Gauge::Waiters,
        text("portolan_waiters", "consul.waiters", &[], "reads", "blocking reads that wait here"),
    ),
    (
        Gauge::HttpConnections,
        text(
            "portolan_http_connections",
            "consul.http.connections",
            &[],
            "connections",
            "open connections at the HTTP door",
        ),
    ),
    (
        Gauge::ResidentBytes,
        text(
            "process_resident_memory_bytes",
            "consul.runtime.alloc_bytes",
            &[],
            "bytes",
            "memory in use",
        ),
    ),
    (
        Gauge::CpuSeconds,
        text(
            "process_cpu_seconds_total",
            "consul.runtime.cpu_seconds",
            &[],
            "seconds",
            "processor time used so far",
        ),
    ),
    (
        Gauge::OpenFiles,
        text(
            "process_open_fds",
            "consul.runtime.open_files",
            &[],
            "files",
            "open files and connections",
        ),
    ),
    (
        Gauge::Threads,
        text("process_threads", "consul.runtime.num_threads", &[], "threads", "threads"),
    ),
];

const LABELLED: [MetricText; 10] = [
    HTTP_REQUESTS,
    HTTP_SECONDS,
    HTTP_REFUSED,
    DNS_QUERIES,
    DNS_CACHE,
    READS,
    WRITES,
    WAKES,
    EVALUATIONS,
    ENCODINGS,
];

/// The whole table, for pages of reference.
pub fn metric_texts() -> impl Iterator<Item = MetricText> {
    LABELLED.into_iter().chain(GAUGES.into_iter().map(|(_, text)| text))
}

/// One number with its labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Its name in Consul's JSON.
    pub name: String,
    /// Its labels, by name and value.
    pub labels: Vec<(String, String)>,
    /// The number.
    pub amount: Amount,
}

/// A number by its kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Amount {
    /// As it is now.
    Gauge(f64),
    /// How often, since the start.
    Counter(u64),
    /// How often and how much altogether, since the start.
    Histogram {
        /// How often.
        count: u64,
        /// The sum, in the metric's unit.
        sum: f64,
    },
}

type Source = Box<dyn Fn(&Metrics) + Send + Sync>;

/// The program's metrics. Cheap to clone; all clones count together.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    http_requests: IntCounterVec,
    http_seconds: HistogramVec,
    dns_queries: IntCounterVec,
    dns_cache: IntCounterVec,
    reads: IntCounterVec,
    writes: IntCounterVec,
    wakes: IntCounterVec,
    evaluations: IntCounterVec,
    encodings: IntCounterVec,
    http_refused: IntCounterVec,
    gauges: Vec<PlainGauge>,
    sources: Mutex<Vec<Arc<Source>>>,
}

/// A connection that is counted until this is dropped.
#[derive(Debug)]
pub struct HttpConnection(Metrics);

impl Drop for HttpConnection {
    fn drop(&mut self) {
        self.0.change(Gauge::HttpConnections, -1.0);
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All metrics of the table, at zero.
    ///
    /// # Panics
    ///
    /// If two rows of the table have one name, which is our own mistake.
    pub fn new() -> Self {
        let registry = Registry::new();
        let inner = Inner {
            http_requests: counter(&registry, &HTTP_REQUESTS),
            http_seconds: histogram(&registry, &HTTP_SECONDS),
            dns_queries: counter(&registry, &DNS_QUERIES),
            dns_cache: counter(&registry, &DNS_CACHE),
            reads: counter(&registry, &READS),
            writes: counter(&registry, &WRITES),
            wakes: counter(&registry, &WAKES),
            evaluations: counter(&registry, &EVALUATIONS),
            encodings: counter(&registry, &ENCODINGS),
            http_refused: counter(&registry, &HTTP_REFUSED),
            gauges: GAUGES.iter().map(|(_, text)| gauge(&registry, text)).collect(),
            sources: Mutex::new(Vec::new()),
            registry,
        };
        Self(Arc::new(inner))
    }

    /// Counts a request at the HTTP door. `route` is a path of its table, not the caller's path.
    pub fn http(&self, route: &'static str, status: u16, took: Duration) {
        let status = status_text(status);
        self.0.http_requests.with_label_values(&[route, status]).inc();
        self.0.http_seconds.with_label_values(&[route]).observe(took.as_secs_f64());
    }

    /// Counts a question at the DNS door. Both words come from a closed list of the door's.
    pub fn dns(&self, kind: &'static str, code: &'static str) {
        self.0.dns_queries.with_label_values(&[kind, code]).inc();
    }

    /// Counts a question that the DNS door's cache could answer, and whether it did.
    pub fn dns_cache(&self, outcome: &'static str) {
        self.0.dns_cache.with_label_values(&[outcome]).inc();
    }

    /// Counts a read by its kind and outcome.
    pub fn read(&self, query: &'static str, outcome: &'static str) {
        self.0.reads.with_label_values(&[query, outcome]).inc();
    }

    /// Counts a write by its outcome.
    pub fn write(&self, outcome: &'static str) {
        self.0.writes.with_label_values(&[outcome]).inc();
    }

    /// Counts blocking reads that a change woke, by the kind of topic that they wait for.
    pub fn woken(&self, topic: &'static str, waiters: usize) {
        let waiters = u64::try_from(waiters).unwrap_or(u64::MAX);
        self.0.wakes.with_label_values(&[topic]).inc_by(waiters);
    }

    /// Counts an evaluation that a blocking read needed: `made` or `shared`.
    pub fn evaluation(&self, way: &'static str) {
        self.0.evaluations.with_label_values(&[way]).inc();
    }

    /// Counts the encoding of a blocking read's answer: `made` or `shared`.
    pub fn encoding(&self, way: &'static str) {
        self.0.encodings.with_label_values(&[way]).inc();
    }

    /// Counts a connection or request that the HTTP door refused, by the bound that it met.
    pub fn http_refused(&self, bound: &'static str) {
        self.0.http_refused.with_label_values(&[bound]).inc();
    }

    /// Counts a connection at the HTTP door, as long as what it returns is kept.
    pub fn http_connection(&self) -> HttpConnection {
        self.change(Gauge::HttpConnections, 1.0);
        HttpConnection(self.clone())
    }

    /// Sets a gauge, in the unit of its row.
    pub fn set(&self, gauge: Gauge, value: f64) {
        if let Some(found) = self.0.gauges.get(gauge as usize) {
            found.set(value);
        }
    }

    fn change(&self, gauge: Gauge, by: f64) {
        if let Some(found) = self.0.gauges.get(gauge as usize) {
            found.add(by);
        }
    }

    /// Has `fill` called before each reading, to set gauges that are cheaper asked than kept.
    ///
    /// It must not wait, and must not hold a clone of these metrics, or neither is ever freed.
    pub fn before_reading(&self, fill: impl Fn(&Self) + Send + Sync + 'static) {
        self.0.sources.lock().push(Arc::new(Box::new(fill)));
    }

    /// All metrics in the text form that Prometheus reads.
    ///
    /// # Panics
    ///
    /// Never: the text is written to memory.
    pub fn text(&self) -> String {
        self.fill();
        let mut out = Vec::new();
        let families = self.0.registry.gather();
        TextEncoder::new().encode(&families, &mut out).expect("a vector takes all");
        String::from_utf8(out).expect("labels are text")
    }

    /// All metrics one by one, under the names of Consul's JSON.
    pub fn samples(&self) -> Vec<Sample> {
        self.fill();
        let mut samples = Vec::new();
        for family in self.0.registry.gather() {
            let found = metric_texts().find(|text| text.name == family.name());
            let name = found.map_or(family.name(), |text| text.json);
            for metric in family.get_metric() {
                let pairs = metric.get_label().iter();
                let amount = match family.get_field_type() {
                    MetricType::COUNTER => Amount::Counter(whole(metric.get_counter().get_value())),
                    MetricType::HISTOGRAM => Amount::Histogram {
                        count: metric.get_histogram().get_sample_count(),
                        sum: metric.get_histogram().get_sample_sum(),
                    },
                    _ => Amount::Gauge(metric.get_gauge().get_value()),
                };
                samples.push(Sample {
                    name: name.to_owned(),
                    labels: pairs
                        .map(|pair| (pair.name().to_owned(), pair.value().to_owned()))
                        .collect(),
                    amount,
                });
            }
        }
        samples
    }

    fn fill(&self) {
        let process = process::read();
        for (gauge, value) in [
            (Gauge::ResidentBytes, process.resident_bytes),
            (Gauge::CpuSeconds, process.cpu_seconds),
            (Gauge::OpenFiles, process.open_files),
            (Gauge::Threads, process.threads),
        ] {
            if let Some(value) = value {
                self.set(gauge, value);
            }
        }
        let sources = self.0.sources.lock().clone();
        for source in sources {
            source(self);
        }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of events")]
fn whole(value: f64) -> u64 {
    value as u64
}

/// A status as a label, without an allocation for those that are common.
fn status_text(status: u16) -> &'static str {
    match status {
        200 => "200",
        301 => "301",
        400 => "400",
        404 => "404",
        405 => "405",
        409 => "409",
        413 => "413",
        429 => "429",
        500 => "500",
        503 => "503",
        _ => "other",
    }
}

fn help(text: &MetricText) -> String {
    if text.unit.is_empty() {
        return text.meaning.to_owned();
    }
    format!("{}, in {}", text.meaning, text.unit)
}

fn register(registry: &Registry, collector: impl Collector + 'static) {
    registry.register(Box::new(collector)).expect("the table's names are its own");
}

fn counter(registry: &Registry, text: &MetricText) -> IntCounterVec {
    let made = IntCounterVec::new(Opts::new(text.name, help(text)), text.labels);
    let made = made.expect("the table's names are valid");
    register(registry, made.clone());
    made
}

fn histogram(registry: &Registry, text: &MetricText) -> HistogramVec {
    let options = HistogramOpts::new(text.name, help(text)).buckets(SECONDS_CLASSES.to_vec());
    let made = HistogramVec::new(options, text.labels).expect("the table's names are valid");
    register(registry, made.clone());
    made
}

fn gauge(registry: &Registry, text: &MetricText) -> PlainGauge {
    let made = PlainGauge::new(text.name, help(text)).expect("the table's names are valid");
    register(registry, made.clone());
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gauges_stand_in_the_order_of_their_variants() {
        for (at, (gauge, _)) in GAUGES.iter().enumerate() {
            assert_eq!(*gauge as usize, at);
        }
    }

    #[test]
    fn what_is_counted_is_told_in_both_forms() {
        let metrics = Metrics::new();
        metrics.http("/v1/kv/", 200, Duration::from_millis(1));
        metrics.http("/v1/kv/", 200, Duration::from_millis(3));
        metrics.write("ok");
        metrics.before_reading(|metrics| metrics.set(Gauge::RaftTerm, 7.0));
        let text = metrics.text();
        for line in [
            "portolan_http_requests_total{route=\"/v1/kv/\",status=\"200\"} 2",
            "portolan_http_request_seconds_count{route=\"/v1/kv/\"} 2",
            "portolan_writes_total{outcome=\"ok\"} 1",
            "portolan_raft_term 7",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        let samples = metrics.samples();
        let find = |name: &str| samples.iter().find(|sample| sample.name == name).unwrap();
        assert_eq!(find("consul.http.requests").amount, Amount::Counter(2));
        assert_eq!(find("consul.raft.term").amount, Amount::Gauge(7.0));
        assert!(matches!(find("consul.runtime.alloc_bytes").amount, Amount::Gauge(n) if n > 0.0));
    }
}
