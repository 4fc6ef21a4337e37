//! Agents without a server: they answer as servers do, outlive the servers that they use, and keep
//! what their hosts claim while there is none.

use std::net::Ipv4Addr;
use std::time::Duration;

use hickory_proto::rr::RecordType;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::harness::{
    Agent, Cluster, Http, Over, Shape, alone, ask, beside_others, free_address, is_consul, rest,
    until,
};

/// How long anything that is not measured may take.
const LIMIT: Duration = Duration::from_mins(1);
/// How long one request may wait while servers die.
const WORK_LIMIT: Duration = Duration::from_mins(5);
/// What is to happen at once may take this long on a busy machine; a held request takes longer.
const AT_ONCE: Duration = Duration::from_secs(3);

/// Agents of a cluster, which serve.
async fn agents_of(cluster: &Cluster, names: &[&str]) -> Vec<Agent> {
    let join: Vec<Ipv4Addr> = cluster.servers.iter().map(Agent::address).collect();
    let shape = Shape::Client { join };
    let mut agents = Vec::new();
    for name in names {
        let mut agent = Agent::new(name, free_address(), &shape, &[]);
        agent.start();
        agents.push(agent);
    }
    for agent in &mut agents {
        agent.serving().await;
    }
    agents
}

/// An agent that knows of nobody, once its own door answers.
async fn lonely(name: &str) -> Agent {
    let mut agent = Agent::new(name, free_address(), &Shape::Client { join: Vec::new() }, &[]);
    agent.start();
    let http = agent.http();
    let look =
        || async { (http.try_get("/v1/agent/self").await.ok()?.status == 200).then_some(()) };
    until("the agent's own door answers", LIMIT, look).await;
    agent
}

/// The statuses of a service's checks as one process tells them, sorted.
async fn statuses(http: &Http, service: &str) -> Option<Vec<String>> {
    let reply = http.try_get(&format!("/v1/health/checks/{service}")).await.ok()?;
    let checks = (reply.status == 200).then(|| reply.json())?;
    let of = |check: &Value| check["Status"].as_str().map(str::to_owned);
    let mut found: Vec<String> = checks.as_array()?.iter().filter_map(of).collect();
    found.sort();
    Some(found)
}

async fn waiting(cluster: &Cluster) -> Option<u64> {
    let mut waiting = 0;
    for server in &cluster.servers {
        let text = server.http().try_get("/metrics").await.ok()?.text();
        let line = text.lines().find_map(|line| line.strip_prefix("portolan_waiters "))?;
        waiting += line.parse::<u64>().ok()?;
    }
    Some(waiting)
}

#[tokio::test]
async fn what_an_agent_claims_is_found_everywhere() {
    let _turn = beside_others().await;
    let cluster = Cluster::start().await;
    let agents = agents_of(&cluster, &["a1", "a2"]).await;
    let service = r#"{"Name":"web","Port":8080,"Check":{"TTL":"60s","Status":"passing"}}"#;
    agents[0].http().done("/v1/agent/service/register", service).await;
    let everywhere = cluster.servers.iter().chain(&agents);
    for asked in everywhere {
        let look = || async {
            let name = "_web._tcp.service.consul.";
            let answer = ask(asked.address(), name, RecordType::SRV, Over::Udp).await?;
            let found = answer.answers() == ["SRV 1 1 8080 a1.node.dc1.consul."];
            (found && answer.additional().contains(&format!("A {}", agents[0].address())))
                .then_some(())
        };
        until(&format!("{} finds web", asked.name()), LIMIT, look).await;
    }
    members_and_own(&cluster, &agents).await;
    operators_view(&cluster, &agents[1].http()).await;
    let mut agents = agents;
    agents[0].http().done("/v1/agent/leave", "").await;
    agents[1].terminate();
    for agent in &mut agents {
        assert!(agent.stopped().await.success());
        let gone = || async {
            let path = format!("/v1/catalog/node/{}", agent.name());
            let nodes = cluster.servers[0].http().try_get(&path).await.ok()?;
            (nodes.text() == "null").then_some(())
        };
        until(&format!("{} left and is no node any more", agent.name()), LIMIT, gone).await;
    }
}

