//! The graph of who depends on whom, and the verdict.

use std::collections::HashSet;

use super::super::report::Findings;
use super::super::verdict::Verdict;
use super::cycles::{Graph, Kind, cycle};
use super::versions::{Transaction, Versions, transactions};
use crate::history::{Action, Level, Op};

/// What is promised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Whether the order has to keep real time: strict serializability, else serializability.
    pub realtime: bool,
    /// Levels whose single lists are held to real time. Transactions always are.
    pub linearizable: Vec<Level>,
}

impl Default for Options {
    /// Strict serializability of all but stale lists.
    fn default() -> Self {
        Self { realtime: true, linearizable: vec![Level::Default, Level::Strong] }
    }
}

/// Judges [`Action::Append`], [`Action::List`] and [`Action::Lists`]. Without any list that was
/// read the verdict is [`Verdict::Unknown`].
pub fn check(ops: &[Op], options: &Options) -> Verdict {
    let mut findings = Findings::new(ops);
    let all = transactions(ops, &mut findings);
    let versions = Versions::new(&all, &mut findings);
    let mut graph = Graph::new(all.len());
    depend(&all, &versions, &mut graph);
    if options.realtime {
        keep_time(ops, &all, options, &mut graph);
    }
    let levels: [(&str, &[Kind]); 6] = [
        ("G0", &[Kind::Ww]),
        ("G1c", &[Kind::Ww, Kind::Wr]),
        ("G2", &[Kind::Ww, Kind::Wr, Kind::Rw]),
        ("G0-realtime", &[Kind::Ww, Kind::Time]),
        ("G1c-realtime", &[Kind::Ww, Kind::Wr, Kind::Time]),
        ("G2-realtime", &[Kind::Ww, Kind::Wr, Kind::Rw, Kind::Time]),
    ];
    for (name, kinds) in levels {
        if let Some(places) = cycle(&graph, kinds) {
            let places = places.into_iter().filter(|&place| place < all.len());
            let places: Vec<usize> = places.map(|place| all[place].op).collect();
            findings.say(format!("{name}: these cannot be put in any order"), &places);
            break;
        }
    }
    findings.verdict(all.iter().map(|one| one.reads.len()).sum())
}

fn depend(all: &[Transaction<'_>], versions: &Versions<'_>, graph: &mut Graph) {
    let writer = |element: &u64| versions.origins.get(element).map(|origin| origin.by);
    let mut seen = HashSet::new();
    let mut ends = std::collections::BTreeMap::new();
    for (key, list) in &versions.longest {
        seen.extend(list.iter().copied());
        // Acknowledged elements that no list shows come behind all that are shown.
        let end = graph.node();
        ends.insert(*key, end);
        for pair in list.windows(2) {
            if let (Some(from), Some(to)) = (writer(&pair[0]), writer(&pair[1])) {
                graph.edge(from, to, Kind::Ww);
            }
        }
        if let Some(last) = list.last().and_then(writer) {
            graph.edge(last, end, Kind::Ww);
        }
    }
    for (place, one) in all.iter().enumerate() {
        for (key, element) in &one.appends {
            if one.done
                && !seen.contains(element)
                && let Some(&end) = ends.get(key)
            {
                graph.edge(end, place, Kind::Ww);
            }
        }
        for (key, list) in &one.reads {
            if let Some(from) = list.last().and_then(writer) {
                graph.edge(from, place, Kind::Wr);
            }
            match versions.longest[key].get(list.len()) {
                Some(next) => {
                    if let Some(to) = writer(next) {
                        graph.edge(place, to, Kind::Rw);
                    }
                }
                // Its own element may be the one behind the end.
                None if one.appends.iter().any(|(to, it)| to == key && !seen.contains(it)) => {}
                None => graph.edge(place, ends[key], Kind::Rw),
            }
        }
    }
}

/// Real time in linear size: a chain of nodes, one for each return, which leads to all that was
/// called after it.
fn keep_time(ops: &[Op], all: &[Transaction<'_>], options: &Options, graph: &mut Graph) {
    let mut returns: Vec<(u64, usize)> = Vec::new();
    let mut calls: Vec<(u64, usize)> = Vec::new();
    for (place, one) in all.iter().enumerate() {
        if one.done {
            returns.push((ops[one.op].returned, place));
        }
        let free = match &ops[one.op].action {
            Action::List { level, .. } => !options.linearizable.contains(level),
            _ => false,
        };
        if !free && !one.never {
            calls.push((ops[one.op].called, place));
        }
    }
    returns.sort_unstable();
    calls.sort_unstable();
    let mut past = returns.into_iter().peekable();
    let mut last: Option<usize> = None;
    for (called, place) in calls {
        while let Some((_, done)) = past.next_if(|(returned, _)| *returned < called) {
            let node = graph.node();
            graph.edge(done, node, Kind::Time);
            if let Some(last) = last {
                graph.edge(last, node, Kind::Time);
            }
            last = Some(node);
        }
        if let Some(last) = last {
            graph.edge(last, place, Kind::Time);
        }
    }
}
