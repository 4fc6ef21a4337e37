//! What the rest of the crate holds of the log: appends, reads, and how it stands.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};

use super::file::LogFile;
use super::index::{Index, LogPosition, Place, VoteRecord};
use super::record::{self, HEADER_BYTES, Kind, Record};
use super::recover::{self, End};
use super::segment::{Folder, SEGMENT_HEADER, create_dir};
use super::writer::{self, Carried, Job, Writer};
use crate::error::Fault;
use crate::limits::{SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, WAL_QUEUE};
use crate::options::Sync;
use crate::tasks::{Tasks, blocking};

/// Called by the writer thread when records are on disk, or will never be.
pub(crate) type Done = Box<dyn FnOnce(io::Result<()>) + Send>;

/// What the log is opened with.
#[derive(Clone, Debug)]
pub(crate) struct WalOptions {
    pub(crate) dir: PathBuf,
    pub(crate) segment_bytes: u64,
    pub(crate) cache_bytes: usize,
    pub(crate) sync: Sync,
}

/// What the handle and the writer share.
pub(super) struct Shared {
    pub(super) index: Mutex<Index>,
    /// Bytes written since the start.
    pub(super) appended: AtomicU64,
}

/// The log. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Wal {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Job>,
}

impl Wal {
    /// Opens the log in `dir`, reads all of it and starts the writer.
    ///
    /// # Errors
    ///
    /// The folder is locked by another process, or the log is damaged: file and offset.
    pub(crate) fn open(
        options: WalOptions,
        tasks: &Tasks,
        fault: watch::Sender<Option<String>>,
    ) -> Result<Wal, Fault> {
        failpoint!("wal.open.before", Fault);
        let dir = options.dir.clone();
        let sizes = SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX;
        if !sizes.contains(&options.segment_bytes) {
            let what = format!("segment_bytes {} is not in {sizes:?}", options.segment_bytes);
            return Err(Fault(what));
        }
        create_dir(&dir).map_err(|e| Fault::at(&dir, e))?;
        let lock = lock(&options)?;
        let (mut folder, numbers) = Folder::open(&dir)?;
        let mut index = Index::default();
        let end = match recover::recover(&folder, &numbers, &mut index, options.cache_bytes)? {
            Some(end) => end,
            None => first(&mut folder, &mut index).map_err(|e| Fault::at(&dir, e))?,
        };
        // After a kill the bytes may be in the page cache only; from here on they count as kept.
        end.segment.file.sync_data().map_err(|e| Fault::at(&end.segment.path, e))?;
        let Index { vote, purged, committed, .. } = index;
        let shared = Arc::new(Shared { index: Mutex::new(index), appended: AtomicU64::new(0) });
        let writer = Writer {
            options,
            folder,
            synced: end.offset,
            end,
            buffer: Vec::new(),
            carried: Carried { vote, purged, committed },
            shared: Arc::clone(&shared),
            fault,
        };
        let (queue, jobs) = mpsc::channel(WAL_QUEUE);
        tasks.thread("raft-log", async move {
            writer.run(jobs).await;
            drop(lock);
        })?;
        Ok(Wal { shared, queue })
    }

    /// Appends entries; `done` is called when they are on disk. Returns at once when the queue
    /// has room; the entries can be read from then on.
    pub(crate) async fn append(&self, records: Vec<Record>, done: Done) -> io::Result<()> {
        failpoint!("wal.append.before", io::Error::other);
        self.send(Job::Write { records, done: Some(done), lazy: false }).await
    }

    /// Saves a vote; returns when it is on disk.
    pub(crate) async fn save_vote(&self, vote: VoteRecord) -> io::Result<()> {
        if planted!("planted_b02") && !vote.committed {
            // B02: a vote that was given is remembered, and not written.
            let mut index = self.shared.index.lock();
            return index.take(&writer::vote_record(vote), None).map_err(io::Error::other);
        }
        self.durably(writer::vote_record(vote)).await
    }

    /// Voids the entries from `from` on. Later writes cannot become durable before it.
    pub(crate) async fn truncate(&self, from: u64) -> io::Result<()> {
        failpoint!("wal.truncate.before", io::Error::other);
        let kind = Kind::Truncate;
        let record = Record { kind, term: 0, index: from, payload: Bytes::new() };
        self.send(Job::Write { records: vec![record], done: None, lazy: false }).await
    }

    /// Voids the entries up to `upto`; returns when that is on disk.
    pub(crate) async fn purge(&self, upto: LogPosition) -> io::Result<()> {
        failpoint!("wal.purge.before", io::Error::other);
        self.durably(writer::purge_record(upto)).await?;
        failpoint!("wal.purge.after", io::Error::other);
        Ok(())
    }

    /// Notes what is committed. Not synced by itself: what is lost of it is found out anew.
    pub(crate) async fn save_committed(&self, committed: Option<LogPosition>) -> io::Result<()> {
        failpoint!("wal.committed.before", io::Error::other);
        let records = vec![writer::committed_record(committed)];
        self.send(Job::Write { records, done: None, lazy: true }).await
    }

    /// The vote that was saved last.
    pub(crate) fn vote(&self) -> Option<VoteRecord> {
        self.shared.index.lock().vote
    }

    /// What was noted as committed.
    pub(crate) fn committed(&self) -> Option<LogPosition> {
        self.shared.index.lock().committed
    }

    /// The last purged entry, and the last entry.
    pub(crate) fn ends(&self) -> (Option<LogPosition>, Option<LogPosition>) {
        let index = self.shared.index.lock();
        (index.purged, index.last())
    }

    /// Bytes written since the start.
    pub(crate) fn appended(&self) -> u64 {
        self.shared.appended.load(Ordering::Relaxed)
    }

