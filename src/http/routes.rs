//! Every route in one table: method, path, handler, text.

use std::future::Future;
use std::pin::Pin;

use axum::http::Method;

use crate::gossip::KeyVerb;

use super::call::{Call, Outcome, Output};
use super::{
    agent, autopilot, catalog, coordinate, event, health, host, keyring, kv, local_health, mesh,
    metrics, monitor, operator, own, pool, prepared, session, snapshot, status, txn,
};

/// How a route is answered.
#[derive(Clone, Copy)]
pub(super) enum Run {
    /// At once and always.
    Show(fn(&Call) -> Output),
    /// At once, from what this server holds.
    Now(fn(&Call) -> Outcome),
    /// After asking other rooms.
    Later(fn(Call) -> Running),
}

/// A handler at work.
pub(super) type Running = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// One row of the table. A path that ends with a slash also takes everything below it.
struct Route {
    method: Method,
    path: &'static str,
    run: Run,
    text: &'static str,
}

/// A route as a page of reference shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteText {
    /// Its method.
    pub method: &'static str,
    /// Its path; one that ends with a slash also takes everything below it.
    pub path: &'static str,
    /// What it does, in a few words.
    pub text: &'static str,
}

const fn row(method: Method, path: &'static str, run: Run, text: &'static str) -> Route {
    Route { method, path, run, text }
}

use Run::{Later, Now, Show};

const GET: Method = Method::GET;
const PUT: Method = Method::PUT;
const POST: Method = Method::POST;
const DELETE: Method = Method::DELETE;
const OPTIONS: Method = Method::OPTIONS;

