//! A check that mirrors the health of another instance or of a node.
//!
//! Of this agent's own instances the registry knows, and wakes who mirrors one whose checks
//! changed; those of other nodes are followed by blocking reads of the catalog.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::client::Client;
use crate::model::{
    Answer, Check, CheckStatus, Consistency, Index, Query, Read, ReadOptions, Unavailable,
};
use crate::time;

use super::super::bounds;
use super::super::claim::Claim;
use super::super::disk::Verdict;
use super::super::spec::CheckSpec;
use super::words::critical;

/// How old the catalog may be that an alias follows. Source: Consul, observed in its requests.
const CATALOG_AGE: Duration = Duration::from_secs(15);

/// The verdict of an alias: the worst of the checks of its node and of its service.
///
/// `name` is what a check is called, `exists` whether the service is there at all; a critical
/// check decides alone, else the last warning. Source: Consul, "Alias checks".
pub(in super::super) fn judge<'a>(
    (node, service): (&str, &str),
    checks: impl Iterator<Item = &'a Check>,
    exists: bool,
) -> Verdict {
    let mut verdict =
        Verdict { status: CheckStatus::Passing, output: "No checks found.".to_owned() };
    let mut found = service.is_empty() && exists;
    for check in checks {
        let own = check.service_id == service;
        if !own && !check.service_id.is_empty() {
            continue;
        }
        found |= own;
        let fails = matches!(check.status, CheckStatus::Critical | CheckStatus::Warning);
        if fails && verdict.status != CheckStatus::Critical {
            let output = format!("Aliased check \"{}\" failing: {}", check.name, check.output);
            verdict = Verdict { status: check.status.clone(), output };
        } else if verdict.status == CheckStatus::Passing {
            "All checks passing.".clone_into(&mut verdict.output);
        }
    }
    if !found && !exists {
        return critical(format!("Service {service} could not be found on node {node}"));
    }
    verdict
}

/// Follows an instance of this agent: looks whenever the registry says that something changed.
pub(super) async fn follow_local(
    claim: &Claim,
    who: (&str, u64),
    mut stirred: watch::Receiver<Instant>,
) {
    loop {
        stirred.mark_unchanged();
        claim.align(who);
        if stirred.changed().await.is_err() {
            return;
        }
    }
}

/// Follows an instance of another node, or the node itself, through the catalog.
pub(super) async fn follow_remote(
    client: &Client,
    claim: &Claim,
    who: (&str, u64),
    spec: &CheckSpec,
) {
    let mut seen = None;
    let mut wait = bounds::ALIAS_RETRY_FIRST;
    loop {
        match look(client, spec, seen).await {
            Ok((verdict, read)) => {
                claim.report(who, verdict);
                // An index of 0 would not block.
                seen = Some(Index(read.index.0.max(1)));
                wait = bounds::ALIAS_RETRY_FIRST;
            }
            Err(unavailable) => {
                if wait > bounds::ALIAS_RETRY_FIRST {
                    let why = format!("Failure checking aliased node or service: {unavailable}");
                    claim.report(who, critical(why));
                }
                sleep(wait + time::jitter(wait, 4, time::random())).await;
                wait = (wait * 2).min(bounds::ALIAS_RETRY_MAX);
            }
        }
    }
}

/// Reads once the node's checks are newer than `seen`.
async fn look(
    client: &Client,
    spec: &CheckSpec,
    seen: Option<Index>,
) -> Result<(Verdict, Read), Unavailable> {
    let (node, service) = (&spec.how.alias_node, &spec.how.alias_service);
    let consistency = Consistency::StaleWithin(CATALOG_AGE);
    let options = ReadOptions { consistency, after: seen, wait: Some(bounds::ALIAS_WAIT) };
    let read = client.read(Query::NodeChecks(node.clone()), options).await?;
    let once = ReadOptions { consistency, ..ReadOptions::default() };
    let there = client.read(Query::NodeServices(node.clone()), once).await?;
    let exists = match there.answer.as_ref() {
        Answer::NodeServices(here) => here.as_ref().is_some_and(|here| {
            service.is_empty() || here.services.iter().any(|one| one.id == *service)
        }),
        other => unreachable!("each query has its kind of answer, this is {other:?}"),
    };
    let Answer::Checks(checks) = read.answer.as_ref() else {
        unreachable!("each query has its kind of answer, this is {:?}", read.answer)
    };
    // An alias that looks at its own node must not hold itself up.
    let others = checks.iter().map(Arc::as_ref).filter(|check| {
        check.id != spec.check.id || !check.node.eq_ignore_ascii_case(&spec.check.node)
    });
    Ok((judge((node, service), others, exists), read))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(id: &str, service: &str, status: CheckStatus) -> Check {
        Check {
            id: id.to_owned(),
            name: id.to_owned(),
            service_id: service.to_owned(),
            output: format!("{id} says"),
            status,
            ..Check::default()
        }
    }

    #[test]
    fn the_worst_check_of_the_node_and_the_service_decides() {
        use CheckStatus::{Critical, Passing, Warning};
        type Checks = &'static [(&'static str, &'static str, CheckStatus)];
        let table: [(Checks, bool, CheckStatus, &str); 8] = [
            (&[], true, Passing, "No checks found."),
            (&[], false, Critical, "Service web could not be found on node n2"),
            (&[("a", "web", Passing)], true, Passing, "All checks passing."),
            (&[("a", "db", Critical)], true, Passing, "No checks found."),
            (&[("n", "", Warning)], true, Warning, "Aliased check \"n\" failing: n says"),
            (
                &[("a", "web", Critical), ("b", "web", Critical), ("c", "web", Warning)],
                true,
                Critical,
                "Aliased check \"a\" failing: a says",
            ),
            (
                &[("a", "web", Warning), ("b", "web", Passing)],
                true,
                Warning,
                "Aliased check \"a\" failing: a says",
            ),
            (&[("a", "web", Passing)], false, Passing, "All checks passing."),
        ];
        for (checks, exists, status, output) in table {
            let checks: Vec<Check> = checks
                .iter()
                .map(|(id, service, status)| check(id, service, status.clone()))
                .collect();
            let verdict = judge(("n2", "web"), checks.iter(), exists);
            assert_eq!(verdict, Verdict { status, output: output.to_owned() }, "{checks:?}");
        }
        let node = [check("n", "", Passing), check("a", "web", Critical)];
        assert_eq!(judge(("n2", ""), node.iter(), true).status, Passing, "the node alone");
        assert_eq!(judge(("n2", ""), [].iter(), false).status, Critical, "no such node");
    }
}
