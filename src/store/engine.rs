//! RocksDB as it is used here: one ordered map, batches without its own log, checkpoints.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rocksdb::checkpoint::Checkpoint;
use rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, IteratorMode, Options, WriteBatch,
    WriteOptions,
};

use super::encoding::{self, COUNTERS_ROW, FORMAT, FORMAT_ROW, POSITION_ROW, TABLES_RANGE};
use super::fault::Fault;
use super::tables::{Counters, Record, Row, Tables};
use crate::codec;

/// Bytes that are collected in memory before a table file is written.
const WRITE_BUFFER_BYTES: usize = 32 * 1024 * 1024;
/// Write buffers at once: one that fills and one that is written out.
const WRITE_BUFFERS: i32 = 2;
/// Bytes of blocks kept in memory; only a start reads.
const BLOCK_CACHE_BYTES: usize = 32 * 1024 * 1024;
/// Table files open at once.
const OPEN_FILES_MAX: i32 = 256;
/// Threads for flushes and compactions.
const BACKGROUND_JOBS: i32 = 2;
/// Logs of RocksDB's own that are kept, and the longest of them in bytes.
const INFO_LOGS: usize = 2;
const INFO_LOG_BYTES: usize = 1024 * 1024;

/// All that one apply changed.
#[derive(Debug)]
pub(crate) struct Batch {
    /// Whether everything that was stored goes first.
    pub(crate) wiped: bool,
    /// Each changed row with what stands there now.
    pub(crate) rows: Vec<(Row, Option<Record>)>,
    /// The counters after it.
    pub(crate) counters: Counters,
    /// The position in the log after it.
    pub(crate) position: Bytes,
}

impl Batch {
    /// About how many bytes it takes.
    pub(crate) fn weight(&self) -> usize {
        const FIXED: usize = 256;
        let records = self.rows.iter().filter_map(|(_, record)| record.as_ref());
        FIXED + records.map(encoding::weight).sum::<usize>() + self.rows.len() * FIXED / 2
    }
}

