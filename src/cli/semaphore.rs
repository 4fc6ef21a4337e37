//! The semaphore of `lock -n`: at most so many holders below a prefix, counted as Consul does, so
//! that its programs and ours keep each other out.
//!
//! Each contender has a key of its own, `<prefix>/<session>`, acquired by its session and gone
//! with it. Who holds a slot stands in `<prefix>/.lock`, changed only by check-and-set; a holder
//! without a contender's key is dead and does not count.
//! Source: Consul, Go API, "Semaphore".

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::claim::{Claim, Pair, WAIT, under};

/// Marks the keys of semaphores; the same as Consul's.
const SEMAPHORE_FLAGS: u64 = 0xe0f6_9a2b_aa41_4de0;

/// A prefix and the claim to one of its slots.
pub(super) struct Semaphore {
    claim: Claim,
    /// Without a slash at its ends.
    prefix: String,
    /// Most holders at a time, above 0.
    limit: i64,
}

/// What stands in the lock's key.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Slots {
    #[serde(default)]
    limit: i64,
    /// By session; the value says nothing. Null is read as nobody.
    #[serde(default, deserialize_with = "nobody_if_null")]
    holders: BTreeMap<String, bool>,
}

/// The keys below the prefix at one moment.
struct Seen {
    slots: Slots,
    /// Of the lock's key; 0 if there is none.
    modify_index: u64,
    /// Sessions with a key below the prefix.
    alive: BTreeSet<String>,
    /// Of the prefix.
    index: u64,
}

fn nobody_if_null<'de, D: serde::Deserializer<'de>>(
    from: D,
) -> Result<BTreeMap<String, bool>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

impl Slots {
    /// Reads the lock's key; one that is absent or empty has all slots free.
    fn of(pair: Option<&Pair>, limit: i64) -> Result<Self> {
        if pair.is_some_and(|pair| pair.flags != SEMAPHORE_FLAGS) {
            bail!("Existing key does not match semaphore use");
        }
        let Some(value) = pair.and_then(|pair| pair.value.as_deref()) else {
            return Ok(Self { limit, holders: BTreeMap::new() });
        };
        let value = BASE64_STANDARD.decode(value).context("lock decoding failed")?;
        serde_json::from_slice(&value).context("lock decoding failed")
    }
}

impl Seen {
    /// Strikes off the holders that are dead.
    fn prune(&mut self) {
        self.slots.holders.retain(|session, _| self.alive.contains(session));
    }
}

impl Semaphore {
    /// A claim to one of `limit` slots below a prefix; `claim` has the key that counts them.
    pub(super) fn new(claim: Claim, prefix: &str, limit: i64) -> Self {
        Self { claim, prefix: prefix.trim_matches('/').to_owned(), limit }
    }

    /// The session and what it is after.
    pub(super) fn claim(&self) -> &Claim {
        &self.claim
    }

    /// Takes a slot; false if `patience`, above zero, ran out.
    ///
    /// # Errors
    ///
    /// If the key is of another use, others count to another limit, or the session is gone.
    pub(super) async fn acquire(&self, patience: Duration) -> Result<bool> {
        let deadline = (!patience.is_zero()).then(|| Instant::now() + patience);
        let left = || deadline.map_or(WAIT, |deadline| deadline - Instant::now());
        let session = &self.claim.session;
        self.contend().await.context("failed to make contender entry")?;
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let mut index = 0;
        loop {
            let mut seen = self.look(index, WAIT.min(left())).await?;
            let (theirs, ours) = (seen.slots.limit, self.limit);
            if theirs != ours {
                bail!("semaphore limit conflict (lock: {theirs}, local: {ours})");
            }
            if !seen.alive.contains(session) {
                bail!("the contender entry is gone");
            }
            seen.prune();
            let full = seen.slots.holders.len() >= limit;
            if !full {
                seen.slots.holders.insert(session.clone(), true);
                let swapped = self.swap(&seen).await;
                if swapped.context("failed to update lock")? {
                    return Ok(true);
                }
            }
            if left().is_zero() {
                return Ok(false);
            }
            // Not full and still refused: another was faster, so it is read again at once.
            index = if full && seen.index >= index { seen.index } else { 0 };
        }
    }

