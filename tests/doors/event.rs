//! `/v1/event`: fired here, listed here and elsewhere, filtered by who takes them.

use std::time::Duration;

use serde_json::Value;

use crate::harness::{Agent, Cluster, Http, beside_others, until};

use super::table::Want::{Any, Empty, Is, Json, Starts};
use super::table::{Row, check, get, other, put};

/// How long an event may take to everyone.
const SPREAD_LIMIT: Duration = Duration::from_secs(15);

#[rustfmt::skip]
static ROWS: &[Row] = &[
    get("none yet", "/v1/event/list").gives(200, Json("[]")).with(&[
        ("x-consul-index", "1"), ("x-consul-knownleader", "-"), ("content-type", "application/json"),
    ]),
    put("no name", "/v1/event/fire/", "").gives(400, Is("Missing name")),
    put("no slash", "/v1/event/fire", "").gives(301, Empty).with(&[("location", "/v1/event/fire/")]),
    put("with a payload", "/v1/event/fire/deploy", "hello").gives(200, Json(
        r#"{"ID":"*","Name":"deploy","Payload":"aGVsbG8=","NodeFilter":"","ServiceFilter":"","TagFilter":"",
        "Version":1,"LTime":0}"#,
    )).with(&[("x-consul-index", "-")]),
    put("without", "/v1/event/fire/deploy", "").gives(200, Json(
        r#"{"ID":"*","Name":"deploy","Payload":null,"NodeFilter":"","ServiceFilter":"","TagFilter":"",
        "Version":1,"LTime":0}"#,
    )),
    put("with filters", "/v1/event/fire/deploy?node=n.*&service=web&tag=a|b", "").gives(200, Json(
        r#"{"ID":"*","Name":"deploy","Payload":null,"NodeFilter":"n.*","ServiceFilter":"web","TagFilter":"a|b",
        "Version":1,"LTime":0}"#,
    )),
    put("a name with a slash", "/v1/event/fire/a/b", "").gives(200, Any),
    put("a node that is no pattern", "/v1/event/fire/x?node=(", "")
        .gives(500, Starts("Invalid node filter: error parsing regexp: ")),
    put("a service that is no pattern", "/v1/event/fire/x?service=(", "")
        .gives(500, Starts("Invalid service filter: error parsing regexp: ")),
    put("a tag that is no pattern", "/v1/event/fire/x?service=a&tag=(", "")
        .gives(500, Starts("Invalid tag filter: error parsing regexp: ")),
    put("a tag without a service", "/v1/event/fire/x?tag=a", "")
        .gives(500, Is("Cannot provide tag filter without service filter")),
    put("another data center", "/v1/event/fire/x?dc=dc9", "").gives(500, Is("No path to datacenter")),
    put("our own data center", "/v1/event/fire/x?dc=dc1", "").gives(200, Any),
    other("fire takes no GET", "GET", "/v1/event/fire/x").gives(405, Is("method GET not allowed"))
        .with(&[("allow", "OPTIONS,PUT")]),
    other("list takes no PUT", "PUT", "/v1/event/list").gives(405, Is("method PUT not allowed"))
        .with(&[("allow", "OPTIONS,GET")]),
    get("nothing below the list", "/v1/event/list/x").gives(404, Any),
    get("a name that nobody fired", "/v1/event/list?name=none").gives(200, Json("[]"))
        .with(&[("x-consul-index", "1")]),
    get("… is waited for", "/v1/event/list?name=none&index=1&wait=100ms").gives(200, Json("[]")),
    get("an index that is none", "/v1/event/list?index=abc").gives(400, Is("Invalid index")),
    get("a wait that is none", "/v1/event/list?index=5&wait=zz").gives(400, Is("Invalid wait time")),
    get("another data center has no other list", "/v1/event/list?dc=dc9").gives(200, Any),
];

#[tokio::test]
async fn events() {
    check(ROWS).await;
}

/// The events of a name that an agent lists, once there are `count`; with the index.
async fn listed(http: &Http, name: &str, count: usize) -> (Vec<Value>, String) {
    let path = format!("/v1/event/list?name={name}");
    let look = || async {
        let reply = http.get(&path).await;
        let events = reply.json().as_array().cloned().unwrap_or_default();
        let index = reply.header("x-consul-index").unwrap_or_default().to_owned();
        (events.len() == count).then_some((events, index))
    };
    until(&format!("{count} events {name}"), SPREAD_LIMIT, look).await.0
}

