//! What must be so once the storm is over, and what the clients may have seen.

use std::time::Duration;

use portolan_jepsen::history::{Action, Level, Op, Outcome, Write};
use tokio::time::Instant;

use crate::arena::Arena;
use crate::clients;
use crate::plan::Plan;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);

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
            let condition = portolan_jepsen::history::Condition::Always;
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
            seen.push((number, status.applied, status.committed, replica.digest().await));
        }
        let same = seen.windows(2).all(|two| two[0].1 == two[1].1 && two[0].3 == two[1].3);
        if same && seen.iter().all(|(_, applied, committed, _)| applied == committed) {
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
pub(crate) fn history(history: &[Op], plan: &Plan) -> Vec<String> {
    let _ = plan;
    let done = history.iter().filter(|op| is_done(op)).count();
    if done < 20 { vec![format!("only {done} operations were done")] } else { Vec::new() }
}
