//! The only spawner, and the word that everything should stop.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Spawns tasks and waits for them at the end. Cheap to clone; all clones share one set.
#[derive(Clone)]
pub struct Tasks {
    set: Arc<Mutex<JoinSet<()>>>,
    stop: Arc<watch::Sender<bool>>,
    failed: Arc<watch::Sender<bool>>,
}

/// Says when to stop. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<bool>);

impl Default for Tasks {
    fn default() -> Self {
        Self::new()
    }
}

impl Tasks {
    /// An empty set, not told to stop.
    pub fn new() -> Self {
        Self {
            set: Arc::new(Mutex::new(JoinSet::new())),
            stop: Arc::new(watch::Sender::new(false)),
            failed: Arc::new(watch::Sender::new(false)),
        }
    }

    /// Runs `work` until it ends by itself; it should watch [`Tasks::shutdown`]. A panic ends it
    /// alone, is logged, and is told by [`Tasks::failed`].
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let mut set = self.set.lock();
        while set.try_join_next().is_some() {} // forget the finished, so that the set stays small
        let failed = Arc::clone(&self.failed);
        set.spawn(async move {
            // What the work held is dropped with it: nobody sees it half-changed.
            if AssertUnwindSafe(work).catch_unwind().await.is_err() {
                tracing::error!("a task panicked; the error stream says where");
                failed.send_replace(true);
            }
        });
    }

    /// The word to stop, for a task to wait on.
    pub fn shutdown(&self) -> Shutdown {
        Shutdown(self.stop.subscribe())
    }

    /// Returns once a task of this set has panicked. May be dropped at any time.
    pub async fn failed(&self) {
        let mut failed = self.failed.subscribe();
        drop(failed.wait_for(|failed| *failed).await); // the sender lives as long as this does
    }

    /// Tells every task to stop, waits up to `patience`, then drops those that are left.
    ///
    /// Returns how many had to be dropped.
    pub async fn stop(&self, patience: Duration) -> usize {
        self.stop.send_replace(true);
        let mut set = std::mem::take(&mut *self.set.lock());
        let all = async { while set.join_next().await.is_some() {} };
        if tokio::time::timeout(patience, all).await.is_ok() { 0 } else { set.len() }
    }
}

impl Shutdown {
    /// Returns once the word to stop was given. May be dropped at any time.
    pub async fn wait(&mut self) {
        // An error means that the sender is gone, which is the same word.
        drop(self.0.wait_for(|stop| *stop).await);
    }

    /// Whether the word was given already.
    pub fn is_set(&self) -> bool {
        *self.0.borrow()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_told_and_the_others_go_on() {
        let tasks = Tasks::new();
        tasks.spawn(async { panic!("on purpose") });
        tasks.failed().await;
        let mut stop = tasks.shutdown();
        tasks.spawn(async move { stop.wait().await });
        assert_eq!(tasks.stop(Duration::from_secs(5)).await, 0);
    }
}
