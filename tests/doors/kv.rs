//! `/v1/kv`: one key, many keys, conditions, locks, limits.

use crate::harness::{Agent, beside_others};

use super::table::Want::{Any, Empty, Is, Json, Like, Starts};
use super::table::{Row, check, delete, get, put};

const KEYS: &[Row] = &[
    get("no key", "/v1/kv/").gives(400, Is("Missing key name")),
    put("no key to write", "/v1/kv/", "x").gives(400, Is("Missing key name")),
    delete("no key to delete", "/v1/kv/").gives(400, Is("Missing key name")),
    get("a missing key", "/v1/kv/a").gives(404, Empty).with(&[("x-consul-index", "*")]),
    get("nothing under a prefix", "/v1/kv/a?recurse").gives(404, Empty),
    put("a key", "/v1/kv/a", "one").gives(200, Json("true")),
    get("a key's shape", "/v1/kv/a").gives(200, Json(
        r##"[{"LockIndex":0,"Key":"a","Flags":0,"Value":"b25l","CreateIndex":"#","ModifyIndex":"#"}]"##,
    )),
    put("flags", "/v1/kv/a?flags=42", "two").gives(200, Json("true")),
    get("flags are kept", "/v1/kv/a").gives(200, Like(r#"[{"Flags":42,"Value":"dHdv"}]"#)),
    put("a write without flags clears them", "/v1/kv/a", "two").gives(200, Json("true")),
    get("flags are cleared", "/v1/kv/a").gives(200, Like(r#"[{"Flags":0}]"#)),
    put("the largest flags", "/v1/kv/a?flags=18446744073709551615", "x").gives(200, Json("true")),
    get("the largest flags come back whole", "/v1/kv/a")
        .gives(200, Like(r#"[{"Flags":18446744073709551615}]"#)),
    put("flags below zero", "/v1/kv/a?flags=-1", "x")
        .gives(500, Is("strconv.ParseUint: parsing \"-1\": invalid syntax")),
    put("a condition that is no number", "/v1/kv/a?cas=abc", "x")
        .gives(500, Is("strconv.ParseUint: parsing \"abc\": invalid syntax")),
    put("an empty value", "/v1/kv/empty", "").gives(200, Json("true")),
    get("an empty value is null", "/v1/kv/empty").gives(200, Like(r#"[{"Value":null}]"#)),
    get("raw", "/v1/kv/a?raw").gives(200, Is("x")).with(&[
        ("content-type", "text/plain"),
        ("x-content-type-options", "nosniff"),
        ("content-security-policy", "sandbox"),
        ("x-consul-index", "*"),
    ]),
    get("raw and missing", "/v1/kv/none?raw").gives(404, Empty),
    get("raw and empty", "/v1/kv/empty?raw").gives(200, Empty),
    put("a key with an escaped slash", "/v1/kv/p%2Fq", "x").gives(200, Json("true")),
    get("it is the same key", "/v1/kv/p/q").gives(200, Like(r#"[{"Key":"p/q"}]"#)),
    put("a key that ends with a slash", "/v1/kv/p/", "").gives(200, Json("true")),
    get("a key that ends with a slash is read", "/v1/kv/p/").gives(200, Like(r#"[{"Key":"p/"}]"#)),
    put("a key with spaces and signs", "/v1/kv/p/%C3%BC%20%3F%26", "x").gives(200, Json("true")),
    get("signs come back", "/v1/kv/p/%C3%BC%20%3F%26").gives(200, Like(r#"[{"Key":"p/ü ?&"}]"#)),
    put("a key deeper down", "/v1/kv/p/q/r", "x").gives(200, Json("true")),
    put("a key that only begins alike", "/v1/kv/pq", "x").gives(200, Json("true")),
    get("a prefix is text, not a folder", "/v1/kv/p?keys")
        .gives(200, Json(r#"["p/","p/q","p/q/r","p/ü ?&","pq"]"#)),
    get("keys up to a separator", "/v1/kv/p?keys&separator=/").gives(200, Json(r#"["p/","pq"]"#)),
    get("the old spelling of separator", "/v1/kv/p?keys&seperator=/")
        .gives(200, Json(r#"["p/","pq"]"#)),
    get("keys below a folder", "/v1/kv/p/?keys&separator=/")
        .gives(200, Json(r#"["p/","p/q","p/q/","p/ü ?&"]"#)),
    get("keys of a prefix where nothing is", "/v1/kv/zz?keys").gives(404, Any),
    get("everything below a prefix", "/v1/kv/p/q?recurse")
        .gives(200, Like(r#"[{"Key":"p/q"},{"Key":"p/q/r"}]"#)),
    get("a parameter with an empty value is set", "/v1/kv/p/q?recurse=")
        .gives(200, Like(r#"[{"Key":"p/q"},{"Key":"p/q/r"}]"#)),
    delete("a key that is not there", "/v1/kv/none").gives(200, Json("true")),
    delete("a key", "/v1/kv/pq").gives(200, Json("true")),
    get("it is gone", "/v1/kv/pq").gives(404, Empty),
    delete("a tree and a condition", "/v1/kv/p?recurse&cas=1")
        .gives(400, Starts("Conflicting flags: ")),
    delete("a tree", "/v1/kv/p/q?recurse").gives(200, Json("true")),
    get("the tree is gone, its neighbours are not", "/v1/kv/p?keys")
        .gives(200, Json(r#"["p/","p/ü ?&"]"#)),
];

const CONDITIONS: &[Row] = &[
    put("cas=0 creates", "/v1/kv/c?cas=0", "1").gives(200, Json("true")),
    put("cas=0 does not write over", "/v1/kv/c?cas=0", "2").gives(200, Json("false")),
    get("its index", "/v1/kv/c").gives(200, Any).keeps(&[("m", "/0/ModifyIndex")]),
    put("another index", "/v1/kv/c?cas=1", "2").gives(200, Json("false")),
    put("the right index", "/v1/kv/c?cas={m}", "2").gives(200, Json("true")),
    put("the right index, once", "/v1/kv/c?cas={m}", "3").gives(200, Json("false")),
    get("what stands", "/v1/kv/c?raw").gives(200, Is("2")),
    get("its index again", "/v1/kv/c").gives(200, Any).keeps(&[("m", "/0/ModifyIndex")]),
    delete("cas=0 deletes nothing that is there", "/v1/kv/c?cas=0").gives(200, Json("false")),
    delete("another index deletes nothing", "/v1/kv/c?cas=1").gives(200, Json("false")),
    delete("the right index deletes", "/v1/kv/c?cas={m}").gives(200, Json("true")),
    delete("a condition on what is not there holds", "/v1/kv/c?cas=7").gives(200, Json("true")),
    put("two conditions", "/v1/kv/c?cas=1&acquire=x", "1")
        .gives(400, Starts("Conflicting flags: ")),
    put("a key", "/v1/kv/same", "v").gives(200, Json("true")),
    get("its index", "/v1/kv/same").gives(200, Any).keeps(&[("s", "/0/ModifyIndex")]),
    put("the same again", "/v1/kv/same", "v").gives(200, Json("true")),
    get("the same again moves no index", "/v1/kv/same")
        .gives(200, Like(r#"[{"ModifyIndex":{s}}]"#)),
];

const LOCKS: &[Row] = &[
    put("a session", "/v1/session/create", r#"{"Name":"one","LockDelay":"0s"}"#)
        .gives(200, Json(r#"{"ID":"*"}"#))
        .keeps(&[("one", "/ID")]),
    put("another", "/v1/session/create", r#"{"Name":"two","LockDelay":"0s"}"#)
        .gives(200, Json(r#"{"ID":"*"}"#))
        .keeps(&[("two", "/ID")]),
    put("no session", "/v1/kv/l?acquire=", "x").gives(500, Is("missing session")),
    put("a session that is no UUID", "/v1/kv/l?acquire=nope", "x")
        .gives(500, Is("failed session lookup: index error: UUID must be 36 characters")),
    put("an unknown session", "/v1/kv/l?acquire=11111111-1111-1111-1111-111111111111", "x")
        .gives(500, Is("invalid session \"11111111-1111-1111-1111-111111111111\"")),
    put("acquire", "/v1/kv/l?acquire={one}", "1").gives(200, Json("true")),
    get("who holds it", "/v1/kv/l")
        .gives(200, Like(r#"[{"LockIndex":1,"Session":"{one}","Value":"MQ=="}]"#)),
    put("acquire again", "/v1/kv/l?acquire={one}", "2").gives(200, Json("true")),
    get("the value moves, the count does not", "/v1/kv/l")
        .gives(200, Like(r#"[{"LockIndex":1,"Session":"{one}","Value":"Mg=="}]"#)),
    put("another cannot acquire", "/v1/kv/l?acquire={two}", "3").gives(200, Json("false")),
    put("another cannot release", "/v1/kv/l?release={two}", "3").gives(200, Json("false")),
    put("locks only advise: anyone may write", "/v1/kv/l", "4").gives(200, Json("true")),
    get("a plain write keeps the holder", "/v1/kv/l").gives(200, Like(r#"[{"Session":"{one}"}]"#)),
    put("release", "/v1/kv/l?release={one}", "").gives(200, Json("true")),
    get("free, with the value that release brought", "/v1/kv/l")
        .gives(200, Json(
            r##"[{"LockIndex":"*","Key":"l","Flags":0,"Value":null,"CreateIndex":"#","ModifyIndex":"#"}]"##,
        )),
    put("release what is free", "/v1/kv/l?release={one}", "").gives(200, Json("false")),
    put("release what is not there", "/v1/kv/none?release={one}", "").gives(200, Json("false")),
    put("now the other", "/v1/kv/l?acquire={two}", "5").gives(200, Json("true")),
    put("its session ends", "/v1/session/destroy/{two}", "").gives(200, Json("true")),
    get("the key is free and keeps its value", "/v1/kv/l?raw").gives(200, Is("5")),
    put("free to acquire, since there is no delay", "/v1/kv/l?acquire={one}", "6")
        .gives(200, Json("true")),
];

#[tokio::test]
async fn keys() {
    check(KEYS).await;
}

#[tokio::test]
async fn conditions() {
    check(CONDITIONS).await;
}

#[tokio::test]
async fn locks() {
    check(LOCKS).await;
}

#[tokio::test]
async fn a_value_has_a_bound() {
    let _turn = beside_others().await;
    let agent = Agent::dev().await;
    let http = agent.http();
    let (fits, too_long) = ("x".repeat(524_288), "x".repeat(524_289));
    assert_eq!(http.done("/v1/kv/fits", &fits).await, true);
    assert_eq!(http.get("/v1/kv/fits?raw").await.body.len(), 524_288);
    let refused = http.put("/v1/kv/long", &too_long).await;
    assert_eq!(refused.status, 413);
    let text = refused.text();
    let begins = "Request body(524289 bytes) too large, max size: 524288 bytes.";
    assert!(text.starts_with(begins), "{text}");
    assert_eq!(http.get("/v1/kv/long").await.status, 404);
}

/// An empty store: the whole of it is an empty list of keys, but nothing to recurse into.
#[tokio::test]
async fn an_empty_store_has_no_keys() {
    let _turn = beside_others().await;
    let agent = Agent::dev().await;
    let http = agent.http();
    http.send("DELETE", "/v1/kv/?recurse", &[], "").await.expect("an answer");
    let keys = http.get("/v1/kv/?keys").await;
    assert_eq!((keys.status, keys.text().as_str()), (200, "[]"));
    assert_eq!(http.get("/v1/kv/?recurse").await.status, 404);
    assert!(keys.index() >= 1);
}