    /// Reads the entries of `range` that exist, in order, up to `bytes` of payload (but at
    /// least one). Entries that are no longer in memory are read from the disk.
    ///
    /// # Errors
    ///
    /// The disk fails or an entry is damaged: file and offset.
    pub(crate) async fn read(&self, range: Range<u64>, bytes: usize) -> io::Result<Vec<Record>> {
        let plan = self.plan(range, bytes);
        if plan.cold.is_empty() {
            return Ok(plan.records);
        }
        let shared = Arc::clone(&self.shared);
        blocking(move || fill(plan, &shared)).await?
    }

    /// Ends the writer once everything before is written.
    pub(crate) async fn stop(&self) {
        // An error means that the writer has ended already.
        if self.queue.send(Job::Stop).await.is_err() {}
    }

    async fn durably(&self, record: Record) -> io::Result<()> {
        let (sender, receiver) = oneshot::channel();
        let done: Done = Box::new(move |result| {
            if sender.send(result).is_err() {
                tracing::debug!("nobody waits for a write any more");
            }
        });
        self.send(Job::Write { records: vec![record], done: Some(done), lazy: false }).await?;
        receiver.await.map_err(|_closed| stopped())?
    }

    /// Takes the records into memory and queues them, in this order. There is one caller at a
    /// time (openraft's core), so both orders are the same.
    async fn send(&self, job: Job) -> io::Result<()> {
        let permit = self.queue.reserve().await.map_err(|_closed| stopped())?;
        if let Job::Write { records, .. } = &job {
            let mut index = self.shared.index.lock();
            for record in records {
                index.take(record, None).map_err(io::Error::other)?;
            }
        }
        permit.send(job);
        Ok(())
    }

    fn plan(&self, range: Range<u64>, bytes: usize) -> Plan {
        let index = self.shared.index.lock();
        let mut plan = Plan { records: Vec::new(), cold: Vec::new(), first: range.start };
        let mut total = 0;
        plan.first = range.start.max(index.first);
        for at in plan.first..range.end.min(index.next()) {
            let slot = index.slot(at).expect("the range is within the slots");
            total += slot.length as usize;
            if total > bytes && !plan.records.is_empty() {
                break;
            }
            if slot.payload.is_none() {
                let place = slot.place.expect("only what is on disk leaves the cache");
                let stored = index.files.get(&place.segment).expect("a slot's segment is kept");
                let (file, path) = (Arc::clone(&stored.file), stored.path.clone());
                let length = slot.length as usize;
                plan.cold.push(Cold { at: plan.records.len(), place, length, file, path });
            }
            let payload = slot.payload.clone().unwrap_or_default();
            plan.records.push(Record { kind: slot.kind, term: slot.term, index: at, payload });
        }
        plan
    }
}

fn stopped() -> io::Error {
    io::Error::other("the log has been closed")
}

fn lock(options: &WalOptions) -> Result<File, Fault> {
    let path = options.dir.join("lock");
    let file = File::create(&path).map_err(|e| Fault::at(&path, e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(error) => Err(Fault::at(&path, format!("in use by another process: {error}"))),
    }
}

fn first(folder: &mut Folder, index: &mut Index) -> io::Result<End> {
    let segment = folder.create(1, 0)?;
    let stored = segment.stored();
    index.files.insert(1, stored);
    Ok(End { link: segment.link, segment, offset: SEGMENT_HEADER })
}

/// Entries to return, some of which have yet to be read.
struct Plan {
    records: Vec<Record>,
    cold: Vec<Cold>,
    first: u64,
}

/// An entry that is on disk only.
struct Cold {
    at: usize,
    place: Place,
    length: usize,
    file: Arc<LogFile>,
    path: PathBuf,
}

impl Cold {
    fn end(&self) -> u64 {
        u64::from(self.place.offset) + (HEADER_BYTES + self.length) as u64
    }
}

/// Reads the cold entries, neighbours in one go.
fn fill(mut plan: Plan, shared: &Shared) -> io::Result<Vec<Record>> {
    failpoint!("wal.read.cold", io::Error::other);
    let mut from = 0;
    while from < plan.cold.len() {
        let head = &plan.cold[from];
        let run = plan.cold[from..]
            .iter()
            .take_while(|cold| cold.place.segment == head.place.segment)
            .take_while(|cold| cold.place.offset >= head.place.offset)
            .count();
        let start = u64::from(head.place.offset);
        let end = plan.cold[from..from + run].iter().map(Cold::end).max().unwrap_or(start);
        let mut buffer = vec![0; usize::try_from(end - start).expect("a segment fits memory")];
        head.file.read_exact_at(&mut buffer, start)?;
        let buffer = Bytes::from(buffer);
        for cold in &plan.cold[from..from + run] {
            let skip = (cold.place.offset - head.place.offset) as usize;
            let read = record::decode(cold.place.segment, cold.place.offset, &buffer.slice(skip..));
            let wanted = &mut plan.records[cold.at];
            match read {
                Some(read) if read.record.index == wanted.index => {
                    wanted.payload = read.record.payload;
                }
                _ => return damaged(&plan, from, shared),
            }
        }
        from += run;
    }
    Ok(plan.records)
}

/// An entry that is not where it was: purged meanwhile, or damaged.
fn damaged(plan: &Plan, at: usize, shared: &Shared) -> io::Result<Vec<Record>> {
    if shared.index.lock().first > plan.first {
        return Ok(Vec::new());
    }
    let Cold { path, place, .. } = &plan.cold[at];
    let what = format!("{}: damaged at or after offset {}", path.display(), place.offset);
    Err(io::Error::other(what))
}
