//! Where nodes lie in the network. A coordinate goes with its node.

use std::sync::Arc;

use super::step::Step;
use super::tables::{Row, fold};
use crate::model::{NodeCoordinate, Topic};

/// Takes coordinates in. One of a node that is not registered is passed over, and one that says
/// nothing new moves nothing.
pub(crate) fn update(step: &mut Step<'_>, updates: Vec<NodeCoordinate>) {
    for mut update in updates {
        let name = fold(&update.node);
        let Some(record) = step.tables.catalog.node(&name) else { continue };
        update.node.clone_from(&record.node.name);
        if record.coordinates.get(&update.segment).is_some_and(|known| **known == update) {
            continue;
        }
        touch(step, &name, &update.segment);
        let kept = step.tables.catalog.insert_coordinate(Arc::new(update));
        assert!(kept, "a coordinate is stored on a node that is there");
    }
}

/// Notes that a coordinate comes, changes or goes, before it does; the node's name in lower case.
pub(crate) fn touch(step: &mut Step<'_>, node: &str, segment: &str) {
    step.tables.counters.last.coordinates = step.index;
    step.dirty(Row::Coordinate(node.to_owned(), segment.to_owned()));
    step.touch(Topic::Coordinates);
}
