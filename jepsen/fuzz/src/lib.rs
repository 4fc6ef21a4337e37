//! Every parser of strangers' bytes, as a target of a fuzzer.
//!
//! The targets stand beside the parsers, in files `fuzz.rs` behind the feature `fuzz`. Here they
//! are run: over the inputs that are kept (`corpus`, `regressions`) and what is made of them, in
//! an ordinary test; and by libFuzzer, which coverage guides (`make fuzz`). Both hold each target
//! to its bound on memory.

mod meter;
mod mutate;

use std::path::{Path, PathBuf};

use raft::fuzz::{INPUT_BYTES_MAX, Target};

pub use mutate::Mutations;

#[global_allocator]
static METER: meter::Meter = meter::Meter;

/// All targets, by name.
pub fn targets() -> Vec<Target> {
    let ours = [
        portolan::config::fuzz::TARGETS,
        portolan::dns::fuzz::TARGETS,
        portolan::gossip::fuzz::TARGETS,
        portolan::http::fuzz::TARGETS,
        portolan::model::fuzz::TARGETS,
        portolan::seal::fuzz::TARGETS,
        portolan::store::fuzz::TARGETS,
    ];
    let all = ours.iter().chain(raft::fuzz::TARGETS);
    let mut all: Vec<Target> = all.copied().flatten().copied().collect();
    all.sort_by_key(|target| target.name);
    all
}

/// Runs a target on an input.
///
/// # Panics
///
/// If the target does, or if it takes more memory than it may.
pub fn run(target: &Target, input: &[u8]) {
    let input = input.get(..INPUT_BYTES_MAX).unwrap_or(input);
    let (name, most) = (target.name, target.memory);
    let held = meter::most_held(|| (target.run)(input));
    assert!(held <= most, "{name} held {held} bytes at once, of at most {most}");
}

/// Where inputs of a target are kept: `corpus`, or `regressions` for those that once failed.
pub fn folder(kind: &str, target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(kind).join(target.name)
}

/// The inputs in a folder, by path.
///
/// # Errors
///
/// A file cannot be read; a folder that is not there holds nothing.
pub fn inputs(folder: &Path) -> std::io::Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut found = Vec::new();
    if !folder.is_dir() {
        return Ok(found);
    }
    for item in std::fs::read_dir(folder)? {
        let path = item?.path();
        found.push((path.clone(), std::fs::read(path)?));
    }
    found.sort();
    Ok(found)
}
