//! Servers come and go: by the pool's word, the leader takes in, gives votes and takes out, and the
//! cluster serves on. Consul's own waits are longer than these tests; they are not run against it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{
    Agent, Cluster, Http, Shape, alone, beside_others, free_address, is_consul, skip, until,
};

/// How long anything may take.
const LIMIT: Duration = Duration::from_mins(1);
/// A new server votes at once, and a busy machine makes nobody ill.
const QUICK: &str =
    r#"autopilot { server_stabilization_time = "200ms" last_contact_threshold = "1s" }"#;
const SHORT_DRAIN: &str = r#"performance { leave_drain_time = "300ms" }"#;

/// The servers by name as Raft has them: id, address, whether it votes.
type Peers = BTreeMap<String, (String, String, bool)>;

async fn peers(http: &Http) -> Option<Peers> {
    let reply = http.try_get("/v1/operator/raft/configuration").await.ok()?;
    let shown = (reply.status == 200).then(|| reply.json())?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let one = |server: &Value| {
        let voter = server["Voter"] == true;
        (text(&server["Node"]), (text(&server["ID"]), text(&server["Address"]), voter))
    };
    let servers = shown["Servers"].as_array()?;
    let all: Peers = servers.iter().map(one).collect();
    (all.len() == servers.len()).then_some(all) // one that was replaced is there twice meanwhile
}

/// Waits until exactly these servers are members, and all of them vote; gives them.
async fn voters(http: &Http, names: &[&str]) -> Peers {
    let look = || async {
        let all = peers(http).await?;
        let same = all.keys().map(String::as_str).eq(names.iter().copied());
        (same && all.values().all(|(_, _, voter)| *voter)).then_some(all)
    };
    until(&format!("{names:?} vote, and nobody else is there"), LIMIT, look).await.0
}

/// Waits until the pool has a member with this name in this state.
async fn in_pool(http: &Http, name: &str, status: u64) {
    let look = || async { statuses(http, name).await.contains(&status).then_some(()) };
    until(&format!("{name} has status {status}"), LIMIT, look).await;
}

async fn statuses(http: &Http, name: &str) -> Vec<u64> {
    let Ok(reply) = http.try_get("/v1/agent/members").await else { return Vec::new() };
    let shown = reply.json();
    let members = shown.as_array().expect("a list").iter();
    let named = members.filter(|member| member["Name"] == name);
    named.filter_map(|member| member["Status"].as_u64()).collect()
}

/// Waits until the catalog has, or has not, a node; gives it.
async fn in_catalog(http: &Http, name: &str, there: bool) -> Value {
    let look = || async {
        let reply = http.try_get(&format!("/v1/catalog/node/{name}")).await.ok()?;
        let found = (reply.status == 200).then(|| reply.json())?;
        (found.is_null() != there).then_some(found)
    };
    until(&format!("{name} is in the catalog: {there}"), LIMIT, look).await.0
}

/// Waits until a server has what was stored, as a linearizable read.
async fn reads(http: &Http, key: &str, value: &str) {
    let look = || async {
        let reply = http.try_get(&format!("/v1/kv/{key}?raw")).await.ok()?;
        (reply.status == 200 && reply.text() == value).then_some(())
    };
    until(&format!("{} reads {key}", http.address()), LIMIT, look).await;
}

/// The lines with `text` in the logs of all servers: whoever leads says it.
fn logged(cluster: &Cluster, text: &str) -> Vec<String> {
    let logs = cluster.servers.iter().map(Agent::log);
    let found = |log: String| {
        log.lines().filter(|line| line.contains(text)).map(str::to_owned).collect::<Vec<_>>()
    };
    logs.flat_map(found).collect()
}

/// A server beside those that are there, whom it joins.
fn newcomer(name: &str, cluster: &Cluster, fragments: &[&str]) -> Agent {
    let join = cluster.servers.iter().map(Agent::address).collect();
    let shape = Shape::Server { expect: 3, join };
    Agent::new(name, free_address(), &shape, fragments)
}

/// Three servers whose ids are configured.
async fn with_told_ids() -> Cluster {
    let addresses: Vec<Ipv4Addr> = (0..3).map(|_| free_address()).collect();
    let shape = Shape::Server { expect: 3, join: addresses.clone() };
    let agent = |(at, address): (usize, &Ipv4Addr)| {
        let id = format!("node_id = \"00000000-0000-4000-8000-00000000000{at}\"");
        let mut agent = Agent::new(&format!("c{}", at + 1), *address, &shape, &[QUICK, &id]);
        agent.start();
        agent
    };
    let mut cluster = Cluster { servers: addresses.iter().enumerate().map(agent).collect() };
    for server in &mut cluster.servers {
        server.serving().await;
    }
    cluster.settled().await;
    cluster
}

