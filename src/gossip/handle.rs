//! What the rest of the program holds of the pool.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::members::Members;
use super::run;
use crate::lifecycle::Tasks;
use crate::model::{Member, MemberStatus};

/// What a member needs to know.
pub struct Options {
    /// What it says of itself.
    pub me: Member,
    /// Where to look for others, `host` or `host:port`, until one was found.
    pub join: Vec<String>,
    /// The port of an address that names none.
    pub port: u16,
    /// Asks whether this member has a Raft log by now.
    pub bootstrapped: Box<dyn Fn() -> bool + Send + Sync>,
}

/// The pool as this member sees it. Cheap to clone.
#[derive(Clone)]
pub struct Gossip {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) options: Options,
    pub(super) members: Mutex<Members>,
    pub(super) told: watch::Sender<Arc<[Member]>>,
}

impl Gossip {
    /// Begins to listen, to call and to look for others. Members are told on `told`, this one
    /// first, before this returns.
    pub fn start(
        options: Options,
        listener: TcpListener,
        told: watch::Sender<Arc<[Member]>>,
        tasks: &Tasks,
    ) -> Self {
        let members = Mutex::new(Members::new(options.me.clone()));
        let gossip = Self { inner: Arc::new(Inner { options, members, told }) };
        gossip.inner.tell();
        tasks.spawn(run::listen(gossip.clone(), listener, tasks.clone()));
        tasks.spawn(run::call_all(gossip.clone(), tasks.shutdown()));
        tasks.spawn(run::join_until_found(gossip.clone(), tasks.shutdown()));
        gossip
    }

    /// All members that this one knows, itself among them, by name.
    pub fn members(&self) -> Vec<Member> {
        self.inner.members.lock().all().to_vec()
    }

    /// Calls each of `addresses` (`host` or `host:port`) once; returns how many answered.
    ///
    /// # Errors
    ///
    /// When none did: why, address by address.
    pub async fn join(&self, addresses: &[String]) -> Result<usize, String> {
        run::join(&self.inner, addresses).await
    }

    /// Says goodbye to all that answer; returns when each was told or did not answer.
    pub async fn leave(&self) {
        self.inner.members.lock().change_me(|me| me.status = MemberStatus::Left);
        self.inner.tell();
        run::call_once(&self.inner).await;
    }

    /// Declares a member that does not answer gone; false when none has this name.
    pub fn force_leave(&self, name: &str) -> bool {
        let found = self.inner.members.lock().force_leave(name);
        self.inner.tell();
        found
    }
}

impl Inner {
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
