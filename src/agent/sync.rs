//! Anti-entropy: what the catalog says of this host against what this host claims (pure), and
//! the sending of what differs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::StreamExt;
use futures::stream;

use crate::client::Client;
use crate::model::{
    Answer, Check, Node, NodeServices, Query, ReadOptions, Reply, Service, Unavailable,
};
use crate::time;

use super::bounds;
use super::claim::Claim;
use super::disk::Verdict;
use super::push::{Push, What};
use super::registry::Registry;

/// The service that the leader keeps on the node of each server.
const SERVICE_OF_SERVERS: &str = "consul";
/// The check that the leader keeps on each node.
const CHECK_OF_NODES: &str = "serfHealth";

/// What the catalog says of this host.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) here: Option<NodeServices>,
    pub(super) checks: Vec<Arc<Check>>,
}

/// What must be done so that the catalog says what this host claims.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Diff {
    /// Register the node.
    node: bool,
    /// Register these services.
    services: BTreeSet<String>,
    /// Register these checks.
    checks: BTreeSet<String>,
    /// Tell these checks' verdicts.
    verdicts: BTreeSet<String>,
    /// Take these services out.
    gone_services: BTreeSet<String>,
    /// Take these checks out, each of the service named with it.
    gone_checks: BTreeMap<String, String>,
    /// Take these tags over: the owner lets the catalog's win.
    tags: BTreeMap<String, Vec<String>>,
    /// Take these verdicts over: nothing is known better here yet.
    verdicts_here: BTreeMap<String, Verdict>,
}

/// Compares. Nothing is changed.
pub(super) fn diff(registry: &Registry, seen: &Seen) -> Diff {
    let node = seen.here.as_ref().is_none_or(|here| !same_node(&registry.node, &here.node));
    let mut diff = Diff { node, ..Diff::default() };
    let services = seen.here.iter().flat_map(|here| &here.services);
    let services: BTreeMap<&str, &Service> =
        services.map(|service| (service.id.as_str(), service.as_ref())).collect();
    let checks: BTreeMap<&str, &Check> =
        seen.checks.iter().map(|check| (check.id.as_str(), check.as_ref())).collect();
    diff.compare_services(registry, &services);
    diff.compare_checks(registry, &checks);
    diff
}

impl Diff {
    fn compare_services(&mut self, registry: &Registry, seen: &BTreeMap<&str, &Service>) {
        for (id, entry) in &registry.services {
            let mine = &entry.shown;
            let Some(other) = seen.get(id.as_str()) else {
                self.services.insert(id.clone());
                continue;
            };
            let catalog_wins = mine.enable_tag_override;
            if catalog_wins && mine.tags != other.tags {
                self.tags.insert(id.clone(), other.tags.clone());
            }
            if !same_service(mine, other) || (!catalog_wins && mine.tags != other.tags) {
                self.services.insert(id.clone());
            }
        }
        let foreign = seen.keys().filter(|id| !registry.services.contains_key(**id));
        let foreign = foreign.filter(|id| **id != SERVICE_OF_SERVERS);
        self.gone_services = foreign.map(|id| (*id).to_owned()).collect();
    }

    fn compare_checks(&mut self, registry: &Registry, seen: &BTreeMap<&str, &Check>) {
        for (id, entry) in &registry.checks {
            let mine = &entry.shown;
            match seen.get(id.as_str()) {
                None => {
                    self.checks.insert(id.clone());
                }
                Some(other) if !same_check(mine, other) => {
                    self.checks.insert(id.clone());
                }
                Some(other) if entry.unjudged => {
                    let (status, output) = (other.status.clone(), other.output.clone());
                    self.verdicts_here.insert(id.clone(), Verdict { status, output });
                }
                Some(other) => {
                    let new_output = entry.output_due.is_none() && mine.output != other.output;
                    if mine.status != other.status || new_output {
                        self.verdicts.insert(id.clone());
                    }
                }
            }
        }
        let foreign = seen.values().filter(|check| !registry.checks.contains_key(&check.id));
        let foreign = foreign.filter(|check| check.id != CHECK_OF_NODES);
        let pair = |check: &&Check| (check.id.clone(), check.service_id.clone());
        self.gone_checks = foreign.map(pair).collect();
    }
}

