//! All snapshots of a node: the newest is kept, older ones go when nobody sends them any more.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::{Mutex as AsyncMutex, MutexGuard};

use super::folder::{self, SnapshotFolder};
use super::receive::Receiving;
use crate::codec;
use crate::error::Fault;
use crate::machine::CheckpointJob;
use crate::tasks::blocking;
use crate::types::Position;
use crate::wal::create_dir;

/// The folder of all snapshots.
pub(crate) struct SnapshotStore {
    dir: PathBuf,
    current: Mutex<Option<Arc<SnapshotFolder>>>,
    /// Makes names unique.
    counter: AtomicU64,
    /// Held while a snapshot is built; `true` once none may be built any more.
    building: AsyncMutex<bool>,
}

impl SnapshotStore {
    /// Opens the folder, removes what is half-written or outdated.
    ///
    /// # Errors
    ///
    /// The disk fails, or a complete snapshot is damaged.
    pub(crate) fn open(dir: &Path) -> Result<SnapshotStore, Fault> {
        let fault = |e: io::Error| Fault::at(dir, e);
        create_dir(dir).map_err(fault)?;
        let mut newest: Option<SnapshotFolder> = None;
        let mut counter = 0;
        for item in std::fs::read_dir(dir).map_err(fault)? {
            let path = item.map_err(fault)?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let number = name.rsplit('-').next().and_then(|number| number.parse().ok());
            counter = counter.max(number.unwrap_or(0));
            if !name.starts_with("snapshot-") {
                folder::remove(&path);
                continue;
            }
            let position = folder::read_position(&path)?;
            let found = SnapshotFolder::kept(path, position);
            match &newest {
                Some(newest) if newest.position.applied >= found.position.applied => found.retire(),
                Some(older) => {
                    older.retire();
                    newest = Some(found);
                }
                None => newest = Some(found),
            }
        }
        let current = Mutex::new(newest.map(Arc::new));
        let counter = AtomicU64::new(counter + 1);
        let building = AsyncMutex::new(false);
        Ok(SnapshotStore { dir: dir.to_owned(), current, counter, building })
    }

    /// The newest snapshot.
    pub(crate) fn current(&self) -> Option<Arc<SnapshotFolder>> {
        self.current.lock().clone()
    }

    /// The right to build a snapshot, one at a time; `None` once the store is closed.
    pub(crate) async fn begin(&self) -> Option<MutexGuard<'_, bool>> {
        let closed = self.building.lock().await;
        (!*closed).then_some(closed)
    }

    /// Waits for the snapshot that is being built, and lets none begin any more.
    pub(crate) async fn close(&self) {
        *self.building.lock().await = true;
    }

    /// Runs a checkpoint job and keeps what it wrote, unless there is a newer one by then. The
    /// caller holds the right of [`SnapshotStore::begin`].
    pub(crate) async fn build(&self, job: CheckpointJob) -> Result<Arc<SnapshotFolder>, Fault> {
        let (work, target) = (self.name("building"), self.name("snapshot"));
        let built = blocking(move || {
            failpoint!("snapshot.build.before", Fault);
            let built = written(job, &work, &target);
            // What a try leaves behind would take the room that the next one needs.
            if built.is_err() {
                folder::remove(&work);
            }
            failpoint!("snapshot.build.after_rename");
            built.map(|position| Arc::new(SnapshotFolder::kept(target, position)))
        });
        let built = built.await.map_err(|e| Fault(format!("checkpoint: {e}")))??;
        tracing::info!(applied = ?built.position.applied, "snapshot taken");
        let mut current = self.current.lock();
        let newer = current.as_ref().filter(|old| old.position.applied > built.position.applied);
        if let Some(newer) = newer {
            built.retire();
            return Ok(Arc::clone(newer));
        }
        if let Some(old) = current.replace(Arc::clone(&built)) {
            old.retire();
        }
        Ok(built)
    }

    /// A folder that the machine may take apart: a received one itself, of our own a copy.
    pub(crate) async fn for_restore(
        &self,
        snapshot: Arc<SnapshotFolder>,
    ) -> io::Result<Arc<SnapshotFolder>> {
        if !snapshot.own {
            return Ok(snapshot);
        }
        let path = self.name("restoring");
        let copy = blocking(move || {
            let copy = SnapshotFolder::passing(path, snapshot.position.clone());
            for (name, _) in snapshot.files()? {
                let target = copy.state().join(&name);
                std::fs::create_dir_all(target.parent().unwrap_or(&target))?;
                std::fs::copy(snapshot.state().join(&name), target)?;
            }
            Ok(Arc::new(copy))
        });
        copy.await?
    }

    /// Begins to receive a snapshot.
    pub(crate) fn receive(
        &self,
        position: Position,
        files: Vec<(String, u64)>,
    ) -> io::Result<Receiving> {
        Receiving::begin(self.name("receiving"), position, files)
    }

    fn name(&self, kind: &str) -> PathBuf {
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        self.dir.join(format!("{kind}-{number}"))
    }
}

/// Runs a checkpoint job in `work`, which becomes `target`.
fn written(job: CheckpointJob, work: &Path, target: &Path) -> Result<Position, Fault> {
    std::fs::create_dir(work).map_err(|e| Fault::at(work, e))?;
    let position = job(&folder::state_of(work))?;
    let position = position_of(&position)?;
    folder::complete(work, target, &position)?;
    Ok(position)
}

/// A machine to which nothing was ever applied has no position.
fn position_of(bytes: &[u8]) -> Result<Position, Fault> {
    if bytes.is_empty() {
        return Ok(Position::default());
    }
    codec::decode(bytes).map_err(|e| Fault(format!("the checkpoint's position: {e}")))
}
