//! Five nodes under a key: what passes between them shows no name, who has another key stays
//! outside, and keys are changed while nobody fails.
//!
//! | variable | means |
//! |---|---|
//! | `PORTOLAN_ROTATION_SECONDS` | how long keys are changed, every 10 s; not set: three times |
//!
//! `make encryption` changes keys for five minutes, against the release program.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join_all;
use serde_json::Value;
use tokio::time::{Instant, sleep_until};

use crate::harness::{
    Agent, Capture, Captured, Cluster, Host, Http, Network, Shape, alone, is_consul, on_network,
    setting, skip, until, within,
};
use crate::real_clients::{Cli, peers};

/// Keys as operators write them: 32 bytes in base64.
const KEY: &str = "cG9ydG9sYW4gdGVzdCBrZXkgbnVtYmVyIG9uZSAhISE=";
const OTHER_KEY: &str = "cG9ydG9sYW4gdGVzdCBrZXkgbnVtYmVyIHR3byAhISE=";
/// Between two changes of the key, where they are measured.
const ROTATION: Duration = Duration::from_secs(10);
/// Changes where they are not.
const ROTATIONS: usize = 3;
/// How often somebody with another key must have tried.
const ATTEMPTS: usize = 5;
const LIMIT: Duration = Duration::from_mins(1);

/// Names that appear nowhere but where they are written.
const SERVICE: &str = "service-obsidian";
const TAG: &str = "tag-porphyry";
const STORED: &str = "key-malachite";
const VALUE: &str = "value-feldspar";
const EVENT: &str = "event-travertine";
const SESSION: &str = "session-alabaster";

/// Three servers and two agents without one, on five hosts.
struct Five {
    cluster: Cluster,
    agents: Vec<Agent>,
}

impl Five {
    async fn start(hosts: &[Host], fragments: &[&str]) -> Self {
        let cluster = Cluster::start_on(&hosts[..3], fragments).await;
        let shape = Shape::Client { join: cluster.addresses() };
        let agent = |(nth, host): (usize, &Host)| {
            Agent::on_host(&format!("agent-basalt-{nth}"), host, &shape, fragments)
        };
        let mut agents: Vec<Agent> = hosts[3..5].iter().enumerate().map(agent).collect();
        for agent in &mut agents {
            agent.start();
        }
        for agent in &mut agents {
            agent.serving().await;
        }
        Self { cluster, agents }
    }

    fn all(&self) -> impl Iterator<Item = &Agent> {
        self.cluster.servers.iter().chain(&self.agents)
    }

    fn https(&self) -> Vec<Http> {
        self.all().map(Agent::http).collect()
    }
}

