//! Locks, sessions, watches, the catalog, DNS, members and logs: small histories that keep or
//! break one promise, at random times.

use portolan_jepsen::checkers::{Verdict, catalog, dns, hygiene, lock, membership, session, watch};
use portolan_jepsen::history::{Action, Answer, Condition, Instance, Level, Op, Outcome, Write};

use crate::dice::Dice;
use crate::{accepted, rejected};

const SECOND: u64 = 1_000_000_000;

fn op(client: u32, (called, returned): (u64, u64), action: Action, answer: Answer) -> Op {
    Op { client, node: client % 3, called, returned, action, outcome: Outcome::Done(answer) }
}

fn written(revision: u64) -> Answer {
    Answer::Written { revision: Some(revision) }
}

/// Runs a case at a hundred random times: kept promises pass, broken ones do not.
fn cases(make: impl Fn(u64, bool) -> Verdict, of: &str) {
    for seed in 0..100 {
        let start = Dice::new(seed).below(100 * SECOND) + 30 * SECOND;
        accepted(&make(start, false), &format!("{of}, from {start}"));
        rejected(&make(start, true), &format!("{of} broken, from {start}"));
    }
}

#[test]
fn tokens_that_fall_are_found() {
    let make = |at: u64, broken: bool| {
        let acquire = |client, time, token| {
            let action = Action::Acquire { key: "k".into(), session: format!("s{client}") };
            op(client, (time, time + 5), action, Answer::Held { token: Some(token) })
        };
        let taken = |client, time, token, accepted| {
            let action = Action::Use { key: "k".into(), token };
            op(client, (time, time + 5), action, Answer::Taken { accepted })
        };
        let ops = [
            acquire(1, at, 5),
            taken(1, at + 10, 5, true),
            acquire(2, at + 20, 8),
            taken(2, at + 30, 8, true),
            taken(1, at + 40, 5, broken),
        ];
        lock::check(&ops, &lock::Options::default())
    };
    cases(make, "stale token");
    let make = |at: u64, broken: bool| {
        let used = |client, from, to| {
            let action = Action::UseUnfenced { key: "k".into(), session: format!("s{client}") };
            op(client, (from, to), action, Answer::Taken { accepted: true })
        };
        let second = if broken { at + 50 } else { at + 150 };
        let ops = [used(1, at, at + 100), used(2, second, second + 100)];
        lock::check(&ops, &lock::Options::default())
    };
    cases(make, "overlap");
}

#[test]
fn early_and_late_ends_of_sessions_are_found() {
    let history = |at: u64, dead: u64, alive: bool| {
        let session = || "s".to_owned();
        let ops = [
            op(
                1,
                (at, at + 5),
                Action::Open { ttl: 10_000 },
                Answer::Opened { session: session() },
            ),
            op(
                1,
                (at + SECOND, at + SECOND + 5),
                Action::Renew { session: session() },
                Answer::Alive { alive: true },
            ),
            op(
                2,
                (at + dead, at + dead + 5),
                Action::Look { session: session() },
                Answer::Alive { alive },
            ),
        ];
        session::check(&ops, &session::Options::default())
    };
    let early = |at, broken| history(at, if broken { 10 * SECOND } else { 12 * SECOND }, false);
    cases(early, "early expiry");
    let late = |at, broken| history(at, if broken { 14 * SECOND } else { 12 * SECOND }, true);
    cases(late, "late expiry");
}

#[test]
fn missed_wakes_are_found() {
    let make = |at: u64, broken: bool| {
        let key = || "k".to_owned();
        let write = Write { key: key(), value: Some(7), condition: Condition::Always };
        let woken = at + if broken { 3 * SECOND } else { SECOND / 2 };
        let shown = Answer::Value { value: Some(7), revision: 20, store: None };
        let ops = [
            op(1, (at, at + 5), Action::Write(write), written(20)),
            op(2, (at - 10, woken), Action::Watch { key: key(), after: 10 }, shown),
        ];
        watch::check(&ops, &watch::Options::default())
    };
    cases(make, "missed wake");
}

