//! Checks: registered, told, removed; and the sessions that end with them.

use std::sync::Arc;

use super::sessions;
use super::step::Step;
use super::tables::{Row, fold};
use crate::model::{Check, CheckStatus, CheckUpdate, Service};

/// Stores a check. One that says nothing new moves nothing; a new output alone is kept silently.
///
/// Its node is there, and so is its instance if it names one.
pub(crate) fn put(step: &mut Step<'_>, mut check: Check) {
    let node = fold(&check.node);
    let before = step.tables.catalog.check(&node, &check.id).map(Arc::clone);
    if let Some(before) = &before {
        check.create = before.create;
        check.modify = before.modify;
        if **before == check {
            return;
        }
        if **before == (Check { output: before.output.clone(), ..check.clone() }) {
            return keep(step, check);
        }
    } else {
        check.create = step.index;
    }
    check.modify = step.index;
    let failed = check.status == CheckStatus::Critical;
    let id = check.id.clone();
    keep(step, check.clone());
    if let Some(before) = &before {
        step.touch_check(before);
    }
    step.touch_check(&check);
    if failed {
        sessions::end_of_check(step, &node, &id);
    }
}

fn keep(step: &mut Step<'_>, check: Check) {
    step.dirty(Row::Check(fold(&check.node), check.id.clone()));
    let kept = step.tables.catalog.insert_check(Arc::new(check));
    assert!(kept, "a check is stored on a node that is there");
}

/// Takes new verdicts in; a check that is not registered is passed over.
pub(crate) fn update(step: &mut Step<'_>, updates: &[CheckUpdate]) {
    for update in updates {
        let Some(check) = step.tables.catalog.check(&fold(&update.node), &update.check) else {
            continue;
        };
        let mut check = Check::clone(check);
        check.status = update.status.clone();
        check.output.clone_from(&update.output);
        put(step, check);
    }
}

/// Gives an instance's checks its name and tags again after it was registered anew.
pub(crate) fn follow_service(step: &mut Step<'_>, service: &Service) {
    let node = fold(&service.node);
    let Some(record) = step.tables.catalog.node(&node) else { return };
    let checks: Vec<Arc<Check>> = record.checks_of(&service.id).map(Arc::clone).collect();
    for check in checks {
        let mut check = Check::clone(&check);
        check.service_name.clone_from(&service.name);
        check.service_tags.clone_from(&service.tags);
        put(step, check);
    }
}

/// Removes a check, and ends the sessions that are bound to it.
pub(crate) fn remove(step: &mut Step<'_>, node: &str, id: &str) {
    if step.tables.catalog.check(node, id).is_none() {
        return;
    }
    step.dirty(Row::Check(node.to_owned(), id.to_owned()));
    let check = step.tables.catalog.remove_check(node, id).expect("the check was just seen");
    step.touch_check(&check);
    sessions::end_of_check(step, node, id);
}
