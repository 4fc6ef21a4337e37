//! Given a time, what is due: pure, so that only the leader need ask and every replica can check.

use super::tables::Tables;
use crate::limits::TOMBSTONE_TTL;
use crate::model::{ClusterTime, Command, Index};

/// Tombstones that one reaping looks at; those of the last one's index go with it. Bounds how
/// long a reaping keeps readers out.
const TOMBSTONES_A_REAPING: usize = 4096;

/// At most `most` commands that end what is over at `now`: sessions first, nearest deadline first.
pub(crate) fn due(tables: &Tables, now: ClusterTime, most: usize) -> Vec<Command> {
    let sessions = tables.sessions.deadlines().iter().take_while(|(deadline, _)| *deadline <= now);
    let expiries = sessions
        .filter_map(|(_, id)| tables.sessions.get(*id))
        .map(|session| Command::SessionExpire { id: session.spec.id, sequence: session.sequence });
    expiries.chain(reaping(tables, now)).take(most).collect()
}

fn reaping(tables: &Tables, now: ClusterTime) -> Option<Command> {
    let index: Option<Index> = tables
        .kv
        .oldest_tombstones()
        .take(TOMBSTONES_A_REAPING)
        .take_while(|(tombstone, _)| tombstone.at.after(TOMBSTONE_TTL) <= now)
        .map(|(tombstone, _)| tombstone.index)
        .last();
    index.map(Command::TombstoneReap)
}

/// Whether cluster time matters to anything that is stored.
pub(crate) fn has_deadlines(tables: &Tables) -> bool {
    !tables.sessions.deadlines().is_empty()
        || !tables.kv.lock_delays().is_empty()
        || !tables.kv.tombstones().is_empty()
}
