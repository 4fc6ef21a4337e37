//! What Linux says about processes and about this machine.

use std::path::Path;

use anyhow::Context as _;

use crate::figures::{float, per};

/// Clock ticks in a second in `/proc/<pid>/stat`: USER_HZ, 100 on every architecture we build for.
/// Source: proc_pid_stat(5), "utime".
const TICKS_PER_SECOND: f64 = 100.0;
/// Bytes in a sector, whatever the disk's own are.
const SECTOR_BYTES: f64 = 512.0;
/// KiB in a MiB.
const KIB_PER_MIB: f64 = 1024.0;

/// Memory of a process in MiB.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Memory {
    /// Resident now.
    pub(crate) resident: f64,
    /// Most that was ever resident.
    pub(crate) peak: f64,
}

/// What a process has cost so far, or cost between two moments.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Effort {
    /// Processor time, user and system, all threads, in seconds.
    pub(crate) cpu: f64,
    /// System calls that wrote, into files or sockets; `send` and its like are none of these.
    pub(crate) writes: f64,
    /// How often a thread of it gave the processor away to wait; threads that ended are forgotten.
    pub(crate) switches: f64,
}

/// What a disk has done, or did between two moments.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Disk {
    /// Bytes that were sent to it.
    pub(crate) written: f64,
    /// How often it was told to make everything last.
    pub(crate) flushes: f64,
}

impl Disk {
    /// What came after `before`.
    pub(crate) fn since(self, before: Self) -> Self {
        Self { written: self.written - before.written, flushes: self.flushes - before.flushes }
    }

    /// The share of one of so many requests; nothing if there were none.
    pub(crate) fn each(self, requests: f64) -> Self {
        Self { written: per(self.written, requests), flushes: per(self.flushes, requests) }
    }
}

impl Effort {
    /// What came after `before`.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            cpu: self.cpu - before.cpu,
            writes: self.writes - before.writes,
            switches: (self.switches - before.switches).max(0.0),
        }
    }

    /// The share of one of so many requests; nothing if there were none.
    pub(crate) fn each(self, requests: f64) -> Self {
        Self {
            cpu: per(self.cpu, requests),
            writes: per(self.writes, requests),
            switches: per(self.switches, requests),
        }
    }

    /// What two processes cost together.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            cpu: self.cpu + other.cpu,
            writes: self.writes + other.writes,
            switches: self.switches + other.switches,
        }
    }
}

/// What a process has cost so far.
/// Source: proc_pid_io(5), "syscw"; proc_pid_status(5), "voluntary_ctxt_switches".
pub(crate) fn effort(pid: u32) -> anyhow::Result<Effort> {
    let io = read(&format!("/proc/{pid}/io"))?;
    let writes = count(&io, "syscw:").with_context(|| format!("/proc/{pid}/io: no syscw"))?;
    let folder = format!("/proc/{pid}/task");
    let mut switches = 0;
    for task in std::fs::read_dir(&folder).context(folder)? {
        // A thread may end while we look.
        let status = std::fs::read_to_string(task?.path().join("status")).unwrap_or_default();
        switches += count(&status, "voluntary_ctxt_switches:").unwrap_or(0);
    }
    Ok(Effort { cpu: cpu_seconds(pid)?, writes: float(writes), switches: float(switches) })
}

/// What the disk under `path` has done so far, for everybody; none if the kernel does not count it
/// for this kind of disk.
///
/// Of a single process the kernel counts no syncs, and of its bytes those of whole pages that it
/// made dirty: with pages of a file system's own size, up to megabytes for each write of a few.
pub(crate) fn disk(path: &Path) -> Option<Disk> {
    let path = path.canonicalize().ok()?;
    let mounts = read("/proc/self/mountinfo").ok()?;
    disk_of(&read("/proc/diskstats").ok()?, holder(&mounts, &path)?.device)
}

/// Processor time of a process so far, user and system, all its threads, in seconds.
fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    let text = read(&format!("/proc/{pid}/stat"))?;
    let ticks = ticks(&text).with_context(|| format!("/proc/{pid}/stat: {text:?}"))?;
    Ok(float(ticks) / TICKS_PER_SECOND)
}

/// Processor seconds that everybody on this machine has used so far, or that the host took away.
/// Source: proc_stat(5), "cpu": user, nice, system, steal; interrupts belong to nobody.
pub(crate) fn busy_seconds() -> anyhow::Result<f64> {
    let text = read("/proc/stat")?;
    let ticks = busy(&text).context("/proc/stat: no line of all processors")?;
    Ok(float(ticks) / TICKS_PER_SECOND)
}

/// Memory of a process now.
pub(crate) fn memory(pid: u32) -> anyhow::Result<Memory> {
    let text = read(&format!("/proc/{pid}/status"))?;
    let mib = |name: &str| {
        let kib = kib(&text, name).with_context(|| format!("/proc/{pid}/status: no {name}"))?;
        anyhow::Ok(float(kib) / KIB_PER_MIB)
    };
    Ok(Memory { resident: mib("VmRSS:")?, peak: mib("VmHWM:")? })
}

/// One line on this machine: processors, memory, kernel, load before we begin.
pub(crate) fn describe() -> String {
    let or_unknown = |text: anyhow::Result<String>| text.unwrap_or_else(|_| "unknown".to_owned());
    let cpus = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let info = or_unknown(read("/proc/cpuinfo"));
    let model = info.lines().find_map(|line| line.strip_prefix("model name\t: "));
    let model = model.unwrap_or("unknown model");
    let total = kib(&or_unknown(read("/proc/meminfo")), "MemTotal:").unwrap_or(0);
    let kernel = or_unknown(read("/proc/sys/kernel/osrelease"));
    let load = or_unknown(read("/proc/loadavg"));
    let load: Vec<_> = load.split(' ').take(3).collect();
    format!(
        "{cpus} processors ({model}), {} GiB, Linux {}, load average before {}",
        total / (1024 * 1024),
        kernel.trim(),
        load.join(" ")
    )
}

