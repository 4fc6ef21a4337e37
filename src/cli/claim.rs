//! A session's claim to a key: how `lock` takes it, keeps it and learns that it is lost.

use std::time::Duration;

use anyhow::{Result, bail};
use reqwest::Method;
use serde::Deserialize;
use tokio::time::{Instant, sleep};

use super::api::{Api, Query};

/// Marks keys that are locks, so that no other use of a key is overwritten; the same as Consul's.
const LOCK_FLAGS: u64 = 0x2ddc_cbc0_58a5_0c18;

/// The session ends this long after the last renewal.
pub(super) const SESSION_TTL: Duration = Duration::from_secs(15);

/// Pause between renewals.
const RENEW_EVERY: Duration = Duration::from_millis(7500);

/// Longest wait of one blocking read.
pub(super) const WAIT: Duration = Duration::from_secs(15);

/// Pause while a lock is closed after its last holder was lost.
const RETRY: Duration = Duration::from_secs(1);

/// A key of the store, as far as locks look at it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Pair {
    pub(super) key: String,
    #[serde(default)]
    pub(super) flags: u64,
    #[serde(default)]
    pub(super) session: String,
    /// In base64; none if it is empty.
    #[serde(default)]
    pub(super) value: Option<String>,
    #[serde(default)]
    pub(super) modify_index: u64,
}

/// A lock's key and the session that wants it.
pub(super) struct Claim {
    pub(super) api: Api,
    pub(super) key: String,
    pub(super) session: String,
    pub(super) monitor_retry: u32,
}

/// The key of a name below a prefix.
pub(super) fn under(prefix: &str, name: &str) -> String {
    match prefix.trim_matches('/') {
        "" => name.to_owned(),
        prefix => format!("{prefix}/{name}"),
    }
}

impl Claim {
    /// Takes the lock; false if `patience`, above zero, ran out.
    pub(super) async fn acquire(&self, patience: Duration) -> Result<bool> {
        let deadline = (!patience.is_zero()).then(|| Instant::now() + patience);
        let left = || deadline.map_or(WAIT, |deadline| deadline - Instant::now());
        let mut index = 0;
        loop {
            let wait = WAIT.min(left());
            let (pair, at) = self.look(index, wait).await?;
            if pair.as_ref().is_some_and(|pair| pair.flags != LOCK_FLAGS) {
                bail!("Existing key does not match lock use");
            }
            let free =
                pair.is_none_or(|pair| pair.session.is_empty() || pair.session == self.session);
            if free && self.write("acquire").await? {
                return Ok(true);
            }
            if left().is_zero() {
                return Ok(false);
            }
            // Free and still refused: it is closed for a while after its holder was lost.
            if free {
                sleep(RETRY.min(left())).await;
            }
            index = if free || at < index { 0 } else { at };
        }
    }

    pub(super) async fn release(&self) -> Result<()> {
        self.write("release").await.map(drop)
    }

    /// Deletes the key if nobody holds it; false if somebody does.
    pub(super) async fn clean_up(&self) -> Result<bool> {
        let (pair, _) = self.look(0, WAIT).await?;
        let Some(pair) = pair else { return Ok(true) };
        if pair.flags != LOCK_FLAGS {
            bail!("Existing key does not match lock use");
        }
        if !pair.session.is_empty() {
            return Ok(false);
        }
        let index = pair.modify_index.to_string();
        let deleted = self.api.delete(&format!("kv/{}", self.key), &[("cas", &index)]).await?;
        Ok(deleted.is_true())
    }

    async fn write(&self, verb: &str) -> Result<bool> {
        let flags = LOCK_FLAGS.to_string();
        let query = [("flags", flags.as_str()), (verb, self.session.as_str())];
        Ok(self.api.put(&format!("kv/{}", self.key), &query, Vec::new()).await?.is_true())
    }

    /// The lock's key once its index is not `after`, and the index.
    async fn look(&self, after: u64, wait: Duration) -> Result<(Option<Pair>, u64)> {
        let (mut pairs, at) = self.read(&self.key, &[], after, wait).await?;
        Ok((pairs.pop(), at))
    }

    /// A key, or with `recurse` the keys below it, once the index is not `after`, and the index.
    pub(super) async fn read(
        &self,
        key: &str,
        more: Query<'_>,
        after: u64,
        wait: Duration,
    ) -> Result<(Vec<Pair>, u64)> {
        // A wait of 0 would be the server's longest.
        let (after, wait) = (after.to_string(), format!("{}ms", wait.as_millis().max(1)));
        let mut query = more.to_vec();
        query.push(("consistent", ""));
        if after != "0" {
            query.extend([("index", after.as_str()), ("wait", wait.as_str())]);
        }
        let answer = self.api.send(Method::GET, &format!("kv/{key}"), &query, Vec::new()).await?;
        let index = answer.index.unwrap_or_default();
        if answer.status == 404 {
            return Ok((Vec::new(), index));
        }
        Ok((answer.expect_ok()?.json()?, index))
    }

    pub(super) async fn watch_key(&self) -> String {
        let held = async |after| {
            let (pair, at) = self.look(after, WAIT).await?;
            Ok((pair.is_some_and(|pair| pair.session == self.session), at))
        };
        self.watch(held, "the key has another holder, or none").await
    }

    /// Asks `held` again at each change, until it says no or cannot be asked: the reason.
    pub(super) async fn watch(
        &self,
        held: impl AsyncFn(u64) -> Result<(bool, u64)>,
        lost: &str,
    ) -> String {
        let (mut index, mut failures) = (0, 0);
        loop {
            match held(index).await {
                Ok((true, at)) => {
                    failures = 0;
                    index = if at < index { 0 } else { at };
                }
                Ok((false, _)) => return lost.to_owned(),
                Err(_) if failures < self.monitor_retry => {
                    failures += 1;
                    sleep(RETRY).await;
                }
                Err(error) => return format!("{error:#}"),
            }
        }
    }

    /// Renews the session until it is gone or could have ended, and says why.
    pub(super) async fn keep_session(&self) -> String {
        let mut renewed = Instant::now();
        let mut pause = RENEW_EVERY;
        loop {
            sleep(pause).await;
            let asked = Instant::now();
            let path = format!("session/renew/{}", self.session);
            let left = SESSION_TTL.saturating_sub(renewed.elapsed());
            let answer = self.api.send(Method::PUT, &path, &[], Vec::new());
            match tokio::time::timeout(left, answer).await {
                Ok(Ok(answer)) if answer.status == 200 => {
                    renewed = asked;
                    pause = RENEW_EVERY;
                }
                Ok(Ok(answer)) if answer.status == 404 => return "the session is gone".to_owned(),
                _ if renewed.elapsed() >= SESSION_TTL => {
                    return "the session could not be renewed".to_owned();
                }
                _ => pause = RETRY,
            }
        }
    }
}
