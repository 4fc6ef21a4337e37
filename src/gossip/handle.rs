//! What the rest of the program holds of the pool.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc, watch};

use super::events::Events;
use super::members::Members;
use super::run;
use crate::lifecycle::Tasks;
use crate::model::{Event, Member, MemberList, MemberStatus};
use crate::time;

/// What a member needs to know.
pub struct Options {
    /// What it says of itself.
    pub me: Member,
    /// Where to look for others, `host` or `host:port`, until one was found.
    pub join: Vec<String>,
    /// Where to look once, at the start.
    pub join_once: Vec<String>,
    /// Between two attempts to find somebody.
    pub retry: Duration,
    /// Attempts until this member gives up; 0: it never does.
    pub retry_max: u64,
    /// The port of an address that names none.
    pub port: u16,
    /// Asks whether this member has a Raft log by now.
    pub bootstrapped: Box<dyn Fn() -> bool + Send + Sync>,
    /// Takes each event of the pool once, this member's own too. One that finds it full is lost.
    pub events: mpsc::Sender<Event>,
}

/// The pool as this member sees it. Cheap to clone.
#[derive(Clone)]
pub struct Gossip {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) options: Options,
    pub(super) members: Mutex<Members>,
    pub(super) events: Mutex<Events>,
    /// Told when there is an event to spread at once.
    pub(super) fired: Notify,
    pub(super) told: watch::Sender<MemberList>,
    /// Becomes true when nobody was found in as many attempts as there may be.
    pub(super) gave_up: watch::Sender<bool>,
}

impl Gossip {
    /// Begins to listen, to call and to look for others. Members are told on `told`, this one
    /// first, before this returns.
    pub fn start(
        options: Options,
        listener: TcpListener,
        told: watch::Sender<MemberList>,
        tasks: &Tasks,
    ) -> Self {
        let members = Mutex::new(Members::new(options.me.clone()));
        let (events, fired) = (Mutex::default(), Notify::new());
        let gave_up = watch::Sender::new(false);
        let inner = Inner { options, members, events, fired, told, gave_up };
        let gossip = Self { inner: Arc::new(inner) };
        gossip.inner.tell();
        tasks.spawn(run::listen(gossip.clone(), listener, tasks.clone()));
        tasks.spawn(run::call_all(gossip.clone(), tasks.shutdown()));
        tasks.spawn(run::spread_events(gossip.clone(), tasks.shutdown()));
        tasks.spawn(run::join_until_found(gossip.clone(), tasks.shutdown()));
        gossip
    }

    /// All members that this one knows, itself among them, by name; without those that left and
    /// were told to be forgotten.
    pub fn members(&self) -> Vec<Member> {
        self.inner.members.lock().shown()
    }

    /// Calls each of `addresses` (`host` or `host:port`) once; returns how many answered.
    ///
    /// # Errors
    ///
    /// When none did: why, address by address.
    pub async fn join(&self, addresses: &[String]) -> Result<usize, String> {
        run::join(&self.inner, addresses).await
    }

    /// Throws an event into the pool, this member included; it should fit ([`Event::fits`]).
    ///
    /// Returns at once. Members that can be called hear of it within moments, others while they
    /// come back within [`crate::limits::EVENT_SPREAD`]; nobody says whether they did.
    ///
    /// Source: Consul HTTP API, "Fire Event".
    pub fn fire(&self, event: Event) {
        let event = self.inner.events.lock().fire(event, time::now());
        self.inner.hand_on(event);
        self.inner.fired.notify_one();
    }

    /// Says goodbye to all that answer; returns when each was told or did not answer.
    pub async fn leave(&self) {
        self.inner.members.lock().change_me(|me| me.status = MemberStatus::Left);
        self.inner.tell();
        run::call_once(&self.inner).await;
    }

    /// Declares a member that does not answer gone; false when none has this name. `prune`
    /// forgets it as well, once the others were told.
    pub fn force_leave(&self, name: &str, prune: bool) -> bool {
        let found = self.inner.members.lock().force_leave(name);
        self.inner.tell();
        if prune {
            self.inner.members.lock().prune(name);
            self.inner.tell();
        }
        found
    }

    /// Returns once this member has given up looking for others. May be dropped at any time.
    pub async fn gave_up(&self) {
        let mut gave_up = self.inner.gave_up.subscribe();
        drop(gave_up.wait_for(|gave_up| *gave_up).await); // the sender lives as long as this does
    }
}

impl Inner {
    /// Gives an event to whoever takes them here.
    pub(super) fn hand_on(&self, event: Event) {
        if let Err(error) = self.options.events.try_send(event) {
            tracing::warn!(%error, "an event is lost here");
        }
    }

    /// Tells the members where they differ from what was told last.
    pub(super) fn tell(&self) {
        let all = self.members.lock().all();
        self.told.send_if_modified(|last| {
            let news = *last != all;
            if news {
                *last = all;
            }
            news
        });
    }
}
