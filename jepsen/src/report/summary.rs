//! What came of one run, in figures and in a word.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::checkers::Verdict;
use crate::history::{Action, Answer, Op, Outcome};
use crate::nemesis;
use crate::run::{Judgement, Settings};

/// Acknowledged operations a second below which a run is no test.
const LEAST_A_SECOND: u64 = 5;
const NANOS_A_SECOND: u64 = 1_000_000_000;
/// Operations of a finding that are printed; the file has them all.
const OPS_SHOWN: usize = 4;
/// Findings of a checker that are printed.
const FINDINGS_SHOWN: usize = 3;

/// A verdict in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// What was promised was kept.
    Valid,
    /// It was not.
    Invalid,
    /// It could not be told: the run has failed.
    Unknown,
}

impl fmt::Display for Word {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Valid => "valid",
            Self::Invalid => "invalid",
            Self::Unknown => "unknown",
        })
    }
}

/// How a run went beside its history.
#[derive(Debug)]
pub struct Loaded {
    /// When the load began and ended, in nanoseconds of the history's clock.
    pub load: (u64, u64),
    /// What became of the faults, if there were to be any.
    pub faults: Option<nemesis::Report>,
    /// How long the cluster took to serve after the last fault was mended.
    pub recovered: Duration,
    /// What went wrong beside the history.
    pub troubles: Vec<String>,
}

/// The figures of a history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// Operations, all of them judged.
    pub operations: u64,
    /// Those that were done.
    pub acknowledged: u64,
    /// Those that surely were not.
    pub not_done: u64,
    /// Those that may have been.
    pub unknown: u64,
    /// Operations a second while the load went on.
    pub a_second: u64,
    /// Acknowledged operations a second while the load went on.
    pub acknowledged_a_second: u64,
    /// Longest time in which no write was acknowledged while the load went on, in milliseconds.
    pub longest_outage_ms: u64,
    /// How long the cluster took to serve after the last fault was mended, in milliseconds.
    pub recovered_ms: u64,
}

/// What came of one run.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// The verdict.
    pub verdict: Word,
    /// The command line that asks for this run again.
    pub replay: String,
    /// Figures.
    pub figures: Figures,
    /// What became of the faults.
    pub faults: Option<nemesis::Report>,
    /// What went wrong beside the history. Each makes the run fail.
    pub troubles: Vec<String>,
    /// What each checker said.
    pub judgements: Vec<Judgement>,
}

impl Summary {
    /// Sums a run up.
    pub fn new(
        settings: &Settings,
        ops: &[Op],
        loaded: Loaded,
        judgements: Vec<Judgement>,
    ) -> Self {
        let figures = Figures::new(ops, &loaded);
        let mut troubles = loaded.troubles;
        let least = LEAST_A_SECOND * settings.time.as_secs();
        if figures.acknowledged < least {
            let count = figures.acknowledged;
            troubles.push(format!("only {count} operations were done, at least {least} must be"));
        }
        let verdict = word(&judgements, &troubles);
        let replay = settings.replay_line();
        Self { verdict, replay, figures, faults: loaded.faults, troubles, judgements }
    }

    /// Whether the run has passed.
    pub fn is_valid(&self) -> bool {
        self.verdict == Word::Valid
    }

    /// Faults that took effect.
    pub fn faults_happened(&self) -> u64 {
        let tallies = self.faults.iter().flat_map(|report| report.tallies.values());
        tallies.map(|tally| u64::try_from(tally.happened).unwrap_or_default()).sum()
    }
}

/// What checkers and troubles come to: a finding outweighs what could not be told, and no checker
/// at all is no verdict.
pub fn word(judgements: &[Judgement], troubles: &[String]) -> Word {
    let any = |of: fn(&Verdict) -> bool| judgements.iter().any(|one| of(&one.verdict));
    if any(|verdict| matches!(verdict, Verdict::Invalid { .. })) {
        Word::Invalid
    } else if judgements.is_empty()
        || !troubles.is_empty()
        || any(|verdict| matches!(verdict, Verdict::Unknown { .. }))
    {
        Word::Unknown
    } else {
        Word::Valid
    }
}

