//! A snapshot that is arriving: files one after another, written aside and synced.
#![deny(clippy::indexing_slicing, clippy::expect_used, clippy::arithmetic_side_effects)]

use std::fs::File;
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::folder::{self, SnapshotFolder};
use crate::limits::SNAPSHOT_FILES_MAX;
use crate::types::Position;
use crate::wal::sync_dir;

/// A snapshot that is arriving. Dropped midway, it leaves nothing behind.
pub(crate) struct Receiving {
    folder: SnapshotFolder,
    /// Files that are still to come, the next one last.
    files: Vec<(PathBuf, u64)>,
    open: Option<(File, u64)>,
}

impl Receiving {
    /// Checks the names and makes the folder.
    pub(super) fn begin(
        path: PathBuf,
        position: Position,
        names: Vec<(String, u64)>,
    ) -> io::Result<Receiving> {
        if names.len() > SNAPSHOT_FILES_MAX {
            let what = format!("{} files, more than {SNAPSHOT_FILES_MAX}", names.len());
            return Err(io::Error::other(what));
        }
        let state = folder::state_of(&path);
        std::fs::create_dir_all(&state)?;
        let folder = SnapshotFolder::passing(path, position);
        let mut files = Vec::with_capacity(names.len());
        for (name, size) in names.into_iter().rev() {
            let plain = Path::new(&name).components().all(|c| matches!(c, Component::Normal(_)));
            if name.is_empty() || !plain {
                return Err(io::Error::other(format!("file name {name:?} leaves the folder")));
            }
            files.push((state.join(name), size));
        }
        Ok(Receiving { folder, files, open: None })
    }

    /// Takes the next bytes, which may span the end of a file but not of the snapshot.
    pub(crate) fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let (mut file, left) = match self.open.take() {
                Some(open) => open,
                None => self.next()?.ok_or_else(|| io::Error::other("bytes after the end"))?,
            };
            let fits = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
            let (now, rest) = bytes.split_at_checked(fits).unwrap_or((bytes, &[]));
            file.write_all(now)?;
            bytes = rest;
            match left.saturating_sub(now.len() as u64) {
                0 => file.sync_all()?,
                left => self.open = Some((file, left)),
            }
        }
        Ok(())
    }

    /// Opens the next file that is not empty; the empty ones on the way are made.
    fn next(&mut self) -> io::Result<Option<(File, u64)>> {
        while let Some((path, size)) = self.files.pop() {
            std::fs::create_dir_all(path.parent().unwrap_or(&path))?;
            let file = File::create_new(&path)?;
            if size > 0 {
                return Ok(Some((file, size)));
            }
        }
        Ok(None)
    }

    /// Ends the transfer.
    ///
    /// # Errors
    ///
    /// Bytes are missing.
    pub(crate) fn finish(mut self) -> io::Result<Arc<SnapshotFolder>> {
        if self.open.is_some() || self.next()?.is_some() {
            return Err(io::Error::other("the snapshot ended before its files did"));
        }
        sync_dir(&self.folder.state())?;
        Ok(Arc::new(self.folder))
    }
}
