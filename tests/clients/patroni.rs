//! Patroni 3 with our servers as its Consul: one leader at a time, through kills on both sides.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::join_all;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::{MissedTickBehavior, interval};

use super::program::{Program, find};
use crate::harness::{Cluster, Http, alone, free_address, is_consul, skip, until};

/// A database is made, or copied from the leader, and started.
const READY_LIMIT: Duration = Duration::from_mins(2);
/// Patroni's session ends two TTLs of 10 s after the last renewal; then the others race.
const FAILOVER_LIMIT: Duration = Duration::from_mins(1);
const SAMPLE: Duration = Duration::from_millis(100);

/// One Patroni with its PostgreSQL.
struct Member {
    name: String,
    address: Ipv4Addr,
    consul: Ipv4Addr,
    program: Option<Program>,
}

impl Member {
    fn new(name: &str, consul: Ipv4Addr) -> Self {
        Self { name: name.into(), address: free_address(), consul, program: None }
    }

    fn settings(&self, folder: &Path) -> String {
        let Self { name, address, consul, .. } = self;
        let folder = folder.display();
        format!(
            "scope: fleet\nname: {name}\n\
             restapi: {{listen: '{address}:8008', connect_address: '{address}:8008'}}\n\
             consul: {{host: '{consul}:8500', register_service: true}}\n\
             bootstrap:\n  \
               dcs: {{ttl: 20, loop_wait: 1, retry_timeout: 5, postgresql: {{use_pg_rewind: true}}}}\n  \
               initdb: [{{encoding: UTF8}}, {{locale: C}}, data-checksums, no-sync]\n\
             postgresql:\n  listen: '{address}:5432'\n  connect_address: '{address}:5432'\n  \
               data_dir: {folder}/data\n  bin_dir: /usr/lib/postgresql/15/bin\n  \
               pgpass: {folder}/pgpass\n  \
               authentication:\n    superuser: {{username: postgres, password: a}}\n    \
                 replication: {{username: replicator, password: b}}\n  \
               pg_hba: ['local all all trust', 'host all all 127.0.0.0/8 trust', \
                        'host replication replicator 127.0.0.0/8 trust']\n  \
               parameters: {{unix_socket_directories: '{folder}', fsync: 'off', \
                             shared_buffers: '16MB', max_connections: 20}}\n"
        )
    }

    /// Starts it as the user `postgres`, for a database refuses to run as root.
    fn start_in(&mut self, folder: TempDir) {
        let program = Program::start_in(&self.name, folder, |folder| {
            let settings = folder.join("patroni.yml");
            std::fs::write(&settings, self.settings(folder)).expect("the settings are written");
            let script = "chown -R postgres: \"$1\" && chmod 700 \"$1\" && \
                          exec setpriv --reuid=postgres --regid=postgres --init-groups \
                          patroni \"$1/patroni.yml\"";
            let mut command = Command::new("sh");
            command.args(["-c", script, "sh"]).arg(folder).env("PYTHONUNBUFFERED", "1");
            command
        });
        self.program = Some(program);
    }

    fn start(&mut self) {
        self.start_in(TempDir::with_prefix("portolan-client-").expect("a temporary folder"));
    }

    async fn kill(&mut self) -> TempDir {
        self.program.take().expect("it runs").kill().await
    }

    fn http(&self) -> Http {
        Http::with_limit(SocketAddr::from((self.address, 8008)), Duration::from_secs(2))
    }

    /// Whether its REST door says yes at this path.
    async fn says(&self, path: &str) -> bool {
        self.http().try_get(path).await.is_ok_and(|reply| reply.status == 200)
    }
}

