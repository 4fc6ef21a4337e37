//! What the processes of a run use while it goes on: memory and file descriptors.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::param::page_size;

use super::judge::Judgement;
use crate::checkers::hygiene::{GrowthOptions, Sample, check_growth};
use crate::nemesis::Cluster;
use crate::targets::node_name;

/// Between two looks.
const EVERY: Duration = Duration::from_millis(500);
/// Samples of one process, behind its warm-up, from which on something can be said: half a minute.
const JUDGED_FROM: usize = 60;

/// The samples of each process, by its node and its id.
pub(super) type Samples = BTreeMap<(usize, u32), Vec<Sample>>;

/// Looks at every process of a cluster until it is to stop.
pub(super) fn take(cluster: &dyn Cluster, now: &dyn Fn() -> u64, stop: &AtomicBool) -> Samples {
    let mut samples = Samples::new();
    while !stop.load(Ordering::Relaxed) {
        for node in 0..cluster.nodes() {
            let Some(pid) = cluster.pid(node) else { continue };
            // Gone in the meantime: no sample.
            let Some((memory, descriptors)) = usage(pid) else { continue };
            let sample = Sample { time: now(), memory, descriptors };
            samples.entry((node, pid)).or_default().push(sample);
        }
        std::thread::park_timeout(EVERY);
    }
    samples
}

/// Judges every process that ran for long enough without a start in between.
pub(super) fn judge(samples: &Samples) -> Vec<Judgement> {
    let options = GrowthOptions::default();
    let judged = samples.iter().filter_map(|((node, _), samples)| {
        let began = samples.first()?.time;
        let own: Vec<Sample> =
            samples.iter().map(|sample| Sample { time: sample.time - began, ..*sample }).collect();
        let settled = own.iter().filter(|sample| sample.time >= options.warm_up).count();
        let verdict = check_growth(&node_name(*node), &own, &options);
        (settled >= JUDGED_FROM).then_some(Judgement { checker: "growth", verdict })
    });
    judged.collect()
}

/// Resident memory in bytes, and open descriptors.
fn usage(pid: u32) -> Option<(u64, u64)> {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count();
    Some((pages * u64::try_from(page_size()).ok()?, u64::try_from(open).ok()?))
}
