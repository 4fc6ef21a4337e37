//! From one server to five and back to three under a writing load: servers come and go by command
//! and by kill -9, and no acknowledged write is lost.
//!
//! | variable | means |
//! |---|---|
//! | `PORTOLAN_RESIZE_WRITERS` | how many writers there are (16); set, 1,000 writes a second must be done |
//!
//! `make resize` runs it with 64 writers against the release program.

use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;
use tokio::time::Instant;

use crate::harness::{
    Agent, Cluster, Load, alone, free_address, is_consul, program, setting, skip, until,
};

/// How many writers there are, if `PORTOLAN_RESIZE_WRITERS` says nothing else.
const WRITERS: usize = 16;
/// What the load must come to where it is measured, in acknowledged writes a second.
const RATE_MIN: f64 = 1000.0;
/// The longest time in which no write is acknowledged.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// As above where other programs may take the processors away.
const PAUSE_BESIDE_OTHERS_MAX: Duration = Duration::from_secs(8);
/// Writes between two steps, at the least as many as make a snapshot due.
const WRITES_BETWEEN: u64 = 300;
/// As above where the load is measured.
const WRITES_BETWEEN_MEASURED: u64 = 5000;
/// Whoever is new needs a snapshot, since no log reaches back to the beginning.
const SHORT_LOG: &str = "raft_snapshot_threshold = 200 raft_trailing_logs = 50";
/// Whoever is well for so long gets a vote.
const STABLE: &str = r#"autopilot { server_stabilization_time = "500ms" }"#;
const LIMIT: Duration = Duration::from_mins(2);

/// A cluster that changes while writers are at work on it.
struct Changing {
    cluster: Cluster,
    load: Load,
    writes_between: u64,
    /// When what was done, for who asks what was under way during a pause.
    steps: Vec<(Instant, String)>,
}

impl Changing {
    fn note(&mut self, step: String) {
        println!("resize: {step}");
        self.steps.push((Instant::now(), step));
    }

    /// One more server, which has to come by a snapshot.
    async fn grow(&mut self, name: &str) {
        self.note(format!("{name} joins"));
        let took = self.cluster.grow(name, &[SHORT_LOG, STABLE]).await;
        let new = self.cluster.servers.last_mut().expect("it was added");
        let snapshots = new.logged("snapshot arrives").len();
        assert!(snapshots > 0, "{name} caught up without a snapshot");
        self.note(format!("{name} votes {took:?} after its start, with {snapshots} snapshots"));
        self.writes_go_on().await;
    }

    /// Takes a server out of the list; the writers are done with it.
    fn drop_out(&mut self, place: usize) -> Agent {
        let gone = self.cluster.servers.remove(place);
        self.load.aim(&self.cluster.addresses());
        gone
    }

    /// A server is told to leave over HTTP, or by the command of the program.
    async fn leave(&mut self, place: usize, by_command: bool) {
        let mut leaving = self.drop_out(place);
        self.note(format!("{} leaves", leaving.name()));
        if by_command {
            let told = Command::new(program())
                .args(["leave", &format!("-http-addr={}:8500", leaving.address())])
                .output()
                .await
                .expect("the program starts");
            assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
        } else {
            leaving.http().done("/v1/agent/leave", "").await;
        }
        let took = self.cluster.settled().await;
        let status = leaving.stopped().await;
        assert!(status.success(), "{}: {status}", leaving.name());
        self.note(format!("{} has no vote any more, {took:?} after it was told", leaving.name()));
        self.writes_go_on().await;
    }

    /// A server dies, and another one takes its place. Somebody tells the cluster, or the leader
    /// finds out by itself.
    async fn replace_killed(&mut self, place: usize, name: &str, told: bool) {
        let mut dying = self.drop_out(place);
        dying.kill().await;
        self.note(format!("{} was killed", dying.name()));
        self.writes_go_on().await;
        if told {
            let path = format!("/v1/agent/force-leave/{}", dying.name());
            let http = self.cluster.servers[0].http();
            // A failed member is forced to leave, not one that is still thought to live.
            let forced = || async {
                http.done(&path, "").await;
                let members = http.get("/v1/agent/members").await.json();
                let members = members.as_array().cloned().unwrap_or_default();
                let left = |member: &Value| member["Name"] == dying.name() && member["Status"] == 3;
                members.iter().any(left).then_some(())
            };
            until("the dead server has left", LIMIT, forced).await;
        }
        self.grow(name).await;
    }

    async fn writes_go_on(&self) {
        self.load.goes_on(self.writes_between).await;
    }
}

/// Takes about half a minute with the program built for debugging.
#[tokio::test(flavor = "multi_thread")]
async fn from_one_to_five_and_back_to_three() {
    let name = "from_one_to_five_and_back_to_three";
    if is_consul() {
        return skip(name, "the real Consul has no hash of its state");
    }
    let _turn = alone().await;
    let asked: Option<usize> =
        setting("PORTOLAN_RESIZE_WRITERS").map(|text| text.parse().expect("a number of writers"));
    let cluster = Cluster::start_at(&[free_address()], &[SHORT_LOG, STABLE]).await;
    let load = Load::start(asked.unwrap_or(WRITERS), &cluster.addresses());
    let writes_between = if asked.is_some() { WRITES_BETWEEN_MEASURED } else { WRITES_BETWEEN };
    let mut changing = Changing { cluster, load, writes_between, steps: Vec::new() };
    changing.writes_go_on().await;
    for name in ["c2", "c3", "c4", "c5"] {
        changing.grow(name).await;
        changing.load.aim(&changing.cluster.addresses());
    }

    let follower = changing.cluster.followers().await[0];
    changing.replace_killed(follower, "c6", false).await;
    let leader = changing.cluster.leader().await;
    changing.replace_killed(leader, "c7", true).await;

    let leader = changing.cluster.leader().await;
    changing.leave(leader, false).await;
    let follower = changing.cluster.followers().await[0];
    changing.leave(follower, true).await;

    let Changing { cluster, load, steps, .. } = changing;
    let record = load.stop().await;
    println!("resize: {}", record.figures());
    println!("resize: the servers agree: {}", cluster.agreed(LIMIT).await);
    record.judge(&cluster.addresses()).await;
    let (pause, ended) = record.longest_pause;
    let during = steps.iter().rfind(|(at, _)| *at < ended).map(|(_, step)| step.as_str());
    let most = if asked.is_some() { PAUSE_MAX } else { PAUSE_BESIDE_OTHERS_MAX };
    assert!(pause <= most, "no write was acknowledged for {pause:?}, after: {during:?}");
    if asked.is_some() {
        assert!(record.rate() >= RATE_MIN, "{}", record.figures());
    }
}
