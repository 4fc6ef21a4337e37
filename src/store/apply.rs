//! One command to its reply. The list of commands is closed: a new one does not compile until it
//! has its line here.
#![deny(clippy::wildcard_enum_match_arm)]

use super::step::Step;
use super::{autopilot, backup, catalog, checks, coordinates, kv, prepared, sessions, txn};
use crate::codec;
use crate::model::{Command, Envelope, Index, Refusal, Reply, Written};

/// Applies one envelope: first the time, then the renewals, then the command.
pub(crate) fn apply(mut step: Step<'_>, envelope: &Envelope) -> Written {
    step.advance(envelope.at);
    for renewal in &envelope.renewals {
        sessions::renew(&mut step, renewal);
    }
    let reply = match codec::decode::<Command>(&envelope.command) {
        Ok(command) => dispatch(&mut step, command),
        Err(_) => Reply::Refused(Refusal::UnknownCommand),
    };
    let index: Index = step.end();
    Written { reply, index }
}

fn dispatch(step: &mut Step<'_>, command: Command) -> Reply {
    match command {
        Command::Tick => Reply::Done,
        Command::Kv(op) => kv::apply(step, &op),
        Command::Txn(ops) => txn::apply(step, ops),
        Command::SessionCreate(spec) => sessions::create(step, &spec),
        Command::SessionDestroy(id) => {
            sessions::end(step, id);
            Reply::Done
        }
        Command::SessionExpire { id, sequence } => {
            sessions::expire(step, id, sequence);
            Reply::Done
        }
        Command::Register(registration) => catalog::register(step, *registration),
        Command::Deregister(what) => {
            catalog::deregister(step, &what);
            Reply::Done
        }
        Command::CheckUpdate(updates) => {
            checks::update(step, &updates);
            Reply::Done
        }
        Command::TombstoneReap(index) => {
            kv::reap(step, index);
            Reply::Done
        }
        Command::Restore(backup) => backup::restore(step, *backup),
        Command::RestorePart { id, part, records } => backup::stage(step, id, part, *records),
        Command::Autopilot { settings, index } => autopilot::set(step, *settings, index),
        Command::RestoreParts { id, parts } => backup::restore_staged(step, id, parts),
        Command::PreparedCreate(query) => prepared::create(step, *query),
        Command::PreparedUpdate(query) => prepared::update(step, *query),
        Command::PreparedDelete(id) => prepared::delete(step, id),
        Command::CoordinateUpdate(updates) => {
            coordinates::update(step, updates);
            Reply::Done
        }
    }
}
