//! Blocking reads: who is woken, who is not, how long a wait is, and what the index does.

use std::time::Duration;

use futures::future::join_all;

use crate::harness::{Agent, Http, Reply, beside_others, is_consul, until};

/// How long the reads of these tests wait for a change.
const WAIT: Duration = Duration::from_millis(1500);

/// A read that waits, and whether the write must wake it.
struct Waiter {
    path: &'static str,
    woken: bool,
}

const fn wakes(path: &'static str) -> Waiter {
    Waiter { path, woken: true }
}

const fn sleeps(path: &'static str) -> Waiter {
    Waiter { path, woken: false }
}

async fn current(http: &Http, path: &str) -> u64 {
    http.get(path).await.index()
}

async fn wait_on(http: &Http, path: &str, index: u64) -> Reply {
    let mark = if path.contains('?') { '&' } else { '?' };
    http.get(&format!("{path}{mark}index={index}&wait={}ms", WAIT.as_millis())).await
}

/// Who waits while the server stops gets what is there, and holds nothing up.
#[tokio::test]
async fn a_stop_answers_those_who_wait() {
    let _turn = beside_others().await;
    let mut agent = Agent::dev().await;
    let http = agent.http();
    http.done("/v1/kv/there", "x").await;
    let index = current(&http, "/v1/kv/there").await;
    let path = format!("/v1/kv/there?wait=60s&index={index}");
    let waits = async || http.get(&path).await;
    let stops = async || {
        let look = || async {
            let metrics = http.get("/metrics").await.text();
            metrics.lines().any(|line| line == "portolan_waiters 1").then_some(())
        };
        until("the read waits", Duration::from_secs(5), look).await;
        agent.terminate();
    };
    let (reply, ()) = tokio::join!(waits(), stops());
    assert_eq!((reply.status, reply.index()), (200, index));
    assert!(agent.stopped().await.success());
}

/// Starts a node and waits until it has told the catalogue all about itself.
async fn quiet() -> Agent {
    let agent = Agent::dev().await;
    let http = agent.http();
    let path = "/v1/health/service/consul";
    let look = || async {
        let now = http.get(path).await;
        let later = http.get(&format!("{path}?index={}&wait=300ms", now.index())).await;
        (now.text() != "[]" && later.index() == now.index()).then_some(())
    };
    until("the catalogue is quiet", Duration::from_secs(30), look).await;
    agent
}

/// Starts every waiter, lets them settle by reading on another connection, writes, and compares.
async fn check(http: &Http, waiters: &[Waiter], write: (&str, &str)) {
    let mut indexes = Vec::new();
    for waiter in waiters {
        indexes.push(current(http, waiter.path).await);
    }
    let waits = waiters.iter().zip(&indexes).map(|(waiter, index)| async move {
        let reply = wait_on(http, waiter.path, *index).await;
        (waiter, *index, reply)
    });
    let writing = async {
        // The waiters are sent first, and this read behind them, before the write.
        current(http, "/v1/catalog/nodes").await;
        current(http, "/v1/catalog/services").await;
        http.done(write.0, write.1).await;
    };
    let (replies, ()) = tokio::join!(join_all(waits), writing);
    let mut wrong = Vec::new();
    for (waiter, index, reply) in replies {
        let woken = reply.took < WAIT;
        if woken != waiter.woken {
            let path = waiter.path;
            wrong.push(format!(
                "{path}: woken {woken} after {:?}, index {index} to {}",
                reply.took,
                reply.index()
            ));
        }
        if woken && reply.index() <= index {
            wrong.push(format!("{}: woken, but the index did not rise from {index}", waiter.path));
        }
    }
    assert!(wrong.is_empty(), "after {} {}:\n{}\n", write.0, write.1, wrong.join("\n"));
}

#[tokio::test]
async fn keys_wake_their_own_readers() {
    let _turn = beside_others().await;
    let agent = quiet().await;
    let http = agent.http();
    http.done("/v1/kv/a/1", "x").await;
    http.done("/v1/kv/a/2", "x").await;
    http.done("/v1/kv/b/1", "x").await;
    let waiters = [
        wakes("/v1/kv/a/1"),
        wakes("/v1/kv/a?recurse"),
        wakes("/v1/kv/a/?keys"),
        wakes("/v1/kv/?recurse"),
        sleeps("/v1/kv/a/2"),
        sleeps("/v1/kv/b?recurse"),
        sleeps("/v1/catalog/services"),
        sleeps("/v1/health/service/consul"),
        sleeps("/v1/session/list"),
    ];
    check(&http, &waiters, ("/v1/kv/a/1", "y")).await;
    check(&http, &[sleeps("/v1/kv/a/1"), sleeps("/v1/kv/a?recurse")], ("/v1/kv/a/1", "y")).await;
    let deleted = [wakes("/v1/kv/a/1"), wakes("/v1/kv/a?recurse"), sleeps("/v1/kv/a/2")];
    let delete = r#"[{"KV":{"Verb":"delete","Key":"a/1"}}]"#;
    check(&http, &deleted, ("/v1/txn", delete)).await;
    check(&http, &[wakes("/v1/kv/new"), sleeps("/v1/kv/a/2")], ("/v1/kv/new", "x")).await;
}

