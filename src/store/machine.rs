//! The writing side: batches of envelopes in, replies and changes out, the persister behind.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock, RwLockWriteGuard};

use super::apply;
use super::engine::{Batch, Engine};
use super::fault::Fault;
use super::folder::Folders;
use super::persist::{Persister, Ticket};
use super::step::{Journal, Step};
use super::tables::Tables;
use super::view::View;
use crate::codec;
use crate::model::{Envelope, Index, Topic, Written};

/// Makes a checkpoint in the folder that it is given, which must not be there yet, and returns
/// the position inside. May run on any thread, while commands are applied.
pub type Checkpoint = Box<dyn FnOnce(&Path) -> Result<Bytes, Fault> + Send>;

/// The writing side of the state. One owner; readers hold a [`View`].
///
/// Dropped, it writes what was applied; [`Store::flush`] says whether that went well.
#[derive(Debug)]
pub struct Store {
    folders: Folders,
    engine: Arc<Engine>,
    persister: Persister,
    tables: Arc<RwLock<Tables>>,
    /// As [`View::changes`].
    changes: Arc<AtomicU64>,
    /// The newest position that was applied; changes under the tables' lock.
    applied: Arc<Mutex<Option<Bytes>>>,
    durable: Arc<Mutex<Durable>>,
}

/// The newest position that a crash cannot take.
#[derive(Debug, Default)]
struct Durable {
    ticket: Ticket,
    position: Option<Bytes>,
}

/// What a batch brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// One reply for each payload, in order, each with the index right after its command.
    pub replies: Vec<Written>,
    /// What changed, each thing once, in order.
    pub changes: Vec<Topic>,
    /// The store's index after the batch.
    pub index: Index,
}

impl Store {
    /// Opens the state in a folder, making both where they are not there.
    ///
    /// Returns once the tables are rebuilt: about a microsecond a row.
    ///
    /// # Errors
    ///
    /// [`Fault`] if the disk fails, or the state is damaged or of another format.
    pub fn open(dir: &Path) -> Result<(Self, View), Fault> {
        let folders = Folders::open(dir)?;
        let engine = Arc::new(Engine::open(&folders.path())?);
        let (tables, position) = engine.load()?;
        let tables = Arc::new(RwLock::new(tables));
        let store = Self {
            persister: Persister::start(Arc::clone(&engine))?,
            folders,
            engine,
            tables: Arc::clone(&tables),
            changes: Arc::default(),
            applied: Arc::new(Mutex::new(position.clone())),
            durable: Arc::new(Mutex::new(Durable { ticket: 0, position })),
        };
        let view = View::new(tables, Arc::clone(&store.changes), Arc::clone(&store.applied));
        Ok((store, view))
    }

    /// The newest position that a crash cannot take: after [`Store::open`] the one that was
    /// found on disk, later the one of the last flush, checkpoint or restore.
    ///
    /// Everything behind it must be applied again after a crash. `None`: nothing is stored.
    pub fn position(&self) -> Option<Bytes> {
        self.durable.lock().position.clone()
    }

    /// Applies payloads in order, each an encoded [`Envelope`]. `position` is the log's own mark
    /// behind the last of them; with no payloads it moves alone.
    ///
    /// Readers see all of the batch once this returns, and none of it before. It is then in
    /// memory and handed to the persister; waits while [`crate::limits::PERSIST_QUEUE_MAX`] batches
    /// are not written yet. How payloads are cut into batches changes nothing.
    ///
    /// # Errors
    ///
    /// [`Fault`] if a payload is no envelope, or an earlier batch could not be written.
    pub fn apply(&mut self, payloads: &[Bytes], position: Bytes) -> Result<Applied, Fault> {
        failpoint!("store.apply.before", Fault::new);
        let envelopes = payloads.iter().map(read).collect::<Result<Vec<Envelope>, Fault>>()?;
        let mut journal = Journal::default();
        let mut tables = self.tables.write();
        let mut replies = Vec::with_capacity(envelopes.len());
        for envelope in &envelopes {
            replies.push(apply::apply(Step::begin(&mut tables, &mut journal), envelope));
            #[cfg(test)]
            super::invariants::hold(&tables);
        }
        if !journal.rows.is_empty() {
            self.changes.fetch_add(1, Ordering::Relaxed);
        }
        *self.applied.lock() = Some(position.clone());
        // Readers may go on while what changed is collected: nobody else writes.
        let tables = RwLockWriteGuard::downgrade(tables);
        let index = tables.counters.index;
        let batch = batch(&tables, &mut journal, position);
        drop(tables);
        if planted!("planted_b08") {
            self.engine.write_position(&batch.position)?; // B08: at once, the rows of it later
        }
        failpoint!("store.apply.before_persist", Fault::new);
        self.persister.send(batch)?;
        Ok(Applied { replies, changes: journal.topics.into_iter().collect(), index })
    }