fn for_us(test: &str) -> bool {
    if is_consul() {
        skip(test, "Consul's waits are longer than this test");
    }
    !is_consul()
}

/// One of three that dies stays a member, for the two others are better off with it; once a fourth
/// has come it goes, and when it comes back it is taken in again.
#[tokio::test]
async fn a_dead_server_goes_once_there_are_enough_others() {
    if !for_us("a_dead_server_goes_once_there_are_enough_others") {
        return;
    }
    let _turn = alone().await;
    let mut cluster = Cluster::start_with(&[QUICK]).await;
    let dead = cluster.followers().await[0];
    let name = cluster.servers[dead].name().to_owned();
    let leader = cluster.leader().await;
    let http = cluster.servers[leader].http();
    http.done("/v1/kv/kept", "x").await;
    cluster.servers[dead].kill().await;
    in_pool(&http, &name, 4).await;
    let mut fourth = newcomer("c4", &cluster, &[QUICK]);
    fourth.start();
    let promoted = || async {
        let all = peers(&http).await?;
        let fourth = all.get("c4")?;
        // Never fewer than three: the dead one does not go before the new one votes.
        assert!(fourth.2 || all.contains_key(&name), "{all:?}");
        fourth.2.then_some(())
    };
    until("the fourth votes", LIMIT, promoted).await;
    let names = ["c1", "c2", "c3", "c4"];
    let left: Vec<&str> = names.into_iter().filter(|one| *one != name).collect();
    voters(&http, &left).await;
    in_pool(&http, &name, 3).await;
    in_catalog(&http, &name, false).await;
    fourth.serving().await;
    reads(&fourth.http(), "kept", "x").await;
    http.done("/v1/kv/kept", "y").await;

    cluster.servers[dead].start();
    voters(&http, &names).await;
    cluster.servers[dead].serving().await;
    reads(&cluster.servers[dead].http(), "kept", "y").await;
    in_catalog(&http, &name, true).await;
    in_pool(&http, &name, 1).await;
    cluster.servers.push(fourth);
    cluster.agreed(LIMIT).await;
}

/// Two of five that die at the same moment both go; of the three that are left one more may die,
/// and stays.
#[tokio::test]
async fn two_of_five_that_die_together_go() {
    if !for_us("two_of_five_that_die_together_go") {
        return;
    }
    let _turn = alone().await;
    let addresses: Vec<Ipv4Addr> = (0..5).map(|_| free_address()).collect();
    let mut cluster = Cluster::start_at(&addresses, &[QUICK]).await;
    let leader = cluster.leader().await;
    let http = cluster.servers[leader].http();
    let followers = cluster.followers().await;
    for dead in &followers[..2] {
        cluster.servers[*dead].kill().await;
    }
    let named = |places: &[usize]| {
        let mut names: Vec<String> =
            places.iter().map(|at| cluster.servers[*at].name().to_owned()).collect();
        names.sort();
        names
    };
    let left = named(&[leader, followers[2], followers[3]]);
    let left: Vec<&str> = left.iter().map(String::as_str).collect();
    voters(&http, &left).await;
    let third = cluster.servers[followers[2]].name().to_owned();
    cluster.servers[followers[2]].kill().await;
    in_pool(&http, &third, 4).await;
    let critical = || async {
        let checks = http.get(&format!("/v1/health/node/{third}")).await.json();
        (checks[0]["Status"] == "critical").then_some(())
    };
    until("the third is critical", LIMIT, critical).await;
    http.done("/v1/kv/after", "x").await;
    voters(&http, &left).await;
}

/// One that is taken out while it cannot be reached does not hear of it: when it comes back it
/// answers nothing that is older than what the others acknowledged.
#[tokio::test]
async fn a_removed_server_answers_nothing_old() {
    if !for_us("a_removed_server_answers_nothing_old") {
        return;
    }
    let _turn = alone().await;
    let addresses: Vec<Ipv4Addr> = (0..4).map(|_| free_address()).collect();
    let mut cluster = Cluster::start_at(&addresses, &[QUICK]).await;
    let paused = cluster.followers().await[0];
    let name = cluster.servers[paused].name().to_owned();
    let http = cluster.servers[cluster.leader().await].http();
    http.done("/v1/kv/seen", "old").await;
    reads(&cluster.servers[paused].http(), "seen", "old").await;
    cluster.servers[paused].pause();
    let names = ["c1", "c2", "c3", "c4"];
    let left: Vec<&str> = names.into_iter().filter(|one| *one != name).collect();
    voters(&http, &left).await;
    http.done("/v1/kv/seen", "new").await;
    cluster.servers[paused].go_on();
    let woken = Http::with_limit(cluster.servers[paused].http().address(), LIMIT);
    for read in ["/v1/kv/seen?raw", "/v1/kv/seen?raw&consistent"] {
        let reply = woken.get(read).await;
        let new = reply.status == 200 && reply.text() == "new"; // it may be in again by now
        assert!(new || reply.status == 500, "{}: {}", reply.status, reply.text());
    }
    http.done("/v1/kv/seen", "newer").await;
    cluster.servers[paused].kill().await;
    cluster.servers[paused].start();
    voters(&http, &names).await;
    reads(&cluster.servers[paused].http(), "seen", "newer").await;
    cluster.agreed(LIMIT).await;
}

