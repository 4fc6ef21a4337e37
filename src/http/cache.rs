//! Answers kept for `?cached`: fresh because one reader waits for each of them to change.
//!
//! An entry is made by the first who asks, and from then on as new as this server is: its reader
//! parks in the hub like any blocking read and puts the new answer in the place of the old one.
//! What nobody asks for goes, and so does the least used where the bounds are reached.
//!
//! Source: Consul HTTP API, "Agent Caching".

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::client::Client;
use crate::lifecycle::{Shutdown, Tasks};
use crate::limits::{CACHE_BYTES_MAX, CACHE_ENTRIES_MAX, CACHE_IDLE_MAX};
use crate::model::{Answer, Consistency, Index, Instance, Query, Read, ReadOptions, Unavailable};
use crate::time;

/// How long a reader rests after its read failed.
const READER_REST: Duration = Duration::from_secs(1);
/// What an entry costs beside its answer, in bytes: a task, a place in the hub, its name.
const ENTRY_BYTES: usize = 2 * 1024;
/// What one record of an answer is taken to cost, in bytes.
const RECORD_BYTES: usize = 512;

/// Whether an answer can be kept fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refresh {
    /// A reader waits for changes.
    Background,
    /// The question cannot be waited for: the answer ages.
    Never,
}

/// What a caller asks of a kept answer. Source: Consul HTTP API, "Agent Caching".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wish {
    /// An older one is asked for anew.
    pub max_age: Option<Duration>,
    /// One of at most this age will do if asking anew fails.
    pub stale_if_error: Option<Duration>,
    /// It is asked for anew in any case.
    pub revalidate: bool,
}

/// How an answer came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cached {
    /// It was there, this long out of touch.
    Hit(Duration),
    /// It was asked for, or waited for.
    Miss,
}

/// The answers. Cheap to clone; all clones share them.
#[derive(Clone)]
pub struct Cache(Arc<Inner>);

struct Inner {
    client: Client,
    tasks: Tasks,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    entries: HashMap<Query, Arc<Entry>>,
    bytes: usize,
    /// When the list of data centers, which never changes, was first asked for.
    datacenters: Option<Instant>,
}

struct Entry {
    query: Query,
    refresh: Refresh,
    kept: watch::Sender<Kept>,
    used: Mutex<Instant>,
    /// Becomes true once nobody finds it any more.
    gone: watch::Sender<bool>,
}

#[derive(Clone)]
struct Kept {
    read: Read,
    at: Instant,
    bytes: usize,
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").finish_non_exhaustive()
    }
}

impl Cache {
    /// Empty. Its readers are tasks of `tasks`.
    pub fn new(client: Client, tasks: &Tasks) -> Self {
        let held = Mutex::default();
        Self(Arc::new(Inner { client, tasks: tasks.clone(), held }))
    }

    /// The answer to a query. With `after` it waits until the answer's index is above that, or
    /// `wait` has passed.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] where it has to be asked for and cannot be.
    pub(super) async fn read(
        &self,
        query: Query,
        refresh: Refresh,
        wish: Wish,
        waits: Option<(Index, Duration)>,
    ) -> Result<(Read, Cached), Unavailable> {
        let Some(entry) = self.0.find(&query) else {
            let read = self.0.ask(&query).await?;
            self.0.keep(query, refresh, read.clone());
            return Ok((read, Cached::Miss));
        };
        let kept = entry.kept.borrow().clone();
        let age = self.0.age(&entry, &kept);
        if wish.revalidate || wish.max_age.is_some_and(|most| age > most) {
            return match self.0.ask(&query).await {
                Ok(read) => {
                    self.0.renew(&entry, read.clone());
                    Ok((read, Cached::Miss))
                }
                Err(_) if wish.stale_if_error.is_some_and(|most| age <= most) => {
                    Ok((kept.read, Cached::Hit(age)))
                }
                Err(error) => Err(error),
            };
        }
        match waits {
            Some((after, wait)) if kept.read.index <= after => {
                Ok((self.0.wait(&entry, after, wait).await, Cached::Miss))
            }
            _ => Ok((kept.read, Cached::Hit(age))),
        }
    }

