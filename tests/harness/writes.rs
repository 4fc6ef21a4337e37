//! A writing load: every key once, every outcome noted, and what is there compared with it.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine;
use futures::future::join_all;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Http, rest, until};

/// A request that takes longer has an unknown outcome.
const REQUEST_LIMIT: Duration = Duration::from_secs(5);
const LIMIT: Duration = Duration::from_mins(2);

/// What a writer knows of its write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Acknowledged,
    /// The server said no, or never heard of it: it must not be there.
    Refused,
    Unknown,
}

/// Sends one write and says what is known of it.
pub(crate) async fn write(http: &Http, path: &str, body: &str) -> Outcome {
    match http.try_put(path, body).await {
        Ok(reply) if reply.status == 200 => match reply.text().as_str() {
            "true" => Outcome::Acknowledged,
            "false" => Outcome::Refused,
            other => panic!("a write was answered with {other:?}"),
        },
        Ok(reply) if surely_refused(&reply.text()) => Outcome::Refused,
        Ok(reply) if reply.status < 500 => panic!("{}: {}", reply.status, reply.text()),
        Err(error) if error.is_connect() => Outcome::Refused,
        _ => Outcome::Unknown,
    }
}

/// Whether this answer says that the write surely did not happen.
pub(crate) fn surely_refused(text: &str) -> bool {
    text == "No cluster leader" || text.starts_with("not applied:")
}

/// The value of an entry as the HTTP door gives it.
pub(crate) fn decoded(entry: &Value) -> String {
    let value = entry["Value"].as_str().expect("a value");
    let bytes = base64::engine::general_purpose::STANDARD.decode(value).expect("base64");
    String::from_utf8(bytes).expect("text")
}

/// Writers at work, which go from server to server as these come and go.
pub(crate) struct Load {
    ledger: Arc<Ledger>,
    writers: JoinSet<(usize, Vec<Outcome>)>,
    began: Instant,
}

/// What the writers share.
struct Ledger {
    stop: AtomicBool,
    servers: Mutex<Arc<[Ipv4Addr]>>,
    acknowledged: AtomicU64,
    pauses: Mutex<Pauses>,
}

/// When the last write was acknowledged, and the longest time in which none was.
struct Pauses {
    last: Instant,
    longest: Duration,
    /// When the longest ended.
    at: Instant,
}

/// What became of a load.
pub(crate) struct Record {
    /// By writer: the outcome of each of its writes, in order.
    outcomes: Vec<Vec<Outcome>>,
    /// How long the writers were at work.
    pub(crate) took: Duration,
    /// The longest time in which no write was acknowledged, and when it ended.
    pub(crate) longest_pause: (Duration, Instant),
}

impl Load {
    /// Starts so many writers, which spread over the servers at these addresses.
    pub(crate) fn start(writers: usize, servers: &[Ipv4Addr]) -> Self {
        let began = Instant::now();
        let ledger = Arc::new(Ledger {
            stop: AtomicBool::new(false),
            servers: Mutex::new(servers.into()),
            acknowledged: AtomicU64::new(0),
            pauses: Mutex::new(Pauses { last: began, longest: Duration::ZERO, at: began }),
        });
        let mut set = JoinSet::new();
        for writer in 0..writers {
            set.spawn(write_on(Arc::clone(&ledger), writer));
        }
        Self { ledger, writers: set, began }
    }

    /// From now on the writers use these servers, of which some may be away.
    pub(crate) fn aim(&self, servers: &[Ipv4Addr]) {
        *self.ledger.servers.lock() = servers.into();
    }

    /// Waits until so many more writes were acknowledged.
    pub(crate) async fn goes_on(&self, more: u64) {
        let count = || self.ledger.acknowledged.load(Ordering::Relaxed);
        let from = count();
        let enough = || async { (count() >= from + more).then_some(()) };
        until(&format!("{more} more writes are acknowledged"), LIMIT, enough).await;
    }

    /// Lets every writer end its last write.
    pub(crate) async fn stop(self) -> Record {
        self.ledger.stop.store(true, Ordering::Relaxed);
        let took = self.began.elapsed();
        let mut outcomes = self.writers.join_all().await;
        outcomes.sort_by_key(|(writer, _)| *writer);
        let outcomes = outcomes.into_iter().map(|(_, outcomes)| outcomes).collect();
        let pauses = self.ledger.pauses.lock();
        Record { outcomes, took, longest_pause: (pauses.longest, pauses.at) }
    }
}

