//! The two judges of key-value histories.

use portolan_jepsen::checkers::{Verdict, certificate, wgl};
use portolan_jepsen::history::{Answer, Level, Op, Outcome};

use crate::dice::Dice;
use crate::kv::{Shape, history};
use crate::kv_breaks::BREAKS;
use crate::{accepted, rejected};

const PLAIN: Shape = Shape {
    ops: 300,
    clients: 6,
    keys: 5,
    unknown: 5,
    failed: 5,
    global: false,
    silent: 0,
    stale: 10,
    wide: 15,
};

fn shapes() -> [Shape; 4] {
    [
        PLAIN,
        Shape { global: true, ..PLAIN },
        Shape { silent: 60, ..PLAIN },
        Shape { silent: 100, keys: 2, clients: 10, ..PLAIN },
    ]
}

fn options(shape: Shape) -> certificate::Options {
    certificate::Options { store_is_global: shape.global, ..Default::default() }
}

#[test]
fn valid_histories_pass_the_certificate() {
    for seed in 0..400 {
        for (at, shape) in shapes().into_iter().enumerate() {
            let verdict = certificate::check(&history(seed, shape), &options(shape));
            accepted(&verdict, &format!("seed {seed} of shape {at}"));
        }
    }
}

#[test]
fn valid_histories_have_an_order() {
    let options = wgl::Options::default();
    for seed in 0..200 {
        for shape in shapes() {
            let shape = Shape { ops: 120, clients: 4, unknown: 2, ..shape };
            let verdict = wgl::check(&history(seed, shape), &options);
            accepted(&verdict, &format!("seed {seed}"));
        }
    }
}

#[test]
fn broken_histories_fail_the_certificate() {
    for (name, breaks) in BREAKS {
        let mut count = 0;
        for seed in 0..400 {
            let shape = shapes()[usize::try_from(seed % 3).expect("it is small")];
            let mut ops = history(seed, shape);
            let mut dice = Dice::new(seed + 7);
            if breaks(&mut ops, &mut dice).is_some() {
                rejected(
                    &certificate::check(&ops, &options(shape)),
                    &format!("{name}, seed {seed}"),
                );
                count += 1;
            }
        }
        println!("{name}: {count} broken histories rejected");
        assert!(count >= 40, "{name} broke only {count}");
    }
}

#[test]
fn the_oracle_sees_what_needs_no_revision() {
    for (name, breaks) in BREAKS.into_iter().take(5) {
        let mut count = 0;
        for seed in 0..120 {
            let shape = Shape { ops: 100, clients: 3, unknown: 2, wide: 0, stale: 0, ..PLAIN };
            let mut ops = history(seed, shape);
            if breaks(&mut ops, &mut Dice::new(seed)).is_some() {
                rejected(&wgl::check(&ops, &wgl::Options::default()), &format!("{name}, {seed}"));
                rejected(&certificate::check(&ops, &options(shape)), &format!("{name}, {seed}"));
                count += 1;
            }
        }
        assert!(count >= 20, "{name} broke only {count}");
    }
}

/// Some read shows some other state that its key once had. Whether that breaks anything is not
/// known, but the judges must agree: what the certificate accepts has an order; and where no two
/// writes overlap, what has an order is accepted.
#[test]
fn both_judges_agree_on_what_nobody_knows() {
    let (mut both, mut broken) = (0, 0);
    for seed in 0..3_000 {
        let one_writer = seed % 2 == 0;
        let clients = if one_writer { 1 } else { 4 };
        let shape = Shape {
            ops: 40,
            clients,
            keys: 1,
            unknown: 0,
            global: true,
            wide: 0,
            stale: 0,
            ..PLAIN
        };
        let mut ops = history(seed, shape);
        let mut dice = Dice::new(seed);
        confuse(&mut ops, &mut dice, one_writer);
        let options = certificate::Options::default();
        let certified = certificate::check(&ops, &options);
        let ordered = wgl::check(&ops, &wgl::Options::default());
        if certified == Verdict::Valid {
            accepted(&ordered, &format!("certified, seed {seed}"));
            both += 1;
        } else {
            if one_writer {
                rejected(
                    &ordered,
                    &format!("not certified, seed {seed}: {}", crate::told(&certified)),
                );
            }
            broken += 1;
        }
    }
    println!("{both} valid, {broken} not");
    assert!(both > 300 && broken > 300, "{both} valid, {broken} not");
}

/// Reads are stretched (by clients of their own), and one of them shows another's answer.
fn confuse(ops: &mut [Op], dice: &mut Dice, stretch: bool) {
    let reads: Vec<usize> = (0..ops.len())
        .filter(|&at| matches!(ops[at].outcome, Outcome::Done(Answer::Value { .. })))
        .collect();
    for &at in reads.iter().filter(|_| stretch) {
        ops[at].client = 1_000 + u32::try_from(at).expect("it is small");
        ops[at].called = ops[at].called.saturating_sub(dice.below(600));
        ops[at].returned += dice.below(600);
    }
    if let (Some(&one), Some(&other)) = (dice.pick(&reads), dice.pick(&reads)) {
        ops[one].outcome = ops[other].outcome.clone();
    }
}

/// Stale reads, asked to be judged as if they were current: the calibration with a system whose
/// reads are known to be stale.
#[test]
fn stale_reads_are_found_when_asked_for() {
    let strict = certificate::Options {
        linearizable: vec![Level::Default, Level::Strong, Level::Stale],
        ..Default::default()
    };
    for seed in 0..50 {
        let ops = history(seed, Shape { stale: 40, ..PLAIN });
        accepted(&certificate::check(&ops, &certificate::Options::default()), "as they are");
        rejected(&certificate::check(&ops, &strict), "as if they were current");
    }
}

/// `JEPSEN_BENCH_OPS` operations are judged, and how long that took is told.
#[test]
#[expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "it measures the machine")]
fn how_fast_the_certificate_is() {
    let size = std::env::var("JEPSEN_BENCH_OPS").ok().and_then(|size| size.parse().ok());
    let ops = size.unwrap_or(20_000);
    let ops = history(1, Shape { ops, clients: 50, keys: 1_000, wide: 0, ..PLAIN });
    let start = std::time::Instant::now();
    let verdict = certificate::check(&ops, &certificate::Options::default());
    let time = start.elapsed();
    accepted(&verdict, "a long history");
    let rate = ops.len() as u128 * 1_000_000_000 / time.as_nanos().max(1);
    println!("{} operations in {time:?}, {rate} a second", ops.len());
}
