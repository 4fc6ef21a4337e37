//! Where a subcommand writes: standard output and standard error, or a test's buffers.

use std::io::Write;

use anyhow::Result;

/// Exit code of a command that did what it was asked.
pub(super) const DONE: u8 = 0;

/// Exit code of a command that did not.
pub(super) const FAILED: u8 = 1;

/// Two places to write to.
pub(super) struct Screen<'a> {
    /// Results.
    pub(super) out: &'a mut dyn Write,
    /// What went wrong.
    pub(super) err: &'a mut dyn Write,
}

impl Screen<'_> {
    /// Writes a line of results.
    pub(super) fn say(&mut self, line: impl std::fmt::Display) -> Result<()> {
        Ok(writeln!(self.out, "{line}")?)
    }

    /// Writes a line about what went wrong.
    pub(super) fn warn(&mut self, line: impl std::fmt::Display) -> Result<()> {
        Ok(writeln!(self.err, "{line}")?)
    }

    /// Writes why nothing was done, and gives the exit code for it.
    pub(super) fn fail(&mut self, line: impl std::fmt::Display) -> Result<u8> {
        self.warn(line)?;
        Ok(FAILED)
    }

    /// Hands on what was written, before a child writes to the same place.
    pub(super) fn flush(&mut self) -> Result<()> {
        self.out.flush()?;
        Ok(self.err.flush()?)
    }
}
