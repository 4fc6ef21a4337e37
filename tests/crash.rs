//! Kill -9 under a writing load, round after round: what was acknowledged is there, what was
//! surely refused is not, and nothing is that nobody wrote.
//!
//! | variable | means |
//! |---|---|
//! | `PORTOLAN_CRASH_ROUNDS` | how many rounds (30) |
//! | `PORTOLAN_CRASH_SEED` | which servers die when; printed by every run |
//!
//! In every third round all three servers are killed at the same moment: only then does an
//! acknowledged write depend on what has reached the disk. That the test can fail is shown by
//! the bug planted in the raft crate, which acknowledges before it writes:
//! `PORTOLAN_PLANTED=B01 cargo test --test all --features planted_b01 crash` must fail.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join_all;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::harness::{
    Cluster, Http, Outcome, alone, decoded, is_consul, rest, setting, until, write,
};

const ROUNDS: usize = 30;
const WRITERS: usize = 9;
const COUNTERS: usize = 3;
/// Acknowledged writes before a kill, and again before the dead server is started.
const WRITES_BEFORE: u64 = 150;
const WRITES_AFTER: u64 = 50;
/// Every so many rounds all servers are killed at once.
const ALL_EVERY: usize = 3;
/// A request that takes longer has an unknown outcome.
const REQUEST_LIMIT: Duration = Duration::from_secs(5);
const LIMIT: Duration = Duration::from_mins(1);

/// One attempt to raise a counter.
struct Raise {
    counter: usize,
    to: u64,
    mark: String,
    outcome: Outcome,
}

/// What all writers know.
#[derive(Default)]
struct Ledger {
    round: AtomicUsize,
    acknowledged: AtomicU64,
    stop: AtomicBool,
    /// (writer, round): outcomes of its writes, in order; the key is (writer, round, place).
    unique: Mutex<BTreeMap<(usize, usize), Vec<Outcome>>>,
    raises: Mutex<Vec<Raise>>,
}

impl Ledger {
    /// Notes that a write is about to be sent; gives its place.
    fn open(&self, writer: usize, round: usize) -> usize {
        let mut unique = self.unique.lock();
        let row = unique.entry((writer, round)).or_default();
        row.push(Outcome::Unknown);
        row.len() - 1
    }

    /// Notes what became of a write.
    fn close(&self, (writer, round, place): (usize, usize, usize), outcome: Outcome) {
        let mut unique = self.unique.lock();
        unique.get_mut(&(writer, round)).expect("it was opened")[place] = outcome;
    }

    fn count(&self, outcome: Outcome) {
        if outcome == Outcome::Acknowledged {
            self.acknowledged.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }
}

/// Writes keys that nobody else writes, each once, until told to stop.
async fn write_unique(ledger: Arc<Ledger>, writer: usize, servers: Vec<Http>) {
    let mut at = writer;
    while ledger.goes_on() {
        let round = ledger.round.load(Ordering::Relaxed);
        let place = ledger.open(writer, round);
        let (path, body) = unique_write(writer, round, place);
        let outcome = write(&servers[at % servers.len()], &path, &body).await;
        ledger.close((writer, round, place), outcome);
        ledger.count(outcome);
        if outcome != Outcome::Acknowledged {
            at += 1;
            rest().await;
        }
    }
}

fn unique_write(writer: usize, round: usize, place: usize) -> (String, String) {
    let key = format!("/v1/kv/crash/{writer}/{round}/{place}");
    (key, format!("written by {writer} in round {round} as number {place}"))
}

/// Raises counters by compare-and-swap, until told to stop.
async fn raise_counters(ledger: Arc<Ledger>, writer: usize, servers: Vec<Http>) {
    let mut nth = 0_usize;
    let mut at = writer;
    while ledger.goes_on() {
        nth += 1;
        let counter = (writer + nth) % COUNTERS;
        let http = &servers[at % servers.len()];
        let Some((count, index)) = read_counter(http, counter).await else {
            at += 1;
            rest().await;
            continue;
        };
        let (to, mark) = (count + 1, format!("{writer}-{nth}"));
        let path = format!("/v1/kv/count/{counter}?cas={index}");
        let outcome = write(http, &path, &format!("{to} {mark}")).await;
        ledger.raises.lock().push(Raise { counter, to, mark, outcome });
        ledger.count(outcome);
        if outcome == Outcome::Unknown {
            at += 1;
        }
    }
}

/// A counter's value and index; zero and zero before it exists.
async fn read_counter(http: &Http, counter: usize) -> Option<(u64, u64)> {
    let reply = http.try_get(&format!("/v1/kv/count/{counter}")).await.ok()?;
    match reply.status {
        404 => Some((0, 0)),
        200 => {
            let json = reply.json();
            let (count, _) = counter_parts(&json[0]);
            Some((count, json[0]["ModifyIndex"].as_u64()?))
        }
        _ => None,
    }
}

/// What stands in a counter: its count, and the mark of who raised it there.
fn counter_parts(entry: &Value) -> (u64, String) {
    let text = decoded(entry);
    let (count, mark) = text.split_once(' ').expect("a count and a mark");
    (count.parse().expect("a count"), mark.to_owned())
}

/// A small generator, so that a run can be repeated from its seed.
struct Dice(u64);

impl Dice {
    fn from_setting() -> Self {
        let given = setting("PORTOLAN_CRASH_SEED").and_then(|text| text.parse().ok());
        let (random, _) = uuid::Uuid::new_v4().as_u64_pair();
        Self(given.unwrap_or(random).max(1))
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).expect("below a usize")
    }
}

