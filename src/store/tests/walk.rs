//! A long random walk, always the same: what every blocking reader relies on, after each command.
//!
//! If an answer differs from what it was, then its reader's topics were touched, and the change is
//! above the index that the reader was shown. No index that is shown ever falls. Beside that, the
//! cross-table rules hold after each command, and a stop in the middle changes nothing.

use bytes::Bytes;

use super::language::{command, envelope, query};
use super::show;
use crate::model::{Command, Index, Query, Topic};
use crate::store::{Store, View};

const SEEDS: [u64; 3] = [11, 12, 13];
const STEPS: u64 = 1500;
const STOPS: u64 = 600;

/// A generator of the linear congruential kind, so that the walk is the same everywhere.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(0x9e37_79b9);
        (self.0 >> 33) % sides
    }

    pub(super) fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        let place = self.roll(from.len() as u64);
        from[usize::try_from(place).unwrap()]
    }
}

pub(super) fn line(dice: &mut Dice, index: Index) -> String {
    let key = dice.pick(&["a", "a/1", "a/2", "a/b/1", "b", "b/1", "c"]);
    let other = dice.pick(&["a/1", "b", "c", "a/"]);
    let node = dice.pick(&["n1", "n2", "N2", "n3"]);
    let session = dice.pick(&["s1", "s2", "s3"]);
    let value = dice.roll(3);
    let near = index.0.saturating_sub(dice.roll(6));
    let service = dice.pick(&["web:1", "web:2", "Web:1", "db:1", "db:2"]);
    let status = dice.pick(&["passing", "warning", "critical", "odd"]);
    let check = dice.pick(&["c1", "c2", "serfHealth"]);
    let of = dice.pick(&["", ":1", ":2"]);
    let query = dice.pick(&["p1", "p2", "p3"]);
    match dice.roll(32) {
        0..=2 => format!("set {key} {value}"),
        3 => format!("cas {key} {value} {near}"),
        4 | 5 => format!("lock {key} {value} {session}"),
        6 => format!("unlock {key} {value} {session}"),
        7 => format!("delete {key}"),
        8 => format!("delete-tree {other}"),
        9 => {
            format!("txn set {key} {value}; delete {other}; set {other} {value}; delete-tree {key}")
        }
        10 => format!("txn delete-tree a; lock {key} {value} {session}; delete-cas {other} {near}"),
        11 => format!("session {session} {node} checks={check} delay={}", value * 40),
        12 => format!("session {session} {node} ttl=100 behavior=delete"),
        13 => format!("destroy {session}"),
        14 => format!("expire {session} 0"),
        15 => format!("register {node} 10.0.0.{value} id={}", dice.pick(&["", "aa", "bb", "cc"])),
        16 | 17 => {
            let to = dice.pick(&["", "db", "web"]);
            format!(
                "register {node} 10.0.0.1 service={service} tags={value} skip=yes lets-in-to={to}"
            )
        }
        18 => format!("register {node} 10.0.0.1 skip=yes check={check}:{status}{of}"),
        19 | 20 => format!("check {node} {check} {status}"),
        21 => format!("deregister {node} {}", dice.pick(&["service=1", "service=2", "check=c1"])),
        22 if value == 0 => format!("deregister {node}"),
        22 => format!("reap {near}"),
        23 => format!("prepare {query} {other} web"),
        24 => format!("prepare {query} {key} web session={session} template=yes"),
        25 => format!("prepare-again {query} {other} db tags={value}"),
        26 => format!("unprepare {query}"),
        27 => format!("locate {node} {value} segment={}", dice.pick(&["", "x"])),
        28..=30 => format!("txn {}", records(dice, near)),
        _ => "tick".to_owned(),
    }
}

/// Operations of a transaction, of keys and of records; some refuse.
pub(super) fn records(dice: &mut Dice, near: u64) -> String {
    let count = 1 + dice.roll(5);
    let ops: Vec<String> = (0..count).map(|_| record(dice, near)).collect();
    ops.join("; ")
}