#[tokio::test]
async fn services_wake_their_own_readers() {
    let _turn = beside_others().await;
    let agent = quiet().await;
    let http = agent.http();
    let register = "/v1/catalog/register";
    let instance = |node: u8, service: &str, port: u16| {
        format!(
            r#"{{"Node":"e{node}","Address":"10.0.0.{node}","Service":{{"Service":"{service}","Port":{port}}}}}"#
        )
    };
    http.done(register, &instance(1, "web", 80)).await;
    http.done(register, &instance(2, "db", 80)).await;
    let waiters = [
        wakes("/v1/health/service/web"),
        wakes("/v1/catalog/service/web"),
        wakes("/v1/catalog/services"),
        wakes("/v1/catalog/node/e1"),
        sleeps("/v1/health/service/db"),
        sleeps("/v1/catalog/service/db"),
        sleeps("/v1/catalog/nodes"),
        sleeps("/v1/kv/a"),
        sleeps("/v1/session/list"),
    ];
    check(&http, &waiters, (register, &instance(1, "web", 81))).await;
    let same = [sleeps("/v1/health/service/web"), sleeps("/v1/catalog/service/web")];
    check(&http, &same, (register, &instance(1, "web", 81))).await;
    let status = |status: &str| {
        format!(
            r#"{{"Node":"e1","Address":"10.0.0.1","SkipNodeUpdate":true,"Check":{{"CheckID":"c","Name":"c",
            "ServiceID":"web","Status":"{status}"}}}}"#
        )
    };
    http.done(register, &status("passing")).await;
    let checked = [
        wakes("/v1/health/service/web"),
        wakes("/v1/health/checks/web"),
        wakes("/v1/health/node/e1"),
        wakes("/v1/health/state/any"),
        sleeps("/v1/health/service/db"),
        sleeps("/v1/catalog/services"),
        sleeps("/v1/catalog/nodes"),
    ];
    check(&http, &checked, (register, &status("critical"))).await;
    let node = r#"{"Node":"e1","Address":"10.0.0.1","Check":{"CheckID":"n","Name":"n","Status":"critical"}}"#;
    let on_node = [wakes("/v1/health/service/web"), sleeps("/v1/health/service/db")];
    check(&http, &on_node, (register, node)).await;
    let gone = [
        wakes("/v1/health/service/web"),
        wakes("/v1/catalog/nodes"),
        sleeps("/v1/health/service/db"),
    ];
    check(&http, &gone, ("/v1/catalog/deregister", r#"{"Node":"e1"}"#)).await;
}

/// Where we wake fewer than Consul: no reader of another node's or service's checks.
#[tokio::test]
async fn checks_wake_nobody_elsewhere() {
    let _turn = beside_others().await;
    if is_consul() {
        return;
    }
    let agent = quiet().await;
    let http = agent.http();
    let register = "/v1/catalog/register";
    let check_of = |node: u8, status: &str| {
        format!(
            r#"{{"Node":"e{node}","Address":"10.0.0.{node}","Service":{{"Service":"s{node}"}},
            "Check":{{"CheckID":"c","Name":"c","ServiceID":"s{node}","Status":"{status}"}}}}"#
        )
    };
    http.done(register, &check_of(1, "passing")).await;
    http.done(register, &check_of(2, "passing")).await;
    let waiters = [
        wakes("/v1/health/checks/s1"),
        wakes("/v1/health/node/e1"),
        sleeps("/v1/health/checks/s2"),
        sleeps("/v1/health/node/e2"),
        sleeps("/v1/catalog/node/e2"),
    ];
    check(&http, &waiters, (register, &check_of(1, "critical"))).await;
    let same = [sleeps("/v1/health/checks/s1"), sleeps("/v1/health/state/any")];
    check(&http, &same, (register, &check_of(1, "critical"))).await;
}

#[tokio::test]
async fn sessions_wake_their_readers() {
    let _turn = beside_others().await;
    let agent = quiet().await;
    let http = agent.http();
    http.done("/v1/session/create", "{}").await;
    let waiters =
        [wakes("/v1/session/list"), wakes("/v1/session/node/n1"), sleeps("/v1/kv/?recurse")];
    check(&http, &waiters, ("/v1/session/create", "{}")).await;
}

/// An index that was never reached waits, and comes back with the real one.
#[tokio::test]
async fn an_index_from_the_future_waits() {
    let _turn = beside_others().await;
    let agent = quiet().await;
    let http = agent.http();
    http.done("/v1/kv/a", "x").await;
    let reply = wait_on(&http, "/v1/kv/a", 1_000_000).await;
    assert!(reply.took >= WAIT, "{:?}", reply.took);
    assert!(reply.took <= WAIT + WAIT / 8 + Duration::from_millis(500), "{:?}", reply.took);
    assert!(reply.index() < 1_000_000);
}

/// A missing key waits until it exists, whatever else is written near it.
#[tokio::test]
async fn a_missing_key_waits_for_itself() {
    let _turn = beside_others().await;
    if is_consul() {
        return;
    }
    let agent = quiet().await;
    let http = agent.http();
    http.done("/v1/kv/near", "x").await;
    check(&http, &[sleeps("/v1/kv/nea"), sleeps("/v1/kv/near/by")], ("/v1/kv/near", "y")).await;
}
