//! Many runs in a row: all workloads, the calibration on the real peers, the soak.

use std::time::Duration;

use portolan_jepsen::history::Level;
use portolan_jepsen::nemesis::Kind as Broken;
use portolan_jepsen::report::{Entry, Ledger, Summary, Word};
use portolan_jepsen::run::{Settings, run};
use portolan_jepsen::targets::Kind;
use portolan_jepsen::workloads::Workload;
use tokio::time::Instant;

use crate::options::{Many, Place, Soak};
use crate::say;

/// What every node must live through.
const USUAL: &[Broken] = &[Broken::Kill, Broken::Pause, Broken::Partition];
/// What the runs of a soak take turns with.
const SOAK: &[&[Broken]] = &[
    USUAL,
    &[Broken::Partition],
    &[Broken::KillAll],
    &[Broken::Kill, Broken::Partition],
    &[Broken::Pause, Broken::Terminate],
    &[Broken::Kill, Broken::Pause, Broken::Partition, Broken::Terminate],
    &[Broken::Clock, Broken::Kill],
    &[Broken::Disk, Broken::Partition],
    &[Broken::Pressure, Broken::Pause],
    &[Broken::Admin, Broken::Kill],
    &[Broken::Weather, Broken::Clock],
];

/// One row of the calibration: a run, and what must be said of it.
struct Row {
    target: Kind,
    workload: Workload,
    level: Level,
    nemesis: &'static [Broken],
    wanted: Word,
}

/// What the harness must see at the real peers, and at ours. Stale reads under a partition are
/// old, which a judge of linearizability must find; a lock without tokens that is used by who
/// slept longer than it lasted is used by two.
const CALIBRATION: &[Row] = &[
    row(Kind::Etcd, Workload::Register, Level::Default, &[Broken::Partition], Word::Valid),
    row(Kind::Etcd, Workload::Register, Level::Stale, &[Broken::Partition], Word::Invalid),
    row(Kind::Consul, Workload::Register, Level::Strong, &[Broken::Partition], Word::Valid),
    row(Kind::Consul, Workload::Register, Level::Stale, &[Broken::Partition], Word::Invalid),
    row(Kind::Ours, Workload::Register, Level::Default, &[Broken::Partition], Word::Valid),
    row(Kind::Ours, Workload::Register, Level::Stale, &[Broken::Partition], Word::Invalid),
    row(Kind::Ours, Workload::Lock, Level::Default, &[Broken::Pause], Word::Valid),
    row(Kind::Ours, Workload::LockUnfenced, Level::Default, &[Broken::Pause], Word::Invalid),
];

const fn row(
    target: Kind,
    workload: Workload,
    level: Level,
    nemesis: &'static [Broken],
    wanted: Word,
) -> Row {
    Row { target, workload, level, nemesis, wanted }
}

/// Makes the runs of the calibration, and prints a table; valid if each came out as it must.
pub(crate) fn calibrate(wanted: &Many) -> anyhow::Result<Word> {
    let mut table = vec![
        "| system | workload | reads | faults | operations | a second | must be | is |".to_owned(),
        "|---|---|---|---|---|---|---|---|".to_owned(),
    ];
    let mut as_wanted = true;
    for row in CALIBRATION {
        let settings = Settings {
            target: row.target,
            level: Some(row.level),
            nemesis: row.nemesis.to_vec(),
            ..settings(row.workload, wanted.seed, wanted.time, &wanted.place)
        };
        let summary = made(&settings)?;
        as_wanted &= summary.verdict == row.wanted;
        let (target, workload) = (row.target.name(), row.workload.name());
        table.push(format!(
            "| {target} | {workload} | {:?} | {} | {} | {} | {} | {} |",
            row.level,
            settings.nemesis_text(),
            summary.figures.operations,
            summary.figures.a_second,
            row.wanted,
            summary.verdict
        ));
    }
    say(&table.join("\n"));
    Ok(if as_wanted { Word::Valid } else { Word::Invalid })
}

/// Makes a run of each workload; the worst verdict is that of all.
pub(crate) fn all(wanted: &Many) -> anyhow::Result<Word> {
    let mut table = vec![
        "| workload | operations | a second | longest outage | verdict |".to_owned(),
        "|---|---|---|---|---|".to_owned(),
    ];
    let mut worst = Word::Valid;
    for (seed, workload) in (wanted.seed..).zip(Workload::ALL) {
        let settings = settings(*workload, seed, wanted.time, &wanted.place);
        let summary = made(&settings)?;
        table.push(format!(
            "| {} | {} | {} | {} ms | {} |",
            workload.name(),
            summary.figures.operations,
            summary.figures.a_second,
            summary.figures.longest_outage_ms,
            summary.verdict
        ));
        worst = worse(worst, summary.verdict);
    }
    say(&table.join("\n"));
    Ok(worst)
}

/// Begins runs until the time is over, each with the next seed of the ledger, which says what the
/// run is.
pub(crate) fn soak(soak: &Soak) -> anyhow::Result<Word> {
    let until = Instant::now() + Duration::from_secs(soak.minutes * 60);
    let mut ledger = Ledger::open(&soak.ledger)?;
    let mut worst = Word::Valid;
    while Instant::now() < until {
        let seed = ledger.next_seed();
        let turn = usize::try_from(seed)?;
        let workload = Workload::ALL[turn % Workload::ALL.len()];
        let round = turn / Workload::ALL.len();
        let settings = Settings {
            nodes: if round.is_multiple_of(2) { 3 } else { 5 },
            nemesis: SOAK[round % SOAK.len()].to_vec(),
            ..settings(workload, seed, soak.time, &soak.place)
        };
        let summary = made(&settings)?;
        worst = worse(worst, summary.verdict);
        ledger.add(Entry::new(&settings, &summary))?;
    }
    say(&ledger.sums().to_string());
    Ok(worst)
}

/// One of several runs, said as it goes.
fn made(settings: &Settings) -> anyhow::Result<Summary> {
    say(&settings.replay_line());
    let summary = run(settings)?;
    say(&summary.to_string());
    Ok(summary)
}

fn settings(workload: Workload, seed: u64, seconds: u64, place: &Place) -> Settings {
    Settings {
        target: Kind::Ours,
        binary: place.binary.clone(),
        other: place.other.clone(),
        nodes: 3,
        workload,
        nemesis: USUAL.to_vec(),
        seed,
        time: Duration::from_secs(seconds),
        level: None,
        rate: None,
        clients: None,
        dir: place.folder(),
    }
}

/// Invalid outweighs unknown, and that valid.
fn worse(one: Word, other: Word) -> Word {
    match (one, other) {
        (Word::Invalid, _) | (_, Word::Invalid) => Word::Invalid,
        (Word::Unknown, _) | (_, Word::Unknown) => Word::Unknown,
        (Word::Valid, Word::Valid) => Word::Valid,
    }
}
