//! `http_config`: what the operator blocks, adds and restricts.

use crate::harness::{Agent, beside_others};

use super::table::Want::{Any, Empty, Is, Json};
use super::table::{Row, check_on, get, other, put};

const BLOCKED: &str = "Endpoint is blocked by agent configuration";
const SEA: &[(&str, &str)] = &[("x-sea", "calm")];

const SETTINGS: &str = r#"
    session_ttl_min = "20s"
    disable_http_unprintable_char_filter = true
    http_config {
        block_endpoints = ["/v1/agent/checks", "/v1/agent/metrics"]
        response_headers { "X-Sea" = "calm" }
        use_cache = false
    }
"#;

const ROWS: &[Row] = &[
    get("a blocked path", "/v1/agent/checks").gives(403, Is(BLOCKED)).with(SEA),
    other("… whatever the method", "POST", "/v1/agent/checks").gives(403, Is(BLOCKED)),
    get("another path", "/v1/agent/services").gives(200, Any).with(SEA),
    get("an answer without data", "/v1/kv/none").gives(404, Empty).with(SEA),
    get("a kept answer is not wanted", "/v1/health/service/web?cached")
        .gives(200, Json("[]"))
        .with(&[("x-cache", "-"), ("age", "-")]),
    put("a key that cannot be printed", "/v1/kv/a%01b", "x").gives(200, Json("true")),
    get("… is there", "/v1/kv/a%01b?raw").gives(200, Is("x")),
    put("a TTL below the operator's least", "/v1/session/create", r#"{"TTL":"15s"}"#)
        .gives(500, Is("Invalid Session TTL '15000000000', must be between [20s=24h0m0s]")),
    put("a TTL as long as that", "/v1/session/create", r#"{"TTL":"20s"}"#).gives(200, Any),
];

#[tokio::test]
async fn what_the_operator_sets_holds() {
    let _turn = beside_others().await;
    let agent = Agent::dev_with(&[SETTINGS]).await;
    check_on(&agent, ROWS).await;
}

const RESTRICTED: &[Row] = &[
    get("reading is for all", "/v1/agent/services").gives(200, Any),
    put("writing is not", "/v1/agent/service/register", r#"{"Name":"a"}"#)
        .gives(403, Is("Access is restricted")),
    other("nor is deleting", "DELETE", "/v1/kv/a").gives(403, Is("Access is restricted")),
    other("a wrong method is told first", "POST", "/v1/kv/a")
        .gives(405, Is("method POST not allowed")),
];

#[tokio::test]
async fn writes_come_from_where_they_may() {
    let _turn = beside_others().await;
    let fragment = r#"http_config { allow_write_http_from = ["10.0.0.0/8"] }"#;
    let shape = crate::harness::Shape::Dev;
    let mut agent = Agent::new("n1", crate::harness::free_address(), &shape, &[fragment]);
    agent.start();
    // It takes no write from here, so it is looked at by reading.
    let http = agent.http();
    let limit = std::time::Duration::from_secs(30);
    let led = || async {
        let reply = http.try_get("/v1/status/leader").await.ok()?;
        (reply.status == 200 && reply.text() != "\"\"").then_some(())
    };
    crate::harness::until("there is a leader", limit, led).await;
    check_on(&agent, RESTRICTED).await;
}
