//! The two judges of key-value histories.

use portolan_jepsen::checkers::{Verdict, certificate, wgl};
use portolan_jepsen::history::{Action, Level, Outcome};

use crate::kv::{Shape, history};
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

pub fn shapes() -> [Shape; 4] {
    [
        PLAIN,
        Shape { global: true, ..PLAIN },
        Shape { silent: 60, ..PLAIN },
        Shape { silent: 100, keys: 2, clients: 10, ..PLAIN },
    ]
}

#[test]
fn valid_histories_pass_the_certificate() {
    for seed in 0..400 {
        for (at, shape) in shapes().into_iter().enumerate() {
            let options =
                certificate::Options { store_is_global: shape.global, ..Default::default() };
            let verdict = certificate::check(&history(seed, shape), &options);
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
