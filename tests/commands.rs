//! Coming, going and being sent away, as the real Consul 1.8.7 program asks for it.

use std::path::PathBuf;
use std::time::Duration;

use futures::future::join_all;
use serde_json::Value;

use crate::harness::{Agent, Cluster, Http, Shape, alone, free_address, is_consul, skip, until};
use crate::real_clients::{Cli, peers};

const KEY: &str = "cG9ydG9sYW4gdGVzdCBrZXkgbnVtYmVyIG9uZSAhISE=";
const LIMIT: Duration = Duration::from_mins(1);
/// Statuses of members as the HTTP door counts them.
const ALIVE: u64 = 1;
const LEFT: u64 = 3;
const FAILED: u64 = 4;

/// Three servers and as many agents as there are names, and the real program.
struct Fleet {
    program: PathBuf,
    cluster: Cluster,
    agents: Vec<Agent>,
}

impl Fleet {
    async fn start(program: PathBuf, names: &[&str]) -> Self {
        let fragment = format!("encrypt = \"{KEY}\"");
        let cluster = Cluster::start_with(&[&fragment]).await;
        let shape = Shape::Client { join: cluster.addresses() };
        let agent = |name: &&str| Agent::new(name, free_address(), &shape, &[&fragment]);
        let mut agents: Vec<Agent> = names.iter().map(agent).collect();
        for agent in &mut agents {
            agent.start();
        }
        for agent in &mut agents {
            agent.serving().await;
        }
        let fleet = Self { program, cluster, agents };
        fleet.all_know(&names.iter().map(|name| (*name, ALIVE)).collect::<Vec<_>>()).await;
        fleet
    }

    /// The program, pointed at a server.
    fn cli(&self, place: usize) -> Cli<'_> {
        Cli { program: self.program.clone(), server: &self.cluster.servers[place] }
    }

    /// The program, pointed at an agent.
    fn cli_of(&self, place: usize) -> Cli<'_> {
        Cli { program: self.program.clone(), server: &self.agents[place] }
    }

    /// Every agent that runs.
    fn all(&self) -> impl Iterator<Item = &Agent> {
        self.cluster.servers.iter().chain(&self.agents).filter(|agent| agent.is_running())
    }

    /// Waits until everybody says this of these.
    async fn all_know(&self, wanted: &[(&str, u64)]) {
        let look = || async {
            let lists = join_all(self.all().map(|agent| statuses(agent.http()))).await;
            let knows = |list: &Vec<(String, u64)>| {
                let is_there = |(name, status): &(&str, u64)| {
                    list.iter().any(|(known, is)| known == name && is == status)
                };
                wanted.iter().all(is_there)
            };
            lists.iter().all(knows).then_some(())
        };
        until(&format!("everybody knows {wanted:?}"), LIMIT, look).await;
    }

    /// What everybody but the asked one says of a member right now, in the order of their names.
    async fn said_of(&self, name: &str) -> Vec<(String, Option<u64>)> {
        let others = self.all().filter(|agent| agent.name() != name);
        let said = others.map(|agent| async move {
            let list = statuses(agent.http()).await;
            let status = list.iter().find(|(known, _)| known == name).map(|(_, status)| *status);
            (agent.name().to_owned(), status)
        });
        join_all(said).await
    }
}

async fn statuses(http: Http) -> Vec<(String, u64)> {
    let members = http.get("/v1/agent/members").await.json();
    let row =
        |member: &Value| Some((member["Name"].as_str()?.to_owned(), member["Status"].as_u64()?));
    members.as_array().expect("a list").iter().filter_map(row).collect()
}

/// The line of a table that begins with this name, as words.
fn line(table: &str, name: &str) -> Vec<String> {
    let found = table.lines().map(str::split_whitespace).find_map(|mut words| {
        (words.next() == Some(name)).then(|| words.map(str::to_owned).collect())
    });
    found.unwrap_or_else(|| panic!("no line of {name} in:\n{table}"))
}

