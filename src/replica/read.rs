//! A read's way: the barrier where it must be fresh, the wait where it blocks, the view.

use std::time::Duration;

use super::agents::STOPPING;
use super::handle::Inner;
use crate::model::{Consistency, Index, Query, Read, ReadOptions, Unavailable};
use crate::store::Evaluated;
use crate::{limits, time};

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
        let mut index = evaluated.index;
        if planted!("planted_b12") {
            // B12: the index of now, which is that of changes that the answer has not.
            index = index.max(self.view.index());
        }
        Ok(Read {
            answer: evaluated.answer,
            index,
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
            Consistency::StaleWithin(most) => self.confirmed.age() > most,
            Consistency::Stale => false,
        };
        if barrier {
            self.barrier().await?;
            failpoint!("read.barrier.after");
        } else if self.last_contact() == Duration::MAX {
            return Err(Unavailable::NoLeader); // never heard of one: nothing here means anything
        }
        Ok(barrier)
    }

    /// Returns once this replica holds all that was acknowledged before the call.
    async fn barrier(&self) -> Result<(), Unavailable> {
        if planted!("planted_b20") && self.raft.leader().0.is_none() {
            return Ok(()); // B20: who was removed hears of no leader, and answers all the same
        }
        let until = time::now() + self.options.leader_hold;
        loop {
            let asked = time::now();
            let left = until.saturating_duration_since(asked);
            match self.raft.read_barrier(left).await {
                Ok(()) => {
                    self.confirmed.note(asked);
                    return Ok(());
                }
                Err(raft::BarrierError::Stopped) => {
                    return Err(Unavailable::NotApplied(STOPPING.to_owned()));
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
        let reader =
            self.shared.join(query).map_err(|full| Unavailable::TooMany(full.to_string()))?;
        let mut mark = reader.mark();
        // Who comes for data gets what is there now; who only parks needs no evaluation of its own.
        // It is dropped before the wait: thousands may wait, each since another change.
        // B10: the first change behind the index is taken for the one that is known.
        let known = if planted!("planted_b10") { Index(after.0 + 1) } else { after };
        if reader.since(mark).changed > known {
            return Ok(reader.now());
        }
        loop {
            // Both branches may be dropped: a lost wake-up is made good by the read that follows.
            tokio::select! {
                () = reader.changed(mark) => {}
                () = tokio::time::sleep_until(until) => return Ok(reader.now()),
            }
            mark = reader.mark();
            let evaluated = reader.since(mark);
            if evaluated.changed > after {
                return Ok(evaluated);
            }
        }
    }
}