/// Waits until so many more writes have been acknowledged.
async fn writes_go_on(ledger: &Ledger, more: u64) {
    let from = ledger.acknowledged.load(Ordering::Relaxed);
    let enough =
        || async { (ledger.acknowledged.load(Ordering::Relaxed) >= from + more).then_some(()) };
    until(&format!("{more} more writes are acknowledged"), LIMIT, enough).await;
}

async fn round(cluster: &mut Cluster, ledger: &Ledger, dice: &mut Dice) {
    writes_go_on(ledger, WRITES_BEFORE).await;
    if ledger.round.load(Ordering::Relaxed) % ALL_EVERY == ALL_EVERY - 1 {
        join_all(cluster.servers.iter_mut().map(crate::harness::Agent::kill)).await;
        for server in &mut cluster.servers {
            server.start();
        }
    } else {
        let unlucky = dice.below(cluster.servers.len());
        cluster.servers[unlucky].kill().await;
        writes_go_on(ledger, WRITES_AFTER).await;
        cluster.servers[unlucky].start();
    }
    writes_go_on(ledger, 1).await;
    ledger.round.fetch_add(1, Ordering::Relaxed);
}

#[tokio::test]
async fn nothing_acknowledged_is_lost() {
    let _turn = alone().await;
    let rounds = setting("PORTOLAN_CRASH_ROUNDS").and_then(|text| text.parse().ok());
    let rounds: usize = rounds.unwrap_or(ROUNDS);
    let mut dice = Dice::from_setting();
    println!("crash: PORTOLAN_CRASH_SEED={}", dice.0);
    let mut cluster = Cluster::start().await;
    let ledger = Arc::new(Ledger::default());
    let servers = || {
        let clients = cluster.https();
        clients.iter().map(|http| Http::with_limit(http.address(), REQUEST_LIMIT)).collect()
    };
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        writers.spawn(write_unique(Arc::clone(&ledger), writer, servers()));
    }
    for writer in 0..COUNTERS {
        writers.spawn(raise_counters(Arc::clone(&ledger), writer, servers()));
    }
    let began = Instant::now();
    for _ in 0..rounds {
        round(&mut cluster, &ledger, &mut dice).await;
    }
    let took = began.elapsed();
    ledger.stop.store(true, Ordering::Relaxed);
    while let Some(ended) = writers.join_next().await {
        ended.expect("no writer panicked");
    }
    for server in &mut cluster.servers {
        server.serving().await;
    }
    cluster.settled().await;
    println!("crash: {rounds} rounds in {took:?}");
    let wrong = judge(&cluster, &ledger).await;
    assert!(wrong.is_empty(), "{} wrongs, the first:\n{}\n", wrong.len(), shown(&wrong));
    if !is_consul() {
        println!("crash: the replicas agree: {}", cluster.agreed(LIMIT).await);
    }
}