/// Asks every member again and again whether it is the primary; two at a time are a split brain.
async fn watch_primaries(doors: Vec<Http>, go_on: &AtomicBool) -> Vec<usize> {
    let mut ticks = interval(SAMPLE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut at_once = vec![0; doors.len() + 1];
    while go_on.load(Ordering::Relaxed) {
        ticks.tick().await;
        let asked = doors.iter().map(|door| async {
            door.try_get("/primary").await.is_ok_and(|reply| reply.status == 200)
        });
        let primaries = join_all(asked).await.into_iter().filter(|yes| *yes).count();
        at_once[primaries] += 1;
    }
    at_once
}

#[tokio::test]
async fn patroni_fails_over_and_never_shows_two_leaders() {
    let test = "patroni_fails_over_and_never_shows_two_leaders";
    if find("patroni").is_none() || find("initdb").is_none() || is_consul() {
        return skip(test, "no Patroni or PostgreSQL 15 here (tests/peers/get --clients)");
    }
    let _turn = alone().await;
    let mut cluster = Cluster::start().await;
    // No member's own server is the one that is killed: Patroni takes a single address.
    let others = cluster.followers().await;
    let consul = |at: usize| cluster.servers[others[at % others.len()]].address();
    let mut members: Vec<Member> =
        (0..3).map(|at| Member::new(&format!("pg{}", at + 1), consul(at))).collect();
    for member in &mut members {
        member.start();
    }
    let go_on = AtomicBool::new(true);
    let doors = members.iter().map(Member::http).collect();
    let story = async {
        through_two_deaths(&mut cluster, &mut members).await;
        go_on.store(false, Ordering::Relaxed);
    };
    let (at_once, ()) = tokio::join!(watch_primaries(doors, &go_on), story);
    eprintln!("patroni: samples with 0, 1, 2, 3 primaries: {at_once:?}");
    assert!(at_once[1] > 0 && at_once[2..].iter().all(|samples| *samples == 0), "{at_once:?}");
}

/// Our leader dies, and Patroni's primary stays; then that dies, and another takes over.
async fn through_two_deaths(cluster: &mut Cluster, members: &mut [Member]) {
    let (leading, others) = (cluster.leader().await, cluster.followers().await);
    let (first, _) = until("a primary", READY_LIMIT, || primary(members, None)).await;
    for member in members.iter() {
        let replica = || async { member.says("/health").await.then_some(()) };
        until(&format!("{} runs", member.name), READY_LIMIT, replica).await;
    }
    let key = cluster.servers[others[0]].http().get("/v1/kv/service/fleet/leader?raw").await;
    assert_eq!(key.text(), members[first].name, "the key names the primary");

    cluster.servers[leading].kill().await;
    let ((), took) = until("our servers have a leader again", FAILOVER_LIMIT, || async {
        let reply = cluster.servers[others[0]].http().try_put("/v1/kv/after", "x").await.ok()?;
        (reply.text() == "true").then_some(())
    })
    .await;
    eprintln!("patroni: our leader was killed; writes went on after {took:?}");
    let before = store_seen(&members[first]).await;
    until("the primary goes on with its lease", FAILOVER_LIMIT, || async {
        (store_seen(&members[first]).await > before).then_some(())
    })
    .await;
    assert_eq!(primary(members, None).await, Some(first), "our failover is none of Patroni's");

    let folder = members[first].kill().await;
    let (second, took) =
        until("another primary", FAILOVER_LIMIT, || primary(members, Some(first))).await;
    eprintln!(
        "patroni: {} killed; {} led {took:?} later",
        members[first].name, members[second].name
    );
    members[first].start_in(folder);
    let (again, what) = (&members[first], "the old primary comes back as a replica");
    until(what, READY_LIMIT, || async { again.says("/replica").await.then_some(()) }).await;
}

/// The place of the one member that says it is the primary, `but` left out.
async fn primary(members: &[Member], but: Option<usize>) -> Option<usize> {
    for (at, member) in members.iter().enumerate() {
        if Some(at) != but && member.says("/primary").await {
            return Some(at);
        }
    }
    None
}

/// When a member last had an answer from its store, in seconds since 1970, as it says itself.
async fn store_seen(member: &Member) -> Option<u64> {
    let reply = member.http().try_get("/patroni").await.ok()?;
    reply.json()["dcs_last_seen"].as_u64()
}
