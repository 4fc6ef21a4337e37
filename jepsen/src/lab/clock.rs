//! Wall clocks that go wrong for one process at a time, by libfaketime, while it runs.
//!
//! It reaches programs that ask the C library for the time, as Rust's do; not those of Go, and
//! none that is linked statically. The machine's own clock is never touched.

use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::LabError;

/// How wrong a clock is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skew {
    /// How far it is ahead, in milliseconds; behind where negative.
    pub ahead_ms: i64,
    /// How fast it goes, in percent; 100 is right, 200 twice as fast.
    pub percent: u32,
}

impl Skew {
    /// The right time.
    pub const NONE: Self = Self { ahead_ms: 0, percent: 100 };

    /// As libfaketime wants it.
    fn text(self) -> String {
        let sign = if self.ahead_ms < 0 { '-' } else { '+' };
        let (ahead, percent) = (self.ahead_ms.unsigned_abs(), self.percent);
        let offset = format!("{sign}{}.{:03}", ahead / 1000, ahead % 1000);
        let rate = format!(" x{}.{:02}", percent / 100, percent % 100);
        if percent == 100 { offset } else { offset + &rate }
    }
}

/// Which of a process's clocks are changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// What tells the date. What measures time goes on as it should.
    Wall,
    /// That, and what measures time as well.
    Both,
}

/// The clock of one process, kept in a file that the process looks at.
#[derive(Debug)]
pub struct Clock {
    file: PathBuf,
    library: PathBuf,
    which: Which,
}

impl Clock {
    /// A clock that shows the right time, told by this file.
    ///
    /// # Errors
    ///
    /// If libfaketime is not installed, or the file cannot be written.
    pub fn new(file: impl Into<PathBuf>, which: Which) -> Result<Self, LabError> {
        let clock = Self { file: file.into(), library: library()?, which };
        clock.set(Skew::NONE)?;
        Ok(clock)
    }

    /// What a process needs in its environment to have this clock.
    pub fn environment(&self) -> Vec<(String, String)> {
        let mut environment = vec![
            ("LD_PRELOAD", self.library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.file.display().to_string()),
            // How long the process may go on by what it read last, in seconds.
            ("FAKETIME_CACHE_DURATION", "1".to_owned()),
        ];
        if self.which == Which::Wall {
            environment.push(("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()));
            environment.push(("DONT_FAKE_MONOTONIC", "1".to_owned()));
        }
        environment.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// Whether a process that runs has loaded the library. One of Go's asks past it all the same.
    pub fn is_loaded_by(&self, pid: u32) -> bool {
        let loaded = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
        loaded.contains(&self.library.display().to_string())
    }

    /// Makes the clock wrong, or right ([`Skew::NONE`]); a process that runs sees it within a
    /// second.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn set(&self, skew: Skew) -> Result<(), LabError> {
        let failed = |error| LabError::new(self.file.display(), error);
        // Put in place as a whole, because the process may look at any moment.
        let new = self.file.with_extension("new");
        fs::write(&new, skew.text() + "\n").map_err(failed)?;
        fs::rename(&new, &self.file).map_err(failed)
    }
}

/// Where the library is, that of programs with threads.
fn library() -> Result<PathBuf, LabError> {
    let failed = |error| LabError::new("/usr/lib", error);
    for entry in fs::read_dir("/usr/lib").map_err(failed)? {
        let library = entry.map_err(failed)?.path().join("faketime/libfaketimeMT.so.1");
        if library.exists() {
            return Ok(library);
        }
    }
    Err(LabError::new("libfaketimeMT.so.1", "it is not installed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skew_is_told_in_seconds() {
        let text = |ahead_ms, percent| Skew { ahead_ms, percent }.text();
        assert_eq!(Skew::NONE.text(), "+0.000");
        assert_eq!(text(-61_005, 100), "-61.005");
        assert_eq!(text(-5, 100), "-0.005");
        assert_eq!(text(0, 150), "+0.000 x1.50");
    }
}
