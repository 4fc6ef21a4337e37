//! Waiting: polling with a deadline, and the turnstile that keeps timed tests by themselves.

use std::future::Future;
use std::sync::LazyLock;
use std::time::Duration;

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::time::{Instant, sleep};

/// How long to rest between two looks.
const POLL: Duration = Duration::from_millis(5);

/// Holds the tests that need the machine to themselves apart from those that do not.
static TURNSTILE: LazyLock<RwLock<()>> = LazyLock::new(|| RwLock::new(()));

/// Waits for the machine: nothing else runs while this guard lives. For tests that measure.
pub(crate) async fn alone() -> RwLockWriteGuard<'static, ()> {
    TURNSTILE.write().await
}

/// Waits until no measuring test runs; other tests may run beside this one.
pub(crate) async fn beside_others() -> RwLockReadGuard<'static, ()> {
    TURNSTILE.read().await
}

/// Looks again and again until `look` gives a value; panics with `what` after `limit`.
///
/// Returns what was seen and how long it took to see it.
pub(crate) async fn until<T, F, Fut>(what: &str, limit: Duration, look: F) -> (T, Duration)
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let began = Instant::now();
    match within(limit, look).await {
        Some(seen) => (seen, began.elapsed()),
        None => panic!("not within {limit:?}: {what}"),
    }
}

/// Looks again and again until `look` gives a value, or gives up after `limit`.
pub(crate) async fn within<T, F, Fut>(limit: Duration, mut look: F) -> Option<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let deadline = Instant::now() + limit;
    loop {
        if let Some(seen) = look().await {
            return Some(seen);
        }
        if Instant::now() >= deadline {
            return None;
        }
        sleep(POLL).await;
    }
}

/// A short rest for a client that was turned away, so that it does not spin.
pub(crate) async fn rest() {
    sleep(POLL).await;
}