fn real(test: &str) -> Option<PathBuf> {
    let program = peers().join("usr/bin/consul");
    if program.exists() && !is_consul() {
        return Some(program);
    }
    skip(test, "real Consul CLI not fetched (tests/peers/get), or it is what is tested");
    None
}

/// By the time that the call returns, everybody else says that the member has left.
#[tokio::test]
async fn who_leaves_has_left_when_the_call_returns() {
    let Some(program) = real("who_leaves_has_left_when_the_call_returns") else { return };
    let _turn = alone().await;
    let mut fleet = Fleet::start(program, &["a1", "a2"]).await;
    fleet.agents[0].http().done("/v1/agent/leave", "").await;
    let said = fleet.said_of("a1").await;
    assert!(said.iter().all(|(_, status)| *status == Some(LEFT)), "of a1: {said:?}");
    let mut first = fleet.agents.remove(0);
    assert!(first.stopped().await.success());

    let told = fleet.cli_of(0).ok(&["leave"]).await;
    assert!(told.contains("Graceful leave complete"), "{told}");
    let said = fleet.said_of("a2").await;
    assert!(said.iter().all(|(_, status)| *status == Some(LEFT)), "of a2: {said:?}");
    let mut second = fleet.agents.remove(0);
    assert!(second.stopped().await.success());

    let leader = fleet.cluster.leader().await;
    let (name, asked) = (fleet.cluster.servers[leader].name().to_owned(), (leader + 1) % 3);
    fleet.cluster.servers[leader].http().done("/v1/agent/leave", "").await;
    let said = fleet.said_of(&name).await;
    assert!(said.iter().all(|(_, status)| *status == Some(LEFT)), "of {name}: {said:?}");
    let mut gone = fleet.cluster.servers.remove(leader);
    fleet.cluster.settled().await;
    assert!(gone.stopped().await.success());
    let asked = asked.min(1);
    let members = fleet.cli(asked).ok(&["members"]).await;
    assert_eq!(line(&members, &name)[1], "left", "{members}");
    let raft = fleet.cli(asked).ok(&["operator", "raft", "list-peers"]).await;
    assert_eq!(raft.lines().count(), 3, "{raft}");
    assert!(!raft.contains(&gone.address().to_string()), "{raft}");
}

/// Who died is sent away by name, and with -prune is shown no more.
#[tokio::test]
async fn the_dead_are_sent_away() {
    let Some(program) = real("the_dead_are_sent_away") else { return };
    let _turn = alone().await;
    let mut fleet = Fleet::start(program, &["a1", "a2"]).await;
    for agent in &mut fleet.agents {
        agent.kill().await;
    }
    fleet.all_know(&[("a1", FAILED), ("a2", FAILED)]).await;
    let members = fleet.cli(0).ok(&["members", "-status=failed"]).await;
    assert_eq!(line(&members, "a1")[1], "failed", "{members}");

    fleet.cli(0).ok(&["force-leave", "a1"]).await;
    fleet.all_know(&[("a1", LEFT), ("a2", FAILED)]).await;
    fleet.cli(1).ok(&["force-leave", "-prune", "a2"]).await;
    let look = || async {
        let said = fleet.said_of("a2").await;
        said.iter().all(|(_, status)| status.is_none()).then_some(())
    };
    until("nobody shows a2 any more", LIMIT, look).await;
    let members = fleet.cli(2).ok(&["members"]).await;
    assert!(!members.lines().any(|line| line.starts_with("a2")), "{members}");
    let nodes = || async {
        let nodes = fleet.cli(2).ok(&["catalog", "nodes"]).await;
        (!nodes.lines().any(|line| line.starts_with('a'))).then_some(())
    };
    until("who left is no node any more", LIMIT, nodes).await;
    let unknown = fleet.cli(0).fails(&["force-leave", "nobody"]).await;
    assert!(unknown.contains("nobody") || unknown.contains("No node"), "{unknown}");

    // Who was sent away and comes back is taken in again.
    fleet.agents[0].start();
    fleet.agents[0].serving().await;
    fleet.all_know(&[("a1", ALIVE)]).await;
}

