//! The clients of a run, from their first step to the last reads.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::history::Op;
use crate::targets::Deployment;
use crate::workloads::{Common, Driver, Plan, Workload};

/// How long one operation may take until its outcome is unknown.
pub(super) const OPERATION_LIMIT: Duration = Duration::from_secs(3);
/// How long the clients may take to finish what they do.
const FINISH_LIMIT: Duration = Duration::from_secs(30);
/// How long the last reads may take.
const LAST_READS_LIMIT: Duration = Duration::from_mins(2);
/// Numbers of the clients that read last begin here, so that their randomness is their own.
const LAST_READERS: u64 = 1 << 32;

/// Clients at work.
pub(super) struct Load {
    clients: JoinSet<Driver>,
    common: Arc<Common>,
}

impl Load {
    /// All clients begin.
    pub(super) fn start(
        deployment: &Deployment,
        common: &Arc<Common>,
        (workload, plan): (Workload, Plan),
        handle: &Handle,
    ) -> Self {
        let count = u32::try_from(plan.clients).unwrap_or(u32::MAX);
        let pace = (plan.rate > 0).then(|| Duration::from_secs(1) * count / plan.rate);
        let mut clients = JoinSet::new();
        for (place, player) in workload.players(plan.clients).into_iter().enumerate() {
            let mut driver = driver(deployment, common, place, pace);
            let play = async move {
                player.play(&mut driver).await;
                driver
            };
            clients.spawn_on(play, handle);
        }
        Self { clients, common: Arc::clone(common) }
    }

    /// Stops all clients, and gives what they saw.
    pub(super) async fn stop(mut self) -> anyhow::Result<Vec<Op>> {
        self.common.stop();
        let finish = async {
            let mut ops = Vec::new();
            while let Some(ended) = self.clients.join_next().await {
                ops.extend(ended.context("a client of the run failed")?.into_ops());
            }
            Ok(ops)
        };
        timeout(FINISH_LIMIT, finish).await.context("the clients do not stop")?
    }
}

/// Reads at every node what there is to read, until it is answered.
pub(super) async fn read_all(
    deployment: &Deployment,
    common: &Arc<Common>,
    workload: Workload,
    ops: &[Op],
) -> anyhow::Result<Vec<Op>> {
    let actions = Arc::new(workload.last_reads(common, ops));
    let mut readers = JoinSet::new();
    for node in 0..deployment.addresses().len() {
        let place = usize::try_from(LAST_READERS).unwrap_or(usize::MAX) + node;
        let mut driver = driver_of(deployment, common, (node, place), None);
        let actions = Arc::clone(&actions);
        readers.spawn(async move {
            for action in actions.iter() {
                let answer = driver.insist(action).await;
                anyhow::ensure!(answer.is_some(), "node {node} does not answer {action:?}");
            }
            Ok(driver)
        });
    }
    let read = async {
        let mut ops = Vec::new();
        while let Some(ended) = readers.join_next().await {
            ops.extend(ended.context("a last reader failed")??.into_ops());
        }
        Ok(ops)
    };
    timeout(LAST_READS_LIMIT, read).await.context("the last reads do not end")?
}

fn driver(
    deployment: &Deployment,
    common: &Arc<Common>,
    place: usize,
    pace: Option<Duration>,
) -> Driver {
    driver_of(deployment, common, (place % deployment.addresses().len(), place), pace)
}

fn driver_of(
    deployment: &Deployment,
    common: &Arc<Common>,
    (node, place): (usize, usize),
    pace: Option<Duration>,
) -> Driver {
    let client = deployment.system().client(deployment.addresses()[node], OPERATION_LIMIT);
    let node = u32::try_from(node).unwrap_or(u32::MAX);
    let place = u64::try_from(place).unwrap_or(u64::MAX);
    Driver::new(client, node, place, common, pace)
}