/// A disk that was wiped has forgotten how it voted: under the same id it is another server.
#[tokio::test]
async fn a_wiped_disk_comes_back_as_another_server() {
    if !for_us("a_wiped_disk_comes_back_as_another_server") {
        return;
    }
    let _turn = alone().await;
    let mut cluster = with_told_ids().await;
    let wiped = cluster.followers().await[0];
    let leader = cluster.leader().await;
    let http = cluster.servers[leader].http();
    http.done("/v1/kv/kept", "x").await;
    let before = voters(&http, &["c1", "c2", "c3"]).await;
    cluster.servers[wiped].kill().await;
    cluster.servers[wiped].wipe();
    cluster.servers[wiped].start();
    let replaced = || async {
        let told = logged(&cluster, "its id came back with another disk");
        (!told.is_empty()).then_some(())
    };
    until("its old number is removed", LIMIT, replaced).await;
    let after = voters(&http, &["c1", "c2", "c3"]).await;
    assert_eq!(before, after, "the same ids and addresses");
    cluster.servers[wiped].serving().await;
    reads(&cluster.servers[wiped].http(), "kept", "x").await;
    cluster.agreed(LIMIT).await;
}

/// A server that lost its disk, and its id with it, takes over name and place of who it was.
#[tokio::test]
async fn a_name_is_taken_over_by_a_new_id() {
    if !for_us("a_name_is_taken_over_by_a_new_id") {
        return;
    }
    let _turn = alone().await;
    let mut cluster = Cluster::start_with(&[QUICK]).await;
    let lost = cluster.followers().await[0];
    let leader = cluster.leader().await;
    let http = cluster.servers[leader].http();
    let name = cluster.servers[lost].name().to_owned();
    let before = voters(&http, &["c1", "c2", "c3"]).await[&name].clone();
    cluster.servers[lost].kill().await;
    cluster.servers[lost].wipe();
    cluster.servers[lost].start();
    let taken = || async {
        let found = in_catalog(&http, &name, true).await;
        let id = found["Node"]["ID"].as_str()?.to_owned();
        (id != before.0).then_some(id)
    };
    let (id, _) = until("the catalog has the new id", LIMIT, taken).await;
    let after = voters(&http, &["c1", "c2", "c3"]).await[&name].clone();
    assert_eq!((&after.0, &after.1), (&id, &before.1));
    let told = logged(&cluster, "a name was taken over");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains(&before.0) && told[0].contains(&id), "{told:?}");
    cluster.servers[lost].serving().await;
    cluster.agreed(LIMIT).await;
}

/// A second server of a living one's name is not taken in, and that is said once.
#[tokio::test]
async fn a_name_that_is_taken_is_refused() {
    if !for_us("a_name_that_is_taken_is_refused") {
        return;
    }
    let _turn = alone().await;
    let cluster = Cluster::start_with(&[QUICK]).await;
    let http = cluster.servers[cluster.leader().await].http();
    let before = voters(&http, &["c1", "c2", "c3"]).await;
    let mut second = newcomer("c1", &cluster, &[QUICK]);
    second.start();
    let told = || async {
        let told = logged(&cluster, "a member is refused").len();
        (told > 0).then_some(told)
    };
    until("it is refused", LIMIT, told).await;
    // A fourth that comes later is taken in: by then the other would have been, too.
    let mut fourth = newcomer("c4", &cluster, &[QUICK]);
    fourth.start();
    let after = voters(&http, &["c1", "c2", "c3", "c4"]).await;
    assert_eq!(before["c1"], after["c1"]);
    // Once by each that led.
    let led = logged(&cluster, "this server leads term=").len();
    assert!(logged(&cluster, "a member is refused").len() <= led, "{led} led");
}