    /// Gives the slot back, if it is still ours, and takes the contender's key away.
    pub(super) async fn release(&self) -> Result<()> {
        let session = &self.claim.session;
        loop {
            let mut seen = self.look(0, WAIT).await?;
            let held = seen.slots.holders.remove(session);
            if held.is_none() || self.swap(&seen).await.context("failed to update lock")? {
                break;
            }
        }
        let key = under(&self.prefix, session);
        self.claim.api.delete(&format!("kv/{key}"), &[]).await.map(drop)
    }

    /// Deletes the lock's key if no slot is held; false if one is.
    pub(super) async fn clean_up(&self) -> Result<bool> {
        let mut seen = self.look(0, WAIT).await?;
        if seen.modify_index == 0 {
            return Ok(true);
        }
        seen.prune();
        if !seen.slots.holders.is_empty() {
            return Ok(false);
        }
        let index = seen.modify_index.to_string();
        let path = format!("kv/{}", self.claim.key);
        let deleted = self.claim.api.delete(&path, &[("cas", &index)]).await;
        Ok(deleted.context("failed to remove semaphore")?.is_true())
    }

    /// Returns when the slot is no longer ours, with the reason.
    pub(super) async fn watch(&self) -> String {
        let session = &self.claim.session;
        let held = async |after| {
            let (pairs, at) = self.pairs(after, WAIT).await?;
            // What cannot be read counts nobody, so nobody may think to be counted.
            let ours = self.seen(&pairs, at).is_ok_and(|seen| {
                seen.slots.holders.contains_key(session) && seen.alive.contains(session)
            });
            Ok((ours, at))
        };
        self.claim.watch(held, "the slot is gone").await
    }

    /// Makes the key that says that this session lives and wants a slot.
    async fn contend(&self) -> Result<()> {
        let (session, flags) = (self.claim.session.as_str(), SEMAPHORE_FLAGS.to_string());
        let path = format!("kv/{}", under(&self.prefix, session));
        let query = [("flags", flags.as_str()), ("acquire", session)];
        if !self.claim.api.put(&path, &query, Vec::new()).await?.is_true() {
            bail!("<nil>"); // Consul's word for it: it formats an error that is none
        }
        Ok(())
    }

    /// Writes the slots if nobody has since they were seen; false if somebody has.
    async fn swap(&self, seen: &Seen) -> Result<bool> {
        let (flags, index) = (SEMAPHORE_FLAGS.to_string(), seen.modify_index.to_string());
        let query = [("flags", flags.as_str()), ("cas", index.as_str())];
        let body = serde_json::to_vec(&seen.slots)?;
        let path = format!("kv/{}", self.claim.key);
        Ok(self.claim.api.put(&path, &query, body).await?.is_true())
    }

    /// What is below the prefix once its index is not `after`.
    async fn look(&self, after: u64, wait: Duration) -> Result<Seen> {
        let (pairs, at) = self.pairs(after, wait).await.context("failed to read prefix")?;
        self.seen(&pairs, at)
    }

    async fn pairs(&self, after: u64, wait: Duration) -> Result<(Vec<Pair>, u64)> {
        self.claim.read(&under(&self.prefix, ""), &[("recurse", "")], after, wait).await
    }

