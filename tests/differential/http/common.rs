//! What holds for every endpoint, asked of each of them: requests are made from the table of
//! endpoints, good ones and bad ones.

use crate::endpoints::{Endpoint, SECTIONS, State};

use super::ask::{Ask, Payload, get, other};
use super::intended::{
    ACL_POLICY, ARCHIVE_WORDS, DEREGISTER_UNKNOWN, FILTER_WORDS, GZIP_SHORT, Intended, JSON_WORDS,
    NO_MESH_SELF, NO_UI, ONE_BODY, OPERATOR_WORDS, OTHER_CENTER, PANICS, QUERY_ALLOW,
    QUERY_BACKEND, QUERY_PANICS, SERVICES_FILTER, STRICT, TXN_JSON_WORDS, UNKNOWN_PATH,
    WRITE_INDEX,
};
use super::run::compare;

/// What a path carries where it takes a name: nobody has it.
const NOBODY: &str = "nobody";
/// A read is asked again with each of these.
const READ_WITH: [&str; 16] = [
    "",
    "pretty",
    "dc=nowhere",
    "dc=dc1",
    "stale",
    "consistent",
    "stale&consistent",
    "index=abc",
    "index=-1",
    "index=1&wait=10",
    "index=1&wait=abc",
    "max_stale=xx",
    "filter=zz%3D%3D",
    "token=anything",
    "unknown=1&unknown=2",
    "%zz",
];
/// A write is asked again with each of these bodies.
const WRITE_WITH: [&str; 7] = ["", "{", "[]", "null", "\"text\"", "{\"Bogus\":1}", "\u{0}\u{1}"];
/// Values that describe a machine or a moment; other tables look at those that matter.
const OF_THE_MOMENT: &[&str] = &[
    "DebugConfig",
    "Stats",
    "Tags",
    "Meta",
    "Coord",
    "xDS",
    "Version",
    "Memory",
    "CPU",
    "Host",
    "Disk",
    "CollectionTime",
    "Errors",
    "Timestamp",
    "Gauges",
    "Points",
    "Counters",
    "Samples",
    "ProtocolVersion",
    "LastTerm",
    "LastIndex",
    "StableSince",
    "LastContact",
    "TaggedAddresses",
    "Coordinates",
];
/// Writes that end the agent, and addresses that are looked up for a long while.
const NOT_WRITTEN: [&str; 2] = ["/v1/agent/leave", "/v1/agent/join/<address>"];
/// Reads that do not end, or whose bytes have a table of their own.
const NOT_READ: [&str; 2] = ["/v1/agent/monitor", "/v1/snapshot"];

/// The endpoints that both sides are meant to have.
fn endpoints() -> impl Iterator<Item = &'static Endpoint> {
    let all = SECTIONS.iter().flat_map(|section| section.rows);
    all.filter(|row| row.old && matches!(row.state, State::Yes(_)))
}

fn asked(method: &'static str, path: String, query: &str, body: &'static str) -> Ask {
    let differs = known(method, &path, query, body);
    let path = if query.is_empty() { path } else { format!("{path}?{query}") };
    other(method, path.leak(), Payload::Text(body)).hiding(OF_THE_MOMENT).differs(differs)
}

/// What a request that is made here differs in.
fn known(method: &str, path: &str, query: &str, body: &str) -> &'static [&'static Intended] {
    let strict = ["stale&consistent", "max_stale=xx"].contains(&query);
    match (method, path) {
        ("PUT", "/v1/agent/service/deregister/nobody" | "/v1/agent/check/deregister/nobody")
            if query != "%zz" =>
        {
            &[&DEREGISTER_UNKNOWN]
        }
        ("GET", "/v1/agent/service/nobody" | "/v1/event/list") if strict => &[&STRICT],
        ("GET", "/v1/coordinate/datacenters") if strict || query.starts_with("index") => &[&STRICT],
        ("GET", "/v1/catalog/datacenters") if strict => &[&ONE_BODY],
        ("GET", "/v1/catalog/datacenters") if query.starts_with("index") => &[&STRICT],
        ("GET", "/v1/catalog/services") if query.starts_with("filter") => &[&SERVICES_FILTER],
        ("GET", "/v1/agent/self") if query != "%zz" => &[&NO_MESH_SELF],
        ("HEAD" | "PATCH" | "TRACE" | "BREW" | "POST", path) if path.starts_with("/v1/query/") => {
            &[&QUERY_ALLOW]
        }
        ("POST", "/v1/query") if body == "null" => &[&QUERY_PANICS],
        ("PUT", "/v1/coordinate/update") if ["null", "{}"].contains(&body) => &[&PANICS],
        ("PUT", "/v1/catalog/register" | "/v1/catalog/deregister")
        | ("GET", "/v1/coordinate/datacenters")
        | (_, "/v1/operator/keyring")
            if query == "dc=nowhere" =>
        {
            &[&OTHER_CENTER]
        }
        ("PUT", "/v1/snapshot") if query.is_empty() && ["", "{\"Bogus\":1}"].contains(&body) => {
            &[&ARCHIVE_WORDS]
        }
        _ => &[],
    }
}

/// Methods that no route takes, and the two that every path answers.
fn methods(row: &Endpoint) -> Vec<Ask> {
    let others = ["OPTIONS", "HEAD", "PATCH", "TRACE", "BREW"].into_iter();
    let verbs = ["GET", "PUT", "POST", "DELETE"].into_iter();
    let verbs = verbs.filter(|verb| !row.methods.split(' ').any(|one| one == *verb));
    let path = row.sample(NOBODY);
    others.chain(verbs).map(|method| asked(method, path.clone(), "", "")).collect()
}

