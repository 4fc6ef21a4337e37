//! Plans: which fault when, from a seed and nothing else.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Admin, Fault, Kind, Shape, Target};
use crate::lab::clock::Skew;
use crate::lab::disk::{DiskFault, Loss};
use crate::lab::pressure::Pressure;
use crate::lab::switch::Weather;
use crate::random::Random;

/// How often things break, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pace {
    /// Shortest and longest time between two faults of one kind.
    pub gap: (Duration, Duration),
    /// Shortest and longest time that a fault lasts.
    pub length: (Duration, Duration),
}

impl Default for Pace {
    fn default() -> Self {
        let seconds = |from, to| (Duration::from_secs(from), Duration::from_secs(to));
        Self { gap: seconds(1, 5), length: seconds(1, 8) }
    }
}

/// One fault, and when: times since the faults began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// When it begins.
    pub at: Duration,
    /// When it is mended.
    pub heal_at: Duration,
    /// What it is.
    pub fault: Fault,
}

/// All faults of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// What it follows from, with the rest of this.
    pub seed: u64,
    /// How many nodes it is for.
    pub nodes: usize,
    /// How long the faults go on.
    pub length: Duration,
    /// The kinds that it has, in order, each once.
    pub kinds: Vec<Kind>,
    /// The faults in the order in which they begin. All are mended within the length.
    pub faults: Vec<Planned>,
}

impl Plan {
    /// The plan of this seed. Each kind has faults of its own, which do not change with the other
    /// kinds, and goes through all its varieties before any comes again. Every kind happens at
    /// least once, however short the run.
    pub fn new(seed: u64, nodes: usize, length: Duration, kinds: &[Kind], pace: Pace) -> Self {
        let mut kinds = kinds.to_vec();
        kinds.sort_unstable();
        kinds.dedup();
        let lanes = kinds.iter().map(|kind| lane(seed, nodes, length, *kind, pace));
        let mut faults: Vec<Planned> = lanes.flatten().collect();
        faults.sort_by_key(|planned| (planned.at, planned.fault.kind()));
        Self { seed, nodes, length, kinds, faults }
    }

    /// The faults of one kind, in order.
    pub fn lane(&self, kind: Kind) -> impl Iterator<Item = &Planned> {
        self.faults.iter().filter(move |planned| planned.fault.kind() == kind)
    }
}

fn lane(seed: u64, nodes: usize, length: Duration, kind: Kind, pace: Pace) -> Vec<Planned> {
    let mut random = Random::part(seed, kind as u64 + 1);
    let mut varieties = Vec::new();
    let mut lane = Vec::new();
    let mut now = Duration::ZERO;
    loop {
        if varieties.is_empty() {
            varieties = varieties_of(kind, nodes, &mut random);
            random.shuffle(&mut varieties);
        }
        let Some(fault) = varieties.pop() else { return lane };
        let mut at = now + random.time(pace.gap.0, pace.gap.1);
        let mut heal_at = at + random.time(pace.length.0, pace.length.1);
        if heal_at > length {
            if !lane.is_empty() {
                return lane;
            }
            // The first one has a place in any case.
            at = at.min(length / 4);
            heal_at = length * 3 / 4;
        }
        now = heal_at;
        lane.push(Planned { at, heal_at, fault });
    }
}

/// One of everything that a kind can do.
fn varieties_of(kind: Kind, nodes: usize, random: &mut Random) -> Vec<Fault> {
    let mut node = || random.place(nodes);
    let (any, leader, other) = (Target::Node(node()), Target::Leader(node()), node());
    match kind {
        Kind::Partition => shapes(nodes, random).into_iter().map(Fault::Partition).collect(),
        Kind::Kill => vec![Fault::Kill(any), Fault::Kill(leader)],
        Kind::KillAll => vec![Fault::KillAll],
        Kind::Terminate => vec![Fault::Terminate(any), Fault::Terminate(leader)],
        Kind::Pause => vec![
            Fault::Pause(any),
            Fault::Pause(leader),
            stutter(leader, random),
            stutter(Target::Node(other), random),
        ],
        Kind::Clock => clocks(any, leader, random),
        Kind::Weather => weathers(random),
        Kind::Disk => disks(any, leader),
        Kind::Pressure => pressures(any, leader),
        Kind::Membership => vec![Fault::Remove(any), Fault::Remove(leader)],
        Kind::Admin => {
            let all = [Admin::Snapshot, Admin::Restore, Admin::TransferLeader, Admin::Compact];
            all.into_iter().map(Fault::Admin).collect()
        }
        Kind::Upgrade => vec![Fault::Upgrade(any), Fault::Upgrade(leader)],
    }
}

fn shapes(nodes: usize, random: &mut Random) -> Vec<Shape> {
    let (any, leader) = (Target::Node(random.place(nodes)), Target::Leader(random.place(nodes)));
    let other = random.place(nodes);
    let mut half = |size: usize| {
        let mut all: Vec<usize> = (0..nodes).collect();
        random.shuffle(&mut all);
        all.truncate(size);
        all.sort_unstable();
        all
    };
    let (minority, majority, small) = (half(nodes / 2), half(nodes - nodes / 2), half(nodes / 2));
    vec![
        Shape::Isolate(any),
        Shape::Isolate(leader),
        Shape::Deaf(any),
        Shape::Deaf(leader),
        Shape::Mute(any),
        Shape::Mute(leader),
        Shape::Halves(minority),
        Shape::HalvesOneWay(small),
        Shape::HalvesOneWay(majority),
        Shape::Link(leader, other),
        Shape::Bridge(random.place(nodes)),
        Shape::Ring,
        Shape::Clients(leader),
        Shape::Gone(leader),
    ]
}

