//! The writer thread: drains its queue, writes once, syncs once, then calls back in order.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use super::handle::{Done, Shared, WalOptions};
use super::index::{LogPosition, Place, VoteRecord};
use super::record::{self, Kind, Record, Stand};
use super::recover::End;
use super::segment::{Folder, SEGMENT_HEADER};
use crate::limits::{GROUP_BYTES, PREWRITE_MARGIN};
use crate::options::Sync;

/// What the writer is asked for.
pub(super) enum Job {
    /// Write these records; they are part of a group that is synced unless `lazy`.
    Write { records: Vec<Record>, done: Option<Done>, lazy: bool },
    /// Write what came before, then end.
    Stop,
}

/// The newest vote, purge and commit that were written: each new segment begins with them, so
/// that the segments before it are needed for their entries only.
#[derive(Default)]
pub(super) struct Carried {
    pub(super) vote: Option<VoteRecord>,
    pub(super) purged: Option<LogPosition>,
    pub(super) committed: Option<LogPosition>,
}

/// The writer thread's own state.
pub(super) struct Writer {
    pub(super) options: WalOptions,
    pub(super) folder: Folder,
    pub(super) end: End,
    /// Of the current segment, what is surely on disk.
    pub(super) synced: u32,
    /// Records of the current group, encoded, to be written at `end.offset - buffer.len()`.
    pub(super) buffer: Vec<u8>,
    pub(super) carried: Carried,
    pub(super) shared: Arc<Shared>,
    pub(super) fault: watch::Sender<Option<String>>,
}

/// B01, a bug on purpose: says that the group is on disk, and writes it a moment later.
async fn acknowledge_too_early(mut group: Vec<Group>) -> Vec<Group> {
    for done in group.iter_mut().filter_map(|job| job.done.take()) {
        done(Ok(()));
    }
    tokio::time::sleep(std::time::Duration::from_millis(40)).await;
    group
}

