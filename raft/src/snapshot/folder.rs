//! One snapshot's folder: the machine's checkpoint, and the position inside it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::codec;
use crate::error::Fault;
use crate::types::Position;
use crate::wal::sync_dir;

/// Subfolder with the machine's checkpoint.
const STATE: &str = "state";

/// File with the position, behind its CRC32C.
const POSITION: &str = "position";

/// A folder that goes away with its last holder, once it is no longer wanted.
#[derive(Debug)]
pub(crate) struct SnapshotFolder {
    path: PathBuf,
    pub(crate) position: Position,
    /// Remove the folder on drop.
    obsolete: AtomicBool,
    /// It is the node's own, to be kept even when a machine restores from it.
    pub(super) own: bool,
}

impl SnapshotFolder {
    /// A folder that is kept until it is declared obsolete.
    pub(super) fn kept(path: PathBuf, position: Position) -> SnapshotFolder {
        SnapshotFolder { path, position, obsolete: AtomicBool::new(false), own: true }
    }

    /// A folder that goes away on drop.
    pub(super) fn passing(path: PathBuf, position: Position) -> SnapshotFolder {
        SnapshotFolder { path, position, obsolete: AtomicBool::new(true), own: false }
    }

    /// The machine's checkpoint.
    pub(crate) fn state(&self) -> PathBuf {
        self.path.join(STATE)
    }

    pub(super) fn retire(&self) {
        self.obsolete.store(true, Ordering::Relaxed);
    }

    /// The files of the checkpoint: path below it (with slashes) and size, sorted.
    pub(crate) fn files(&self) -> io::Result<Vec<(String, u64)>> {
        let mut files = Vec::new();
        let state = self.state();
        let mut folders = vec![state.clone()];
        while let Some(folder) = folders.pop() {
            for item in std::fs::read_dir(&folder)? {
                let item = item?;
                if item.file_type()?.is_dir() {
                    folders.push(item.path());
                    continue;
                }
                let path = item.path();
                let below = path.strip_prefix(&state).map_err(io::Error::other)?;
                let name = below.to_str().ok_or_else(|| io::Error::other("a name is not UTF-8"))?;
                files.push((name.to_owned(), item.metadata()?.len()));
            }
        }
        files.sort();
        Ok(files)
    }
}

impl Drop for SnapshotFolder {
    fn drop(&mut self) {
        if self.obsolete.load(Ordering::Relaxed) {
            match condemn(&self.path) {
                Ok(path) => remove(&path),
                Err(error) => tracing::warn!(path = %self.path.display(), %error, "not removed"),
            }
        }
    }
}

/// Gives a folder a name under which nobody takes it for complete while it is being removed.
fn condemn(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let condemned = path.with_file_name(format!("removing-{name}"));
    std::fs::rename(path, &condemned)?;
    sync_dir(path.parent().unwrap_or(path))?;
    Ok(condemned)
}

/// Removes a folder; what stays behind is removed on the next start.
pub(super) fn remove(path: &Path) {
    match std::fs::remove_dir_all(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!(path = %path.display(), %error, "a folder was not removed"),
    }
}

/// The checkpoint's place inside the folder `path`.
pub(super) fn state_of(path: &Path) -> PathBuf {
    path.join(STATE)
}

/// Writes the position, syncs everything in `path` and renames it to `target`.
pub(super) fn complete(path: &Path, target: &Path, position: &Position) -> Result<(), Fault> {
    let body = codec::encode(position);
    let mut bytes = crc32c::crc32c(&body).to_le_bytes().to_vec();
    bytes.extend_from_slice(&body);
    let fault = |e| Fault::at(path, e);
    std::fs::write(path.join(POSITION), bytes).map_err(fault)?;
    failpoint!("snapshot.build.before_sync", Fault);
    sync_tree(path).map_err(fault)?;
    failpoint!("snapshot.build.before_rename", Fault);
    std::fs::rename(path, target).map_err(fault)?;
    sync_dir(target.parent().unwrap_or(target)).map_err(fault)
}

/// Reads the position of a complete folder.
pub(super) fn read_position(path: &Path) -> Result<Position, Fault> {
    let file = path.join(POSITION);
    let bytes = std::fs::read(&file).map_err(|e| Fault::at(&file, e))?;
    let (crc, body) =
        bytes.split_first_chunk::<4>().ok_or_else(|| Fault::at(&file, "damaged at offset 0"))?;
    if crc32c::crc32c(body) != u32::from_le_bytes(*crc) {
        return Err(Fault::at(&file, "damaged at offset 0: bad checksum"));
    }
    codec::decode(body).map_err(|e| Fault::at(&file, e))
}

fn sync_tree(path: &Path) -> io::Result<()> {
    for item in std::fs::read_dir(path)? {
        let item = item?;
        if item.file_type()?.is_dir() {
            sync_tree(&item.path())?;
        } else {
            std::fs::File::open(item.path())?.sync_all()?;
        }
    }
    sync_dir(path)
}
