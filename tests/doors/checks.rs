//! Checks of every kind: which definitions are taken, and what each kind says of what is there,
//! of what is not, and of what takes too long. The texts are those of the real Consul.

use std::fmt::Write as _;
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::process::Command;

use crate::harness::{Agent, Http, beside_others, is_consul, skip, until, within};
use crate::real_clients::peers;

use super::table::Want::{Any, Empty, Is, Json, Like};
use super::table::{Row, check, check_on, get, put};

/// The longest that a check may take to say what it should.
const SAID_LIMIT: Duration = Duration::from_secs(30);

const REFUSED: &str = "Scripts are disabled on this agent from remote calls; to enable, configure \
                       'enable_script_checks' to true";

const WITHOUT_SCRIPTS: &[Row] = &[
    put("a program", "/v1/agent/check/register", r#"{"Name":"x","Args":["true"],"Interval":"10s"}"#)
        .gives(500, Is(REFUSED)),
    put("a program in a container", "/v1/agent/check/register",
        r#"{"Name":"x","DockerContainerID":"c","Args":["true"],"Interval":"10s"}"#)
        .gives(500, Is(REFUSED)),
    put("a program of a service", "/v1/agent/service/register",
        r#"{"Name":"web","Check":{"Args":["true"],"Interval":"10s"}}"#)
        .gives(500, Is(REFUSED)),
    get("nothing of it is there", "/v1/agent/checks").gives(200, Json("{}")),
    put("a script by its old name", "/v1/agent/check/register",
        r#"{"Name":"x","Script":"true","Interval":"10s"}"#)
        .gives(400, Is("Request decode failed: json: unknown field \"Script\"")),
    put("words that are no list", "/v1/agent/check/register",
        r#"{"Name":"x","Args":"true","Interval":"10s"}"#)
        .gives(400, Any),
    put("a container without a program", "/v1/agent/check/register",
        r#"{"Name":"x","DockerContainerID":"c","Interval":"10s"}"#)
        .gives(400, Is("Invalid check: TTL must be > 0 for TTL checks")),
    put("an alias with a TTL", "/v1/agent/check/register", r#"{"Name":"x","AliasService":"w","TTL":"3s"}"#)
        .gives(400, Is("Invalid check: TTL must be not be set for Alias checks")),
    put("an alias that asks as well", "/v1/agent/check/register",
        r#"{"Name":"x","AliasService":"w","HTTP":"http://x","Interval":"3s"}"#)
        .gives(400, Is("Invalid check: Interval cannot be set for Alias checks")),
    put("an interval and a TTL", "/v1/agent/check/register", r#"{"Name":"x","TTL":"1s","Interval":"3s"}"#)
        .gives(400, Is("Invalid check: Interval and TTL cannot both be specified")),
    put("an output below nothing", "/v1/agent/check/register", r#"{"Name":"x","TTL":"1s","OutputMaxSize":-1}"#)
        .gives(400, Is("Invalid check: MaxOutputMaxSize must be positive")),
    put("the status of a check alone is looked at first", "/v1/agent/check/register",
        r#"{"Name":"x","HTTP":"x","OutputMaxSize":-1,"Status":"weird"}"#)
        .gives(400, Is("Bad check status")),
    put("… and that of a service's check last", "/v1/agent/service/register",
        r#"{"Name":"w","Check":{"HTTP":"x","Status":"weird"}}"#)
        .gives(400, Is("Invalid check: Interval must be > 0 for Script, HTTP, or TCP checks")),
    put("headers that are no lists", "/v1/agent/check/register",
        r#"{"Name":"x","HTTP":"x","Interval":"1s","Header":{"a":"b"}}"#)
        .gives(400, Is("Request decode failed: json: cannot unmarshal string into Go struct field .Header of type []string")),
    put("a ping of HTTP/2", "/v1/agent/check/register", r#"{"Name":"h2","H2PING":"127.0.0.1:1","Interval":"1h"}"#)
        .gives(200, Empty)
        .consul(400, Any),
    put("a datagram", "/v1/agent/check/register", r#"{"Name":"udp","UDP":"127.0.0.1:1","Interval":"1h"}"#)
        .gives(200, Empty)
        .consul(400, Any),
    put("a warning before failure", "/v1/agent/check/register",
        r#"{"Name":"thr","TCP":"127.0.0.1:1","Interval":"1h","FailuresBeforeWarning":1,"FailuresBeforeCritical":3}"#)
        .gives(200, Empty)
        .consul(400, Any),
    put("… that comes too late", "/v1/agent/check/register",
        r#"{"Name":"x","TTL":"10s","FailuresBeforeWarning":3}"#)
        .gives(400, Is("Invalid check: FailuresBeforeWarning can't be higher than FailuresBeforeCritical"))
        .consul(400, Any),
    put("a gRPC call", "/v1/agent/check/register",
        r#"{"Name":"grpc","GRPC":"127.0.0.1:1/web","GRPCUseTLS":true,"Interval":"1h","Timeout":"2s","Status":"passing"}"#)
        .gives(200, Empty),
    put("an HTTP call with secrets", "/v1/agent/service/register",
        r#"{"Name":"web","Check":{"HTTP":"http://127.0.0.1:1/","Header":{"X-Key":["secret"]},"Interval":"1h",
        "Timeout":"90s","Method":"PUT"}}"#)
        .gives(200, Empty),
    put("an alias", "/v1/agent/check/register", r#"{"Name":"al","AliasService":"db"}"#).gives(200, Empty),
    get("how often and how long is shown, with what is not", "/v1/agent/checks").gives(200, Like(
        r#"{"grpc":{"Type":"grpc","Status":"passing","Interval":"1h0m0s","Timeout":"2s","ExposedPort":0,"Definition":{}},
        "service:web":{"Type":"http","Interval":"1h0m0s","Timeout":"1m30s","Definition":{}},"al":{"Type":"alias"}}"#,
    )).consul(200, Like(
        r#"{"grpc":{"Type":"grpc","Status":"passing","Definition":{}},"service:web":{"Type":"http","Definition":{}},
        "al":{"Type":"alias"}}"#,
    )),
];

#[tokio::test]
async fn definitions() {
    check(WITHOUT_SCRIPTS).await;
}

/// The catalogue shows of an agent's check how often it runs, and nothing that may be secret.
const CATALOGUE: &[Row] = &[
    get("the check in the catalogue", "/v1/health/checks/web").gives(200, Like(
        r#"[{"CheckID":"service:web","Type":"http","Interval":"1h0m0s","Timeout":"1m30s","Definition":{}}]"#,
    )).consul(200, Like(r#"[{"CheckID":"service:web","Type":"http","Definition":{}}]"#)),
];

#[tokio::test]
async fn the_catalogue_has_no_secrets() {
    let _turn = beside_others().await;
    let agent = Agent::dev().await;
    let http = agent.http();
    let service = r#"{"Name":"web","Check":{"HTTP":"http://127.0.0.1:1/","Header":{"X-Key":["secret"]},
        "Interval":"1h","Timeout":"90s"}}"#;
    http.done("/v1/agent/service/register", service).await;
    let there = || async {
        let text = http.get("/v1/health/checks/web").await.text();
        text.contains("service:web").then_some(text)
    };
    let (text, _) = until("the check is in the catalogue", SAID_LIMIT, there).await;
    assert!(!text.contains("secret"), "{text}");
    check_on(&agent, CATALOGUE).await;
}

/// A check: its id, its fields, and what it has to say: its status and its output.
type Check = (&'static str, String, &'static str, String);

/// Registers checks by id with these fields, every second, and returns once each has said what
/// stands beside it.
async fn say(http: &Http, checks: &[Check]) {
    for (id, fields, _, _) in checks {
        let body = format!(r#"{{"ID":"{id}","Name":"{id}",{fields}}}"#);
        http.done("/v1/agent/check/register", &body).await;
    }
    said(http, checks).await;
}

/// Returns once each of these checks has said what stands beside it.
async fn said(http: &Http, checks: &[Check]) {
    let wrong = || async {
        let all = http.get("/v1/agent/checks").await.json();
        let mut wrong = String::new();
        for (id, _, status, output) in checks {
            let (is, says) = (&all[id]["Status"], all[id]["Output"].as_str().unwrap_or_default());
            if is != status || says != output {
                writeln!(wrong, "{id}: {is} {says:?}, not {status} {output:?}").expect("a string");
            }
        }
        wrong
    };
    // What is still wrong at the end is worth more than that it took too long.
    let all_right = || async { wrong().await.is_empty().then_some(()) };
    let right = within(SAID_LIMIT, all_right).await.is_some();
    let left = wrong().await;
    assert!(right, "\n{left}");
}

fn row(id: &'static str, fields: &str, status: &'static str, output: impl Into<String>) -> Check {
    (id, fields.to_owned(), status, output.into())
}

#[tokio::test]
async fn programs() {
    let _turn = beside_others().await;
    let agent = Agent::dev_with(&["enable_script_checks = true"]).await;
    let sh = |script: &str, more: &str| {
        format!(r#""Args":["/bin/sh","-c","{script}"],"Interval":"1s"{more}"#)
    };
    say(
        &agent.http(),
        &[
            row("good", &sh("echo out; echo err >&2", ""), "passing", "out\nerr\n"),
            row("so so", &sh("exit 1", ""), "warning", ""),
            row("bad", &sh("echo no; exit 7", ""), "critical", "no\n"),
            row(
                "cut",
                &sh("seq 1 3000", r#","OutputMaxSize":20"#),
                "passing",
                "Captured 20 of 13893 bytes\n...\n2997\n2998\n2999\n3000\n",
            ),
            row(
                "slow",
                &sh("echo hi; sleep 60", r#","Timeout":"1500ms""#),
                "critical",
                "Timed out (1.5s) running check\n\nhi\n",
            ),
            row(
                "left behind",
                &sh("sleep 60 & echo bg", r#","Timeout":"1s""#),
                "critical",
                "Timed out (1s) running check\n\nbg\n",
            ),
            row(
                "nowhere",
                r#""Args":["/nope"],"Interval":"1s""#,
                "critical",
                "fork/exec /nope: no such file or directory",
            ),
            row(
                "not in the path",
                r#""Args":["nope-at-all"],"Interval":"1s""#,
                "critical",
                r#"exec: "nope-at-all": executable file not found in $PATH"#,
            ),
        ],
    )
    .await;
    let engine = r#""DockerContainerID":"no-such","Args":["true"],"Interval":"1s""#;
    let body = format!(r#"{{"ID":"docker","Name":"docker",{engine}}}"#);
    agent.http().done("/v1/agent/check/register", &body).await;
    let says = || async {
        let all = agent.http().get("/v1/agent/checks").await.json();
        let output = all["docker"]["Output"].as_str().unwrap_or_default().to_owned();
        output.starts_with("create exec failed for ").then_some(())
    };
    until("a check in a container that is not there", SAID_LIMIT, says).await;
}

/// A server of HTTP that knows four pages.
async fn pages(listener: TcpListener) {
    loop {
        let Ok((mut stream, _)) = listener.accept().await else { return };
        let mut asked = [0; 1024];
        let count = stream.read(&mut asked).await.unwrap_or_default();
        let asked = String::from_utf8_lossy(&asked[..count]).into_owned();
        let (status, more) = match asked.split(' ').nth(1) {
            Some("/busy") => ("429 Too Many Requests", ""),
            Some("/moved") => ("302 Found", "Location: /busy\r\n"),
            Some("/gone") => ("410 Gone", ""),
            _ => ("200 OK", ""),
        };
        let answer = format!(
            "HTTP/1.1 {status}\r\n{more}Content-Length: 10\r\nConnection: close\r\n\r\n0123456789"
        );
        // Whoever asked may have gone.
        drop(stream.write_all(answer.as_bytes()).await);
    }
}

/// Checks of pages at `at`, of one who never answers, and of nobody.
fn http_checks(at: &str, mute: &str, gone: &str) -> Vec<Check> {
    let http =
        |path: &str, more: &str| format!(r#""HTTP":"http://{at}{path}","Interval":"1s"{more}"#);
    let refused = format!("dial tcp {gone}: connect: connection refused");
    vec![
        row(
            "ok",
            &http("/", r#","OutputMaxSize":4"#),
            "passing",
            format!("HTTP GET http://{at}/: 200 OK Output: 6789"),
        ),
        row(
            "busy",
            &http("/busy", r#","Method":"POST""#),
            "warning",
            format!("HTTP POST http://{at}/busy: 429 Too Many Requests Output: 0123456789"),
        ),
        row(
            "gone",
            &http("/gone", ""),
            "critical",
            format!("HTTP GET http://{at}/gone: 410 Gone Output: 0123456789"),
        ),
        row(
            "moved",
            &http("/moved", ""),
            "warning",
            format!("HTTP GET http://{at}/moved: 429 Too Many Requests Output: 0123456789"),
        ),
        row(
            "mute",
            &format!(r#""HTTP":"http://{mute}/","Interval":"1s","Timeout":"300ms""#),
            "critical",
            format!(
                "Get \"http://{mute}/\": context deadline exceeded (Client.Timeout exceeded \
                 while awaiting headers)"
            ),
        ),
        row(
            "shut",
            &format!(r#""HTTP":"http://{gone}/","Interval":"1s""#),
            "critical",
            format!("Get \"http://{gone}/\": {refused}"),
        ),
    ]
}

#[tokio::test]
async fn doors_that_are_open_and_shut() {
    let _turn = beside_others().await;
    let agent = Agent::dev().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let at = listener.local_addr().expect("its address").to_string();
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let mute = silent.local_addr().expect("its address").to_string();
    let shut = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let gone = shut.local_addr().expect("its address").to_string();
    drop(shut);
    let refused = format!("dial tcp {gone}: connect: connection refused");
    let grpc = "rpc error: code = Unavailable desc = connection error: desc = \"transport: Error \
                while dialing ";
    let mut checks = http_checks(&at, &mute, &gone);
    checks.extend([
        row(
            "tcp",
            &format!(r#""TCP":"{mute}","Interval":"1s""#),
            "passing",
            format!("TCP connect {mute}: Success"),
        ),
        row("tcp shut", &format!(r#""TCP":"{gone}","Interval":"1s""#), "critical", refused.clone()),
        row(
            "tcp nowhere",
            r#""TCP":"127.0.0.1","Interval":"1s""#,
            "critical",
            "dial tcp: address 127.0.0.1: missing port in address",
        ),
        row(
            "grpc shut",
            &format!(r#""GRPC":"{gone}/x","Interval":"1s""#),
            "critical",
            format!("{grpc}{refused}\""),
        ),
    ]);
    let door = agent.http();
    // The pages are served as long as the checks look.
    tokio::select! {
        () = pages(listener) => panic!("the pages are gone"),
        () = say(&door, &checks) => {}
    }
    if !is_consul() {
        datagrams(&door).await;
    }
}

/// Consul has these since 1.13.
async fn datagrams(http: &Http) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
    let at = socket.local_addr().expect("its address").to_string();
    let shut = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
    let gone = shut.local_addr().expect("its address").to_string();
    drop(shut);
    let checks = [
        row(
            "udp",
            &format!(r#""UDP":"{at}","Interval":"1s","Timeout":"200ms""#),
            "passing",
            format!("UDP connect {at}: Success"),
        ),
        row(
            "udp shut",
            &format!(r#""UDP":"{gone}","Interval":"1s","Timeout":"5s""#),
            "critical",
            format!("read udp {gone}: read: connection refused"),
        ),
    ];
    say(http, &checks).await;
}

/// A real server of gRPC: etcd serves the health protocol of all gRPC servers.
#[tokio::test]
async fn grpc_and_http2_of_a_real_server() {
    let _turn = beside_others().await;
    let etcd = peers().join("usr/bin/etcd");
    if !etcd.exists() {
        let why = format!("no {} (tests/peers/get)", etcd.display());
        return skip("grpc_and_http2_of_a_real_server", &why);
    }
    let agent = Agent::dev().await;
    let folder = TempDir::new().expect("a temporary folder");
    let (client, peer) = (format!("{}:2379", agent.address()), format!("{}:2380", agent.address()));
    let _server = Command::new(etcd)
        .arg(format!("--data-dir={}", folder.path().join("data").display()))
        .arg(format!("--listen-client-urls=http://{client}"))
        .arg(format!("--advertise-client-urls=http://{client}"))
        .arg(format!("--listen-peer-urls=http://{peer}"))
        .arg(format!("--initial-advertise-peer-urls=http://{peer}"))
        .arg(format!("--initial-cluster=default=http://{peer}"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("etcd starts");
    let mut checks = vec![
        row(
            "grpc",
            &format!(r#""GRPC":"{client}","Interval":"1s""#),
            "passing",
            format!("gRPC check {client}: success"),
        ),
        row(
            "grpc unknown",
            &format!(r#""GRPC":"{client}/nobody","Interval":"1s""#),
            "critical",
            "rpc error: code = NotFound desc = unknown service",
        ),
    ];
    if !is_consul() {
        checks.push(row(
            "h2ping",
            &format!(r#""H2PING":"{client}","H2PingUseTLS":false,"Interval":"1s""#),
            "passing",
            "HTTP2 ping was successful",
        ));
    }
    say(&agent.http(), &checks).await;
}

/// Aliases of a service of this agent and of one that only the catalogue knows.
#[tokio::test]
async fn aliases_follow_services() {
    let _turn = beside_others().await;
    let agent = Agent::dev().await;
    let http = agent.http();
    let remote = r#"{"Node":"n2","Address":"10.0.0.2","Service":{"Service":"db"},
        "Check":{"Name":"up","CheckID":"up","ServiceID":"db","Status":"passing"}}"#;
    http.done("/v1/catalog/register", remote).await;
    http.done("/v1/agent/service/register", r#"{"Name":"web","Check":{"TTL":"1h"}}"#).await;
    http.done("/v1/agent/service/register", r#"{"Name":"mirror"}"#).await;
    let local = r#""AliasService":"web","ServiceID":"mirror""#;
    let other = r#""AliasNode":"n2","AliasService":"db","ServiceID":"mirror""#;
    let fails = |name: &str, why: &str| format!("Aliased check \"{name}\" failing: {why}");
    let own = "Service 'web' check";
    let mut checks = vec![
        row("local", local, "critical", fails(own, "")),
        row("other", other, "passing", "All checks passing."),
    ];
    if !is_consul() {
        // The real one dereferences nothing here, and dies.
        let none = r#""AliasNode":"n3","AliasService":"x","ServiceID":"mirror""#;
        let why = "Service x could not be found on node n3";
        checks.push(row("none", none, "critical", why));
    }
    say(&http, &checks).await;
    http.done("/v1/agent/check/warn/service:web?note=slow", "").await;
    http.done("/v1/catalog/register", &remote.replace("passing", "critical")).await;
    let now = [
        row("local", local, "warning", fails(own, "slow")),
        row("other", other, "critical", fails("up", "")),
    ];
    said(&http, &now).await;
    let all = http.get("/v1/agent/checks").await.json();
    assert_eq!(all["local"]["Type"], "alias");
}
