//! What a command changed so far, kept so that all of it can be taken back: a transaction that
//! touches the catalog runs as single commands do, and is undone when one of its operations fails.

use std::collections::BTreeMap;

use super::step::Journal;
use super::tables::{Last, Record, Row, Tables};

/// The state before the first change on trial, row by row, as far as rows were touched.
#[derive(Debug)]
pub(crate) struct Undo {
    before: BTreeMap<Row, Option<Record>>,
    last: Last,
    moved: bool,
    /// What the commands before this one touched.
    journal: Journal,
}

impl Undo {
    /// Nothing is touched yet.
    pub(crate) fn new(journal: Journal, last: Last, moved: bool) -> Self {
        Self { before: BTreeMap::new(), last, moved, journal }
    }

    /// Remembers what stands in a row, unless an earlier state of it is known already.
    pub(crate) fn note(&mut self, tables: &Tables, row: &Row) {
        if !self.before.contains_key(row) {
            self.before.insert(row.clone(), tables.record(row));
        }
    }

    /// Whether the command had changed anything visible before.
    pub(crate) fn moved(&self) -> bool {
        self.moved
    }

    /// The journal of the commands before; what was on trial stays in the tables.
    pub(crate) fn into_journal(self) -> Journal {
        self.journal
    }

    /// Puts every row back, and gives the journal of the commands before.
    pub(crate) fn restore(self, tables: &mut Tables) -> Journal {
        // Rows are ordered so that what hangs on another comes behind it.
        for row in self.before.keys().rev() {
            tables.clear(row);
        }
        for (row, record) in self.before {
            let Some(record) = record else { continue };
            let shown = format!("{row:?}");
            assert!(tables.load(row, record), "{shown} is put back on what it belongs to");
        }
        tables.counters.last = self.last;
        self.journal
    }
}
