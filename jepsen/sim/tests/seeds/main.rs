//! The simulation itself: what it promises to whoever replays a seed.

use std::process::Command;

/// All that a seed says of itself, in one line.
fn one(seed: u64) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portolan-sim"));
    let output = command.args(["one", "--json", "--seed", &seed.to_string()]).output();
    let output = output.expect("the simulation runs");
    let text = String::from_utf8(output.stdout).expect("its words are text");
    assert!(text.contains("\"trace\""), "seed {seed}: {text}");
    text
}

/// Trace, operations, faults and verdict are the same each time, to the last byte.
#[test]
fn a_seed_replays_to_the_same_trace() {
    for seed in [3, 7] {
        assert_eq!(one(seed), one(seed), "seed {seed}");
    }
}

#[test]
fn seeds_differ() {
    assert_ne!(one(1), one(2));
}
