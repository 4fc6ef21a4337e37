//! When an instance of a service may have been in the catalog, and when it surely was.
//!
//! Each instance (service, node and id) is a register; a registration writes it, and its port is
//! unique, so that an answer names the registration. Real time bounds when each write took
//! effect: between its call and its return, or the first return of an answer that shows it.

use std::collections::{BTreeMap, HashMap};

use crate::history::{Action, Answer, Instance, Op, Outcome};

/// From the first time to the second, both included, in nanoseconds.
pub(super) type Stretch = (u64, u64);

/// A registration or its opposite.
#[derive(Clone, Copy)]
struct Write {
    at: usize,
    called: u64,
    /// When it was surely done; `u64::MAX`: never surely.
    sure: u64,
    port: Option<u16>,
    passing: bool,
}

/// All instances of one service.
#[derive(Default)]
pub(super) struct Service<'a> {
    slots: BTreeMap<(&'a str, &'a str), Vec<Write>>,
    /// Where each port was registered.
    ports: HashMap<u16, ((&'a str, &'a str), usize)>,
    /// By slot: the stretches in which it surely was there, with a passing instance.
    surely: BTreeMap<(&'a str, &'a str), Vec<Stretch>>,
    /// By port: the stretch in which it may have been there.
    maybe: HashMap<u16, Stretch>,
    /// When the last change was asked for, or was known to be done.
    pub(super) last_change: u64,
}

/// All services that are registered or asked for.
pub(super) fn services(ops: &[Op]) -> BTreeMap<&str, Service<'_>> {
    let mut services: BTreeMap<&str, Service<'_>> = BTreeMap::new();
    for (at, op) in ops.iter().enumerate() {
        let (service, slot, instance) = match &op.action {
            Action::Register { service, instance } => {
                (service, (instance.node.as_str(), instance.id.as_str()), Some(instance))
            }
            Action::Deregister { service, node, id } => {
                (service, (node.as_str(), id.as_str()), None)
            }
            _ => continue,
        };
        let sure = match &op.outcome {
            Outcome::Done(Answer::Refused { .. }) | Outcome::NotDone { .. } => continue,
            Outcome::Done(_) => op.returned,
            Outcome::Unknown { .. } => u64::MAX,
        };
        let service = services.entry(service).or_default();
        service.last_change = service.last_change.max(op.returned);
        let port = instance.map(|instance| instance.port);
        let passing = instance.is_some_and(|instance| instance.passing);
        if let Some(port) = port {
            service.ports.insert(port, (slot, at));
        }
        let write = Write { at, called: op.called, sure, port, passing };
        service.slots.entry(slot).or_default().push(write);
    }
    let shown = first_shown(ops);
    for (name, service) in &mut services {
        for write in service.slots.values_mut().flatten() {
            if let Some(first) = write.port.and_then(|port| shown.get(&(*name, port))) {
                write.sure = write.sure.min(*first);
            }
        }
        service.arrange();
    }
    services
}

/// When each port of a service was first shown.
fn first_shown(ops: &[Op]) -> HashMap<(&str, u16), u64> {
    let mut first = HashMap::new();
    for op in ops {
        let (Action::Lookup { service, .. } | Action::Resolve { service }) = &op.action else {
            continue;
        };
        for instance in instances(op).unwrap_or_default() {
            let time = first.entry((service.as_str(), instance.port)).or_insert(op.returned);
            *time = op.returned.min(*time);
        }
    }
    first
}

/// What an answer shows, if it is one.
pub(super) fn instances(op: &Op) -> Option<&[Instance]> {
    match &op.outcome {
        Outcome::Done(Answer::Instances { instances, .. }) => Some(instances),
        _ => None,
    }
}

