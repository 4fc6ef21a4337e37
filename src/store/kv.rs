//! Operations on keys: put, delete, tree, compare-and-set, lock, unlock, guards and reads.
//!
//! Source: Consul HTTP API, "KV Store" and "Transactions". One thing is better on purpose: a
//! plain write keeps `lock_index`, so that it counts acquisitions and can serve as a fence.

use std::sync::Arc;

use bytes::Bytes;

use super::overlay::Overlay;
use super::step::Step;
use crate::model::{Index, KvEntry, KvOp, KvWrite, Refusal, Reply, SessionId, TxnResult};

/// One operation on its own: whether it took effect.
pub(crate) fn apply(step: &mut Step<'_>, op: &KvOp) -> Reply {
    let mut overlay = Overlay::new(step.tables, step.index);
    let outcome = run(&mut overlay, op);
    let pending = overlay.into_pending();
    match outcome {
        Ok(_) => {
            pending.commit(step);
            Reply::Flag(true)
        }
        Err(Refusal::NoSuchSession(id)) => Reply::Refused(Refusal::NoSuchSession(id)),
        Err(_) => Reply::Flag(false),
    }
}

/// Runs one operation over the writes so far.
pub(crate) fn run(overlay: &mut Overlay<'_>, op: &KvOp) -> Result<Vec<TxnResult>, Refusal> {
    let key = op.key.as_str();
    match &op.verb {
        KvWrite::Set { value, flags } => Ok(write(put(overlay, key, value, *flags))),
        KvWrite::Cas { value, flags, index } => {
            let known = if planted!("planted_b16") {
                // B16: whether it is the same key, not whether it changed since.
                overlay.get(key).map_or(Index(0), |entry| entry.create) <= *index
                    && overlay.get(key).is_some() == (*index != Index(0))
            } else {
                index_of(overlay, key) == *index
            };
            if !known {
                return Err(Refusal::SetStale(key.to_owned()));
            }
            Ok(write(put(overlay, key, value, *flags)))
        }
        KvWrite::Lock { value, flags, session } => {
            lock(overlay, key, *session)?;
            Ok(write(put_held(overlay, key, (value, *flags), Some(*session))))
        }
        KvWrite::Unlock { value, flags, session } => {
            let holder = overlay.get(key).and_then(|entry| entry.session);
            // B15: it is enough that somebody holds it.
            if holder != Some(*session) && !(planted!("planted_b15") && holder.is_some()) {
                return Err(Refusal::LockNotHeld(key.to_owned()));
            }
            Ok(write(put_held(overlay, key, (value, *flags), None)))
        }
        KvWrite::Delete => {
            overlay.remove(key);
            Ok(Vec::new())
        }
        KvWrite::DeleteCas { index } => {
            let current = index_of(overlay, key);
            if current != Index(0) && current != *index {
                return Err(Refusal::DeleteStale(key.to_owned()));
            }
            overlay.remove(key);
            Ok(Vec::new())
        }
        KvWrite::DeleteTree => {
            overlay.remove_tree(key);
            Ok(Vec::new())
        }
        KvWrite::Get | KvWrite::GetOrEmpty | KvWrite::GetTree => read(overlay, op),
        KvWrite::CheckIndex { .. } | KvWrite::CheckSession { .. } | KvWrite::CheckNotExists => {
            guard(overlay, op)
        }
    }
}

fn read(overlay: &Overlay<'_>, op: &KvOp) -> Result<Vec<TxnResult>, Refusal> {
    let seen = |entry| TxnResult::Kv { entry, with_value: true };
    if op.verb == KvWrite::GetTree {
        return Ok(overlay.under(&op.key).into_iter().map(seen).collect());
    }
    match overlay.get(&op.key) {
        Some(entry) => Ok(vec![seen(Arc::clone(entry))]),
        None if op.verb == KvWrite::GetOrEmpty => Ok(vec![seen(Arc::new(empty(&op.key)))]),
        None => Err(Refusal::KeyMissing(op.key.clone())),
    }
}