impl Writer {
    /// Works until it is told to stop or every sender is gone. After a failed write or sync no
    /// success is reported any more: what the disk holds is then unknown.
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        let mut failed: Option<String> = None;
        while let Some(job) = queue.recv().await {
            let (group, stop) = gather(job, &mut queue);
            let group =
                if planted!("planted_b01") { acknowledge_too_early(group).await } else { group };
            if failed.is_none()
                && let Err(error) = self.write(&group)
            {
                let text = format!("{}: {error}", self.end.segment.path.display());
                tracing::error!(error = text, "the log cannot be written: this node stops");
                self.fault.send_if_modified(|fault| fault.replace(text.clone()).is_none());
                failed = Some(text);
            }
            failpoint!("wal.done.before");
            #[cfg(feature = "sim")]
            crate::sim::disk_time(&self.options.dir).await;
            for job in group {
                let Some(done) = job.done else { continue };
                done(failed.as_ref().map_or(Ok(()), |text| Err(io::Error::other(text.clone()))));
            }
            if stop {
                return;
            }
            if queue.is_empty() && failed.is_none() {
                self.prewrite_ahead();
            }
        }
    }

    fn write(&mut self, group: &[Group]) -> io::Result<()> {
        failpoint!("wal.write.before", io::Error::other);
        let mut placed = Vec::new();
        let mut purge = None;
        for record in group.iter().flat_map(|job| &job.records) {
            let full = u64::from(self.end.offset) + record.size() as u64;
            if full > self.options.segment_bytes && self.end.offset > SEGMENT_HEADER {
                self.flush(&mut placed)?;
                self.roll()?;
            }
            let place = Place { segment: self.end.segment.number, offset: self.end.offset };
            self.encode(record);
            if record.kind.is_entry() {
                placed.push((LogPosition { term: record.term, index: record.index }, place));
            }
            if record.kind == Kind::Purge {
                purge = purge.max(Some(record.index));
            }
            self.carry(record);
        }
        let written = self.buffer.len() as u64;
        self.flush(&mut placed)?;
        self.shared.appended.fetch_add(written, Ordering::Relaxed);
        failpoint!("wal.write.after", io::Error::other);
        if group.iter().any(|job| !job.lazy) {
            self.sync()?;
        }
        match purge {
            Some(_) => self.recycle(),
            None => Ok(()),
        }
    }

    fn encode(&mut self, record: &Record) {
        let stand = Stand {
            segment: self.end.segment.number,
            offset: self.end.offset,
            link: self.end.link,
            synced: self.synced,
        };
        self.end.link = record::encode(record, stand, &mut self.buffer);
        self.end.offset += u32::try_from(record.size()).expect("a record is bounded");
    }

    fn carry(&mut self, record: &Record) {
        let position = LogPosition { term: record.term, index: record.index };
        let flag = record.payload.first() == Some(&1);
        match record.kind {
            Kind::Vote => {
                let (term, node) = (record.term, record.index);
                self.carried.vote = Some(VoteRecord { term, node, committed: flag });
            }
            Kind::Purge => self.carried.purged = self.carried.purged.max(Some(position)),
            Kind::Committed => self.carried.committed = flag.then_some(position),
            Kind::Blank | Kind::Normal | Kind::Membership | Kind::Truncate => {}
        }
    }

    /// Writes the buffer in one go and tells where its entries stand.
    fn flush(&mut self, placed: &mut Vec<(LogPosition, Place)>) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let end = u64::from(self.end.offset);
        self.end.segment.prewrite(end, self.options.segment_bytes)?;
        self.end.segment.file.write_all_at(&self.buffer, end - self.buffer.len() as u64)?;
        self.buffer.clear();
        if self.buffer.capacity() > GROUP_BYTES {
            self.buffer.shrink_to(GROUP_BYTES);
        }
        let mut index = self.shared.index.lock();
        for (position, place) in placed.drain(..) {
            index.place(position, place);
        }
        index.trim(self.options.cache_bytes);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.options.sync == Sync::Always {
            failpoint!("wal.sync.before", io::Error::other);
            match self.end.segment.file.sync_data() {
                // B24: the disk said no, and nobody minds.
                Err(error) if planted!("planted_b24") => tracing::warn!(%error, "not synced"),
                synced => synced?,
            }
            failpoint!("wal.sync.after", io::Error::other);
            self.synced = self.end.offset;
        }
        Ok(())
    }

    /// Goes on in a new segment, once all of the present one is on disk.
    fn roll(&mut self) -> io::Result<()> {
        assert!(self.buffer.is_empty(), "a segment is left only when all of it is written");
        self.sync()?;
        failpoint!("wal.roll.before", io::Error::other);
        let number = self.end.segment.number + 1;
        let segment = self.folder.create(number, u64::from(self.end.offset))?;
        failpoint!("wal.roll.after", io::Error::other);
        let stored = segment.stored();
        self.shared.index.lock().files.insert(number, stored);
        self.end = End { link: segment.link, segment, offset: SEGMENT_HEADER };
        self.synced = SEGMENT_HEADER;
        for record in carried_records(&self.carried) {
            self.encode(&record);
        }
        Ok(())
    }

    /// Takes the oldest segments out of the log whose entries are all purged.
    fn recycle(&mut self) -> io::Result<()> {
        let Some(purged) = self.carried.purged else { return Ok(()) };
        loop {
            let number = {
                let mut index = self.shared.index.lock();
                let Some(oldest) = index.files.first_entry() else { return Ok(()) };
                let number = *oldest.key();
                let needed = oldest.get().highest.is_some_and(|highest| highest > purged.index);
                if needed || number == self.end.segment.number {
                    return Ok(());
                }
                let _stored = oldest.remove();
                number
            };
            self.folder.retire(number)?;
        }
    }

    /// With nothing to do: keeps zeros ahead, so that no group has to wait for them.
    fn prewrite_ahead(&mut self) {
        let full = self.options.segment_bytes;
        let wanted = (u64::from(self.end.offset) + PREWRITE_MARGIN).min(full);
        if let Err(error) = self.end.segment.prewrite(wanted, full) {
            // The group that needs the room will meet the same error and report it.
            tracing::warn!(%error, "zeros were not written ahead");
        }
    }
}

/// The records that a new segment begins with.
pub(super) fn carried_records(carried: &Carried) -> Vec<Record> {
    let mut records = Vec::new();
    if let Some(purged) = carried.purged {
        records.push(purge_record(purged));
    }
    if let Some(vote) = carried.vote {
        records.push(vote_record(vote));
    }
    if carried.committed.is_some() {
        records.push(committed_record(carried.committed));
    }
    records
}

pub(super) fn vote_record(vote: VoteRecord) -> Record {
    let payload = Bytes::from_static(if vote.committed { &[1] } else { &[0] });
    Record { kind: Kind::Vote, term: vote.term, index: vote.node, payload }
}

pub(super) fn purge_record(upto: LogPosition) -> Record {
    Record { kind: Kind::Purge, term: upto.term, index: upto.index, payload: Bytes::new() }
}

pub(super) fn committed_record(committed: Option<LogPosition>) -> Record {
    let payload = Bytes::from_static(if committed.is_some() { &[1] } else { &[0] });
    let LogPosition { term, index } = committed.unwrap_or(LogPosition { term: 0, index: 0 });
    Record { kind: Kind::Committed, term, index, payload }
}

/// One request of a group.
struct Group {
    records: Vec<Record>,
    done: Option<Done>,
    lazy: bool,
}

/// Takes what is already waiting, up to the size of a group.
fn gather(first: Job, queue: &mut mpsc::Receiver<Job>) -> (Vec<Group>, bool) {
    let mut group = Vec::new();
    let mut bytes = 0;
    let mut job = Some(first);
    while let Some(Job::Write { records, done, lazy }) = job {
        bytes += records.iter().map(Record::size).sum::<usize>();
        group.push(Group { records, done, lazy });
        if bytes >= GROUP_BYTES {
            return (group, false);
        }
        job = queue.try_recv().ok();
    }
    (group, job.is_some())
}