    /// Prepares a checkpoint of the state as it is now or somewhat later.
    ///
    /// Returns at once; the work is in what it returns. That waits for the persister, makes the
    /// checkpoint, and names the position inside, which is not before this call's.
    ///
    /// # Errors
    ///
    /// None today; the checkpoint itself ends in a [`Fault`] if the disk fails. If the state is
    /// restored from elsewhere before it runs, it is still of the state before.
    pub fn checkpoint(&mut self) -> Result<Checkpoint, Fault> {
        let (queue, ticket) = self.persister.barrier();
        let (engine, durable) = (Arc::clone(&self.engine), Arc::clone(&self.durable));
        let applied = self.applied.lock().clone();
        Ok(Box::new(move |to| {
            queue.wait(ticket)?;
            let inside = engine.checkpoint(to)?;
            durable.lock().raise(ticket, applied);
            Ok(inside)
        }))
    }

    /// Replaces the whole state by the files of a checkpoint. `position` is the log's mark of it.
    ///
    /// The folder is not changed. Returns once the new state is durable and every [`View`] shows
    /// it; a crash at any moment leaves the old state or the new one, whole. Waking the readers
    /// ([`Topic::All`]) is the caller's matter.
    ///
    /// # Errors
    ///
    /// [`Fault`] if the disk fails, or the files are damaged or of another format.
    pub fn restore(&mut self, dir: &Path, position: Bytes) -> Result<(), Fault> {
        let next = self.folders.adopt(dir)?;
        failpoint!("restore.adopt.after", Fault::new);
        let engine = Arc::new(Engine::open(&next)?);
        let (mut tables, inside) = engine.load()?;
        if planted!("planted_b09") {
            tables.sessions = super::tables::SessionTable::default(); // B09: not brought along
        }
        if inside.as_ref() != Some(&position) {
            engine.write_position(&position)?;
        }
        engine.flush()?;
        let persister = Persister::start(Arc::clone(&engine))?;
        failpoint!("restore.switch.before", Fault::new);
        self.folders.switch()?;
        failpoint!("restore.shown.before");

        let mut shown = self.tables.write();
        *shown = tables;
        *self.applied.lock() = Some(position.clone());
        self.changes.fetch_add(1, Ordering::Relaxed);
        drop(shown);
        // The old one writes what still waits: a checkpoint under way may be waiting for it.
        drop(std::mem::replace(&mut self.persister, persister));
        self.durable = Arc::new(Mutex::new(Durable { ticket: 0, position: Some(position) }));
        let old = std::mem::replace(&mut self.engine, engine);
        // A checkpoint under way may still read the old files: then the next start removes them.
        if Arc::into_inner(old).is_some() {
            self.folders.sweep()?;
        }
        Ok(())
    }

    /// Makes everything that was applied durable. Returns once it is.
    ///
    /// # Errors
    ///
    /// [`Fault`] if the disk fails.
    pub fn flush(&mut self) -> Result<(), Fault> {
        let (queue, ticket) = self.persister.barrier();
        queue.wait(ticket)?;
        self.engine.flush()?;
        self.durable.lock().raise(ticket, self.applied.lock().clone());
        Ok(())
    }
}

impl Durable {
    fn raise(&mut self, ticket: Ticket, position: Option<Bytes>) {
        if ticket >= self.ticket {
            *self = Self { ticket, position };
        }
    }
}

fn read(payload: &Bytes) -> Result<Envelope, Fault> {
    codec::decode(payload).map_err(|error| {
        Fault::new(format!("log entry of {} bytes is no envelope: {error}", payload.len()))
    })
}

/// What has to be stored after a batch: each touched row once, as it stands now.
pub(super) fn batch(tables: &Tables, journal: &mut Journal, position: Bytes) -> Batch {
    let rows = std::mem::take(&mut journal.rows).into_iter();
    let rows = rows.map(|row| {
        let record = tables.record(&row);
        (row, record)
    });
    Batch {
        wiped: journal.wiped,
        rows: rows.collect(),
        counters: tables.counters.clone(),
        position,
    }
}