fn guard(overlay: &Overlay<'_>, op: &KvOp) -> Result<Vec<TxnResult>, Refusal> {
    let key = op.key.clone();
    let found = overlay.get(&key);
    if op.verb == KvWrite::CheckNotExists {
        return if found.is_some() { Err(Refusal::KeyExists(key)) } else { Ok(Vec::new()) };
    }
    let Some(entry) = found else {
        return Err(match op.verb {
            KvWrite::CheckIndex { .. } => Refusal::IndexGuardMissing(key),
            _ => Refusal::SessionGuardMissing(key),
        });
    };
    let holder = || entry.session.as_ref().map(SessionId::to_string).unwrap_or_default();
    match &op.verb {
        KvWrite::CheckIndex { index: wanted } if entry.modify != *wanted => {
            Err(Refusal::IndexDiffers { key, current: entry.modify, wanted: *wanted })
        }
        KvWrite::CheckSession { session: wanted } if holder() != *wanted => {
            let (current, wanted) = (entry.session, wanted.clone());
            Err(Refusal::SessionDiffers { key, current, wanted })
        }
        _ => Ok(write(Arc::clone(entry))),
    }
}

/// Whether a session may take a lock: it lives, the lock does not rest, nobody else holds it.
fn lock(overlay: &Overlay<'_>, key: &str, session: SessionId) -> Result<(), Refusal> {
    let rests = overlay.tables.kv.lock_delay(key);
    if rests.is_some_and(|until| until > overlay.tables.counters.clock) {
        return Err(Refusal::LockDelay(key.to_owned()));
    }
    if overlay.tables.sessions.get(session).is_none() {
        return Err(Refusal::NoSuchSession(session));
    }
    match overlay.get(key).and_then(|entry| entry.session) {
        Some(holder) if holder != session => Err(Refusal::LockHeld(key.to_owned())),
        Some(_) | None => Ok(()),
    }
}

fn put(overlay: &mut Overlay<'_>, key: &str, value: &Bytes, flags: u64) -> Arc<KvEntry> {
    let holder = overlay.get(key).and_then(|entry| entry.session);
    put_held(overlay, key, (value, flags), holder)
}

/// Writes a key with its holder. An entry that stays as it is keeps its index.
fn put_held(
    overlay: &mut Overlay<'_>,
    key: &str,
    (value, flags): (&Bytes, u64),
    session: Option<SessionId>,
) -> Arc<KvEntry> {
    let before = overlay.get(key).map(Arc::clone);
    let mut entry = before.as_ref().map_or_else(|| empty(key), |before| KvEntry::clone(before));
    if session.is_some() && entry.session != session {
        entry.lock_index += 1;
    }
    entry.value = value.clone();
    entry.flags = flags;
    entry.session = session;
    if let Some(before) = before {
        if *before == entry {
            return before;
        }
    } else {
        entry.create = overlay.index;
    }
    entry.modify = overlay.index;
    overlay.put(entry)
}

fn empty(key: &str) -> KvEntry {
    KvEntry {
        key: key.to_owned(),
        value: Bytes::new(),
        flags: 0,
        session: None,
        lock_index: 0,
        create: Index(0),
        modify: Index(0),
    }
}

/// The index that last changed a key; 0 where there is none.
fn index_of(overlay: &Overlay<'_>, key: &str) -> Index {
    overlay.get(key).map_or(Index(0), |entry| entry.modify)
}

fn write(entry: Arc<KvEntry>) -> Vec<TxnResult> {
    vec![TxnResult::Kv { entry, with_value: false }]
}

/// Forgets deletions up to an index; the newest of them stays known as a number.
pub(crate) fn reap(step: &mut Step<'_>, index: Index) {
    let due: Vec<(Index, String)> = step
        .tables
        .kv
        .oldest_tombstones()
        // B21: also those that are younger, of which the index below is not raised.
        .take_while(|(tombstone, _)| tombstone.index <= index || planted!("planted_b21"))
        .map(|(tombstone, key)| (tombstone.index, key.to_owned()))
        .collect();
    for (deleted, key) in due {
        step.dirty(super::tables::Row::Tombstone(key.clone()));
        step.tables.kv.unbury(&key);
        let deleted = if planted!("planted_b21") { deleted.min(index) } else { deleted };
        let last = &mut step.tables.counters.last;
        last.reaped = last.reaped.max(deleted);
    }
}
