//! Failpoints: named places in the code that a test makes fail, stop or wait.
//!
//! Without the feature `failpoints` a point compiles to nothing, and only the table of names is
//! left. Every `failpoint!` of this crate has its line in [`POINTS`]; a test compares both.
//! The application above uses the same macro, and has a table of its own.

#[cfg(feature = "failpoints")]
#[doc(hidden)]
pub use fail;

/// A point by its name `room.what.when`, and whether it can also give an error where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// What it is set by.
    pub name: &'static str,
    /// Whether `error` and `return(text)` are for it; others know only how to wait and to die.
    pub fails: bool,
}

/// A point that can wait or die.
#[must_use]
pub const fn stops(name: &'static str) -> Point {
    Point { name, fails: false }
}

/// A point that can also give an error.
#[must_use]
pub const fn fails(name: &'static str) -> Point {
    Point { name, fails: true }
}

/// Every point of this crate.
pub const POINTS: &[Point] = &[
    stops("append.answer.before"),
    stops("append.receive.before"),
    stops("apply.batch.after"),
    fails("apply.batch.before"),
    stops("barrier.index.before_wait"),
    stops("barrier.round.before"),
    stops("leader.transfer.before"),
    stops("membership.change.after"),
    stops("membership.change.before"),
    stops("propose.answer.before"),
    stops("propose.submit.before"),
    fails("recovery.purge.before"),
    fails("recovery.snapshot.before"),
    fails("recovery.vote.after"),
    stops("snapshot.build.after_rename"),
    fails("snapshot.build.before"),
    fails("snapshot.build.before_rename"),
    fails("snapshot.build.before_sync"),
    stops("snapshot.install.after"),
    fails("snapshot.install.before"),
    fails("snapshot.install.before_own"),
    fails("snapshot.receive.before_finish"),
    fails("snapshot.receive.begin"),
    fails("snapshot.receive.chunk"),
    fails("snapshot.send.before"),
    fails("snapshot.send.before_end"),
    fails("snapshot.send.chunk"),
    fails("start.core.before"),
    stops("start.peers.before"),
    stops("vote.answer.before"),
    stops("vote.ask.before"),
    fails("vote.save.before"),
    stops("vote.saved.before_reply"),
    fails("wal.append.before"),
    fails("wal.committed.before"),
    stops("wal.done.before"),
    fails("wal.open.before"),
    fails("wal.purge.after"),
    fails("wal.purge.before"),
    fails("wal.read.cold"),
    fails("wal.recover.before_cut"),
    fails("wal.retire.before_rename"),
    fails("wal.retire.before_sync"),
    fails("wal.roll.after"),
    fails("wal.roll.before"),
    fails("wal.segment.before_rename"),
    fails("wal.segment.before_sync"),
    fails("wal.sync.after"),
    fails("wal.sync.before"),
    fails("wal.truncate.before"),
    fails("wal.write.after"),
    fails("wal.write.before"),
];

/// A place that a test can make fail. `failpoint!(name)` waits or dies; `failpoint!(name, error)`
/// may also return `Err(error(text))` from the function that it stands in.
#[cfg(feature = "failpoints")]
#[macro_export]
macro_rules! failpoint {
    ($name:literal) => {
        $crate::failpoint::fail::fail_point!($name)
    };
    ($name:literal, $error:expr) => {
        $crate::failpoint::fail::fail_point!($name, |text: Option<String>| {
            Err($error(text.unwrap_or_default()))
        })
    };
}

/// A place that a test can make fail, in a build that has such places: here it is nothing.
#[cfg(not(feature = "failpoints"))]
#[macro_export]
macro_rules! failpoint {
    ($name:literal $(, $error:expr)?) => {};
}

/// Sets what one of `points` does: the words of the crate `fail` (`sleep(ms)`, `pause`, `panic`,
/// `return(text)`, `off`, chains and counts of these), or `error`, which is `return(injected)`,
/// or `abort` and `abort(n)`, which end the process when it passes there for the nth time.
///
/// # Errors
///
/// There is no such point, it gives no errors, or the words mean nothing.
#[cfg(feature = "failpoints")]
pub fn set(points: &[Point], name: &str, actions: &str) -> Result<(), String> {
    let point = points.iter().find(|point| point.name == name);
    let point = point.ok_or_else(|| format!("there is no point {name:?}"))?;
    let actions = actions.trim();
    if let Some(nth) = aborts(actions)? {
        let passed = std::sync::atomic::AtomicU64::new(0);
        return fail::cfg_callback(name, move || {
            if passed.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1 >= nth {
                std::process::abort();
            }
        });
    }
    let actions = if actions == "error" { "return(injected)" } else { actions };
    if actions.contains("return") && !point.fails {
        return Err(format!("point {name:?} gives no error"));
    }
    fail::cfg(name, actions)
}

/// Which passage ends the process, if these words say that one does.
#[cfg(feature = "failpoints")]
fn aborts(actions: &str) -> Result<Option<u64>, String> {
    let Some(rest) = actions.strip_prefix("abort") else { return Ok(None) };
    if rest.is_empty() {
        return Ok(Some(1));
    }
    let count = rest.strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
    let count = count.and_then(|count| count.parse().ok());
    count.map(Some).ok_or_else(|| format!("{actions:?} is no abort"))
}
