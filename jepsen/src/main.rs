//! `portolan-jepsen`: real clusters under load and faults, and a verdict on each.
//!
//! Ends with 0 where all is valid, 1 where something is invalid, 2 where it could not be told,
//! which is a failure as well.

mod campaigns;
mod options;

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser as _;
use portolan_jepsen::power;
use portolan_jepsen::report::{Ledger, Word};
use portolan_jepsen::run::{Promise, judge, read_faults, read_history, run};

use options::{Command, Options};

fn main() -> ExitCode {
    match perform(Options::parse().command) {
        Ok(word) => code(word),
        Err(error) => {
            drop(writeln!(std::io::stderr(), "portolan-jepsen: {error:#}"));
            code(Word::Unknown)
        }
    }
}

fn code(word: Word) -> ExitCode {
    match word {
        Word::Valid => ExitCode::SUCCESS,
        Word::Invalid => ExitCode::from(1),
        Word::Unknown => ExitCode::from(2),
    }
}

fn perform(command: Command) -> anyhow::Result<Word> {
    match command {
        Command::Run(wanted) => {
            let settings = wanted.settings()?;
            say(&settings.replay_line());
            let summary = run(&settings)?;
            say(&format!("{summary}history, faults, verdict: {}", settings.folder().display()));
            Ok(summary.verdict)
        }
        Command::Check(check) => {
            let mut promise = Promise::new(check.target, check.level());
            promise.broken = read_faults(check.file.parent().unwrap_or(Path::new(".")))?;
            let judgements = judge(&read_history(&check.file)?, check.workload, &promise);
            say(&serde_json::to_string_pretty(&judgements)?);
            Ok(portolan_jepsen::report::word(&judgements, &[]))
        }
        Command::Calibrate(wanted) => campaigns::calibrate(&wanted),
        Command::All(wanted) => campaigns::all(&wanted),
        Command::Soak(soak) => campaigns::soak(&soak),
        Command::Power(wanted) => {
            let report = power::run(&wanted.options()?)?;
            say(&serde_json::to_string_pretty(&report)?);
            Ok(match (report.is_valid(), report.findings.is_empty()) {
                (true, _) => Word::Valid,
                (false, false) => Word::Invalid,
                // Nothing was cut, or nothing written.
                (false, true) => Word::Unknown,
            })
        }
        Command::Ledger { file } => {
            say(&Ledger::open(&file)?.sums().to_string());
            Ok(Word::Valid)
        }
    }
}

/// Prints lines on standard output. Whoever closed it does not want to know.
fn say(text: &str) {
    drop(writeln!(std::io::stdout().lock(), "{}", text.trim_end()));
}
