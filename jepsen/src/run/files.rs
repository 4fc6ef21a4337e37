//! The files of a run.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Write as _};
use std::path::Path;

use anyhow::Context as _;

use crate::history::{Lines, Op, write_appends, write_line, write_registers};
use crate::nemesis;
use crate::workloads::Workload;

use super::judge::Broken;

/// Writes a history, also in the form that other checkers read where there is one.
pub(super) fn write_history(folder: &Path, workload: Workload, ops: &[Op]) -> anyhow::Result<()> {
    let mut out = create(&folder.join("history.jsonl"))?;
    for op in ops {
        write_line(&mut out, op)?;
    }
    out.flush()?;
    match workload {
        Workload::Register => {
            let mut out = create(&folder.join("history.edn"))?;
            write_registers(&mut out, ops)?;
            out.flush()?;
        }
        Workload::Append => {
            let mut out = create(&folder.join("history.edn"))?;
            write_appends(&mut out, ops)?;
            out.flush()?;
        }
        _ => {}
    }
    Ok(())
}

/// Reads a history that a run wrote.
///
/// # Errors
///
/// If the file cannot be read, or a line of it is none.
pub fn read_history(file: &Path) -> anyhow::Result<Vec<Op>> {
    let input = File::open(file).with_context(|| file.display().to_string())?;
    let ops: Result<Vec<Op>, _> = Lines::new(BufReader::new(input)).collect();
    ops.map_err(|error| anyhow::anyhow!("{}: {error}", file.display()))
}

/// What was broken, by the journal of the faults in a run's folder; nothing, if there is none.
///
/// # Errors
///
/// If the journal cannot be read.
pub fn read_faults(folder: &Path) -> anyhow::Result<Vec<Broken>> {
    let file = folder.join("nemesis.jsonl");
    if !file.exists() {
        return Ok(Vec::new());
    }
    let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let fault = |line| -> anyhow::Result<Broken> {
        let entry: nemesis::Entry = serde_json::from_str(line)?;
        let membership = entry.kind == nemesis::Kind::Membership;
        let removed = entry.nodes.first().copied().filter(|_| membership);
        Ok(Broken { began: entry.began, mended: entry.mended, removed })
    };
    let faults: anyhow::Result<Vec<_>> = text.lines().map(fault).collect();
    faults.with_context(|| file.display().to_string())
}

/// An empty folder; what was there goes.
pub(super) fn fresh_folder(folder: &Path) -> anyhow::Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())
}

pub(super) fn create(file: &Path) -> anyhow::Result<BufWriter<File>> {
    let opened = File::create(file).with_context(|| file.display().to_string())?;
    Ok(BufWriter::new(opened))
}
