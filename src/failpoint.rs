//! Failpoints of this crate, and how a test sets them and the raft crate's ones.
//!
//! Without the feature `failpoints` a point compiles to nothing, and only the table of names is
//! left. With it, `FAILPOINTS=name=actions;…` sets points when the process starts, and
//! `PORTOLAN_FAILPOINTS=/path` makes it listen on a unix socket for lines `name=actions`, each
//! answered by `ok` or what is wrong; `list` gives all names. The words are those of [`mod@raft::failpoint`].

use raft::failpoint::{Point, fails, stops};

/// Every point of this crate.
pub const POINTS: &[Point] = &[
    stops("checkpoint.make.after"),
    fails("checkpoint.make.before"),
    stops("door.write.before"),
    stops("door.write.before_reply"),
    stops("expiry.propose.after"),
    stops("expiry.propose.before"),
    fails("gossip.exchange.before_answer"),
    fails("gossip.exchange.before_ask"),
    stops("lead.clock.before"),
    stops("membership.step.after"),
    stops("membership.step.before"),
    fails("persist.flush.before"),
    stops("persist.write.after"),
    fails("persist.write.before"),
    stops("read.barrier.after"),
    stops("renewal.take.before"),
    stops("renewal.taken.before_reply"),
    fails("restore.adopt.after"),
    fails("restore.pointer.after_rename"),
    fails("restore.pointer.before_rename"),
    stops("restore.shown.before"),
    fails("restore.switch.before"),
    fails("store.apply.before"),
    fails("store.apply.before_persist"),
    stops("store.apply.before_wake"),
    stops("write.forward.after"),
    stops("write.forward.before"),
    stops("write.propose.after"),
    stops("write.propose.before"),
];

#[cfg(feature = "failpoints")]
pub use control::start;

#[cfg(feature = "failpoints")]
mod control {
    //! What sets points: the environment at the start, then lines on a socket.

    use std::io::{self, BufRead as _, BufReader, Error, Write as _};
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::{POINTS, Point};

    fn points() -> Vec<Point> {
        raft::failpoint::POINTS.iter().chain(POINTS).copied().collect()
    }

    /// Sets what the environment says, and listens where it says. Must be called before anything
    /// that has points runs.
    ///
    /// # Errors
    ///
    /// The environment means nothing, or the socket cannot be made.
    #[expect(clippy::disallowed_methods, reason = "a build for tests alone has this")]
    pub fn start() -> io::Result<()> {
        for line in std::env::var("FAILPOINTS").unwrap_or_default().split(';') {
            if !line.trim().is_empty() {
                set(line).map_err(Error::other)?;
            }
        }
        let Ok(path) = std::env::var("PORTOLAN_FAILPOINTS") else { return Ok(()) };
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let listener = UnixListener::bind(path)?;
        let thread = std::thread::Builder::new().name("failpoints".to_owned());
        thread.spawn(move || listen(&listener)).map(drop)
    }

    /// One caller after another: a test has one.
    fn listen(listener: &UnixListener) {
        for stream in listener.incoming() {
            if let Err(error) = stream.and_then(|stream| serve(&stream)) {
                tracing::warn!(%error, "a caller of the failpoints is lost");
            }
        }
    }

    fn serve(stream: &UnixStream) -> io::Result<()> {
        let mut out = stream;
        for line in BufReader::new(stream).lines() {
            let line = line?;
            if line.trim() == "list" {
                for point in points() {
                    writeln!(out, "{}", point.name)?;
                }
            } else {
                match set(&line) {
                    Ok(()) => writeln!(out, "ok")?,
                    Err(why) => writeln!(out, "error: {why}")?,
                }
            }
        }
        Ok(())
    }

    fn set(line: &str) -> Result<(), String> {
        let (name, actions) =
            line.split_once('=').ok_or_else(|| format!("{line:?} is not name=actions"))?;
        raft::failpoint::set(&points(), name.trim(), actions)
    }
}
