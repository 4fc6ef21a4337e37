//! Log files that are begun anew once they are long or old enough.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Names that are tried for one new file, where files of the same moment are there already.
const NAMES_MAX: u64 = 1000;

/// When a log file is begun anew, and how many old ones stay.
#[derive(Clone, Copy, Debug)]
pub struct LogRotation {
    /// Bytes after which a file is full; 0 for no such bound. The line that fills it is whole.
    pub bytes: u64,
    /// Age after which a file is old.
    pub age: Duration,
    /// Old files that stay beside the new one; `None` for all.
    pub keep: Option<usize>,
    /// Milliseconds since 1970, for the files' names.
    pub wall: fn() -> u64,
}

/// Writes to one file after another. Cheap to clone; all clones share one file.
#[derive(Clone, Debug)]
pub(super) struct Rotating(Arc<Mutex<Files>>);

#[derive(Debug)]
struct Files {
    path: PathBuf,
    rotation: LogRotation,
    file: File,
    stamp: u64,
    written: u64,
    begun: Instant,
}

impl Rotating {
    /// Begins the first file.
    ///
    /// # Errors
    ///
    /// It cannot be made.
    pub(super) fn open(path: PathBuf, rotation: LogRotation) -> io::Result<Self> {
        let (file, stamp) = begin(&path, rotation, 0)?;
        let files = Files { path, rotation, file, stamp, written: 0, begun: Instant::now() };
        Ok(Self(Arc::new(Mutex::new(files))))
    }
}

impl Write for Rotating {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut files = self.0.lock();
        files.rotate();
        let count = files.file.write(line)?;
        files.written += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.lock().file.flush()
    }
}

impl Files {
    /// Begins a new file where it is time; if there can be none, the old one goes on.
    fn rotate(&mut self) {
        let full = self.rotation.bytes > 0 && self.written >= self.rotation.bytes;
        if !full && self.begun.elapsed() < self.rotation.age {
            return;
        }
        // Without a clock of its own a failure is tried again only once as much has passed.
        (self.written, self.begun) = (0, Instant::now());
        let begun = prune(&self.path, self.rotation)
            .and_then(|()| begin(&self.path, self.rotation, self.stamp + 1));
        if let Ok((file, stamp)) = begun {
            (self.file, self.stamp) = (file, stamp);
        }
    }
}

/// What a file's name begins and ends with. Source: Consul 1.8.7, observed: `a-<stamp>.log`.
fn parts(path: &Path) -> (String, String) {
    let text = |part: Option<&std::ffi::OsStr>| part.map(|it| it.to_string_lossy().into_owned());
    let end = text(path.extension()).unwrap_or_else(|| "log".to_owned());
    (format!("{}-", text(path.file_stem()).unwrap_or_default()), format!(".{end}"))
}

/// A new file and its stamp: nanoseconds since 1970, and none before `least`.
fn begin(path: &Path, rotation: LogRotation, least: u64) -> io::Result<(File, u64)> {
    let (start, end) = parts(path);
    let first = (rotation.wall)().saturating_mul(1_000_000).max(least);
    for stamp in first..first.saturating_add(NAMES_MAX) {
        let path = path.with_file_name(format!("{start}{stamp}{end}"));
        match OpenOptions::new().create_new(true).append(true).open(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            opened => return Ok((opened?, stamp)),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Removes all but the newest files of this name, as many as stay.
fn prune(path: &Path, rotation: LogRotation) -> io::Result<()> {
    let Some(keep) = rotation.keep else { return Ok(()) };
    let (start, end) = parts(path);
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
    let mut old = Vec::new();
    for entry in std::fs::read_dir(folder.unwrap_or_else(|| Path::new(".")))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let stamp = name.strip_prefix(&start).and_then(|rest| rest.strip_suffix(&end));
        if let Some(Ok(stamp)) = stamp.map(str::parse::<u64>) {
            old.push((stamp, entry.path()));
        }
    }
    old.sort();
    let gone = old.len().saturating_sub(keep);
    old.iter().take(gone).try_for_each(|(_, path)| std::fs::remove_file(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(folder: &Path) -> Vec<String> {
        let mut files: Vec<_> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect()
    }

    #[test]
    fn full_files_are_followed_by_new_ones_and_old_ones_go() {
        for (keep, left) in [
            (None, &["aaa\nb\n", "ccccc\n", "d\n"][..]),
            (Some(1), &["ccccc\n", "d\n"][..]),
            (Some(0), &["d\n"][..]),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let age = Duration::from_hours(1);
            let rotation = LogRotation { bytes: 5, age, keep, wall: || 7 };
            let mut log = Rotating::open(dir.path().join("a.log"), rotation).unwrap();
            for line in ["aaa\n", "b\n", "ccccc\n", "d\n"] {
                log.write_all(line.as_bytes()).unwrap();
            }
            assert_eq!(contents(dir.path()), left, "{keep:?}");
            assert!(dir.path().join("a-7000002.log").exists() || keep == Some(0));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn old_files_are_followed_by_new_ones_unless_there_can_be_none() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("logs");
        std::fs::create_dir(&folder).unwrap();
        let age = Duration::from_mins(1);
        let rotation = LogRotation { bytes: 0, age, keep: None, wall: || 7 };
        let mut log = Rotating::open(folder.join("a"), rotation).unwrap();
        log.write_all(b"one\n").unwrap();
        tokio::time::advance(age).await;
        log.write_all(b"two\n").unwrap();
        assert_eq!(contents(&folder), ["one\n", "two\n"]);
        assert!(folder.join("a-7000001.log").exists());
        std::fs::remove_dir_all(&folder).unwrap();
        tokio::time::advance(age).await;
        log.write_all(b"three\n").unwrap();
    }
}
