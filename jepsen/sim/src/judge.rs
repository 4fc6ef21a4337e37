//! What must be so once the storm is over, and what the clients may have seen.

use std::time::Duration;

use portolan_jepsen::checkers::{Verdict, append, certificate, lock, session, watch, wgl};
use portolan_jepsen::history::{Action, Condition, Level, Op, Outcome, Write};
use tokio::time::Instant;

use crate::arena::Arena;
use crate::clients;
use crate::plan::{Plan, Work};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);
/// What a bound of sessions and watches is stretched by beyond the storm itself, in nanoseconds.
const STORM_BOUND: u64 = 60_000_000_000;

/// Whether an operation was done.
pub(crate) fn is_done(op: &Op) -> bool {
    matches!(op.outcome, Outcome::Done(_))
}

/// Returns once every server that runs writes and reads, or says which does not.
pub(crate) async fn serves(arena: &Arena, within: Duration) -> Result<(), String> {
    let until = portolan::time::now() + within;
    for (number, door) in arena.doors() {
        loop {
            let key = format!("serves/{number}");
            let condition = Condition::Always;
            let write = Write { key, value: Some(arena.value()), condition };
            let mut client = arena.client();
            let asked =
                clients::ask(arena, (number, door.clone()), &mut client, Action::Write(write));
            let outcome = asked.await;
            if matches!(outcome, Outcome::Done(_)) {
                break;
            }
            if portolan::time::now() > until {
                let status = door.0.status();
                return Err(format!("server {number} does not serve: {outcome:?}, {status:?}"));
            }
            tokio::time::sleep(LOOK).await;
        }
    }
    Ok(())
}

/// Returns once all servers have the same state, or says how they differ.
pub(crate) async fn converges(arena: &Arena, within: Duration) -> Result<(), String> {
    let until: Instant = portolan::time::now() + within;
    loop {
        let mut seen = Vec::new();
        for (number, (replica, _)) in arena.doors() {
            let status = replica.status();
            seen.push((number, status.committed, replica.digest().await));
        }
        let same = seen.windows(2).all(|two| two[0].2 == two[1].2);
        if same && seen.iter().all(|(_, committed, digest)| digest.applied == *committed) {
            return Ok(());
        }
        if portolan::time::now() > until {
            return Err(format!("the servers do not come to one state: {seen:?}"));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Reads everything on every server, into the history.
pub(crate) async fn reads_all(arena: &Arena) {
    let mut client = arena.client();
    for (number, door) in arena.doors() {
        let level = Level::Default;
        for action in [
            Action::Scan { prefix: "key/".to_owned(), level },
            Action::List { key: "list/0".to_owned(), level },
            Action::List { key: "list/1".to_owned(), level },
        ] {
            clients::ask(arena, (number, door.clone()), &mut client, action).await;
        }
    }
}

/// What is wrong with what the clients saw.
///
/// Sessions and watches have bounds that a storm stretches: without a leader nothing ends and
/// nothing wakes. What may never be is judged without one.
pub(crate) fn history(history: &[Op], plan: &Plan) -> Vec<String> {
    let mut wrong = Vec::new();
    if plan.work.contains(&Work::Keys) {
        let options = certificate::Options::default();
        let verdict = certificate::check(&of(history, is_of_keys), &options);
        if let Verdict::Unknown { why } = &verdict {
            wrong.push(format!("certificate: it cannot be told: {why}"));
        }
        wrong.extend(found("certificate", verdict));
        wrong.extend(found("wgl", wgl::check(&of(history, is_of_keys), &wgl::Options::default())));
    }
    if plan.work.contains(&Work::Lists) {
        let verdict = append::check(&of(history, is_of_lists), &append::Options::default());
        wrong.extend(found("append", verdict));
    }
    if plan.work.contains(&Work::Locks) {
        let locks = of(history, is_of_locks);
        wrong.extend(found("lock", lock::check(&locks, &lock::Options { unfenced: false })));
        let bound = STORM_BOUND.saturating_add(nanos(plan.storm));
        wrong.extend(found("session", session::check(&locks, &session::Options { bound })));
    }
    if plan.work.contains(&Work::Watches) {
        let storm = vec![(0, nanos(plan.storm).saturating_add(STORM_BOUND))];
        let options = watch::Options { faults: storm, ..watch::Options::default() };
        let watched = of(history, |action| is_of_keys(action) || is_watch(action));
        wrong.extend(found("watch", watch::check(&watched, &options)));
    }
    wrong
}

/// What a checker found. That it could not tell is no finding of those whose work a seed may have
/// little of.
fn found(checker: &str, verdict: Verdict) -> Vec<String> {
    match verdict {
        Verdict::Valid | Verdict::Unknown { .. } => Vec::new(),
        Verdict::Invalid { findings } => {
            let ops = |finding: &portolan_jepsen::checkers::Finding| {
                serde_json::to_string(&finding.ops).unwrap_or_default()
            };
            findings.iter().map(|it| format!("{checker}: {}: {}", it.what, ops(it))).collect()
        }
    }
}

fn of(history: &[Op], wanted: impl Fn(&Action) -> bool) -> Vec<Op> {
    history.iter().filter(|op| wanted(&op.action)).cloned().collect()
}

fn is_of_keys(action: &Action) -> bool {
    match action {
        Action::Write(write) => write.key.starts_with("key/"),
        Action::Read { key, .. } => key.starts_with("key/"),
        Action::Scan { .. } => true,
        _ => false,
    }
}

fn is_watch(action: &Action) -> bool {
    matches!(action, Action::Watch { .. })
}

fn is_of_lists(action: &Action) -> bool {
    matches!(action, Action::Append { .. } | Action::List { .. })
}

fn is_of_locks(action: &Action) -> bool {
    matches!(
        action,
        Action::Open { .. }
            | Action::Renew { .. }
            | Action::End { .. }
            | Action::Look { .. }
            | Action::Acquire { .. }
            | Action::Release { .. }
            | Action::Use { .. }
    )
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).expect("a run is short")
}
