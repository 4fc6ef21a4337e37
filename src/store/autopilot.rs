//! Autopilot's settings: one record, set as a whole.

use std::sync::Arc;

use super::step::Step;
use super::tables::Row;
use crate::model::{Autopilot, Index, Reply, Topic};

/// Stores settings, or with `index` only if the stored ones still have it; 0: if there are none.
/// The same settings again change nothing.
pub(crate) fn set(step: &mut Step<'_>, settings: Autopilot, index: Option<Index>) -> Reply {
    let stored = step.tables.autopilot.as_deref();
    let current = stored.map_or(Index(0), |stored| stored.modify);
    if index.is_some_and(|index| index != current) {
        return Reply::Flag(false);
    }
    let create = stored.map_or(step.index, |stored| stored.create);
    let same = stored.is_some_and(|stored| {
        *stored == Autopilot { create: stored.create, modify: stored.modify, ..settings.clone() }
    });
    if !same {
        let settings = Autopilot { create, modify: step.index, ..settings };
        step.dirty(Row::Autopilot);
        step.tables.autopilot = Some(Arc::new(settings));
        step.touch(Topic::Autopilot);
    }
    Reply::Flag(true)
}
