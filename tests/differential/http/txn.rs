//! `/v1/txn`: every verb, what is refused, and the two forms of the answer.

use super::ask::{Ask, Payload, get, other, post, put};
use super::intended::{
    ACL_POLICY, CHECK_FIELDS, CHECK_TYPE, QUERY_BACKEND, TXN_JSON_WORDS, TXN_OPERATIONS,
    TXN_PANICS, WRITE_INDEX,
};
use super::run::compare_also_at_agents;

const DECODING: &[Ask] = &[
    put("/v1/txn", ""),
    put("/v1/txn", "nope"),
    put("/v1/txn", "{}"),
    put("/v1/txn", "null"),
    put("/v1/txn", "[]"),
    put("/v1/txn", "[{}]"),
    put("/v1/txn", "[null]").differs(&[&TXN_PANICS]),
    put("/v1/txn", r#"["x"]"#),
    put("/v1/txn", r#"[{"Bogus":{}}]"#),
    put("/v1/txn", r#"[{"KV":{"Verb":"set","Key":"a","Bogus":1}}]"#),
    put("/v1/txn", r#"[{"KV":{"Verb":"set","Key":"a","Value":"not base64!"}}]"#),
    put("/v1/txn", r#"[{"KV":{"Verb":"set","Key":"a","Flags":"x"}}]"#),
    put("/v1/txn", r#"[{"KV":{"Verb":"set","Key":"a","Flags":-1}}]"#),
    put("/v1/txn", r#"[{"KV":{"Verb":"set","Key":7}}]"#),
    put("/v1/txn", r#"[{"KV":{"Verb":"bogus","Key":"a"}}]"#),
    put("/v1/txn", r#"[{"KV":{"Key":"a"}}]"#),
    put("/v1/txn", r#"[{"KV":{"Verb":"set"}}]"#),
    put("/v1/txn", r#"[{"KV":{"Verb":"get"}}]"#),
    put("/v1/txn", r#"[{"KV":{"Verb":"get","Key":"a"}}] trailing"#),
    put("/v1/txn?dc=nowhere", r#"[{"KV":{"Verb":"set","Key":"a"}}]"#),
    put("/v1/txn?dc=nowhere", r#"[{"KV":{"Verb":"get","Key":"a"}}]"#),
    get("/v1/txn"),
    post("/v1/txn", "[]"),
    other("PUT", "/v1/txn", Payload::Fill(600_000)),
    other("PUT", "/v1/txn", Payload::Chunked(100)),
];

const KEYS: &[Ask] = &[
    put("/v1/txn", r#"[{"KV":{"Verb":"set","Key":"k","Value":"dg==","Flags":3}}]"#),
    put("/v1/txn", r#"[{"kv":{"verb":"set","key":"k2","value":"dg=="}}]"#),
    put("/v1/txn", r#"[{"KV":{"Verb":"set","Key":"empty"}}]"#),
    put("/v1/txn", r#"[{"KV":{"Verb":"get","Key":"k"}}]"#),
    put("/v1/txn?stale", r#"[{"KV":{"Verb":"get","Key":"k"}}]"#),
    put("/v1/txn?consistent", r#"[{"KV":{"Verb":"get","Key":"k"}}]"#),
    put("/v1/txn?stale&consistent", r#"[{"KV":{"Verb":"get","Key":"k"}}]"#),
    put("/v1/txn?pretty", r#"[{"KV":{"Verb":"get","Key":"k"}}]"#),
    put("/v1/txn", r#"[{"KV":{"Verb":"get","Key":"nope"}}]"#),
    put("/v1/txn", r#"[{"KV":{"Verb":"get","Key":"nope"}},{"KV":{"Verb":"get","Key":"no"}}]"#),
    put("/v1/txn", r#"[{"KV":{"Verb":"get-tree","Key":"k"}}]"#),
    put("/v1/txn", r#"[{"KV":{"Verb":"get-tree","Key":"nope"}}]"#),
    put("/v1/txn", r#"[{"KV":{"Verb":"get-tree","Key":""}}]"#),
    put("/v1/txn", r#"[{"KV":{"Verb":"check-not-exists","Key":"nope"}}]"#),
    put("/v1/txn", r#"[{"KV":{"Verb":"check-not-exists","Key":"k"}}]"#),
    put("/v1/txn", r#"[{"KV":{"Verb":"check-index","Key":"k","Index":1}}]"#),
    put("/v1/txn", r#"[{"KV":{"Verb":"check-index","Key":"nope","Index":1}}]"#),
    get("/v1/kv/k").keeps_index("k"),
    put("/v1/txn", r#"[{"KV":{"Verb":"check-index","Key":"k","Index":{k}}}]"#),
    put("/v1/txn", r#"[{"KV":{"Verb":"cas","Key":"k","Index":1,"Value":"dw=="}}]"#),
    put("/v1/txn", r#"[{"KV":{"Verb":"cas","Key":"k","Index":{k},"Value":"dw=="}}]"#),
    put("/v1/txn", r#"[{"KV":{"Verb":"cas","Key":"fresh","Index":0,"Value":"dw=="}}]"#),
    put("/v1/txn", r#"[{"KV":{"Verb":"delete-cas","Key":"k","Index":1}}]"#),
    put("/v1/txn", r#"[{"KV":{"Verb":"delete-cas","Key":"nope","Index":1}}]"#),
    put("/v1/txn", r#"[{"KV":{"Verb":"delete","Key":"k"}}]"#),
    put("/v1/txn", r#"[{"KV":{"Verb":"delete","Key":"k"}}]"#),
    put("/v1/txn", r#"[{"KV":{"Verb":"delete-tree","Key":"k"}}]"#),
    get("/v1/kv/?keys"),
    put(
        "/v1/txn",
        r#"[{"KV":{"Verb":"set","Key":"r1","Value":"eA=="}},
        {"KV":{"Verb":"get","Key":"r1"}},{"KV":{"Verb":"delete","Key":"r1"}},
        {"KV":{"Verb":"get-tree","Key":"r"}}]"#,
    ),
    put(
        "/v1/txn",
        r#"[{"KV":{"Verb":"set","Key":"back","Value":"eA=="}},
        {"KV":{"Verb":"get","Key":"gone"}},{"KV":{"Verb":"check-not-exists","Key":"fresh"}}]"#,
    ),
    get("/v1/kv/back"),
];

const LOCKS: &[Ask] = &[
    put("/v1/session/create", r#"{"LockDelay":"0s"}"#).keeps("s", "/ID"),
    put("/v1/session/create", r#"{"LockDelay":"0s"}"#).keeps("o", "/ID"),
    put("/v1/txn", r#"[{"KV":{"Verb":"lock","Key":"l","Value":"eA=="}}]"#),
    put("/v1/txn", r#"[{"KV":{"Verb":"lock","Key":"l","Session":"nope"}}]"#),
    put(
        "/v1/txn",
        r#"[{"KV":{"Verb":"lock","Key":"l","Session":"11111111-1111-1111-1111-111111111111"}}]"#,
    ),
    put("/v1/txn", r#"[{"KV":{"Verb":"lock","Key":"l","Value":"eA==","Session":"{s}"}}]"#),
    put("/v1/txn", r#"[{"KV":{"Verb":"lock","Key":"l","Value":"eA==","Session":"{o}"}}]"#),
    put("/v1/txn", r#"[{"KV":{"Verb":"check-session","Key":"l","Session":"{s}"}}]"#),
    put("/v1/txn", r#"[{"KV":{"Verb":"check-session","Key":"l","Session":"{o}"}}]"#),
    put("/v1/txn", r#"[{"KV":{"Verb":"check-session","Key":"nope","Session":"{o}"}}]"#),
    put("/v1/txn", r#"[{"KV":{"Verb":"unlock","Key":"l","Session":"{o}"}}]"#),
    put("/v1/txn", r#"[{"KV":{"Verb":"unlock","Key":"l","Session":"{s}"}}]"#),
    put("/v1/txn", r#"[{"KV":{"Verb":"unlock","Key":"l","Session":"{s}"}}]"#),
];

const NODES: &[Ask] = &[
    put("/v1/txn", r#"[{"Node":{"Verb":"set","Node":{"Node":"t1","Address":"10.0.0.1"}}}]"#),
    put(
        "/v1/txn",
        r#"[{"Node":{"Verb":"set","Node":{"Node":"t2","Address":"10.0.0.2",
        "ID":"22222222-2222-2222-2222-222222222222","Meta":{"rack":"r1"},
        "TaggedAddresses":{"wan":"1.2.3.4"},"Datacenter":"dc1"}}}]"#,
    ),
    put("/v1/txn", r#"[{"Node":{"Verb":"set","Node":{"Node":"t3"}}}]"#),
    put("/v1/txn", r#"[{"Node":{"Verb":"set","Node":{"Address":"10.0.0.3"}}}]"#),
    put("/v1/txn", r#"[{"Node":{"Verb":"set"}}]"#),
    put("/v1/txn", r#"[{"Node":{"Verb":"bogus","Node":{"Node":"t1"}}}]"#),
    put("/v1/txn", r#"[{"Node":{"Verb":"get","Node":{"Node":"t1"}}}]"#),
    put(
        "/v1/txn",
        r#"[{"Node":{"Verb":"get","Node":{"ID":"22222222-2222-2222-2222-222222222222"}}}]"#,
    ),
    put("/v1/txn", r#"[{"Node":{"Verb":"get","Node":{"Node":"nope"}}}]"#),
    put(
        "/v1/txn",
        r#"[{"Node":{"Verb":"cas","Node":{"Node":"t1","Address":"10.0.0.9","ModifyIndex":1}}}]"#,
    ),
    put("/v1/txn", r#"[{"Node":{"Verb":"delete-cas","Node":{"Node":"t1","ModifyIndex":1}}}]"#),
    put(
        "/v1/txn",
        r#"[{"Node":{"Verb":"set","Node":{"Node":"t1","Address":"10.0.0.1","Bogus":1}}}]"#,
    ),
    get("/v1/catalog/node/t2"),
];

const SERVICES: &[Ask] = &[
    put(
        "/v1/txn",
        r#"[{"Service":{"Verb":"set","Node":"t1","Service":{"ID":"s1","Service":"web","Port":80,
        "Tags":["a"],"Meta":{"k":"v"},"Weights":{"Passing":2,"Warning":1}}}}]"#,
    ),
    put("/v1/txn", r#"[{"Service":{"Verb":"set","Node":"t1","Service":{"Service":"bare"}}}]"#),
    put(
        "/v1/txn",
        r#"[{"Service":{"Verb":"set","Node":"nope","Service":{"ID":"s1","Service":"web"}}}]"#,
    ),
    put("/v1/txn", r#"[{"Service":{"Verb":"set","Node":"t1","Service":{"ID":"s2"}}}]"#),
    put(
        "/v1/txn",
        r#"[{"Service":{"Verb":"bogus","Node":"t1","Service":{"ID":"s1","Service":"web"}}}]"#,
    ),
    put("/v1/txn", r#"[{"Service":{"Verb":"get","Node":"t1","Service":{"ID":"s1"}}}]"#),
    put("/v1/txn", r#"[{"Service":{"Verb":"get","Node":"t1","Service":{"ID":"nope"}}}]"#),
    put("/v1/txn", r#"[{"Service":{"Verb":"get","Node":"nope","Service":{"ID":"s1"}}}]"#),
    put(
        "/v1/txn",
        r#"[{"Service":{"Verb":"cas","Node":"t1","Service":{"ID":"s1","Service":"web","ModifyIndex":1}}}]"#,
    ),
    put(
        "/v1/txn",
        r#"[{"Service":{"Verb":"delete-cas","Node":"t1","Service":{"ID":"s1","ModifyIndex":1}}}]"#,
    ),
];

const CHECKS: &[Ask] = &[
    put(
        "/v1/txn",
        r#"[{"Check":{"Verb":"set","Check":{"Node":"t1","CheckID":"c1","Name":"c","Status":"passing"}}}]"#,
    ),
    put(
        "/v1/txn",
        r#"[{"Check":{"Verb":"set","Check":{"Node":"t1","CheckID":"c2","Name":"c","Status":"passing",
        "ServiceID":"s1","Notes":"n","Output":"o",
        "Definition":{"TCP":"1.2.3.4:5","Interval":"10s","Timeout":"1s",
        "DeregisterCriticalServiceAfter":"1m"}}}}]"#,
    ),
    put(
        "/v1/txn",
        r#"[{"Check":{"Verb":"set","Check":{"Node":"t1","CheckID":"c3","ServiceID":"nope"}}}]"#,
    ),
    put("/v1/txn", r#"[{"Check":{"Verb":"set","Check":{"Node":"nope","CheckID":"c1"}}}]"#),
    put("/v1/txn", r#"[{"Check":{"Verb":"set","Check":{"CheckID":"c1"}}}]"#),
    put("/v1/txn", r#"[{"Check":{"Verb":"bogus","Check":{"Node":"t1","CheckID":"c1"}}}]"#),
    put("/v1/txn", r#"[{"Check":{"Verb":"get","Check":{"Node":"t1","CheckID":"c2"}}}]"#),
    put("/v1/txn", r#"[{"Check":{"Verb":"get","Check":{"Node":"t1","CheckID":"nope"}}}]"#),
    put(
        "/v1/txn",
        r#"[{"Check":{"Verb":"cas","Check":{"Node":"t1","CheckID":"c1","ModifyIndex":1}}}]"#,
    ),
    put(
        "/v1/txn",
        r#"[{"Check":{"Verb":"delete-cas","Check":{"Node":"t1","CheckID":"c1","ModifyIndex":1}}}]"#,
    ),
    get("/v1/health/node/t1"),
    put("/v1/txn", r#"[{"Check":{"Verb":"delete","Check":{"Node":"t1","CheckID":"c1"}}}]"#),
    put("/v1/txn", r#"[{"Check":{"Verb":"delete","Check":{"Node":"t1","CheckID":"c1"}}}]"#),
    put("/v1/txn", r#"[{"Service":{"Verb":"delete","Node":"t1","Service":{"ID":"s1"}}}]"#),
    put("/v1/txn", r#"[{"Service":{"Verb":"delete","Node":"t1","Service":{"ID":"s1"}}}]"#),
    put("/v1/txn", r#"[{"Node":{"Verb":"delete","Node":{"Node":"t1"}}}]"#),
    put("/v1/txn", r#"[{"Node":{"Verb":"delete","Node":{"Node":"t1"}}}]"#),
    put("/v1/txn", r#"[{"Session":{"Verb":"delete","Session":{"ID":"x"}}}]"#),
    put(
        "/v1/txn",
        r#"[{"KV":{"Verb":"set","Key":"m","Value":"eA=="}},
        {"Node":{"Verb":"set","Node":{"Node":"m","Address":"10.0.0.7"}}},
        {"Service":{"Verb":"set","Node":"m","Service":{"ID":"m","Service":"m"}}},
        {"Check":{"Verb":"set","Check":{"Node":"m","CheckID":"m","ServiceID":"m","Status":"passing"}}}]"#,
    ),
    get("/v1/health/service/m").differs(&[&QUERY_BACKEND]),
];

/// As many operations as said, each reading a key that is there.
fn operations(count: usize) -> &'static str {
    let one = r#"{"KV":{"Verb":"set","Key":"many"}}"#;
    format!("[{}]", vec![one; count].join(",")).leak()
}

#[tokio::test]
async fn txn() {
    let mut rows = [DECODING, KEYS, LOCKS, NODES, SERVICES, CHECKS].concat();
    rows.push(put("/v1/txn", operations(64)));
    rows.push(put("/v1/txn", operations(65)).differs(&[&TXN_OPERATIONS]));
    compare_also_at_agents(
        "txn",
        &rows,
        &[&ACL_POLICY, &WRITE_INDEX, &TXN_JSON_WORDS, &CHECK_FIELDS, &CHECK_TYPE],
    )
    .await;
}
