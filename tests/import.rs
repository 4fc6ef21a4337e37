//! A real Consul's snapshot brought into a running cluster, and read back over HTTP: what ours
//! shows afterwards is compared, field by field, with what the real one shows.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::harness::{
    Agent, Cluster, Http, Shape, alone, free_address, is_consul, program, skip, until,
};
use crate::real_clients::peers;

const COMMAND_LIMIT: Duration = Duration::from_mins(1);
const LIMIT: Duration = Duration::from_secs(30);

/// What is compared once the snapshot is in. Not the node that an agent lived on: its id is left
/// behind, so that an agent of this cluster may take the name.
const SHOWN: &[&str] = &[
    "/v1/kv/?recurse",
    "/v1/kv/a/bin",
    "/v1/session/list",
    "/v1/catalog/node/e1",
    "/v1/catalog/node/e2",
    "/v1/catalog/node/e3",
    "/v1/catalog/service/web",
    "/v1/health/node/e1",
    "/v1/health/checks/web",
    "/v1/health/service/web",
    "/v1/query",
];

/// What the real one is filled with.
async fn fill(http: &Http) {
    for body in [
        r#"{"Node":"e1","ID":"40e4a748-2192-161a-0510-9bf59fe950b5","Address":"10.0.0.1",
        "TaggedAddresses":{"wan":"198.18.0.1"},"NodeMeta":{"rack":"r1"},"Service":{"ID":"web1",
        "Service":"web","Port":80,"Tags":["v1","Blue"],"Meta":{"env":"prod"},"Address":"10.1.1.1",
        "Weights":{"Passing":10,"Warning":2},"EnableTagOverride":true,
        "TaggedAddresses":{"lan":{"Address":"10.1.1.1","Port":8000}}},"Checks":[
        {"CheckID":"c1","Name":"alive","Status":"passing","Notes":"n1","Output":"all good"},
        {"CheckID":"c2","Name":"web","Status":"warning","ServiceID":"web1","Output":"a\nb"},
        {"CheckID":"c4","Name":"http","Status":"passing","Definition":{"HTTP":"http://x",
        "Interval":"10s","Timeout":"2s","Header":{"a":["b"]},"Method":"PUT","TLSSkipVerify":true,
        "DeregisterCriticalServiceAfter":"1m"}}]}"#,
        r#"{"Node":"e2","Address":"10.0.0.2","Service":{"ID":"px","Service":"web",
        "Kind":"connect-proxy","Port":21000,"Tags":["été"],"Proxy":{"DestinationServiceName":"web",
        "DestinationServiceID":"web2","LocalServicePort":81,"Config":{"a":1},"Upstreams":[
        {"DestinationType":"service","DestinationName":"db","LocalBindPort":9001},
        {"DestinationName":"cache","LocalBindPort":9002}],"MeshGateway":{"Mode":"local"},
        "Expose":{"Checks":true,"Paths":[{"Path":"/h","ListenerPort":5,"Protocol":"http"}]}}},
        "Check":{"CheckID":"c3","Name":"alive","Status":"critical"}}"#,
        r#"{"Node":"e3","Address":"10.0.0.3","Service":{"ID":"nat","Service":"web","Port":1,
        "Connect":{"Native":true}}}"#,
    ] {
        http.done("/v1/catalog/register", body).await;
    }
    let own = r#"{"ID":"a1","Name":"aweb","Port":90,"Tags":["v1"],"Check":{"TTL":"30s"}}"#;
    http.done("/v1/agent/service/register", own).await;
    let session = r#"{"Name":"s1","TTL":"3600s","LockDelay":"5s","Behavior":"delete"}"#;
    let holder = http.done("/v1/session/create", session).await;
    let holder = holder["ID"].as_str().expect("an id");
    let bound = r#"{"Node":"e1","NodeChecks":["c1"],"ServiceChecks":[{"ID":"c2"}]}"#;
    let bound = http.done("/v1/session/create", bound).await;
    let big = "x".repeat(300_000);
    for (path, value) in [
        ("/v1/kv/a/b?flags=42", "hello"),
        ("/v1/kv/a/bin", "\u{0}\u{1}\u{7f}\u{e9}"),
        ("/v1/kv/empty", ""),
        ("/v1/kv/big", &big),
        ("/v1/kv/gone", "x"),
        (&format!("/v1/kv/lock?acquire={holder}&flags=7"), "me"),
    ] {
        assert_eq!(http.done(path, value).await, true, "{path}");
    }
    for (method, path, body) in [
        ("DELETE", "/v1/kv/gone", String::new()),
        (
            "PUT",
            "/v1/config",
            r#"{"Kind":"service-defaults","Name":"web","Protocol":"http"}"#.into(),
        ),
        ("POST", "/v1/query", query(&bound)),
        (
            "POST",
            "/v1/query",
            r#"{"Name":"geo-","Template":{"Type":"name_prefix_match","Regexp":"^geo-(.*)$",
            "RemoveEmptyTags":true},"Service":{"Service":"${match(1)}"}}"#
                .into(),
        ),
    ] {
        let reply = http.send(method, path, &[], &body).await.expect("the real consul answers");
        assert_eq!(reply.status, 200, "{method} {path}: {}", reply.text());
    }
}

fn query(bound: &Value) -> String {
    json!({"Name": "q1", "Session": bound["ID"], "Service": {"Service": "web", "Failover":
        {"NearestN": 2, "Datacenters": ["dc2"]}, "OnlyPassing": true, "IgnoreCheckIDs": ["c9"],
        "Near": "_agent", "Tags": ["v1", "!x"], "NodeMeta": {"a": "b"}, "ServiceMeta": {"c": "d"}},
        "DNS": {"TTL": "10s"}})
    .to_string()
}

