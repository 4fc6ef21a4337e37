//! A graph, and a cycle in it where there is one.

use std::collections::{BTreeMap, VecDeque};

/// Why one comes before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It wrote the version before.
    Ww,
    /// It wrote what the other read.
    Wr,
    /// It read what the other wrote over.
    Rw,
    /// It had returned when the other was called.
    Time,
}

/// Nodes from 0, each with its edges.
pub(super) struct Graph {
    edges: Vec<Vec<(usize, Kind)>>,
}

impl Graph {
    /// `nodes` nodes without an edge.
    pub(super) fn new(nodes: usize) -> Self {
        Self { edges: vec![Vec::new(); nodes] }
    }

    /// One more node.
    pub(super) fn node(&mut self) -> usize {
        self.edges.push(Vec::new());
        self.edges.len() - 1
    }

    /// One more edge; none from a node to itself.
    pub(super) fn edge(&mut self, from: usize, to: usize, kind: Kind) {
        if from != to {
            self.edges[from].push((to, kind));
        }
    }

    fn next<'s>(&'s self, from: usize, kinds: &'s [Kind]) -> impl Iterator<Item = usize> + 's {
        let edges = self.edges[from].iter();
        edges.filter(|(_, kind)| kinds.contains(kind)).map(|(to, _)| *to)
    }
}

/// The nodes of a shortest cycle through some node that lies on one, of edges of these kinds.
///
/// What no edge leads to is taken away until nothing changes (Kahn, 1962); if something stays,
/// there is a cycle, and walking back from it leads into one.
pub(super) fn cycle(graph: &Graph, kinds: &[Kind]) -> Option<Vec<usize>> {
    let count = graph.edges.len();
    let mut into = vec![0_usize; count];
    for from in 0..count {
        for to in graph.next(from, kinds) {
            into[to] += 1;
        }
    }
    let mut free: Vec<usize> = (0..count).filter(|&node| into[node] == 0).collect();
    let mut left = count;
    while let Some(node) = free.pop() {
        left -= 1;
        for to in graph.next(node, kinds) {
            into[to] -= 1;
            if into[to] == 0 {
                free.push(to);
            }
        }
    }
    if left == 0 {
        return None;
    }
    let mut back = vec![usize::MAX; count];
    for from in (0..count).filter(|&from| into[from] > 0) {
        for to in graph.next(from, kinds) {
            back[to] = from;
        }
    }
    let mut node = into.iter().position(|&edges| edges > 0)?;
    for _ in 0..count {
        node = back[node];
    }
    shortest(graph, kinds, node)
}

fn shortest(graph: &Graph, kinds: &[Kind], start: usize) -> Option<Vec<usize>> {
    let mut from: BTreeMap<usize, usize> = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(node) = queue.pop_front() {
        for to in graph.next(node, kinds) {
            if from.contains_key(&to) {
                continue;
            }
            from.insert(to, node);
            if to == start {
                let mut nodes = vec![start];
                let mut node = from[&start];
                while node != start {
                    nodes.push(node);
                    node = from[&node];
                }
                nodes.reverse();
                return Some(nodes);
            }
            queue.push_back(to);
        }
    }
    None
}
