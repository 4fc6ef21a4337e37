//! What is stored of the tables: rows, counters and the position in the log, over a database.

use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::database::{Changes, Database};
use super::encoding::{self, COUNTERS_ROW, FORMAT, FORMAT_ROW, POSITION_ROW, TABLES_RANGE};
use super::fault::Fault;
use super::tables::{Counters, Record, Row, Tables};
use crate::codec;

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
    db: Database,
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
        let db = Database::open(path).map_err(|error| Fault::at("open", path, error))?;
        let engine = Self { db, path: path.to_owned() };
        match engine.get::<u32>(FORMAT_ROW)? {
            Some(FORMAT) => {}
            Some(other) => {
                let why = format!("format {other}, this program reads format {FORMAT}");
                return Err(Fault::at("open", path, why));
            }
            None if engine.db.rows_from(&[]).next().is_none() => {
                let mut first = engine.db.changes();
                first.put(FORMAT_ROW, &codec::encode(&FORMAT));
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
        for row in self.db.rows_from(TABLES_RANGE.0) {
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
        let mut changes = self.db.changes();
        if batch.wiped {
            changes.delete_range(TABLES_RANGE);
        }
        for (row, record) in &batch.rows {
            let name = encoding::name(row);
            match record {
                Some(record) => changes.put(&name, &encoding::value(record)),
                None => changes.delete(&name),
            }
        }
        changes.put(COUNTERS_ROW, &codec::encode(&batch.counters));
        if !planted!("planted_b08") {
            changes.put(POSITION_ROW, &codec::encode(&batch.position));
        }
        self.put(changes)
    }

    /// Replaces the position alone.
    ///
    /// # Errors
    ///
    /// [`Fault`] if the disk fails.
    pub(crate) fn write_position(&self, position: &Bytes) -> Result<(), Fault> {
        let mut changes = self.db.changes();
        changes.put(POSITION_ROW, &codec::encode(position));
        self.put(changes)
    }

    fn put(&self, changes: Changes) -> Result<(), Fault> {
        self.db.write(changes).map_err(|error| Fault::at("write", &self.path, error))
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
        let made = self.db.checkpoint(to, POSITION_ROW);
        let found = made.map_err(|error| Fault::at("make checkpoint", to, error))?;
        failpoint!("checkpoint.make.after");
        found.map_or(Ok(Bytes::new()), |bytes| encoding::parse(POSITION_ROW, &bytes))
    }
}