/// The kind of file system that holds `path`, as the kernel names it.
pub(crate) fn file_system(path: &Path) -> anyhow::Result<String> {
    let path = path.canonicalize().with_context(|| path.display().to_string())?;
    let mounts = read("/proc/self/mountinfo")?;
    Ok(holder(&mounts, &path).map_or("unknown", |mount| mount.kind).to_owned())
}

fn read(path: &str) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| path.to_owned())
}

/// Fields 14 and 15; the second field is a name in brackets that may hold anything.
fn ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ').skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn busy(stat: &str) -> Option<u64> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let fields: Vec<u64> = line.split_whitespace().map_while(|one| one.parse().ok()).collect();
    let [user, nice, system, _idle, _wait, _irq, _softirq, steal, ..] = fields[..] else {
        return None;
    };
    Some(user + nice + system + steal)
}

fn kib(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

/// A number behind a name at the beginning of a line.
fn count(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok()
}

/// Source: Linux, "I/O statistics fields": field 7, sectors written; 16, flush requests completed.
fn disk_of(diskstats: &str, device: &str) -> Option<Disk> {
    let (major, minor) = device.split_once(':')?;
    let line = diskstats.lines().find_map(|line| {
        let mut fields = line.split_whitespace();
        (fields.next() == Some(major) && fields.next() == Some(minor)).then_some(fields)
    });
    // The fields count from one, and the device's name stands before the first.
    let fields: Vec<_> = line?.collect();
    let of = |field: usize| fields.get(field)?.parse().ok().map(float);
    Some(Disk { written: of(7)? * SECTOR_BYTES, flushes: of(16)? })
}

/// What is mounted somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mount<'a> {
    /// The disk, as `major:minor`.
    device: &'a str,
    /// The file system.
    kind: &'a str,
}

/// Of all mounts above `path` the deepest, and of those the last.
fn holder<'a>(mountinfo: &'a str, path: &Path) -> Option<Mount<'a>> {
    mountinfo
        .lines()
        .filter_map(|line| {
            let (mount, kind) = line.split_once(" - ")?;
            let mut fields = mount.split(' ').skip(2);
            let device = fields.next()?;
            let point = Path::new(fields.nth(1)?);
            let deep = path.starts_with(point).then(|| point.components().count())?;
            Some((deep, Mount { device, kind: kind.split(' ').next()? }))
        })
        .max_by_key(|(deep, _)| *deep)
        .map(|(_, mount)| mount)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_with_brackets_and_spaces_is_passed_over() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 900 0 0 0 17 4 0 0 20 0 1 0 100";
        assert_eq!(ticks(stat), Some(21));
        assert_eq!(ticks("42 nonsense"), None);
    }

    #[test]
    fn the_machine_is_busy_with_user_nice_system_and_steal() {
        let stat = "cpu  1 20 300 9 9 9 9 4000 9 9\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
        assert_eq!(busy(stat), Some(4321));
        assert_eq!(busy("intr 7\n"), None);
        assert!(busy_seconds().unwrap() > 0.0);
    }

    #[test]
    fn status_lines_are_found_by_name() {
        let status = "VmHWM:\t  2048 kB\nVmRSS:\t  1024 kB\nThreads:\t1\n";
        assert_eq!(kib(status, "VmRSS:"), Some(1024));
        assert_eq!(kib(status, "VmSwap:"), None);
    }

    #[test]
    fn counts_are_found_by_name_and_by_device() {
        let io = "wchar: 9\nsyscw: 42\n";
        assert_eq!(count(io, "syscw:"), Some(42));
        assert_eq!(count(io, "syscr:"), None);
        let disks = "   7       0 loop0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17\n 254       0 vda \
                     1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 1600 17\n   8       0 old 1 2 3\n";
        assert_eq!(
            disk_of(disks, "254:0"),
            Some(Disk { written: 7.0 * SECTOR_BYTES, flushes: 1600.0 })
        );
        assert_eq!(disk_of(disks, "7:0").map(|disk| disk.flushes), Some(16.0));
        assert_eq!(disk_of(disks, "8:0"), None, "an older kernel counts no flushes");
        assert_eq!(disk_of(disks, "0:38"), None);
    }

    #[test]
    fn the_deepest_mount_holds_the_path() {
        let mounts = "1 0 0:1 / / rw - overlay o rw\n2 1 0:2 / /tmp rw shared:1 - tmpfs t rw\n\
                      3 1 0:3 / /tmp/disk rw - ext4 /dev/a rw\n";
        let of = |path: &str| holder(mounts, Path::new(path)).map(|mount| mount.kind);
        assert_eq!(of("/tmp/disk/x"), Some("ext4"));
        assert_eq!(of("/tmp/diskette"), Some("tmpfs"));
        assert_eq!(of("/var"), Some("overlay"));
        assert_eq!(holder(mounts, Path::new("/tmp")).unwrap().device, "0:2");
    }

    #[test]
    fn this_process_has_memory_and_a_file_system() {
        let own = memory(std::process::id()).unwrap();
        assert!(own.resident > 0.0 && own.peak >= own.resident);
        let effort = effort(std::process::id()).unwrap();
        assert!(effort.cpu >= 0.0 && effort.switches >= 0.0);
        let twice = effort.and(effort).since(effort);
        assert!((twice.writes - effort.writes).abs() < 0.5);
        assert_ne!(file_system(Path::new("/proc")).unwrap(), "unknown");
    }
}
