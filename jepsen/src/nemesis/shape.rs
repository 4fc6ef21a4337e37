//! The shapes that a partition can have, and what each of them cuts.

use serde::{Deserialize, Serialize};

use super::Target;
use crate::lab::cuts::{Cut, End};

/// A shape of a partition. Nodes are numbered from 0; the clients reach all nodes unless said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// One node and all others no longer hear each other.
    Isolate(Target),
    /// One node is heard by the others and hears none of them.
    Deaf(Target),
    /// One node hears the others and is heard by none of them.
    Mute(Target),
    /// These and all others no longer hear each other.
    Halves(Vec<usize>),
    /// These are no longer heard by the others, and hear them.
    HalvesOneWay(Vec<usize>),
    /// The link between two nodes is gone, in both directions; each still reaches all others.
    Link(Target, usize),
    /// Two halves that do not hear each other, and one node that hears and is heard by both.
    Bridge(usize),
    /// Each node hears a majority, and no two nodes hear the same one: all stand in a ring and
    /// reach only the next ones on either side.
    Ring,
    /// One node and the clients no longer hear each other, and the nodes all do.
    Clients(Target),
    /// One node and all others, and the clients too, no longer hear each other: a dead host.
    Gone(Target),
}

impl Shape {
    /// The ways that it cuts among this many nodes, when this one leads. Where nobody is known to
    /// lead, the node that the target names instead.
    pub fn cut(&self, nodes: usize, leader: Option<usize>) -> Cut {
        let node = |target: &Target| target.node(nodes, leader);
        let others = |inside: &[usize]| ends((0..nodes).filter(|node| !inside.contains(node)));
        match self {
            Self::Isolate(target) => {
                let one = node(target);
                Cut::two_way(&[End::Host(one)], &others(&[one]))
            }
            Self::Deaf(target) => {
                let one = node(target);
                Cut::one_way(&others(&[one]), &[End::Host(one)])
            }
            Self::Mute(target) => {
                let one = node(target);
                Cut::one_way(&[End::Host(one)], &others(&[one]))
            }
            Self::Halves(half) => Cut::two_way(&ends(half.iter().copied()), &others(half)),
            Self::HalvesOneWay(half) => Cut::one_way(&ends(half.iter().copied()), &others(half)),
            Self::Link(target, other) => {
                let one = node(target);
                // A link has two ends.
                let other = if *other == one { (one + 1) % nodes.max(1) } else { *other };
                Cut::two_way(&[End::Host(one)], &[End::Host(other)])
            }
            Self::Bridge(bridge) => {
                let rest: Vec<usize> = (0..nodes).filter(|node| node != bridge).collect();
                let (low, high) = rest.split_at(rest.len() / 2);
                Cut::two_way(&ends(low.iter().copied()), &ends(high.iter().copied()))
            }
            Self::Ring => ring(nodes),
            Self::Clients(target) => Cut::two_way(&[End::Host(node(target))], &[End::Client]),
            Self::Gone(target) => {
                let one = node(target);
                let rest = [others(&[one]), vec![End::Client]].concat();
                Cut::two_way(&[End::Host(one)], &rest)
            }
        }
    }
}

fn ends(nodes: impl Iterator<Item = usize>) -> Vec<End> {
    nodes.map(End::Host).collect()
}

/// Each node keeps as many neighbours as make a majority with it, half of them on either side.
/// Of three nodes every one already hears every other in its majority's ring, so one link goes.
fn ring(nodes: usize) -> Cut {
    if nodes < 4 {
        return Shape::Bridge(0).cut(nodes, None);
    }
    let reach = (nodes / 2).div_ceil(2);
    let mut cut = Cut::none();
    for one in 0..nodes {
        for other in one + 1..nodes {
            let between = (other - one).min(nodes - (other - one));
            if between > reach {
                cut = cut.and(&Cut::two_way(&[End::Host(one)], &[End::Host(other)]));
            }
        }
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who hears whom of `nodes` nodes, a line each; the last line and column are the clients.
    fn picture(shape: &Shape, nodes: usize, leader: Option<usize>) -> Vec<String> {
        let cut: Vec<(End, End)> = shape.cut(nodes, leader).ways().collect();
        let all: Vec<End> = (0..nodes).map(End::Host).chain([End::Client]).collect();
        let line = |to: &End| {
            all.iter().map(|from| if cut.contains(&(*from, *to)) { 'x' } else { '.' }).collect()
        };
        all.iter().map(line).collect()
    }

    #[test]
    fn every_shape_cuts_its_ways_and_no_other() {
        let (leader, second) = (Target::Leader(0), Target::Node(1));
        let table: Vec<(Shape, [&str; 4])> = vec![
            (Shape::Isolate(second), [".x..", "x.x.", ".x..", "...."]),
            (Shape::Isolate(leader), ["..x.", "..x.", "xx..", "...."]),
            (Shape::Deaf(second), ["....", "x.x.", "....", "...."]),
            (Shape::Mute(second), [".x..", "....", ".x..", "...."]),
            (Shape::Halves(vec![0]), [".xx.", "x...", "x...", "...."]),
            (Shape::HalvesOneWay(vec![0]), ["....", "x...", "x...", "...."]),
            (Shape::Link(leader, 0), ["..x.", "....", "x...", "...."]),
            (Shape::Link(leader, 2), ["..x.", "....", "x...", "...."]),
            (Shape::Bridge(1), ["..x.", "....", "x...", "...."]),
            (Shape::Ring, ["....", "..x.", ".x..", "...."]),
            (Shape::Clients(second), ["....", "...x", "....", ".x.."]),
            (Shape::Gone(second), [".x..", "x.xx", ".x..", ".x.."]),
        ];
        for (shape, wanted) in table {
            assert_eq!(picture(&shape, 3, Some(2)), wanted, "{shape:?}");
        }
    }

    #[test]
    fn a_ring_gives_every_node_a_majority_of_its_own() {
        let lines = picture(&Shape::Ring, 5, None);
        assert_eq!(lines, ["..xx..", "...xx.", "x...x.", "xx....", ".xx...", "......"]);
        for nodes in 4..12 {
            let lines = picture(&Shape::Ring, nodes, None);
            let lines = &lines[..nodes];
            for line in lines {
                let heard = line.chars().take(nodes).filter(|sign| *sign == '.').count();
                assert!(heard > nodes / 2, "{nodes}: {lines:?}");
            }
            let views: std::collections::BTreeSet<_> = lines.iter().collect();
            assert_eq!(views.len(), nodes, "{nodes}: {lines:?}");
        }
    }
}
