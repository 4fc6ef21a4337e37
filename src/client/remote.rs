//! The verbs without a replica: one server at a time does them, and another one where it fails.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};

use super::choice::{Choice, Failed, Row, Target, Twice, asks_on, targets};
use crate::model::{
    Command, Consistency, Index, MemberList, Query, Read, ReadOptions, ServerHealth, Session,
    SessionId, Unavailable, Written,
};
use crate::replica::{Ask, ClusterStatus, Digest, Line, LineOptions, Lost, Told};
use crate::seal::Streams;
use crate::{codec, limits, time};

/// A server that owes an answer and is silent for twice this long is given up. It is alive as long
/// as it answers pings, so this need not outlast any work.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long to rest once every known server has failed.
const REST: Duration = Duration::from_millis(100);

/// What a [`Remote`] needs to know.
#[derive(Clone, Debug)]
pub struct RemoteOptions {
    /// A number for this agent, which is never 0.
    pub number: u64,
    /// The data center, whose servers are asked.
    pub datacenter: String,
    /// What connections to the servers run over.
    pub streams: Streams,
    /// How long a request is held while no server does it.
    pub hold: Duration,
    /// The wait of a blocking read that names none.
    pub wait_default: Duration,
    /// The longest wait of a blocking read.
    pub wait_max: Duration,
}

/// The cluster's servers, as an agent without a replica uses them. Cheap to clone.
#[derive(Clone)]
pub struct Remote {
    inner: Arc<Inner>,
}

struct Inner {
    options: RemoteOptions,
    line: Line,
    members: watch::Receiver<MemberList>,
    choice: Mutex<Choice>,
    writes: Semaphore,
    waits: Semaphore,
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("options", &self.inner.options).finish_non_exhaustive()
    }
}

