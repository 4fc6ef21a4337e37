//! What was synced survives a power cut and what was not is gone, unless the disk lies.

use std::path::Path;
use std::process::Command;

use portolan_jepsen::lab::disk::{Disk, DiskFault, Loss};

use crate::harness::skip;

fn disk(test: &str, folder: &Path) -> Option<Disk> {
    match Disk::new(&folder.join("disk"), 32, 5) {
        Ok(disk) => Some(disk),
        Err(why) => {
            skip(test, &why.to_string());
            None
        }
    }
}

/// Runs a script in the disk's folder; gives what it said, and whether it ended well.
fn script(disk: &Disk, text: &str) -> (bool, String) {
    let mut command: Command = disk.command("sh");
    let text = format!("cd '{}' && {{ {text}\n}} 2>&1", disk.folder().display());
    let out = command.args(["-c", &text]).output().expect("sh starts");
    (out.status.success(), String::from_utf8_lossy(&out.stdout).trim().to_owned())
}

const SYNCED: &str = "printf synced >a; sync; printf lost >b; cat a b";

#[test]
fn a_power_cut_takes_what_was_not_synced() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = disk("a_power_cut_takes_what_was_not_synced", folder.path()) else { return };
    assert_eq!(script(&disk, SYNCED), (true, "syncedlost".to_owned()));
    assert!(!disk.folder().join("a").exists(), "the disk is seen outside its namespace");
    disk.cut_power(Loss::Drop);
    let (well, said) = script(&disk, "printf more >c; sync -f c");
    assert!(!well, "a disk without power syncs: {said}");
    disk.repair().unwrap();
    assert_eq!(script(&disk, "cat a; test -s b || echo ' and no more'").1, "synced and no more");
    // It works as before, and loses nothing when it is only put in order.
    assert!(script(&disk, "printf again >b; sync").0);
    disk.repair().unwrap();
    assert_eq!(script(&disk, "cat a b").1, "syncedagain");
    assert!(disk.counts().flushes > 0 && disk.counts().failed > 0);
}

#[test]
fn a_disk_that_lies_loses_what_was_synced() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = disk("a_disk_that_lies_loses_what_was_synced", folder.path()) else { return };
    disk.fail(DiskFault::Lies).unwrap();
    assert!(script(&disk, SYNCED).0);
    assert!(disk.cut_power(Loss::Drop).writes > 0);
    disk.repair().unwrap();
    assert_eq!(script(&disk, "test -s a || echo gone").1, "gone");
}

#[test]
fn a_disk_fails_is_slow_and_is_full() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = disk("a_disk_fails_is_slow_and_is_full", folder.path()) else { return };
    disk.fail(DiskFault::Slow { delay_us: 100_000 }).unwrap();
    let timed = "begin=$(date +%s%N); echo >a; sync a; echo $((($(date +%s%N) - begin) / 1000000))";
    let (_, ms) = script(&disk, timed);
    assert!(ms.parse::<u64>().unwrap() >= 100, "{ms} ms");
    disk.mend().unwrap();

    disk.fail(DiskFault::Full).unwrap();
    // But for some blocks that the file system keeps for its own trees, and gives in the end.
    let (well, said) = script(&disk, "head -c 500000 /dev/zero >b");
    assert!(!well && said.contains("No space left"), "{said}");
    disk.mend().unwrap();
    let (well, said) = script(&disk, "head -c 500000 /dev/zero >b && sync -f b");
    assert!(well, "{said}");

    disk.fail(DiskFault::FailedFlush).unwrap();
    let (well, said) = script(&disk, "echo >c && sync c");
    assert!(!well && said.contains("Input/output error"), "{said}");
    disk.repair().unwrap();
    disk.fail(DiskFault::FailedWrite).unwrap();
    let (well, said) = script(&disk, "echo >d && sync d");
    assert!(!well && said.contains("Input/output error"), "{said}");
    disk.repair().unwrap();
    assert!(script(&disk, "echo >e && sync e").0);
}