    fn seen(&self, pairs: &[Pair], index: u64) -> Result<Seen> {
        let lock = pairs.iter().find(|pair| pair.key == self.claim.key);
        let slots = Slots::of(lock, self.limit)?;
        let modify_index = lock.map_or(0, |pair| pair.modify_index);
        let sessions = pairs.iter().map(|pair| &pair.session);
        let alive = sessions.filter(|session| !session.is_empty()).cloned().collect();
        Ok(Seen { slots, modify_index, alive, index })
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;

    use super::super::fixture::play;
    use super::{SEMAPHORE_FLAGS, Slots};

    const CREATED: (u16, &str) = (200, r#"{"ID":"s"}"#);
    const YES: (u16, &str) = (200, "true");

    /// A listing of the lock's key with this value and of each session's own key.
    fn listing(value: &str, flags: u64, alive: &[&str]) -> String {
        let value = BASE64_STANDARD.encode(value);
        let lock =
            format!(r#"{{"Key":"p/.lock","Flags":{flags},"Value":"{value}","ModifyIndex":5}}"#);
        let keys = alive.iter().map(|session| {
            format!(r#"{{"Key":"p/{session}","Session":"{session}","Value":null}}"#)
        });
        format!("[{}]", std::iter::once(lock).chain(keys).collect::<Vec<_>>().join(","))
    }

    #[test]
    fn what_is_not_this_semaphore_is_left_alone() {
        let free = r#"{"Limit":2,"Holders":{}}"#;
        let rows = [
            (free, 0, &["s"], "Existing key does not match semaphore use"),
            (
                r#"{"Limit":3,"Holders":{}}"#,
                SEMAPHORE_FLAGS,
                &["s"],
                "semaphore limit conflict (lock: 3, local: 2)",
            ),
            ("{}", SEMAPHORE_FLAGS, &["s"], "semaphore limit conflict (lock: 0, local: 2)"),
            (
                "x",
                SEMAPHORE_FLAGS,
                &["s"],
                "lock decoding failed: expected value at line 1 column 1",
            ),
            (free, SEMAPHORE_FLAGS, &["t"], "the contender entry is gone"),
        ];
        for (value, flags, alive, told) in rows {
            let seen = listing(value, flags, alive);
            let answers = [CREATED, YES, (200, seen.as_str()), YES];
            let (code, _, err, asked) = play(&["lock", "-n=2", "p", "true"], &answers);
            assert_eq!((code, err), (1, format!("Lock acquisition failed: {told}\n")));
            assert_eq!(asked.last().unwrap(), "PUT /v1/session/destroy/s", "{told}");
        }
        let (code, _, err, _) =
            play(&["lock", "-n=2", "p", "true"], &[CREATED, (200, "false"), YES]);
        let told = "Lock acquisition failed: failed to make contender entry: <nil>\n";
        assert_eq!((code, err.as_str()), (1, told));
    }

    #[test]
    fn patience_runs_out_while_all_slots_are_held() {
        let held = r#"{"Limit":2,"Holders":{"a":true,"b":true}}"#;
        let held = listing(held, SEMAPHORE_FLAGS, &["a", "b", "s"]);
        let answers = [CREATED, YES, (200, held.as_str()), YES];
        let (code, _, err, _) = play(&["lock", "-n=2", "-timeout=1ns", "p", "true"], &answers);
        let told = "Shutdown triggered or timeout during lock acquisition\n";
        assert_eq!((code, err.as_str()), (1, told));
    }

    #[test]
    fn a_slot_is_taken_from_the_dead_and_given_back() {
        let full = r#"{"Limit":2,"Holders":{"a":true,"dead":true}}"#;
        let full = listing(full, SEMAPHORE_FLAGS, &["a", "s"]);
        let mine = r#"{"Limit":2,"Holders":{"a":true,"s":true}}"#;
        let mine = listing(mine, SEMAPHORE_FLAGS, &["a", "s"]);
        let last = listing(r#"{"Limit":2,"Holders":{"a":true}}"#, SEMAPHORE_FLAGS, &[]);
        let answers = [
            CREATED,
            YES,
            (200, full.as_str()),
            // Another was faster: the same is asked and tried again.
            (200, "false"),
            (200, full.as_str()),
            YES,
            (200, mine.as_str()),
            YES,
            YES,
            (200, last.as_str()),
            YES,
            YES,
        ];
        let line =
            ["lock", "-n=2", "-verbose", "-name=n", "-shell=false", "/p/", "no-such-program"];
        let (code, out, err, asked) = play(&line, &answers);
        let told = "Error starting handler: exec: \"no-such-program\": \
                    executable file not found in $PATH\n";
        assert_eq!((code, err.as_str()), (0, told));
        let steps = [
            "Setting up semaphore (limit 2) at prefix: p/",
            "Attempting lock acquisition",
            "Starting handler",
            "Child terminated, releasing lock",
            "Cleanup succeeded",
        ];
        assert_eq!(out.lines().collect::<Vec<_>>(), steps);
        let flags = "flags=16210313421097356768";
        let look = "GET /v1/kv/p/?recurse&consistent".to_owned();
        let swap = |value: &str| format!("PUT /v1/kv/p/.lock?{flags}&cas=5 {value}");
        let taken = swap(r#"{"Limit":2,"Holders":{"a":true,"s":true}}"#);
        assert_eq!(
            asked,
            [
                r#"PUT /v1/session/create {"Name":"n","TTL":"15s","Behavior":"delete"}"#.to_owned(),
                format!("PUT /v1/kv/p/s?{flags}&acquire=s"),
                look.clone(),
                taken.clone(),
                look.clone(),
                taken,
                look.clone(),
                swap(r#"{"Limit":2,"Holders":{"a":true}}"#),
                "DELETE /v1/kv/p/s".to_owned(),
                look,
                "DELETE /v1/kv/p/.lock?cas=5".to_owned(),
                "PUT /v1/session/destroy/s".to_owned(),
            ]
        );
    }

    #[test]
    fn a_lost_slot_stops_the_child() {
        let free = r#"[{"Key":"p/s","Session":"s"}]"#;
        let held = r#"{"Limit":2,"Holders":{"a":true,"s":true}}"#;
        let others = r#"{"Limit":2,"Holders":{"a":true}}"#;
        // The entry is gone, the session is gone, the key is of another use.
        let losses = [
            listing(others, SEMAPHORE_FLAGS, &["a", "s"]),
            listing(held, SEMAPHORE_FLAGS, &["a"]),
            listing(held, 0, &["a", "s"]),
        ];
        let other = listing(others, SEMAPHORE_FLAGS, &["a"]);
        let held = listing(held, SEMAPHORE_FLAGS, &["a", "s"]);
        for lost in losses {
            let other = (200, other.as_str());
            let answers = [
                CREATED,
                YES,
                (200, free),
                YES,
                (200, held.as_str()),
                (200, lost.as_str()),
                // Nothing to give back; the other one still holds its slot.
                other,
                YES,
                other,
                YES,
            ];
            let line = ["lock", "-n=2", "-verbose", "p", "exec sleep 60"];
            let (code, out, err, asked) = play(&line, &answers);
            assert_eq!((code, err.as_str()), (0, "Error running handler: signal: terminated\n"));
            assert!(out.contains("Lock lost, killing child: the slot is gone\n"), "{out}");
            assert!(out.ends_with("Cleanup aborted, lock in use\n"), "{out}");
            assert_eq!(asked[5], "GET /v1/kv/p/?recurse&consistent&index=7&wait=15000ms");
        }
    }

    #[test]
    fn nobody_is_written_as_consul_writes_it() {
        let slots = Slots::of(None, 2).unwrap();
        assert_eq!(serde_json::to_string(&slots).unwrap(), r#"{"Limit":2,"Holders":{}}"#);
        // Consul's own client panics at this one.
        let null = serde_json::from_str::<Slots>(r#"{"Limit":2,"Holders":null}"#).unwrap();
        assert_eq!(null, slots);
    }
}