fn record(dice: &mut Dice, near: u64) -> String {
    let node = dice.pick(&["n1", "n2", "N2", "n3"]);
    let id = dice.pick(&["", "", "aa", "bb", "cc"]);
    let key = dice.pick(&["a", "a/1", "b"]);
    let service = dice.pick(&["web:1", "web:2", "Web:1", "db:1", "db:2"]);
    let status = dice.pick(&["passing", "warning", "critical", "odd"]);
    let check = dice.pick(&["c1", "c2", "serfHealth"]);
    let of = dice.pick(&["", "", ":1", ":2"]);
    let value = dice.roll(3);
    match dice.roll(12) {
        0 | 1 => format!("node-set {node} 10.0.0.{value} id={id}"),
        2 => format!("node-cas {node} 10.0.0.{value} index={near}"),
        3 if value == 0 => format!("node-delete {node}"),
        3 | 4 => format!("service-set {node} service={service} tags={value} address={value}"),
        5 => format!("service-delete {node} service={service}"),
        6 | 7 => format!("status-set {node} check={check}:{status}{of}"),
        8 => format!("status-delete {node} check={check}"),
        9 => format!("delete-tree {key}"),
        10 => format!("lock {key} {value} s1"),
        _ => format!("set {key} {value}"),
    }
}

fn queries() -> Vec<Query> {
    let lines = "
        ?kv a
        ?kv a/1
        ?kv c
        ?tree a
        ?tree a/
        ?tree b/
        ?tree z
        ?tree \"\"
        ?keys a /
        ?session s1
        ?node-sessions n2
        ?sessions
        ?nodes
        ?services
        ?catalog web
        ?catalog db
        ?health web
        ?health db
        ?health none
        ?connect db
        ?connect web
        ?node n1
        ?node n2
        ?node aa
        ?node-checks n1
        ?node-checks n2
        ?service-checks web
        ?service-checks db
        ?state passing
        ?state critical
        ?state odd
        ?state any
        ?prepared
        ?prepared p1
        ?coordinates
        ?coordinates n2";
    let lines = lines.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.map(|line| query(line).expect("a query")).collect()
}

/// Whether a change wakes who waits for a topic, as [`Topic`] says.
fn wakes(change: &Topic, waited: &Topic) -> bool {
    match (change, waited) {
        (Topic::All, _) => true,
        (Topic::Key(key), Topic::Prefix(prefix)) | (Topic::Prefix(prefix), Topic::Key(key)) => {
            key.starts_with(prefix.as_str())
        }
        (Topic::Prefix(gone), Topic::Prefix(prefix)) => {
            gone.starts_with(prefix.as_str()) || prefix.starts_with(gone.as_str())
        }
        (change, waited) => change == waited,
    }
}

struct Seen {
    answer: String,
    index: Index,
    changed: Index,
}

fn look(view: &View, query: &Query) -> Seen {
    let found = view.query(query);
    Seen { answer: show::answer(&found.answer), index: found.index, changed: found.changed }
}

#[test]
fn readers_can_rely_on_index_and_topics() {
    SEEDS.into_iter().for_each(walk);
}

fn walk(seed: u64) {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, mut view) = Store::open(dir.path()).unwrap();
    let queries = queries();
    let mut dice = Dice(seed);
    let mut before: Vec<Seen> = queries.iter().map(|query| look(&view, query)).collect();
    for step in 0..STEPS {
        let text = line(&mut dice, view.index());
        let command: Command = command(&text).expect("a command");
        let payload = envelope(step * 10, Vec::new(), &command);
        let applied = store.apply(&[payload], Bytes::from(step.to_string())).unwrap();
        for (query, old) in queries.iter().zip(&mut before) {
            let new = look(&view, query);
            let told = format!("seed {seed}, step {step}, {text}, {query:?}");
            assert!(new.index >= old.index, "{told}: shown {:?} after {:?}", new.index, old.index);
            assert!(new.changed <= new.index, "{told}: changed after it is shown");
            if new.answer != old.answer {
                assert!(new.changed > old.index, "{told}: {} to {}", old.answer, new.answer);
                let topics = View::topics(query);
                let woken = topics.iter().any(|it| applied.changes.iter().any(|by| wakes(by, it)));
                assert!(woken, "{told} sleeps through: {} to {}", old.answer, new.answer);
            }
            *old = new;
        }
        if step % STOPS == STOPS - 1 {
            let digest = view.digest();
            drop(store);
            (store, view) = Store::open(dir.path()).unwrap();
            assert_eq!(view.digest(), digest, "step {step}: a stop changes nothing");
        }
    }
    assert!(view.index() > Index(STEPS / 4), "the walk does something");
}
