//! RocksDB as it is used here: one ordered map, batches without its own log, checkpoints. In a
//! simulation the map is in memory, and forgets as RocksDB does.

use std::error::Error;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use rocksdb::checkpoint::Checkpoint;
use rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, Direction, IteratorMode, Options, WriteBatch,
    WriteOptions,
};

#[cfg(feature = "sim")]
use super::memory::{Change, Memory};

/// Bytes that are collected in memory before a table file is written.
const WRITE_BUFFER_BYTES: usize = 32 * 1024 * 1024;
/// Write buffers at once: one that fills and one that is written out.
const WRITE_BUFFERS: i32 = 2;
/// Bytes of blocks kept in memory; only a start reads.
const BLOCK_CACHE_BYTES: usize = 32 * 1024 * 1024;
/// Table files open at once.
const OPEN_FILES_MAX: i32 = 256;
/// Files that a checkpoint opens at once, somewhat more than that.
const CHECKPOINT_FILES: usize = 32;
/// Threads for flushes and compactions.
const BACKGROUND_JOBS: i32 = 2;
/// Logs of RocksDB's own that are kept, and the longest of them in bytes.
const INFO_LOGS: usize = 2;
const INFO_LOG_BYTES: usize = 1024 * 1024;

/// What went wrong on the disk, in its own words.
pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// A name and what stands there.
pub(crate) type Row = (Box<[u8]>, Box<[u8]>);

/// An open database.
pub(crate) enum Database {
    Rocks(DB),
    #[cfg(feature = "sim")]
    Memory(Memory),
}

/// Changes that are written together.
pub(crate) enum Changes {
    Rocks(WriteBatch),
    #[cfg(feature = "sim")]
    Memory(Vec<Change>),
}

impl Changes {
    /// Puts a row.
    pub(crate) fn put(&mut self, name: &[u8], value: &[u8]) {
        match self {
            Self::Rocks(batch) => batch.put(name, value),
            #[cfg(feature = "sim")]
            Self::Memory(changes) => changes.push(Change::Put(name.into(), value.into())),
        }
    }

    /// Takes a row away.
    pub(crate) fn delete(&mut self, name: &[u8]) {
        match self {
            Self::Rocks(batch) => batch.delete(name),
            #[cfg(feature = "sim")]
            Self::Memory(changes) => changes.push(Change::Delete(name.into())),
        }
    }

    /// Takes all rows away from the first name on, up to and without the second.
    pub(crate) fn delete_range(&mut self, (from, to): (&[u8], &[u8])) {
        match self {
            Self::Rocks(batch) => batch.delete_range(from, to),
            #[cfg(feature = "sim")]
            Self::Memory(changes) => changes.push(Change::DeleteRange(from.into(), to.into())),
        }
    }
}

impl Database {
    /// Opens the database in a folder, or makes one there.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        #[cfg(feature = "sim")]
        if super::memory::is_on() {
            return Ok(Self::Memory(Memory::open(path)?));
        }
        Ok(Self::Rocks(DB::open(&options(), path)?))
    }

    /// No changes yet.
    pub(crate) fn changes(&self) -> Changes {
        match self {
            Self::Rocks(_) => Changes::Rocks(WriteBatch::default()),
            #[cfg(feature = "sim")]
            Self::Memory(_) => Changes::Memory(Vec::new()),
        }
    }

    /// What stands at a name.
    pub(crate) fn get(&self, name: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        match self {
            Self::Rocks(db) => Ok(db.get(name)?),
            #[cfg(feature = "sim")]
            Self::Memory(memory) => Ok(memory.get(name)),
        }
    }

    /// All rows from a name on, in the order of their names.
    pub(crate) fn rows_from<'a>(
        &'a self,
        name: &[u8],
    ) -> Box<dyn Iterator<Item = Result<Row, Failure>> + 'a> {
        match self {
            Self::Rocks(db) => {
                let rows = db.iterator(IteratorMode::From(name, Direction::Forward));
                Box::new(rows.map(|row| row.map_err(Failure::from)))
            }
            #[cfg(feature = "sim")]
            Self::Memory(memory) => Box::new(memory.rows_from(name).into_iter().map(Ok)),
        }
    }

    /// Writes changes, all or none of them. Durable only once they are flushed.
    pub(crate) fn write(&self, changes: Changes) -> Result<(), Failure> {
        match (self, changes) {
            (Self::Rocks(db), Changes::Rocks(batch)) => {
                let mut how = WriteOptions::default();
                how.disable_wal(true);
                Ok(db.write_opt(batch, &how)?)
            }
            #[cfg(feature = "sim")]
            (Self::Memory(memory), Changes::Memory(changes)) => memory.write(changes),
            #[cfg(feature = "sim")]
            _ => Err("changes of another database".into()),
        }
    }

    /// Makes everything that was written durable.
    pub(crate) fn flush(&self) -> Result<(), Failure> {
        match self {
            Self::Rocks(db) => Ok(db.flush()?),
            #[cfg(feature = "sim")]
            Self::Memory(memory) => memory.flush(),
        }
    }

    /// Makes a folder of what is stored now, by links where it can, and gives what stands at
    /// `name` in it. Also makes what it holds durable here.
    pub(crate) fn checkpoint(&self, to: &Path, name: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        match self {
            Self::Rocks(db) => {
                room_for_files()?;
                Checkpoint::new(db)?.create_checkpoint(to)?;
                let copy = DB::open_for_read_only(&options(), to, false)?;
                let found = copy.get(name)?;
                drop(copy);
                remove_info_logs(to)?;
                Ok(found)
            }
            #[cfg(feature = "sim")]
            Self::Memory(memory) => {
                memory.checkpoint(to)?;
                Ok(memory.get(name))
            }
        }
    }
}

/// Whether a checkpoint can open its files now. RocksDB takes one that it cannot open for a fatal
/// fault and writes nothing more; what fails here can be done later.
fn room_for_files() -> Result<(), Failure> {
    let opened: io::Result<Vec<File>> = (0..CHECKPOINT_FILES).map(|_| File::open("/")).collect();
    opened.map(drop).map_err(Failure::from)
}

/// Looking into a checkpoint leaves a log there, which is no part of it.
fn remove_info_logs(folder: &Path) -> Result<(), Failure> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("LOG") {
            fs::remove_file(entry.path())?;
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
