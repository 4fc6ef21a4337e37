//! What a Docker Engine relies on in its store: the calls of `--cluster-store=consul://…`, in
//! the order and the form in which an engine makes them.

use std::time::Duration;

use crate::harness::{Agent, beside_others, is_consul};

use super::table::Want::{Any, Empty, Is, Json, Like};
use super::table::{Row, check, delete, get, put};

const ROWS: &[Row] = &[
    get("discovery: is the folder there", "/v1/kv/docker/nodes?consistent=")
        .gives(404, Empty)
        .with(&[("x-consul-index", "*")]),
    put("make the folder", "/v1/kv/docker/nodes?flags=3304740253564472344", "").gives(200, Json("true")),
    get("flags beyond what a float can hold", "/v1/kv/docker/nodes?consistent=")
        .gives(200, Like(r#"[{"Key":"docker/nodes","Flags":3304740253564472344,"Value":null}]"#)),
    get("a wait in milliseconds without an index answers at once", "/v1/kv/docker/nodes?recurse=&wait=15000ms")
        .gives(200, Like(r#"[{"Key":"docker/nodes"}]"#)),
    put("the heartbeat's session", "/v1/session/create",
        r#"{"Behavior":"delete","LockDelay":"1ms","TTL":"30s"}"#)
        .gives(200, Json(r#"{"ID":"*"}"#))
        .keeps(&[("s", "/ID")]),
    get("a delay in milliseconds", "/v1/session/info/{s}")
        .gives(200, Like(r#"[{"LockDelay":1000000,"TTL":"30s","Behavior":"delete"}]"#)),
    put("bind the node's key to it", "/v1/kv/docker/nodes/10.99.0.1:2376?acquire={s}&flags=3304740253564472344", "")
        .gives(200, Json("true")),
    put("renew", "/v1/session/renew/{s}", "").gives(200, Like(r#"[{"ID":"{s}"}]"#)),
    put("the heartbeat writes without acquiring", "/v1/kv/docker/nodes/10.99.0.1:2376?flags=3304740253564472344",
        "10.99.0.1:2376")
        .gives(200, Json("true")),
    get("the session stays on the key", "/v1/kv/docker/nodes/10.99.0.1:2376")
        .gives(200, Like(r#"[{"Session":"{s}","Value":"MTAuOTkuMC4xOjIzNzY="}]"#))
        .keeps(&[("m", "/0/ModifyIndex")]),
    put("the next heartbeat changes nothing", "/v1/kv/docker/nodes/10.99.0.1:2376?flags=3304740253564472344",
        "10.99.0.1:2376")
        .gives(200, Json("true")),
    get("so it moves no index", "/v1/kv/docker/nodes/10.99.0.1:2376")
        .gives(200, Like(r#"[{"ModifyIndex":{m},"Session":"{s}"}]"#)),
    get("a prefix is text", "/v1/kv/docker/nodes?recurse=")
        .gives(200, Like(r#"[{"Key":"docker/nodes"},{"Key":"docker/nodes/10.99.0.1:2376"}]"#)),
    get("no network yet", "/v1/kv/docker/network/v1.0/network/?consistent=").gives(404, Empty),
    put("a folder is a key with a slash", "/v1/kv/docker/network/v1.0/network/?flags=3304740253564472344", "")
        .gives(200, Json("true")),
    get("… and comes back as one", "/v1/kv/docker/network/v1.0/network/?recurse=")
        .gives(200, Like(r#"[{"Key":"docker/network/v1.0/network/","Value":null}]"#)),
    put("an address pool's key holds a slash of its own",
        "/v1/kv/docker/network/v1.0/ipam/default/data/GlobalDefault/10.201.0.0/24/?cas=0&flags=3304740253564472344",
        "bitmap")
        .gives(200, Json("true")),
    put("two engines at once: one loses",
        "/v1/kv/docker/network/v1.0/ipam/default/data/GlobalDefault/10.201.0.0/24/?cas=0&flags=3304740253564472344",
        "other")
        .gives(200, Json("false")),
    get("the loser reads again",
        "/v1/kv/docker/network/v1.0/ipam/default/data/GlobalDefault/10.201.0.0/24/?consistent=")
        .gives(200, Like(r#"[{"Value":"Yml0bWFw"}]"#))
        .keeps(&[("b", "/0/ModifyIndex")]),
    put("… and tries with what it read",
        "/v1/kv/docker/network/v1.0/ipam/default/data/GlobalDefault/10.201.0.0/24/?cas={b}&flags=3304740253564472344",
        "bitmap2")
        .gives(200, Json("true")),
    delete("a stale delete",
        "/v1/kv/docker/network/v1.0/ipam/default/data/GlobalDefault/10.201.0.0/24/?cas={b}")
        .gives(200, Json("false")),
    put("the count of endpoints", "/v1/kv/docker/network/v1.0/endpoint_count/nid/?cas=0&flags=3304740253564472344", "0")
        .gives(200, Json("true")),
    get("its watch begins without an index", "/v1/kv/docker/network/v1.0/endpoint_count/nid/?wait=15000ms")
        .gives(200, Like(r#"[{"Value":"MA=="}]"#)),
    put("the engine stops without a word; its session is ended", "/v1/session/destroy/{s}", "")
        .gives(200, Json("true")),
    get("its key went with the session", "/v1/kv/docker/nodes/10.99.0.1:2376").gives(404, Empty),
    put("renew what is gone", "/v1/session/renew/{s}", "").gives(404, Is("Session id '{s}' not found")),
    put("so it makes a new one", "/v1/session/create",
        r#"{"Behavior":"delete","LockDelay":"1ms","TTL":"30s"}"#)
        .gives(200, Json(r#"{"ID":"*"}"#))
        .keeps(&[("s", "/ID")]),
    put("… and binds the key again: the delay was a millisecond",
        "/v1/kv/docker/nodes/10.99.0.1:2376?acquire={s}&flags=3304740253564472344", "")
        .gives(200, Json("true")),
    get("an engine asks for gzip", "/v1/kv/docker/?recurse=")
        .sending(&[("accept-encoding", "gzip")])
        .gives(200, Any)
        .with(&[("vary", "Accept-Encoding")]),
];

#[tokio::test]
async fn the_calls_of_an_engine() {
    check(ROWS).await;
}

/// The discovery watch: a heartbeat that changes nothing must not wake it, a new node must.
#[tokio::test]
async fn heartbeats_wake_nobody() {
    let _turn = beside_others().await;
    let agent = Agent::dev().await;
    let http = agent.http();
    http.done("/v1/kv/docker/nodes/a", "a").await;
    let index = http.get("/v1/kv/docker/nodes?recurse=").await.index();
    let path = format!("/v1/kv/docker/nodes?recurse=&index={index}&wait=2000ms");
    let (timed_out, _) = tokio::join!(http.get(&path), http.done("/v1/kv/docker/nodes/a", "a"));
    assert!(timed_out.took >= Duration::from_secs(2), "woken after {:?}", timed_out.took);
    assert!(timed_out.took <= Duration::from_millis(2600), "{:?}", timed_out.took);
    assert_eq!(timed_out.index(), index);
    let (woken, _) = tokio::join!(http.get(&path), http.done("/v1/kv/docker/nodes/b", "b"));
    assert!(woken.took < Duration::from_secs(2), "{:?}", woken.took);
    assert!(woken.index() > index);
}

/// A session that nobody renews ends between its TTL and twice that, and takes its key along.
#[tokio::test]
async fn a_dead_engine_disappears() {
    let _turn = beside_others().await;
    let agent = Agent::dev().await;
    let http = agent.http();
    let session = r#"{"Behavior":"delete","LockDelay":"1ms","TTL":"10s"}"#;
    let id = http.done("/v1/session/create", session).await["ID"].as_str().map(str::to_owned);
    let id = id.expect("an id");
    http.done(&format!("/v1/kv/docker/nodes/a?acquire={id}"), "").await;
    let index = http.get("/v1/kv/docker/nodes?recurse=").await.index();
    let path = format!("/v1/kv/docker/nodes?recurse=&index={index}&wait=30s");
    let woken = http.get(&path).await;
    assert!(woken.took >= Duration::from_millis(9900), "after {:?}", woken.took);
    let latest = Duration::from_secs(if is_consul() { 22 } else { 21 });
    assert!(woken.took <= latest, "after {:?}", woken.took);
    assert_eq!(woken.status, 404);
    assert_eq!(http.put(&format!("/v1/session/renew/{id}"), "").await.status, 404);
}
