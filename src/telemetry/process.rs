//! This process as Linux shows it: memory, processor time, open files.

/// Clock ticks a second in `/proc`; the same on every Linux that we run on.
const TICKS_A_SECOND: f64 = 100.0;
/// Bytes of a page; the same on every Linux that we run on but for large-page builds.
const PAGE_BYTES: f64 = 4096.0;

/// What `/proc` says; `None` where it cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Process {
    /// Memory in use, in bytes.
    pub resident_bytes: Option<f64>,
    /// Processor time used so far, in seconds.
    pub cpu_seconds: Option<f64>,
    /// Open files and connections.
    pub open_files: Option<f64>,
    /// Threads.
    pub threads: Option<f64>,
}

/// Reads `/proc/self`.
pub(super) fn read() -> Process {
    let text = |name: &str| std::fs::read_to_string(format!("/proc/self/{name}")).ok();
    let stat = text("stat");
    let fields = stat.as_deref().map(stat_fields).unwrap_or_default();
    let field = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok());
    let files = std::fs::read_dir("/proc/self/fd").ok().map(Iterator::count);
    Process {
        resident_bytes: text("statm").as_deref().and_then(resident),
        cpu_seconds: field(11)
            .zip(field(12))
            .map(|(user, system)| (user + system) / TICKS_A_SECOND),
        open_files: files.and_then(|count| u32::try_from(count).ok()).map(f64::from),
        threads: field(17),
    }
}

/// The fields of `stat` behind the program's name, which may hold blanks and brackets.
fn stat_fields(stat: &str) -> Vec<&str> {
    let behind = stat.rsplit_once(')').map_or("", |(_, behind)| behind);
    behind.split_ascii_whitespace().collect()
}

fn resident(statm: &str) -> Option<f64> {
    let pages: f64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * PAGE_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let fields = stat_fields("1 (a) b) S 2 3");
        assert_eq!(fields, ["S", "2", "3"]);
    }

    #[test]
    fn pages_become_bytes() {
        assert_eq!(resident("10 3 1"), Some(12_288.0));
        assert_eq!(resident("x"), None);
    }
}
