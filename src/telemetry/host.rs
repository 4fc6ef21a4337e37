//! The machine as Linux shows it: memory, processors, disk, and what it calls itself.

use std::collections::BTreeMap;
use std::path::Path;

/// Longest file of `/proc` that is read, in bytes: a machine with a thousand processors has less.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Bytes of a kibibyte, the unit of `/proc/meminfo`.
const KIB: u64 = 1024;

/// All of it. What cannot be read is empty or zero, and named in `errors`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Host {
    /// Memory.
    pub memory: Memory,
    /// Each processor.
    pub cpus: Vec<Cpu>,
    /// The disk that holds the data folder.
    pub disk: Disk,
    /// The host's name.
    pub name: String,
    /// Seconds since it was started.
    pub uptime: u64,
    /// When it was started, in seconds since 1970.
    pub boot_time: u64,
    /// Processes.
    pub processes: u64,
    /// The distribution, such as `debian`.
    pub platform: String,
    /// What the distribution comes from.
    pub platform_family: String,
    /// Its version.
    pub platform_version: String,
    /// The kernel's version.
    pub kernel: String,
    /// The machine's own id.
    pub id: String,
    /// What could not be read, each in a few words.
    pub errors: Vec<String>,
}

/// Memory in bytes, by the names of `/proc/meminfo`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory(BTreeMap<String, u64>);

impl Memory {
    /// A row of the file; 0 where there is none.
    pub fn row(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or_default()
    }
}

/// One processor, by the words of `/proc/cpuinfo`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cpu(BTreeMap<String, String>);

impl Cpu {
    /// A row of the file; empty where there is none.
    pub fn row(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }
}

/// A file system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Disk {
    /// Its size in bytes.
    pub total: u64,
    /// What programs may still use, in bytes.
    pub available: u64,
    /// What is in use, in bytes.
    pub used: u64,
    /// Its inodes.
    pub inodes: u64,
    /// Inodes that are free.
    pub inodes_free: u64,
}

/// Reads the machine; `data` is where the disk is looked at. Reads some files of `/proc`, so it
/// takes about a millisecond, and may take longer where the disk hangs.
pub fn host(data: &Path) -> Host {
    let mut errors = Vec::new();
    let mut text = |path: &str| {
        read(path).unwrap_or_else(|error| {
            errors.push(format!("{path}: {error}"));
            String::new()
        })
    };
    let release = pairs(&text("/etc/os-release"), '=');
    let word = |name: &str| release.get(name).map_or("", |it| it.trim_matches('"')).to_owned();
    let seconds = text("/proc/uptime");
    let stat = text("/proc/stat");
    let boot = stat.lines().find_map(|line| line.strip_prefix("btime "));
    let mut host = Host {
        memory: Memory(memory(&text("/proc/meminfo"))),
        cpus: cpus(&text("/proc/cpuinfo")),
        name: text("/proc/sys/kernel/hostname").trim().to_owned(),
        uptime: seconds.split('.').next().and_then(|it| it.parse().ok()).unwrap_or_default(),
        boot_time: boot.and_then(|boot| boot.trim().parse().ok()).unwrap_or_default(),
        processes: processes(),
        platform: word("ID"),
        platform_family: word("ID_LIKE"),
        platform_version: word("VERSION_ID"),
        kernel: text("/proc/sys/kernel/osrelease").trim().to_owned(),
        id: text("/etc/machine-id").trim().to_owned(),
        ..Host::default()
    };
    match rustix::fs::statvfs(data) {
        Ok(found) => host.disk = disk(&found),
        Err(error) => errors.push(format!("{}: {error}", data.display())),
    }
    host.errors = errors;
    host
}

fn read(path: &str) -> std::io::Result<String> {
    use std::io::Read as _;

    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Lines of `name<mark>value`; the first of a name counts.
fn pairs(text: &str, mark: char) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for (name, value) in text.lines().filter_map(|line| line.split_once(mark)) {
        all.entry(name.trim().to_owned()).or_insert_with(|| value.trim().to_owned());
    }
    all
}

fn memory(text: &str) -> BTreeMap<String, u64> {
    let rows = pairs(text, ':').into_iter().filter_map(|(name, value)| {
        let (number, unit) = value.split_once(' ').unwrap_or((&value, ""));
        let factor = if unit == "kB" { KIB } else { 1 };
        Some((name, number.parse::<u64>().ok()?.saturating_mul(factor)))
    });
    rows.collect()
}

fn cpus(text: &str) -> Vec<Cpu> {
    let blocks = text.split("\n\n").map(|block| pairs(block, ':'));
    blocks.filter(|rows| rows.contains_key("processor")).map(Cpu).collect()
}

fn processes() -> u64 {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let is_process = |name: &std::ffi::OsStr| {
        name.to_str().is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
    };
    entries.filter(|entry| is_process(&entry.file_name())).fold(0, |count, _| count + 1)
}

fn disk(found: &rustix::fs::StatVfs) -> Disk {
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    Disk {
        total: bytes(found.f_blocks),
        available: bytes(found.f_bavail),
        used: bytes(found.f_blocks.saturating_sub(found.f_bfree)),
        inodes: found.f_files,
        inodes_free: found.f_ffree,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_can_be_read() {
        let host = host(Path::new("/"));
        assert!(host.memory.row("MemTotal") > 1 << 20, "{host:?}");
        assert!(!host.cpus.is_empty() && host.disk.total > 0 && host.boot_time > 0);
        assert!(!host.name.is_empty() && !host.kernel.is_empty() && host.processes > 0);
    }

    #[test]
    fn rows_have_units_and_blocks_are_processors() {
        let rows = memory("MemTotal:       2 kB\nHugePages_Total: 3\nbroken\n");
        assert_eq!((rows["MemTotal"], rows["HugePages_Total"]), (2048, 3));
        let found = cpus("processor\t: 0\nmodel name\t: A: b\n\nprocessor\t: 1\n\nSerial: x\n");
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].row("model name"), found[1].row("none")), ("A: b", ""));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let host = host(Path::new("/no/such/folder"));
        assert!(host.errors.iter().any(|error| error.starts_with("/no/such/folder: ")));
        assert_eq!(host.disk, Disk::default());
    }
}