impl Remote {
    /// Asks the servers among `members`. Must be called within tokio's runtime.
    pub fn new(options: RemoteOptions, members: watch::Receiver<MemberList>) -> Self {
        let line = Line::new(&LineOptions {
            streams: options.streams.clone(),
            number: options.number,
            datacenter: options.datacenter.clone(),
            patience: PATIENCE,
        });
        let inner = Inner {
            options,
            line,
            members,
            choice: Mutex::default(),
            writes: Semaphore::new(limits::WRITES_IN_FLIGHT_MAX),
            waits: Semaphore::new(limits::AGENT_WAITS_MAX),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Closes all connections to servers.
    pub async fn stop(&self) {
        self.inner.line.stop().await;
    }

    pub(super) async fn write(&self, command: &Command) -> Result<Written, Unavailable> {
        let full = |_full| Unavailable::TooMany("writes in flight".to_owned());
        let _permit = self.inner.writes.try_acquire().map_err(full)?;
        let command = Bytes::from(codec::encode(command));
        if command.len() > limits::COMMAND_BYTES_MAX {
            let (is, most) = (command.len(), limits::COMMAND_BYTES_MAX);
            return Err(Unavailable::NotApplied(format!("command of {is} bytes, at most {most}")));
        }
        match self.ask(Twice::Never, || short(Ask::Write(command.clone()))).await? {
            Told::Written(written) => Ok(written),
            other => Err(unexpected(&other)),
        }
    }

    pub(super) async fn read(
        &self,
        query: Query,
        options: ReadOptions,
    ) -> Result<Read, Unavailable> {
        let waits = options.after > Some(Index(0));
        let full = |_full| Unavailable::TooMany("blocking reads".to_owned());
        let place = || self.inner.waits.try_acquire().map_err(full);
        let _place = waits.then(place).transpose()?;
        let wait = match options.wait {
            Some(wait) if !wait.is_zero() => wait.min(self.inner.options.wait_max),
            _ => self.inner.options.wait_default,
        };
        let until = time::now() + wait;
        let again = || {
            if !waits {
                return short(Ask::Read(query.clone(), options));
            }
            // Another server takes over what is left of the wait.
            let left = until.saturating_duration_since(time::now());
            let after = options.after.filter(|_| !left.is_zero());
            let options = ReadOptions { after, wait: Some(left), ..options };
            let longest = left + left / limits::WAIT_JITTER_PART + limits::AGENT_CALL_MAX;
            (Ask::Read(query.clone(), options), longest)
        };
        match self.ask(Twice::Harmless, again).await? {
            Told::Read(read) => Ok(read),
            other => Err(unexpected(&other)),
        }
    }

    pub(super) async fn changed(
        &self,
        query: &Query,
        consistency: Consistency,
    ) -> Result<Index, Unavailable> {
        let ask = || short(Ask::Changed(query.clone(), consistency));
        match self.ask(Twice::Harmless, ask).await? {
            Told::Changed(index) => Ok(index),
            other => Err(unexpected(&other)),
        }
    }

    pub(super) async fn renew(&self, id: SessionId) -> Result<Option<Arc<Session>>, Unavailable> {
        // A renewal begins the TTL anew, so a second one does no more than come later.
        match self.ask(Twice::Harmless, || short(Ask::Renew(id))).await? {
            Told::Renewed(session) => Ok(session),
            other => Err(unexpected(&other)),
        }
    }

    pub(super) async fn status(&self) -> Result<ClusterStatus, Unavailable> {
        match self.ask(Twice::Harmless, || short(Ask::Status)).await? {
            Told::Status(status) => Ok(*status),
            other => Err(unexpected(&other)),
        }
    }

    pub(super) async fn remove_server(&self, id: &str) -> Result<bool, Unavailable> {
        match self.ask(Twice::Never, || short(Ask::RemoveServer(id.to_owned()))).await? {
            Told::Flag(removed) => Ok(removed),
            other => Err(unexpected(&other)),
        }
    }

    pub(super) async fn transfer_leader(&self, to: Option<&str>) -> Result<(), Unavailable> {
        let ask = || short(Ask::Transfer(to.map(ToOwned::to_owned)));
        match self.ask(Twice::Never, ask).await? {
            Told::Flag(_) => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    pub(super) async fn health(&self) -> Result<Vec<ServerHealth>, Unavailable> {
        match self.ask(Twice::Harmless, || short(Ask::Health)).await? {
            Told::Health(servers) => Ok(servers),
            other => Err(unexpected(&other)),
        }
    }

    pub(super) async fn digest(&self) -> Result<Digest, Unavailable> {
        match self.ask(Twice::Harmless, || short(Ask::Digest)).await? {
            Told::Digest(digest) => Ok(digest),
            other => Err(unexpected(&other)),
        }
    }

    /// How long ago the server in use was last heard from.
    pub(super) fn last_contact(&self) -> Duration {
        let current = self.inner.choice.lock().current();
        let heard = current.and_then(|raft| self.inner.line.heard(raft));
        heard.map_or(Duration::MAX, |heard| heard.elapsed())
    }

    /// Returns once there is a server that was not there at the call, or was gone since.
    pub(super) async fn servers_came(&self) {
        let mut members = self.inner.members.clone();
        let mut known: BTreeSet<Target> = self.targets(&members.borrow_and_update());
        while members.changed().await.is_ok() {
            let now: BTreeSet<Target> = self.targets(&members.borrow_and_update());
            if !now.is_subset(&known) {
                return;
            }
            known = now;
        }
        // The pool has stopped: there will be no other servers to tell of.
        std::future::pending::<()>().await;
    }

    fn targets<T: FromIterator<Target>>(&self, members: &MemberList) -> T {
        let members = members.iter().map(|member| &**member);
        targets(members, &self.inner.options.datacenter).into_iter().collect()
    }

    /// Asks one server after another, as long as that is safe and may help. `ask` says what to ask
    /// and how long that may take, anew for each.
    async fn ask(
        &self,
        twice: Twice,
        ask: impl Fn() -> (Ask, Duration),
    ) -> Result<Told, Unavailable> {
        let inner = &self.inner;
        let mut row = Row::default();
        let mut failures = 0;
        loop {
            let targets: Vec<Target> = self.targets(&inner.members.borrow());
            let now = time::now();
            let picked = inner.choice.lock().pick(&targets, now, time::random()).cloned();
            let target = picked.ok_or(Unavailable::NoServers)?;
            let (what, limit) = ask();
            let answer = inner.line.ask(target.raft, &target.address, &what, limit).await;
            let (failed, why) = match answer {
                Ok(Told::Stopping) => (Failed::Nothing, "it is stopping".to_owned()),
                Err(Lost::NotSent(why)) => (Failed::Nothing, why),
                Err(Lost::Unknown(why)) | Ok(Told::Unavailable(Unavailable::Unknown(why))) => {
                    (Failed::Perhaps, why)
                }
                Ok(Told::Unavailable(unavailable)) => {
                    if unavailable == Unavailable::NoLeader {
                        // It held the request long enough, but others may know of a leader.
                        inner.choice.lock().failed(target.raft, time::now());
                    }
                    return Err(unavailable);
                }
                Ok(told) => return Ok(told),
            };
            let ended = time::now();
            inner.choice.lock().failed(target.raft, ended);
            tracing::debug!(server = target.address, why, "a server did not do what was asked");
            let so_far = row.failed((now, ended), limit > limits::AGENT_CALL_MAX);
            if !asks_on(twice, failed, so_far, inner.options.hold) {
                return Err(given_up(twice, failed, &target, &why));
            }
            failures += 1;
            if failures % targets.len() == 0 {
                tokio::time::sleep(REST + time::jitter(REST, 1, time::random())).await;
            }
        }
    }
}

/// Why nothing came of it: only a write that a server may have done is unknown.
fn given_up(twice: Twice, failed: Failed, target: &Target, why: &str) -> Unavailable {
    let text = format!("server {}: {why}", target.address);
    match (twice, failed) {
        (Twice::Never, Failed::Perhaps) => Unavailable::Unknown(text),
        _ => Unavailable::NotApplied(text),
    }
}

/// What does not block, and how long it may take.
fn short(ask: Ask) -> (Ask, Duration) {
    (ask, limits::AGENT_CALL_MAX)
}

/// An answer of another kind than the request's: the server is of another version.
fn unexpected(told: &Told) -> Unavailable {
    Unavailable::Unknown(format!("a server answered {told:?}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::TcpListener;

    use super::*;
    use crate::model::{Member, MemberStatus};
    use crate::seal::Keyring;

    fn member(raft: u64, server_port: u16, status: MemberStatus) -> Arc<Member> {
        Arc::new(Member {
            id: String::new(),
            name: format!("n{raft}"),
            address: "127.0.0.1".to_owned(),
            port: 8301,
            server_port,
            datacenter: "dc1".to_owned(),
            expect: 0,
            bootstrapped: false,
            tags: BTreeMap::new(),
            status,
            generation: 1,
            raft,
        })
    }

    /// An agent whose pool has these members.
    fn remote(members: Vec<Arc<Member>>) -> (Remote, watch::Sender<MemberList>) {
        let (told, members) = watch::channel(members.into());
        let options = RemoteOptions {
            number: 7,
            datacenter: "dc1".to_owned(),
            streams: Streams::new(Keyring::off(), "test"),
            hold: Duration::from_millis(500),
            wait_default: Duration::from_mins(5),
            wait_max: Duration::from_mins(10),
        };
        (Remote::new(options, members), told)
    }

    /// A port where nobody listens.
    fn closed_port() -> u16 {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    #[tokio::test]
    async fn without_a_server_nothing_is_held() {
        let failed = member(1, closed_port(), MemberStatus::Failed);
        let (remote, _told) = remote(vec![member(0, 0, MemberStatus::Alive), failed]);
        let began = time::now();
        assert_eq!(remote.write(&Command::Tick).await, Err(Unavailable::NoServers));
        let blocking = ReadOptions { after: Some(Index(5)), ..ReadOptions::default() };
        assert_eq!(remote.read(Query::Nodes, blocking).await, Err(Unavailable::NoServers));
        assert_eq!(remote.status().await, Err(Unavailable::NoServers));
        assert!(began.elapsed() < Duration::from_millis(500));
        assert_eq!(remote.last_contact(), Duration::MAX);
    }

    #[tokio::test]
    async fn what_no_server_takes_is_held_and_surely_not_done() {
        let servers = [1, 2].map(|raft| member(raft, closed_port(), MemberStatus::Alive));
        let (remote, _told) = remote(servers.to_vec());
        let began = time::now();
        let written = remote.write(&Command::Tick).await;
        assert!(matches!(written, Err(Unavailable::NotApplied(_))), "{written:?}");
        assert!(began.elapsed() >= Duration::from_millis(500), "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn a_server_that_comes_back_is_told_once() {
        let alive = member(1, 8300, MemberStatus::Alive);
        let failed = member(1, 8300, MemberStatus::Failed);
        let (remote, told) = remote(vec![Arc::clone(&alive)]);
        let mut came = std::pin::pin!(remote.servers_came());
        let mut is_told = async |members: Vec<Arc<Member>>| {
            told.send_replace(members.into());
            let moment = Duration::from_millis(20);
            tokio::time::timeout(moment, came.as_mut()).await.is_ok()
        };
        assert!(!is_told(vec![Arc::clone(&alive), member(0, 0, MemberStatus::Alive)]).await);
        assert!(!is_told(vec![failed]).await, "one that goes is nothing to wait for");
        assert!(is_told(vec![alive]).await);
    }
}
