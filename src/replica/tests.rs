//! One server that leads itself, on a real disk and a real socket: what its reads promise.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::{Options, Replica, start};
use crate::lifecycle::Tasks;
use crate::model::{
    Autopilot, Command, Consistency, Index, KvOp, KvWrite, Member, MemberList, MemberStatus, Query,
    ReadOptions,
};
use crate::telemetry::Metrics;
use crate::time;

/// Longer than anything here takes, and shorter than a blocking read that nothing wakes.
const LIMIT: Duration = Duration::from_secs(10);
const WAIT: Duration = Duration::from_mins(5);
const ID: &str = "00000000-0000-0000-0000-000000000001";

/// A server, and what it needs to live.
struct Alone {
    replica: Replica,
    tasks: Tasks,
    _members: watch::Sender<MemberList>,
    _dismissed: mpsc::Receiver<String>,
    _dir: TempDir,
}

impl Alone {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (dismiss, dismissed) = mpsc::channel(1);
        let options = Options {
            dir: dir.path().to_owned(),
            number: 1,
            id: ID.to_owned(),
            name: "n1".to_owned(),
            address: format!("127.0.0.1:{port}"),
            datacenter: "dc1".to_owned(),
            expect: 1,
            heartbeat: Duration::from_millis(50),
            election: (Duration::from_millis(200), Duration::from_millis(400)),
            leader_hold: LIMIT,
            wait_default: WAIT,
            wait_max: WAIT,
            snapshot_every: 1_000,
            keep_behind: 1_000,
            autopilot: Autopilot::default(),
            reconnect_timeout: Duration::from_hours(72),
            dismiss,
            runtime: tokio::runtime::Handle::current(),
            sync: raft::Sync::Always,
            wire: None,
            metrics: Metrics::new(),
        };
        let (members, seen) = watch::channel(MemberList::from([Arc::new(member(port))]));
        let tasks = Tasks::new();
        let replica = start(options, listener.into(), seen, &tasks).await.unwrap();
        Self { replica, tasks, _members: members, _dismissed: dismissed, _dir: dir }
    }

    async fn set(&self, key: &str, value: &str) -> Index {
        let verb = KvWrite::Set { value: Bytes::copy_from_slice(value.as_bytes()), flags: 0 };
        let command = Command::Kv(KvOp { key: key.to_owned(), verb });
        let written = timeout(LIMIT, self.replica.write(&command)).await;
        written.expect("a server alone leads soon").expect("it writes").index
    }

    async fn read(&self, key: &str, after: Option<Index>) -> Index {
        let options = ReadOptions { after, ..ReadOptions::default() };
        let read = timeout(LIMIT, self.replica.read(Query::Kv(key.to_owned()), options)).await;
        read.expect("there is news").expect("it reads").index
    }

    /// Waits until the age of its state is known and no less than this.
    async fn ages(&self, least: Duration) {
        let age = || self.replica.inner.confirmed.age();
        let aged = async {
            while age() == Duration::MAX || age() < least {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(LIMIT, aged).await.expect("its age becomes known");
    }

    async fn end(self) {
        self.tasks.stop(LIMIT).await;
        self.replica.stop().await;
    }
}

fn member(port: u16) -> Member {
    Member {
        id: ID.to_owned(),
        name: "n1".to_owned(),
        address: "127.0.0.1".to_owned(),
        port: 8301,
        server_port: port,
        datacenter: "dc1".to_owned(),
        expect: 1,
        bootstrapped: false,
        tags: [("role".to_owned(), "consul".to_owned())].into(),
        status: MemberStatus::Alive,
        generation: 1,
        raft: 1,
    }
}

#[tokio::test]
async fn who_is_behind_by_one_change_does_not_wait() {
    let server = Alone::start().await;
    server.set("a", "1").await;
    let newest = server.set("a", "2").await;
    for behind in 1..newest.0 {
        assert_eq!(server.read("a", Some(Index(behind))).await, newest, "after {behind}");
    }
    server.end().await;
}

#[tokio::test]
async fn an_answer_bears_its_own_index() {
    let server = Alone::start().await;
    let first = server.set("a", "1").await;
    let second = server.set("b", "2").await;
    assert!(first < second);
    assert_eq!(server.read("a", None).await, first, "not that of what changed elsewhere");
    assert_eq!(server.read("b", Some(first)).await, second);
    server.end().await;
}

/// Without any read that would ask for it.
#[tokio::test]
async fn the_age_of_the_state_is_kept_known() {
    let server = Alone::start().await;
    server.set("a", "1").await;
    server.ages(Duration::ZERO).await;
    server.end().await;
}

/// This server leads, and has heard of itself just now: that says nothing of the age.
#[tokio::test]
async fn a_bound_on_the_age_counts_from_a_barrier() {
    let server = Alone::start().await;
    server.set("a", "1").await;
    server.ages(Duration::from_millis(50)).await;
    let asked = time::now();
    let consistency = Consistency::StaleWithin(Duration::from_millis(20));
    let options = ReadOptions { consistency, ..ReadOptions::default() };
    server.replica.read(Query::Kv("a".to_owned()), options).await.expect("it reads");
    assert!(server.replica.inner.confirmed.age() <= asked.elapsed(), "it took a barrier");
    server.end().await;
}
