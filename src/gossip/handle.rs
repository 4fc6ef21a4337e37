//! What the rest of the program holds of the pool.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;
use uuid::Uuid;

use super::book::Card;
use super::call;
use super::complaints::Complaints;
use super::identity::Identity;
use super::keep;
use super::pool::Pool;
use super::questions::{Answer, KeyReport, KeyVerb, Question};
use super::rumors::Rumor;
use super::run;
use crate::lifecycle::Tasks;
use crate::model::{Coordinate, Event, Member, MemberList, MemberStatus};
use crate::seal::{Keyring, Streams};
use crate::time;

/// The label under which the pool's traffic is sealed: nothing else's can be passed off as it.
pub(super) const LABEL: &str = "portolan pool 1";
/// How long members may take to answer a question, for each power of ten of them.
const ANSWER_TIME: Duration = Duration::from_secs(3);

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
    /// The keys of the pool's traffic.
    pub keyring: Keyring,
    /// The file in which the others' addresses outlive a restart.
    pub kept: Option<PathBuf>,
    /// Whether they do so even if it left before.
    pub rejoin: bool,
    /// After how long a failed member, and one that left, is forgotten.
    pub forget: (Duration, Duration),
}

/// Where a member listens: both at one port.
pub struct Sockets {
    /// For calls.
    pub tcp: TcpListener,
    /// For packets.
    pub udp: UdpSocket,
}

/// The pool as this member sees it. Cheap to clone.
#[derive(Clone)]
pub struct Gossip {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) options: Options,
    pub(super) pool: Mutex<Pool>,
    pub(super) udp: UdpSocket,
    pub(super) streams: Streams,
    pub(super) tasks: Tasks,
    /// Told when the loop should look at its timers anew.
    pub(super) wake: Notify,
    pub(super) told: watch::Sender<MemberList>,
    pub(super) told_at: Mutex<Option<Instant>>,
    /// Who waits for answers to which question.
    pub(super) asking: Mutex<BTreeMap<u64, mpsc::Sender<Answer>>>,
    /// Becomes true when nobody was found in as many attempts as there may be.
    pub(super) gave_up: watch::Sender<bool>,
    pub(super) complaints: Mutex<Complaints>,
}

impl Gossip {
    /// Begins to listen, to probe and to look for others. Members are told on `told`, this one
    /// first, before this returns.
    ///
    /// # Errors
    ///
    /// What this member says of itself is too long, or its address is none.
    pub fn start(
        options: Options,
        sockets: Sockets,
        told: watch::Sender<MemberList>,
        tasks: &Tasks,
    ) -> Result<Self, String> {
        let me = identity(&options.me)?;
        let card = Card { version: 1, member: Arc::new(options.me.clone()) };
        if !card.fits() {
            return Err("name and tags of this node are too long for the pool".to_owned());
        }
        let pool = Mutex::new(Pool::new(me, card, time::now(), time::random()));
        let inner = Inner {
            streams: Streams::new(options.keyring.clone(), LABEL),
            options,
            pool,
            udp: sockets.udp,
            tasks: tasks.clone(),
            wake: Notify::new(),
            told,
            told_at: Mutex::new(None),
            asking: Mutex::default(),
            gave_up: watch::Sender::new(false),
            complaints: Mutex::default(),
        };
        let gossip = Self { inner: Arc::new(inner) };
        run::flush(&gossip.inner);
        let inner = || Arc::clone(&gossip.inner);
        tasks.spawn(run::packets(inner(), tasks.shutdown()));
        tasks.spawn(call::listen(inner(), sockets.tcp, tasks.shutdown()));
        tasks.spawn(call::exchange_now_and_then(inner(), tasks.shutdown()));
        tasks.spawn(call::reconnect(inner(), tasks.shutdown()));
        tasks.spawn(call::join_until_found(inner(), tasks.shutdown()));
        tasks.spawn(keep::keep(inner(), tasks.shutdown()));
        Ok(gossip)
    }

