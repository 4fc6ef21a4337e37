//! One target under libFuzzer: the one that FUZZ_TARGET names. See `.ci/fuzz`.
#![no_main]

use std::sync::LazyLock;

use raft::fuzz::Target;

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    #[expect(clippy::disallowed_methods, reason = "libFuzzer has the command line for itself")]
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let mut targets = portolan_fuzz::targets().into_iter();
    targets.find(|target| target.name == name).expect("FUZZ_TARGET names a target")
});

libfuzzer_sys::fuzz_target!(|input: &[u8]| portolan_fuzz::run(&TARGET, input));
