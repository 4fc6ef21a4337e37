//! Twenty hosts without a server, half of which die at the same moment: how soon the catalog says
//! so, and that it says it of nobody else.
//!
//! | variable | means |
//! |---|---|
//! | `PORTOLAN_POOL_AGENTS` | how many there are (20) |

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::join_all;
use tokio::time::Instant;

use crate::harness::{
    Agent, Cluster, Http, Shape, alone, free_address, is_consul, setting, until, within,
};

const AGENTS: usize = 20;
/// By when the catalog must say so of all that died.
const SEEN_LIMIT: Duration = Duration::from_secs(10);
/// As above for the real Consul, with its own timers.
const SEEN_LIMIT_CONSUL: Duration = Duration::from_mins(1);
/// How long the living are watched after that.
const CALM: Duration = Duration::from_secs(10);
const LIMIT: Duration = Duration::from_mins(2);

/// What failure detection says of each node, in the catalog that this server has.
async fn health(http: &Http) -> Option<BTreeMap<String, String>> {
    let reply = http.try_get("/v1/health/state/any?stale").await.ok()?;
    let checks = (reply.status == 200).then(|| reply.json())?;
    let serf = checks.as_array()?.iter().filter(|check| check["CheckID"] == "serfHealth");
    let row = |check: &serde_json::Value| {
        Some((check["Node"].as_str()?.to_owned(), check["Status"].as_str()?.to_owned()))
    };
    serf.map(row).collect()
}

/// Watches one server's catalog for `limit`, or until it has told that all of `dead` are critical;
/// when it told so of each. Panics if it says of any other that it does not live.
async fn watch(
    http: &Http,
    dead: &BTreeSet<String>,
    limit: Duration,
) -> BTreeMap<String, Duration> {
    let began = Instant::now();
    let mut seen = BTreeMap::new();
    while began.elapsed() < limit && (dead.is_empty() || seen.len() < dead.len()) {
        let Some(now) = health(http).await else { continue };
        for (node, status) in now.iter().filter(|(_, status)| *status != "passing") {
            if dead.contains(node) && status == "critical" {
                seen.entry(node.clone()).or_insert_with(|| began.elapsed());
            } else {
                panic!("{node} lives and is {status}, {:?} after the others died", began.elapsed());
            }
        }
        crate::harness::rest().await;
    }
    seen
}

/// Takes about half a minute.
#[tokio::test(flavor = "multi_thread")]
async fn half_of_twenty_agents_die_at_once() {
    let _turn = alone().await;
    let count: usize = setting("PORTOLAN_POOL_AGENTS")
        .map_or(AGENTS, |text| text.parse().expect("a number of agents"));
    let cluster = Cluster::start().await;
    let shape = Shape::Client { join: cluster.addresses() };
    let mut agents: Vec<Agent> =
        (0..count).map(|nth| Agent::new(&format!("a{nth}"), free_address(), &shape, &[])).collect();
    let began = Instant::now();
    for agent in &mut agents {
        agent.start();
    }
    let servers = cluster.https();
    let everybody = || async {
        let health = health(&servers[0]).await?;
        let passing = health.values().filter(|status| *status == "passing").count();
        (passing == count + servers.len()).then_some(())
    };
    until("everybody is in the catalog and passes", LIMIT, everybody).await;
    println!("pool: {count} agents joined three servers within {:?}", began.elapsed());

    let mut dying: Vec<Agent> = Vec::new();
    let mut living: Vec<Agent> = Vec::new();
    for (nth, agent) in agents.into_iter().enumerate() {
        if nth % 2 == 0 { dying.push(agent) } else { living.push(agent) }
    }
    let dead: BTreeSet<String> = dying.iter().map(|agent| agent.name().to_owned()).collect();
    join_all(dying.iter_mut().map(Agent::kill)).await;
    let limit = if is_consul() { SEEN_LIMIT_CONSUL } else { SEEN_LIMIT };
    let seen = join_all(servers.iter().map(|http| watch(http, &dead, limit))).await;
    for (server, seen) in cluster.servers.iter().zip(&seen) {
        let (first, last) = (seen.values().min(), seen.values().max());
        println!(
            "pool: {} told of {} of {} deaths, the first after {first:?}, the last after {last:?}",
            server.name(),
            seen.len(),
            dead.len()
        );
    }
    for seen in &seen {
        let unseen: Vec<_> = dead.iter().filter(|name| !seen.contains_key(*name)).collect();
        assert!(unseen.is_empty(), "not told of within {limit:?}: {unseen:?}");
    }
    stay_alive(&servers, &living, &dead).await;

    for agent in &mut dying {
        agent.start();
    }
    let ((), took) = until("the dead are back", LIMIT, everybody).await;
    println!("pool: started again, all passed {took:?} later");
}

/// Watches for a while: the dead stay critical, and the living pass.
async fn stay_alive(servers: &[Http], living: &[Agent], dead: &BTreeSet<String>) {
    let changed = || async {
        let health = health(&servers[0]).await?;
        let of = |name: &str| health.get(name).map(String::as_str);
        let failed = living.iter().find(|agent| of(agent.name()) != Some("passing"));
        let risen = dead.iter().find(|name| of(name) != Some("critical"));
        failed.map(Agent::name).or(risen.map(String::as_str))
    };
    if let Some(name) = within(CALM, changed).await {
        panic!("{name} is told of wrongly");
    }
}