    /// Notes that the data centers were asked for, which is all that their list needs.
    pub(super) fn datacenters(&self, wish: Wish) -> Cached {
        let mut held = self.0.held.lock();
        let now = time::now();
        match held.datacenters.map(|at| now - at) {
            Some(age) if !wish.revalidate && wish.max_age.is_none_or(|most| age <= most) => {
                Cached::Hit(age)
            }
            _ => {
                held.datacenters = Some(now);
                Cached::Miss
            }
        }
    }
}

impl Inner {
    fn find(&self, query: &Query) -> Option<Arc<Entry>> {
        let held = self.held.lock();
        let entry = held.entries.get(query)?;
        *entry.used.lock() = time::now();
        Some(Arc::clone(entry))
    }

    async fn ask(&self, query: &Query) -> Result<Read, Unavailable> {
        self.client.read(query.clone(), ReadOptions::default()).await
    }

    /// How long a kept answer may have been wrong: since this server heard of a leader (or this agent of its server), or where
    /// nobody keeps it fresh, since it was asked for.
    fn age(&self, entry: &Entry, kept: &Kept) -> Duration {
        let since = kept.at.elapsed();
        match entry.refresh {
            Refresh::Background => self.client.last_contact().min(since),
            Refresh::Never => since,
        }
    }

    async fn wait(&self, entry: &Entry, after: Index, wait: Duration) -> Read {
        let mut kept = entry.kept.subscribe();
        let newer = kept.wait_for(|kept| kept.read.index > after);
        // Neither an end of the wait nor an entry that goes is a failure: the last answer stands.
        drop(tokio::time::timeout(wait, newer).await);
        entry.kept.borrow().read.clone()
    }

    /// Keeps an answer, and starts its reader, unless it is too large to be kept.
    fn keep(self: &Arc<Self>, query: Query, refresh: Refresh, read: Read) {
        let now = time::now();
        let bytes = weight(&query, &read.answer);
        let index = read.index;
        let entry = Arc::new(Entry {
            query: query.clone(),
            refresh,
            kept: watch::Sender::new(Kept { read, at: now, bytes }),
            used: Mutex::new(now),
            gone: watch::Sender::new(false),
        });
        {
            let mut held = self.held.lock();
            if bytes > CACHE_BYTES_MAX || held.entries.contains_key(&query) {
                return; // another caller was first, or nothing else would have room
            }
            held.drop_idle(now);
            held.make_room(bytes);
            held.bytes += bytes;
            held.entries.insert(query, Arc::clone(&entry));
        }
        if refresh == Refresh::Background {
            let shutdown = self.tasks.shutdown();
            self.tasks.spawn(keep_fresh(Arc::clone(self), entry, index, shutdown));
        }
    }

    /// Puts a new answer in the place of the old one; one that outgrew the bound is given up.
    fn renew(&self, entry: &Arc<Entry>, read: Read) {
        let bytes = weight(&entry.query, &read.answer);
        let mut held = self.held.lock();
        if !held.entries.get(&entry.query).is_some_and(|it| Arc::ptr_eq(it, entry)) {
            return;
        }
        let old = entry.kept.borrow().bytes;
        held.bytes = (held.bytes + bytes).saturating_sub(old);
        entry.kept.send_replace(Kept { read, at: time::now(), bytes });
        held.make_room(0);
    }
}

impl Held {
    fn drop_idle(&mut self, now: Instant) {
        let idle: Vec<Query> = self
            .entries
            .iter()
            .filter(|(_, entry)| now - *entry.used.lock() > CACHE_IDLE_MAX)
            .map(|(query, _)| query.clone())
            .collect();
        for query in idle {
            self.remove(&query);
        }
    }

    /// Gives up the least used until one more of this size fits.
    fn make_room(&mut self, bytes: usize) {
        let more = usize::from(bytes > 0);
        while self.entries.len() + more > CACHE_ENTRIES_MAX || self.bytes + bytes > CACHE_BYTES_MAX
        {
            let oldest = self.entries.values().min_by_key(|entry| *entry.used.lock());
            let Some(query) = oldest.map(|entry| entry.query.clone()) else { return };
            self.remove(&query);
        }
    }

    fn remove(&mut self, query: &Query) {
        if let Some(entry) = self.entries.remove(query) {
            self.bytes = self.bytes.saturating_sub(entry.kept.borrow().bytes);
            entry.gone.send_replace(true);
        }
    }
}

