//! A log that was damaged, under a fuzzer: it opens cut at its end, or it is a fault.

use bytes::Bytes;

use super::index::Index;
use super::record::{self, Kind, Record, Stand};
use super::recover;
use super::segment::{Folder, SEGMENT_HEADER};
use crate::error::Fault;
use crate::fuzz::{Input, Target};

/// What is read of a disk.
pub(crate) const TARGETS: &[Target] = &[
    Target {
        name: "log-damage",
        about: "a log with damage: a fault, or a beginning of what was written with all that was synced",
        memory: 4 * 1024 * 1024,
        run: damage,
        seeds: damage_seeds,
    },
    Target {
        name: "log-bytes",
        about: "any bytes behind a segment's head: no panic, and what is read is read again after the cut",
        memory: 8 * 1024 * 1024,
        run: any,
        seeds: any_seeds,
    },
];

/// Entries that a log of an input has at most.
const ENTRIES_MAX: usize = 24;

/// A log in the making: one segment.
struct Log {
    bytes: Vec<u8>,
    link: u32,
    /// What had reached the disk when the next record is written.
    synced: u32,
    entries: Vec<Record>,
    /// Entries within what had been synced.
    entries_synced: usize,
}

impl Log {
    /// An empty segment, in a folder of its own.
    fn new() -> (Log, tempfile::TempDir, Folder) {
        let dir = tempfile::tempdir().expect("there is room for a folder");
        let (mut folder, _) = Folder::open(dir.path()).expect("it is empty");
        let segment = folder.create(1, 0).expect("there is room for a file");
        let bytes = std::fs::read(&segment.path).expect("it was just written");
        let (link, synced) = (segment.link, SEGMENT_HEADER);
        (Log { bytes, link, synced, entries: Vec::new(), entries_synced: 0 }, dir, folder)
    }

    fn put(&mut self, record: Record) {
        let offset = u32::try_from(self.bytes.len()).expect("it is short");
        let stand = Stand { segment: 1, offset, link: self.link, synced: self.synced };
        self.link = record::encode(&record, stand, &mut self.bytes);
        if record.kind.is_entry() {
            self.entries.push(record);
        }
    }

    fn sync(&mut self) {
        self.synced = u32::try_from(self.bytes.len()).expect("it is short");
        self.entries_synced = self.entries.len();
    }
}

/// Opens the log of a folder with this in its only segment; the entries in it.
fn open(folder: &Folder, bytes: &[u8]) -> Result<Vec<Record>, Fault> {
    std::fs::write(folder.path(1), bytes).expect("there is room for a file");
    let mut index = Index::default();
    recover::recover(folder, &[1], &mut index, usize::MAX)?;
    let slots = index.slots.iter().zip(index.first..);
    let entry = |(slot, index): (&super::index::Slot, u64)| Record {
        kind: slot.kind,
        term: slot.term,
        index,
        payload: slot.payload.clone().expect("all of it is kept"),
    };
    Ok(slots.map(entry).collect())
}

fn damage(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let (mut log, _dir, folder) = Log::new();
    for index in 0..u64::from(input.byte()) % ENTRIES_MAX as u64 {
        match input.byte() % 8 {
            0 => log.sync(),
            1 => log.put(Record {
                kind: Kind::Vote,
                term: 1,
                index: 2,
                payload: Bytes::from_static(&[1]),
            }),
            _ => {}
        }
        let payload = Bytes::copy_from_slice(input.piece());
        let kind = if payload.is_empty() { Kind::Blank } else { Kind::Normal };
        log.put(Record { kind, term: 1, index, payload });
    }
    let synced = log.synced as usize;
    let (mut damaged, first) = damaged(&log.bytes, &mut input);
    damaged.extend_from_slice(&[0; 64]); // written ahead
    match open(&folder, &damaged) {
        Ok(found) => {
            assert!(log.entries.starts_with(&found), "what is read was written");
            let kept = first < synced || found.len() >= log.entries_synced;
            assert!(kept, "what was synced and not damaged is there");
            let again = std::fs::read(folder.path(1)).expect("it is there");
            assert_eq!(open(&folder, &again).ok(), Some(found), "a cut is made once");
        }
        Err(Fault(why)) => assert!(first < synced, "a torn tail is no fault: {why}"),
    }
}

