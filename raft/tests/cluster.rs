//! Nodes over real TCP: elections, replies, read barriers, restarts, snapshots, membership.

mod harness;
mod recover;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use harness::{Cluster, PATIENCE, State, copy, peer};
use portolan_raft::{CallError, Caller, CallerOptions, MembershipError, ProposeError};
use tokio::net::TcpListener;
use tokio::time::timeout;

#[tokio::test(flavor = "multi_thread")]
async fn one_node_keeps_what_it_answered() {
    let mut cluster = Cluster::new(1, |_| {}).await;
    assert_eq!(cluster.put("a", "1").await, "");
    assert_eq!(cluster.put("a", "2").await, "1");
    cluster.node(1).read_barrier(PATIENCE).await.unwrap();
    cluster.stop(1).await;
    cluster.start(1).await;
    assert!(cluster.node(1).is_bootstrapped());
    cluster.node(1).read_barrier(PATIENCE).await.unwrap();
    assert_eq!(cluster.values(1), BTreeMap::from([("a".to_owned(), "2".to_owned())]));
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn followers_read_what_the_leader_answered() {
    let cluster = Cluster::new(3, |_| {}).await;
    let puts = (0..300).map(|i| {
        let cluster = &cluster;
        async move { cluster.put(&format!("k{i}"), "v").await }
    });
    futures::future::join_all(puts).await;
    for id in 1..=3 {
        cluster.node(id).read_barrier(PATIENCE).await.unwrap();
        assert_eq!(cluster.values(id).len(), 300, "node {id} has it all");
    }
    let leader = cluster.leader().await;
    let follower = (1..=3).find(|id| *id != leader).unwrap();
    let refused = cluster.node(follower).propose(Bytes::from_static(b"a=b")).await;
    assert!(matches!(refused, Err(ProposeError::NotLeader { leader: Some(l) }) if l == leader));
    assert!(cluster.node(follower).leader_contact().unwrap() < PATIENCE);
    let answer = cluster.node(follower).call(leader, Bytes::from_static(b"hi"), PATIENCE).await;
    assert_eq!(answer.unwrap(), format!("{follower}:hi"));
    let nobody = cluster.node(follower).call(9, Bytes::new(), PATIENCE).await;
    assert!(matches!(nobody, Err(CallError::NotSent(_))));
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_leader_has_everything_that_was_answered() {
    let mut cluster = Cluster::new(3, |_| {}).await;
    for i in 0..50 {
        cluster.put(&format!("k{i}"), "v").await;
    }
    let old = cluster.leader().await;
    cluster.stop(old).await;
    cluster.put("after", "v").await;
    let new = cluster.leader().await;
    assert_ne!(new, old);
    assert_eq!(cluster.values(new).len(), 51);
    cluster.start(old).await;
    cluster.node(old).read_barrier(PATIENCE).await.unwrap();
    assert_eq!(cluster.values(old).len(), 51);
    cluster.stop_all().await;
}

/// Such a leader may have a successor already: what it reads is as old as its last majority.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_without_a_majority_does_not_pass_for_fresh() {
    let mut cluster = Cluster::new(3, |_| {}).await;
    cluster.put("a", "1").await;
    let leader = cluster.leader().await;
    assert_eq!(cluster.node(leader).leader_contact(), Some(Duration::ZERO));
    for id in (1..=3).filter(|id| *id != leader) {
        cluster.stop(id).await;
    }
    let stale = async {
        while cluster.node(leader).leader_contact().unwrap() < Duration::from_secs(1) {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, stale).await.unwrap();
    assert!(
        cluster.node(leader).now().is_leader && cluster.node(leader).confirmed_leader().is_none()
    );
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_cluster_comes_back_with_new_addresses() {
    let mut cluster = Cluster::new(3, |_| {}).await;
    for i in 0..50 {
        cluster.put(&format!("k{i}"), "v").await;
    }
    let term = cluster.node(1).now().term;
    for id in 1..=3 {
        cluster.stop(id).await;
    }
    for id in 1..=3 {
        cluster.start(id).await;
    }
    for id in 1..=3 {
        cluster.node(id).read_barrier(PATIENCE).await.unwrap();
        assert_eq!(cluster.values(id).len(), 50, "node {id} has it all");
    }
    assert!(cluster.node(1).now().term > term);
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_minority_answers_nothing() {
    let mut cluster = Cluster::new(3, |_| {}).await;
    cluster.put("a", "1").await;
    let leader = cluster.leader().await;
    for id in (1..=3).filter(|id| *id != leader) {
        cluster.stop(id).await;
    }
    let limit = Duration::from_millis(1500);
    cluster.node(leader).read_barrier(limit).await.unwrap_err();
    assert!(cluster.node(leader).confirmed_leader().is_none());
    let refused = cluster.node(leader).propose(Bytes::from_static(b"a=2")).await;
    assert!(matches!(refused, Err(ProposeError::NotLeader { leader: None })), "{refused:?}");
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_lags_catches_up_by_snapshot() {
    let mut cluster = Cluster::new(3, |options| {
        options.keep_behind = 5;
        options.snapshot_every = 1_000_000;
    })
    .await;
    cluster.put("first", "v").await;
    let leader = cluster.leader().await;
    let late = (1..=3).find(|id| *id != leader).unwrap();
    cluster.stop(late).await;
    for i in 0..200 {
        cluster.put(&format!("k{i}"), &"v".repeat(1000)).await;
    }
    let leader = cluster.leader().await;
    let taken = cluster.node(leader).snapshot().await.unwrap();
    assert!(taken >= 200);
    cluster.until(leader, |status| status.purged + 5 >= taken).await;
    cluster.start(late).await;
    cluster.node(late).read_barrier(PATIENCE).await.unwrap();
    assert_eq!(cluster.values(late), cluster.values(leader));
    assert_eq!(cluster.nodes[&late].state.lock().restores, 1);
    // From its own snapshot, because its log begins behind it.
    cluster.put("last", "v").await;
    cluster.stop(late).await;
    cluster.start(late).await;
    cluster.node(late).read_barrier(PATIENCE).await.unwrap();
    assert_eq!(cluster.values(late), cluster.values(cluster.leader().await));
    cluster.stop_all().await;
}

/// openraft's pauses between two tries are in the requests that it hands over: who calls before it
/// has one, calls without any.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_peer_is_not_called_without_pause() {
    let mut cluster = Cluster::new(3, |_| {}).await;
    let leader = cluster.leader().await;
    let dead = (1..=3).find(|id| *id != leader).unwrap();
    cluster.stop(dead).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    cluster.node(leader).redirect(dead, Some(address));
    cluster.put("a", "1").await;
    let mut calls = 0;
    let counted = async {
        loop {
            drop(listener.accept().await);
            calls += 1;
        }
    };
    assert!(timeout(Duration::from_secs(2), counted).await.is_err());
    // Heartbeats are twenty, and tries to replicate half as many.
    assert!((1..100).contains(&calls), "{calls} calls in two seconds");
    cluster.stop_all().await;
}

/// An entry was on the disks of others, and this machine kept it; then the power went before the
/// log was synced here. The log begins anew behind it, and the old snapshot does not reach there.
#[tokio::test(flavor = "multi_thread")]
async fn a_machine_may_be_ahead_of_its_log() {
    let mut cluster = Cluster::new(3, |_| {}).await;
    cluster.put("first", "v").await;
    let leader = cluster.leader().await;
    let torn = (1..=3).find(|id| *id != leader).unwrap();
    cluster.node(torn).read_barrier(PATIENCE).await.unwrap();
    cluster.node(torn).snapshot().await.unwrap();
    let (log, earlier) = (cluster.dir(torn).join("log"), cluster.dir(torn).join("earlier"));
    let state = cluster.state(torn);
    cluster.stop(torn).await;
    copy(&log, &earlier);
    cluster.start_with(torn, state).await;
    for i in 0..20 {
        cluster.put(&format!("k{i}"), "v").await;
    }
    cluster.node(torn).read_barrier(PATIENCE).await.unwrap();
    let state = cluster.state(torn);
    cluster.stop(torn).await;
    std::fs::remove_dir_all(&log).unwrap();
    copy(&earlier, &log);
    cluster.start_with(torn, state).await;
    let status = cluster.node(torn).now();
    assert!(status.snapshot >= 20 && status.snapshot == status.applied, "{status:?}");
    cluster.put("last", "v").await;
    cluster.node(torn).read_barrier(PATIENCE).await.unwrap();
    assert_eq!(cluster.values(torn), cluster.values(cluster.leader().await));
    cluster.stop_all().await;
}

/// Three nodes, of which one is stopped. Its machine has what a new leader wrote; in its log others
/// stand there, which it had proposed as the leader before and was alone with. Who it is, and what
/// its machine has.
async fn ahead_of_a_longer_log() -> (Cluster, u64, State) {
    let mut cluster = Cluster::new(3, |_| {}).await;
    cluster.put("first", "v").await;
    let old = cluster.leader().await;
    let mut states = Vec::new();
    for id in (1..=3).filter(|id| *id != old) {
        cluster.node(id).read_barrier(PATIENCE).await.expect("it passes");
        states.push((id, cluster.state(id)));
        cluster.stop(id).await;
    }
    let before = cluster.node(old).now().last_log;
    // All at once: what waits for the first ones goes together.
    let alone = (0..30).map(|i| cluster.node(old).propose(Bytes::from(format!("alone{i}=v"))));
    let alone = timeout(Duration::from_millis(500), futures::future::join_all(alone)).await;
    assert!(alone.is_err(), "nobody else has them");
    cluster.until(old, |status| status.last_log >= before + 2).await;
    let end = cluster.node(old).now().last_log;
    let (log, earlier) = (cluster.dir(old).join("log"), cluster.dir(old).join("earlier"));
    let state = cluster.state(old);
    cluster.stop(old).await;
    copy(&log, &earlier);
    for (id, state) in states {
        cluster.start_with(id, state).await;
    }
    cluster.put("second", "v").await;
    cluster.start_with(old, state).await;
    cluster.node(old).read_barrier(PATIENCE).await.expect("it passes");
    let (state, applied) = (cluster.state(old), cluster.node(old).now().applied);
    assert!(applied <= end, "the lost entries stand within what is to be cut off");
    cluster.stop(old).await;
    std::fs::remove_dir_all(&log).expect("the folder goes");
    copy(&earlier, &log);
    (cluster, old, state)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_may_be_ahead_of_a_longer_log() {
    let (mut cluster, old, state) = ahead_of_a_longer_log().await;
    cluster.start_with(old, state).await;
    cluster.put("last", "v").await;
    cluster.node(old).read_barrier(PATIENCE).await.unwrap();
    let values = cluster.values(old);
    assert_eq!(values.keys().collect::<Vec<_>>(), ["first", "last", "second"]);
    assert_eq!(values, cluster.values(cluster.leader().await));
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_come_by_themselves_and_the_log_is_purged() {
    let mut cluster = Cluster::new(1, |options| {
        options.snapshot_every = 50;
        options.keep_behind = 10;
        options.cache_bytes = 1024;
    })
    .await;
    for i in 0..400 {
        cluster.put(&format!("k{}", i % 7), &"v".repeat(2000)).await;
    }
    cluster.until(1, |status| status.snapshot >= 350 && status.purged >= 300).await;
    let segments = std::fs::read_dir(cluster.dir(1).join("log")).unwrap().count();
    assert!(segments < 8, "{segments} files in the log");
    std::fs::create_dir(cluster.dir(1).join("snapshots/building-77")).unwrap();
    cluster.stop(1).await;
    cluster.start(1).await;
    cluster.node(1).read_barrier(PATIENCE).await.unwrap();
    assert_eq!(cluster.nodes[&1].state.lock().entries, 400);
    assert!(!cluster.dir(1).join("snapshots/building-77").exists());
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_fails_is_tried_again() {
    let cluster = Cluster::new(1, |options| options.snapshot_every = 50).await;
    cluster.nodes[&1].state.lock().failing = 2;
    for i in 0..60 {
        cluster.put("k", &i.to_string()).await;
    }
    cluster.until(1, |status| status.snapshot >= 50).await;
    assert_eq!(cluster.nodes[&1].state.lock().failing, 0);
    assert_eq!(*cluster.node(1).fault().borrow(), None);
    let folders = std::fs::read_dir(cluster.dir(1).join("snapshots")).unwrap();
    let names = folders.map(|item| item.unwrap().file_name().into_string().unwrap());
    let left: Vec<String> = names.filter(|name| !name.starts_with("snapshot-")).collect();
    assert!(left.is_empty(), "{left:?}");
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn membership_grows_and_shrinks() {
    let mut cluster = Cluster::new(1, |_| {}).await;
    cluster.put("a", "1").await;
    for id in 2..=3 {
        cluster.start(id).await;
        let address = cluster.nodes[&id].address.clone();
        cluster.node(1).add_learner(id, peer(id, &address)).await.unwrap();
    }
    cluster.node(1).change_voters(BTreeSet::from([1, 2, 3])).await.unwrap();
    cluster.put("b", "2").await;
    for id in 1..=3 {
        cluster.node(id).read_barrier(PATIENCE).await.unwrap();
        assert_eq!(cluster.values(id).len(), 2);
        cluster.until(id, |status| status.voters.len() == 3).await;
    }
    let leader = cluster.leader().await;
    for id in (1..=3).filter(|id| *id != leader) {
        cluster.node(leader).remove(id).await.unwrap();
        cluster.stop(id).await;
    }
    assert!(matches!(cluster.node(leader).remove(leader).await, Err(MembershipError::Refused(_))));
    cluster.put("c", "3").await;
    assert_eq!(cluster.node(leader).now().peers.len(), 1);
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_is_handed_over() {
    let cluster = Cluster::new(3, |_| {}).await;
    cluster.put("a", "1").await;
    let old = cluster.leader().await;
    let heir = (1..=3).find(|id| *id != old).unwrap();
    let follower = cluster.node(heir).transfer_leadership(None).await;
    assert!(matches!(follower, Err(MembershipError::NotLeader { .. })));
    cluster.node(old).transfer_leadership(Some(heir)).await.unwrap();
    cluster.until(heir, |status| status.is_leader).await;
    cluster.node(heir).transfer_leadership(None).await.unwrap();
    cluster.put("b", "2").await;
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_refused_with_a_reason() {
    let here = Cluster::new(1, |_| {}).await;
    let there = Cluster::new(1, |options| options.cluster = "elsewhere".to_owned()).await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = here.nodes[&1].address.clone();
    let table = [
        (2, there.nodes[&1].address.clone(), "this is cluster \"elsewhere\", not \"test\""),
        (3, own, "this is node 1, not 3"),
        (4, silent.local_addr().unwrap().to_string(), "timed out"),
    ];
    for (node, address, reason) in table {
        here.node(1).redirect(node, Some(address));
        let refused = here.node(1).call(node, Bytes::new(), PATIENCE).await;
        let Err(CallError::NotSent(text)) = refused else { panic!("{node}: {refused:?}") };
        assert!(text.contains(reason), "{node}: {text}");
    }
    here.stop_all().await;
    there.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_of_the_machine_or_the_disk_stops_the_node() {
    let cluster = Cluster::new(1, |_| {}).await;
    let mut fault = cluster.node(1).fault();
    let refused = cluster.node(1).propose(Bytes::from_static(b"fault=now")).await;
    assert!(matches!(refused, Err(ProposeError::Stopped)), "{refused:?}");
    let text = fault.wait_for(Option::is_some).await.unwrap().clone().unwrap();
    assert!(text.contains("told to fail"), "{text}");
    cluster.stop_all().await;

    let cluster = Cluster::new(1, |options| options.segment_bytes = 4096).await;
    let mut fault = cluster.node(1).fault();
    std::fs::remove_dir_all(cluster.dir(1).join("log")).unwrap();
    let payload = Bytes::from(format!("a={}", "v".repeat(4000)));
    let refused = cluster.node(1).propose(payload).await;
    assert!(matches!(refused, Err(ProposeError::Stopped)), "{refused:?}");
    let text = fault.wait_for(Option::is_some).await.unwrap().clone().unwrap();
    assert!(text.contains("log-"), "{text}");
    cluster.stop_all().await;
}

/// A caller that is no node of the cluster.
fn agent(cluster: &str) -> Caller {
    let patience = Duration::from_millis(500);
    Caller::new(CallerOptions { node: 99, cluster: cluster.to_owned(), patience, wire: None })
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_no_node_asks_and_may_leave() {
    let mut cluster = Cluster::new(1, |_| {}).await;
    let (address, waiting) =
        (cluster.nodes[&1].address.clone(), std::sync::Arc::clone(&cluster.nodes[&1].waiting));
    let agent = agent("test");
    let ask =
        |text: &'static str| agent.call(1, &address, Bytes::from_static(text.as_bytes()), PATIENCE);
    assert_eq!(ask("hi").await.unwrap(), "agent 99:hi");
    assert!(agent.heard(1).is_some() && agent.heard(2).is_none());
    // Longer than two silences: the connection is alive, and pinged.
    let patient = timeout(Duration::from_secs(2), ask("wait")).await;
    assert!(patient.is_err(), "{patient:?}");
    let gone = async {
        while waiting.load(Ordering::SeqCst) > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, gone).await.expect("work is dropped when its caller leaves");
    let (long, short) = futures::future::join(ask("long 40000000"), ask("short")).await;
    assert_eq!(short.unwrap(), "agent 99:short");
    let long = long.unwrap();
    assert!(long.len() == 40_000_000 && long.iter().all(|byte| *byte == 9));
    let too_long = ask("long 300000000").await.unwrap_err().to_string();
    assert!(too_long.contains("answer of 300000000 bytes"), "{too_long}");
    // What is under way when a server goes may have happened; what comes after surely did not.
    let lost = {
        let waits = ask("wait");
        let stops = async {
            while waiting.load(Ordering::SeqCst) == 0 {
                tokio::task::yield_now().await;
            }
            cluster.stop(1).await;
        };
        futures::future::join(waits, stops).await.0
    };
    assert!(matches!(lost, Err(CallError::Unknown(_))), "{lost:?}");
    let refused = ask("hi").await;
    assert!(matches!(refused, Err(CallError::NotSent(_))), "{refused:?}");
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_of_another_cluster_is_told_so() {
    let cluster = Cluster::new(1, |_| {}).await;
    let stranger = agent("other");
    let address = cluster.nodes[&1].address.clone();
    let refused = stranger.call(1, &address, Bytes::new(), PATIENCE).await.unwrap_err();
    assert!(matches!(refused, CallError::NotSent(_)), "{refused}");
    assert!(refused.to_string().contains("\"test\", not \"other\""), "{refused}");
    let mistaken = agent("test").call(2, &address, Bytes::new(), PATIENCE).await.unwrap_err();
    assert!(mistaken.to_string().contains("this is node 1, not 2"), "{mistaken}");
    cluster.stop_all().await;
}
