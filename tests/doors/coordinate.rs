//! `/v1/coordinate`, and `?near=` wherever Consul sorts by it.

use std::time::Duration;

use crate::harness::{Agent, Http, beside_others, until};

use super::table::Want::{Any, Empty, Is, Json, Like, Starts};
use super::table::{Row, check_on, get, other, post, put};

/// Consul collects coordinates for five seconds before it stores them.
const STORED: Duration = Duration::from_secs(15);

/// Four nodes with an instance of `web` each, named against the order of their distances.
const NODES: &[Row] = &[
    put(
        "the one that is asked from",
        "/v1/catalog/register",
        r#"{"Node":"d","Address":"10.0.0.4","NodeMeta":{"t":"1"},"Service":{"Service":"web"},
        "Check":{"CheckID":"c","Name":"c","ServiceID":"web","Status":"passing"}}"#,
    )
    .gives(200, Json("true")),
    put(
        "a near one",
        "/v1/catalog/register",
        r#"{"Node":"c","Address":"10.0.0.3","NodeMeta":{"t":"1"},"Service":{"Service":"web"},
        "Check":{"CheckID":"c","Name":"c","ServiceID":"web","Status":"passing"}}"#,
    )
    .gives(200, Json("true")),
    put(
        "one that nobody knows the place of",
        "/v1/catalog/register",
        r#"{"Node":"a","Address":"10.0.0.1","NodeMeta":{"t":"1"},"Service":{"Service":"web"},
        "Check":{"CheckID":"c","Name":"c","ServiceID":"web","Status":"passing"}}"#,
    )
    .gives(200, Json("true")),
    put(
        "a far one",
        "/v1/catalog/register",
        r#"{"Node":"b","Address":"10.0.0.2","NodeMeta":{"t":"1"},"Service":{"Service":"web"},
        "Check":{"CheckID":"c","Name":"c","ServiceID":"web","Status":"passing"}}"#,
    )
    .gives(200, Json("true")),
];