/// Reads again whenever the answer changes, until nobody wants it any more.
async fn keep_fresh(
    cache: Arc<Inner>,
    entry: Arc<Entry>,
    mut after: Index,
    mut shutdown: Shutdown,
) {
    let mut gone = entry.gone.subscribe();
    loop {
        let options =
            ReadOptions { consistency: Consistency::Stale, after: Some(after), wait: None };
        // Each may be dropped: a change that is missed is found by the next read.
        let read = tokio::select! {
            read = cache.client.read(entry.query.clone(), options) => read,
            _ = gone.wait_for(|gone| *gone) => return,
            () = shutdown.wait() => return,
        };
        match read {
            Ok(read) => {
                after = Index(read.index.shown());
                cache.renew(&entry, read);
            }
            Err(error) => {
                tracing::debug!(%error, "a kept answer is not as fresh as it should be");
                tokio::time::sleep(READER_REST).await;
            }
        }
        cache.held.lock().drop_idle(time::now());
    }
}

/// About how many bytes it takes to keep an answer.
fn weight(query: &Query, answer: &Answer) -> usize {
    let name = match query {
        Query::CatalogService(name) | Query::HealthService(name) => name.len(),
        _ => 0,
    };
    let records = match answer {
        Answer::Instances(all) => {
            let outputs: usize =
                all.iter().flat_map(|it| &it.checks).map(|it| it.output.len()).sum();
            let checks: usize = all.iter().map(|it: &Instance| it.checks.len()).sum();
            (all.len() + checks) * RECORD_BYTES + outputs
        }
        Answer::ServiceTags(all) => {
            let texts = all.iter().flat_map(|(name, tags)| tags.iter().chain([name]));
            texts.map(|text| text.len() + 64).sum()
        }
        _ => RECORD_BYTES,
    };
    ENTRY_BYTES + name + records
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, bytes: usize, used: Instant) -> Arc<Entry> {
        let read = Read {
            answer: Arc::new(Answer::Names(Vec::new())),
            index: Index(1),
            known_leader: true,
            last_contact: Duration::ZERO,
        };
        Arc::new(Entry {
            query: Query::HealthService(name.to_owned()),
            refresh: Refresh::Never,
            kept: watch::Sender::new(Kept { read, at: used, bytes }),
            used: Mutex::new(used),
            gone: watch::Sender::new(false),
        })
    }

    fn put(held: &mut Held, entry: &Arc<Entry>) {
        let bytes = entry.kept.borrow().bytes;
        held.make_room(bytes);
        held.bytes += bytes;
        held.entries.insert(entry.query.clone(), Arc::clone(entry));
    }

    #[tokio::test(start_paused = true)]
    async fn the_least_used_goes_where_bytes_or_entries_run_out() {
        let mut held = Held::default();
        let half = CACHE_BYTES_MAX / 2;
        let start = time::now();
        let one = entry("one", half, start);
        let two = entry("two", half, start + Duration::from_secs(1));
        put(&mut held, &one);
        put(&mut held, &two);
        *one.used.lock() = start + Duration::from_secs(2);
        put(&mut held, &entry("three", 1, start + Duration::from_secs(3)));
        assert!(*two.gone.borrow() && !*one.gone.borrow());
        assert_eq!((held.entries.len(), held.bytes), (2, half + 1));
        for number in 0..CACHE_ENTRIES_MAX {
            let used = start + Duration::from_secs(10);
            put(&mut held, &entry(&format!("n{number}"), 1, used));
        }
        assert_eq!(held.entries.len(), CACHE_ENTRIES_MAX);
        assert_eq!(held.bytes, CACHE_ENTRIES_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_asks_for_goes() {
        let mut held = Held::default();
        let start = time::now();
        put(&mut held, &entry("old", 1, start));
        put(&mut held, &entry("new", 1, start + CACHE_IDLE_MAX));
        held.drop_idle(start + CACHE_IDLE_MAX + Duration::from_secs(1));
        let left: Vec<_> = held.entries.keys().cloned().collect();
        assert_eq!((left, held.bytes), (vec![Query::HealthService("new".to_owned())], 1));
    }
}