/// Keys, events, round trips and peers.
#[tokio::test]
async fn keys_events_and_round_trips() {
    let Some(program) = real("keys_events_and_round_trips") else { return };
    let _turn = alone().await;
    let fleet = Fleet::start(program, &["a1"]).await;
    let members = fleet.cli_of(0).ok(&["members"]).await;
    for (name, kind) in [("c1", "server"), ("c2", "server"), ("c3", "server"), ("a1", "client")] {
        let words = line(&members, name);
        assert_eq!((words[1].as_str(), words[2].as_str()), ("alive", kind), "{members}");
    }
    keys(&fleet).await;

    for server in &fleet.cluster.servers {
        server.http().done("/v1/agent/service/register", r#"{"Name":"web","Port":80}"#).await;
    }
    let fired = fleet.cli_of(0).ok(&["event", "-name=deploy", "-service=web", "v7"]).await;
    assert!(fired.starts_with("Event ID: "), "{fired}");
    for agent in fleet.all() {
        let http = agent.http();
        let heard = || async {
            let events = http.get("/v1/event/list?name=deploy").await.json();
            let ours = &events[0];
            (fired.ends_with(ours["ID"].as_str()?) && ours["Payload"] == "djc=").then_some(())
        };
        // Who has no such service hears nothing of it.
        if agent.name() != "a1" {
            until(&format!("{} has heard", agent.name()), LIMIT, heard).await;
        }
    }
    for (cli, other) in [(fleet.cli(0), "c2"), (fleet.cli_of(0), "c3")] {
        let own = cli.server.name().to_owned();
        let known = || async {
            let list = cli.server.http().get("/v1/coordinate/nodes").await.json();
            let names: Vec<&str> =
                list.as_array()?.iter().filter_map(|node| node["Node"].as_str()).collect();
            (names.contains(&&*own) && names.contains(&other)).then_some(())
        };
        until("both have coordinates", LIMIT, known).await;
        for words in [&["rtt", other][..], &["rtt", other, &own]] {
            let rtt = cli.ok(words).await;
            assert!(rtt.contains(" rtt: ") && rtt.contains(" ms"), "{rtt}");
        }
    }
}

async fn keys(fleet: &Fleet) {
    let cli = fleet.cli(1);
    let listed = cli.ok(&["keyring", "-list"]).await;
    assert!(listed.contains("dc1 (LAN):") && listed.contains(&format!("{KEY} [4/4]")), "{listed}");
    let new = cli.ok(&["keygen"]).await;
    cli.ok(&["keyring", &format!("-install={new}")]).await;
    let refused = cli.fails(&["keyring", &format!("-remove={KEY}")]).await;
    assert!(
        refused.to_lowercase().contains("removing the primary key is not allowed"),
        "{refused}"
    );
    cli.ok(&["keyring", &format!("-use={new}")]).await;
    let listed = fleet.cli(2).ok(&["keyring", "-list"]).await;
    assert!(
        listed.contains(&format!("{KEY} [4/4]")) && listed.contains(&format!("{new} [4/4]")),
        "{listed}"
    );
    cli.ok(&["keyring", &format!("-remove={KEY}")]).await;
    let listed = fleet.cli(0).ok(&["keyring", "-list"]).await;
    assert!(!listed.contains(KEY) && listed.contains(&format!("{new} [4/4]")), "{listed}");
    let unknown = cli.fails(&["keyring", &format!("-use={KEY}")]).await;
    assert!(unknown.to_lowercase().contains("requested key is not in the keyring"), "{unknown}");
    let short = cli.fails(&["keyring", "-install=c2hvcnQ="]).await;
    assert!(short.contains("key size must be 16, 24 or 32 bytes"), "{short}");
}
