//! The log by itself: what survives, what is cut, what is refused.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tempfile::TempDir;
use tokio::sync::{oneshot, watch};

use super::*;
use crate::error::Fault;
use crate::options::Sync;
use crate::tasks::Tasks;

/// A log in a temporary folder that can be closed and opened.
struct Bench {
    dir: TempDir,
    segment_bytes: u64,
    cache_bytes: usize,
    fault: watch::Sender<Option<String>>,
    open: Option<(Wal, Tasks)>,
}

impl Bench {
    fn new(segment_bytes: u64) -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let fault = watch::Sender::new(None);
        let mut bench = Bench { dir, segment_bytes, cache_bytes: 0, fault, open: None };
        bench.open().unwrap();
        bench
    }

    fn open(&mut self) -> Result<(), Fault> {
        let tasks = Tasks::new();
        let options = WalOptions {
            dir: self.dir.path().to_owned(),
            segment_bytes: self.segment_bytes,
            cache_bytes: self.cache_bytes,
            sync: Sync::Always,
        };
        let wal = Wal::open(options, &tasks, self.fault.clone())?;
        self.open = Some((wal, tasks));
        Ok(())
    }

    fn wal(&self) -> &Wal {
        &self.open.as_ref().unwrap().0
    }

    async fn close(&mut self) {
        let (wal, tasks) = self.open.take().unwrap();
        wal.stop().await;
        tasks.join_threads().await;
    }

    async fn reopen(&mut self) -> Result<(), Fault> {
        self.close().await;
        self.open()
    }

    /// Appends entries in one group and waits for the disk.
    async fn append(&self, entries: &[(u64, u64, &str)]) -> std::io::Result<()> {
        let (sender, receiver) = oneshot::channel();
        let records = entries.iter().map(|(term, index, text)| entry(*term, *index, text));
        let done = Box::new(|result| sender.send(result).unwrap());
        self.wal().append(records.collect(), done).await?;
        receiver.await.unwrap()
    }

    async fn texts(&self) -> Vec<(u64, u64, String)> {
        let records = self.wal().read(0..u64::MAX, usize::MAX).await.unwrap();
        let text = |record: &Record| String::from_utf8(record.payload.to_vec()).unwrap();
        records.iter().map(|record| (record.term, record.index, text(record))).collect()
    }

    fn segments(&self) -> Vec<PathBuf> {
        let files = std::fs::read_dir(self.dir.path()).unwrap().map(|item| item.unwrap().path());
        let mut files: Vec<_> = files.filter(|path| name(path).starts_with("log-")).collect();
        files.sort();
        files
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

fn entry(term: u64, index: u64, text: &str) -> Record {
    Record { kind: Kind::Normal, term, index, payload: Bytes::from(text.to_owned()) }
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    change(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

fn find(path: &Path, text: &str) -> usize {
    let bytes = std::fs::read(path).unwrap();
    bytes.windows(text.len()).position(|window| window == text.as_bytes()).unwrap()
}

const HEADER: usize = record::HEADER_BYTES;

#[tokio::test]
async fn everything_comes_back() {
    let mut bench = Bench::new(1024 * 1024);
    let vote = VoteRecord { term: 3, node: 2, committed: true };
    bench.append(&[(1, 0, "a"), (1, 1, "b"), (2, 2, "c"), (2, 3, "d")]).await.unwrap();
    bench.wal().truncate(3).await.unwrap();
    bench.append(&[(3, 3, "e"), (3, 4, "")]).await.unwrap();
    bench.wal().save_vote(vote).await.unwrap();
    let committed = LogPosition { term: 3, index: 3 };
    bench.wal().save_committed(Some(committed)).await.unwrap();
    bench.wal().purge(LogPosition { term: 1, index: 1 }).await.unwrap();
    for _ in 0..2 {
        let wanted = [(2, 2, "c"), (3, 3, "e"), (3, 4, "")];
        let wanted = wanted.map(|(term, index, text)| (term, index, text.to_owned()));
        assert_eq!(bench.texts().await, wanted);
        assert_eq!(bench.wal().vote(), Some(vote));
        assert_eq!(bench.wal().committed(), Some(committed));
        let last = LogPosition { term: 3, index: 4 };
        let purged = LogPosition { term: 1, index: 1 };
        assert_eq!(bench.wal().ends(), (Some(purged), Some(last)));
        bench.reopen().await.unwrap();
    }
    let limited = bench.wal().read(0..9, 1).await.unwrap();
    assert_eq!(limited.len(), 1, "at least one entry, and no more than the bound");
    bench.close().await;
}

#[tokio::test]
async fn a_folder_is_used_by_one_at_a_time() {
    let mut bench = Bench::new(4096);
    let options = WalOptions {
        dir: bench.dir.path().to_owned(),
        segment_bytes: 4096,
        cache_bytes: 0,
        sync: Sync::Always,
    };
    let fault = Wal::open(options, &Tasks::new(), bench.fault.clone()).err().unwrap();
    assert!(fault.0.contains("lock: in use"), "{fault}");
    bench.close().await;
}

#[tokio::test]
async fn a_tail_torn_anywhere_is_cut() {
    for keep in 0..(HEADER + 4) {
        let mut bench = Bench::new(4096);
        bench.append(&[(1, 0, "kept")]).await.unwrap();
        bench.append(&[(1, 1, "torn")]).await.unwrap();
        bench.close().await;
        let file = &bench.segments()[0];
        let start = find(file, "torn") - HEADER;
        change(file, |bytes| bytes[start + keep..].fill(0));
        bench.open().unwrap();
        assert_eq!(bench.texts().await, [(1, 0, "kept".to_owned())]);
        bench.append(&[(2, 1, "next")]).await.unwrap();
        bench.reopen().await.unwrap();
        assert_eq!(bench.texts().await.len(), 2);
        bench.close().await;
    }
}

/// The pages of one write may reach the disk in any order: what follows the hole is not proof
/// of damage, and must not come back once the hole is filled with something else.
#[tokio::test]
async fn a_hole_in_the_last_group_is_cut_and_what_followed_stays_gone() {
    let mut bench = Bench::new(4096);
    bench.append(&[(1, 0, "kept")]).await.unwrap();
    bench.append(&[(1, 1, "hole"), (1, 2, "ghost")]).await.unwrap();
    bench.close().await;
    let file = &bench.segments()[0];
    let at = find(file, "hole");
    change(file, |bytes| bytes[at] ^= 1);
    bench.open().unwrap();
    assert_eq!(bench.texts().await.len(), 1);
    bench.append(&[(2, 1, "fill")]).await.unwrap();
    bench.reopen().await.unwrap();
    assert_eq!(bench.texts().await, [(1, 0, "kept".to_owned()), (2, 1, "fill".to_owned())]);
    bench.close().await;
}

#[tokio::test]
async fn damage_before_what_was_synced_is_a_fault_with_its_place() {
    let mut bench = Bench::new(4096);
    bench.append(&[(1, 0, "first")]).await.unwrap();
    bench.append(&[(1, 1, "second")]).await.unwrap();
    bench.append(&[(1, 2, "third")]).await.unwrap();
    bench.close().await;
    let file = &bench.segments()[0];
    let at = find(file, "second");
    change(file, |bytes| bytes[at] ^= 1);
    let fault = bench.open().unwrap_err();
    let offset = format!("damaged at offset {}", at - HEADER);
    assert!(fault.0.contains(&name(file)) && fault.0.contains(&offset), "{fault}");
    // Nothing was changed by the refusal.
    change(file, |bytes| bytes[at] ^= 1);
    bench.open().unwrap();
    assert_eq!(bench.texts().await.len(), 3);
    bench.close().await;
}

#[tokio::test]
async fn damage_in_an_older_segment_is_a_fault() {
    let mut bench = Bench::new(4096);
    let long = "x".repeat(1500);
    for index in 0..6 {
        bench.append(&[(1, index, &long)]).await.unwrap();
    }
    bench.close().await;
    let files = bench.segments();
    assert_eq!(files.len(), 3);
    let intact = std::fs::read(&files[0]).unwrap();
    let last = intact.len() - 1;
    for at in [3, 20, 40, 2000] {
        change(&files[0], |bytes| bytes[at.min(last)] ^= 1);
        let fault = bench.open().unwrap_err();
        assert!(fault.0.contains(&name(&files[0])), "{fault}");
        assert!(fault.0.contains("offset"), "{fault}");
        std::fs::write(&files[0], &intact).unwrap();
    }
    std::fs::remove_file(&files[1]).unwrap();
    let fault = bench.open().unwrap_err();
    assert!(fault.0.contains("missing"), "{fault}");
}

#[tokio::test]
async fn segments_are_recycled_and_their_old_bytes_stay_dead() {
    let mut bench = Bench::new(4096);
    let long = "y".repeat(700);
    for index in 0..200 {
        bench.append(&[(1, index, &long)]).await.unwrap();
        if index >= 10 {
            bench.wal().purge(LogPosition { term: 1, index: index - 10 }).await.unwrap();
        }
    }
    let files = std::fs::read_dir(bench.dir.path()).unwrap().count();
    assert!(files <= 8, "{files} files");
    bench.reopen().await.unwrap();
    let texts = bench.texts().await;
    assert_eq!((texts.len(), texts[0].1, texts[9].1), (10, 190, 199));
    bench.close().await;
}

#[tokio::test]
async fn after_a_failed_write_nothing_succeeds() {
    let mut bench = Bench::new(4096);
    let long = "z".repeat(3000);
    bench.append(&[(1, 0, &long)]).await.unwrap();
    std::fs::remove_dir_all(bench.dir.path()).unwrap();
    let error = bench.append(&[(1, 1, &long)]).await.unwrap_err();
    assert!(error.to_string().contains("log-"), "{error}");
    assert!(bench.fault.borrow().as_ref().unwrap().contains("log-"));
    bench.append(&[(1, 2, "small")]).await.unwrap_err();
    let vote = VoteRecord { term: 1, node: 1, committed: false };
    bench.wal().save_vote(vote).await.unwrap_err();
    bench.close().await;
}

/// Random appends, truncations, purges, votes and reopenings against a plain map.
#[tokio::test]
async fn a_log_is_a_map_that_survives() {
    for seed in 1..=6u64 {
        let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut draw = |below: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % below
        };
        let mut bench = Bench::new(4096);
        bench.cache_bytes = usize::try_from(draw(3) * 2000).unwrap();
        let mut map: BTreeMap<u64, (u64, String)> = BTreeMap::new();
        let (mut next, mut purged, mut term) = (0, None, 1);
        for _ in 0..200 {
            match draw(20) {
                0 => bench.reopen().await.unwrap(),
                1 => {
                    let from = map.keys().next().map_or(next, |first| first + draw(next - first));
                    bench.wal().truncate(from).await.unwrap();
                    map.split_off(&from);
                    (next, term) = (from, term + 1);
                }
                2 => {
                    let upto = draw(next + 2).max(purged.map_or(0, |purged| purged + 1));
                    bench.wal().purge(LogPosition { term, index: upto }).await.unwrap();
                    map = map.split_off(&(upto + 1));
                    (purged, next) = (Some(upto), next.max(upto + 1));
                }
                3 => {
                    let vote = VoteRecord { term, node: draw(5), committed: draw(2) == 0 };
                    bench.wal().save_vote(vote).await.unwrap();
                    assert_eq!(bench.wal().vote(), Some(vote));
                }
                _ => {
                    let count = draw(4) + 1;
                    let size = usize::try_from(draw(600)).unwrap();
                    let text = format!("{seed}-{}", "t".repeat(size));
                    let entries: Vec<_> =
                        (next..next + count).map(|index| (term, index, text.as_str())).collect();
                    bench.append(&entries).await.unwrap();
                    map.extend((next..next + count).map(|index| (index, (term, text.clone()))));
                    next += count;
                }
            }
        }
        bench.reopen().await.unwrap();
        let wanted: Vec<_> = map.into_iter().map(|(i, (term, text))| (term, i, text)).collect();
        assert_eq!(bench.texts().await, wanted, "seed {seed}");
        bench.close().await;
    }
}

#[tokio::test]
async fn another_format_is_no_damage() {
    let mut bench = Bench::new(1 << 20);
    bench.close().await;
    let folder = std::fs::read_dir(bench.dir.path()).unwrap();
    let paths = folder.map(|entry| entry.unwrap().path());
    let mut segments = paths.filter(|path| path.to_string_lossy().contains("log-"));
    let segment = segments.next().unwrap();
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[7] = b'2';
    std::fs::write(&segment, &bytes).unwrap();
    let fault = bench.open().unwrap_err().to_string();
    assert!(fault.contains("damaged"), "its checksum does not fit: {fault}");
    let sum = crc32c::crc32c(&bytes[..24]).to_le_bytes();
    bytes[24..28].copy_from_slice(&sum);
    std::fs::write(&segment, &bytes).unwrap();
    let fault = bench.open().unwrap_err().to_string();
    assert!(fault.contains("format 2") && !fault.contains("damaged"), "{fault}");
}
