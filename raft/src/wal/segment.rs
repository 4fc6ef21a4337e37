//! The files of the log: names, headers, zeros written ahead, recycling.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::file::LogFile;
use super::index::Stored;
use crate::error::Fault;
use crate::limits::{PREWRITE_BYTES, SPARES_MAX};

/// Magic, number, end of the segment before (8 bytes each), checksum (4); little-endian.
pub(super) const SEGMENT_HEADER: u32 = 28;

const MAGIC: &[u8; 8] = b"PTLNLOG1";
/// What the magic of every version begins with.
const MAGIC_OF_ALL: &[u8] = b"PTLNLOG";

/// A segment that is being written or read.
pub(super) struct Segment {
    pub(super) number: u64,
    pub(super) path: PathBuf,
    pub(super) file: Arc<LogFile>,
    /// Bytes that exist in the file already.
    pub(super) ready: u64,
    /// Checksum of the header: the first record links to it.
    pub(super) link: u32,
}

impl Segment {
    /// The segment as the index knows it.
    pub(super) fn stored(&self) -> Stored {
        Stored { path: self.path.clone(), file: Arc::clone(&self.file), highest: None }
    }

    /// Writes zeros until at least `until` bytes exist, in steps, but not past `full` in vain.
    pub(super) fn prewrite(&mut self, until: u64, full: u64) -> io::Result<()> {
        if until <= self.ready {
            return Ok(());
        }
        let end = until.max((self.ready + PREWRITE_BYTES).min(full));
        let zeros = vec![0; usize::try_from(PREWRITE_BYTES).expect("a step fits memory")];
        while self.ready < end {
            let step = (end - self.ready).min(PREWRITE_BYTES);
            let step = usize::try_from(step).expect("a step fits memory");
            self.file.write_all_at(&zeros[..step], self.ready)?;
            self.ready += step as u64;
        }
        Ok(())
    }
}

/// The folder of the log.
pub(super) struct Folder {
    pub(super) dir: PathBuf,
    spares: Vec<PathBuf>,
}

impl Folder {
    /// Opens the folder; returns the numbers of the segments in it, in order.
    pub(super) fn open(dir: &Path) -> Result<(Folder, Vec<u64>), Fault> {
        let mut numbers = Vec::new();
        let mut spares = Vec::new();
        for item in std::fs::read_dir(dir).map_err(|e| Fault::at(dir, e))? {
            let path = item.map_err(|e| Fault::at(dir, e))?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            let Some(stem) = name.strip_suffix(".wal") else { continue };
            if stem.starts_with("spare-") {
                spares.push(path);
            } else if let Some(number) = stem.strip_prefix("log-") {
                let number = u64::from_str_radix(number, 16)
                    .map_err(|e| Fault::at(&path, format!("not the name of a segment: {e}")))?;
                numbers.push(number);
            }
        }
        numbers.sort_unstable();
        spares.sort();
        Ok((Folder { dir: dir.to_owned(), spares }, numbers))
    }

    /// Path of a segment.
    pub(super) fn path(&self, number: u64) -> PathBuf {
        self.dir.join(format!("log-{number:016x}.wal"))
    }

    /// Opens an existing segment and checks its header; also says where the one before ended.
    pub(super) fn read(&self, number: u64, bytes: &[u8]) -> Result<(Segment, u64), Fault> {
        let path = self.path(number);
        let header = bytes.get(..SEGMENT_HEADER as usize);
        let header = header.ok_or_else(|| Fault::at(&path, "damaged at offset 0: no header"))?;
        let link = crc32c::crc32c(&header[..24]);
        let stored = u32::from_le_bytes(header[24..28].try_into().expect("four bytes"));
        let named = u64::from_le_bytes(header[8..16].try_into().expect("eight bytes"));
        if header.starts_with(MAGIC_OF_ALL) && !header.starts_with(MAGIC) && link == stored {
            let version = char::from(header[MAGIC_OF_ALL.len()]);
            let what = format!(
                "of log format {version}, which another version of this program wrote and this one does not read; nothing is wrong with it"
            );
            return Err(Fault::at(&path, what));
        }
        if &header[..8] != MAGIC || link != stored || named != number {
            return Err(Fault::at(&path, "damaged at offset 0: bad segment header"));
        }
        let file = Arc::new(LogFile::open(&path).map_err(|e| Fault::at(&path, e))?);
        let end = u64::from_le_bytes(header[16..24].try_into().expect("eight bytes"));
        let ready = bytes.len() as u64;
        Ok((Segment { number, path, file, ready, link }, end))
    }

    /// Makes segment `number` out of a spare or a new file. After return its name is durable.
    pub(super) fn create(&mut self, number: u64, end_before: u64) -> io::Result<Segment> {
        let spare = self.spares.pop();
        let from = spare.unwrap_or_else(|| self.dir.join(format!("spare-{number:016x}.wal")));
        let file = LogFile::create(&from)?;
        let mut header = Vec::with_capacity(SEGMENT_HEADER as usize);
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(&number.to_le_bytes());
        header.extend_from_slice(&end_before.to_le_bytes());
        let link = crc32c::crc32c(&header);
        header.extend_from_slice(&link.to_le_bytes());
        file.write_all_at(&header, 0)?;
        file.sync_all()?;
        let path = self.path(number);
        failpoint!("wal.segment.before_rename", io::Error::other);
        std::fs::rename(&from, &path)?;
        failpoint!("wal.segment.before_sync", io::Error::other);
        sync_dir(&self.dir)?;
        let ready = file.length()?;
        Ok(Segment { number, path, file: Arc::new(file), ready, link })
    }

    /// Takes a segment out of the log: kept for use again, or removed. That is durable when it
    /// returns: a spare is overwritten later, and must not be found under its old name then,
    /// nor may a gap appear between the segments that are left.
    pub(super) fn retire(&mut self, number: u64) -> io::Result<()> {
        failpoint!("wal.retire.before_rename", io::Error::other);
        let path = self.path(number);
        if self.spares.len() >= SPARES_MAX {
            std::fs::remove_file(path)?;
        } else {
            let spare = self.dir.join(format!("spare-{number:016x}.wal"));
            std::fs::rename(path, &spare)?;
            self.spares.push(spare);
        }
        failpoint!("wal.retire.before_sync", io::Error::other);
        sync_dir(&self.dir)
    }
}

/// Makes a folder, and its name and its parent's durable.
pub(crate) fn create_dir(dir: &Path) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    for above in dir.ancestors().skip(1).take(2).filter(|above| !above.as_os_str().is_empty()) {
        sync_dir(above)?;
    }
    Ok(())
}

/// Makes creations and renames in `dir` durable.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