fn reads(row: &Endpoint) -> Vec<Ask> {
    if !row.methods.split(' ').any(|one| one == "GET") || NOT_READ.contains(&row.path) {
        return Vec::new();
    }
    let path = row.sample(NOBODY);
    let with = |query: &&str| asked("GET", path.clone(), query, "");
    let mut asks: Vec<Ask> = READ_WITH.iter().map(with).collect();
    let bad_header = [("cache-control", "max-age=x")];
    let asking = asked("GET", path.clone(), "", "").sending(Box::leak(Box::new(bad_header)));
    asks.push(match row.path {
        "/v1/agent/service/<id>" | "/v1/event/list" | "/v1/coordinate/datacenters" => {
            asking.differs(&[&STRICT])
        }
        "/v1/catalog/datacenters" => asking.differs(&[&ONE_BODY]),
        _ => asking,
    });
    let slash = asked("GET", format!("{path}/"), "", "");
    asks.push(if is_leaf(row) { slash.differs(&[&UNKNOWN_PATH]) } else { slash });
    asks.push(asked("GET", format!("/{path}"), "", ""));
    asks.push(asked("GET", row.sample("%01"), "", ""));
    asks
}

/// Whether nothing lies below a path.
fn is_leaf(row: &Endpoint) -> bool {
    let below = format!("{}/<", row.path);
    let all = || SECTIONS.iter().flat_map(|section| section.rows);
    !row.path.contains('<') && !all().any(|other| other.path.starts_with(&below))
}

fn writes(row: &Endpoint) -> Vec<Ask> {
    let mut asks = Vec::new();
    let methods = ["PUT", "POST", "DELETE"].into_iter();
    for method in methods.filter(|method| row.methods.split(' ').any(|one| one == *method)) {
        if NOT_WRITTEN.contains(&row.path) {
            continue;
        }
        let path = row.sample(NOBODY);
        asks.extend(WRITE_WITH.map(|body| asked(method, path.clone(), "", body)));
        asks.extend(
            ["dc=nowhere", "stale&consistent", "%zz"]
                .map(|query| asked(method, path.clone(), query, "{}")),
        );
        asks.push(asked(method, format!("/{path}"), "", ""));
    }
    asks
}

#[tokio::test]
async fn methods_of_every_endpoint() {
    let rows: Vec<Ask> = endpoints().flat_map(methods).collect();
    compare("common::methods_of_every_endpoint", &rows, &[&ACL_POLICY]).await;
}

#[tokio::test]
async fn reads_of_every_endpoint() {
    let rows: Vec<Ask> = endpoints().flat_map(reads).collect();
    compare(
        "common::reads_of_every_endpoint",
        &rows,
        &[&ACL_POLICY, &FILTER_WORDS, &QUERY_BACKEND],
    )
    .await;
}

#[tokio::test]
async fn writes_of_every_endpoint() {
    let rows: Vec<Ask> = endpoints().flat_map(writes).collect();
    compare(
        "common::writes_of_every_endpoint",
        &rows,
        &[&ACL_POLICY, &WRITE_INDEX, &JSON_WORDS, &TXN_JSON_WORDS, &OPERATOR_WORDS],
    )
    .await;
}

const PATHS: &[Ask] = &[
    get("/").differs(&[&NO_UI]),
    get("/v1").differs(&[&UNKNOWN_PATH]),
    get("/v1/").differs(&[&UNKNOWN_PATH]),
    get("/v2/kv/a").differs(&[&UNKNOWN_PATH]),
    get("/v1/nope").differs(&[&UNKNOWN_PATH]),
    other("PUT", "/v1/nope", Payload::Text("x")).differs(&[&UNKNOWN_PATH]),
    other("OPTIONS", "/v1/nope", Payload::Text("")).differs(&[&UNKNOWN_PATH]),
    other("HEAD", "/v1/nope", Payload::Text("")).differs(&[&UNKNOWN_PATH]),
    get("/v1/catalog/nodes/").differs(&[&UNKNOWN_PATH]),
    get("/v1/session").differs(&[&UNKNOWN_PATH]),
    get("/v1/health/service"),
    get("/v1/catalog/service"),
    get("/v1/agent/service"),
    get("/v1/event/fire"),
    get("/V1/kv/a").differs(&[&UNKNOWN_PATH]),
    get("/v1/KV/a").differs(&[&UNKNOWN_PATH]),
    get("//v1/kv/a"),
    get("/v1//kv/a?raw&x=1"),
    get("/v1/kv/%2e%2e/a").differs(&[&UNKNOWN_PATH]),
    get("/v1/kv/a%2F%2Fb"),
    get("/v1/kv/a?pretty=false"),
    get("/v1/kv/a").sending(&[("x-consul-token", "anything")]),
    get("/v1/kv/a").sending(&[("authorization", "Bearer anything")]),
    get("/v1/catalog/services").sending(&[("accept-encoding", "gzip")]).differs(&[&GZIP_SHORT]),
    get("/v1/catalog/services").sending(&[("accept-encoding", "identity")]),
    get("/v1/kv/a").sending(&[("x-consul-index", "5")]),
    get("/v1/kv/a").sending(&[("cache-control", "no-cache")]),
    get("/v1/catalog/services?pretty"),
    get("/v1/catalog/services?pretty=false"),
    get("/ui/").differs(&[&NO_UI]),
];

#[tokio::test]
async fn paths_and_headers() {
    compare("common::paths_and_headers", PATHS, &[&ACL_POLICY]).await;
}
