//! What the processes left behind: panics and errors in their logs, secrets, growth.
//!
//! Rule: no log has a panic, an `ERROR` line that is not on the list of the allowed ones, or any
//! of the given secrets. After a warm-up, neither memory nor descriptors of a process grow by
//! more than is allowed from one third of the run to the last. Findings have no operations.

use super::verdict::{Finding, Verdict};

/// Findings of one log that are told.
const TOLD_MAX: usize = 100;
/// Characters of a line that are told.
const LINE_CHARS_MAX: usize = 300;
/// Samples of one process below which nothing can be said of its growth.
const SAMPLES_MIN: usize = 12;

/// What a log may hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Parts of `ERROR` lines that are expected, since the run provokes them.
    pub allowed: Vec<String>,
    /// What no line may hold, at least four bytes long each; shorter ones are passed over.
    pub secrets: Vec<String>,
}

/// Judges the text of one log file; `name` is told in findings. Only a line with `ERROR` as a
/// word of its own counts as an error, so that values that hold it do not.
pub fn check_log(name: &str, text: &str, options: &LogOptions) -> Verdict {
    let mut findings = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let panic = line.contains("panicked at") || line.contains("has overflowed its stack");
        let error = line.split(|sign: char| !sign.is_ascii_alphanumeric() && sign != '_');
        let error = error.into_iter().any(|word| word == "ERROR");
        let allowed = options.allowed.iter().any(|allowed| line.contains(allowed.as_str()));
        let mut secrets = options.secrets.iter().filter(|secret| secret.len() >= 4);
        let what = if secrets.any(|secret| line.contains(secret.as_str())) {
            format!("{name}:{}: holds a secret", at + 1)
        } else if panic {
            format!("{name}:{}: a panic: {}", at + 1, short(line))
        } else if error && !allowed {
            format!("{name}:{}: an error: {}", at + 1, short(line))
        } else {
            continue;
        };
        findings.push(Finding { what, ops: Vec::new() });
        if findings.len() == TOLD_MAX {
            break;
        }
    }
    verdict(findings)
}

/// What a process used at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Nanoseconds since the run began.
    pub time: u64,
    /// Resident memory in bytes.
    pub memory: u64,
    /// Open file descriptors.
    pub descriptors: u64,
}

/// How much a process may grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrowthOptions {
    /// Samples before this time are left out, in nanoseconds.
    pub warm_up: u64,
    /// Memory that it may grow by, in bytes, …
    pub memory: u64,
    /// … and in hundredths of what it had: the larger of both counts.
    pub memory_percent: u64,
    /// Descriptors that it may grow by.
    pub descriptors: u64,
}

impl Default for GrowthOptions {
    /// Ten seconds; 64 MiB or a half; 64 descriptors.
    fn default() -> Self {
        Self { warm_up: 10_000_000_000, memory: 64 << 20, memory_percent: 50, descriptors: 64 }
    }
}

/// Judges the samples of one process between two of its starts: the median of the first third
/// against that of the last. Too few samples give [`Verdict::Unknown`].
pub fn check_growth(name: &str, samples: &[Sample], options: &GrowthOptions) -> Verdict {
    let mut samples: Vec<Sample> =
        samples.iter().copied().filter(|sample| sample.time >= options.warm_up).collect();
    samples.sort_by_key(|sample| sample.time);
    if samples.len() < SAMPLES_MIN {
        let why = format!("{name} has {} samples after its warm-up", samples.len());
        return Verdict::Unknown { why };
    }
    let third = samples.len() / 3;
    let (first, last) = (&samples[..third], &samples[samples.len() - third..]);
    let mut findings = Vec::new();
    let mut say = |what, (before, after), most| {
        if after > before + most {
            let what = format!("{name} grew from {before} to {after} {what}");
            findings.push(Finding { what, ops: Vec::new() });
        }
    };
    let memory = |part: &[Sample]| median(part.iter().map(|sample| sample.memory).collect());
    let (before, after) = (memory(first), memory(last));
    let most = options.memory.max(before / 100 * options.memory_percent);
    say("bytes of memory", (before, after), most);
    let open = |part: &[Sample]| median(part.iter().map(|sample| sample.descriptors).collect());
    say("descriptors", (open(first), open(last)), options.descriptors);
    verdict(findings)
}

fn verdict(findings: Vec<Finding>) -> Verdict {
    if findings.is_empty() { Verdict::Valid } else { Verdict::Invalid { findings } }
}

fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}

fn short(line: &str) -> String {
    line.chars().take(LINE_CHARS_MAX).collect()
}
