//! Three servers: what one is told all know, through the death, the pause and the stop of any.

use std::time::Duration;

use futures::future::{join_all, select_all};
use hickory_proto::rr::RecordType;
use tokio::time::Instant;

use crate::harness::{
    Cluster, Http, Over, alone, ask, is_consul, rest, setting, skip, until, within,
};

/// A registration must be answered by DNS everywhere this soon after it was acknowledged.
const SEEN_LIMIT: Duration = Duration::from_millis(100);
/// After the leader died, the next write must be acknowledged this soon, at the median.
const FAILOVER_LIMIT: Duration = Duration::from_millis(1500);
/// After the leader was told to stop, the next write must be acknowledged this soon.
const HANDOVER_LIMIT: Duration = Duration::from_secs(1);
/// How long anything that is not measured may take.
const LIMIT: Duration = Duration::from_mins(1);
/// How often the leader is killed, if `PORTOLAN_FAILOVER_ROUNDS` says nothing else.
const FAILOVER_ROUNDS: usize = 7;

/// Waits until every server at `places` answers SRV for `service` with `instances` instances;
/// gives the longest time that one of them took.
async fn answered_by(
    cluster: &Cluster,
    places: &[usize],
    service: &str,
    instances: usize,
) -> Duration {
    let name = format!("_{service}._tcp.service.consul.");
    let waits = places.iter().map(|place| {
        let address = cluster.servers[*place].address();
        let name = name.clone();
        async move {
            let look = || async {
                let answer = ask(address, &name, RecordType::SRV, Over::Udp).await?;
                (answer.answers().len() == instances).then_some(())
            };
            until(&format!("{address} answers {instances} of {name}"), LIMIT, look).await.1
        }
    });
    join_all(waits).await.into_iter().max().expect("at least one server was asked")
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// Tries to write on all of `servers` at once until one acknowledges.
async fn first_acknowledged(servers: &[Http], key: &str) {
    let tries = servers.iter().map(|http| {
        let http = Http::with_limit(http.address(), Duration::from_secs(2));
        Box::pin(async move {
            loop {
                match http.try_put(&format!("/v1/kv/{key}"), "x").await {
                    Ok(reply) if reply.text() == "true" => return,
                    _ => rest().await,
                }
            }
        })
    });
    let done = tokio::time::timeout(LIMIT, select_all(tries)).await;
    assert!(done.is_ok(), "no write is acknowledged within {LIMIT:?}");
}

/// A container is registered on one node and found on the others; its check decides for how long.
#[tokio::test]
async fn a_registration_is_found_everywhere() {
    let _turn = alone().await;
    let cluster = Cluster::start().await;
    let agent = cluster.servers[0].http();
    let mut times = Vec::new();
    for nth in 0..5 {
        let service = format!(
            r#"{{"Name":"web{nth}","Port":80,"Check":{{"TTL":"60s","Status":"passing"}}}}"#
        );
        agent.done("/v1/agent/service/register", &service).await;
        times.push(answered_by(&cluster, &[1, 2], &format!("web{nth}"), 1).await);
    }
    println!("registered on one, answered by the other two after {times:?}");
    assert!(is_consul() || times.iter().max() <= Some(&SEEN_LIMIT), "{times:?}");

    let service = r#"{"Name":"short","Port":80,"Check":{"TTL":"1500ms","Status":"passing"}}"#;
    agent.done("/v1/agent/service/register", service).await;
    answered_by(&cluster, &[1, 2], "short", 1).await;
    let gone = answered_by(&cluster, &[0, 1, 2], "short", 0).await;
    println!("gone {gone:?} after it was seen, with a TTL of 1.5 s");
    agent.done("/v1/agent/check/pass/service:short", "").await;
    let back = answered_by(&cluster, &[1, 2], "short", 1).await;
    println!("back {back:?} after it passed");
    assert!(is_consul() || back <= SEEN_LIMIT, "{back:?}");
    agent.done("/v1/agent/service/deregister/short", "").await;
    answered_by(&cluster, &[0, 1, 2], "short", 0).await;
}

/// Whoever is asked: a write is acknowledged, and from then on every server reads it.
#[tokio::test]
async fn every_server_reads_the_last_write() {
    let _turn = alone().await;
    let cluster = Cluster::start().await;
    let servers = cluster.https();
    // Consul's default reads lean on a lease; ours need no word to be linearizable.
    let reads = if is_consul() { ["?consistent"; 2] } else { ["", "?consistent"] };
    for nth in 0..60_usize {
        let value = format!("value {nth}");
        let writer = &servers[nth % servers.len()];
        assert_eq!(writer.done("/v1/kv/last", &value).await, true);
        let read = format!("/v1/kv/last{}", reads[nth % 2]);
        let seen = join_all(servers.iter().map(|server| server.get(&read))).await;
        for reply in seen {
            let found = reply.json()[0]["Value"].as_str().map(str::to_owned);
            assert_eq!(found, Some(encoded(&value)), "write {nth}");
        }
    }
}

fn encoded(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(text)
}

/// Kill -9 of the leader, again and again: how long until the next write is acknowledged.
#[tokio::test]
async fn a_dead_leader_is_replaced() {
    let _turn = alone().await;
    let mut cluster = Cluster::start().await;
    let rounds = setting("PORTOLAN_FAILOVER_ROUNDS").and_then(|text| text.parse().ok());
    let mut times = Vec::new();
    for round in 0..rounds.unwrap_or(FAILOVER_ROUNDS) {
        cluster.settled().await;
        let leader = cluster.leader().await;
        let key = format!("failover/{round}");
        cluster.servers[leader].http().done(&format!("/v1/kv/{key}"), "before").await;
        let others: Vec<Http> =
            cluster.followers().await.iter().map(|at| cluster.servers[*at].http()).collect();
        cluster.servers[leader].kill().await;
        let killed = Instant::now();
        first_acknowledged(&others, &format!("{key}/after")).await;
        times.push(killed.elapsed());
        let kept = others[0].get(&format!("/v1/kv/{key}?raw")).await;
        assert_eq!(kept.text(), "before", "what the dead leader acknowledged is kept");
        cluster.servers[leader].start();
        cluster.servers[leader].serving().await;
    }
    let middle = median(times.clone());
    println!("kill -9 of the leader to the next acknowledged write: {times:?}, median {middle:?}");
    assert!(is_consul() || middle < FAILOVER_LIMIT, "{times:?}");
}

/// A session outlives the leader that made it, and still ends when nobody renews it.
#[tokio::test]
async fn a_session_outlives_the_leader() {
    let _turn = alone().await;
    let mut cluster = Cluster::start().await;
    let leader = cluster.leader().await;
    let follower = cluster.followers().await[0];
    let http = cluster.servers[follower].http();
    let body = r#"{"TTL":"10s","LockDelay":"0s","NodeChecks":[]}"#;
    let id = http.done("/v1/session/create", body).await["ID"].as_str().map(str::to_owned);
    let id = id.expect("an id");
    assert_eq!(http.done(&format!("/v1/kv/held?acquire={id}"), "mine").await, true);
    cluster.servers[leader].kill().await;
    first_acknowledged(std::slice::from_ref(&http), "after").await;
    assert_eq!(http.get("/v1/kv/held").await.json()[0]["Session"], id.as_str());
    let renewed = http.put(&format!("/v1/session/renew/{id}"), "").await;
    assert_eq!(renewed.status, 200);
    let last = Instant::now();
    let ended = || async {
        let reply = http.get(&format!("/v1/session/info/{id}")).await;
        (reply.text() == "[]").then(|| last.elapsed())
    };
    let (lived, _) = until("the session ends", LIMIT, ended).await;
    println!("a session with a TTL of 10 s ended {lived:?} after its last renewal");
    assert!(lived >= Duration::from_millis(9900), "{lived:?}");
    assert!(lived <= Duration::from_millis(21_500), "{lived:?}");
    assert!(http.get("/v1/kv/held").await.json()[0].get("Session").is_none());
}

/// A snapshot saved from one server and restored through another is what all have then.
#[tokio::test]
async fn a_snapshot_goes_round() {
    let _turn = alone().await;
    let cluster = Cluster::start().await;
    let servers = cluster.https();
    servers[0].done("/v1/kv/kept", "then").await;
    let saved = servers[1].get("/v1/snapshot").await;
    assert_eq!(saved.status, 200, "{}", saved.text());
    servers[2].done("/v1/kv/kept", "later").await;
    servers[2].done("/v1/kv/late", "later").await;
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let url = format!("http://{}/v1/snapshot", servers[2].address());
    let restored = client.put(url).body(saved.body).send().await.expect("an answer");
    assert_eq!(restored.status().as_u16(), 200);
    for server in &servers {
        assert_eq!(server.get("/v1/kv/kept?raw&consistent").await.text(), "then");
        assert_eq!(server.get("/v1/kv/late?consistent").await.status, 404);
    }
    servers[0].done("/v1/kv/afterwards", "x").await;
    if !is_consul() {
        println!("the servers agree: {}", cluster.agreed(LIMIT).await);
    }
}

/// A leader that is told to stop hands over before it goes.
#[tokio::test]
async fn a_leader_hands_over() {
    let _turn = alone().await;
    let mut cluster = Cluster::start().await;
    let leader = cluster.leader().await;
    let others: Vec<Http> =
        cluster.followers().await.iter().map(|at| cluster.servers[*at].http()).collect();
    cluster.servers[leader].terminate();
    let told = Instant::now();
    // The next new leader, not the last write of the old one, is what is measured.
    let name = format!("{}:8300", cluster.servers[leader].address());
    let look = || async {
        let reply = others[0].try_get("/v1/status/leader").await.ok()?;
        let now = reply.json().as_str()?.to_owned();
        (!now.is_empty() && now != name).then_some(())
    };
    until("another server leads", LIMIT, look).await;
    first_acknowledged(&others, "handed/over").await;
    let took = told.elapsed();
    let status = cluster.servers[leader].stopped().await;
    println!("SIGTERM of the leader to the next leader's first write: {took:?}, {status}");
    assert!(is_consul() || took < HANDOVER_LIMIT, "{took:?}");
    assert!(is_consul() || status.success(), "{status}");
}

/// A server that was away longer than the log reaches back comes back by a snapshot.
#[tokio::test]
async fn a_server_that_was_away_catches_up() {
    let _turn = alone().await;
    let consul =
        ["raft_snapshot_threshold = 64 raft_trailing_logs = 16 raft_snapshot_interval = \"1s\""];
    let ours = ["raft_snapshot_threshold = 64 raft_trailing_logs = 16"];
    let mut cluster = Cluster::start_with(if is_consul() { &consul } else { &ours }).await;
    let away = cluster.followers().await[0];
    let leader = cluster.leader().await;
    let http = cluster.servers[leader].http();
    cluster.servers[away].kill().await;
    for batch in 0..40 {
        let writes = (0..25).map(|nth| {
            let http = &http;
            async move { http.done(&format!("/v1/kv/away/{batch}/{nth}"), "x").await }
        });
        join_all(writes).await;
    }
    cluster.servers[away].start();
    let late = cluster.servers[away].http();
    let caught_up = || async {
        let reply = late.try_get("/v1/kv/away/?keys&stale").await.ok()?;
        let keys = (reply.status == 200).then(|| reply.json())?;
        (keys.as_array().map(Vec::len) == Some(1000)).then_some(())
    };
    let ((), took) = until("the server has all keys", LIMIT, caught_up).await;
    println!("a server that missed 1000 writes had them {took:?} after its start");
    cluster.servers[away].serving().await;
    if !is_consul() {
        println!("the servers agree: {}", cluster.agreed(LIMIT).await);
    }
}

/// A paused leader is replaced, and when it goes on it takes nothing back.
#[tokio::test]
async fn a_paused_leader_takes_nothing_back() {
    let _turn = alone().await;
    let cluster = Cluster::start().await;
    let leader = cluster.leader().await;
    let others: Vec<Http> =
        cluster.followers().await.iter().map(|at| cluster.servers[*at].http()).collect();
    others[0].done("/v1/kv/paused", "before").await;
    cluster.servers[leader].pause();
    first_acknowledged(&others, "another/key").await;
    assert_eq!(others[1].done("/v1/kv/paused", "after").await, true);
    cluster.servers[leader].go_on();
    let woken = cluster.servers[leader].http();
    let mode = if is_consul() { "&consistent" } else { "" };
    let read = || async {
        let reply = woken.try_get(&format!("/v1/kv/paused?raw{mode}")).await.ok()?;
        (reply.status == 200).then(|| reply.text())
    };
    let (text, _) = until("the old leader answers again", LIMIT, read).await;
    assert_eq!(text, "after", "a leader that was replaced answered out of its old state");
}

/// The same log gives the same state: hashes of all three, after writes of every kind.
#[tokio::test]
async fn replicas_agree() {
    if is_consul() {
        return skip("replicas_agree", "the real Consul has no hash of its state");
    }
    let _turn = alone().await;
    let cluster = Cluster::start().await;
    let servers = cluster.https();
    let writes = (0..120_usize).map(|nth| {
        let http = &servers[nth % 3];
        async move {
            let node = format!(
                r#"{{"Node":"e{nth}","Address":"10.0.0.1","Service":{{"Service":"s{}"}},
                "Check":{{"CheckID":"c","Name":"c","Status":"passing"}}}}"#,
                nth % 7
            );
            http.done("/v1/catalog/register", &node).await;
            let session = http.done("/v1/session/create", r#"{"NodeChecks":[],"TTL":"60s"}"#).await;
            let id = session["ID"].as_str().expect("an id").to_owned();
            http.done(&format!("/v1/kv/lock/{}?acquire={id}", nth % 11), "x").await;
            http.done(&format!("/v1/kv/key/{nth}?flags={nth}"), "x").await;
            if nth % 5 == 0 {
                http.done(&format!("/v1/session/destroy/{id}"), "").await;
            }
        }
    });
    join_all(writes).await;
    let state = within(LIMIT, || async { Some(cluster.agreed(LIMIT).await) }).await;
    println!("the servers agree: {state:?}");
}