/// Nobody knows where anybody is, and nobody leads: they find each other by their numbers.
#[tokio::test]
async fn a_cluster_comes_back_with_new_addresses() {
    if !for_us("a_cluster_comes_back_with_new_addresses") {
        return;
    }
    let _turn = alone().await;
    let mut cluster = Cluster::start_with(&[QUICK]).await;
    let before = voters(&cluster.https()[0], &["c1", "c2", "c3"]).await;
    cluster.https()[0].done("/v1/kv/kept", "x").await;
    for server in &mut cluster.servers {
        server.kill().await;
    }
    let addresses: Vec<Ipv4Addr> = (0..3).map(|_| free_address()).collect();
    for (server, at) in cluster.servers.iter_mut().zip(&addresses) {
        server.move_to(*at, &addresses);
        server.start();
    }
    for server in &mut cluster.servers {
        server.serving().await;
        reads(&server.http(), "kept", "x").await;
    }
    cluster.settled().await;
    for http in cluster.https() {
        let moved = || async {
            let all = peers(&http).await?;
            let at = |name: &str| all.get(name).map(|(_, address, _)| address.clone());
            let there = (1..)
                .zip(&addresses)
                .all(|(nth, address)| at(&format!("c{nth}")) == Some(format!("{address}:8300")));
            there.then_some(all)
        };
        let (after, _) = until("Raft has the new addresses", LIMIT, moved).await;
        for (name, (id, _, voter)) in &after {
            assert_eq!((id, *voter), (&before[name].0, true), "{name}");
        }
    }
    for (nth, address) in (1..).zip(&addresses) {
        let http = &cluster.https()[0];
        let moved = || async {
            let found = in_catalog(http, &format!("c{nth}"), true).await;
            (found["Node"]["Address"] == address.to_string()).then_some(())
        };
        until("the catalog has the new address", LIMIT, moved).await;
    }
    cluster.agreed(LIMIT).await;
}

/// By command, the leader or another: the others know at once, Raft soon after, and the last one
/// just goes.
#[tokio::test]
async fn servers_leave_one_after_another() {
    if !for_us("servers_leave_one_after_another") {
        return;
    }
    let _turn = alone().await;
    let mut cluster = Cluster::start_with(&[QUICK, SHORT_DRAIN]).await;
    let follower = cluster.followers().await[0];
    let leader = cluster.leader().await;
    for leaver in [follower, leader] {
        let name = cluster.servers[leaver].name().to_owned();
        cluster.servers[leaver].http().done("/v1/agent/leave", "").await;
        let stay: Vec<Http> = (0..3)
            .filter(|at| *at != leaver && cluster.servers[*at].is_running())
            .map(|at| cluster.servers[at].http())
            .collect();
        for http in &stay {
            assert_eq!(statuses(http, &name).await, [3], "{name} at {}", http.address());
        }
        let status = cluster.servers[leaver].stopped().await;
        assert!(status.success(), "{status}");
        let gone = || async { (!peers(&stay[0]).await?.contains_key(&name)).then_some(()) };
        until(&format!("Raft does without {name}"), LIMIT, gone).await;
        in_catalog(&stay[0], &name, false).await;
        let log = cluster.servers[leaver].log();
        assert!(!log.contains("Raft still counts on this server"), "{log}");
        let reply = stay[0].put("/v1/kv/after", &name).await;
        assert_eq!(reply.text(), "true");
    }
    let last = (0..3).find(|at| cluster.servers[*at].is_running()).expect("one is left");
    cluster.servers[last].http().done("/v1/agent/leave", "").await;
    assert!(cluster.servers[last].stopped().await.success());
    // What it kept is there when it starts again.
    cluster.servers[last].start();
    cluster.servers[last].serving().await;
    assert_eq!(cluster.servers[last].http().get("/v1/kv/after").await.status, 200);
}

/// With one of three dead, nobody may take another away that lives; a leave has the dead go first.
#[tokio::test]
async fn the_majority_is_not_removed() {
    if !for_us("the_majority_is_not_removed") {
        return;
    }
    let _turn = beside_others().await;
    let mut cluster = Cluster::start_with(&[QUICK, SHORT_DRAIN]).await;
    let leader = cluster.leader().await;
    let [dead, other] = cluster.followers().await[..] else { panic!("two follow") };
    let http = cluster.servers[leader].http();
    let all = voters(&http, &["c1", "c2", "c3"]).await;
    let names = [leader, dead, other].map(|at| cluster.servers[at].name().to_owned());
    cluster.servers[dead].kill().await;
    in_pool(&http, &names[1], 4).await;
    let id = &all[&names[2]].0;
    let reply = http.send("DELETE", &format!("/v1/operator/raft/peer?id={id}"), &[], "").await;
    let reply = reply.expect("an answer");
    assert_eq!(reply.status, 500, "{}", reply.text());
    let why = format!("not applied: server {id} is not removed: it answers, and of the 2 voters");
    assert!(reply.text().starts_with(&why), "{}", reply.text());
    assert_eq!(peers(&http).await, Some(all));
    cluster.servers[other].http().done("/v1/agent/leave", "").await;
    assert!(cluster.servers[other].stopped().await.success());
    voters(&http, &[&names[0]]).await;
    http.done("/v1/kv/alone", "x").await;
}
