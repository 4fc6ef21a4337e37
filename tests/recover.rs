//! Recovery from a lost quorum: of three servers one is left, and the cluster goes on with it.

use std::process::Command;
use std::time::Duration;

use futures::future::join_all;

use crate::harness::{
    Agent, Cluster, Shape, beside_others, free_address, is_consul, program, skip, until,
};

/// Keys that are acknowledged before the disaster.
const KEYS: usize = 300;
/// How long anything may take.
const LIMIT: Duration = Duration::from_mins(1);

/// `operator recover` on an agent's folder: whether it succeeded, and all that it said.
fn recover(agent: &Agent, flags: &[&str]) -> (bool, String) {
    let dir = format!("-data-dir={}", agent.data_dir().display());
    let mut command = Command::new(program());
    let out = command.args(["operator", "recover", &dir]).args(flags).output();
    let out = out.expect("the program starts");
    let text = [out.stdout, out.stderr].concat();
    (out.status.success(), String::from_utf8(text).expect("it speaks UTF-8"))
}

/// Every key that was acknowledged is there.
async fn reads_all(agent: &Agent) {
    let http = agent.http();
    let mut values = Vec::new();
    for at in 0..KEYS {
        values.push(http.get(&format!("/v1/kv/kept/{at}?raw")).await.text());
    }
    let expected: Vec<String> = (0..KEYS).map(|at| format!("value {at}")).collect();
    assert_eq!(values, expected);
}

#[tokio::test]
async fn one_server_of_three_is_left_and_two_new_ones_join() {
    if is_consul() {
        return skip("recover", "Consul recovers by a file of peers");
    }
    let _turn = beside_others().await;
    let mut cluster = Cluster::start().await;
    let http = cluster.servers[0].http();
    let writes = (0..KEYS).map(|at| {
        let http = &http;
        async move { http.done(&format!("/v1/kv/kept/{at}"), &format!("value {at}")).await }
    });
    join_all(writes).await;
    let session = http.done("/v1/session/create", r#"{"TTL": "1h"}"#).await;
    let id = session["ID"].as_str().expect("a session").to_owned();
    let locked = http.done(&format!("/v1/kv/locked?acquire={id}"), "x").await;
    assert_eq!(locked, true);
    cluster.agreed(LIMIT).await;
    let mut last = cluster.servers.remove(cluster.followers().await[0]);

    let (done, told) = recover(&last, &["-yes"]);
    assert!(!done && told.contains("in use by another process"), "{told}");
    for mut lost in cluster.servers {
        lost.kill().await; // its folder goes with it
    }
    last.kill().await;
    let (done, told) = recover(&last, &[]);
    assert!(done && told.contains("Nothing was changed"), "{told}");
    assert!(told.contains(&format!("goes on with: {}.", last.name())), "{told}");
    let (done, again) = recover(&last, &["-yes", "-dry-run"]);
    assert!(done, "{again}");
    assert_eq!(again, told, "looking changes nothing");
    let (done, refused) = recover(&last, &["-survivor=nobody", "-yes"]);
    assert!(!done && refused.contains("must be among the survivors"), "{refused}");
    let (done, told) = recover(&last, &["-yes"]);
    assert!(done && told.contains("Done."), "{told}");

    last.start();
    last.serving().await;
    reads_all(&last).await;
    let kept = last.http().get("/v1/kv/locked").await.json();
    assert_eq!(kept[0]["Session"].as_str(), Some(id.as_str()), "the lock is held");
    let shape = Shape::Server { expect: 3, join: vec![last.address()] };
    let mut fresh: Vec<Agent> =
        ["f1", "f2"].map(|name| Agent::new(name, free_address(), &shape, &[])).into();
    for server in &mut fresh {
        server.start();
    }
    for server in &mut fresh {
        server.serving().await;
    }
    fresh.push(last);
    let cluster = Cluster { servers: fresh };
    cluster.settled().await;
    let mut servers = cluster.servers;
    // The new ones hold it all: they go on without the one that was recovered.
    servers.pop().expect("the recovered one").kill().await;
    let http = servers[0].http();
    let look = || async {
        let reply = http.try_put("/v1/kv/after", "yes").await.ok()?;
        (reply.text() == "true").then_some(())
    };
    until("the new servers take a write", LIMIT, look).await;
    reads_all(&servers[1]).await;
}
