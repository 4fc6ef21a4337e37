//! Starts a replica: the store is opened, Raft replays the rest, the duties begin.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use raft::{Listener, NodeId, Raft};
use tokio::sync::{mpsc, watch};

use super::age;
use super::autopilot;
use super::handle::Replica;
use super::inbound::Answers;
use super::leader;
use super::machine::{Machine, Replaced};
use crate::lifecycle::Tasks;
use crate::model::{Autopilot, MemberList};
use crate::store::Store;
use crate::telemetry::Metrics;
use crate::watch::Hub;

/// What a replica needs to know.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where log, state and snapshots lie; made if it is not there.
    pub dir: PathBuf,
    /// This server's number in Raft, which its disk keeps; never 0.
    pub number: NodeId,
    /// This server's UUID as text.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Where other servers reach it.
    pub address: String,
    /// The data center; a server of another one is refused.
    pub datacenter: String,
    /// How many servers form a new cluster; 0 waits to be asked in.
    pub expect: u32,
    /// Between two heartbeats of the leader.
    pub heartbeat: Duration,
    /// A server that hears of no leader for a random time between these two stands for election.
    pub election: (Duration, Duration),
    /// How long a request is held while there is no leader.
    pub leader_hold: Duration,
    /// The wait of a blocking read that names none.
    pub wait_default: Duration,
    /// The longest wait of a blocking read.
    pub wait_max: Duration,
    /// Applied entries between two snapshots.
    pub snapshot_every: u64,
    /// Log entries kept behind a snapshot, for servers that lag.
    pub keep_behind: u64,
    /// Autopilot's settings of a new cluster.
    pub autopilot: Autopilot,
    /// How long a failed member is waited for before it is declared gone.
    pub reconnect_timeout: Duration,
    /// Takes the names of failed members that are to be declared gone in the pool.
    pub dismiss: mpsc::Sender<String>,
    /// Where Raft's own tasks run: apart from the doors, so that no request of theirs, however
    /// long it computes, holds up a heartbeat.
    pub runtime: tokio::runtime::Handle,
    /// Whether the log is synced before a write is acknowledged. Only the crash test, which must
    /// fail without it, ever says no.
    pub sync: raft::Sync,
    /// What is around the connections between servers; plain TCP if nothing is.
    pub wire: Option<Arc<dyn raft::Wire>>,
    /// What is counted.
    pub metrics: Metrics,
}

/// Why a replica does not start: this machine's disk or bytes.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The state cannot be opened.
    #[error("state: {0}")]
    Store(#[from] crate::store::Fault),
    /// The log cannot be opened.
    #[error("log: {0}")]
    Raft(#[from] raft::Fault),
}

/// Opens the state below `options.dir` and takes part in Raft on `listener`.
///
/// Returns once the log was recovered; the state is complete when the first read barrier passes.
///
/// # Errors
///
/// [`StartError`]; nothing was changed on disk that a later start would mind.
pub async fn start(
    options: Options,
    listener: Listener,
    members: watch::Receiver<MemberList>,
    tasks: &Tasks,
) -> Result<Replica, StartError> {
    let (store, view) = Store::open(&options.dir.join("state"))?;
    let hub = Hub::new();
    let answers = Arc::new(Answers::new());
    let replaced = Replaced::default();
    let machine = Machine::new(store, hub.clone(), replaced.clone(), options.metrics.clone());
    let inbound: Arc<dyn raft::Inbound> = Arc::clone(&answers) as Arc<dyn raft::Inbound>;
    let raft = start_raft(&options, listener, machine, inbound).await?;
    let replica = Replica::new(raft, (view, hub, replaced), options, members);
    answers.open(&replica.inner);
    let inner = &replica.inner;
    tasks.spawn(leader::run(Arc::clone(inner), tasks.shutdown()));
    tasks.spawn(autopilot::follow(Arc::clone(inner), tasks.shutdown()));
    tasks.spawn(autopilot::found(Arc::clone(inner), tasks.shutdown()));
    tasks.spawn(age::confirm(Arc::clone(inner), tasks.shutdown()));
    Ok(replica)
}

/// The state below `dir` as Raft's machine, for a server that is stopped.
///
/// # Errors
///
/// [`StartError::Store`] if it cannot be opened: it is in use, or damaged.
pub fn machine(dir: &Path) -> Result<impl raft::StateMachine + use<>, StartError> {
    let (store, _view) = Store::open(&dir.join("state"))?;
    Ok(Machine::new(store, Hub::new(), Replaced::default(), Metrics::new()))
}

/// Starts Raft on the runtime that the options name; the listener moves there too.
async fn start_raft(
    options: &Options,
    listener: Listener,
    machine: Machine,
    inbound: Arc<dyn raft::Inbound>,
) -> Result<Raft, StartError> {
    let raft_options = raft_options(options);
    let started = options.runtime.spawn(async move {
        let listener =
            listener.moved_here().map_err(|error| raft::Fault(format!("listener: {error}")))?;
        Raft::start(raft_options, listener, machine, inbound).await
    });
    Ok(started.await.map_err(|error| raft::Fault(format!("start: {error}")))??)
}

fn raft_options(options: &Options) -> raft::Options {
    raft::Options {
        heartbeat: options.heartbeat,
        election: options.election,
        snapshot_every: options.snapshot_every,
        keep_behind: options.keep_behind,
        sync: options.sync,
        wire: options.wire.clone(),
        ..raft::Options::new(options.number, options.datacenter.clone(), options.dir.join("raft"))
    }
}