/// The bytes, damaged as an input says, and where the damage begins. Checksums of 32 bits see
/// any burst up to as long; a whole range of zeros is what a lost write leaves.
fn damaged(whole: &[u8], input: &mut Input<'_>) -> (Vec<u8>, usize) {
    let mut bytes = whole.to_vec();
    let at = usize::from(input.number()) % (bytes.len() + 1);
    match input.byte() % 3 {
        0 => bytes.truncate(at),
        1 => {
            let burst = input.take(4);
            bytes.iter_mut().skip(at).zip(burst).for_each(|(byte, damage)| *byte ^= damage);
        }
        _ => {
            let length = usize::from(input.number());
            bytes.iter_mut().skip(at).take(length).for_each(|byte| *byte = 0);
        }
    }
    let same = bytes.iter().zip(whole).take_while(|(one, other)| one == other).count();
    (bytes, same)
}

fn damage_seeds() -> Vec<Vec<u8>> {
    let log = |damage: &[u8]| {
        let mut out = vec![6];
        for (at, payload) in ["one", "", "three", "four and more", "5", "six"].iter().enumerate() {
            out.push(if at == 3 { 0 } else { u8::try_from(at).unwrap_or_default() });
            out.extend(crate::fuzz::pieces(&[payload]));
        }
        out.extend_from_slice(damage);
        out
    };
    vec![
        log(&[]),
        log(&[0, 100, 0]),
        log(&[0, 200, 0]),
        log(&[0, 70, 1, 1, 2, 3, 4]),
        log(&[0, 230, 1, 128, 0, 0, 1]),
        log(&[0, 120, 2, 0, 60]),
        log(&[0, 220, 2, 1, 0]),
    ]
}

/// Records as they are said to stand, with checksums that are right: a disk does not lie so, but
/// a file may be anybody's.
fn any(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let (mut log, _dir, folder) = Log::new();
    for _ in 0..input.byte() % 32 {
        let Some(kind) = Kind::from_code(input.byte() % 7 + 1) else { continue };
        let index = u64::from_le_bytes(array(&mut input));
        let term = u64::from(input.byte());
        let payload = Bytes::copy_from_slice(input.piece());
        log.put(Record { kind, term, index, payload });
    }
    log.bytes.extend_from_slice(input.rest());
    let Ok(found) = open(&folder, &log.bytes) else { return };
    let again = std::fs::read(folder.path(1)).expect("it is there");
    assert_eq!(open(&folder, &again).ok(), Some(found), "a cut is made once");
}

fn array(input: &mut Input<'_>) -> [u8; 8] {
    let mut bytes = [0; 8];
    let taken = input.take(8);
    bytes[..taken.len()].copy_from_slice(taken);
    bytes
}

fn any_seeds() -> Vec<Vec<u8>> {
    let record = |kind: u8, index: u64| {
        let head = [&[kind - 1], &index.to_le_bytes()[..], &[1]].concat();
        [head, crate::fuzz::pieces(&["x"])].concat()
    };
    let log = |records: &[(u8, u64)]| {
        let mut out = vec![u8::try_from(records.len()).unwrap_or_default()];
        for (kind, index) in records {
            out.extend(record(*kind, *index));
        }
        out
    };
    vec![
        log(&[(1, 0), (2, 1), (2, 2), (5, 2), (2, 2)]),
        log(&[(4, 1), (6, 7), (2, 8), (2, 9), (7, 8)]),
        log(&[(1, 0), (2, 1), (6, u64::MAX)]),
        [log(&[(1, 0)]), vec![7; 90]].concat(),
    ]
}
