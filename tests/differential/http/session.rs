//! `/v1/session/`: what a session is made of, its life and its end.

use super::ask::{Ask, Payload, get, other, post, put};
use super::intended::{ACL_POLICY, JSON_WORDS, WHOLE_MILLIS, WRITE_INDEX, WRONG_KIND};
use super::run::compare_also_at_agents;

const MAKING: &[Ask] = &[
    get("/v1/session/list"),
    get("/v1/session/node/n1"),
    get("/v1/session/node/"),
    get("/v1/session/info/"),
    put("/v1/session/create", "").keeps("a", "/ID"),
    get("/v1/session/info/{a}"),
    put("/v1/session/create", "{}").keeps("b", "/ID"),
    put("/v1/session/create", "null"),
    put("/v1/session/create", "[]"),
    put("/v1/session/create", r#""x""#),
    put("/v1/session/create", "nope"),
    put("/v1/session/create", r#"{"Name":"#),
    put("/v1/session/create", r#"{"Name":7}"#),
    put("/v1/session/create", r#"{"Bogus":1}"#),
    put(
        "/v1/session/create",
        r#"{"name":"small","lockdelay":"3s","behavior":"delete","ttl":"10s"}"#,
    )
    .keeps("c", "/ID"),
    get("/v1/session/info/{c}"),
    put(
        "/v1/session/create",
        r#"{"Name":"all","Node":"n1","LockDelay":"5s","Behavior":"release",
        "TTL":"1h","Checks":["serfHealth"]}"#,
    )
    .keeps("d", "/ID"),
    get("/v1/session/info/{d}"),
    put("/v1/session/create", r#"{"NodeChecks":[]}"#).keeps("e", "/ID"),
    get("/v1/session/info/{e}"),
    put("/v1/session/create", r#"{"Checks":[]}"#).keeps("f", "/ID"),
    get("/v1/session/info/{f}"),
    put("/v1/session/create", r#"{"ServiceChecks":[{"ID":"nope"}]}"#),
    put("/v1/session/create", r#"{"NodeChecks":["serfHealth","serfHealth"]}"#).keeps("g", "/ID"),
    get("/v1/session/info/{g}"),
    put("/v1/session/create?dc=nowhere", ""),
    put("/v1/session/create?dc=dc1", "").keeps("h", "/ID"),
];

const DELAYS: &[Ask] = &[
    put("/v1/session/create", r#"{"LockDelay":3}"#).keeps("l", "/ID"),
    get("/v1/session/info/{l}"),
    put("/v1/session/create", r#"{"LockDelay":999}"#).keeps("l", "/ID"),
    get("/v1/session/info/{l}"),
    put("/v1/session/create", r#"{"LockDelay":1000}"#).keeps("l", "/ID"),
    get("/v1/session/info/{l}").differs(&[&WHOLE_MILLIS]),
    put("/v1/session/destroy/{l}", ""),
    put("/v1/session/create", r#"{"LockDelay":5000000000}"#).keeps("l", "/ID"),
    get("/v1/session/info/{l}"),
    put("/v1/session/create", r#"{"LockDelay":"61s"}"#).keeps("l", "/ID"),
    get("/v1/session/info/{l}"),
    put("/v1/session/create", r#"{"LockDelay":"0"}"#).keeps("l", "/ID"),
    get("/v1/session/info/{l}"),
    put("/v1/session/create", r#"{"LockDelay":"abc"}"#),
    put("/v1/session/create", r#"{"LockDelay":null}"#).keeps("l", "/ID"),
    get("/v1/session/info/{l}"),
];

const BOUNDS: &[Ask] = &[
    put("/v1/session/create", r#"{"TTL":"0s"}"#).keeps("t", "/ID"),
    get("/v1/session/info/{t}"),
    put("/v1/session/create", r#"{"TTL":""}"#),
    put("/v1/session/create", r#"{"TTL":"9s"}"#),
    put("/v1/session/create", r#"{"TTL":"9999ms"}"#),
    put("/v1/session/create", r#"{"TTL":"24h"}"#),
    put("/v1/session/create", r#"{"TTL":"24h1s"}"#),
    put("/v1/session/create", r#"{"TTL":"-10s"}"#),
    put("/v1/session/create", r#"{"TTL":"abc"}"#),
    put("/v1/session/create", r#"{"TTL":"10"}"#),
    put("/v1/session/create", r#"{"TTL":10}"#),
    put("/v1/session/create", r#"{"Behavior":"foo"}"#),
    put("/v1/session/create", r#"{"Behavior":"Delete"}"#),
    put("/v1/session/create", r#"{"Node":"nowhere"}"#),
    put("/v1/session/create", r#"{"Checks":["x"]}"#),
    put("/v1/session/create", r#"{"NodeChecks":["x"]}"#),
    put("/v1/session/create", r#"{"Checks":"x"}"#),
];

const LIFE: &[Ask] = &[
    put("/v1/session/renew/{c}", ""),
    put("/v1/session/renew/{a}", ""),
    put("/v1/session/renew/", ""),
    put("/v1/session/renew/nope", ""),
    put("/v1/session/renew/11111111-1111-1111-1111-111111111111", ""),
    put("/v1/session/renew/{c}?dc=nowhere", ""),
    get("/v1/session/info/nope"),
    get("/v1/session/info/11111111-1111-1111-1111-111111111111"),
    get("/v1/session/info/{c}?dc=nowhere"),
    get("/v1/session/info/{c}?stale"),
    get("/v1/session/info/{c}?consistent"),
    get("/v1/session/info/{c}?pretty"),
    get("/v1/session/node/nowhere"),
    get("/v1/session/node/n1").unordered(),
    get("/v1/session/node/N1").unordered(),
    get("/v1/session/list").unordered(),
    get("/v1/session/list").unordered().keeps_index("i"),
    get("/v1/session/list?index={i}&wait=20ms").unordered(),
    get("/v1/session/info/{c}?index={i}&wait=20ms"),
    get("/v1/session/node/n1?index={i}&wait=20ms").unordered(),
    get("/v1/session/list?index=abc"),
    get("/v1/session/list?wait=abc"),
    put("/v1/kv/gone?acquire={c}", "x"),
    put("/v1/kv/kept?acquire={d}", "x"),
    put("/v1/session/destroy/{c}", ""),
    put("/v1/session/destroy/{c}", ""),
    put("/v1/session/destroy/{d}", ""),
    get("/v1/session/info/{c}"),
    get("/v1/kv/gone"),
    get("/v1/kv/kept"),
    put("/v1/kv/kept?acquire={a}", "delayed"),
    put("/v1/session/destroy/", ""),
    put("/v1/session/destroy/nope", ""),
    put("/v1/session/destroy/11111111-1111-1111-1111-111111111111", ""),
    put("/v1/session/destroy/{a}?dc=nowhere", ""),
    get("/v1/session/create"),
    get("/v1/session/destroy/{a}"),
    post("/v1/session/list", ""),
    other("DELETE", "/v1/session/destroy/{a}", Payload::Text("")),
];

/// A session on a check: it ends when the check turns critical, and cannot begin then.
const CHECKS: &[Ask] = &[
    put(
        "/v1/catalog/register",
        r#"{"Node":"far","Address":"10.0.0.9","Checks":[
        {"CheckID":"up","Name":"up","Status":"passing"},
        {"CheckID":"down","Name":"down","Status":"critical"}]}"#,
    ),
    put("/v1/session/create", r#"{"Node":"far"}"#),
    put("/v1/session/create", r#"{"Node":"far","NodeChecks":["down"]}"#),
    put("/v1/session/create", r#"{"Node":"far","Checks":["up","down"]}"#),
    put("/v1/session/create", r#"{"Node":"far","NodeChecks":["up"],"TTL":"30s"}"#)
        .keeps("u", "/ID"),
    get("/v1/session/info/{u}"),
    get("/v1/session/node/far"),
    put("/v1/kv/far?acquire={u}", "x"),
    put(
        "/v1/catalog/register",
        r#"{"Node":"far","Address":"10.0.0.9","Check":
        {"CheckID":"up","Name":"up","Status":"warning"}}"#,
    ),
    get("/v1/session/info/{u}"),
    put(
        "/v1/catalog/register",
        r#"{"Node":"far","Address":"10.0.0.9","Check":
        {"CheckID":"up","Name":"up","Status":"critical"}}"#,
    ),
    get("/v1/session/info/{u}"),
    get("/v1/kv/far"),
    put("/v1/session/create", r#"{"Node":"far","NodeChecks":[]}"#).keeps("v", "/ID"),
    put("/v1/catalog/deregister", r#"{"Node":"far"}"#),
    get("/v1/session/info/{v}"),
    put("/v1/session/create", r#"{"LockDelay":true}"#).differs(&[&WRONG_KIND]),
];

#[tokio::test]
async fn session() {
    let rows = [MAKING, DELAYS, BOUNDS, LIFE, CHECKS].concat();
    compare_also_at_agents("session", &rows, &[&ACL_POLICY, &WRITE_INDEX, &JSON_WORDS]).await;
}
