//! The claim that all of this room shares: the registry behind its lock, the disk behind it, and
//! the words between those who change it and the one who pushes it.

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use crate::time;

use super::bounds;
use super::disk::{Batch, Disk, Verdict};
use super::handle::AgentError;
use super::registry::{Judged, Registry, When};

/// What this host claims, in memory and on disk.
#[derive(Debug)]
pub(super) struct Claim {
    registry: Mutex<Registry>,
    disk: Option<Disk>,
    /// Held by whoever changes registrations or files, so that both change in the same order.
    turn: tokio::sync::Mutex<()>,
    wake: Notify,
    /// The generation up to which a push was tried.
    pushed: watch::Sender<u64>,
}

impl Claim {
    /// Joins a registry with the disk that it was loaded from, if it is kept at all.
    pub(super) fn new(registry: Registry, disk: Option<Disk>) -> Self {
        Self {
            registry: Mutex::new(registry),
            disk,
            turn: tokio::sync::Mutex::new(()),
            wake: Notify::new(),
            pushed: watch::Sender::new(0),
        }
    }

    /// The registry. Not to be held over an `await`.
    pub(super) fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock()
    }

    /// The right to change registrations.
    pub(super) async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Writes a batch. To be called by whoever has the turn.
    ///
    /// # Errors
    ///
    /// [`AgentError::Disk`].
    pub(super) async fn keep(&self, batch: Batch) -> Result<(), AgentError> {
        let Some(disk) = self.disk.clone().filter(|_| !batch.is_empty()) else { return Ok(()) };
        match tokio::task::spawn_blocking(move || disk.write(&batch)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(AgentError::Disk(error.to_string())),
            Err(stopped) => Err(AgentError::Disk(stopped.to_string())),
        }
    }

    /// Keeps the verdict of a check, if it is of a kind whose verdict is kept. A failure is only
    /// logged: the verdict holds, and the next one is kept again.
    pub(super) async fn keep_verdict(&self, id: &str) {
        let _turn = self.turn().await;
        let verdict = self.registry().verdict_to_keep(id);
        let Some(verdict) = verdict.map(|verdict| (id.to_owned(), verdict)) else { return };
        if let Err(error) = self.keep(Batch { verdict: Some(verdict), ..Batch::default() }).await {
            tracing::warn!(check = id, %error, "a verdict is not kept");
        }
    }

    /// Takes the verdict of a check's run, as [`Registry::report`].
    pub(super) fn report(&self, who: (&str, u64), verdict: Verdict) {
        let judged = self.registry().report(who, verdict, When::now());
        self.wake_if_new(judged);
    }

    /// Judges an alias anew, as [`Registry::align`].
    pub(super) fn align(&self, who: (&str, u64)) {
        let judged = self.registry().align(who, When::now());
        self.wake_if_new(judged);
    }

    /// A TTL check was not told in time, as [`Registry::expire`].
    pub(super) fn expire(&self, who: (&str, u64)) -> Judged {
        let judged = self.registry().expire(who, When::now());
        self.wake_if_new(judged);
        judged
    }

    /// The owner of a TTL check said something, as [`Registry::tell`].
    ///
    /// # Errors
    ///
    /// [`AgentError::NoTtl`].
    pub(super) fn tell(&self, id: &str, verdict: Verdict) -> Result<Judged, AgentError> {
        let judged = self.registry().tell(id, verdict, When::now())?;
        self.wake_if_new(judged);
        Ok(judged)
    }

    fn wake_if_new(&self, judged: Judged) {
        match judged {
            Judged::Same => {}
            Judged::Output | Judged::Status => self.wake.notify_one(),
        }
    }

    /// Returns once a push was asked for.
    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Says that everything up to `generation` was tried.
    pub(super) fn push_tried(&self, generation: u64) {
        self.pushed.send_if_modified(|pushed| {
            let newer = *pushed < generation;
            *pushed = generation.max(*pushed);
            newer
        });
    }

    /// Asks for a push of all that is claimed now; returns once it was tried, or after
    /// [`bounds::PUSH_WAIT`].
    pub(super) async fn pushed(&self) {
        self.wake.notify_one();
        let generation = self.registry().generation;
        let mut pushed = self.pushed.subscribe();
        let tried = pushed.wait_for(|pushed| *pushed >= generation);
        if timeout(bounds::PUSH_WAIT, tried).await.is_err() {
            tracing::debug!(generation, "a registration did not wait for its push");
        }
    }
}

impl When {
    fn now() -> Self {
        Self { now: time::now(), chance: time::random() }
    }
}