fn stutter(whom: Target, random: &mut Random) -> Fault {
    let ms = Duration::from_millis;
    // Around the election timeout, where it hurts most.
    Fault::Stutter { whom, stand: random.time(ms(50), ms(1500)), go: random.time(ms(20), ms(400)) }
}

fn clocks(any: Target, leader: Target, random: &mut Random) -> Vec<Fault> {
    let mut jump = |most_ms: u64| i64::try_from(random.below(most_ms) + 100).unwrap_or(i64::MAX);
    let skew = |ahead_ms| Skew { ahead_ms, percent: 100 };
    vec![
        Fault::Clock(any, skew(jump(5_000))),
        Fault::Clock(any, skew(-jump(5_000))),
        Fault::Clock(leader, skew(jump(600_000))),
        Fault::Clock(leader, skew(-jump(600_000))),
        Fault::Clock(leader, skew(365 * 86_400_000)),
        Fault::Clock(any, Skew { ahead_ms: 0, percent: 300 }),
    ]
}

fn weathers(random: &mut Random) -> Vec<Fault> {
    let calm = Weather::CALM;
    let mut us = |most: u64| u32::try_from(random.below(most) + 1_000).unwrap_or(u32::MAX);
    let all = vec![
        Weather { delay_us: us(100_000), jitter_us: us(50_000), ..calm },
        Weather { loss: 150_000, ..calm },
        Weather { delay_us: us(10_000), duplicate: 100_000, reorder: 200_000, ..calm },
        Weather { rate_bits: 2_000_000, ..calm },
        Weather { delay_us: 75_000, jitter_us: 50_000, loss: 20_000, reorder: 50_000, ..calm },
    ];
    all.into_iter().map(Fault::Weather).collect()
}

fn disks(any: Target, leader: Target) -> Vec<Fault> {
    vec![
        Fault::Disk(any, DiskFault::Power(Loss::Drop)),
        Fault::Disk(leader, DiskFault::Power(Loss::Torn)),
        Fault::Disk(any, DiskFault::Power(Loss::Subset)),
        Fault::Disk(leader, DiskFault::FailedFlush),
        Fault::Disk(any, DiskFault::FailedWrite),
        Fault::Disk(leader, DiskFault::Slow { delay_us: 30_000 }),
        Fault::Disk(any, DiskFault::Full),
    ]
}

fn pressures(any: Target, leader: Target) -> Vec<Fault> {
    vec![
        Fault::Pressure(leader, Pressure::Processor(5)),
        Fault::Pressure(any, Pressure::Memory(64 << 20)),
        Fault::Pressure(leader, Pressure::Files(24)),
        Fault::Pressure(any, Pressure::Threads(4)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    #[test]
    fn a_seed_makes_the_same_plan_and_another_seed_another() {
        let plan = |seed| Plan::new(seed, 3, MINUTE, &Kind::ALL, Pace::default());
        assert_eq!(plan(4), plan(4));
        assert_ne!(plan(4).faults, plan(5).faults);
        let text = serde_json::to_string(&plan(4)).unwrap();
        assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan(4));
    }

    #[test]
    fn a_kind_keeps_its_faults_beside_other_kinds() {
        let alone = Plan::new(9, 5, MINUTE, &[Kind::Pause], Pace::default());
        let beside = Plan::new(9, 5, MINUTE, &Kind::ALL, Pace::default());
        assert!(alone.faults.iter().eq(beside.lane(Kind::Pause)));
    }

    #[test]
    fn faults_of_a_kind_are_apart_and_all_end_in_time() {
        for (nodes, seconds) in [(1, 1), (3, 20), (5, 300)] {
            for seed in 0..200 {
                let length = Duration::from_secs(seconds);
                keeps_time(&Plan::new(seed, nodes, length, &Kind::ALL, Pace::default()));
            }
        }
    }

    fn keeps_time(plan: &Plan) {
        for kind in Kind::ALL {
            let mut before = Duration::ZERO;
            for planned in plan.lane(kind) {
                assert!(before <= planned.at && planned.at < planned.heal_at, "{plan:?}");
                assert!(planned.heal_at <= plan.length, "{plan:?}");
                before = planned.heal_at;
            }
            assert!(before > Duration::ZERO, "no {} in {plan:?}", kind.name());
        }
    }

    #[test]
    fn a_long_plan_has_every_variety_of_every_kind() {
        let plan = Plan::new(1, 3, MINUTE * 10, &Kind::ALL, Pace::default());
        for kind in Kind::ALL {
            let wanted = varieties_of(kind, 3, &mut Random::new(0)).len();
            let first: Vec<_> =
                plan.lane(kind).take(wanted).map(|planned| &planned.fault).collect();
            for (at, fault) in first.iter().enumerate() {
                assert!(!first[..at].contains(fault), "{fault:?} twice in {first:?}");
            }
            assert_eq!(first.len(), wanted);
        }
    }
}