/// Runs a command at a server: exit code, output, errors.
async fn run(program: &Path, at: SocketAddr, words: &[&str], file: &Path) -> (i32, String, String) {
    let mut command = Command::new(program);
    command.args(words).arg(format!("-http-addr={at}")).arg(file).stdin(Stdio::null());
    let ended = tokio::time::timeout(COMMAND_LIMIT, command.output()).await;
    let output = ended.expect("it ends").expect("it starts");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim_end().to_owned();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

/// The first place where `ours` lacks or changes something that `real` has. Nothing, empty and
/// absent are the same, and ours may have further fields.
fn differs(at: &str, real: &Value, ours: &Value) -> Option<String> {
    let none = |value: &Value| match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    };
    match (real, ours) {
        _ if none(real) && none(ours) => None,
        (Value::Object(fields), Value::Object(_)) => fields
            .iter()
            .find_map(|(name, value)| differs(&format!("{at}/{name}"), value, &ours[name])),
        (Value::Array(items), Value::Array(others)) if items.len() == others.len() => {
            let mut pairs = items.iter().zip(others).enumerate();
            pairs.find_map(|(nth, (one, other))| differs(&format!("{at}/{nth}"), one, other))
        }
        _ if real == ours => None,
        _ => Some(format!("{at}: real {real}, ours {ours}")),
    }
}

/// An answer in an order that does not depend on who gives it.
async fn shown(http: &Http, path: &str) -> Value {
    let reply = http.get(path).await;
    assert_eq!(reply.status, 200, "{path} at {}: {}", http.address(), reply.text());
    let mut body = reply.json();
    if let Value::Array(items) = &mut body {
        items.sort_by_key(|item| {
            let places = ["/Key", "/ID", "/ServiceID", "/Service/ID"];
            let known = places.iter().filter_map(|place| item.pointer(place)?.as_str());
            let check = item["CheckID"].as_str().unwrap_or_default();
            format!("{check} {}", known.max().unwrap_or_default())
        });
    }
    body
}

async fn compare(real: &Http, ours: &Http) {
    let mut wrong = Vec::new();
    for path in SHOWN {
        let (theirs, own) = (shown(real, path).await, shown(ours, path).await);
        wrong.extend(differs(path, &theirs, &own));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Ours takes all of it, over its own command line and over the real one's; what is damaged
/// changes nothing.
#[tokio::test]
async fn a_real_consuls_snapshot_is_imported() {
    let real_program: PathBuf = peers().join("usr/bin/consul");
    if !real_program.exists() || is_consul() {
        let why = format!("no {} (tests/peers/get), or under test itself", real_program.display());
        return skip("a_real_consuls_snapshot_is_imported", &why);
    }
    let _turn = alone().await;
    // The name of one of ours: who moves to us on the same hosts keeps their names.
    let old = Agent::new("c2", free_address(), &Shape::Dev, &[]);
    let mut old = old.with_program(real_program.clone());
    old.start();
    old.serving().await;
    let real = old.http();
    fill(&real).await;
    let snapshot = real.get("/v1/snapshot").await;
    assert_eq!(snapshot.status, 200, "{}", snapshot.text());
    let folder = TempDir::new().expect("a temporary folder");
    let file = folder.path().join("real.tgz");
    std::fs::write(&file, &snapshot.body).expect("a file");

    let cluster = Cluster::start().await;
    let servers = cluster.https();
    servers[0].done("/v1/kv/before", "x").await;
    let cut = folder.path().join("cut.tgz");
    let half = snapshot.body.get(..snapshot.body.len() / 2).expect("a half");
    std::fs::write(&cut, half).expect("a file");
    let at = servers[1].address();
    let (code, out, err) = run(&program(), at, &["snapshot", "import"], &cut).await;
    assert_eq!((code, out.as_str()), (1, ""), "{err}");
    assert!(err.contains("failed to decompress snapshot: unexpected EOF"), "{err}");
    assert_eq!(servers[2].get("/v1/kv/before?raw").await.text(), "x");

    let (code, out, err) = run(&program(), at, &["snapshot", "import"], &file).await;
    assert_eq!((code, out.as_str()), (0, "Imported snapshot"), "{err}");
    assert!(err.starts_with("not imported: "), "{err}");
    for left in ["1 config entry", "1 CA root", "1 instance of \"consul\""] {
        assert!(err.contains(left), "{left}: {err}");
    }
    assert_eq!(servers[2].get("/v1/kv/before").await.status, 404, "a restore replaces all");
    compare(&real, &servers[2]).await;
    let took = || async {
        let node = servers[0].get("/v1/catalog/node/c2").await.json();
        let ours = node["Node"]["ID"].as_str().is_some_and(|id| !id.is_empty());
        (ours && node["Services"]["consul"].is_object()).then_some(())
    };
    until("our server takes the name of the old one", LIMIT, took).await;

    servers[0].done("/v1/kv/before", "x").await;
    let (code, out, err) = run(&real_program, at, &["snapshot", "restore"], &file).await;
    assert_eq!((code, out.as_str()), (0, "Restored snapshot"), "{err}");
    assert_eq!(servers[0].get("/v1/kv/before").await.status, 404, "a restore replaces all");
    compare(&real, &servers[0]).await;
}
