//! openraft's log storage over the write-ahead log.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, Range, RangeBounds};

use futures::Stream;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use openraft::{OptionalSend, RaftTypeConfig};

use crate::error::Fault;
use crate::limits::BATCH_BYTES;
use crate::types::{self, LogId, RaftLogEntry, Types, Vote};
use crate::wal::{LogPosition, Record, Wal};

/// The log as openraft sees it. Cheap to clone; a clone is a reader.
#[derive(Clone)]
pub(crate) struct LogStore {
    wal: Wal,
    /// Whose it is.
    #[cfg(feature = "sim")]
    node: crate::NodeId,
}

impl LogStore {
    /// The log of `node`.
    #[cfg_attr(not(feature = "sim"), expect(unused_variables, reason = "a witness asks whose"))]
    pub(crate) fn new(wal: Wal, node: crate::NodeId) -> LogStore {
        LogStore {
            wal,
            #[cfg(feature = "sim")]
            node,
        }
    }

    async fn entries(&self, range: Range<u64>, bytes: usize) -> io::Result<Vec<RaftLogEntry>> {
        self.wal.read(range, bytes).await?.into_iter().map(entry).collect()
    }
}

/// Makes the log fit what the machine has; false where it does not reach as far.
///
/// A machine applies what is on the disks of others, and may keep it before this node's log has
/// it: then a failing disk or a lost power takes it from the log alone. There the log begins anew
/// behind what was applied, and whoever lacks what was before needs a snapshot that reaches as far.
///
/// What stands in the place of a lost entry and is of an older term was never committed: it was to
/// be cut off, and is cut off here. openraft would take it for damage.
///
/// # Errors
///
/// The log's writer has ended.
pub(crate) async fn fit(wal: &Wal, applied: Option<LogPosition>) -> Result<bool, Fault> {
    let (_, last) = wal.ends();
    if let (Some(applied), Some(last)) = (applied, last)
        && last.term < applied.term
        && last.index >= applied.index
    {
        tracing::warn!(?applied, ?last, "the end of the log was never committed: it is cut off");
        let cut = wal.truncate(applied.index).await;
        cut.map_err(|error| Fault(format!("the log was not cut off: {error}")))?;
    }
    let (_, last) = wal.ends();
    Ok(applied.map(|applied| applied.index) <= last.map(|last| last.index))
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<RaftLogEntry>, io::Error> {
        self.entries(bounds(&range), usize::MAX).await
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.wal.vote().map(types::vote))
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<RaftLogEntry>, io::Error> {
        self.entries(start..end, BATCH_BYTES).await
    }

    /// Reads in batches: after a restart the range may be the whole log.
    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = Result<RaftLogEntry, io::Error>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let wal = self.wal.clone();
        let batches = futures::stream::try_unfold(bounds(&range), move |left| {
            let wal = wal.clone();
            async move {
                if left.is_empty() {
                    return Ok(None);
                }
                let records = wal.read(left.clone(), BATCH_BYTES).await?;
                let Some(last) = records.last() else { return Ok(None) };
                let next = last.index + 1..left.end;
                let entries = futures::stream::iter(records.into_iter().map(entry));
                Ok::<_, io::Error>(Some((entries, next)))
            }
        });
        Box::pin(futures::TryStreamExt::try_flatten(batches))
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = LogStore;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, io::Error> {
        let (purged, last) = self.wal.ends();
        let last_purged_log_id = purged.map(types::log_id);
        Ok(LogState { last_purged_log_id, last_log_id: last.map(types::log_id) })
    }

    async fn get_log_reader(&mut self) -> LogStore {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        failpoint!("vote.save.before", io::Error::other);
        let record = types::vote_record(vote);
        self.wal.save_vote(record).await?;
        #[cfg(feature = "sim")]
        if let Some(world) = crate::sim::world() {
            world.witness.votes(self.node, record);
        }
        failpoint!("vote.saved.before_reply");
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        self.wal.save_committed(committed.map(types::position)).await
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        // A cut tail or a purge may have passed by what was noted, which is only a hint.
        let (_, last) = self.wal.ends();
        if planted!("planted_b04") {
            // B04: at a start all of the log counts as committed, whatever terms it is of.
            return Ok(last.map(types::log_id));
        }
        Ok(self.wal.committed().filter(|committed| Some(*committed) <= last).map(types::log_id))
    }

    async fn append<I>(&mut self, entries: I, done: IOFlushed<Types>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = <Types as RaftTypeConfig>::Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let records: Vec<Record> = entries.into_iter().map(types::record).collect();
        self.wal.append(records, Box::new(move |result| done.io_completed(result))).await
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        self.wal.truncate(last.map_or(0, |last| last.index + 1)).await
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        self.wal.purge(types::position(upto)).await
    }
}

fn entry(record: Record) -> io::Result<RaftLogEntry> {
    types::entry(record).map_err(io::Error::other)
}

fn bounds(range: &impl RangeBounds<u64>) -> Range<u64> {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(start) => start.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(end) => end.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    start..end
}