/// An open database.
pub(crate) struct Engine {
    db: DB,
    path: PathBuf,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Engine {
    /// Opens the database in a folder, or makes one there.
    ///
    /// # Errors
    ///
    /// [`Fault`] if the disk fails or the database is of another format or damaged.
    pub(crate) fn open(path: &Path) -> Result<Self, Fault> {
        let db = DB::open(&options(), path).map_err(|error| Fault::at("open", path, error))?;
        let engine = Self { db, path: path.to_owned() };
        match engine.get::<u32>(FORMAT_ROW)? {
            Some(FORMAT) => {}
            Some(other) => {
                let why = format!("format {other}, this program reads format {FORMAT}");
                return Err(Fault::at("open", path, why));
            }
            None if engine.db.iterator(IteratorMode::Start).next().is_none() => {
                let mut first = WriteBatch::default();
                first.put(FORMAT_ROW, codec::encode(&FORMAT));
                engine.put(first)?;
            }
            None => return Err(Fault::at("open", path, "rows are there, but no format")),
        }
        Ok(engine)
    }

    /// Everything that is stored: the tables, and the position in the log that they stand at.
    ///
    /// # Errors
    ///
    /// [`Fault`] if the disk fails or a row does not parse or hangs on nothing.
    pub(crate) fn load(&self) -> Result<(Tables, Option<Bytes>), Fault> {
        let mut tables = Tables::default();
        let from = IteratorMode::From(TABLES_RANGE.0, rocksdb::Direction::Forward);
        for row in self.db.iterator(from) {
            let (name, bytes) = row.map_err(|error| Fault::at("read", &self.path, error))?;
            let (row, record) = encoding::read(&name, &bytes)?;
            let told = format!("row {row:?} hangs on nothing");
            if !tables.load(row, record) {
                return Err(Fault::at("read", &self.path, told));
            }
        }
        tables.counters = self.get(COUNTERS_ROW)?.unwrap_or_default();
        Ok((tables, self.get(POSITION_ROW)?))
    }

    fn get<T: serde::de::DeserializeOwned>(&self, name: &[u8]) -> Result<Option<T>, Fault> {
        let found = self.db.get(name).map_err(|error| Fault::at("read", &self.path, error))?;
        found.map(|bytes| encoding::parse(name, &bytes)).transpose()
    }

    /// Writes a batch, whole or not at all. Durable only once it is flushed.
    ///
    /// # Errors
    ///
    /// [`Fault`] if the disk fails.
    pub(crate) fn write(&self, batch: &Batch) -> Result<(), Fault> {
        failpoint!("persist.write.before", Fault::new);
        let mut bytes = WriteBatch::default();
        if batch.wiped {
            bytes.delete_range(TABLES_RANGE.0, TABLES_RANGE.1);
        }
        for (row, record) in &batch.rows {
            let name = encoding::name(row);
            match record {
                Some(record) => bytes.put(name, encoding::value(record)),
                None => bytes.delete(name),
            }
        }
        bytes.put(COUNTERS_ROW, codec::encode(&batch.counters));
        if !planted!("planted_b08") {
            bytes.put(POSITION_ROW, codec::encode(&batch.position));
        }
        self.put(bytes)
    }

    /// Replaces the position alone.
    ///
    /// # Errors
    ///
    /// [`Fault`] if the disk fails.
    pub(crate) fn write_position(&self, position: &Bytes) -> Result<(), Fault> {
        let mut bytes = WriteBatch::default();
        bytes.put(POSITION_ROW, codec::encode(position));
        self.put(bytes)
    }

    fn put(&self, batch: WriteBatch) -> Result<(), Fault> {
        let mut how = WriteOptions::default();
        how.disable_wal(true);
        let written = self.db.write_opt(batch, &how);
        written.map_err(|error| Fault::at("write", &self.path, error))
    }

    /// Makes everything that was written durable.
    ///
    /// # Errors
    ///
    /// [`Fault`] if the disk fails.
    pub(crate) fn flush(&self) -> Result<(), Fault> {
        failpoint!("persist.flush.before", Fault::new);
        self.db.flush().map_err(|error| Fault::at("flush", &self.path, error))
    }

    /// Makes a folder of what is stored now, by links where it can, and gives the position that
    /// is inside; empty if nothing was ever applied. Also makes what it holds durable here.
    ///
    /// # Errors
    ///
    /// [`Fault`] if the disk fails or the folder is there already.
    pub(crate) fn checkpoint(&self, to: &Path) -> Result<Bytes, Fault> {
        failpoint!("checkpoint.make.before", Fault::new);
        let fault = |error| Fault::at("make checkpoint", to, error);
        let made = Checkpoint::new(&self.db).and_then(|it| it.create_checkpoint(to));
        made.map_err(fault)?;
        failpoint!("checkpoint.make.after");
        let copy = DB::open_for_read_only(&options(), to, false).map_err(fault)?;
        let found = copy.get(POSITION_ROW).map_err(fault)?;
        drop(copy);
        remove_info_logs(to)?;
        found.map_or(Ok(Bytes::new()), |bytes| encoding::parse(POSITION_ROW, &bytes))
    }
}

/// Looking into a checkpoint leaves a log there, which is no part of it.
fn remove_info_logs(folder: &Path) -> Result<(), Fault> {
    let fault = |error| Fault::at("tidy", folder, error);
    for entry in fs::read_dir(folder).map_err(fault)? {
        let entry = entry.map_err(fault)?;
        if entry.file_name().to_string_lossy().starts_with("LOG") {
            fs::remove_file(entry.path()).map_err(fault)?;
        }
    }
    Ok(())
}

fn options() -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(&Cache::new_lru_cache(BLOCK_CACHE_BYTES));
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_block_based_table_factory(&blocks);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_atomic_flush(true);
    options.set_paranoid_checks(true);
    options.set_write_buffer_size(WRITE_BUFFER_BYTES);
    options.set_max_write_buffer_number(WRITE_BUFFERS);
    options.set_db_write_buffer_size(WRITE_BUFFER_BYTES * 2);
    options.set_max_open_files(OPEN_FILES_MAX);
    options.set_max_background_jobs(BACKGROUND_JOBS);
    options.set_keep_log_file_num(INFO_LOGS);
    options.set_max_log_file_size(INFO_LOG_BYTES);
    options
}
