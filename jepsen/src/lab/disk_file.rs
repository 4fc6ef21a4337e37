//! The file behind a failing disk: what was written, what of it a power cut would lose, and how
//! reads, writes and flushes fail. Served to the kernel by FUSE as the one file of a file system.

use std::ffi::OsStr;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner,
    OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request,
    WriteFlags,
};
use parking_lot::Mutex;

use super::disk::{Counts, Loss, Lost};
use crate::random::Random;

/// Name of the one file.
pub(super) const NAME: &str = "disk";
const FILE: INodeNo = INodeNo(2);
/// What a disk writes as a whole or not at all, in bytes.
const SECTOR: usize = 512;
/// Most bytes that wait for a flush; older ones have reached the disk by themselves.
const PENDING_BYTES_MAX: usize = 64 << 20;
/// How long the kernel may believe what it was told of the file: it never changes.
const TTL: Duration = Duration::from_hours(1);

/// A write that no flush has followed yet.
struct Pending {
    at: usize,
    old: Vec<u8>,
    new: Vec<u8>,
}

/// How the disk fails now; each beside the others.
#[expect(clippy::struct_excessive_bools, reason = "faults that add up, not states of a machine")]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Faults {
    pub(super) fail_writes: bool,
    pub(super) fail_flushes: bool,
    pub(super) delay: Duration,
    /// By how much longer than that a flush takes.
    pub(super) flush_delay: Duration,
    /// A flush is answered and not done.
    pub(super) lie: bool,
    /// Without power nothing is answered but errors.
    pub(super) dead: bool,
}

/// The content of a disk.
pub(super) struct Content {
    bytes: Vec<u8>,
    pending: Vec<Pending>,
    pending_bytes: usize,
    random: Random,
    pub(super) faults: Faults,
    pub(super) counts: Counts,
}

impl Content {
    /// A disk of zeros.
    pub(super) fn new(bytes: usize, seed: u64) -> Self {
        Self {
            bytes: vec![0; bytes],
            pending: Vec::new(),
            pending_bytes: 0,
            random: Random::new(seed),
            faults: Faults::default(),
            counts: Counts::default(),
        }
    }

    fn read(&self, at: usize, length: usize) -> Option<&[u8]> {
        let end = at.saturating_add(length).min(self.bytes.len());
        self.bytes.get(at.min(end)..end)
    }

    fn write(&mut self, at: usize, new: &[u8]) -> Option<()> {
        let place = self.bytes.get_mut(at..at.checked_add(new.len())?)?;
        let old = place.to_vec();
        place.copy_from_slice(new);
        self.pending_bytes += new.len();
        self.pending.push(Pending { at, old, new: new.to_vec() });
        if self.pending_bytes > PENDING_BYTES_MAX {
            let half = self.pending.len() / 2;
            let written: usize = self.pending.drain(..half).map(|write| write.new.len()).sum();
            self.pending_bytes -= written;
        }
        Some(())
    }

    /// How many writes no flush has followed yet.
    pub(super) fn unflushed(&self) -> usize {
        self.pending.len()
    }

    fn flush(&mut self) {
        if !self.faults.lie {
            self.pending.clear();
            self.pending_bytes = 0;
        }
    }

    /// Cuts the power: of what no flush followed, only what `loss` says has reached the disk.
    /// From now on the disk answers errors, until it is told to live again.
    pub(super) fn cut_power(&mut self, loss: Loss) -> Lost {
        let pending = std::mem::take(&mut self.pending);
        self.pending_bytes = 0;
        self.faults.dead = true;
        for write in pending.iter().rev() {
            self.bytes[write.at..write.at + write.old.len()].copy_from_slice(&write.old);
        }
        let mut lost = Lost::default();
        for write in &pending {
            lost.writes += 1;
            let whole = self.random.happens(500_000);
            for (number, sector) in write.new.chunks(SECTOR).enumerate() {
                lost.sectors += 1;
                let kept = match loss {
                    Loss::Drop => false,
                    Loss::Nothing => true,
                    Loss::Subset => whole,
                    Loss::Torn => self.random.happens(500_000),
                };
                if kept {
                    lost.sectors_kept += 1;
                    let at = write.at + number * SECTOR;
                    self.bytes[at..at + sector.len()].copy_from_slice(sector);
                }
            }
        }
        lost
    }
}

/// The file system that has nothing but the disk.
pub(super) struct DiskFile(pub(super) Arc<Mutex<Content>>);

