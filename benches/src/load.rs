//! The closed loop: every connection asks, waits for its answer, and asks again.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::cluster::{Cluster, dns_of};
use crate::dns::Asker;
use crate::figures::{float, per};
use crate::histogram::Histogram;
use crate::http::{Connection, Response, request};
use crate::machine;
use crate::rows::{Row, VALUE_BYTES, Work};

/// Kinds of errors that are told apart in one worker; the rest count as "other".
const ERROR_KINDS_MAX: usize = 16;
/// Longest wait for one response.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pause after an error, so that a dead server is not asked a million times a second.
const PAUSE: Duration = Duration::from_millis(10);
/// Decimal digits of a key's number, so that it can be put into a prepared request in place.
const KEY_DIGITS: usize = 8;

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
    /// Bytes of an answer's body (HTTP) or message (DNS), on average.
    pub(crate) bytes: f64,
    /// Records in a DNS answer, on average; zero for HTTP.
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
        let lanes = lanes(doors, number, row.connections);
        match row.work {
            Work::Srv => workers.spawn(ask_dns(lanes, window)),
            _ => workers.spawn(ask_http(lanes, Source::new(row.work, plan.keys, number), window)),
        };
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

/// The servers that one worker asks, in turn. Usually one; but a worker that is alone would meet
/// the leader by luck, so with fewer workers than servers each has a connection to all of them.
fn lanes(doors: &[SocketAddr], number: usize, connections: usize) -> Vec<SocketAddr> {
    if connections < doors.len() { doors.to_vec() } else { vec![doors[number % doors.len()]] }
}

async fn ask_http(doors: Vec<SocketAddr>, mut source: Source, window: Window) -> Tally {
    let mut tally = Tally::default();
    let mut requests: Vec<_> = doors.iter().map(|door| source.prepare(*door)).collect();
    let mut connections: Vec<Option<Connection>> = doors.iter().map(|_| None).collect();
    let mut begin = Instant::now();
    for lane in (0..doors.len()).cycle() {
        if begin >= window.to {
            break;
        }
        let prepared = &mut requests[lane];
        source.vary(prepared);
        let exchange = exchange(&mut connections[lane], doors[lane], &prepared.bytes);
        let outcome = match timeout(PATIENCE, exchange).await {
            Ok(Ok(response)) => source.judge(&response).map(|()| (response.body.len(), 0)),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("no answer within 10 s".to_owned()),
        };
        if outcome.is_err() {
            connections[lane] = None; // its state is unknown; the next turn opens another
        }
        begin = tally.count(outcome, begin, window).await;
    }
    tally
}

async fn exchange<'a>(
    slot: &'a mut Option<Connection>,
    door: SocketAddr,
    bytes: &[u8],
) -> std::io::Result<Response<'a>> {
    let connection = match slot {
        Some(connection) => connection,
        None => slot.insert(Connection::open(door).await?),
    };
    connection.exchange(bytes).await
}

