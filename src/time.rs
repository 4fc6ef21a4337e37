//! The only place that asks a clock: the wall clock for display, the monotonic one for elapsed time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Seconds since 1970 on this machine's wall clock. For display and logs, never for a decision.
pub fn wall_seconds() -> u64 {
    wall_millis() / 1000
}

/// Milliseconds since 1970 on this machine's wall clock: tells one start of a process from the
/// next.
#[expect(clippy::disallowed_methods, reason = "this module is the one that may")]
pub fn wall_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// This machine's monotonic time; under `tokio::time::pause` it is the test's.
pub fn now() -> Instant {
    Instant::now()
}

/// A part of `span` below `one_in`-th of it, taken from `seed`: jitter without a clock.
pub fn jitter(span: Duration, one_in: u32, seed: u64) -> Duration {
    let width = span.as_nanos() / u128::from(one_in.max(1));
    let part = u128::from(seed) % (width + 1);
    Duration::from_nanos(u64::try_from(part).unwrap_or(u64::MAX))
}

/// Random bits of the operating system, for jitter, ids and shuffles; never used by the store.
///
/// # Panics
///
/// If the system has no randomness, which Linux only says before it is up.
pub fn random() -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).expect("the system gives random bytes");
    u64::from_le_bytes(bytes)
}
