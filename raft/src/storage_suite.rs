//! openraft's own suite for log storages and state machines, run on ours. It stands here and
//! not under `tests/`, because openraft's types do not leave this crate.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use openraft::testing::log::{StoreBuilder, Suite};
use tempfile::TempDir;
use tokio::sync::watch;

use crate::error::Fault;
use crate::log::LogStore;
use crate::machine::{Adapter, CheckpointJob, Entry, Machine, StateMachine};
use crate::options::Sync;
use crate::snapshot::SnapshotStore;
use crate::tasks::Tasks;
use crate::types::Types;
use crate::wal::{Wal, WalOptions};

/// A machine that keeps nothing but its position.
#[derive(Default)]
struct Nothing {
    position: Bytes,
}

impl StateMachine for Nothing {
    fn position(&self) -> Option<Bytes> {
        None
    }

    fn apply(&mut self, entries: Vec<Entry>, position: Bytes) -> Result<Vec<Bytes>, Fault> {
        self.position = position;
        Ok(vec![Bytes::new(); entries.len()])
    }

    fn checkpoint(&mut self) -> Result<CheckpointJob, Fault> {
        let position = self.position.clone();
        Ok(Box::new(move |dir: &Path| {
            std::fs::create_dir(dir).map_err(|e| Fault::at(dir, e))?;
            std::fs::write(dir.join("state"), &position).map_err(|e| Fault::at(dir, e))?;
            Ok(position)
        }))
    }

    fn restore(&mut self, dir: &Path, position: Bytes) -> Result<(), Fault> {
        let state = std::fs::read(dir.join("state")).map_err(|e| Fault::at(dir, e))?;
        assert_eq!(state, position);
        self.position = position;
        Ok(())
    }
}

struct Builder {
    cache_bytes: usize,
}

impl StoreBuilder<Types, LogStore, Adapter, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStore, Adapter), openraft::StorageError<Types>> {
        let dir = tempfile::tempdir().unwrap();
        let (tasks, fault) = (Tasks::new(), watch::Sender::new(None));
        let options = WalOptions {
            dir: dir.path().join("log"),
            segment_bytes: 4096,
            cache_bytes: self.cache_bytes,
            sync: Sync::Always,
        };
        let wal = Wal::open(options, &tasks, fault.clone()).unwrap();
        let snapshots = Arc::new(SnapshotStore::open(&dir.path().join("snapshots")).unwrap());
        let machine = Machine::start(Nothing::default(), &tasks, fault).unwrap();
        let progress = watch::Sender::new(None);
        let adapter = Adapter::new(machine, snapshots, None, progress).unwrap();
        Ok((dir, LogStore::new(wal, 1), adapter))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn passes_with_entries_in_memory() {
    Suite::test_all(Builder { cache_bytes: 1024 * 1024 }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn passes_with_entries_on_disk_only() {
    Suite::test_all(Builder { cache_bytes: 0 }).await.unwrap();
}