/// The table. Rows of one path stand together; the first rows are the busiest.
static ROUTES: &[Route] = &[
    row(GET, "/v1/kv/", Later(|call| Box::pin(kv::get(call))), "a key, or all below a prefix"),
    row(PUT, "/v1/kv/", Later(|call| Box::pin(kv::put(call))), "stores, sets if unchanged, locks"),
    row(DELETE, "/v1/kv/", Later(|call| Box::pin(kv::delete(call))), "deletes a key or a tree"),
    row(
        PUT,
        "/v1/txn",
        Later(|call| Box::pin(txn::put(call))),
        "operations on keys and the catalog, all or none",
    ),
    row(
        GET,
        "/v1/health/service/",
        Later(|call| Box::pin(health::service(call))),
        "instances with checks",
    ),
    row(
        GET,
        "/v1/health/checks/",
        Later(|call| Box::pin(health::service_checks(call))),
        "checks of a service",
    ),
    row(GET, "/v1/health/node/", Later(|call| Box::pin(health::node(call))), "checks of a node"),
    row(GET, "/v1/health/state/", Later(|call| Box::pin(health::state(call))), "checks in a state"),
    row(
        GET,
        "/v1/catalog/service/",
        Later(|call| Box::pin(catalog::service(call))),
        "instances of a service",
    ),
    row(
        GET,
        "/v1/catalog/services",
        Later(|call| Box::pin(catalog::services(call))),
        "all services with their tags",
    ),
    row(GET, "/v1/catalog/nodes", Later(|call| Box::pin(catalog::nodes(call))), "all nodes"),
    row(
        GET,
        "/v1/catalog/node/",
        Later(|call| Box::pin(catalog::node(call))),
        "a node with its services by id",
    ),
    row(
        GET,
        "/v1/catalog/node-services/",
        Later(|call| Box::pin(catalog::node_services(call))),
        "a node with a list of its services",
    ),
    row(
        GET,
        "/v1/catalog/datacenters",
        Later(|call| Box::pin(catalog::datacenters(call))),
        "the data centers known here",
    ),
    row(
        PUT,
        "/v1/catalog/register",
        Later(|call| Box::pin(catalog::register(call))),
        "a node, with a service and checks",
    ),
    row(
        PUT,
        "/v1/catalog/deregister",
        Later(|call| Box::pin(catalog::deregister(call))),
        "removes a node, a service or a check",
    ),
    row(PUT, "/v1/session/create", Later(|call| Box::pin(session::create(call))), "a new session"),
    row(
        PUT,
        "/v1/session/destroy/",
        Later(|call| Box::pin(session::destroy(call))),
        "ends a session",
    ),
    row(
        PUT,
        "/v1/session/renew/",
        Later(|call| Box::pin(session::renew(call))),
        "renews a session's TTL",
    ),
    row(GET, "/v1/session/info/", Later(|call| Box::pin(session::info(call))), "one session"),
    row(
        GET,
        "/v1/session/node/",
        Later(|call| Box::pin(session::of_node(call))),
        "a node's sessions",
    ),
    row(GET, "/v1/session/list", Later(|call| Box::pin(session::list(call))), "all sessions"),
    row(GET, "/v1/query", Later(|call| Box::pin(prepared::list(call))), "all prepared queries"),
    row(POST, "/v1/query", Later(|call| Box::pin(prepared::create(call))), "a new prepared query"),
    row(
        GET,
        "/v1/query/",
        Later(|call| Box::pin(prepared::get(call))),
        "a prepared query; runs or explains it",
    ),
    row(
        PUT,
        "/v1/query/",
        Later(|call| Box::pin(prepared::update(call))),
        "changes a prepared query",
    ),
    row(
        DELETE,
        "/v1/query/",
        Later(|call| Box::pin(prepared::delete(call))),
        "removes a prepared query",
    ),
    row(OPTIONS, "/v1/query/", Show(prepared::options), "the methods, with an empty object"),
    row(
        GET,
        "/v1/coordinate/datacenters",
        Later(|call| Box::pin(coordinate::datacenters(call))),
        "the servers' network coordinates",
    ),
    row(
        GET,
        "/v1/coordinate/nodes",
        Later(|call| Box::pin(coordinate::nodes(call))),
        "all nodes' network coordinates",
    ),
    row(
        GET,
        "/v1/coordinate/node/",
        Later(|call| Box::pin(coordinate::node(call))),
        "a node's network coordinates",
    ),
    row(
        PUT,
        "/v1/coordinate/update",
        Later(|call| Box::pin(coordinate::update(call))),
        "where a node lies in the network",
    ),
    row(
        GET,
        "/v1/agent/self",
        Later(|call| Box::pin(own::own(call))),
        "this agent: settings, member, counters",
    ),
    row(GET, "/v1/agent/version", Show(own::version), "this program's version"),
    row(GET, "/v1/agent/host", Later(|call| Box::pin(host::host(call))), "this agent's machine"),
    row(GET, "/v1/agent/monitor", Now(monitor::monitor), "log lines as they come"),
    row(GET, "/v1/agent/members", Now(pool::members), "the members that this agent knows"),
    row(GET, "/v1/agent/services", Now(agent::services), "this agent's services"),
    row(
        GET,
        "/v1/agent/service/",
        Later(|call| Box::pin(agent::service(call))),
        "one of this agent's services",
    ),
    row(GET, "/v1/agent/checks", Now(agent::checks), "this agent's checks"),
    row(
        PUT,
        "/v1/agent/service/register",
        Later(|call| Box::pin(agent::register_service(call))),
        "adds a service with its checks",
    ),
    row(
        PUT,
        "/v1/agent/service/deregister/",
        Later(|call| Box::pin(agent::deregister_service(call))),
        "removes a service",
    ),
    row(
        PUT,
        "/v1/agent/service/maintenance/",
        Later(|call| Box::pin(agent::service_maintenance(call))),
        "maintenance of a service",
    ),
    row(
        PUT,
        "/v1/agent/check/register",
        Later(|call| Box::pin(agent::register_check(call))),
        "adds a check",
    ),
    row(
        PUT,
        "/v1/agent/check/deregister/",
        Later(|call| Box::pin(agent::deregister_check(call))),
        "removes a check",
    ),
    row(
        PUT,
        "/v1/agent/check/pass/",
        Later(|call| Box::pin(agent::pass(call))),
        "a TTL check passes",
    ),
    row(
        PUT,
        "/v1/agent/check/warn/",
        Later(|call| Box::pin(agent::warn(call))),
        "a TTL check warns",
    ),
    row(
        PUT,
        "/v1/agent/check/fail/",
        Later(|call| Box::pin(agent::fail(call))),
        "a TTL check is critical",
    ),
    row(
        PUT,
        "/v1/agent/check/update/",
        Later(|call| Box::pin(agent::update(call))),
        "a TTL check's verdict and output",
    ),
    row(
        PUT,
        "/v1/agent/maintenance",
        Later(|call| Box::pin(agent::maintenance(call))),
        "maintenance of this node",
    ),
    row(PUT, "/v1/agent/join/", Later(|call| Box::pin(pool::join(call))), "joins a pool"),
    row(
        PUT,
        "/v1/agent/leave",
        Later(|call| Box::pin(pool::leave(call))),
        "leaves the pool and stops",
    ),
    row(
        PUT,
        "/v1/agent/reload",
        Later(|call| Box::pin(pool::reload(call))),
        "reads the configuration anew",
    ),
    row(GET, "/v1/acl/", Now(pool::acl_disabled), "says that access control is off"),
    row(PUT, "/v1/acl/", Now(pool::acl_disabled), "likewise"),
    row(POST, "/v1/acl/", Now(pool::acl_disabled), "likewise"),
    row(DELETE, "/v1/acl/", Now(pool::acl_disabled), "likewise"),
    row(PUT, "/v1/agent/token/", Now(pool::acl_disabled), "likewise"),
    row(PUT, "/v1/agent/force-leave/", Now(pool::force_leave), "declares a failed member gone"),
    row(GET, "/v1/agent/metrics", Now(metrics::metrics), "metrics as JSON or for Prometheus"),
    row(GET, "/v1/agent/metrics/stream", Now(metrics::stream), "metrics again and again"),
    row(GET, "/v1/agent/connect/", Now(mesh::refuse), "says that there is no mesh"),
    row(POST, "/v1/agent/connect/", Now(mesh::refuse), "likewise"),
    row(
        GET,
        "/v1/agent/health/service/id/",
        Now(local_health::by_id),
        "whether one of this agent's services is fit",
    ),
    row(
        GET,
        "/v1/agent/health/service/name/",
        Now(local_health::by_name),
        "whether this agent's services of a name are fit",
    ),
    row(
        PUT,
        "/v1/event/fire/",
        Later(|call| Box::pin(event::fire(call))),
        "throws an event into the pool",
    ),
    row(
        GET,
        "/v1/event/list",
        Later(|call| Box::pin(event::list(call))),
        "the last events that came to this agent",
    ),
    row(
        GET,
        "/v1/status/leader",
        Later(|call| Box::pin(status::leader(call))),
        "the leader's address",
    ),
    row(
        GET,
        "/v1/status/peers",
        Later(|call| Box::pin(status::peers(call))),
        "the servers' addresses",
    ),
    row(
        GET,
        "/v1/operator/raft/configuration",
        Later(|call| Box::pin(operator::configuration(call))),
        "the servers",
    ),
    row(
        DELETE,
        "/v1/operator/raft/peer",
        Later(|call| Box::pin(operator::remove_peer(call))),
        "removes a server",
    ),
    row(
        PUT,
        "/v1/operator/raft/transfer-leader",
        Later(|call| Box::pin(operator::transfer_leader(call))),
        "hands leadership over",
    ),
    row(
        POST,
        "/v1/operator/raft/transfer-leader",
        Later(|call| Box::pin(operator::transfer_leader(call))),
        "hands leadership over",
    ),
    row(
        GET,
        "/v1/operator/autopilot/configuration",
        Later(|call| Box::pin(autopilot::configuration(call))),
        "autopilot's settings",
    ),
    row(
        PUT,
        "/v1/operator/autopilot/configuration",
        Later(|call| Box::pin(autopilot::configure(call))),
        "sets them",
    ),
    row(
        GET,
        "/v1/operator/autopilot/health",
        Later(|call| Box::pin(autopilot::health(call))),
        "whether the servers are well",
    ),
    row(
        GET,
        "/v1/operator/autopilot/state",
        Later(|call| Box::pin(autopilot::state(call))),
        "likewise, by server",
    ),
    row(
        GET,
        "/v1/operator/keyring",
        Later(|call| Box::pin(keyring::list(call))),
        "the keys of the pool",
    ),
    row(
        POST,
        "/v1/operator/keyring",
        Later(|call| Box::pin(keyring::change(call, KeyVerb::Install))),
        "gives every member a key",
    ),
    row(
        PUT,
        "/v1/operator/keyring",
        Later(|call| Box::pin(keyring::change(call, KeyVerb::Use))),
        "has every member encrypt with a key",
    ),
    row(
        DELETE,
        "/v1/operator/keyring",
        Later(|call| Box::pin(keyring::change(call, KeyVerb::Remove))),
        "takes a key from every member",
    ),
    row(
        GET,
        "/v1/catalog/connect/",
        Later(|call| Box::pin(catalog::connect(call))),
        "the proxies of a service",
    ),
    row(
        GET,
        "/v1/health/connect/",
        Later(|call| Box::pin(health::connect(call))),
        "the proxies of a service, with checks",
    ),
    row(GET, "/v1/health/ingress/", Now(mesh::ingress), "no gateway leads to a service"),
    row(GET, "/v1/catalog/gateway-services/", Now(mesh::gateway_services), "none has a gateway"),
    row(GET, "/v1/config/", Now(mesh::config), "no configuration entries"),
    row(DELETE, "/v1/config/", Now(mesh::refuse), "says that there is no mesh"),
    row(PUT, "/v1/config", Now(mesh::refuse), "likewise"),
    row(GET, "/v1/connect/intentions", Now(mesh::intentions), "no intentions"),
    row(POST, "/v1/connect/intentions", Now(mesh::refuse), "says that there is no mesh"),
    row(GET, "/v1/connect/intentions/", Now(mesh::intention), "what intentions say: all may talk"),
    row(PUT, "/v1/connect/intentions/", Now(mesh::refuse), "says that there is no mesh"),
    row(DELETE, "/v1/connect/intentions/", Now(mesh::refuse), "likewise"),
    row(GET, "/v1/connect/ca/", Now(mesh::refuse), "likewise"),
    row(PUT, "/v1/connect/ca/", Now(mesh::refuse), "likewise"),
    row(GET, "/v1/discovery-chain/", Now(mesh::refuse), "likewise"),
    row(POST, "/v1/discovery-chain/", Now(mesh::refuse), "likewise"),
    row(GET, "/v1/internal/ui/", Now(mesh::no_page), "says that there is no bundled page"),
    row(GET, "/v1/snapshot", Later(|call| Box::pin(snapshot::save(call))), "saves everything"),
    row(
        PUT,
        "/v1/snapshot",
        Later(|call| Box::pin(snapshot::restore(call))),
        "restores everything",
    ),
    row(
        GET,
        "/v1/internal/state",
        Later(|call| Box::pin(status::state(call))),
        "a hash of this server's state",
    ),
    row(GET, "/metrics", Show(metrics::prometheus), "metrics for Prometheus"),
];