async fn members_and_own(cluster: &Cluster, agents: &[Agent]) {
    for http in [cluster.servers[0].http(), agents[0].http()] {
        let all = || async {
            let members = http.get("/v1/agent/members").await.json();
            members.as_array().filter(|members| members.len() == 5).cloned()
        };
        let (members, _) = until("all members are known", LIMIT, all).await;
        let found = |name: &str| members.iter().find(|member| member["Name"] == name).cloned();
        let agent = found("a2").expect("the agent");
        assert_eq!((&agent["Tags"]["role"], &agent["Status"]), (&json!("node"), &json!(1)));
        assert_eq!(agent["Tags"].get("port"), None);
        assert_eq!(found("c1").expect("the server")["Tags"]["role"], "consul");
    }
    let own = agents[0].http().get("/v1/agent/self").await.json();
    assert_eq!(own["Config"]["Server"], false);
    assert_eq!(own["Member"]["Name"], "a1");
    let known = json!({"acl": "disabled", "known_servers": "3", "server": "false"});
    assert_eq!(own["Stats"]["consul"], known);
    assert_eq!(own["Stats"].get("raft"), None);
    let server = cluster.servers[0].http().get("/v1/agent/self").await.json();
    assert_eq!(
        (&server["Config"]["Server"], &server["Stats"]["consul"]["server"]),
        (&json!(true), &json!("true"))
    );
    let health = cluster.servers[0].http().get("/v1/health/node/a1").await.json();
    assert!(health.to_string().contains("serfHealth"), "{health}");
    let services = cluster.servers[0].http().get("/v1/catalog/node/a1").await.json();
    assert_eq!(services["Services"].get("consul"), None, "an agent is no server");
}

/// What an operator asks of the cluster, asked of an agent and of a server.
async fn operators_view(cluster: &Cluster, agent: &Http) {
    let server = cluster.servers[cluster.leader().await].http();
    for path in [
        "/v1/status/leader",
        "/v1/status/peers",
        "/v1/operator/raft/configuration",
        "/v1/operator/autopilot/configuration",
        "/v1/catalog/datacenters",
        "/v1/catalog/nodes",
        "/v1/catalog/services",
        "/v1/coordinate/datacenters",
        "/v1/health/service/web?passing",
        "/v1/session/list",
        "/v1/query",
    ] {
        let (of_agent, of_server) = (agent.get(path).await, server.get(path).await);
        assert_eq!((of_agent.status, of_agent.text()), (200, of_server.text()), "{path}");
        let index = |reply: &crate::harness::Reply| reply.headers.get("x-consul-index").cloned();
        assert_eq!(index(&of_agent), index(&of_server), "{path}");
    }
    for (path, status, text) in [
        ("/v1/agent/members?wan=1", 200, "null"),
        ("/v1/agent/members?segment=x", 500, "segment \"x\" not found"),
    ] {
        let reply = agent.get(path).await;
        assert_eq!((reply.status, reply.text()), (status, text.to_owned()), "{path}");
    }
    let keyring = agent.get("/v1/operator/keyring").await;
    let text = "keyring operations must run against a server node";
    assert_eq!((keyring.status, keyring.text()), (500, text.to_owned()));
    let removed = agent.send("DELETE", "/v1/operator/raft/peer?id=x", &[], "").await;
    assert!(removed.expect("an answer").text().contains("id \"x\" was not found"));
    let before = server.get("/v1/status/leader").await.text();
    agent.done("/v1/operator/raft/transfer-leader", "").await;
    let other = || async {
        let leader = agent.try_get("/v1/status/leader").await.ok()?.text();
        (leader.contains("8300") && leader != before).then_some(())
    };
    until("another server leads", LIMIT, other).await;
}

