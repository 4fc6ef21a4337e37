//! `/v1/agent`: the agent itself: its machine, its log, its figures, the pool it is in, and what
//! it says of its services' fitness.

use std::time::Duration;

use crate::harness::{Agent, beside_others, is_consul};

use super::table::Want::{Any, Empty, Is, Json, Like, Starts};
use super::table::{Row, check, check_on, get, other, put};

const OWN: &[Row] = &[
    get("the machine", "/v1/agent/host").gives(200, Like(
        r##"{"Memory":{"total":"#","available":"#","used":"#","usedPercent":"*","free":"*","hugepagesize":"*"},
        "CPU":"*","Host":{"hostname":"*","uptime":"*","bootTime":"#","procs":"#","os":"linux","platform":"*",
        "kernelVersion":"*","kernelArch":"*","hostid":"*"},
        "Disk":{"path":"*","total":"#","free":"*","used":"*","inodesTotal":"*"},
        "CollectionTime":"#","Errors":null}"##,
    )),
    get("the version", "/v1/agent/version")
        .gives(200, Json(r#"{"SHA":"*","BuildDate":"*","HumanVersion":"*","FIPS":"*"}"#))
        .consul(404, Any),
    get("the settings", "/v1/agent/self").gives(200, Like(
        r#"{"DebugConfig":{"NodeName":"n1","Datacenter":"dc1","ServerMode":true,"HTTPPort":8500,"DNSPort":8600,
        "KVMaxValueSize":524288,"MaxQueryTime":"10m0s","HTTPAddrs":["tcp://{ip}:8500"],
        "SerfAdvertiseAddrLAN":"tcp://{ip}:8301","SerfAdvertiseAddrWAN":"tcp://{ip}:8302","SerfPortWAN":8302,
        "HTTPBlockEndpoints":[],"AllowWriteHTTPFrom":[],"HTTPUseCache":true,"LeaveDrainTime":"5s",
        "AutopilotMaxTrailingLogs":250,"DNSDomain":"consul.","ClientAddrs":["{ip}"]},
        "Coord":{"Vec":[0,0,0,0,0,0,0,0],"Error":1.5,"Adjustment":0,"Height":"*"},
        "Stats":{"agent":{"checks":"0","services":"0","check_ttls":"0","check_monitors":"0"},
        "raft":{"state":"Leader","num_peers":"0"},"runtime":{"os":"linux","cpu_count":"*","goroutines":"*"},
        "serf_lan":{"members":"1","encrypted":"false"},"build":{"version":"*"}}}"#,
    )),
    put("a token", "/v1/agent/token/default", r#"{"Token":"x"}"#).gives(401, Is("ACL support disabled")),
    put("a token of an unknown kind", "/v1/agent/token/bogus", "{}").gives(401, Is("ACL support disabled")),
    get("tokens are not shown", "/v1/agent/token/default").gives(405, Is("method GET not allowed")),
    get("a log level that is none", "/v1/agent/monitor?loglevel=zz")
        .gives(400, Is("Bad request: Unknown log level: zz")),
    other("the log is only read", "PUT", "/v1/agent/monitor").gives(405, Is("method PUT not allowed")),
    get("metrics as text, turned off", "/v1/agent/metrics?format=prometheus").gives(415, Is(
        "Prometheus is not enabled since its retention time is not positive",
    )),
    get("metrics in a form that is none", "/v1/agent/metrics?format=bogus")
        .gives(200, Like(r#"{"Gauges":"*"}"#)),
    other("metrics are only read", "PUT", "/v1/agent/metrics").gives(405, Is("method PUT not allowed")),
];

const POOL: &[Row] = &[
    get("members of all data centers", "/v1/agent/members?wan=0").gives(200, Like(
        r#"[{"Name":"n1.dc1","Addr":"{ip}","Port":8302,"Status":1,"Tags":{"role":"consul","ft_fs":"1"}}]"#,
    )),
    get("members and their port there", "/v1/agent/members")
        .gives(200, Like(r#"[{"Name":"n1","Port":8301,"Tags":{"wan_join_port":"8302"}}]"#)),
    get("members of every segment", "/v1/agent/members?segment=_all").gives(200, Like(r#"[{"Name":"n1"}]"#)),
    get("members of a segment", "/v1/agent/members?segment=x").gives(500, Is(
        "Network segments are not supported in this version of Consul",
    )),
    put("join nobody", "/v1/agent/join/127.0.0.99:9", "").gives(500, Is(
        "1 error occurred:\n\t* Failed to join 127.0.0.99: dial tcp 127.0.0.99:9: connect: connection refused\n\n",
    )),
    put("join nothing", "/v1/agent/join/", "").gives(500, Starts("1 error occurred:\n\t* Failed to resolve")),
    put("force out an unknown member", "/v1/agent/force-leave/xx", "")
        .gives(500, Is("agent: No node found with name 'xx'")),
    put("… and forget it", "/v1/agent/force-leave/xx?prune", "")
        .gives(500, Is("agent: No node found with name 'xx'")),
    put("force out nobody", "/v1/agent/force-leave/", "").gives(500, Is("agent: No node found with name ''")),
    get("reload is a write", "/v1/agent/reload").gives(405, Is("method GET not allowed")),
    put("maintenance of nothing", "/v1/agent/service/maintenance/?enable=true", "")
        .gives(400, Is("Missing service ID")),
    put("maintenance without a word", "/v1/agent/maintenance", "").gives(400, Is("Missing value for enable")),
    put("maintenance by nonsense", "/v1/agent/maintenance?enable=x", "")
        .gives(400, Is("Invalid value for enable: \"x\"")),
    put("maintenance of the node", "/v1/agent/maintenance?enable=true", "").gives(200, Empty),
    get("… has a reason", "/v1/agent/checks").gives(200, Like(
        r#"{"_node_maintenance":{"Status":"critical","Type":"maintenance","Notes":"*"}}"#,
    )),
    put("… is lifted", "/v1/agent/maintenance?enable=false", "").gives(200, Empty),
    put("take away a service of no name", "/v1/agent/service/deregister/", "").gives(500, Any),
    put("take away a check of no name", "/v1/agent/check/deregister/", "").gives(500, Any),
    put("tell a check of no name", "/v1/agent/check/pass/", "").gives(500, Any),
    put("tell a check nothing", "/v1/agent/check/update/x", "")
        .gives(400, Is("Request decode failed: EOF")),
];

const FITNESS: &[Row] = &[
    put("a service with a check", "/v1/agent/service/register",
        r#"{"Name":"web","ID":"w1","Port":80,"Check":{"TTL":"60s","Status":"passing"}}"#)
        .gives(200, Empty),
    get("fit", "/v1/agent/health/service/id/w1")
        .gives(200, Like(r#"{"AggregatedStatus":"passing","Service":{"ID":"w1"},"Checks":[{"CheckID":"service:w1"}]}"#))
        .with(&[("x-consul-reason", "passing")]),
    get("fit, in a word", "/v1/agent/health/service/id/w1?format=text").gives(200, Is("passing")),
    get("fit, in a word by Accept", "/v1/agent/health/service/id/w1")
        .sending(&[("accept", "text/plain")])
        .gives(200, Is("passing")),
    get("fit, by name", "/v1/agent/health/service/name/web")
        .gives(200, Like(r#"[{"AggregatedStatus":"passing"}]"#)),
    put("warn", "/v1/agent/check/warn/service:w1", "").gives(200, Empty),
    get("less fit", "/v1/agent/health/service/id/w1?format=text").gives(429, Is("warning")),
    get("less fit, by name", "/v1/agent/health/service/name/web?format=text").gives(429, Is("warning")),
    put("fail", "/v1/agent/check/fail/service:w1", "").gives(200, Empty),
    get("unfit", "/v1/agent/health/service/id/w1?format=text").gives(503, Is("critical")),
    get("unfit, by name", "/v1/agent/health/service/name/web?format=text").gives(503, Is("critical")),
    put("mend", "/v1/agent/check/pass/service:w1", "").gives(200, Empty),
    put("rest", "/v1/agent/service/maintenance/w1?enable=true", "").gives(200, Empty),
    get("at rest", "/v1/agent/health/service/id/w1?format=text").gives(503, Is("maintenance")),
    get("at rest, by name", "/v1/agent/health/service/name/web")
        .gives(503, Like(r#"[{"AggregatedStatus":"maintenance"}]"#)),
    put("work", "/v1/agent/service/maintenance/w1?enable=false", "").gives(200, Empty),
    get("an unknown one", "/v1/agent/health/service/id/x")
        .gives(404, Json(r#"{"AggregatedStatus":"critical","Service":null,"Checks":null}"#))
        .with(&[("x-consul-reason", "ServiceId x not found")]),
    get("an unknown one, in a word", "/v1/agent/health/service/id/x?format=text")
        .gives(404, Json(r#""ServiceId x not found""#)),
    get("an unknown name, in a word", "/v1/agent/health/service/name/x?format=text")
        .gives(404, Is("ServiceName x Not Found")),
    get("an unknown name", "/v1/agent/health/service/name/x")
        .gives(404, Json("[]"))
        .with(&[("x-consul-reason", "ServiceName x Not Found")]),
    get("no id", "/v1/agent/health/service/id/").gives(500, Is("Bad request: Missing serviceID")),
    get("no name", "/v1/agent/health/service/name/").gives(500, Is("Bad request: Missing service Name")),
    get("no service", "/v1/agent/service/").gives(404, Is("unknown service ID: ")),
    get("a wait of nonsense", "/v1/agent/service/w1?hash=1&wait=zz").gives(400, Any),
];

#[tokio::test]
async fn the_agent_itself() {
    check(OWN).await;
}

#[tokio::test]
async fn the_pool() {
    check(POOL).await;
}

#[tokio::test]
async fn fitness_is_told_by_the_status() {
    check(FITNESS).await;
}

/// Whoever waits with a hash is answered when the service changes, not before, and at the latest
/// when the wait is over or the service is gone.
#[tokio::test]
async fn a_hash_waits_for_a_change() {
    let _turn = beside_others().await;
    let agent = Agent::dev().await;
    let http = agent.http();
    let register = "/v1/agent/service/register";
    http.done(register, r#"{"Name":"web","Port":1}"#).await;
    let hash = async || {
        let reply = http.get("/v1/agent/service/web").await;
        reply.header("x-consul-contenthash").expect("a hash").to_owned()
    };
    let first = hash().await;
    let timed = http.get(&format!("/v1/agent/service/web?hash={first}&wait=1s")).await;
    assert!(timed.took >= Duration::from_millis(900) && timed.status == 200, "{:?}", timed.took);
    let waits = format!("/v1/agent/service/web?hash={first}&wait=30s");
    let other = http.done(register, r#"{"Name":"other","Port":1}"#);
    let (woken, ()) = tokio::join!(http.get(&waits), async {
        other.await;
        http.done(register, r#"{"Name":"web","Port":2}"#).await;
    });
    assert_eq!(woken.json()["Port"], 2);
    assert!(woken.took < Duration::from_secs(20), "{:?}", woken.took);
    let second = hash().await;
    assert_ne!(first, second);
    let waits = format!("/v1/agent/service/web?hash={second}&wait=30s");
    let gone = http.done("/v1/agent/service/deregister/web", "");
    let (woken, _) = tokio::join!(http.get(&waits), gone);
    assert_eq!((woken.status, woken.text().as_str()), (404, "unknown service ID: web"));
}

const TELEMETRY: &str = r#"telemetry { prometheus_retention_time = "60s" metrics_prefix = "sea" }"#;

/// With a place to send metrics to, gauges carry the host's name, and the text has both names.
#[tokio::test]
async fn metrics_are_named_as_the_operator_wants() {
    if is_consul() {
        return; // its prefix and its host are its own
    }
    let _turn = beside_others().await;
    let agent = Agent::dev_with(&[TELEMETRY]).await;
    let http = agent.http();
    let names = async || {
        let shown = http.get("/v1/agent/metrics").await.json();
        let gauges = shown["Gauges"].as_array().cloned().expect("a list");
        gauges
            .iter()
            .map(|one| one["Name"].as_str().unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
    };
    let all = names().await;
    let with_host =
        |name: &String| name.starts_with("sea.") && name.ends_with(".runtime.alloc_bytes");
    assert!(all.iter().any(with_host), "{all:?}");
    assert!(!all.iter().any(|name| name == "sea.runtime.alloc_bytes"), "{all:?}");
    for path in ["/v1/agent/metrics?format=prometheus", "/metrics"] {
        let reply = http.get(path).await;
        assert_eq!(reply.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
        assert!(reply.text().contains("\nportolan_raft_leader 1"), "{}", reply.text());
    }
    let text = http.get("/v1/agent/metrics?format=prometheus").await.text();
    assert!(text.contains("\nsea_http_requests{route="), "{text}");
    let plain = Agent::dev_with(&[TELEMETRY, "telemetry { disable_hostname = true }"]).await;
    let shown = plain.http().get("/v1/agent/metrics").await.text();
    assert!(shown.contains("\"sea.runtime.alloc_bytes\""), "{shown}");
}

/// A stream of pieces that are read as they come.
async fn stream(agent: &Agent, path: &str) -> reqwest::Response {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let url = format!("http://{}{path}", agent.http().address());
    let response = client.get(url).send().await.expect("the head of an answer");
    assert_eq!(response.status().as_u16(), 200);
    response
}

async fn read_until(response: &mut reqwest::Response, wanted: &str) -> String {
    let mut text = String::new();
    while !text.contains(wanted) {
        let piece = tokio::time::timeout(Duration::from_secs(30), response.chunk()).await;
        let piece = piece.unwrap_or_else(|_| panic!("no {wanted:?} in {text:?}"));
        let piece = piece.expect("a piece").unwrap_or_else(|| panic!("it ended with {text:?}"));
        text.push_str(&String::from_utf8_lossy(&piece));
    }
    text
}

/// Lines come as they are logged, at the listener's level and in its form, and the stream ends
/// with the agent.
#[tokio::test]
async fn the_log_can_be_listened_to() {
    if is_consul() {
        return; // Debian's build labels the stream as gzip
    }
    let _turn = beside_others().await;
    let agent = Agent::dev_with(&["log_level = \"ERR\""]).await;
    let mut text = stream(&agent, "/v1/agent/monitor").await;
    let mut json = stream(&agent, "/v1/agent/monitor?loglevel=debug&logjson").await;
    let mut quiet = stream(&agent, "/v1/agent/monitor?loglevel=err").await;
    assert_eq!(agent.http().put("/v1/agent/reload", "").await.status, 200);
    let line = read_until(&mut text, "configuration reloaded").await;
    assert!(line.contains(" [INFO]  node::"), "{line}");
    let line = read_until(&mut json, "configuration reloaded").await;
    let last = line.lines().last().expect("a line");
    let shown: serde_json::Value = serde_json::from_str(last).expect("a JSON object a line");
    assert_eq!((&shown["@level"], shown["@message"].is_string()), (&"info".into(), true), "{line}");
    agent.terminate();
    while let Some(piece) = quiet.chunk().await.expect("an end in order") {
        let line = String::from_utf8_lossy(&piece).into_owned();
        assert!(!line.contains("[INFO]"), "{line}");
    }
}

#[tokio::test]
async fn metrics_come_again_and_again() {
    if is_consul() {
        return; // since 1.10 only
    }
    let _turn = beside_others().await;
    let agent = Agent::dev().await;
    let mut pieces = stream(&agent, "/v1/agent/metrics/stream").await;
    let first = read_until(&mut pieces, "\n").await;
    let shown: serde_json::Value = serde_json::from_str(&first).expect("a JSON object a line");
    assert!(shown["Gauges"].is_array());
    check_on(&agent, &[get("others go on", "/v1/agent/metrics").gives(200, Any)]).await;
}

/// Who may not join for ever gives up with a line that says so.
#[tokio::test]
async fn joining_ends_after_as_many_attempts_as_may_be() {
    let _turn = beside_others().await;
    let nobody = crate::harness::free_address();
    let shape = crate::harness::Shape::Server { expect: 3, join: vec![nobody] };
    let at = crate::harness::free_address();
    let mut agent = Agent::new("n1", at, &shape, &["retry_max = 2"]);
    agent.start();
    assert_eq!(agent.stopped().await.code(), Some(1));
}

/// An agent that leaves goes on answering for a while, so that nobody who was sent to it is lost.
#[tokio::test]
async fn who_leaves_serves_on_for_a_while() {
    let _turn = beside_others().await;
    let mut agent = Agent::dev_with(&["performance { leave_drain_time = \"3s\" }"]).await;
    let http = agent.http();
    let began = tokio::time::Instant::now();
    http.done("/v1/agent/leave", "").await;
    if !is_consul() {
        assert_eq!(http.get("/v1/agent/self").await.status, 200);
    }
    agent.stopped().await;
    assert!(began.elapsed() >= Duration::from_secs(3), "{:?}", began.elapsed());
}
