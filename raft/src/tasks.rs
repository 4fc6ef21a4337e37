//! The only spawner of this crate: every task and thread is known here, and waited for.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::error::Fault;

/// Tasks and threads of one node.
#[derive(Clone)]
pub(crate) struct Tasks {
    inner: Arc<Inner>,
}

struct Inner {
    /// Where every task runs, whoever's call it is that spawns one.
    runtime: tokio::runtime::Handle,
    stopping: watch::Sender<bool>,
    tasks: Mutex<JoinSet<()>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// What would be threads, in a simulation.
    #[cfg(feature = "sim")]
    workers: Mutex<JoinSet<()>>,
}

impl Tasks {
    /// Tasks on the runtime of whoever calls.
    pub(crate) fn new() -> Tasks {
        Tasks {
            inner: Arc::new(Inner {
                runtime: tokio::runtime::Handle::current(),
                stopping: watch::Sender::new(false),
                tasks: Mutex::new(JoinSet::new()),
                threads: Mutex::new(Vec::new()),
                #[cfg(feature = "sim")]
                workers: Mutex::new(JoinSet::new()),
            }),
        }
    }

    /// Runs `work` until it ends or the node stops, whichever is first.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stopped = self.stopped();
        let mut tasks = self.inner.tasks.lock();
        while tasks.try_join_next().is_some() {}
        let work = async move {
            // Dropping `work` midway is what stopping means; it holds nothing half-done on disk.
            tokio::select! {
                () = work => {}
                () = stopped => {}
            }
        };
        tasks.spawn_on(work, &self.inner.runtime);
    }

    /// Runs `work` on a thread of its own. It waits for nothing but its queue, and must end by
    /// itself when that closes.
    pub(crate) fn thread(
        &self,
        name: &str,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), Fault> {
        #[cfg(feature = "sim")]
        if crate::sim::is_on() {
            self.inner.workers.lock().spawn_on(work, &self.inner.runtime);
            return Ok(());
        }
        let runtime = self.inner.runtime.clone();
        let handle = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || runtime.block_on(work))
            .map_err(|e| Fault(format!("thread {name}: {e}")))?;
        self.inner.threads.lock().push(handle);
        Ok(())
    }

    /// Resolves once the node is stopping.
    pub(crate) fn stopped(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut stopping = self.inner.stopping.subscribe();
        async move {
            // An error means that the sender is gone, which is a stop too.
            if stopping.wait_for(|stop| *stop).await.is_err() {}
        }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        *self.inner.stopping.borrow()
    }

    /// Tells every task to stop and waits for them.
    pub(crate) async fn stop_tasks(&self) {
        self.inner.stopping.send_replace(true);
        let mut tasks = std::mem::take(&mut *self.inner.tasks.lock());
        while tasks.join_next().await.is_some() {}
    }

    /// Waits for the threads, whose queues must have been closed before.
    pub(crate) async fn join_threads(&self) {
        #[cfg(feature = "sim")]
        {
            let mut workers = std::mem::take(&mut *self.inner.workers.lock());
            while workers.join_next().await.is_some() {}
        }
        let threads = std::mem::take(&mut *self.inner.threads.lock());
        let joined = blocking(move || {
            for thread in threads {
                if thread.join().is_err() {
                    tracing::error!("a thread of the replica panicked");
                }
            }
        });
        if let Err(error) = joined.await {
            tracing::error!(%error, "threads were not joined");
        }
    }
}

/// Runs what takes a disk's time where it holds up no task. Dropped midway, it goes on unseen.
///
/// # Errors
///
/// `work` panicked.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    #[cfg(feature = "sim")]
    if crate::sim::is_on() {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
}
