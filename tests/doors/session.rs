//! `/v1/session`: create, look at, renew, destroy, and what an end does to keys.

use std::time::Duration;

use crate::harness::{Agent, beside_others, until};

use super::table::Want::{Is, Json, Like, Starts};
use super::table::{Row, check, get, put};

const NOBODY: &str = "11111111-1111-1111-1111-111111111111";

const ROWS: &[Row] = &[
    get("none yet", "/v1/session/list").gives(200, Json("[]")).with(&[("x-consul-index", "*")]),
    put("with nothing said", "/v1/session/create", "")
        .gives(200, Json(r#"{"ID":"*"}"#))
        .keeps(&[("a", "/ID")]),
    get("what is filled in", "/v1/session/info/{a}").gives(200, Json(
        r##"[{"ID":"{a}","Name":"","Node":"n1","LockDelay":15000000000,"Behavior":"release","TTL":"",
        "NodeChecks":["serfHealth"],"ServiceChecks":null,"CreateIndex":"#","ModifyIndex":"#"}]"##,
    )),
    put("with everything said", "/v1/session/create",
        r#"{"Name":"b","Node":"n1","LockDelay":"5s","Behavior":"delete","TTL":"30s","NodeChecks":[]}"#)
        .gives(200, Json(r#"{"ID":"*"}"#))
        .keeps(&[("b", "/ID")]),
    get("what was said is kept", "/v1/session/info/{b}").gives(200, Like(
        r#"[{"ID":"{b}","Name":"b","Node":"n1","LockDelay":5000000000,"Behavior":"delete","TTL":"30s"}]"#,
    )),
    put("small letters, and a delay in seconds", "/v1/session/create", r#"{"name":"c","lockdelay":3}"#)
        .gives(200, Json(r#"{"ID":"*"}"#))
        .keeps(&[("c", "/ID")]),
    get("a small number is seconds", "/v1/session/info/{c}")
        .gives(200, Like(r#"[{"Name":"c","LockDelay":3000000000}]"#)),
    put("unknown fields are passed over", "/v1/session/create", r#"{"Bogus":1}"#)
        .gives(200, Json(r#"{"ID":"*"}"#)),
    put("a TTL of nothing is none", "/v1/session/create", r#"{"TTL":"0s"}"#)
        .gives(200, Json(r#"{"ID":"*"}"#)),
    put("a TTL below the bound", "/v1/session/create", r#"{"TTL":"9s"}"#)
        .gives(500, Is("Invalid Session TTL '9000000000', must be between [10s=24h0m0s]")),
    put("a TTL above the bound", "/v1/session/create", r#"{"TTL":"86401s"}"#)
        .gives(500, Is("Invalid Session TTL '86401000000000', must be between [10s=24h0m0s]")),
    put("a TTL that is no duration", "/v1/session/create", r#"{"TTL":"abc"}"#)
        .gives(500, Starts("Session TTL 'abc' invalid: time: invalid duration")),
    put("an unknown behaviour", "/v1/session/create", r#"{"Behavior":"foo"}"#)
        .gives(500, Is("Invalid Behavior setting 'foo'")),
    put("an unknown node", "/v1/session/create", r#"{"Node":"nowhere"}"#)
        .gives(500, Is("Missing node registration")),
    put("an unknown check", "/v1/session/create", r#"{"Checks":["x"]}"#)
        .gives(500, Is("Missing check 'x' registration")),
    put("not JSON", "/v1/session/create", "nope").gives(400, Starts("Request decode failed: ")),
    get("all of a node", "/v1/session/node/n1").gives(200, Like(r"[{},{},{},{},{}]")),
    get("all of a node that has none", "/v1/session/node/n9").gives(200, Json("[]")),
    put("renew", "/v1/session/renew/{b}", "").gives(200, Like(r#"[{"ID":"{b}","TTL":"30s"}]"#)),
    put("renew one that never was", "/v1/session/renew/11111111-1111-1111-1111-111111111111", "")
        .gives(404, Is("Session id '11111111-1111-1111-1111-111111111111' not found")),
    get("look at one that never was", "/v1/session/info/11111111-1111-1111-1111-111111111111")
        .gives(200, Json("[]")),
    put("destroy one that never was", "/v1/session/destroy/11111111-1111-1111-1111-111111111111", "")
        .gives(200, Json("true")),
    put("destroy what is no UUID", "/v1/session/destroy/nope", "")
        .gives(500, Is("failed session lookup: index error: UUID must be 36 characters")),
    put("destroy nothing", "/v1/session/destroy/", "").gives(400, Starts("Missing session")),
    put("a key of the session that deletes", "/v1/kv/gone?acquire={b}", "x").gives(200, Json("true")),
    put("a key of the session that releases", "/v1/kv/kept?acquire={a}", "x").gives(200, Json("true")),
    put("destroy", "/v1/session/destroy/{b}", "").gives(200, Json("true")),
    put("destroy the other", "/v1/session/destroy/{a}", "").gives(200, Json("true")),
    get("its key went with it", "/v1/kv/gone").gives(404, super::table::Want::Empty),
    get("its key stayed, and is free", "/v1/kv/kept?raw").gives(200, Is("x")),
    get("it is gone", "/v1/session/info/{b}").gives(200, Json("[]")),
    put("one more", "/v1/session/create", "").gives(200, Json(r#"{"ID":"*"}"#)).keeps(&[("d", "/ID")]),
    put("an ended session leaves a delay", "/v1/kv/kept?acquire={d}", "y").gives(200, Json("false")),
];

#[tokio::test]
async fn sessions() {
    assert_eq!(NOBODY.len(), 36);
    check(ROWS).await;
}

/// A check that turns critical ends the sessions that stand on it; a warning does not.
#[tokio::test]
async fn a_critical_check_ends_its_sessions() {
    let _turn = beside_others().await;
    let agent = Agent::dev().await;
    let http = agent.http();
    let check = r#"{"ID":"alive","Name":"alive","TTL":"60s","Status":"passing"}"#;
    http.done("/v1/agent/check/register", check).await;
    let create = || async {
        let reply = http.try_put("/v1/session/create", r#"{"NodeChecks":["alive"]}"#).await.ok()?;
        (reply.status == 200).then(|| reply.json()["ID"].as_str().expect("an id").to_owned())
    };
    let (session, _) =
        until("the check is in the catalogue", Duration::from_secs(10), create).await;
    assert_eq!(http.done(&format!("/v1/kv/held?acquire={session}"), "x").await, true);
    http.done("/v1/agent/check/warn/alive", "").await;
    let warned = || async {
        let reply = http.get("/v1/health/node/n1").await.json();
        let checks = reply.as_array().cloned().unwrap_or_default();
        checks.iter().any(|check| check["Status"] == "warning").then_some(())
    };
    until("the warning is in the catalogue", Duration::from_secs(10), warned).await;
    let held = http.get("/v1/kv/held").await.json();
    assert_eq!(held[0]["Session"], session.as_str());
    http.done("/v1/agent/check/fail/alive", "").await;
    let freed = || async {
        let reply = http.get("/v1/kv/held").await.json();
        reply[0].get("Session").is_none().then_some(())
    };
    until("the key is free", Duration::from_secs(10), freed).await;
    let gone = http.get(&format!("/v1/session/info/{session}")).await;
    assert_eq!(gone.text(), "[]");
    let refused = http.put("/v1/session/create", r#"{"NodeChecks":["alive"]}"#).await;
    assert_eq!(
        (refused.status, refused.text().as_str()),
        (500, "Check 'alive' is in critical state")
    );
}