fn shown(wrong: &[String]) -> String {
    wrong.iter().take(20).cloned().collect::<Vec<_>>().join("\n")
}

/// Compares what is there with what the writers know; gives every contradiction.
async fn judge(cluster: &Cluster, ledger: &Ledger) -> Vec<String> {
    let http = cluster.servers[cluster.leader().await].http();
    let unique = std::mem::take(&mut *ledger.unique.lock());
    let mut wrong = Vec::new();
    let mut counts = [0_usize; 3];
    let mut found_all = 0;
    for ((writer, round), outcomes) in &unique {
        let reply = http.get(&format!("/v1/kv/crash/{writer}/{round}/?recurse&consistent")).await;
        let there = if reply.status == 404 { Value::Array(Vec::new()) } else { reply.json() };
        let there: BTreeMap<String, String> = there
            .as_array()
            .expect("a list")
            .iter()
            .map(|entry| (entry["Key"].as_str().expect("a key").to_owned(), decoded(entry)))
            .collect();
        found_all += there.len();
        for (place, outcome) in outcomes.iter().enumerate() {
            counts[*outcome as usize] += 1;
            let (path, body) = unique_write(*writer, *round, place);
            let key = path.trim_start_matches("/v1/kv/");
            match (outcome, there.get(key)) {
                (Outcome::Acknowledged, None) => {
                    wrong.push(format!("{key} was acknowledged and is lost"));
                }
                (Outcome::Refused, Some(_)) => {
                    wrong.push(format!("{key} was refused and is there"));
                }
                (_, Some(value)) if *value != body => wrong.push(format!("{key} holds {value:?}")),
                _ => {}
            }
        }
        if there.len() > outcomes.len() {
            wrong.push(format!("crash/{writer}/{round}/ holds more than was written"));
        }
    }
    let keys = http.get("/v1/kv/crash/?keys&consistent").await.json();
    if keys.as_array().map(Vec::len) != Some(found_all) {
        wrong.push("there are keys that nobody wrote".to_owned());
    }
    let [acknowledged, refused, unknown] = counts;
    println!(
        "crash: keys: {acknowledged} acknowledged, {refused} refused, {unknown} unknown, {found_all} there"
    );
    let raises = std::mem::take(&mut *ledger.raises.lock());
    judge_counters(&http, &raises, &mut wrong).await;
    wrong
}

/// Every value of a counter came from one raise; none that was acknowledged is missing.
async fn judge_counters(http: &Http, raises: &[Raise], wrong: &mut Vec<String>) {
    for counter in 0..COUNTERS {
        let reply = http.get(&format!("/v1/kv/count/{counter}?consistent")).await.json();
        let (last, mark) = counter_parts(&reply[0]);
        let own = || raises.iter().filter(move |raise| raise.counter == counter);
        let mut acknowledged = BTreeSet::new();
        for raise in own().filter(|raise| raise.outcome == Outcome::Acknowledged) {
            if !acknowledged.insert(raise.to) {
                wrong.push(format!("counter {counter} was raised to {} twice", raise.to));
            }
            if raise.to > last {
                wrong.push(format!("counter {counter} lost its raise to {}", raise.to));
            }
        }
        let maybe: BTreeSet<u64> =
            own().filter(|raise| raise.outcome == Outcome::Unknown).map(|raise| raise.to).collect();
        for to in (1..=last).filter(|to| !acknowledged.contains(to) && !maybe.contains(to)) {
            wrong.push(format!("nobody raised counter {counter} to {to}"));
        }
        let by = own().find(|raise| raise.to == last && raise.mark == mark);
        if by.is_none_or(|raise| raise.outcome == Outcome::Refused) {
            wrong.push(format!(
                "counter {counter} holds {last} by {mark}, which nobody got through"
            ));
        }
        let outcome = |wanted| own().filter(|raise| raise.outcome == wanted).count();
        println!(
            "crash: counter {counter} at {last}: {} acknowledged, {} refused, {} unknown",
            acknowledged.len(),
            outcome(Outcome::Refused),
            outcome(Outcome::Unknown)
        );
    }
}