/// Every route, in the order of the table; for pages of reference.
pub fn routes() -> impl Iterator<Item = RouteText> {
    ROUTES.iter().map(|route| RouteText {
        method: route.method.as_str(),
        path: route.path,
        text: route.text,
    })
}

/// Where a path leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// To this path of the table.
    Path(&'static str),
    /// Nowhere, but with a slash behind it, it would.
    AddSlash,
    /// Nowhere.
    Nowhere,
}

/// The longest path of the table that takes this one.
pub(super) fn find(path: &str) -> Found {
    let mut best: Option<&'static str> = None;
    let mut slash = false;
    for route in ROUTES {
        let below = route.path.ends_with('/') && path.starts_with(route.path);
        if (below || route.path == path) && best.is_none_or(|best| route.path.len() > best.len()) {
            best = Some(route.path);
        }
        slash |= route.path.strip_suffix('/') == Some(path);
    }
    match best {
        Some(best) => Found::Path(best),
        None if slash => Found::AddSlash,
        None => Found::Nowhere,
    }
}

/// How a path of the table is answered for a method.
pub(super) fn handler(path: &'static str, method: &Method) -> Option<Run> {
    let found = ROUTES.iter().find(|route| route.path == path && route.method == method);
    found.map(|route| route.run)
}

/// What `Allow` says of a path of the table.
pub(super) fn allowed(path: &'static str) -> String {
    let mut allowed = "OPTIONS".to_owned();
    let others = ROUTES.iter().filter(|route| route.path == path && route.method != OPTIONS);
    for route in others {
        allowed.push(',');
        allowed.push_str(route.method.as_str());
    }
    allowed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_path_wins() {
        for (path, want) in [
            ("/v1/kv/", Found::Path("/v1/kv/")),
            ("/v1/kv/a/b/", Found::Path("/v1/kv/")),
            ("/v1/kv", Found::AddSlash),
            ("/v1/agent/service/register", Found::Path("/v1/agent/service/register")),
            ("/v1/agent/service/registers", Found::Path("/v1/agent/service/")),
            ("/v1/agent/service/maintenance/x", Found::Path("/v1/agent/service/maintenance/")),
            ("/v1/catalog/services", Found::Path("/v1/catalog/services")),
            ("/v1/catalog/nodes/", Found::Nowhere),
            ("/v1/nope", Found::Nowhere),
            ("/", Found::Nowhere),
        ] {
            assert_eq!(find(path), want, "{path}");
        }
    }

    #[test]
    fn methods_are_those_of_the_table_in_its_order() {
        assert_eq!(allowed("/v1/kv/"), "OPTIONS,GET,PUT,DELETE");
        assert_eq!(allowed("/v1/catalog/nodes"), "OPTIONS,GET");
        assert!(handler("/v1/kv/", &Method::POST).is_none());
        assert!(handler("/v1/kv/", &Method::HEAD).is_none());
        assert!(handler("/v1/kv/", &Method::DELETE).is_some());
    }

    #[test]
    fn every_row_is_reached_and_told() {
        for route in ROUTES {
            assert_eq!(find(route.path), Found::Path(route.path));
            assert!(!route.text.is_empty());
        }
        assert_eq!(routes().count(), ROUTES.len());
    }
}