impl DiskFile {
    fn attributes(&self, inode: INodeNo) -> FileAttr {
        let size = u64::try_from(self.0.lock().bytes.len()).unwrap_or(u64::MAX);
        let is_file = inode == FILE;
        FileAttr {
            ino: inode,
            size,
            blocks: size / 512,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: if is_file { FileType::RegularFile } else { FileType::Directory },
            perm: if is_file { 0o600 } else { 0o700 },
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }

    /// Waits as long as the disk is slow, without holding the content: its power may go meanwhile.
    fn dawdle(&self, delay: impl Fn(&Faults) -> Duration) {
        let delay = delay(&self.0.lock().faults);
        if !delay.is_zero() {
            std::thread::park_timeout(delay);
        }
    }
}

impl Filesystem for DiskFile {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if parent == INodeNo::ROOT && name == NAME {
            reply.entry(&TTL, &self.attributes(FILE), Generation(0));
        } else {
            reply.error(Errno::ENOENT);
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&TTL, &self.attributes(inode));
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        // The kernel must not keep a copy: what it kept would survive a power cut.
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let mut content = self.0.lock();
        content.counts.reads += 1;
        if content.faults.dead {
            return reply.error(Errno::EIO);
        }
        let (at, size) = (usize::try_from(offset), usize::try_from(size));
        match at.ok().zip(size.ok()).and_then(|(at, size)| content.read(at, size)) {
            Some(bytes) => reply.data(bytes),
            None => reply.error(Errno::EINVAL),
        }
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        self.dawdle(|faults| faults.delay);
        let mut content = self.0.lock();
        content.counts.writes += 1;
        if content.faults.dead || content.faults.fail_writes {
            content.counts.failed += 1;
            return reply.error(Errno::EIO);
        }
        let written = usize::try_from(offset).ok().and_then(|at| content.write(at, data));
        match (written, u32::try_from(data.len())) {
            (Some(()), Ok(length)) => reply.written(length),
            _ => reply.error(Errno::ENOSPC),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        // This is a close, and no flush of a disk.
        reply.ok();
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.dawdle(|faults| faults.delay + faults.flush_delay);
        let mut content = self.0.lock();
        content.counts.flushes += 1;
        if content.faults.dead || content.faults.fail_flushes {
            content.counts.failed += 1;
            return reply.error(Errno::EIO);
        }
        content.flush();
        reply.ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(seed: u64) -> Content {
        let mut content = Content::new(8 * SECTOR, seed);
        content.write(0, &[1; 2 * SECTOR]).unwrap();
        content.flush();
        // Two writes to one place, and one to another.
        content.write(0, &[2; SECTOR]).unwrap();
        content.write(0, &[3; 2 * SECTOR]).unwrap();
        content.write(4 * SECTOR, &[4; 4 * SECTOR]).unwrap();
        content
    }

    fn sectors(content: &Content) -> Vec<u8> {
        content.bytes.chunks(SECTOR).map(|sector| sector[0]).collect()
    }

    #[test]
    fn a_power_cut_takes_what_was_not_flushed() {
        let mut content = written(1);
        assert_eq!(sectors(&content), [3, 3, 0, 0, 4, 4, 4, 4]);
        let lost = content.cut_power(Loss::Drop);
        assert_eq!(lost, Lost { writes: 3, sectors: 7, sectors_kept: 0 });
        assert_eq!(sectors(&content), [1, 1, 0, 0, 0, 0, 0, 0]);
        let mut content = written(1);
        content.cut_power(Loss::Nothing);
        assert_eq!(sectors(&content), [3, 3, 0, 0, 4, 4, 4, 4]);
    }

    #[test]
    fn a_subset_is_of_whole_writes_and_what_is_torn_is_not() {
        let (mut in_part, mut whole) = (0, 0);
        for seed in 0..64 {
            let mut content = written(seed);
            content.cut_power(Loss::Subset);
            let last = sectors(&content)[4..].to_vec();
            assert!(last == [0; 4] || last == [4; 4], "{last:?}");
            whole += usize::from(last == [4; 4]);
            let mut content = written(seed);
            content.cut_power(Loss::Torn);
            let last = &sectors(&content)[4..];
            in_part += usize::from(last.contains(&0) && last.contains(&4));
        }
        assert!((16..48).contains(&whole), "{whole}");
        assert!(in_part > 40, "{in_part}");
    }

    #[test]
    fn a_disk_that_lies_loses_what_was_flushed() {
        let mut content = Content::new(SECTOR, 0);
        content.faults.lie = true;
        content.write(0, &[1; SECTOR]).unwrap();
        content.flush();
        content.cut_power(Loss::Drop);
        assert_eq!(sectors(&content), [0]);
    }

    #[test]
    fn nothing_is_written_beyond_the_end() {
        let mut content = Content::new(SECTOR, 0);
        assert!(content.write(1, &[1; SECTOR]).is_none());
        assert!(content.write(usize::MAX, &[1; SECTOR]).is_none());
        assert_eq!(content.read(0, 2 * SECTOR).map(<[u8]>::len), Some(SECTOR));
        assert_eq!(content.read(2 * SECTOR, 1).map(<[u8]>::len), Some(0));
    }
}
