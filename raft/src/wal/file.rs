//! One file of the log: what the writer does to it passes through here, so that a simulated disk
//! can forget what was not synced.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// An open file of the log.
pub(super) struct LogFile {
    file: File,
    #[cfg(feature = "sim")]
    disk: Option<crate::sim::DiskFile>,
}

impl LogFile {
    /// Opens a file that is there.
    pub(super) fn open(path: &Path) -> io::Result<LogFile> {
        LogFile::new(OpenOptions::new().read(true).write(true).open(path)?, path)
    }

    /// Opens a file, or makes one.
    pub(super) fn create(path: &Path) -> io::Result<LogFile> {
        let mut open = OpenOptions::new();
        LogFile::new(open.read(true).write(true).create(true).truncate(false).open(path)?, path)
    }

    #[cfg_attr(
        not(feature = "sim"),
        expect(
            unused_variables,
            clippy::unnecessary_wraps,
            reason = "only a simulated disk looks"
        )
    )]
    fn new(file: File, path: &Path) -> io::Result<LogFile> {
        #[cfg(feature = "sim")]
        let disk = crate::sim::disk_file(&file, path)?;
        Ok(LogFile {
            file,
            #[cfg(feature = "sim")]
            disk,
        })
    }

    /// Writes all of `bytes` at an offset.
    pub(super) fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        #[cfg(feature = "sim")]
        if let Some(disk) = &self.disk {
            disk.writes(bytes, offset)?;
        }
        self.file.write_all_at(bytes, offset)
    }

    /// Fills `bytes` from an offset.
    pub(super) fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(bytes, offset)
    }

    /// Returns once what was written is on the disk.
    pub(super) fn sync_data(&self) -> io::Result<()> {
        #[cfg(feature = "sim")]
        if let Some(disk) = &self.disk {
            return disk.syncs();
        }
        self.file.sync_data()
    }

    /// As [`LogFile::sync_data`], with the file's length and its other marks.
    pub(super) fn sync_all(&self) -> io::Result<()> {
        #[cfg(feature = "sim")]
        if let Some(disk) = &self.disk {
            return disk.syncs();
        }
        self.file.sync_all()
    }

    /// Length in bytes.
    pub(super) fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }
}