impl Ledger {
    fn acknowledged(&self) {
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        let mut pauses = self.pauses.lock();
        let pause = now.saturating_duration_since(pauses.last);
        if pause > pauses.longest {
            pauses.longest = pause;
            pauses.at = now;
        }
        pauses.last = pauses.last.max(now);
    }
}

/// Writes keys that nobody else writes, each once, until told to stop.
async fn write_on(ledger: Arc<Ledger>, writer: usize) -> (usize, Vec<Outcome>) {
    let mut clients: BTreeMap<Ipv4Addr, Http> = BTreeMap::new();
    let mut outcomes = Vec::new();
    let mut at = writer;
    while !ledger.stop.load(Ordering::Relaxed) {
        let servers = Arc::clone(&ledger.servers.lock());
        let server = servers[at % servers.len()];
        let client = || Http::with_limit(SocketAddr::from((server, 8500)), REQUEST_LIMIT);
        let http = clients.entry(server).or_insert_with(client);
        let (key, value) = unique(writer, outcomes.len());
        let outcome = write(http, &format!("/v1/kv/{key}"), &value).await;
        outcomes.push(outcome);
        if outcome == Outcome::Acknowledged {
            ledger.acknowledged();
        } else {
            at += 1;
            rest().await;
        }
    }
    (writer, outcomes)
}

/// The key and the value of a writer's write of this number.
fn unique(writer: usize, nth: usize) -> (String, String) {
    (format!("load/{writer}/{nth}"), format!("write {nth} of writer {writer}"))
}

impl Record {
    /// How many writes had this outcome.
    pub(crate) fn count(&self, outcome: Outcome) -> usize {
        self.outcomes.iter().flatten().filter(|found| **found == outcome).count()
    }

    /// Acknowledged writes a second.
    pub(crate) fn rate(&self) -> f64 {
        let count = u32::try_from(self.count(Outcome::Acknowledged)).expect("fewer than 2^32");
        f64::from(count) / self.took.as_secs_f64()
    }

    /// One line of figures.
    pub(crate) fn figures(&self) -> String {
        let count = |outcome| self.count(outcome);
        format!(
            "{} acknowledged, {} refused, {} unknown in {:?}: {:.0} a second, longest pause {:?}",
            count(Outcome::Acknowledged),
            count(Outcome::Refused),
            count(Outcome::Unknown),
            self.took,
            self.rate(),
            self.longest_pause.0
        )
    }

    /// Reads everything back from each server's own state; panics at a contradiction.
    ///
    /// A linearizable read first: from then on the server has all that was acknowledged.
    pub(crate) async fn judge(&self, servers: &[Ipv4Addr]) {
        for server in servers {
            let http = Http::new(SocketAddr::from((*server, 8500)));
            http.get("/v1/kv/none?consistent").await;
            let writers = (0..self.outcomes.len()).map(|writer| self.wrongs(&http, writer));
            let wrong: Vec<String> = join_all(writers).await.concat();
            let first = wrong.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
            assert!(wrong.is_empty(), "{server}: {} wrongs:\n{first}", wrong.len());
        }
    }

    async fn wrongs(&self, server: &Http, writer: usize) -> Vec<String> {
        let reply = server.get(&format!("/v1/kv/load/{writer}/?recurse&stale")).await;
        let found = if reply.status == 404 { Value::Array(Vec::new()) } else { reply.json() };
        let found = found.as_array().expect("a list").iter();
        let mut there: BTreeMap<String, String> = found
            .map(|entry| (entry["Key"].as_str().expect("a key").to_owned(), decoded(entry)))
            .collect();
        let mut wrong = Vec::new();
        for (nth, outcome) in self.outcomes[writer].iter().enumerate() {
            let (key, value) = unique(writer, nth);
            match (outcome, there.remove(&key)) {
                (Outcome::Acknowledged, None) => {
                    wrong.push(format!("{key} was acknowledged and is lost"));
                }
                (Outcome::Refused, Some(_)) => {
                    wrong.push(format!("{key} was refused and is there"));
                }
                (_, Some(found)) if found != value => wrong.push(format!("{key} holds {found:?}")),
                _ => {}
            }
        }
        wrong.extend(there.into_keys().map(|key| format!("nobody wrote {key}")));
        wrong
    }
}
