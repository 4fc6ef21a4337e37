//! `/v1/txn`: all or nothing over several keys.

use crate::harness::{Agent, beside_others, is_consul};

use super::table::Want::{Is, Json, Like, Starts};
use super::table::{Row, check, get, other, put};

const ROWS: &[Row] = &[
    put("an empty list", "/v1/txn", "[]").gives(200, Like(r#"{"Results":[],"Errors":null}"#)),
    put("two writes", "/v1/txn", r#"[{"KV":{"Verb":"set","Key":"a","Value":"MQ==","Flags":7}},
        {"KV":{"Verb":"set","Key":"b","Value":"Mg=="}}]"#)
        .gives(200, Json(
            r##"{"Results":[
            {"KV":{"LockIndex":0,"Key":"a","Flags":7,"Value":null,"CreateIndex":"#","ModifyIndex":"#"}},
            {"KV":{"LockIndex":0,"Key":"b","Flags":0,"Value":null,"CreateIndex":"#","ModifyIndex":"#"}}],
            "Errors":null,"Index?":"*","LastContact?":"*","KnownLeader?":"*"}"##,
        ))
        .keeps(&[("a", "/Results/0/KV/ModifyIndex"), ("b", "/Results/1/KV/ModifyIndex")]),
    put("reads give values", "/v1/txn", r#"[{"KV":{"Verb":"get","Key":"a"}}]"#)
        .gives(200, Like(
            r#"{"Results":[{"KV":{"Key":"a","Value":"MQ==","Flags":7}}],"Errors":null,
            "KnownLeader":true,"LastContact":0}"#,
        ))
        .with(&[("x-consul-knownleader", "true")]),
    put("a tree", "/v1/txn", r#"[{"KV":{"Verb":"get-tree","Key":"a"}}]"#)
        .gives(200, Like(r#"{"Results":[{"KV":{"Key":"a"}}]}"#)),
    put("the tree of everything has no name", "/v1/txn", r#"[{"KV":{"Verb":"get-tree","Key":""}}]"#)
        .gives(409, Like(r#"{"Errors":[{"OpIndex":0,"What":"Must provide key"}]}"#)),
    put("a missing key undoes a read", "/v1/txn", r#"[{"KV":{"Verb":"get","Key":"nope"}}]"#)
        .gives(409, Json(
            r#"{"Results":null,"Errors":[{"OpIndex":0,"What":"key \"nope\" doesn't exist"}],
            "Index?":"*","LastContact?":"*","KnownLeader?":"*","ConsistencyLevel?":"*"}"#,
        )),
    put("all that fails is listed", "/v1/txn", r#"[{"KV":{"Verb":"check-not-exists","Key":"a"}},
        {"KV":{"Verb":"set","Key":"c","Value":"MQ=="}},{"KV":{"Verb":"cas","Key":"b","Index":1,"Value":"MQ=="}}]"#)
        .gives(409, Like(
            r#"{"Results":null,"Errors":[{"OpIndex":0,"What":"key \"a\" exists"},
            {"OpIndex":2,"What":"failed to set key \"b\", index is stale"}]}"#,
        )),
    get("… and nothing of it stands", "/v1/kv/c").gives(404, super::table::Want::Empty),
    put("check-index", "/v1/txn", r#"[{"KV":{"Verb":"check-index","Key":"a","Index":{a}}}]"#)
        .gives(200, Like(r#"{"Results":[{"KV":{"Key":"a"}}]}"#)),
    put("check-index of another", "/v1/txn", r#"[{"KV":{"Verb":"check-index","Key":"a","Index":1}}]"#)
        .gives(409, Like(
            r#"{"Errors":[{"What":"failed index check for key \"a\", current modify index {a} != 1"}]}"#,
        )),
    put("cas", "/v1/txn", r#"[{"KV":{"Verb":"cas","Key":"a","Index":{a},"Value":"OQ=="}}]"#)
        .gives(200, Like(r#"{"Results":[{"KV":{"Key":"a"}}]}"#)),
    put("delete-cas of another", "/v1/txn", r#"[{"KV":{"Verb":"delete-cas","Key":"a","Index":1}}]"#)
        .gives(409, Like(r#"{"Errors":[{"What":"failed to delete key \"a\", index is stale"}]}"#)),
    put("deletes give no results", "/v1/txn", r#"[{"KV":{"Verb":"delete","Key":"a"}},
        {"KV":{"Verb":"delete-tree","Key":"b"}}]"#)
        .gives(200, Like(r#"{"Results":[],"Errors":null}"#)),
    put("an unknown verb", "/v1/txn", r#"[{"KV":{"Verb":"bogus","Key":"a"}}]"#)
        .gives(409, Like(r#"{"Errors":[{"OpIndex":0,"What":"unknown KV verb \"bogus\""}]}"#)),
    put("no key", "/v1/txn", r#"[{"KV":{"Verb":"set","Key":"","Value":"MQ=="}}]"#)
        .gives(409, Like(r#"{"Errors":[{"OpIndex":0,"What":"Must provide key"}]}"#)),
    put("a session", "/v1/session/create", r#"{"LockDelay":"0s"}"#)
        .gives(200, Json(r#"{"ID":"*"}"#))
        .keeps(&[("s", "/ID")]),
    put("lock", "/v1/txn", r#"[{"KV":{"Verb":"lock","Key":"l","Value":"MQ==","Session":"{s}"}}]"#)
        .gives(200, Like(r#"{"Results":[{"KV":{"Key":"l","LockIndex":1,"Session":"{s}"}}]}"#)),
    put("check-session", "/v1/txn", r#"[{"KV":{"Verb":"check-session","Key":"l","Session":"{s}"}}]"#)
        .gives(200, Like(r#"{"Results":[{"KV":{"Key":"l"}}]}"#)),
    put("another session", "/v1/session/create", r#"{"LockDelay":"0s"}"#)
        .gives(200, Json(r#"{"ID":"*"}"#))
        .keeps(&[("t", "/ID")]),
    put("lock what is held", "/v1/txn", r#"[{"KV":{"Verb":"lock","Key":"l","Session":"{t}"}}]"#)
        .gives(409, Like(r#"{"Errors":[{"What":"failed to lock key \"l\", lock is already held"}]}"#)),
    put("check-session of another", "/v1/txn",
        r#"[{"KV":{"Verb":"check-session","Key":"l","Session":"{t}"}}]"#)
        .gives(409, Like(
            r#"{"Errors":[{"What":"failed session check for key \"l\", current session \"{s}\" != \"{t}\""}]}"#,
        )),
    put("unlock what another holds", "/v1/txn", r#"[{"KV":{"Verb":"unlock","Key":"l","Session":"{t}"}}]"#)
        .gives(409, Like(
            r#"{"Errors":[{"What":"failed to unlock key \"l\", lock isn't held, or is held by another session"}]}"#,
        )),
    put("unlock", "/v1/txn", r#"[{"KV":{"Verb":"unlock","Key":"l","Session":"{s}"}}]"#)
        .gives(200, Like(r#"{"Results":[{"KV":{"Key":"l"}}]}"#)),
    put("not JSON", "/v1/txn", "nope").gives(400, Starts("Failed to parse body: ")),
    other("only PUT", "GET", "/v1/txn").gives(405, Is("method GET not allowed")),
];

#[tokio::test]
async fn transactions() {
    check(ROWS).await;
}

/// A transaction has a bound: 64 operations in Consul 1.8.7, 128 since 1.14.
#[tokio::test]
async fn a_transaction_has_a_bound() {
    let _turn = beside_others().await;
    let agent = Agent::dev().await;
    let http = agent.http();
    let bound = if is_consul() { 64 } else { 128 };
    let operations = |count: usize| {
        let one = |nth| format!(r#"{{"KV":{{"Verb":"set","Key":"n/{nth}","Value":"MQ=="}}}}"#);
        format!("[{}]", (0..count).map(one).collect::<Vec<_>>().join(","))
    };
    assert_eq!(http.put("/v1/txn", &operations(bound)).await.status, 200);
    let refused = http.put("/v1/txn", &operations(bound + 1)).await;
    assert_eq!(refused.status, 413);
    let text = format!("Transaction contains too many operations ({} > {bound})", bound + 1);
    assert_eq!(refused.text(), text);
}