impl Registry {
    /// Makes what differs pending, and takes over what the catalog knows better.
    pub(super) fn absorb(&mut self, diff: Diff) {
        if !diff.tags.is_empty() {
            self.wake();
        }
        for (id, tags) in diff.tags {
            if let Some(entry) = self.services.get_mut(&id) {
                Arc::make_mut(&mut entry.shown).tags = tags;
            }
        }
        for (id, verdict) in diff.verdicts_here {
            if let Some(entry) = self.checks.get_mut(&id) {
                entry.unjudged = false;
                entry.judge(verdict, time::now());
                let service = entry.spec.check.service_id.clone();
                self.stir(&service);
            }
        }
        let pending = &mut self.pending;
        pending.node |= diff.node;
        pending.services.extend(diff.services);
        pending.checks.extend(diff.checks);
        pending.verdicts.extend(diff.verdicts);
        pending.gone_services.extend(diff.gone_services);
        pending.gone_checks.extend(diff.gone_checks);
    }
}

fn same_node(mine: &Node, other: &Node) -> bool {
    let parts = |node: &Node| {
        (node.id.clone(), node.address.clone(), node.tagged_addresses.clone(), node.meta.clone())
    };
    mine.name.eq_ignore_ascii_case(&other.name) && parts(mine) == parts(other)
}

/// Whether two services are alike but for their tags.
fn same_service(mine: &Service, other: &Service) -> bool {
    let aligned = Service {
        node: mine.node.clone(),
        tags: mine.tags.clone(),
        create: mine.create,
        modify: mine.modify,
        ..other.clone()
    };
    *mine == aligned
}

/// Whether two checks are alike but for their verdict and what they show of their service.
fn same_check(mine: &Check, other: &Check) -> bool {
    (&mine.name, &mine.notes, &mine.service_id, mine.kind, &mine.definition)
        == (&other.name, &other.notes, &other.service_id, other.kind, &other.definition)
}

/// Reads what the catalog says of `node`.
///
/// # Errors
///
/// As [`Client::read`].
pub(super) async fn see(client: &Client, node: &str) -> Result<Seen, Unavailable> {
    let ask = |query| client.read(query, ReadOptions::default());
    let services = ask(Query::NodeServices(node.to_owned()));
    let checks = ask(Query::NodeChecks(node.to_owned()));
    let (services, checks) = futures::future::try_join(services, checks).await?;
    match (services.answer.as_ref(), checks.answer.as_ref()) {
        (Answer::NodeServices(here), Answer::Checks(checks)) => {
            Ok(Seen { here: here.clone(), checks: checks.clone() })
        }
        other => unreachable!("each query has its kind of answer, this is {other:?}"),
    }
}

/// Sends all that is pending. What fails is pending again afterwards, and its reason returned.
pub(super) async fn push(client: &Client, claim: &Claim) -> Result<(), String> {
    let mut failed = Vec::new();
    let mut generation = 0;
    while failed.is_empty() {
        let pushes = {
            let mut registry = claim.registry();
            generation = registry.generation;
            registry.take_pushes(time::now(), bounds::PUSHES_A_ROUND_MAX)
        };
        if pushes.is_empty() {
            break;
        }
        let sent = stream::iter(pushes).map(|push| send(client, push));
        let sent = sent.buffer_unordered(bounds::PUSHES_IN_FLIGHT_MAX);
        let results: Vec<_> = sent.collect().await;
        failed.extend(results.into_iter().filter_map(Result::err));
    }
    // Of several reasons always the same one, so that the log does not repeat them in turn.
    let reason = failed.iter().map(|(_, why)| why).min().cloned();
    let mut registry = claim.registry();
    for (what, _) in failed {
        registry.put_back(what);
    }
    drop(registry);
    claim.push_tried(generation);
    reason.map_or(Ok(()), Err)
}

