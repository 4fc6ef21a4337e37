//! `/v1/agent`: what this host claims, and how it gets into the catalogue.

use std::time::Duration;

use serde_json::Value;

use crate::harness::{Agent, Http, Shape, beside_others, free_address, until};

use super::table::Want::{Any, Empty, Is, Json, Like, Starts};
use super::table::{Row, check, get, put};

const SERVICES: &[Row] = &[
    get("none yet", "/v1/agent/services").gives(200, Json("{}")),
    put("a service", "/v1/agent/service/register",
        r#"{"Name":"web","ID":"web1","Port":80,"Tags":["v1"],"Meta":{"k":"v"},"Address":"10.1.1.1",
        "Check":{"TTL":"30s","Status":"passing"}}"#)
        .gives(200, Empty),
    get("what is registered", "/v1/agent/services").gives(200, Like(
        r#"{"web1":{"ID":"web1","Service":"web","Tags":["v1"],"Meta":{"k":"v"},"Port":80,"Address":"10.1.1.1",
        "Weights":{"Passing":1,"Warning":1},"EnableTagOverride":false}}"#,
    )),
    get("one of them, with a hash", "/v1/agent/service/web1")
        .gives(200, Like(r#"{"ID":"web1","Service":"web","ContentHash":"*"}"#))
        .with(&[("x-consul-contenthash", "*")]),
    get("an unknown one", "/v1/agent/service/none").gives(404, Is("unknown service ID: none")),
    get("its check", "/v1/agent/checks").gives(200, Like(
        r#"{"service:web1":{"Node":"n1","CheckID":"service:web1","Name":"Service 'web' check","Status":"passing",
        "ServiceID":"web1","ServiceName":"web","Type":"ttl","ServiceTags":["v1"]}}"#,
    )),
    put("small letters and underscores", "/v1/agent/service/register",
        r#"{"name":"db","port":5432,"enable_tag_override":true,"checks":[{"ttl":"30s"},{"ttl":"40s",
        "deregister_critical_service_after":"1h"}]}"#)
        .gives(200, Empty),
    get("two checks are numbered, and start critical", "/v1/agent/checks").gives(200, Like(
        r#"{"service:web1":{},"service:db:1":{"Status":"critical"},"service:db:2":{"Status":"critical"}}"#,
    )),
    put("no name", "/v1/agent/service/register", r#"{"ID":"x"}"#).gives(400, Is("Missing service name")),
    put("an unknown field", "/v1/agent/service/register", r#"{"Name":"x","Bogus":1}"#)
        .gives(400, Starts("Request decode failed: json: unknown field \"Bogus\"")),
    put("an address of everywhere", "/v1/agent/service/register", r#"{"Name":"x","Address":"0.0.0.0"}"#)
        .gives(400, Is("Invalid service address")),
    put("a check without an interval", "/v1/agent/service/register",
        r#"{"Name":"x","Check":{"HTTP":"http://127.0.0.1/"}}"#)
        .gives(400, Is("Invalid check: Interval must be > 0 for Script, HTTP, or TCP checks")),
    put("a status that is none", "/v1/agent/service/register",
        r#"{"Name":"x","Check":{"TTL":"10s","Status":"weird"}}"#)
        .gives(400, Is("Status for checks must 'passing', 'warning', 'critical'")),
    put("warn", "/v1/agent/check/warn/service:web1?note=slow", "").gives(200, Empty),
    get("its status", "/v1/agent/checks")
        .gives(200, Like(r#"{"service:web1":{"Status":"warning","Output":"slow"}}"#)),
    put("fail", "/v1/agent/check/fail/service:web1", "").gives(200, Empty),
    put("pass", "/v1/agent/check/pass/service:web1", "").gives(200, Empty),
    put("update", "/v1/agent/check/update/service:web1", r#"{"Status":"warning","Output":"hot"}"#)
        .gives(200, Empty),
    get("its output", "/v1/agent/checks")
        .gives(200, Like(r#"{"service:web1":{"Status":"warning","Output":"hot"}}"#)),
    put("update to nonsense", "/v1/agent/check/update/service:web1", r#"{"Status":"bogus"}"#)
        .gives(400, Is("Invalid check status: 'bogus'")),
    put("pass an unknown check", "/v1/agent/check/pass/none", "")
        .gives(500, Is("CheckID \"none\" does not have associated TTL")),
    put("maintenance without a word", "/v1/agent/service/maintenance/web1", "")
        .gives(400, Is("Missing value for enable")),
    put("maintenance of nothing", "/v1/agent/service/maintenance/none?enable=true", "")
        .gives(404, Is("No service registered with ID \"none\"")),
    put("maintenance on", "/v1/agent/service/maintenance/web1?enable=true&reason=paint", "")
        .gives(200, Empty),
    get("… is a critical check", "/v1/agent/checks").gives(200, Like(
        r#"{"_service_maintenance:web1":{"Status":"critical","Notes":"paint"}}"#,
    )),
    put("maintenance off", "/v1/agent/service/maintenance/web1?enable=false", "").gives(200, Empty),
    put("of the node, on", "/v1/agent/maintenance?enable=true", "").gives(200, Empty),
    get("… is a critical check of the node", "/v1/agent/checks")
        .gives(200, Like(r#"{"_node_maintenance":{"Status":"critical"}}"#)),
    put("of the node, off", "/v1/agent/maintenance?enable=false", "").gives(200, Empty),
    put("take away", "/v1/agent/service/deregister/web1", "").gives(200, Empty),
    get("its check went with it", "/v1/agent/checks")
        .gives(200, Json(r#"{"service:db:1":"*","service:db:2":"*"}"#)),
    put("take away what is not there", "/v1/agent/service/deregister/web1", "")
        .gives(404, Starts("Unknown service ID \"web1\"."))
        .consul(200, Empty),
    put("read the configuration anew", "/v1/agent/reload", "").gives(200, Empty),
    get("access control is off", "/v1/acl/tokens").gives(401, Is("ACL support disabled")),
    get("… for the caller's own token too", "/v1/acl/token/self")
        .gives(401, Is("ACL support disabled")),
];

const CHECKS: &[Row] = &[
    put("a check of the node", "/v1/agent/check/register",
        r#"{"ID":"mem","Name":"memory","TTL":"30s","Notes":"n"}"#)
        .gives(200, Empty),
    get("how it starts", "/v1/agent/checks").gives(200, Like(
        r#"{"mem":{"Node":"n1","CheckID":"mem","Name":"memory","Status":"critical","Notes":"n","Output":"",
        "ServiceID":"","ServiceName":"","Type":"ttl"}}"#,
    )),
    put("no name", "/v1/agent/check/register", r#"{"ID":"x","TTL":"10s"}"#).gives(400, Is("Missing check name")),
    put("a status that is none", "/v1/agent/check/register", r#"{"Name":"x","TTL":"10s","Status":"weird"}"#)
        .gives(400, Is("Bad check status")),
    put("a kind that is none", "/v1/agent/check/register", r#"{"Name":"x"}"#)
        .gives(400, Starts("Invalid check: ")),
    put("of a service that is not there", "/v1/agent/check/register",
        r#"{"Name":"x","TTL":"10s","ServiceID":"x"}"#)
        .gives(500, Is("ServiceID \"x\" does not exist")),
    put("an unknown field", "/v1/agent/check/register", r#"{"Name":"x","TTL":"10s","Bogus":1}"#)
        .gives(400, Starts("Request decode failed: json: unknown field \"Bogus\"")),
    put("take away", "/v1/agent/check/deregister/mem", "").gives(200, Empty),
    put("take away again", "/v1/agent/check/deregister/mem", "").gives(404, Any).consul(200, Empty),
    get("none is left", "/v1/agent/checks").gives(200, Json("{}")),
];

#[tokio::test]
async fn services() {
    check(SERVICES).await;
}

#[tokio::test]
async fn checks() {
    check(CHECKS).await;
}

/// The ids of the services and checks that an agent claims.
async fn claimed(http: &Http) -> Vec<String> {
    let mut ids = Vec::new();
    for path in ["/v1/agent/services", "/v1/agent/checks"] {
        let all = http.get(path).await.json();
        ids.extend(all.as_object().expect("an object").keys().cloned());
    }
    ids.sort();
    ids
}

/// What a configuration file names no more is gone after a reload and after a restart, what came
/// over the API stays, and a file with one mistake changes nothing.
#[tokio::test]
async fn services_of_the_configuration_go_with_it() {
    let _turn = beside_others().await;
    let file = tempfile::Builder::new().suffix(".json").tempfile().expect("a file");
    let write = |text: &str| std::fs::write(file.path(), text).expect("a write");
    let shape = Shape::Server { expect: 1, join: Vec::new() };
    let mut agent = Agent::new("n1", free_address(), &shape, &[]).with_file(file.path());
    write(
        r#"{"services":[{"name":"a"},{"name":"b","check":{"ttl":"60s"}}],
        "check":{"name":"c","ttl":"60s"}}"#,
    );
    agent.start();
    agent.serving().await;
    let http = agent.http();
    http.done("/v1/agent/service/register", r#"{"Name":"api"}"#).await;
    assert_eq!(claimed(&http).await, ["a", "api", "b", "c", "service:b"]);

    write(r#"{"services":[{"name":"a"},{"name":"d"}]}"#);
    assert_eq!(http.put("/v1/agent/reload", "").await.status, 200);
    assert_eq!(claimed(&http).await, ["a", "api", "d"]);
    write(r#"{"services":[{"name":"e"},{"name":""}]}"#);
    assert_eq!(http.put("/v1/agent/reload", "").await.status, 500);
    assert_eq!(claimed(&http).await, ["a", "api", "d"]);

    write(r#"{"service":{"name":"f"}}"#);
    agent.terminate();
    agent.stopped().await;
    agent.start();
    agent.serving().await;
    assert_eq!(claimed(&http).await, ["api", "f"]);
}

async fn instances(http: &Http, query: &str) -> Vec<Value> {
    let reply = http.get(&format!("/v1/health/service/web{query}")).await.json();
    reply.as_array().cloned().expect("a list")
}

/// The agent's claim reaches the catalogue, and what others wrote over it is put right.
#[tokio::test]
async fn the_catalogue_follows_the_agent() {
    let _turn = beside_others().await;
    let agent = Agent::dev().await;
    let http = agent.http();
    let limit = Duration::from_secs(10);
    let service = r#"{"Name":"web","Port":80,"Check":{"TTL":"60s"}}"#;
    http.done("/v1/agent/service/register", service).await;
    let registered = || async { (instances(&http, "").await.len() == 1).then_some(()) };
    until("the instance is in the catalogue", limit, registered).await;
    assert!(instances(&http, "?passing").await.is_empty(), "a TTL check starts critical");
    http.done("/v1/agent/check/pass/service:web", "").await;
    let passing = || async { (instances(&http, "?passing").await.len() == 1).then_some(()) };
    until("the verdict is in the catalogue", limit, passing).await;
    http.done("/v1/agent/service/deregister/web", "").await;
    let gone = || async { instances(&http, "").await.is_empty().then_some(()) };
    until("the instance is out of the catalogue", limit, gone).await;
}

/// HTTP and TCP checks look by themselves: up, then gone.
#[tokio::test]
async fn checks_that_look_by_themselves() {
    let _turn = beside_others().await;
    let agent = Agent::dev().await;
    let http = agent.http();
    let door = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let at = door.local_addr().expect("its address");
    let own = http.address();
    let service = format!(
        r#"{{"Name":"web","Port":1,"Checks":[{{"TCP":"{at}","Interval":"1s","Timeout":"1s"}},
        {{"HTTP":"http://{own}/v1/status/leader","Interval":"1s"}}]}}"#
    );
    http.done("/v1/agent/service/register", &service).await;
    let limit = Duration::from_secs(15);
    let passing = || async { (instances(&http, "?passing").await.len() == 1).then_some(()) };
    until("both checks pass", limit, passing).await;
    drop(door);
    let failing = || async { instances(&http, "?passing").await.is_empty().then_some(()) };
    until("the check sees that the door is shut", limit, failing).await;
    let checks = http.get("/v1/agent/checks").await.json();
    assert_eq!(checks["service:web:1"]["Status"], "critical");
    assert_eq!(checks["service:web:2"]["Status"], "passing");
    let output = checks["service:web:2"]["Output"].as_str().unwrap_or_default().to_owned();
    assert!(
        output.starts_with(&format!("HTTP GET http://{own}/v1/status/leader: 200 OK")),
        "{output}"
    );
}
