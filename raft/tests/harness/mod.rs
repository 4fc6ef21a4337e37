//! A small cluster in one process over real TCP, with a machine that is an ordered map.
#![expect(clippy::unwrap_used, reason = "a test ends there")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use parking_lot::Mutex;
use portolan_raft::{
    Account, CheckpointJob, Entry, Fault, Inbound, NodeId, Options, Peer, ProposeError, Raft,
    Recovery, StateMachine, Status, codec,
};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::time::timeout;

/// Longest that a test waits for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What the test machine holds.
#[derive(Clone, Default, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct State {
    pub(crate) values: BTreeMap<String, String>,
    pub(crate) entries: u64,
    position: Vec<u8>,
    /// How often a whole state was taken over; not part of a checkpoint.
    #[serde(skip)]
    pub(crate) restores: u64,
    /// So many checkpoints fail from now on.
    #[serde(skip)]
    pub(crate) failing: u64,
}

/// A map whose entries are `key=value`; the reply is the value before.
pub(crate) struct Map {
    state: Arc<Mutex<State>>,
}

impl StateMachine for Map {
    fn position(&self) -> Option<Bytes> {
        let position = self.state.lock().position.clone();
        (!position.is_empty()).then(|| Bytes::from(position))
    }

    fn apply(&mut self, entries: Vec<Entry>, position: Bytes) -> Result<Vec<Bytes>, Fault> {
        let mut state = self.state.lock();
        state.position = position.to_vec();
        let replies = entries.into_iter().map(|entry| {
            state.entries += 1;
            let text = String::from_utf8(entry.payload.to_vec()).unwrap();
            let (key, value) = text.split_once('=').unwrap();
            if key == "fault" {
                return Err(Fault("the machine was told to fail".to_owned()));
            }
            let before = state.values.insert(key.to_owned(), value.to_owned());
            Ok(Bytes::from(before.unwrap_or_default()))
        });
        replies.collect()
    }

    fn checkpoint(&mut self) -> Result<CheckpointJob, Fault> {
        let mut held = self.state.lock();
        let (state, fails) = (held.clone(), held.failing > 0);
        held.failing = held.failing.saturating_sub(1);
        Ok(Box::new(move |dir: &Path| {
            std::fs::create_dir_all(dir.join("deep")).unwrap();
            if fails {
                return Err(Fault("too many open files".to_owned()));
            }
            std::fs::write(dir.join("deep/state"), codec::encode(&state)).unwrap();
            std::fs::write(dir.join("empty"), []).unwrap();
            // Longer than one chunk of a transfer.
            std::fs::write(dir.join("large"), vec![7; 2_500_000]).unwrap();
            Ok(Bytes::from(state.position))
        }))
    }

    fn restore(&mut self, dir: &Path, position: Bytes) -> Result<(), Fault> {
        let bytes = std::fs::read(dir.join("deep/state")).unwrap();
        assert_eq!(std::fs::read(dir.join("large")).unwrap(), vec![7; 2_500_000]);
        assert_eq!(std::fs::read(dir.join("empty")).unwrap(), Vec::<u8>::new());
        let restored: State = codec::decode(&bytes).unwrap();
        assert_eq!(restored.position, position);
        let mut state = self.state.lock();
        let restores = state.restores + 1;
        *state = restored;
        state.restores = restores;
        Ok(())
    }
}

/// Answers with the asking node's number and the request; agents also as they ask for.
struct Echo {
    /// Requests of agents that wait for ever, until they are dropped.
    waiting: Arc<AtomicUsize>,
}

impl Inbound for Echo {
    fn call(&self, from: NodeId, request: Bytes) -> BoxFuture<'static, Bytes> {
        async move { Bytes::from(format!("{from}:{}", String::from_utf8_lossy(&request))) }.boxed()
    }

    fn agent(&self, from: NodeId, request: Bytes) -> BoxFuture<'static, Bytes> {
        let waiting = Arc::clone(&self.waiting);
        async move {
            let text = String::from_utf8_lossy(&request).into_owned();
            if let Some(bytes) = text.strip_prefix("long ") {
                return Bytes::from(vec![9; bytes.parse().unwrap()]);
            }
            if text == "wait" {
                let _one = One::more(waiting);
                return std::future::pending().await;
            }
            Bytes::from(format!("agent {from}:{text}"))
        }
        .boxed()
    }
}

/// Counts one as long as it lives.
struct One(Arc<AtomicUsize>);

impl One {
    fn more(count: Arc<AtomicUsize>) -> One {
        count.fetch_add(1, Ordering::SeqCst);
        One(count)
    }
}

impl Drop for One {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// One running node.
pub(crate) struct Node {
    pub(crate) raft: Raft,
    pub(crate) state: Arc<Mutex<State>>,
    pub(crate) address: String,
    /// Requests of agents that wait here.
    pub(crate) waiting: Arc<AtomicUsize>,
}

/// A cluster whose nodes can be stopped and started.
pub(crate) struct Cluster {
    pub(crate) nodes: BTreeMap<NodeId, Node>,
    dir: TempDir,
    tune: fn(&mut Options),
}

impl Cluster {
    /// Starts nodes 1 to `count` and makes a cluster of them.
    pub(crate) async fn new(count: u64, tune: fn(&mut Options)) -> Cluster {
        let mut cluster =
            Cluster { nodes: BTreeMap::new(), dir: tempfile::tempdir().unwrap(), tune };
        for id in 1..=count {
            cluster.start(id).await;
        }
        let voters = cluster.nodes.iter().map(|(id, node)| (*id, peer(*id, &node.address)));
        let voters: BTreeMap<_, _> = voters.collect();
        assert!(!cluster.node(1).is_bootstrapped());
        cluster.node(1).bootstrap(voters.clone()).await.unwrap();
        assert!(cluster.node(1).is_bootstrapped());
        assert!(cluster.node(1).bootstrap(voters).await.is_err());
        cluster.leader().await;
        cluster
    }