/// Does a little of everything at every node, with names that can be looked for.
async fn talk(five: &Five) {
    for (nth, http) in five.https().iter().enumerate() {
        for round in 0..5 {
            http.done(&format!("/v1/kv/{STORED}/{nth}/{round}"), VALUE).await;
            http.get(&format!("/v1/kv/{STORED}/{nth}/{round}")).await;
        }
        let service = format!(
            r#"{{"Name":"{SERVICE}","Tags":["{TAG}"],"Port":80,"Check":{{"TTL":"60s","Status":"passing"}}}}"#
        );
        http.done("/v1/agent/service/register", &service).await;
        http.done(&format!("/v1/event/fire/{EVENT}"), VALUE).await;
        http.done("/v1/session/create", &format!(r#"{{"Name":"{SESSION}"}}"#)).await;
    }
    for http in five.https() {
        let heard = || async {
            let events = http.get(&format!("/v1/event/list?name={EVENT}")).await.json();
            let services = http.get(&format!("/v1/health/service/{SERVICE}")).await.json();
            let count = |list: &Value| list.as_array().map(Vec::len);
            (count(&events) == Some(5) && count(&services) == Some(5)).then_some(())
        };
        until("every node has heard of everything", LIMIT, heard).await;
    }
}

/// Everything that is said between five nodes while they start and talk.
async fn overheard(network: &Network, fragments: &[&str]) -> Captured {
    let words = [SERVICE, TAG, STORED, VALUE, EVENT, SESSION, "agent-basalt"].map(str::to_owned);
    let capture = Capture::start(network, &words);
    let five = Five::start(network.hosts(), fragments).await;
    talk(&five).await;
    let captured = capture.stop();
    println!("encryption: {:?} found: {:?}", captured.bytes, captured.found);
    let ports: BTreeSet<u16> = captured.bytes.keys().map(|(_, port)| *port).collect();
    assert!(ports.contains(&8300) && ports.contains(&8301), "nothing was heard: {captured:?}");
    captured
}

/// Takes about half a minute.
#[test]
fn a_capture_shows_no_names() {
    let name = "a_capture_shows_no_names";
    if is_consul() {
        return skip(name, "the real Consul encrypts its servers' traffic with certificates only");
    }
    on_network(name, 5, |network| async move {
        let _turn = alone().await;
        // Without a key all is plain to see, or the capture would see nothing with one either.
        let plain = overheard(&network, &[]).await;
        assert_eq!(plain.found.len(), 7, "a word was not found without a key: {:?}", plain.found);
        let sealed = overheard(&network, &[&format!("encrypt = \"{KEY}\"")]).await;
        assert!(sealed.found.is_empty(), "with a key there is plain text: {:?}", sealed.found);
    });
}

/// Takes about a quarter of a minute.
#[test]
fn who_has_another_key_stays_outside() {
    let name = "who_has_another_key_stays_outside";
    on_network(name, 6, |network| async move {
        let _turn = alone().await;
        let five = Five::start(network.hosts(), &[&format!("encrypt = \"{KEY}\"")]).await;
        let join = five.cluster.addresses();
        let host = &network.hosts()[5];
        let fragment = format!("encrypt = \"{OTHER_KEY}\"");
        let mut stranger = Agent::on_host("stranger", host, &Shape::Joining { join }, &[&fragment]);
        stranger.start();
        let address = host.address().to_string();
        let of_stranger =
            |server: &Agent| server.logged(&address).iter().filter(|line| is_warning(line)).count();
        let told = || async {
            let told = five.cluster.servers.iter().any(|server| of_stranger(server) > 0);
            told.then_some(())
        };
        until("a server tells of who has another key", LIMIT, told).await;
        // It tries every second, and goes on trying for a while.
        let tried = Instant::now() + Duration::from_secs(ATTEMPTS as u64);
        let inside = || async {
            let lists = join_all(five.https().iter().map(members)).await;
            let known = lists.iter().flatten().any(|member| member["Name"] == "stranger");
            (known || Instant::now() >= tried).then_some(known)
        };
        let (known, _) = until("the stranger is in, or has tried enough", LIMIT, inside).await;
        assert!(!known, "who has another key is a member");
        for server in &five.cluster.servers {
            let lines = of_stranger(server);
            println!("encryption: {} told {lines} times of the stranger", server.name());
            assert!(lines <= 1, "{}: {:?}", server.name(), server.logged(&address));
        }
    });
}

fn is_warning(line: &str) -> bool {
    [" WARN ", "[WARN]", " ERROR ", "[ERR]"].iter().any(|level| line.contains(level))
}

async fn members(http: &Http) -> Vec<Value> {
    let members = http.get("/v1/agent/members").await.json();
    members.as_array().cloned().expect("a list of members")
}

/// Keys change all the time, by the real program: nobody is ever thought to have failed.
#[test]
fn keys_change_and_nobody_fails() {
    let name = "keys_change_and_nobody_fails";
    let program = peers().join("usr/bin/consul");
    if !program.exists() {
        return skip(name, "real Consul CLI not fetched (tests/peers/get)");
    }
    let seconds: Option<u64> =
        setting("PORTOLAN_ROTATION_SECONDS").map(|text| text.parse().expect("a number of seconds"));
    on_network(name, 5, move |network| async move {
        let _turn = alone().await;
        let five = Five::start(network.hosts(), &[&format!("encrypt = \"{KEY}\"")]).await;
        let https = five.https();
        let until_then = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
        let changes = async {
            let mut key = KEY.to_owned();
            let mut count = 0;
            while until_then.map_or(count < ROTATIONS, |then| Instant::now() < then) {
                let next = Instant::now() + ROTATION;
                let server = &five.cluster.servers[count % 3];
                key = change_key(&Cli { program: program.clone(), server }, &key).await;
                count += 1;
                if until_then.is_some() {
                    sleep_until(next).await;
                }
            }
            count
        };
        let failed = within(Duration::MAX / 4, || async {
            let lists = join_all(https.iter().map(members)).await;
            let failed = |member: &&Value| member["Status"] != 1;
            assert!(lists.iter().all(|list| list.len() == 5), "a node knows of fewer than five");
            lists.iter().flatten().find(failed).cloned()
        });
        tokio::select! {
            count = changes => println!("encryption: the key was changed {count} times"),
            failed = failed => panic!("a member is told of wrongly: {failed:?}"),
        }
        five.cluster.agreed(LIMIT).await;
    });
}

/// A new key is installed, used, and the old one goes; gives the new one.
async fn change_key(cli: &Cli<'_>, old: &str) -> String {
    let new = cli.ok(&["keygen"]).await;
    cli.ok(&["keyring", "-install", &new]).await;
    let both = cli.ok(&["keyring", "-list"]).await;
    for key in [old, new.as_str()] {
        assert!(both.contains(&format!("{key} [5/5]")), "{key} in {both}");
    }
    cli.ok(&["keyring", "-use", &new]).await;
    cli.ok(&["keyring", "-remove", old]).await;
    let one = cli.ok(&["keyring", "-list"]).await;
    assert!(one.contains(&format!("{new} [5/5]")) && !one.contains(old), "{old} in {one}");
    new
}
