//! Recovery from a lost quorum: who is left goes on with everything that one of them had.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use portolan_raft::{NodeId, Recovery};

use crate::ahead_of_a_longer_log;
use crate::harness::{Cluster, PATIENCE, State, peer};

/// Five nodes that hold 100 values, of which `alone` more are not on node `behind`. All are
/// stopped, and the folders of all but nodes 1 and 2 are gone.
async fn disaster(behind: NodeId, alone: u32) -> Cluster {
    let mut cluster = Cluster::new(5, |options| options.keep_behind = 1_000).await;
    for at in 0..100 {
        cluster.put(&format!("k{at}"), "v").await;
    }
    for id in 1..=5 {
        cluster.node(id).read_barrier(PATIENCE).await.expect("the cluster does it");
    }
    cluster.stop(behind).await;
    for at in 0..alone {
        cluster.put(&format!("alone{at}"), "v").await;
    }
    for id in (1..=5).filter(|id| *id != behind) {
        cluster.node(id).read_barrier(PATIENCE).await.expect("the cluster does it");
    }
    for id in (1..=5).filter(|id| *id != behind) {
        cluster.stop(id).await;
    }
    for id in 3..=5 {
        std::fs::remove_dir_all(cluster.dir(id)).expect("the folder is removed");
    }
    cluster
}

/// Nodes 1 and 2 go on together, and take a third in.
async fn goes_on(cluster: &mut Cluster, values: usize) {
    for id in 1..=2 {
        cluster.start(id).await;
    }
    cluster.put("after", "v").await;
    for id in 1..=2 {
        cluster.node(id).read_barrier(PATIENCE).await.expect("the cluster does it");
        assert_eq!(cluster.values(id).len(), values + 1, "node {id}");
        cluster.until(id, |status| status.voters.iter().eq(&[1, 2])).await;
    }
    assert_eq!(cluster.values(1), cluster.values(2));
    cluster.start(3).await;
    let (leader, address) = (cluster.leader().await, cluster.nodes[&3].address.clone());
    cluster.node(leader).add_learner(3, peer(3, &address)).await.expect("the cluster does it");
    cluster
        .node(leader)
        .change_voters(BTreeSet::from([1, 2, 3]))
        .await
        .expect("the cluster does it");
    cluster.put("later", "v").await;
    cluster.node(3).read_barrier(PATIENCE).await.expect("the cluster does it");
    assert_eq!(cluster.values(3).len(), values + 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_of_five_go_on_with_all_that_one_has() {
    let mut cluster = disaster(2, 30).await;
    let account = cluster.recover(1, &[1, 2]).await.expect("the cluster does it");
    assert_eq!((account.members.len(), account.voters.len()), (5, 1));
    assert!(account.last >= 130 && account.committed <= account.last, "{account:?}");
    goes_on(&mut cluster, 130).await;
    cluster.stop_all().await;
}

/// Such a survivor has applied what is not there any more: it must not keep it for itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_survivor_that_is_ahead_falls_back_as_a_whole() {
    let mut cluster = disaster(1, 30).await;
    let ahead = cluster.account(2).await.last;
    let account = cluster.recover(1, &[1, 2]).await.expect("the cluster does it");
    assert!(account.last < ahead, "{account:?}");
    goes_on(&mut cluster, 100).await;
    assert!(cluster.values(2).keys().all(|key| !key.starts_with("alone")));
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_goes_on_alone_in_the_middle_of_a_change() {
    let mut cluster = Cluster::new(3, |options| {
        options.keep_behind = 5;
        options.snapshot_every = 20;
    })
    .await;
    for at in 0..100 {
        cluster.put(&format!("k{at}"), "v").await;
    }
    let leader = cluster.leader().await;
    for id in (1..=3).filter(|id| *id != leader) {
        cluster.stop(id).await;
    }
    // Nobody can confirm it, so the log ends with two sets of voters.
    let change = cluster.node(leader).change_voters(BTreeSet::from([leader]));
    assert!(tokio::time::timeout(Duration::from_secs(1), change).await.is_err());
    cluster.stop(leader).await;
    let before = cluster.account(leader).await;
    assert_eq!(before.voters.len(), 2, "{before:?}");
    assert!(before.committed < before.last);
    assert_eq!(cluster.account(leader).await, before, "looking changes nothing");
    assert_eq!(cluster.recover(leader, &[leader]).await.unwrap(), before);
    // Again: as if it had been stopped behind the last step.
    let again = cluster.recover(leader, &[leader]).await.expect("the cluster does it");
    assert_eq!((again.members.len(), again.committed), (1, again.last));
    cluster.start(leader).await;
    cluster.put("after", "v").await;
    assert_eq!(cluster.values(leader).len(), 101);
    assert_eq!(cluster.node(leader).now().peers.len(), 1);
    cluster.stop(leader).await;
    cluster.start(leader).await;
    cluster.node(leader).read_barrier(PATIENCE).await.expect("the cluster does it");
    assert_eq!(cluster.values(leader).len(), 101);
    cluster.stop_all().await;
}

/// What was never committed counts here too, but not where what was committed is known.
#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_is_ahead_of_a_longer_log_is_recovered() {
    let (mut cluster, old, state) = ahead_of_a_longer_log().await;
    for id in (1..=3).filter(|id| *id != old) {
        cluster.stop(id).await;
    }
    let account = cluster.recover_as(old, old, &[old], state).await.expect("the node does it");
    assert_eq!(account.committed, account.last, "{account:?}");
    cluster.start(old).await;
    cluster.put("after", "v").await;
    assert_eq!(cluster.values(old).keys().collect::<Vec<_>>(), ["after", "first", "second"]);
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_must_not_be_recovered_is_refused() {
    let mut cluster = Cluster::new(1, |_| {}).await;
    cluster.put("a", "1").await;
    let refused = |opened: Result<Recovery, portolan_raft::Fault>| match opened {
        Ok(_) => panic!("it was opened"),
        Err(fault) => fault.to_string(),
    };
    let running = refused(Recovery::open(&cluster.dir(1)).await);
    assert!(running.contains("in use by another process"), "{running}");
    let nobody = refused(Recovery::open(&cluster.dir(9)).await);
    assert!(nobody.ends_with("no server has kept its log here"), "{nobody}");
    assert!(!cluster.dir(9).exists(), "looking makes nothing");
    cluster.stop(1).await;
    let table = [
        (1, &[2][..], "this node, 1, must be among the survivors"),
        (2, &[1, 2], "this node, 2, was no member of the cluster any more"),
        (1, &[0, 1], "the number of a node is never 0"),
    ];
    let before = cluster.account(1).await;
    assert_eq!(before.members, BTreeMap::from([(1, before.members[&1].clone())]));
    for (node, survivors, reason) in table {
        let refused = cluster.recover_as(1, node, survivors, State::default()).await.unwrap_err();
        assert_eq!(refused.to_string(), reason);
        assert_eq!(cluster.account(1).await, before);
    }
    cluster.start(2).await;
    cluster.stop(2).await;
    let opened = Recovery::open(&cluster.dir(2)).await.expect("the cluster does it");
    let empty = opened.account(None).await.unwrap_err().to_string();
    assert!(empty.ends_with("this node never belonged to a cluster"), "{empty}");
    opened.close().await;
}