async fn send(client: &Client, push: Push) -> Result<(), (What, String)> {
    for command in push.commands {
        let why = match client.write(command).await {
            Ok(written) => match written.reply {
                Reply::Refused(refusal) => format!("{:?} is refused: {refusal:?}", push.what),
                _ => continue,
            },
            Err(unavailable) => unavailable.to_string(),
        };
        return Err((push.what, why));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::disk::Kept;
    use super::super::handle::ReplaceChecks;
    use super::super::mirror::Mirror;
    use super::super::registry::When;
    use super::super::spec::CheckSpec;
    use super::*;
    use crate::model::{CheckKind, CheckStatus};

    fn service(id: &str) -> Service {
        Service { id: id.to_owned(), name: "web".to_owned(), port: 80, ..Service::default() }
    }

    fn check(id: &str, service: &str) -> Check {
        let (id, service_id) = (id.to_owned(), service.to_owned());
        Check { id, service_id, kind: CheckKind::Ttl, ..Check::default() }
    }

    /// Claims the service `web` with the check `up`, and the check `load` of the node.
    fn registry() -> Registry {
        let node =
            Node { name: "n1".to_owned(), address: "10.0.0.1".to_owned(), ..Node::default() };
        let mut registry = Registry::new(node, Duration::from_mins(5));
        let spec = |check| CheckSpec { check, ..CheckSpec::default() };
        let now = time::now();
        let checks = vec![spec(check("up", "web"))];
        let plan = registry.plan_service(service("web"), checks, ReplaceChecks::No).unwrap();
        registry.commit(plan, now);
        let plan = registry.plan_check(spec(check("load", ""))).unwrap();
        registry.commit(plan, now);
        registry
    }

    /// Brings the catalog up to the claim; how many commands that took.
    fn settle(registry: &mut Registry, mirror: &mut Mirror) -> usize {
        let diff = diff(registry, &mirror.seen());
        registry.absorb(diff);
        mirror.take(registry.take_pushes(time::now(), 100))
    }

    fn settled() -> (Registry, Mirror) {
        let (mut registry, mut mirror) = (registry(), Mirror::default());
        assert_eq!(
            settle(&mut registry, &mut mirror),
            2,
            "one for web with its check, one for load"
        );
        (registry, mirror)
    }

    #[test]
    fn whatever_differs_is_mended_and_nothing_else() {
        type Damage = fn(&mut Mirror);
        let cases: [(&str, Damage, usize); 12] = [
            ("nothing", |_| {}, 0),
            ("all is gone", |mirror| *mirror = Mirror::default(), 2),
            ("a service is gone", |mirror| drop(mirror.services.remove("web")), 1),
            ("a port", |mirror| mirror.services.get_mut("web").unwrap().port = 81, 1),
            (
                "tags",
                |mirror| mirror.services.get_mut("web").unwrap().tags = vec![String::new()],
                1,
            ),
            ("a check is gone", |mirror| drop(mirror.checks.remove("up")), 1),
            ("a name", |mirror| mirror.checks.get_mut("up").unwrap().name = "x".to_owned(), 1),
            (
                "two verdicts",
                |mirror| {
                    for check in mirror.checks.values_mut() {
                        check.status = CheckStatus::Passing;
                    }
                },
                1,
            ),
            ("an output", |mirror| mirror.checks.get_mut("load").unwrap().output.push('x'), 1),
            ("the node's address", |mirror| mirror.node.as_mut().unwrap().address.push('1'), 1),
            (
                "a foreign service",
                |mirror| {
                    mirror.services.insert("db".to_owned(), service("db"));
                    mirror.checks.insert("db:1".to_owned(), check("db:1", "db"));
                },
                1,
            ),
            (
                "foreign checks",
                |mirror| {
                    mirror.checks.insert("odd".to_owned(), check("odd", ""));
                    mirror.checks.insert("odder".to_owned(), check("odder", "web"));
                },
                2,
            ),
        ];
        for (name, damage, commands) in cases {
            let (mut registry, mut mirror) = settled();
            damage(&mut mirror);
            assert_eq!(settle(&mut registry, &mut mirror), commands, "{name}");
            assert_eq!(diff(&registry, &mirror.seen()), Diff::default(), "{name}");
        }
    }

    #[test]
    fn what_the_leader_keeps_stays() {
        let (mut registry, mut mirror) = settled();
        mirror.services.insert("consul".to_owned(), service("consul"));
        mirror.checks.insert("serfHealth".to_owned(), check("serfHealth", ""));
        assert_eq!(settle(&mut registry, &mut mirror), 0);
    }

    #[test]
    fn indexes_and_what_a_check_shows_of_its_service_are_the_catalogs() {
        let (mut registry, mut mirror) = settled();
        mirror.services.get_mut("web").unwrap().modify = crate::model::Index(7);
        let up = mirror.checks.get_mut("up").unwrap();
        (up.modify, up.service_tags) = (crate::model::Index(7), vec!["x".to_owned()]);
        assert_eq!(settle(&mut registry, &mut mirror), 0);
    }

    #[test]
    fn the_catalogs_tags_win_where_the_owner_wants_it() {
        let (mut registry, mut mirror) = settled();
        let given = Service { enable_tag_override: true, ..service("web") };
        let plan = |registry: &Registry, service: &Service| {
            registry.plan_service(service.clone(), Vec::new(), ReplaceChecks::No).unwrap()
        };
        let first = plan(&registry, &given);
        registry.commit(first, time::now());
        settle(&mut registry, &mut mirror);
        mirror.services.get_mut("web").unwrap().tags = vec!["theirs".to_owned()];
        assert_eq!(settle(&mut registry, &mut mirror), 0);
        assert_eq!(registry.shown_services()["web"].tags, ["theirs"]);
        assert!(!plan(&registry, &given).service.unwrap().changed, "given as before");
        mirror.services.get_mut("web").unwrap().port = 81;
        assert_eq!(settle(&mut registry, &mut mirror), 1);
        assert_eq!(mirror.services["web"].tags, ["theirs"]);
    }

    #[test]
    fn an_output_that_waits_is_no_difference() {
        let (mut registry, mut mirror) = settled();
        let when = When { now: time::now(), chance: 0 };
        let verdict = Verdict { status: CheckStatus::Critical, output: "new".to_owned() };
        registry.tell("up", verdict, when).unwrap();
        assert_eq!(settle(&mut registry, &mut mirror), 0);
        let due = registry.next_output_due().unwrap();
        assert_eq!(due, when.now + Duration::from_secs(150));
        assert_eq!(mirror.take(registry.take_pushes(due, 100)), 1);
        assert_eq!(mirror.checks["up"].output, "new");
        assert_eq!(registry.next_output_due(), None);
    }

    #[test]
    fn a_loaded_check_takes_the_catalogs_verdict_until_it_has_its_own() {
        let (_, mut mirror) = settled();
        mirror.checks.get_mut("up").unwrap().status = CheckStatus::Passing;
        mirror.checks.get_mut("load").unwrap().status = CheckStatus::Passing;
        let spec = |check| CheckSpec { check, ..CheckSpec::default() };
        let mut up = spec(check("up", "web"));
        up.check.name.clone_from(&mirror.checks["up"].name);
        let warning = Verdict { status: CheckStatus::Warning, output: String::new() };
        let kept = Kept {
            services: vec![service("web")],
            checks: vec![(up, None), (spec(check("load", "")), Some(warning))],
        };
        let node = mirror.node.clone().unwrap();
        let mut registry = Registry::new(node, Duration::ZERO);
        registry.load(kept, time::now());
        assert_eq!(settle(&mut registry, &mut mirror), 1, "the verdict of load");
        assert_eq!(registry.shown_checks()["up"].status, CheckStatus::Passing);
        assert_eq!(mirror.checks["load"].status, CheckStatus::Warning);
    }
}
