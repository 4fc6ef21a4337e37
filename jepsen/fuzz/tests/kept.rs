//! Every target over every input that is kept, and over thousands that are made of them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use portolan_fuzz::{Mutations, folder, inputs, run, targets};
use raft::fuzz::Target;

/// Inputs made of each one that is kept, at most.
const MUTATIONS: usize = 2_000;
/// How long all of one target's may take.
const BUDGET: Duration = Duration::from_millis(1_200);
/// Stack of a thread, in bytes: as much as those have that serve strangers.
const STACK_BYTES: usize = 2 * 1024 * 1024;
/// Kept inputs altogether, in bytes.
const KEPT_BYTES_MAX: usize = 300 * 1024;

/// Does something for every target, two at a time, on threads as small as a server's.
fn for_each_target(work: impl Fn(&Target) + Sync) {
    let targets = targets();
    let next = AtomicUsize::new(0);
    let failed = AtomicUsize::new(0);
    let worker = || {
        while let Some(target) = targets.get(next.fetch_add(1, Ordering::Relaxed)) {
            let done = catch_unwind(AssertUnwindSafe(|| work(target)));
            failed.fetch_add(usize::from(done.is_err()), Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2)
            .map(|_| {
                std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, worker)
            })
            .collect();
        for thread in threads {
            thread.expect("there is room for a thread").join().expect("it catches what panics");
        }
    });
    assert_eq!(failed.into_inner(), 0, "targets failed: see above");
}

/// Runs a target; an input on which it fails is written down.
fn tried(target: &Target, input: &[u8], from: &Path) {
    if catch_unwind(AssertUnwindSafe(|| run(target, input))).is_ok() {
        return;
    }
    let found = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}.found", target.name));
    std::fs::write(&found, input).expect("an input can be written");
    panic!("{}: failed on {}, made of {}", target.name, found.display(), from.display());
}

fn kept(target: &Target) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    ["corpus", "regressions"]
        .iter()
        .flat_map(|kind| inputs(&folder(kind, target)).expect("inputs can be read"))
        .collect()
}

#[test]
fn every_target_holds_on_what_is_kept_and_on_what_is_made_of_it() {
    for_each_target(|target| {
        let kept = kept(target);
        kept.iter().for_each(|(path, input)| tried(target, input, path));
        let others: Vec<Vec<u8>> = kept.iter().map(|(_, input)| input.clone()).collect();
        let mut made: Vec<_> =
            kept.iter().map(|(path, input)| (path, Mutations::new(input, &others))).collect();
        let until = portolan::time::now() + BUDGET;
        for _ in 0..MUTATIONS {
            for (path, mutations) in &mut made {
                if portolan::time::now() > until {
                    return;
                }
                tried(target, &mutations.next().expect("there is no end"), path);
            }
        }
    });
}

/// `UPDATE_GOLDENFILES=1` writes what the code says.
#[test]
fn what_is_kept_begins_with_what_the_code_says() {
    #[expect(clippy::disallowed_methods, reason = "the runner's own switch")]
    let update = std::env::var("UPDATE_GOLDENFILES").is_ok();
    let mut bytes = 0;
    for target in targets() {
        let folder = folder("corpus", &target);
        for (at, seed) in (target.seeds)().into_iter().enumerate() {
            let path = folder.join(format!("seed-{at:02}"));
            if update {
                std::fs::create_dir_all(&folder).expect("a folder can be made");
                std::fs::write(&path, &seed).expect("a seed can be written");
            }
            let kept = std::fs::read(&path).unwrap_or_default();
            assert!(kept == seed, "{}: UPDATE_GOLDENFILES=1 writes it", path.display());
        }
        bytes += kept(&target).iter().map(|(_, input)| input.len()).sum::<usize>();
    }
    assert!(bytes <= KEPT_BYTES_MAX, "{bytes} bytes are kept, of at most {KEPT_BYTES_MAX}");
}

#[test]
fn names_are_told_apart_and_nothing_is_kept_for_nobody() {
    let names: Vec<&str> = targets().iter().map(|target| target.name).collect();
    let mut once = names.clone();
    once.dedup();
    assert_eq!(names, once);
    for kind in ["corpus", "regressions"] {
        let all = Path::new(env!("CARGO_MANIFEST_DIR")).join(kind);
        for item in std::fs::read_dir(all).into_iter().flatten() {
            let name = item.expect("a folder can be read").file_name();
            assert!(names.iter().any(|known| name == *known), "{name:?} is no target");
        }
    }
}

/// The count sees what is claimed, and not only what is used.
#[test]
fn a_target_that_reserves_for_a_claim_fails() {
    let claims = |claim: &[u8]| {
        let count = claim.first().map_or(0, |count| usize::from(*count) << 20);
        drop(Vec::<u8>::with_capacity(count));
    };
    let memory = 16 << 20;
    let target = Target { name: "claims", about: "", memory, run: claims, seeds: Vec::new };
    run(&target, &[16]);
    assert!(catch_unwind(|| run(&target, &[17])).is_err());
}
