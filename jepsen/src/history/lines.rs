//! A history on disk: one JSON object a line, in the order in which the operations ended.
//!
//! Never holds more than one line, so that a history may be larger than the memory.

use std::fmt;
use std::io::{self, BufRead, Read, Write};

use super::op::Op;

/// Longest line that is read, in bytes: a scan of some thousand keys.
pub const LINE_BYTES_MAX: usize = 1 << 20;

/// A line that is no operation.
#[derive(Debug)]
pub struct BadLine {
    /// Which, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub why: String,
}

impl fmt::Display for BadLine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "line {} of the history: {}", self.line, self.why)
    }
}

impl std::error::Error for BadLine {}

/// The operations of a history, line by line. Empty lines are passed over.
pub struct Lines<R> {
    from: R,
    line: u64,
    ended: bool,
}

impl<R: BufRead> Lines<R> {
    /// Reads from the start of `from`.
    pub fn new(from: R) -> Self {
        Self { from, line: 0, ended: false }
    }

    fn step(&mut self) -> Result<Option<Op>, String> {
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            self.line += 1;
            let most = LINE_BYTES_MAX as u64 + 1;
            let read = Read::by_ref(&mut self.from)
                .take(most)
                .read_until(b'\n', &mut bytes)
                .map_err(|error| format!("cannot be read: {error}"))?;
            if read == 0 {
                return Ok(None);
            }
            if bytes.last() != Some(&b'\n') && bytes.len() > LINE_BYTES_MAX {
                return Err(format!("is longer than {LINE_BYTES_MAX} bytes"));
            }
            if bytes.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let op: Op = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
            if op.returned < op.called {
                return Err(format!("returned at {}, called at {}", op.returned, op.called));
            }
            return Ok(Some(op));
        }
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = Result<Op, BadLine>;

    /// After a bad line there is no other.
    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let step = self.step();
        self.ended = !matches!(step, Ok(Some(_)));
        step.map_err(|why| BadLine { line: self.line, why }).transpose()
    }
}

/// Writes one operation as a line.
///
/// # Errors
///
/// What the writer says.
pub fn write_line(out: &mut impl Write, op: &Op) -> io::Result<()> {
    serde_json::to_writer(&mut *out, op)?;
    out.write_all(b"\n")
}
