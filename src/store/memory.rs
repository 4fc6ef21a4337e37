//! The database of a simulation: in memory, and as forgetful as RocksDB without its own log. After
//! a loss of power there is what was flushed, and of what was written later some first part.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::database::{Failure, Row};
use crate::codec;

/// The file of a checkpoint.
const ROWS: &str = "rows";

static ON: AtomicBool = AtomicBool::new(false);
/// By folder: what a process that starts again finds there.
static DATABASES: Mutex<BTreeMap<PathBuf, Arc<Mutex<State>>>> = Mutex::new(BTreeMap::new());

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// One change.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Put(Vec<u8>, Vec<u8>),
    Delete(Vec<u8>),
    DeleteRange(Vec<u8>, Vec<u8>),
}

/// An open database.
pub(crate) struct Memory(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    rows: Rows,
    flushed: Rows,
    /// What was written since, each with what belongs together.
    later: Vec<Vec<Change>>,
    /// The power was cut under it.
    dead: bool,
}

/// Has every database that is opened from now on be one in memory.
pub fn simulate() {
    ON.store(true, Ordering::SeqCst);
}

/// Cuts the power of the databases below `dir`: of what each had written and not flushed, the
/// first `keep(how many)` writes stay.
pub fn cut(dir: &Path, mut keep: impl FnMut(usize) -> usize) {
    let mut databases = DATABASES.lock();
    for database in databases.iter_mut().filter(|(path, _)| path.starts_with(dir)) {
        let mut old = database.1.lock();
        old.dead = true;
        let kept = keep(old.later.len());
        let mut rows = old.flushed.clone();
        old.later.iter().take(kept).for_each(|changes| apply(&mut rows, changes));
        drop(old);
        let next = State { flushed: rows.clone(), rows, ..State::default() };
        *database.1 = Arc::new(Mutex::new(next));
    }
}

/// Whether databases are in memory.
pub(crate) fn is_on() -> bool {
    ON.load(Ordering::SeqCst)
}

fn apply(rows: &mut Rows, changes: &[Change]) {
    for change in changes {
        match change {
            Change::Put(name, value) => drop(rows.insert(name.clone(), value.clone())),
            Change::Delete(name) => drop(rows.remove(name)),
            Change::DeleteRange(from, to) => rows.retain(|name, _| name < from || name >= to),
        }
    }
}

impl Memory {
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let mut databases = DATABASES.lock();
        if !path.exists() {
            fs::create_dir(path)?;
            databases.remove(path);
        }
        if let Some(state) = databases.get(path) {
            return Ok(Self(Arc::clone(state)));
        }
        let rows: Rows = match fs::read(path.join(ROWS)) {
            Ok(bytes) => codec::decode(&bytes)?,
            Err(_) => Rows::default(), // no checkpoint was brought here
        };
        let state = State { flushed: rows.clone(), rows, ..State::default() };
        let state = Arc::new(Mutex::new(state));
        databases.insert(path.to_owned(), Arc::clone(&state));
        Ok(Self(state))
    }

    pub(crate) fn get(&self, name: &[u8]) -> Option<Vec<u8>> {
        self.0.lock().rows.get(name).cloned()
    }

    pub(crate) fn rows_from(&self, name: &[u8]) -> Vec<Row> {
        let state = self.0.lock();
        let rows = state.rows.range(name.to_vec()..);
        rows.map(|(name, value)| (name.clone().into(), value.clone().into())).collect()
    }

    pub(crate) fn write(&self, changes: Vec<Change>) -> Result<(), Failure> {
        let mut state = self.alive()?;
        apply(&mut state.rows, &changes);
        state.later.push(changes);
        Ok(())
    }

    pub(crate) fn flush(&self) -> Result<(), Failure> {
        let mut state = self.alive()?;
        state.flushed = state.rows.clone();
        state.later.clear();
        Ok(())
    }

    pub(crate) fn checkpoint(&self, to: &Path) -> Result<(), Failure> {
        self.flush()?;
        fs::create_dir(to)?;
        fs::write(to.join(ROWS), codec::encode(&self.0.lock().rows))?;
        Ok(())
    }

    fn alive(&self) -> Result<parking_lot::MutexGuard<'_, State>, Failure> {
        let state = self.0.lock();
        if state.dead { Err("the power of this disk was cut".into()) } else { Ok(state) }
    }
}
