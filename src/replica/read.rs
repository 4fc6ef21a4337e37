//! A read's way: the barrier where it must be fresh, the wait where it blocks, the view.

use std::collections::HashMap;
use std::time::Duration;

use super::handle::Inner;
use crate::model::{Consistency, Index, Query, Read, ReadOptions, Unavailable};
use crate::store::{Evaluated, View};
use crate::{limits, time};

/// The evaluations that parked readers share: each waited-for query with the store's index that
/// it was evaluated at, and how many wait for it.
#[derive(Default)]
pub(super) struct SharedReads {
    reads: HashMap<Query, SharedRead>,
}

#[derive(Default)]
struct SharedRead {
    waiters: usize,
    last: Option<(Index, Evaluated)>,
}

impl Inner {
    pub(super) async fn read(
        &self,
        query: Query,
        options: ReadOptions,
    ) -> Result<Read, Unavailable> {
        let barrier = self.freshen(options.consistency).await?;
        let evaluated = match options.after {
            Some(after) if after > Index(0) => self.wait(query, after, options.wait).await?,
            _ => self.view.query(&query),
        };
        let last_contact = if barrier { Duration::ZERO } else { self.last_contact() };
        Ok(Read {
            answer: evaluated.answer,
            index: evaluated.index,
            known_leader: self.raft.leader().0.is_some(),
            last_contact,
        })
    }

    /// As [`Inner::read`] without a wait, but only when the answer last changed.
    pub(super) async fn changed(
        &self,
        query: &Query,
        consistency: Consistency,
    ) -> Result<Index, Unavailable> {
        self.freshen(consistency).await?;
        Ok(self.view.changed(query))
    }

    /// Returns once this replica is as fresh as asked; true if that took a barrier.
    async fn freshen(&self, consistency: Consistency) -> Result<bool, Unavailable> {
        let barrier = match consistency {
            Consistency::Linearizable => true,
            Consistency::StaleWithin(most) => self.last_contact() > most,
            Consistency::Stale => false,
        };
        if barrier {
            self.barrier().await?;
        } else if self.last_contact() == Duration::MAX {
            return Err(Unavailable::NoLeader); // never heard of one: nothing here means anything
        }
        Ok(barrier)
    }

    /// Returns once this replica holds all that was acknowledged before the call.
    async fn barrier(&self) -> Result<(), Unavailable> {
        let until = time::now() + self.options.leader_hold;
        loop {
            let left = until.saturating_duration_since(time::now());
            match self.raft.read_barrier(left).await {
                Ok(()) => return Ok(()),
                Err(raft::BarrierError::Stopped) => {
                    return Err(Unavailable::NotApplied("this server is stopping".to_owned()));
                }
                Err(_) if time::now() >= until => return Err(Unavailable::NoLeader),
                Err(_) => tokio::time::sleep(self.options.heartbeat.min(left)).await,
            }
        }
    }

    /// Parks until the answer's index is above `after`, or `wait` and its jitter have passed.
    async fn wait(
        &self,
        query: Query,
        after: Index,
        wait: Option<Duration>,
    ) -> Result<Evaluated, Unavailable> {
        let wait = match wait {
            Some(wait) if !wait.is_zero() => wait.min(self.options.wait_max),
            _ => self.options.wait_default,
        };
        let until =
            time::now() + wait + time::jitter(wait, limits::WAIT_JITTER_PART, time::random());
        // The place is taken before the first read, so that no change falls between.
        let waiter = self
            .hub
            .subscribe(View::topics(&query))
            .map_err(|full| Unavailable::TooMany(full.to_string()))?;
        let shared = Shared::join(self, query);
        loop {
            let evaluated = shared.evaluate();
            if evaluated.changed > after {
                return Ok(evaluated);
            }
            // Both branches may be dropped: a lost wake-up is made good by the read that follows.
            tokio::select! {
                () = waiter.changed() => {}
                () = tokio::time::sleep_until(until) => return Ok(shared.evaluate()),
            }
        }
    }
}

/// A parked reader's share in the evaluation of its query.
struct Shared<'a> {
    inner: &'a Inner,
    query: Query,
}

impl<'a> Shared<'a> {
    fn join(inner: &'a Inner, query: Query) -> Self {
        inner.shared.lock().reads.entry(query.clone()).or_default().waiters += 1;
        Self { inner, query }
    }

    /// The answer now: ten that wait for the same and wake together cost one evaluation.
    fn evaluate(&self) -> Evaluated {
        let now = self.inner.view.index();
        let known = {
            let shared = self.inner.shared.lock();
            shared.reads.get(&self.query).and_then(|read| read.last.clone())
        };
        if let Some((at, evaluated)) = known
            && at == now
        {
            return evaluated;
        }
        let evaluated = self.inner.view.query(&self.query);
        if let Some(read) = self.inner.shared.lock().reads.get_mut(&self.query) {
            read.last = Some((now, evaluated.clone()));
        }
        evaluated
    }
}

impl Drop for Shared<'_> {
    fn drop(&mut self) {
        let mut shared = self.inner.shared.lock();
        let Some(read) = shared.reads.get_mut(&self.query) else { return };
        read.waiters -= 1;
        if read.waiters == 0 {
            shared.reads.remove(&self.query);
        }
    }
}