    pub(crate) fn dir(&self, id: NodeId) -> PathBuf {
        self.dir.path().join(id.to_string())
    }

    pub(crate) fn options(&self, id: NodeId) -> Options {
        let mut options = Options::new(id, "test", self.dir(id));
        options.election = (Duration::from_millis(500), Duration::from_secs(1));
        options.segment_bytes = 64 * 1024;
        (self.tune)(&mut options);
        options
    }

    /// Starts a node at a new address, which everybody is told. Its machine has kept nothing.
    pub(crate) async fn start(&mut self, id: NodeId) {
        self.start_with(id, State::default()).await;
    }

    /// As [`Cluster::start`], of a node whose machine has kept this.
    pub(crate) async fn start_with(&mut self, id: NodeId, state: State) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::new(Mutex::new(state));
        let machine = Map { state: Arc::clone(&state) };
        let waiting = Arc::new(AtomicUsize::new(0));
        let echo = Echo { waiting: Arc::clone(&waiting) };
        let raft =
            Raft::start(self.options(id), listener.into(), machine, Arc::new(echo)).await.unwrap();
        for (other, node) in &self.nodes {
            node.raft.redirect(id, Some(address.clone()));
            raft.redirect(*other, Some(node.address.clone()));
        }
        self.nodes.insert(id, Node { raft, state, address, waiting });
    }

    pub(crate) async fn stop(&mut self, id: NodeId) {
        self.nodes.remove(&id).unwrap().raft.stop().await;
    }

    /// What the folder of a stopped node holds.
    pub(crate) async fn account(&self, id: NodeId) -> Account {
        let recovery = Recovery::open(&self.dir(id)).await.unwrap();
        let account = recovery.account(None).await.unwrap();
        recovery.close().await;
        account
    }

    /// Recovers a stopped node, with these survivors.
    pub(crate) async fn recover(&self, id: NodeId, survivors: &[NodeId]) -> Result<Account, Fault> {
        self.recover_as(id, id, survivors, State::default()).await
    }

    /// The same, with the folder of one node for another, and what its machine has.
    pub(crate) async fn recover_as(
        &self,
        folder: NodeId,
        node: NodeId,
        survivors: &[NodeId],
        state: State,
    ) -> Result<Account, Fault> {
        let survivors = survivors.iter().map(|id| (*id, peer(*id, "127.0.0.1:1"))).collect();
        let recovery = Recovery::open(&self.dir(folder)).await.unwrap();
        let machine = Map { state: Arc::new(Mutex::new(state)) };
        let done = recovery.rewrite(node, survivors, machine).await;
        recovery.close().await;
        done
    }

    pub(crate) async fn stop_all(mut self) {
        for node in std::mem::take(&mut self.nodes).into_values() {
            node.raft.stop().await;
        }
    }

    pub(crate) fn node(&self, id: NodeId) -> &Raft {
        &self.nodes[&id].raft
    }

    pub(crate) fn state(&self, id: NodeId) -> State {
        self.nodes[&id].state.lock().clone()
    }

    pub(crate) fn values(&self, id: NodeId) -> BTreeMap<String, String> {
        self.nodes[&id].state.lock().values.clone()
    }

    /// Waits until a running node leads, and gives its number.
    pub(crate) async fn leader(&self) -> NodeId {
        let leads = self.nodes.values().map(|node| {
            let mut status = node.raft.status();
            async move { status.wait_for(|status| status.is_leader).await.unwrap().node }.boxed()
        });
        let first = futures::future::select_all(leads);
        timeout(PATIENCE, first).await.expect("a leader is elected in time").0
    }

    /// Proposes on whoever leads, again as long as it was surely not applied.
    pub(crate) async fn put(&self, key: &str, value: &str) -> String {
        let payload = Bytes::from(format!("{key}={value}"));
        loop {
            let leader = self.leader().await;
            match self.node(leader).propose(payload.clone()).await {
                Ok(reply) => return String::from_utf8(reply.to_vec()).unwrap(),
                Err(ProposeError::NotLeader { .. } | ProposeError::NotApplied(_)) => {}
                Err(error) => panic!("put {key}: {error}"),
            }
        }
    }

    /// Waits until the status of a node is as wanted.
    pub(crate) async fn until(&self, id: NodeId, wanted: impl FnMut(&Status) -> bool) {
        let mut status = self.node(id).status();
        let reached = timeout(PATIENCE, status.wait_for(wanted)).await;
        assert!(reached.is_ok(), "node {id} got no further than {:?}", self.node(id).now());
    }
}

pub(crate) fn peer(id: NodeId, address: &str) -> Peer {
    Peer { id: format!("uuid-{id}"), name: format!("node-{id}"), address: address.to_owned() }
}

/// Copies the files of a folder into one that is made for them.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}