impl Service<'_> {
    fn arrange(&mut self) {
        for (slot, writes) in &self.slots {
            // The earliest end of what was called at or after a time.
            let mut by_call: Vec<(u64, u64)> =
                writes.iter().map(|write| (write.called, write.sure)).collect();
            by_call.sort_unstable();
            lowest_from_here(&mut by_call);
            // The earliest call of what may remove it and was done at or after a time.
            let removals = writes.iter().filter(|write| !write.passing);
            let mut by_end: Vec<(u64, u64)> =
                removals.map(|write| (write.sure, write.called)).collect();
            by_end.sort_unstable();
            lowest_from_here(&mut by_end);
            let mut sure = Vec::new();
            for write in writes {
                let Some(port) = write.port else { continue };
                let next = by_call.partition_point(|(called, _)| *called <= write.sure);
                let end = by_call.get(next).map_or(u64::MAX, |(_, end)| *end);
                self.maybe.insert(port, (write.called, end));
                let next = by_end.partition_point(|(end, _)| *end < write.called);
                let end = by_end.get(next).map_or(u64::MAX, |(_, called)| *called);
                if write.passing && write.sure < end {
                    sure.push((write.sure, end));
                }
            }
            self.surely.insert(*slot, merged(sure));
        }
    }

    /// The operation that registered a port, if one did.
    pub(super) fn registered(&self, port: u16) -> Option<usize> {
        self.ports.get(&port).map(|(_, at)| *at)
    }

    /// Whether some passing instance was there all the time.
    pub(super) fn never_empty(&self, window: Stretch) -> bool {
        let mut all = self.surely.values().flatten();
        all.any(|(from, to)| *from < window.0 && *to > window.1)
    }

    /// The stretches of a window in which the catalog may have been what an answer shows.
    /// `complete`: what it does not show was not there.
    pub(super) fn moments(
        &self,
        shown: &[Instance],
        window: Stretch,
        complete: bool,
    ) -> Vec<Stretch> {
        let mut left = vec![window];
        let mut slots = Vec::new();
        for instance in shown {
            let Some(maybe) = self.maybe.get(&instance.port) else { return Vec::new() };
            left = common(&left, &[*maybe]);
            slots.push(self.ports[&instance.port].0);
        }
        for (slot, sure) in self.surely.iter().filter(|(slot, _)| complete && !slots.contains(slot))
        {
            debug_assert!(self.slots.contains_key(slot), "each slot has writes");
            left = common(&left, &gaps(sure, window));
        }
        left
    }

    /// All writes of the slots of these ports and all others, for a finding: the latest few.
    pub(super) fn writes_before(&self, time: u64) -> Vec<usize> {
        let mut all: Vec<(u64, usize)> = self
            .slots
            .values()
            .flatten()
            .filter(|write| write.called <= time)
            .map(|write| (write.called, write.at))
            .collect();
        all.sort_unstable();
        all.into_iter().rev().take(6).map(|(_, at)| at).collect()
    }
}

/// Each second part becomes the lowest of it and all behind it.
fn lowest_from_here(pairs: &mut [(u64, u64)]) {
    let mut lowest = u64::MAX;
    for (_, second) in pairs.iter_mut().rev() {
        lowest = lowest.min(*second);
        *second = lowest;
    }
}

fn merged(mut all: Vec<Stretch>) -> Vec<Stretch> {
    all.sort_unstable();
    let mut whole: Vec<Stretch> = Vec::new();
    for (from, to) in all {
        match whole.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => whole.push((from, to)),
        }
    }
    whole
}

/// What is left of a window beside these; their ends belong to both.
fn gaps(sure: &[Stretch], window: Stretch) -> Vec<Stretch> {
    let mut gaps = Vec::new();
    let mut from = window.0;
    let first = sure.partition_point(|(_, to)| *to < window.0);
    for (begin, end) in sure[first..].iter().take_while(|(begin, _)| *begin <= window.1) {
        if from <= *begin {
            gaps.push((from, *begin));
        }
        from = *end;
    }
    if from <= window.1 {
        gaps.push((from, window.1));
    }
    gaps
}

/// What two lists of stretches in the order of time share.
fn common(one: &[Stretch], other: &[Stretch]) -> Vec<Stretch> {
    let mut shared = Vec::new();
    let (mut left, mut right) = (one.iter().peekable(), other.iter().peekable());
    while let (Some(&&(from, to)), Some(&&(begin, end))) = (left.peek(), right.peek()) {
        if from.max(begin) <= to.min(end) {
            shared.push((from.max(begin), to.min(end)));
        }
        if to <= end {
            left.next()
        } else {
            right.next()
        };
    }
    shared
}