#[tokio::test]
async fn a_blocking_read_wakes_and_gives_its_place_back() {
    if is_consul() {
        return; // it does not tell who waits
    }
    let _turn = beside_others().await;
    let cluster = Cluster::start().await;
    let agents = agents_of(&cluster, &["a1"]).await;
    let http = agents[0].http();
    http.done("/v1/kv/watched", "one").await;
    let index = http.get("/v1/kv/watched").await.headers["x-consul-index"].clone();
    let path = format!("/v1/kv/watched?wait=5m&index={index}");
    let parked = || async { (waiting(&cluster).await? == 1).then_some(()) };
    {
        let mut hung_up = std::pin::pin!(http.try_get(&path));
        let until_parked = until("the read waits at a server", LIMIT, parked);
        tokio::select! {
            reply = &mut hung_up => panic!("it does not wait: {reply:?}"),
            _ = until_parked => {}
        }
    }
    let free = || async { (waiting(&cluster).await? == 0).then_some(()) };
    // An idle connection would free it as well, after a minute.
    let ((), took) = until("its place is free again", AT_ONCE, free).await;
    println!("a place was free {took:?} after its caller had hung up");
    let woken = async {
        until("the read waits at a server", LIMIT, parked).await;
        cluster.servers[0].http().done("/v1/kv/watched", "two").await;
        Instant::now()
    };
    let (reply, written) = tokio::join!(http.get(&path), woken);
    println!("the read came back {:?} after the write", written.elapsed());
    assert_eq!((reply.status, &reply.json()[0]["Value"]), (200, &json!("dHdv")));
    // The same through three kinds of doors that wait: health, catalog and sessions.
    let index = http.get("/v1/health/service/late").await.headers["x-consul-index"].clone();
    let path = format!("/v1/health/service/late?wait=5m&index={index}");
    let registers = async {
        until("the read waits at a server", LIMIT, parked).await;
        http.done("/v1/agent/service/register", r#"{"Name":"late","Port":1}"#).await;
    };
    let (reply, ()) = tokio::join!(http.get(&path), registers);
    assert_eq!(reply.json()[0]["Service"]["Port"], 1);
}

#[tokio::test]
async fn large_answers_and_archives_pass() {
    let _turn = beside_others().await;
    let cluster = Cluster::start().await;
    let agents = agents_of(&cluster, &["a1"]).await;
    let (http, server) = (agents[0].http(), cluster.servers[0].http());
    let value = "v".repeat(500 * 1024);
    for number in 0..40 {
        http.done(&format!("/v1/kv/large/{number:02}"), &value).await;
    }
    let all = http.get("/v1/kv/large/?recurse").await;
    assert_eq!((all.status, all.json().as_array().map(Vec::len)), (200, Some(40)));
    println!("{} bytes through an agent in {:?}", all.body.len(), all.took);
    assert!(all.body == server.get("/v1/kv/large/?recurse").await.body, "as a server has it");
    let archive = http.get("/v1/snapshot").await;
    assert_eq!(archive.status, 200, "{}", archive.text());
    http.done("/v1/kv/large/00", "changed").await;
    let restored = http.send_bytes("PUT", "/v1/snapshot", archive.body).await;
    assert_eq!(restored.status, 200, "{}", restored.text());
    let back = server.get("/v1/kv/large/00?raw").await;
    assert_eq!(back.body.len(), value.len(), "the archive's value is there again");
}

/// What one client saw of an agent while servers died.
#[derive(Default)]
struct Seen {
    reads: usize,
    writes: usize,
    unknown: Vec<String>,
    slowest: Duration,
}

/// Writes and reads through an agent until told to stop. A read must never fail, and a write only
/// where nobody can know what became of it.
async fn work(http: Http, done: watch::Sender<usize>, stop: watch::Receiver<bool>) -> Seen {
    let mut seen = Seen::default();
    while !*stop.borrow() {
        let began = Instant::now();
        let number = seen.writes;
        let reply = http.put("/v1/kv/counted", &number.to_string()).await;
        if reply.status != 200 {
            assert!(reply.text().starts_with("outcome unknown"), "{}", reply.text());
            seen.unknown.push(reply.text());
        }
        seen.writes += 1;
        let reply = http.get("/v1/kv/counted?raw").await;
        assert_eq!(reply.status, 200, "a read is asked elsewhere: {}", reply.text());
        if seen.unknown.len() < seen.writes && seen.unknown.is_empty() {
            assert_eq!(reply.text(), number.to_string());
        }
        seen.reads += 1;
        seen.slowest = seen.slowest.max(began.elapsed());
        done.send_replace(seen.reads);
        rest().await;
    }
    seen
}

#[tokio::test]
async fn requests_go_on_when_a_server_is_killed() {
    let _turn = alone().await;
    let mut cluster = Cluster::start().await;
    let agents = agents_of(&cluster, &["a1"]).await;
    let (done, mut counted) = watch::channel(0);
    let (stop, stopped) = watch::channel(false);
    let http = Http::with_limit(agents[0].http().address(), WORK_LIMIT);
    http.done("/v1/kv/counted", "before").await;
    let worker = work(http.clone(), done, stopped);
    http.done("/v1/kv/parked", "one").await;
    let index = http.get("/v1/kv/parked").await.headers["x-consul-index"].clone();
    let path = format!("/v1/kv/parked?wait=10m&index={index}");
    let parked = http.get(&path);
    // Whichever server the agent uses, it is among those that are killed in turn.
    let kills = async {
        for place in 0..cluster.servers.len() {
            let before = *counted.borrow();
            cluster.servers[place].kill().await;
            let on = counted.wait_for(|count| *count >= before + 50);
            let on = tokio::time::timeout(LIMIT, on).await;
            assert!(on.is_ok_and(|on| on.is_ok()), "requests go on without server {place}");
            cluster.servers[place].start();
            cluster.servers[place].serving().await;
            cluster.settled().await;
        }
        stop.send_replace(true);
        cluster.servers[0].http().done("/v1/kv/parked", "two").await;
    };
    let (seen, parked, ()) = tokio::join!(worker, parked, kills);
    assert_eq!(parked.status, 200, "another server takes a wait over: {}", parked.text());
    assert_eq!(parked.json()[0]["Value"], "dHdv");
    let Seen { reads, writes, unknown, slowest } = seen;
    println!(
        "{writes} writes and {reads} reads, {unknown:?} unknown, the slowest pair {slowest:?}"
    );
    assert!(unknown.len() <= 3, "at most one write was under way at each kill: {unknown:?}");
}

#[tokio::test]
async fn a_host_without_servers_goes_on_and_pushes_the_difference() {
    let _turn = alone().await;
    let mut cluster = Cluster::start().await;
    let agents = agents_of(&cluster, &["a1"]).await;
    let http = agents[0].http();
    let service = r#"{"Name":"old","Port":1,"Check":{"TTL":"3s","Status":"passing"}}"#;
    http.done("/v1/agent/service/register", service).await;
    let keep = || async {
        http.done("/v1/agent/check/pass/service:old", "").await;
        (statuses(&http, "old").await? == ["passing"]).then_some(())
    };
    until("the catalog has the passing check", LIMIT, keep).await;
    for server in &mut cluster.servers {
        server.kill().await;
    }
    let began = Instant::now();
    let local = || async {
        let checks = http.get("/v1/agent/checks").await.json();
        (checks["service:old"]["Status"] == "critical").then_some(())
    };
    until("the TTL runs out here", LIMIT, local).await;
    http.done("/v1/agent/service/register", r#"{"Name":"new","Port":2}"#).await;
    let unknown = || async {
        let reply = http.get("/v1/kv/x").await;
        assert_eq!(reply.status, 500, "nobody can answer");
        (reply.text() == "No known Consul servers").then_some(())
    };
    until("the servers are known to be gone", LIMIT, unknown).await;
    println!("no server was known {:?} after all were killed", began.elapsed());
    http.done("/v1/agent/service/deregister/new", "").await;
    http.done("/v1/agent/service/register", r#"{"Name":"newer","Port":3}"#).await;
    for server in &mut cluster.servers {
        server.start();
    }
    let led = || async {
        let leader = cluster.servers[0].http().try_get("/v1/status/leader").await.ok()?;
        leader.text().contains("8300").then_some(())
    };
    until("a server leads again", LIMIT, led).await;
    let back = Instant::now();
    let pushed = || async {
        let server = cluster.servers[0].http();
        let old = statuses(&server, "old").await? == ["critical"];
        let services = server.try_get("/v1/catalog/node/a1").await.ok()?;
        let services = services.json()["Services"].clone();
        let newer = services["newer"]["Port"] == 3 && services.get("new").is_none();
        (old && newer).then_some(())
    };
    until("the servers have the difference", LIMIT, pushed).await;
    println!("the difference was there {:?} after a server led", back.elapsed());
}

#[tokio::test]
async fn without_a_server_an_agent_says_so_at_once_and_joins_later() {
    let _turn = beside_others().await;
    let agent = lonely("a1").await;
    let http = agent.http();
    for path in [
        "/v1/kv/x",
        "/v1/catalog/nodes",
        "/v1/catalog/datacenters",
        "/v1/health/service/x",
        "/v1/status/leader",
        "/v1/status/peers",
        "/v1/operator/raft/configuration",
        "/v1/operator/autopilot/health",
        "/v1/session/list",
        "/v1/coordinate/nodes",
        "/v1/query",
        "/v1/snapshot",
        "/v1/kv/x?index=5&wait=5m",
        "/v1/health/service/x?stale",
        "/v1/health/service/x?cached",
    ] {
        let reply = http.get(path).await;
        let said = (reply.status, reply.text());
        assert_eq!(said, (500, "No known Consul servers".to_owned()), "{path}");
        assert!(reply.took < AT_ONCE, "{path} took {:?}", reply.took);
    }
    for (path, body) in [("/v1/kv/x", "y"), ("/v1/session/create", "{}"), ("/v1/txn", "[]")] {
        let reply = http.put(path, body).await;
        let said = (reply.status, reply.text());
        assert_eq!(said, (500, "No known Consul servers".to_owned()), "{path}");
    }
    let name = "web.service.consul.";
    let answer = ask(agent.address(), name, RecordType::A, Over::Udp).await.expect("an answer");
    assert_eq!(answer.code(), "SERVFAIL");
    http.done("/v1/agent/service/register", r#"{"Name":"web","Port":80}"#).await;
    assert_eq!(http.get("/v1/agent/services").await.json()["web"]["Port"], 80);
    let mut cluster = Cluster::start().await;
    http.done(&format!("/v1/agent/join/{}", cluster.servers[0].address()), "").await;
    let found = || async {
        let server = cluster.servers[1].http();
        let found = server.try_get("/v1/catalog/service/web").await.ok()?.json();
        (found[0]["Node"] == "a1").then_some(())
    };
    until("what was claimed before is in the catalog", LIMIT, found).await;
    assert_eq!(http.get("/v1/status/peers").await.json().as_array().map(Vec::len), Some(3));
    for server in &mut cluster.servers {
        server.terminate();
    }
    for server in &mut cluster.servers {
        assert!(server.stopped().await.success(), "an agent that asks holds up no stop");
    }
}

#[tokio::test]
async fn a_catalog_write_against_an_owner_says_so_and_is_undone() {
    if is_consul() {
        return; // it says nothing
    }
    let _turn = beside_others().await;
    let cluster = Cluster::start().await;
    let mut agents = agents_of(&cluster, &["a1"]).await;
    let server = cluster.servers[0].http();
    agents[0].http().done("/v1/agent/service/register", r#"{"Name":"own","Port":1}"#).await;
    let warning = |reply: &crate::harness::Reply| reply.headers.get("x-portolan-warning").cloned();
    let address = agents[0].address();
    let foreign =
        format!(r#"{{"Node":"a1","Address":"{address}","Service":{{"Service":"db","Port":5}}}}"#);
    let reply = server.put("/v1/catalog/register", &foreign).await;
    assert_eq!((reply.status, reply.text()), (200, "true".to_owned()));
    let said = "node \"a1\" has an agent, which will undo this at its next sync".to_owned();
    assert_eq!(warning(&reply), Some(said.clone()));
    let removal = r#"{"Node":"a1","ServiceID":"own"}"#;
    let reply = agents[0].http().put("/v1/catalog/deregister", removal).await;
    assert_eq!((reply.text(), warning(&reply)), ("true".to_owned(), Some(said)));
    let alone = r#"{"Node":"far","Address":"10.0.0.1","Service":{"Service":"db","Port":5}}"#;
    let reply = server.put("/v1/catalog/register", alone).await;
    assert_eq!((reply.text(), warning(&reply)), ("true".to_owned(), None));
    let reply = server.put("/v1/catalog/deregister", r#"{"Node":"far"}"#).await;
    assert_eq!((reply.text(), warning(&reply)), ("true".to_owned(), None));
    // A start begins with a full sync, which nothing has to be waited for.
    agents[0].kill().await;
    agents[0].start();
    let mended = || async {
        let node = server.try_get("/v1/catalog/node/a1").await.ok()?.json();
        let services = node["Services"].as_object()?;
        (services.contains_key("own") && !services.contains_key("db")).then_some(())
    };
    until("the agent has put its node right", LIMIT, mended).await;
}
