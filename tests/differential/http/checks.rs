//! `/v1/agent/check/`: checks of every kind, their verdicts and their end.

use super::ask::{Ask, Payload, get, other, put};
use super::intended::{ACL_POLICY, CHECK_FIELDS, DEREGISTER_UNKNOWN, FILE_FIELDS, JSON_WORDS};
use super::run::compare;

const REFUSED: &[Ask] = &[
    put("/v1/agent/check/register", ""),
    put("/v1/agent/check/register", "nope"),
    put("/v1/agent/check/register", "{}"),
    put("/v1/agent/check/register", "[]"),
    put("/v1/agent/check/register", r#"{"Name":"x"}"#),
    put("/v1/agent/check/register", r#"{"TTL":"10s"}"#),
    put("/v1/agent/check/register", r#"{"Name":7,"TTL":"10s"}"#),
    put("/v1/agent/check/register", r#"{"Name":"x","TTL":"10s","Bogus":1}"#),
    put("/v1/agent/check/register", r#"{"Name":"x","TTL":"abc"}"#),
    put("/v1/agent/check/register", r#"{"Name":"x","TTL":"-10s"}"#),
    put("/v1/agent/check/register", r#"{"Name":"x","TTL":"10s","Interval":"10s"}"#),
    put("/v1/agent/check/register", r#"{"Name":"x","HTTP":"http://x"}"#),
    put("/v1/agent/check/register", r#"{"Name":"x","TCP":"x:1"}"#),
    put("/v1/agent/check/register", r#"{"Name":"x","Interval":"10s"}"#),
    put(
        "/v1/agent/check/register",
        r#"{"Name":"x","Interval":"10s","Timeout":"1s","Args":["true"]}"#,
    ),
    put("/v1/agent/check/register", r#"{"Name":"x","Args":["true"]}"#),
    put("/v1/agent/check/register", r#"{"Name":"x","ScriptArgs":["true"],"Interval":"10s"}"#),
    put("/v1/agent/check/register", r#"{"Name":"x","Script":"true","Interval":"10s"}"#),
    put(
        "/v1/agent/check/register",
        r#"{"Name":"x","DockerContainerID":"x","Args":["true"],"Interval":"10s"}"#,
    ),
    put("/v1/agent/check/register", r#"{"Name":"x","GRPC":"127.0.0.1:1"}"#),
    put("/v1/agent/check/register", r#"{"Name":"x","TTL":"10s","Status":"bogus"}"#),
    put("/v1/agent/check/register", r#"{"Name":"x","TTL":"10s","ServiceID":"nope"}"#),
    put("/v1/agent/check/register", r#"{"Name":"x","TTL":"10s","OutputMaxSize":-1}"#),
    put("/v1/agent/check/register", r#"{"Name":"x","TTL":"10s","SuccessBeforePassing":"x"}"#),
    put(
        "/v1/agent/check/register",
        r#"{"Name":"x","HTTP":"http://x","Interval":"10s","Header":{"a":"b"}}"#,
    ),
    get("/v1/agent/check/register"),
    other("PUT", "/v1/agent/check/register", Payload::Chunked(10)),
    get("/v1/agent/checks"),
];

const REGISTERED: &[Ask] = &[
    put("/v1/agent/check/register", r#"{"Name":"ttl","TTL":"60s"}"#),
    put(
        "/v1/agent/check/register",
        r#"{"ID":"by-id","Name":"named","TTL":"60s","Status":"passing","Notes":"n"}"#,
    ),
    put(
        "/v1/agent/check/register",
        r#"{"CheckID":"by-check-id","ID":"lost","Name":"named","ttl":"60s","status":"warning"}"#,
    )
    .differs(&[&FILE_FIELDS]),
    put("/v1/agent/check/deregister/by-check-id", ""),
    put(
        "/v1/agent/check/register",
        r#"{"name":"snake","ttl":"60s","deregister_critical_service_after":"10m"}"#,
    ),
    put("/v1/agent/check/register", r#"{"name":"snake2","ttl":"60s","success_before_passing":0}"#)
        .differs(&[&FILE_FIELDS]),
    put("/v1/agent/check/deregister/snake2", ""),
    put("/v1/agent/check/register", r#"{"Name":"nanos","TTL":60000000000}"#),
    put(
        "/v1/agent/check/register",
        r#"{"Name":"http","HTTP":"http://127.0.0.1:1/","Interval":"1h",
        "Timeout":"1s","Method":"POST","Header":{"X":["y"]},"Body":"b","TLSSkipVerify":true}"#,
    ),
    put(
        "/v1/agent/check/register",
        r#"{"Name":"tcp","TCP":"127.0.0.1:1","Interval":"1h","Status":"passing"}"#,
    ),
    put(
        "/v1/agent/check/register",
        r#"{"Name":"grpc","GRPC":"127.0.0.1:1/svc","Interval":"1h","GRPCUseTLS":false}"#,
    ),
    put("/v1/agent/service/register", r#"{"Name":"web","Port":80,"Tags":["t"]}"#),
    put("/v1/agent/check/register", r#"{"Name":"of-web","TTL":"60s","ServiceID":"web"}"#),
    put("/v1/agent/check/register", r#"{"Name":"alias","AliasService":"web"}"#),
    put("/v1/agent/check/register", r#"{"Name":"alias-node","AliasNode":"n1"}"#),
    get("/v1/agent/checks?filter=Type==ttl"),
    get("/v1/agent/checks?filter=Type!=ttl+and+Type!=alias"),
    // Which of several failing checks an alias names is chance in Consul.
    get("/v1/agent/checks?filter=Type==alias").soon().hiding(&["Output"]),
    get("/v1/agent/checks?filter=CheckID==lost"),
    get("/v1/agent/checks?filter=Name==named"),
    get("/v1/health/checks/web").soon(),
    get("/v1/health/node/n1?filter=Type==ttl").soon().unordered(),
    get("/v1/health/node/n1?filter=Type==http+or+Type==tcp+or+Type==grpc").soon().unordered(),
];

const VERDICTS: &[Ask] = &[
    put("/v1/agent/check/pass/ttl", ""),
    get("/v1/agent/checks?filter=CheckID==ttl"),
    put("/v1/agent/check/pass/ttl?note=all+well", ""),
    get("/v1/agent/checks?filter=CheckID==ttl"),
    put("/v1/agent/check/warn/ttl?note=hm", ""),
    get("/v1/agent/checks?filter=CheckID==ttl"),
    put("/v1/agent/check/fail/ttl?note=no", ""),
    get("/v1/agent/checks?filter=CheckID==ttl"),
    get("/v1/health/state/critical?filter=CheckID==ttl").soon(),
    put("/v1/agent/check/pass/nope", ""),
    put("/v1/agent/check/warn/nope", ""),
    put("/v1/agent/check/fail/nope", ""),
    put("/v1/agent/check/pass/tcp", ""),
    put("/v1/agent/check/pass/", ""),
    put("/v1/agent/check/update/ttl", ""),
    put("/v1/agent/check/update/ttl", "nope"),
    put("/v1/agent/check/update/ttl", "{}"),
    put("/v1/agent/check/update/ttl", r#"{"Status":"bogus"}"#),
    put("/v1/agent/check/update/ttl", r#"{"Status":"Passing"}"#),
    put("/v1/agent/check/update/ttl", r#"{"Status":7}"#),
    put("/v1/agent/check/update/ttl", r#"{"Status":"passing","Bogus":1}"#),
    put("/v1/agent/check/update/nope", r#"{"Status":"passing"}"#),
    put("/v1/agent/check/update/", r#"{"Status":"passing"}"#),
    put("/v1/agent/check/update/ttl", r#"{"Status":"passing","Output":"fine"}"#),
    get("/v1/agent/checks?filter=CheckID==ttl"),
    put("/v1/agent/check/update/ttl", r#"{"status":"warning","output":"small"}"#),
    get("/v1/agent/checks?filter=CheckID==ttl"),
    get("/v1/agent/check/pass/ttl"),
    get("/v1/agent/check/update/ttl"),
];

const AGAIN: &[Ask] = &[
    put("/v1/agent/check/register", r#"{"Name":"ttl","TTL":"90s"}"#),
    get("/v1/agent/checks?filter=CheckID==ttl"),
    put(
        "/v1/agent/check/register",
        r#"{"ID":"ttl","Name":"other","TTL":"90s","Status":"passing"}"#,
    ),
    get("/v1/agent/checks?filter=CheckID==ttl"),
    put("/v1/agent/check/deregister/", ""),
    put("/v1/agent/check/deregister/nope", "").differs(&[&DEREGISTER_UNKNOWN]),
    put("/v1/agent/check/deregister/ttl", ""),
    put("/v1/agent/check/deregister/ttl", "").differs(&[&DEREGISTER_UNKNOWN]),
    put("/v1/agent/check/deregister/http", ""),
    put("/v1/agent/check/deregister/grpc", ""),
    put("/v1/agent/check/deregister/tcp", ""),
    put("/v1/agent/service/deregister/web", ""),
    get("/v1/agent/checks?filter=CheckID==%60of-web%60"),
    get("/v1/agent/checks?filter=Type==ttl"),
    get("/v1/health/node/n1?filter=Type==ttl").soon().unordered(),
];

#[tokio::test]
async fn agent_check() {
    let rows = [REFUSED, REGISTERED, VERDICTS, AGAIN].concat();
    compare("agent_check", &rows, &[&ACL_POLICY, &CHECK_FIELDS, &JSON_WORDS]).await;
}

/// An output that is longer than what is kept of it.
const LONG_OUTPUT: &[Ask] = &[
    put("/v1/agent/check/register", r#"{"Name":"ttl","TTL":"60s"}"#),
    put("/v1/agent/check/register", r#"{"Name":"short","TTL":"60s","OutputMaxSize":10}"#),
    put("/v1/agent/check/update/short", r#"{"Status":"passing","Output":"0123456789abcdef"}"#),
    get("/v1/agent/checks?filter=CheckID==short"),
    put("/v1/agent/check/pass/short?note=0123456789abcdef", ""),
    get("/v1/agent/checks?filter=CheckID==short"),
];

#[tokio::test]
async fn agent_check_output() {
    let long = format!(r#"{{"Status":"passing","Output":"{}"}}"#, "x".repeat(5000)).leak();
    let mut rows = LONG_OUTPUT.to_vec();
    rows.push(put("/v1/agent/check/update/ttl", long));
    rows.push(get("/v1/agent/checks?filter=CheckID==ttl"));
    compare("agent_check_output", &rows, &[&ACL_POLICY, &CHECK_FIELDS]).await;
}