const UPDATES: &[Row] = &[
    put("at the origin", "/v1/coordinate/update", r#"{"Node":"d","Coord":{"Vec":[0,0,0,0,0,0,0,0]}}"#)
        .gives(200, Empty),
    put("a little away, with names in small letters", "/v1/coordinate/update",
        r#"{"node":"c","segment":"","coord":{"vec":[0.01,0,0,0,0,0,0,0],"error":0.5,"height":0.00001,
        "adjustment":-1e-7}}"#)
        .gives(200, Empty),
    put("far away", "/v1/coordinate/update", r#"{"Node":"b","Coord":{"Vec":[3,4,0,0,0,0,0,0]}}"#)
        .gives(200, Empty),
    put("in a segment", "/v1/coordinate/update",
        r#"{"Node":"b","Segment":"alpha","Coord":{"Vec":[1,2,3,4,5,6,7,8],"Error":1.5}}"#)
        .gives(200, Empty),
    put("of nobody", "/v1/coordinate/update", r#"{"Node":"zz","Coord":{"Vec":[0,0,0,0,0,0,0,0]}}"#)
        .gives(200, Empty),
    put("of nobody at all", "/v1/coordinate/update", r#"{"Coord":{"Vec":[0,0,0,0,0,0,0,0]}}"#)
        .gives(200, Empty),
    put("of two dimensions", "/v1/coordinate/update", r#"{"Node":"a","Coord":{"Vec":[1,2]}}"#)
        .gives(500, Is("incompatible coordinate")),
    put("an unknown field", "/v1/coordinate/update", r#"{"Node":"a","Bogus":1}"#)
        .gives(400, Is(r#"Request decode failed: json: unknown field "Bogus""#)),
    put("a word for a number", "/v1/coordinate/update", r#"{"Node":"a","Coord":{"Vec":["x"]}}"#)
        .gives(400, Starts("Request decode failed: json: cannot unmarshal string into Go struct field")),
    put("nothing", "/v1/coordinate/update", "").gives(400, Is("Request decode failed: EOF")),
    put("another data center", "/v1/coordinate/update?dc=zz", r#"{"Node":"a","Coord":{"Vec":[0,0,0,0,0,0,0,0]}}"#)
        .gives(500, Is("No path to datacenter")),
    put("another data center inside", "/v1/coordinate/update",
        r#"{"Datacenter":"zz","Node":"a","Coord":{"Vec":[0,0,0,0,0,0,0,0]}}"#)
        .gives(500, Is("No path to datacenter")),
    post("another method", "/v1/coordinate/update", "{}")
        .gives(405, Is("method POST not allowed")).with(&[("allow", "OPTIONS,PUT")]),
    other("the methods", "OPTIONS", "/v1/coordinate/nodes").gives(200, Empty).with(&[("allow", "OPTIONS,GET")]),
];

const READS: &[Row] = &[
    get("of a node", "/v1/coordinate/node/c").gives(200, Is(
        r#"[{"Node":"c","Segment":"","Coord":{"Vec":[0.01,0,0,0,0,0,0,0],"Error":0.5,"Adjustment":-1e-7,"Height":0.00001}}]"#,
    )).consul(200, Json(
        r#"[{"Node":"c","Segment":"","Coord":{"Vec":[0.01,0,0,0,0,0,0,0],"Error":0.5,"Adjustment":-1e-7,"Height":0.00001}}]"#,
    )).with(&[
        ("x-consul-index", "*"),
        ("x-consul-knownleader", "true"),
        ("x-consul-effective-consistency", "-"),
    ]),
    get("of a node in two segments", "/v1/coordinate/node/b")
        .gives(200, Like(r#"[{"Node":"b","Segment":""},{"Node":"b","Segment":"alpha"}]"#)),
    get("one of them", "/v1/coordinate/node/b?segment=alpha")
        .gives(200, Like(r#"[{"Node":"b","Segment":"alpha","Coord":{"Vec":[1,2,3,4,5,6,7,8],"Error":1.5}}]"#)),
    get("none of them", "/v1/coordinate/node/b?segment=beta").gives(404, Empty),
    get("of a node without", "/v1/coordinate/node/a").gives(404, Empty).with(&[("x-consul-index", "-")]),
    get("of nobody", "/v1/coordinate/node/zz").gives(404, Empty),
    get("of no node", "/v1/coordinate/node/").gives(404, Empty),
    get("of a segment", "/v1/coordinate/nodes?segment=alpha")
        .gives(200, Like(r#"[{"Node":"b","Segment":"alpha"}]"#))
        .with(&[("x-consul-index", "*"), ("x-consul-knownleader", "true")]),
    get("of a segment that nobody is in", "/v1/coordinate/nodes?segment=beta").gives(200, Json("[]")),
    get("of another data center", "/v1/coordinate/nodes?dc=zz")
        .gives(500, Is("No path to datacenter")).with(&[("x-consul-index", "1")]),
    get("of the servers", "/v1/coordinate/datacenters").gives(200, Json(
        r#"[{"Datacenter":"dc1","AreaID":"wan","Coordinates":[{"Node":"n1","Segment":"",
        "Coord":{"Vec":[0,0,0,0,0,0,0,0],"Error":1.5,"Adjustment":0,"Height":0.00001}}]}]"#,
    )).with(&[("x-consul-index", "-")]),
];

const NEAR: &[Row] = &[
    get("nodes", "/v1/catalog/nodes?node-meta=t:1&near=d")
        .gives(200, Like(r#"[{"Node":"d"},{"Node":"c"},{"Node":"b"},{"Node":"a"}]"#)),
    get("nodes from elsewhere", "/v1/catalog/nodes?node-meta=t:1&near=B")
        .gives(200, Like(r#"[{"Node":"b"},{"Node":"c"},{"Node":"d"},{"Node":"a"}]"#)),
    get("nodes from nowhere", "/v1/catalog/nodes?node-meta=t:1&near=a")
        .gives(200, Like(r#"[{"Node":"a"},{"Node":"b"},{"Node":"c"},{"Node":"d"}]"#)),
    get("nodes from this agent", "/v1/catalog/nodes?node-meta=t:1&near=_agent").gives(200, Any),
    get("instances", "/v1/catalog/service/web?near=d")
        .gives(200, Like(r#"[{"Node":"d"},{"Node":"c"},{"Node":"b"},{"Node":"a"}]"#)),
    get("instances with checks", "/v1/health/service/web?near=d").gives(200, Like(
        r#"[{"Node":{"Node":"d"}},{"Node":{"Node":"c"}},{"Node":{"Node":"b"}},{"Node":{"Node":"a"}}]"#,
    )),
    get("checks of a service", "/v1/health/checks/web?near=d")
        .gives(200, Like(r#"[{"Node":"d"},{"Node":"c"},{"Node":"b"},{"Node":"a"}]"#)),
    get("checks in a state", "/v1/health/state/passing?near=d&node-meta=t:1")
        .gives(200, Like(r#"[{"Node":"d"},{"Node":"c"},{"Node":"b"},{"Node":"a"}]"#)),
    post("a query", "/v1/query", r#"{"Name":"q","Service":{"Service":"web","Near":"d"}}"#)
        .gives(200, Json(r#"{"ID":"*"}"#)),
    get("by the query's own wish", "/v1/query/q/execute").gives(200, Like(
        r#"{"Nodes":[{"Node":{"Node":"d"}},{"Node":{"Node":"c"}},{"Node":{"Node":"b"}},{"Node":{"Node":"a"}}]}"#,
    )),
    get("the caller's wish goes before", "/v1/query/q/execute?near=b&limit=3").gives(200, Like(
        r#"{"Nodes":[{"Node":{"Node":"b"}},{"Node":{"Node":"c"}},{"Node":{"Node":"d"}}]}"#,
    )),
    get("by the caller's address", "/v1/query/q/execute?near=_ip&limit=2")
        .sending(&[("x-forwarded-for", "10.0.0.2")])
        .gives(200, Like(r#"{"Nodes":[{"Node":{"Node":"b"}},{"Node":{"Node":"c"}}]}"#)),
    put("one goes", "/v1/catalog/deregister", r#"{"Node":"b"}"#).gives(200, Json("true")),
    get("with its coordinates", "/v1/coordinate/node/b").gives(404, Empty),
];

async fn stored(http: &Http) {
    let look = || async {
        let reply = http.get("/v1/coordinate/node/b?segment=alpha").await;
        (reply.status == 200).then_some(())
    };
    until("coordinates are stored", STORED, look).await;
}

#[tokio::test]
async fn coordinates_are_kept_and_sorted_by() {
    let _turn = beside_others().await;
    let agent = Agent::dev().await;
    check_on(&agent, NODES).await;
    check_on(&agent, UPDATES).await;
    stored(&agent.http()).await;
    check_on(&agent, READS).await;
    check_on(&agent, NEAR).await;
}

/// Whoever waits for coordinates is told of a new one.
#[tokio::test]
async fn the_list_blocks() {
    let _turn = beside_others().await;
    let agent = Agent::dev().await;
    check_on(&agent, NODES).await;
    let http = agent.http();
    let before = http.get("/v1/coordinate/nodes?segment=alpha").await;
    let index = before.header("x-consul-index").expect("an index").to_owned();
    let body = r#"{"Node":"a","Segment":"alpha","Coord":{"Vec":[0,0,0,0,0,0,0,0]}}"#;
    let path = format!("/v1/coordinate/nodes?segment=alpha&index={index}&wait=30s");
    let (told, put) = tokio::join!(http.get(&path), http.put("/v1/coordinate/update", body));
    assert_eq!(put.status, 200);
    assert_ne!(told.header("x-consul-index"), Some(index.as_str()), "it was woken");
}