fn instance(port: u16) -> Instance {
    Instance { node: "n".into(), id: "i".into(), port, passing: true }
}

fn registered(at: u64, port: u16) -> Op {
    let action = Action::Register { service: "web".into(), instance: instance(port) };
    op(1, (at, at + 5), action, written(at))
}

#[test]
fn stale_catalogs_and_names_are_found() {
    let shown =
        |port| Answer::Instances { instances: vec![instance(port)], store: None, age: None };
    let looked = |at: u64, broken: bool| {
        let action = Action::Lookup { service: "web".into(), level: Level::Default };
        let answer = shown(if broken { 1 } else { 2 });
        let ops =
            [registered(at, 1), registered(at + 10, 2), op(2, (at + 20, at + 30), action, answer)];
        catalog::check(&ops, &catalog::Options::default())
    };
    cases(looked, "stale lookup");
    let resolved = |at: u64, broken: bool| {
        let time = at + if broken { 9 * SECOND } else { 4 * SECOND };
        let action = Action::Resolve { service: "web".into() };
        let ops =
            [registered(at, 1), registered(at + 10, 2), op(2, (time, time + 5), action, shown(1))];
        dns::check(&ops, &dns::Options::default())
    };
    cases(resolved, "stale name");
    let empty = |at: u64, broken: bool| {
        let time = at + if broken { 9 * SECOND } else { 4 * SECOND };
        let action = Action::Resolve { service: "web".into() };
        let none = Answer::Instances { instances: Vec::new(), store: None, age: None };
        let ops = [registered(at, 1), op(2, (time, time + 5), action, none)];
        dns::check(&ops, &dns::Options::default())
    };
    cases(empty, "no such name");
}

#[test]
fn zombies_are_found() {
    let make = |at: u64, broken: bool| {
        let members = |time, index, names: &[&str]| {
            let voters = names.iter().map(|name| (*name).to_owned()).collect();
            let answer =
                Answer::Membership { index: Some(index), voters, learners: vec![], leader: None };
            op(1, (time, time + 5), Action::Members { level: Level::Strong }, answer)
        };
        let gone = membership::Change {
            name: "c".into(),
            added: false,
            called: at + 10,
            returned: Some(at + 20),
        };
        let options = membership::Options {
            initial: ["a", "b", "c"].map(str::to_owned).to_vec(),
            changes: vec![gone],
            ..Default::default()
        };
        let last: &[&str] = if broken { &["a", "b", "c"] } else { &["a", "b"] };
        let ops = [members(at, 1, &["a", "b", "c"]), members(at + 30, 4, last)];
        membership::check(&ops, &options)
    };
    cases(make, "zombie");
}

#[test]
fn dirt_in_logs_and_growth_are_found() {
    let options = hygiene::LogOptions {
        allowed: vec!["peer is gone".into()],
        secrets: vec!["hunter2!".into()],
    };
    let check = |text| hygiene::check_log("node-1", text, &options);
    accepted(&check("INFO fine\nERROR raft: peer is gone\nINFO key=MY_ERROR_X\n"), "clean");
    rejected(&check("ERROR store: bytes are wrong\n"), "error");
    rejected(&check("thread 'main' panicked at src/x.rs:1:2:\n"), "panic");
    rejected(&check("INFO joined with hunter2!\n"), "secret");
    let growing = |step: u64| {
        let sample = |at: u64| hygiene::Sample {
            time: (10 + at) * SECOND,
            memory: (100 << 20) + at * step,
            descriptors: 40,
        };
        let samples: Vec<_> = (0..60).map(sample).collect();
        hygiene::check_growth("node-1", &samples, &hygiene::GrowthOptions::default())
    };
    accepted(&growing(1 << 16), "steady");
    rejected(&growing(4 << 20), "growing");
}