#[tokio::test]
async fn filters_are_judged_where_the_event_arrives() {
    let _turn = beside_others().await;
    let agent = Agent::dev().await;
    let http = agent.http();
    http.done("/v1/agent/service/register", r#"{"Name":"web","Tags":["blue"]}"#).await;
    for query in [
        "node=n2",
        "node=^n1$",
        "service=web",
        "service=w",
        "service=db",
        "service=web&tag=blue",
        "service=web&tag=red",
        "node=n2&service=web",
    ] {
        http.done(&format!("/v1/event/fire/judged?{query}"), query).await;
    }
    let (events, _) = listed(&http, "judged", 4).await;
    let filters = |event: &Value| {
        let field = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        [field("NodeFilter"), field("ServiceFilter"), field("TagFilter")].join(" ")
    };
    let taken: Vec<String> = events.iter().map(filters).collect();
    assert_eq!(taken, ["^n1$  ", " web ", " w ", " web blue"]);
    let times: Vec<u64> = events.iter().filter_map(|event| event["LTime"].as_u64()).collect();
    assert!(times.is_sorted() && times[0] > 0, "{times:?}");
}

#[tokio::test]
async fn the_index_is_of_the_newest_and_another_one_ends_the_wait() {
    let _turn = beside_others().await;
    let agent = Agent::dev().await;
    let http = agent.http();
    let fired = http.done("/v1/event/fire/first", "").await;
    let (events, index) = listed(&http, "first", 1).await;
    assert_eq!(events[0]["ID"], fired["ID"]);
    let plain = fired["ID"].as_str().expect("an id").replace('-', "");
    let id = u128::from_str_radix(&plain, 16).expect("hexadecimal");
    assert_eq!(index, ((id >> 64) ^ (id & u128::from(u64::MAX))).to_string());

    let path = format!("/v1/event/list?index={index}&wait=30s");
    let fire = http.done("/v1/event/fire/second", "");
    let (reply, _) = tokio::join!(http.get(&path), fire);
    assert!(reply.took < Duration::from_secs(20), "woken, not timed out: {:?}", reply.took);
    assert_eq!(reply.json()[1]["Name"], "second");
    let other = http.get(&format!("/v1/event/list?index={index}&wait=30s")).await;
    assert!(other.took < Duration::from_secs(20), "another index answers at once");
}

#[tokio::test]
async fn what_is_too_long_is_refused_and_the_last_256_are_kept() {
    let _turn = beside_others().await;
    let agent = Agent::dev().await;
    let http = agent.http();
    let fits = "x".repeat(400);
    assert_eq!(http.put("/v1/event/fire/e", &fits).await.status, 200);
    for (bytes, told) in [
        (430, "encoded user event exceeds configured limit of 512 bytes after encoding"),
        (600, ": user event exceeds configured limit of 512 bytes before encoding"),
    ] {
        let refused = http.put("/v1/event/fire/e", &"x".repeat(bytes)).await;
        assert_eq!(refused.status, 500);
        assert!(refused.text().contains(told), "{bytes}: {}", refused.text());
    }
    for nth in 0..256 {
        http.done("/v1/event/fire/many", &nth.to_string()).await;
    }
    let (events, _) = listed(&http, "many", 256).await;
    assert_eq!((&events[0]["Payload"], &events[255]["Payload"]), (&"MA==".into(), &"MjU1".into()));
    assert!(http.get("/v1/event/list?name=e").await.json().as_array().is_some_and(Vec::is_empty));
}

/// What one server is told, all of them list, once and in the same order.
#[tokio::test]
async fn an_event_comes_to_every_server_once() {
    let _turn = beside_others().await;
    let cluster = Cluster::start().await;
    let https = cluster.https();
    for (nth, http) in https.iter().enumerate() {
        http.done("/v1/event/fire/spread", &nth.to_string()).await;
        for http in &https {
            listed(http, "spread", nth + 1).await;
        }
    }
    https[0].done("/v1/event/fire/one-node?node=c2", "").await;
    listed(&https[1], "one-node", 1).await;
    https[0].done("/v1/event/fire/spread", "last").await;
    let mut lists = Vec::new();
    for http in &https {
        lists.push(listed(http, "spread", 4).await);
    }
    assert!(lists[0] == lists[1] && lists[1] == lists[2], "{lists:?}");
    for nth in [0, 2] {
        let there = https[nth].get("/v1/event/list?name=one-node").await.json();
        assert_eq!(there, serde_json::json!([]), "server {nth} takes no event of another's");
    }
}
