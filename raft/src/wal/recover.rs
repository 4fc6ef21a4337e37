//! What a start finds on disk: every record in order, a torn tail cut, anything else a fault. What
//! is not known to be synced is written once more: it may be in the system's memory only.

use std::path::Path;

use bytes::Bytes;

use super::index::{Index, Place};
use super::record::{self, HEADER_BYTES};
use super::segment::{Folder, SEGMENT_HEADER, Segment};
use crate::error::Fault;

/// The end of the log, where the writer goes on.
pub(super) struct End {
    pub(super) segment: Segment,
    pub(super) offset: u32,
    pub(super) link: u32,
}

/// Reads all segments into `index`. `None`: there is no segment yet.
pub(super) fn recover(
    folder: &Folder,
    numbers: &[u64],
    index: &mut Index,
    cache_bytes: usize,
) -> Result<Option<End>, Fault> {
    let mut before: Option<(Found, Bytes)> = None;
    for number in numbers {
        let path = folder.path(*number);
        let bytes = Bytes::from(std::fs::read(&path).map_err(|e| Fault::at(&path, e))?);
        let (segment, end_before) = folder.read(*number, &bytes)?;
        if let Some((found, _)) = &before {
            follows(&found.end, *number, end_before)?;
        }
        let found = replay(segment, &bytes, index)?;
        index.trim(cache_bytes);
        before = Some((found, bytes));
    }
    let Some((Found { end, synced }, bytes)) = before else { return Ok(None) };
    failpoint!("wal.recover.before_cut", Fault);
    cut(&end, &bytes)?;
    complete(folder, index)?;
    write_again(&end, synced, &bytes).map_err(|e| Fault::at(&end.segment.path, e))?;
    Ok(Some(end))
}

/// A segment's records, and up to where they say that they were synced.
struct Found {
    end: End,
    synced: u32,
}

/// A segment must end where its successor says that it ended.
fn follows(end: &End, number: u64, end_before: u64) -> Result<(), Fault> {
    let path = &end.segment.path;
    if number != end.segment.number + 1 {
        let missing = end.segment.number + 1;
        return Err(Fault::at(path, format!("the segment after it, {missing:016x}, is missing")));
    }
    if u64::from(end.offset) != end_before {
        let what = format!("damaged at offset {}: records up to {end_before}", end.offset);
        return Err(Fault::at(path, format!("{what} were written and synced")));
    }
    Ok(())
}

fn replay(segment: Segment, bytes: &Bytes, index: &mut Index) -> Result<Found, Fault> {
    let number = segment.number;
    let stored = segment.stored();
    index.files.insert(number, stored);
    let mut end = End { link: segment.link, segment, offset: SEGMENT_HEADER };
    let mut synced = SEGMENT_HEADER;
    loop {
        let rest = bytes.slice(end.offset as usize..);
        let Some(read) = record::decode(number, end.offset, &rest) else { break };
        if read.link != end.link {
            break;
        }
        let place = Place { segment: number, offset: end.offset };
        index.take(&read.record, Some(place)).map_err(|what| {
            Fault::at(&end.segment.path, format!("damaged at offset {}: {what}", end.offset))
        })?;
        if read.record.kind.is_entry() {
            let stored = index.files.get_mut(&number).expect("inserted above");
            stored.highest = stored.highest.max(Some(read.record.index));
        }
        let size = u32::try_from(read.record.size()).expect("a record is bounded");
        end.link = read.crc;
        end.offset += size;
        synced = synced.max(read.synced);
    }
    Ok(Found { end, synced })
}

/// Makes the end of the last segment a clean end, or says that this is no torn tail.
fn cut(end: &End, bytes: &Bytes) -> Result<(), Fault> {
    let at = end.offset as usize;
    if let Some(later) = synced_after(end.segment.number, at, bytes) {
        let what = format!("damaged at offset {at}: it was synced before offset {later}");
        return Err(Fault::at(&end.segment.path, what));
    }
    let torn = bytes.len().min(at + HEADER_BYTES);
    if bytes[at..torn].iter().all(|byte| *byte == 0) {
        return Ok(());
    }
    tracing::warn!(file = %end.segment.path.display(), offset = at, "cut the torn tail");
    zero(&end.segment, at, torn - at).map_err(|e| Fault::at(&end.segment.path, e))
}

/// Has what was not synced go to the disk with the next sync. A process may have ended because a
/// sync failed, and then the system takes those pages for clean: it shows what they hold until the
/// power goes, and writes them only if they are written anew. Source: Rebello et al., "Can
/// Applications Recover from fsync Failures?", USENIX ATC 2020.
fn write_again(end: &End, synced: u32, bytes: &Bytes) -> std::io::Result<()> {
    let from = synced.min(end.offset);
    end.segment.file.write_all_at(&bytes[from as usize..end.offset as usize], from.into())
}

fn zero(segment: &Segment, at: usize, length: usize) -> std::io::Result<()> {
    segment.file.write_all_at(&vec![0; length], at as u64)?;
    segment.file.sync_data()
}

/// Looks behind `at` for a record that was written after `at` had been synced. Pages of one
/// unsynced write may reach the disk in any order, so a whole record alone proves nothing.
fn synced_after(number: u64, at: usize, bytes: &Bytes) -> Option<usize> {
    // Nearly all of it is room that was prepared and never written.
    let last = bytes.len().checked_sub(HEADER_BYTES)?.min(written(bytes));
    (at + 1..=last).find(|offset| {
        record::plausible(&bytes[*offset..])
            && u32::try_from(*offset).is_ok_and(|offset32| {
                record::decode(number, offset32, &bytes.slice(*offset..))
                    .is_some_and(|read| read.synced as usize > at)
            })
    })
}

/// Up to where something else stands than the zeros at the end, or a little further.
fn written(bytes: &[u8]) -> usize {
    const ZEROS: &[u8] = &[0; 4096];
    let room = bytes.rchunks(ZEROS.len()).take_while(|chunk| ZEROS.starts_with(chunk));
    bytes.len() - room.map(<[u8]>::len).sum::<usize>()
}

/// After everything was read, the entries must begin right behind what was purged.
fn complete(folder: &Folder, index: &Index) -> Result<(), Fault> {
    let begin = index.purged.map_or(0, |purged| purged.index + 1);
    if index.slots.is_empty() || index.first == begin {
        return Ok(());
    }
    let dir: &Path = &folder.dir;
    let what = format!("entries from {begin} on are missing: the first is {}", index.first);
    Err(Fault::at(dir, what))
}
