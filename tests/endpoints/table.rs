//! Every endpoint of Consul's HTTP API, how much clients need it, and what we have of it.

use Tier::{T1, T2, T3};

/// How much an endpoint is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tier {
    /// Ordinary clients break without it.
    T1,
    /// Operators of a production cluster need it.
    T2,
    /// Needed by few, or part of the mesh.
    T3,
}

/// Whether an endpoint is there.
#[derive(Clone, Copy, Debug)]
pub(crate) enum State {
    /// Yes, and these tests hold it: modules below `tests/`, separated by spaces.
    Yes(&'static str),
    /// Later, with the part of the product that brings it.
    Later(&'static str),
    /// Never, and why.
    No(&'static str),
}

/// One row: methods of one path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Endpoint {
    /// Methods, separated by spaces.
    pub(crate) methods: &'static str,
    /// The path; what stands in angle brackets is the caller's, and may hold slashes at the end.
    pub(crate) path: &'static str,
    /// How much it is needed.
    pub(crate) tier: Tier,
    /// Whether it is there.
    pub(crate) state: State,
    /// Whether the real Consul 1.8.7 has it.
    pub(crate) old: bool,
}

/// Endpoints of one section of the API.
pub(crate) struct Section {
    /// What the section is called.
    pub(crate) title: &'static str,
    /// Its endpoints.
    pub(crate) rows: &'static [Endpoint],
}

const fn row(methods: &'static str, path: &'static str, tier: Tier, state: State) -> Endpoint {
    Endpoint { methods, path, tier, state, old: true }
}

/// An endpoint that is there, with its tests.
const fn yes(
    methods: &'static str,
    path: &'static str,
    tier: Tier,
    tests: &'static str,
) -> Endpoint {
    row(methods, path, tier, State::Yes(tests))
}

const fn later(
    methods: &'static str,
    path: &'static str,
    tier: Tier,
    with: &'static str,
) -> Endpoint {
    row(methods, path, tier, State::Later(with))
}

const fn no(methods: &'static str, path: &'static str, why: &'static str) -> Endpoint {
    row(methods, path, T3, State::No(why))
}

impl Endpoint {
    /// The same, known to be younger than Consul 1.8.7.
    const fn newer(self) -> Self {
        Self { old: false, ..self }
    }

    /// The path with a name in place of what is the caller's.
    pub(crate) fn sample(&self, name: &str) -> String {
        let mut path = String::new();
        for part in self.path.split('/').skip(1) {
            path.push('/');
            path.push_str(if part.starts_with('<') { name } else { part });
        }
        path
    }
}

/// The parts of the product that later brings what tiers 1 and 2 ask for.
pub(crate) const LATER_PARTS: [&str; 3] = [ACL, CENTERS, TLS];
const ACL: &str = "access control";
const CENTERS: &str = "several data centers";
const TLS: &str = "TLS";
const MESH: &str = "service mesh";

const KV: &str = "doors::kv differential::http::kv";
const TXN: &str = "doors::txn differential::http::txn";
const SESSION: &str = "doors::session differential::http::session";
const CATALOG: &str = "doors::catalog differential::http::catalog";
const HEALTH: &str = "doors::health differential::http::health";
const AGENT: &str = "differential::http::agent";
const SERVICES: &str = "differential::http::services";
const CHECKS: &str = "differential::http::checks";
const STATUS: &str = "doors::status differential::http::status";
const COORDINATE: &str = "doors::coordinate differential::http::status";
const OPERATOR: &str = "differential::http::operator";
const EVENT: &str = "differential::http::event";
const QUERY: &str = "differential::http::query";

/// All sections, in the order of Consul's reference.
pub(crate) const SECTIONS: &[Section] = &[
    Section { title: "KV", rows: &[yes("GET PUT DELETE", "/v1/kv/<key>", T1, KV)] },
    Section { title: "Transactions", rows: &[yes("PUT", "/v1/txn", T1, TXN)] },
    Section {
        title: "Sessions",
        rows: &[
            yes("PUT", "/v1/session/create", T1, SESSION),
            yes("PUT", "/v1/session/destroy/<id>", T1, SESSION),
            yes("PUT", "/v1/session/renew/<id>", T1, SESSION),
            yes("GET", "/v1/session/info/<id>", T1, SESSION),
            yes("GET", "/v1/session/node/<node>", T1, SESSION),
            yes("GET", "/v1/session/list", T1, SESSION),
        ],
    },
    Section { title: "Agent", rows: AGENT_ROWS },
    Section {
        title: "Catalog",
        rows: &[
            yes("PUT", "/v1/catalog/register", T1, CATALOG),
            yes("PUT", "/v1/catalog/deregister", T1, CATALOG),
            yes("GET", "/v1/catalog/datacenters", T1, CATALOG),
            yes("GET", "/v1/catalog/nodes", T1, CATALOG),
            yes("GET", "/v1/catalog/services", T1, CATALOG),
            yes("GET", "/v1/catalog/service/<name>", T1, CATALOG),
            yes("GET", "/v1/catalog/node/<node>", T1, CATALOG),
            yes("GET", "/v1/catalog/node-services/<node>", T1, CATALOG),
            later("GET", "/v1/catalog/connect/<service>", T3, MESH),
            later("GET", "/v1/catalog/gateway-services/<gateway>", T3, MESH),
        ],
    },
    Section {
        title: "Health",
        rows: &[
            yes("GET", "/v1/health/node/<node>", T1, HEALTH),
            yes("GET", "/v1/health/checks/<service>", T1, HEALTH),
            yes("GET", "/v1/health/state/<state>", T1, HEALTH),
            yes("GET", "/v1/health/service/<service>", T1, HEALTH),
            later("GET", "/v1/health/connect/<service>", T3, MESH),
            later("GET", "/v1/health/ingress/<service>", T3, MESH),
        ],
    },
    Section {
        title: "Events",
        rows: &[
            yes("PUT", "/v1/event/fire/<name>", T2, EVENT),
            yes("GET", "/v1/event/list", T2, EVENT),
        ],
    },
    Section {
        title: "Prepared queries",
        rows: &[
            yes("GET POST", "/v1/query", T2, QUERY),
            yes("GET PUT DELETE", "/v1/query/<id>", T2, QUERY),
            yes("GET", "/v1/query/<id>/execute", T2, QUERY),
            yes("GET", "/v1/query/<id>/explain", T2, QUERY),
        ],
    },
    Section { title: "Status, coordinates, snapshot, operator", rows: OPERATOR_ROWS },
    Section { title: "Access control", rows: ACL_ROWS },
    Section { title: "Mesh and internals", rows: MESH_ROWS },
];

const AGENT_ROWS: &[Endpoint] = &[
    yes("GET", "/v1/agent/self", T1, AGENT),
    yes("GET", "/v1/agent/members", T1, AGENT),
    yes("GET", "/v1/agent/services", T1, SERVICES),
    yes("GET", "/v1/agent/service/<id>", T1, SERVICES),
    yes("GET", "/v1/agent/checks", T1, CHECKS),
    yes("PUT", "/v1/agent/service/register", T1, SERVICES),
    yes("PUT", "/v1/agent/service/deregister/<id>", T1, SERVICES),
    yes("PUT", "/v1/agent/service/maintenance/<id>", T1, SERVICES),
    yes("PUT", "/v1/agent/check/register", T1, CHECKS),
    yes("PUT", "/v1/agent/check/deregister/<id>", T1, CHECKS),
    yes("PUT", "/v1/agent/check/pass/<id>", T1, CHECKS),
    yes("PUT", "/v1/agent/check/warn/<id>", T1, CHECKS),
    yes("PUT", "/v1/agent/check/fail/<id>", T1, CHECKS),
    yes("PUT", "/v1/agent/check/update/<id>", T1, CHECKS),
    yes("GET", "/v1/agent/health/service/id/<id>", T1, SERVICES),
    yes("GET", "/v1/agent/health/service/name/<name>", T1, SERVICES),
    yes("PUT", "/v1/agent/maintenance", T1, AGENT),
    yes("GET", "/v1/agent/metrics", T1, AGENT),
    yes("GET", "/v1/agent/monitor", T1, AGENT),
    yes("PUT", "/v1/agent/join/<address>", T2, AGENT),
    yes("PUT", "/v1/agent/leave", T2, "doors::agent_own"),
    yes("PUT", "/v1/agent/force-leave/<node>", T2, AGENT),
    yes("PUT", "/v1/agent/reload", T2, AGENT),
    yes("GET", "/v1/agent/host", T2, AGENT),
    later("PUT", "/v1/agent/token/<kind>", T2, ACL),
    yes("GET", "/v1/agent/version", T2, "doors::agent_own").newer(),
    yes("GET", "/v1/agent/metrics/stream", T2, "doors::agent_own").newer(),
    no("GET", "/v1/agent/connect/ca/roots", MESH),
    no("GET", "/v1/agent/connect/ca/leaf/<service>", MESH),
    no("POST", "/v1/agent/connect/authorize", MESH),
];

const OPERATOR_ROWS: &[Endpoint] = &[
    yes("GET", "/v1/status/leader", T1, STATUS),
    yes("GET", "/v1/status/peers", T1, STATUS),
    yes("GET", "/v1/coordinate/datacenters", T3, COORDINATE),
    yes("GET", "/v1/coordinate/nodes", T3, COORDINATE),
    yes("GET", "/v1/coordinate/node/<node>", T3, COORDINATE),
    yes("PUT", "/v1/coordinate/update", T3, COORDINATE),
    yes("GET PUT", "/v1/snapshot", T2, "differential::http::snapshot"),
    yes("GET", "/v1/operator/raft/configuration", T2, OPERATOR),
    yes("DELETE", "/v1/operator/raft/peer", T2, OPERATOR),
    yes("PUT POST", "/v1/operator/raft/transfer-leader", T2, "doors::operator").newer(),
    yes("GET PUT", "/v1/operator/autopilot/configuration", T2, OPERATOR),
    yes("GET", "/v1/operator/autopilot/health", T2, OPERATOR),
    yes("GET", "/v1/operator/autopilot/state", T2, "doors::operator").newer(),
    yes("GET POST PUT DELETE", "/v1/operator/keyring", T2, OPERATOR),
    later("GET", "/v1/operator/usage", T3, "a web interface").newer(),
];

const ACL_ROWS: &[Endpoint] = &[
    later("PUT", "/v1/acl/bootstrap", T2, ACL),
    later("GET", "/v1/acl/tokens", T2, ACL),
    later("PUT", "/v1/acl/token", T2, ACL),
    later("GET PUT DELETE", "/v1/acl/token/<accessor>", T2, ACL),
    later("GET", "/v1/acl/token/self", T2, ACL),
    later("PUT", "/v1/acl/token/<accessor>/clone", T2, ACL),
    later("GET", "/v1/acl/policies", T2, ACL),
    later("PUT", "/v1/acl/policy", T2, ACL),
    later("GET PUT DELETE", "/v1/acl/policy/<id>", T2, ACL),
    later("GET", "/v1/acl/policy/name/<name>", T2, ACL),
    later("GET", "/v1/acl/roles", T2, ACL),
    later("PUT", "/v1/acl/role", T2, ACL),
    later("GET PUT DELETE", "/v1/acl/role/<id>", T2, ACL),
    later("GET", "/v1/acl/role/name/<name>", T2, ACL),
    later("GET", "/v1/acl/replication", T2, ACL),
    later("GET", "/v1/acl/auth-methods", T3, ACL),
    later("GET", "/v1/acl/binding-rules", T3, ACL),
    later("POST", "/v1/acl/login", T3, ACL),
    later("POST", "/v1/acl/logout", T3, ACL),
    no("PUT", "/v1/acl/create", "removed in Consul 1.11, as are the other old ones"),
];

const MESH_ROWS: &[Endpoint] = &[
    no("GET PUT DELETE", "/v1/config", MESH),
    no("GET POST", "/v1/connect/intentions", MESH),
    no("GET PUT", "/v1/connect/ca/configuration", MESH),
    no("GET", "/v1/connect/ca/roots", MESH),
    no("GET POST", "/v1/discovery-chain/<service>", MESH),
    no("GET", "/v1/internal/federation-states", MESH),
    later("GET", "/v1/internal/ui/nodes", T3, "a web interface"),
    later("GET", "/v1/internal/ui/node/<node>", T3, "a web interface"),
    later("GET", "/v1/internal/ui/services", T3, "a web interface"),
];