    /// All members that this one knows, itself among them, by name; without those that left and
    /// were told to be forgotten.
    pub fn members(&self) -> Vec<Arc<Member>> {
        self.inner.pool.lock().heard.lock().book.shown().to_vec()
    }

    /// Calls each of `addresses` (`host` or `host:port`) once; returns how many answered.
    ///
    /// # Errors
    ///
    /// When none did: why, address by address.
    pub async fn join(&self, addresses: &[String]) -> Result<usize, String> {
        call::join(&self.inner, addresses).await
    }

    /// Throws an event into the pool, this member included; it should fit ([`Event::fits`]).
    ///
    /// Returns at once. Members hear of it within moments; nobody says whether they did.
    ///
    /// Source: Consul HTTP API, "Fire Event".
    pub fn fire(&self, event: Event) {
        self.inner.pool.lock().fire(event, time::now());
        run::flush(&self.inner);
    }

    /// Says goodbye to all that answer; returns when each was told or did not answer in time.
    pub async fn leave(&self) {
        self.inner.pool.lock().leave(time::now());
        run::flush(&self.inner);
        call::tell_all(&self.inner).await;
        if !self.inner.options.rejoin {
            keep::forget(&self.inner);
        }
    }

    /// Declares the members of this name that do not answer gone; false when none has it.
    /// `prune` has them shown no more.
    pub fn force_leave(&self, name: &str, prune: bool) -> bool {
        let found = self.inner.pool.lock().force_leave(name, prune, time::now());
        run::flush(&self.inner);
        found
    }

    /// Has every member do something to its keyring; returns when all have answered, or after
    /// some seconds.
    ///
    /// Source: Consul HTTP API, "Keyring".
    pub async fn keyring(&self, verb: KeyVerb) -> KeyReport {
        let mut report = KeyReport { members: self.members(), ..KeyReport::default() };
        report.members.retain(|member| member.status == MemberStatus::Alive);
        let alive = report.members.len();
        let (sender, mut answers) = mpsc::channel(2 * alive.max(1));
        let id = time::random();
        self.inner.asking.lock().insert(id, sender);
        let from = self.inner.pool.lock().me();
        let question = Rumor::Question(Question { id, from, verb });
        self.inner.pool.lock().tell(&question, time::now());
        run::flush(&self.inner);
        let collected = async {
            while report.answers.len() < alive
                && let Some(answer) = answers.recv().await
            {
                // An answer is sent twice, for one may be lost.
                report.answers.insert(answer.member, answer.outcome);
            }
        };
        let limit = ANSWER_TIME * alive.max(10).ilog10();
        if tokio::time::timeout(limit, collected).await.is_err() {
            tracing::warn!(answered = report.answers.len(), alive, "not all members answered");
        }
        self.inner.asking.lock().remove(&id);
        report
    }

    /// Whether the pool's traffic is encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.inner.options.keyring.is_on()
    }

    /// Where this member lies in the space of round trips.
    pub fn coordinate(&self) -> Coordinate {
        self.inner.pool.lock().coordinate()
    }

    /// How far this member mistrusts its own judgement of others: 0 is well, 8 the worst. Source:
    /// Serf, `health_score`.
    pub fn health_score(&self) -> u32 {
        self.inner.pool.lock().health_score()
    }

    /// Returns once this member has given up looking for others. May be dropped at any time.
    pub async fn gave_up(&self) {
        let mut gave_up = self.inner.gave_up.subscribe();
        drop(gave_up.wait_for(|gave_up| *gave_up).await); // the sender lives as long as this does
    }
}

fn identity(me: &Member) -> Result<Identity, String> {
    let ip = me.address.parse::<IpAddr>();
    let ip = ip.map_err(|_no| format!("{:?} is no address for the pool", me.address))?;
    let id = Uuid::parse_str(&me.id).map_err(|error| format!("{:?}: {error}", me.id))?;
    Ok(Identity { generation: me.generation, at: SocketAddr::new(ip, me.port), id })
}