async fn ask_dns(doors: Vec<SocketAddr>, window: Window) -> Tally {
    let mut tally = Tally::default();
    let mut askers = Vec::with_capacity(doors.len());
    for door in doors {
        match Asker::open(dns_of(door)).await {
            Ok(asker) => askers.push(asker),
            Err(error) => tally.error(error.to_string()),
        }
    }
    let mut begin = Instant::now();
    for lane in (0..askers.len()).cycle() {
        if begin >= window.to {
            break;
        }
        let outcome = askers[lane].ask().await;
        let outcome = outcome.map(|answer| (answer.bytes, answer.records));
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
        outcome: Result<(usize, u16), String>,
        begin: Instant,
        window: Window,
    ) -> Instant {
        let end = Instant::now();
        let counts = end >= window.from && end < window.to;
        match outcome {
            Ok((bytes, records)) if counts => {
                self.latencies.record(end - begin);
                self.bytes += bytes as u64;
                self.records += u64::from(records);
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

/// Makes the HTTP requests of one worker and knows what a good answer looks like.
#[derive(Debug)]
struct Source {
    work: Work,
    keys: u32,
    random: Random,
}

/// A request whose key, and value if it has one, are changed in place.
#[derive(Debug)]
struct Prepared {
    bytes: Vec<u8>,
    key_at: usize,
    value_at: Option<usize>,
}

impl Source {
    fn new(work: Work, keys: u32, number: usize) -> Self {
        Self { work, keys, random: Random::new(number as u64) }
    }

    fn prepare(&mut self, door: SocketAddr) -> Prepared {
        let (method, query, value) = match self.work {
            Work::Put => ("PUT", "", value(&mut self.random)),
            Work::Get { query } => ("GET", query, Vec::new()),
            Work::Srv => unreachable!("DNS has its own loop"),
        };
        let start = format!("/v1/kv/{}", key(0));
        let bytes = request(method, &format!("{start}{query}"), door, &value);
        let key_at = method.len() + 1 + start.len() - KEY_DIGITS;
        let value_at = (!value.is_empty()).then(|| bytes.len() - value.len());
        Prepared { bytes, key_at, value_at }
    }

    /// Another key of the data set and, so that no two writes are the same, another value.
    fn vary(&mut self, prepared: &mut Prepared) {
        let number = self.random.below(self.keys);
        let at = prepared.key_at;
        put_digits(&mut prepared.bytes[at..at + KEY_DIGITS], number);
        if let Some(at) = prepared.value_at {
            prepared.bytes[at..at + 8].copy_from_slice(&self.random.next().to_le_bytes());
        }
    }

    /// `true` after a write; after a read an entry, which holds the value in base64.
    fn judge(&self, response: &Response<'_>) -> Result<(), String> {
        let good = match self.work {
            Work::Put => response.body.trim_ascii_end() == b"true",
            _ => response.body.len() > VALUE_BYTES,
        };
        match response.status {
            200 if good => Ok(()),
            200 => Err("status 200 with another body".to_owned()),
            status => Err(format!("status {status}")),
        }
    }
}

/// The key with this number.
pub(crate) fn key(number: u32) -> String {
    format!("bench/{number:08}")
}

/// A value that does not compress.
pub(crate) fn value(random: &mut Random) -> Vec<u8> {
    (0..VALUE_BYTES / 8).flat_map(|_| random.next().to_le_bytes()).collect()
}

fn put_digits(place: &mut [u8], mut number: u32) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).expect("a digit");
        number /= 10;
    }
}

/// Numbers that look random and are the same in every run (splitmix64).
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// A sequence of its own for every `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_add(1).wrapping_mul(0xD1B5_4A32_D192_ED03))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Evenly from zero to `bound`, exclusive: the high half of a product.
    fn below(&mut self, bound: u32) -> u32 {
        let high = ((self.next() >> 32) * u64::from(bound)) >> 32;
        u32::try_from(high).expect("less than the bound")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 8500))
    }

    #[test]
    fn requests_vary_in_place() {
        let mut source = Source::new(Work::Put, 1, 7);
        let mut put = source.prepare(door());
        let first = put.bytes.clone();
        source.vary(&mut put);
        let text = String::from_utf8_lossy(&put.bytes).into_owned();
        assert!(text.starts_with("PUT /v1/kv/bench/00000000 HTTP/1.1\r\nHost: 127.0.0.1:8500\r\n"));
        assert!(text.contains("\r\nContent-Length: 128\r\n\r\n"), "{text}");
        assert_ne!(put.bytes, first, "another value");
        assert_eq!(put.bytes.len(), first.len());

        let mut source = Source::new(Work::Get { query: "?stale" }, 100_000, 7);
        let mut get = source.prepare(door());
        let ends = |get: &Prepared| String::from_utf8_lossy(&get.bytes).into_owned();
        source.vary(&mut get);
        let text = ends(&get);
        assert!(text.starts_with("GET /v1/kv/bench/000"), "{text}");
        assert!(text.contains("?stale HTTP/1.1\r\n") && text.ends_with("\r\n\r\n"), "{text}");
    }

    #[test]
    fn digits_fill_their_place() {
        let mut place = *b"xxxxxxxx";
        put_digits(&mut place, 12_345);
        assert_eq!(&place, b"00012345");
        assert_eq!(key(12_345), "bench/00012345");
    }

    #[test]
    fn random_keys_reach_both_ends_evenly() {
        let mut random = Random::new(1);
        let mut counts = [0_u32; 10];
        for _ in 0..10_000 {
            counts[random.below(10) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
    }

    #[test]
    fn answers_are_judged() {
        let put = Source::new(Work::Put, 1, 0);
        let judge = |source: &Source, status, body| source.judge(&Response { status, body });
        assert_eq!(judge(&put, 200, b"true\n"), Ok(()));
        assert_eq!(judge(&put, 200, b"false"), Err("status 200 with another body".to_owned()));
        assert_eq!(judge(&put, 500, b"true"), Err("status 500".to_owned()));
        let get = Source::new(Work::Get { query: "" }, 1, 0);
        assert_eq!(judge(&get, 200, &[b' '; 200]), Ok(()));
        assert_eq!(judge(&get, 404, b""), Err("status 404".to_owned()));
    }

    #[test]
    fn one_worker_alone_asks_all_servers_in_turn() {
        let doors = [1, 2, 3].map(|last| SocketAddr::from(([127, 0, 0, last], 1)));
        assert_eq!(lanes(&doors, 0, 1), doors);
        assert_eq!(lanes(&doors, 4, 64), [doors[1]]);
    }

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
