//! The order of an answer: shuffled, nearest first, cut off. Pure, so that every door does the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::catalog::Instance;
use super::coordinate::{Coordinate, NodeCoordinate};
use super::prepared::Execution;

/// How deep the source's own node is looked for after the distances put it near the front.
/// Source: observed on Consul 1.8.7.
const OWN_PLACE_MAX: usize = 10;

/// Whose nearest come first in the answer of a prepared query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Near {
    /// Nobody's.
    Nobody,
    /// This node's.
    Node(String),
    /// Of the node that has the caller's address.
    Caller,
}

impl Near {
    /// Whose nearest come first, `asked` being the caller's own wish and `agent` the asked
    /// agent's node. The caller's wish goes before the query's.
    ///
    /// Source: Consul HTTP API, "Execute Prepared Query", `near`.
    pub fn of(execution: &Execution, asked: &str, agent: &str) -> Self {
        let wish = if asked.is_empty() { &execution.query.service.near } else { asked };
        match wish {
            "" => Self::Nobody,
            "_agent" => Self::Node(agent.to_owned()),
            "_ip" => Self::Caller,
            node => Self::Node(node.to_owned()),
        }
    }
}

/// How the instances of an execution become an answer.
#[derive(Clone, Copy, Debug)]
pub struct Arrangement<'a> {
    /// Random bits: the same bits give the same order.
    pub seed: u64,
    /// The node whose nearest come first; empty for none.
    pub near: &'a str,
    /// The coordinates of that node and of the instances' nodes, as far as there are any.
    pub coordinates: &'a [Arc<NodeCoordinate>],
    /// The most instances; 0 for all.
    pub limit: usize,
}

/// Brings instances into the order of an answer: shuffled, then nearest first where that is
/// asked, the source's own node at the front, then cut off.
pub fn arrange(mut instances: Vec<Instance>, how: &Arrangement<'_>) -> Vec<Instance> {
    shuffle(&mut instances, how.seed);
    sort_near(&mut instances, how.near, how.coordinates, |one| &one.node.name);
    if !how.near.is_empty() {
        let own = |one: &Instance| one.node.name == how.near;
        if let Some(place) = instances.iter().take(OWN_PLACE_MAX).position(own) {
            instances.swap(0, place);
        }
    }
    if how.limit > 0 {
        instances.truncate(how.limit);
    }
    instances
}

/// Sorts things by how near their nodes are to the node `near`, those without a coordinate last;
/// what is equally near keeps its order. Without a coordinate of `near` nothing moves.
pub fn sort_near<T>(
    items: &mut [T],
    near: &str,
    coordinates: &[Arc<NodeCoordinate>],
    node: impl Fn(&T) -> &str,
) {
    let mut of_nodes: BTreeMap<String, BTreeMap<&str, &Coordinate>> = BTreeMap::new();
    for one in coordinates {
        let segments = of_nodes.entry(one.node.to_lowercase()).or_default();
        segments.insert(&one.segment, &one.coordinate);
    }
    let Some(source) = of_nodes.get(&near.to_lowercase()) else { return };
    items.sort_by_cached_key(|item| {
        let distance = of_nodes.get(&node(item).to_lowercase());
        let distance = distance.and_then(|other| distance_nanos(source, other));
        (distance.is_none(), distance)
    });
}

/// The distance in a segment that both are in: the only one of either, or the one of all nodes.
fn distance_nanos(
    source: &BTreeMap<&str, &Coordinate>,
    other: &BTreeMap<&str, &Coordinate>,
) -> Option<i64> {
    let mut segment = "";
    for set in [source, other] {
        if let (1, Some((only, _))) = (set.len(), set.first_key_value()) {
            segment = only;
        }
    }
    Some(source.get(segment)?.nanos_to(other.get(segment)?))
}

/// Brings `items` into an order that `seed` alone decides (Fisher and Yates).
pub fn shuffle<T>(items: &mut [T], seed: u64) {
    let mut state = seed;
    for at in (1..items.len()).rev() {
        let choice = next(&mut state) % (at as u64 + 1); // at most an index
        items.swap(at, usize::try_from(choice).unwrap_or(at));
    }
}

/// SplitMix64: well spread numbers from any seed.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Node, Real, Service};

    fn coordinate(node: &str, segment: &str, first: f64) -> Arc<NodeCoordinate> {
        let mut coordinate = Coordinate::default();
        coordinate.vec[0] = Real::of(first).unwrap();
        let (node, segment) = (node.to_owned(), segment.to_owned());
        Arc::new(NodeCoordinate { node, segment, coordinate })
    }

    fn known() -> Vec<Arc<NodeCoordinate>> {
        vec![
            coordinate("here", "", 0.0),
            coordinate("A", "", 0.3),
            coordinate("b", "", 0.1),
            coordinate("c", "", 0.1),
            coordinate("elsewhere", "x", 0.0),
        ]
    }

    fn sorted(near: &str, nodes: &[&str]) -> Vec<String> {
        let mut nodes: Vec<String> = nodes.iter().map(|node| (*node).to_owned()).collect();
        sort_near(&mut nodes, near, &known(), |node| node);
        nodes
    }

    #[test]
    fn the_nearest_come_first_and_the_unknown_last() {
        let mixed = ["unknown", "a", "elsewhere", "c", "b", "here"];
        let want = ["here", "c", "b", "a", "unknown", "elsewhere"];
        assert_eq!(sorted("HERE", &mixed), want);
        assert_eq!(sorted("nobody", &mixed), mixed);
        assert_eq!(sorted("", &mixed), mixed);
    }

    fn instances(count: usize) -> Vec<Instance> {
        let one = |n: usize| Instance {
            node: Arc::new(Node { name: format!("n{n}"), ..Node::default() }),
            service: Arc::new(Service::default()),
            checks: Vec::new(),
        };
        (0..count).map(one).collect()
    }

    fn names(instances: &[Instance]) -> Vec<String> {
        instances.iter().map(|one| one.node.name.clone()).collect()
    }

    #[test]
    fn an_answer_is_shuffled_by_its_seed_and_cut() {
        let arranged = |seed, near, limit| {
            let how = Arrangement { seed, near, coordinates: &[], limit };
            names(&arrange(instances(8), &how))
        };
        assert_eq!(arranged(1, "", 0), arranged(1, "", 0));
        assert_ne!(arranged(1, "", 0), arranged(2, "", 0));
        let mut all = arranged(3, "", 0);
        all.sort();
        assert_eq!(all, names(&instances(8)));
        assert_eq!(arranged(1, "", 3), arranged(1, "", 0)[..3]);
        for seed in 0..20 {
            assert_eq!(arranged(seed, "n5", 1), ["n5"], "the own node is in front");
        }
    }
}
