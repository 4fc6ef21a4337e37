//! What a fuzzer throws bytes at, and how it takes bytes apart. Only with the feature `fuzz`.
//!
//! Each room that reads strangers' bytes has a file `fuzz.rs` beside its parsers with a list of
//! [`Target`]s; `jepsen/fuzz` runs all of them. A target is more than "does not panic": it says
//! what must hold of whatever was read.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};

/// Longest input of a target, in bytes; the bounds on memory are for inputs up to this.
pub const INPUT_BYTES_MAX: usize = 16 * 1024;

/// A function that takes any bytes.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, also that of its folder of inputs.
    pub name: &'static str,
    /// What it reads and what must hold, in a line.
    pub about: &'static str,
    /// What it may hold in memory at once, in bytes, beside what it held before.
    pub memory: usize,
    /// Panics if something does not hold that must.
    pub run: fn(&[u8]),
    /// Inputs that are well formed, for a fuzzer to begin with; the same each time.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// This crate's targets.
pub const TARGETS: &[&[Target]] =
    &[crate::peer::fuzz::TARGETS, crate::snapshot::fuzz::TARGETS, crate::wal::fuzz::TARGETS];

/// An input that is taken apart from the front. Behind its end there are zeros.
#[derive(Clone, Debug)]
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// All of an input.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or_default()
    }

    /// The next two bytes as a number, big-endian.
    pub fn number(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// The next bytes; fewer where the input ends.
    pub fn take(&mut self, count: usize) -> &'a [u8] {
        let (front, behind) = self.0.split_at_checked(count).unwrap_or((self.0, &[]));
        self.0 = behind;
        front
    }

    /// The next piece: a length in two bytes, and so many bytes. [`pieces`] is the way back.
    pub fn piece(&mut self) -> &'a [u8] {
        let length = self.number();
        self.take(length.into())
    }

    /// All that is left.
    pub fn rest(self) -> &'a [u8] {
        self.0
    }
}

/// Bytes that [`Input::piece`] takes apart.
pub fn pieces<B: AsRef<[u8]>>(all: &[B]) -> Vec<u8> {
    let mut out = Vec::new();
    for piece in all {
        let piece = piece.as_ref();
        let length = u16::try_from(piece.len()).unwrap_or(u16::MAX);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend(piece.iter().take(length.into()));
    }
    out
}

/// A connection whose other side sends these bytes, a few at a time, and closes.
#[derive(Debug)]
pub struct Trickle<'a> {
    bytes: &'a [u8],
    step: usize,
}

impl<'a> Trickle<'a> {
    /// Each read brings at most `step` bytes, one at least.
    pub fn new(bytes: &'a [u8], step: usize) -> Self {
        Self { bytes, step: step.max(1) }
    }
}

impl AsyncRead for Trickle<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let count = self.step.min(buffer.remaining()).min(self.bytes.len());
        let (now, later) = self.bytes.split_at(count);
        buffer.put_slice(now);
        self.bytes = later;
        Poll::Ready(Ok(()))
    }
}
