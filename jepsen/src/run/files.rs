//! The files of a run.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Write as _};
use std::path::Path;

use anyhow::Context as _;

use crate::history::{Lines, Op, write_appends, write_line, write_registers};
use crate::workloads::Workload;

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