impl Figures {
    fn new(ops: &[Op], loaded: &Loaded) -> Self {
        let (began, ended) = loaded.load;
        let mut figures = Self::default();
        let mut loaded_ops = (0, 0);
        for op in ops {
            let within = u64::from(op.returned <= ended);
            figures.operations += 1;
            loaded_ops.0 += within;
            match &op.outcome {
                Outcome::Done(_) => {
                    figures.acknowledged += 1;
                    loaded_ops.1 += within;
                }
                Outcome::NotDone { .. } => figures.not_done += 1,
                Outcome::Unknown { .. } => figures.unknown += 1,
            }
        }
        let millis = (ended.saturating_sub(began) / 1_000_000).max(1);
        figures.a_second = loaded_ops.0 * 1000 / millis;
        figures.acknowledged_a_second = loaded_ops.1 * 1000 / millis;
        figures.longest_outage_ms = longest_outage(ops, loaded.load) / (NANOS_A_SECOND / 1000);
        figures.recovered_ms = u64::try_from(loaded.recovered.as_millis()).unwrap_or(u64::MAX);
        figures
    }
}

/// The longest time between two acknowledged writes, or from one to either end of the load.
fn longest_outage(ops: &[Op], (began, ended): (u64, u64)) -> u64 {
    let written = ops.iter().filter(|op| {
        let lock = matches!(op.action, Action::Use { .. } | Action::UseUnfenced { .. });
        let changed = matches!(
            op.outcome,
            Outcome::Done(
                Answer::Written { .. }
                    | Answer::Opened { .. }
                    | Answer::Held { token: Some(_) }
                    | Answer::Lists { revision: Some(_), .. }
            )
        );
        changed && !lock && op.returned <= ended
    });
    let mut times: Vec<u64> = written.map(|op| op.returned).collect();
    times.extend([began, ended]);
    times.sort_unstable();
    times.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).max().unwrap_or_default()
}

impl fmt::Display for Summary {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Figures { operations, acknowledged, not_done, unknown, .. } = self.figures;
        let Figures { a_second, acknowledged_a_second, .. } = self.figures;
        let Figures { longest_outage_ms, recovered_ms, .. } = self.figures;
        writeln!(
            out,
            "{}: {operations} operations ({acknowledged} done, {not_done} not done, {unknown} \
             unknown), {a_second} a second ({acknowledged_a_second} done), longest time without \
             an acknowledged write {longest_outage_ms} ms, served again after {recovered_ms} ms",
            self.verdict
        )?;
        if let Some(report) = &self.faults {
            for (kind, tally) in &report.tallies {
                let nemesis::Tally { planned, happened, refused, impossible } = tally;
                writeln!(
                    out,
                    "  {}: {happened} of {planned} happened, {refused} refused, {impossible} \
                     impossible",
                    kind.name()
                )?;
            }
        }
        for judgement in &self.judgements {
            say_judgement(judgement, out)?;
        }
        for trouble in &self.troubles {
            writeln!(out, "  trouble: {trouble}")?;
        }
        if self.verdict != Word::Valid {
            writeln!(out, "replay: {}", self.replay)?;
        }
        Ok(())
    }
}

fn say_judgement(judgement: &Judgement, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Judgement { checker, verdict } = judgement;
    let findings = match verdict {
        Verdict::Valid => return writeln!(out, "  {checker}: valid"),
        Verdict::Unknown { why } => return writeln!(out, "  {checker}: unknown: {why}"),
        Verdict::Invalid { findings } => findings,
    };
    writeln!(out, "  {checker}: invalid, {} findings", findings.len())?;
    for finding in findings.iter().take(FINDINGS_SHOWN) {
        writeln!(out, "    {}", finding.what)?;
        for op in finding.ops.iter().take(OPS_SHOWN) {
            writeln!(out, "      {op:?}")?;
        }
    }
    Ok(())
}
