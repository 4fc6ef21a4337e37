//! The loops: answer who calls, call everyone once a second, look for others until one is found.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::exchange::{self, Message};
use super::handle::{Gossip, Inner};
use crate::lifecycle::{Shutdown, Tasks};
use crate::model::{Member, host_port};
use crate::time;

/// Between two rounds of calls.
const ROUND: Duration = Duration::from_secs(1);
/// How long one call may take, from connecting to the answer's last byte.
const CALL_TIMEOUT: Duration = Duration::from_secs(1);
/// How long somebody who connected may take to speak and to listen.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
/// Calls under way at once.
const CALLS_MAX: usize = 32;
/// Callers answered at once.
const CALLERS_MAX: usize = 256;

/// Answers who calls.
pub(super) async fn listen(gossip: Gossip, listener: TcpListener, tasks: Tasks) {
    let permits = Arc::new(Semaphore::new(CALLERS_MAX));
    let mut shutdown = tasks.shutdown();
    loop {
        // Dropping an accept loses no connection: it stays in the listener's queue.
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.wait() => return,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(50)).await; // out of descriptors: let go
            continue;
        };
        let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else { continue };
        let inner = Arc::clone(&gossip.inner);
        tasks.spawn(async move {
            let answered = tokio::time::timeout(ANSWER_TIMEOUT, answer(&inner, stream)).await;
            if let Ok(Err(error)) = answered {
                tracing::debug!(%error, "a call of another member failed");
            }
            drop(permit);
        });
    }
}

async fn answer(inner: &Inner, mut stream: TcpStream) -> std::io::Result<()> {
    let heard = exchange::receive(&mut stream).await?;
    let answer = inner.message();
    inner.hear(&heard);
    exchange::send(&mut stream, &answer).await
}

/// Calls everyone, round after round.
pub(super) async fn call_all(gossip: Gossip, mut shutdown: Shutdown) {
    loop {
        // A round that is dropped has only heard less.
        tokio::select! {
            () = async { call_once(&gossip.inner).await; tokio::time::sleep(ROUND).await } => {}
            () = shutdown.wait() => return,
        }
    }
}

/// One round: everyone but those that left is called.
pub(super) async fn call_once(inner: &Inner) {
    let to_call = inner.members.lock().to_call();
    futures::stream::iter(to_call)
        .for_each_concurrent(CALLS_MAX, |member| async move {
            let address = host_port(&member.address, member.port);
            match call(inner, &address).await {
                Ok(heard) => {
                    // Who has its address now speaks for itself, not for the one that was called.
                    if heard.from.id != member.id {
                        let who = format!("{} has its address", heard.from.name);
                        missed(inner, &member, &std::io::Error::other(who));
                    }
                    inner.hear(&heard);
                }
                Err(error) => missed(inner, &member, &error),
            }
        })
        .await;
    inner.tell();
}

fn missed(inner: &Inner, member: &Member, error: &std::io::Error) {
    if inner.members.lock().missed(&member.id) {
        let (name, address) = (&member.name, &member.address);
        tracing::warn!(member = name, address, %error, "member does not answer");
    }
}

async fn call(inner: &Inner, address: &str) -> std::io::Result<Message> {
    let called = async {
        let stream = TcpStream::connect(address).await?;
        exchange::call(stream, &inner.message()).await
    };
    tokio::time::timeout(CALL_TIMEOUT, called)
        .await
        .unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut)))
}

/// Tells everyone of an event as soon as it is fired; the rounds tell those who missed it.
pub(super) async fn spread_events(gossip: Gossip, mut shutdown: Shutdown) {
    let inner = &gossip.inner;
    loop {
        // Either may be dropped: the rounds tell of the same events.
        tokio::select! {
            () = async { inner.fired.notified().await; spread_once(inner).await } => {}
            () = shutdown.wait() => return,
        }
    }
}

/// Calls everyone but those that left. Who does not answer has missed no round by that: rounds
/// alone judge, at their own pace.
async fn spread_once(inner: &Inner) {
    let to_call = inner.members.lock().to_call();
    futures::stream::iter(to_call)
        .for_each_concurrent(CALLS_MAX, |member| async move {
            let address = host_port(&member.address, member.port);
            if let Ok(heard) = call(inner, &address).await {
                inner.hear(&heard);
            }
        })
        .await;
}

/// Looks for others until one was found, or until there were as many attempts as may be.
pub(super) async fn join_until_found(gossip: Gossip, mut shutdown: Shutdown) {
    let inner = &gossip.inner;
    let options = &inner.options;
    if !options.join_once.is_empty()
        && let Err(error) = join(inner, &options.join_once).await
    {
        tracing::warn!(error, "nobody answered at the start");
    }
    if options.join.is_empty() {
        return;
    }
    let mut attempts = 0;
    while gossip.members().len() < 2 {
        if let Err(error) = join(inner, &options.join).await {
            attempts += 1;
            if attempts == options.retry_max {
                tracing::error!(error, attempts, "nobody answered; giving up");
                inner.gave_up.send_replace(true);
                return;
            }
            if attempts == 1 {
                tracing::info!(error, "nobody answers yet; trying on");
            }
        }
        // Waiting may be dropped.
        tokio::select! {
            () = tokio::time::sleep(options.retry) => {}
            () = shutdown.wait() => return,
        }
    }
}

/// Calls each address once; how many others answered.
pub(super) async fn join(inner: &Inner, addresses: &[String]) -> Result<usize, String> {
    let mut answered = 0;
    let mut failed = Vec::new();
    for address in addresses {
        let target = with_port(address, inner.options.port);
        match call(inner, &target).await {
            Ok(heard) => {
                answered += 1;
                inner.hear(&heard);
            }
            Err(error) => failed.push(refused(&target, &error)),
        }
    }
    inner.tell();
    if answered == 0 && !failed.is_empty() { Err(failed.join("; ")) } else { Ok(answered) }
}

/// Why a call failed, in the words of Go's dialer, which operators search for.
fn refused(target: &str, error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => {
            format!("dial tcp {target}: connect: connection refused")
        }
        std::io::ErrorKind::TimedOut => format!("dial tcp {target}: i/o timeout"),
        _ => format!("dial tcp {target}: {error}"),
    }
}

/// `address` with a port: its own, or `port`.
fn with_port(address: &str, port: u16) -> String {
    let bare_v6 = address.matches(':').count() > 1 && !address.starts_with('[');
    let named = !bare_v6 && address.rsplit_once(':').is_some_and(|(_, p)| p.parse::<u16>().is_ok());
    if named { address.to_owned() } else { host_port(address.trim_matches(['[', ']']), port) }
}

impl Inner {
    fn message(&self) -> Message {
        let bootstrapped = (self.options.bootstrapped)();
        let (events, event_clock) = {
            let mut events = self.events.lock();
            (events.still_told(time::now()), events.clock())
        };
        let mut members = self.members.lock();
        members.change_me(|me| me.bootstrapped = bootstrapped);
        let (from, members) =
            (members.me().clone(), members.all().iter().map(|m| Member::clone(m)).collect());
        Message { from, members, events, event_clock }
    }

    fn hear(&self, heard: &Message) {
        if heard.from.datacenter != self.options.me.datacenter {
            let (name, theirs) = (&heard.from.name, &heard.from.datacenter);
            tracing::warn!(member = name, datacenter = theirs, "member of another data center");
            return;
        }
        self.members.lock().hear(&heard.from, &heard.members);
        self.tell();
        let news = self.events.lock().hear(&heard.events, heard.event_clock, time::now());
        for event in news {
            self.hand_on(event);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tokio::sync::{mpsc, watch};

    use super::*;
    use crate::gossip::Options;
    use crate::model::{Event, MemberStatus};

    fn member(id: &str, port: u16) -> Member {
        Member {
            id: id.to_owned(),
            name: format!("name-{id}"),
            address: "127.0.0.1".to_owned(),
            port,
            server_port: 0,
            datacenter: "dc1".to_owned(),
            expect: 0,
            bootstrapped: false,
            tags: BTreeMap::new(),
            status: MemberStatus::Alive,
            generation: 1,
            raft: 0,
        }
    }

    async fn start(id: &str, tasks: &Tasks) -> Gossip {
        start_hearing(id, tasks).await.0
    }

    async fn start_hearing(id: &str, tasks: &Tasks) -> (Gossip, mpsc::Receiver<Event>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let me = member(id, port);
        let (events, heard) = mpsc::channel(8);
        let bootstrapped = Box::new(|| false);
        let options = Options {
            me,
            join: Vec::new(),
            join_once: Vec::new(),
            retry: Duration::from_secs(1),
            retry_max: 0,
            port,
            bootstrapped,
            events,
        };
        (Gossip::start(options, listener, watch::Sender::default(), tasks), heard)
    }

    /// Also a member that its sender does not know: the second tells the third.
    #[tokio::test]
    async fn an_event_comes_to_everyone_once() {
        let tasks = Tasks::new();
        let (one, mut first) = start_hearing("one", &tasks).await;
        let (two, mut second) = start_hearing("two", &tasks).await;
        let (three, mut third) = start_hearing("three", &tasks).await;
        let at = |gossip: &Gossip| vec![format!("127.0.0.1:{}", gossip.inner.options.me.port)];
        two.join(&at(&one)).await.unwrap();
        for name in ["a", "b"] {
            one.fire(Event { id: uuid::Uuid::new_v4(), name: name.to_owned(), ..Event::default() });
        }
        three.join(&at(&two)).await.unwrap();
        for heard in [&mut first, &mut second, &mut third] {
            let seen = [heard.recv().await.unwrap(), heard.recv().await.unwrap()];
            let seen = seen.map(|event| (event.name, event.ltime));
            assert_eq!(seen, [("a".to_owned(), 1), ("b".to_owned(), 2)]);
        }
        for gossip in [&one, &two, &three] {
            call_once(&gossip.inner).await;
        }
        for heard in [&mut first, &mut second, &mut third] {
            assert!(heard.try_recv().is_err(), "no event comes twice");
        }
        tasks.stop(Duration::from_secs(5)).await;
    }

    /// A server that lost its disk comes back at its address under another id.
    #[tokio::test]
    async fn who_took_an_address_over_does_not_answer_for_who_had_it() {
        let tasks = Tasks::new();
        let (one, two) = (start("one", &tasks).await, start("two", &tasks).await);
        let gone = member("gone", two.inner.options.me.port);
        one.inner.members.lock().hear(&gone, &[]);
        for _ in 0..3 {
            call_once(&one.inner).await;
        }
        let seen: Vec<_> = one.members().into_iter().map(|m| (m.id, m.status)).collect();
        assert!(seen.contains(&("gone".to_owned(), MemberStatus::Failed)), "{seen:?}");
        assert!(seen.contains(&("two".to_owned(), MemberStatus::Alive)), "{seen:?}");
        tasks.stop(Duration::from_secs(5)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_member_gives_up_after_as_many_attempts_as_it_may() {
        let tasks = Tasks::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let nobody = listener.local_addr().unwrap().to_string();
        drop(listener);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let options = Options {
            me: member("one", listener.local_addr().unwrap().port()),
            join: vec![nobody.clone()],
            join_once: vec![nobody],
            retry: Duration::from_secs(30),
            retry_max: 3,
            port: 8301,
            bootstrapped: Box::new(|| false),
            events: mpsc::channel(8).0,
        };
        let began = time::now();
        let gossip = Gossip::start(options, listener, watch::Sender::default(), &tasks);
        gossip.gave_up().await;
        assert!(began.elapsed() >= Duration::from_mins(1), "two pauses between three attempts");
        tasks.stop(Duration::from_secs(5)).await;
    }

    #[test]
    fn an_address_gets_a_port_where_it_has_none() {
        for (address, expected) in [
            ("10.0.0.1", "10.0.0.1:8301"),
            ("10.0.0.1:9", "10.0.0.1:9"),
            ("host", "host:8301"),
            ("host:9", "host:9"),
            ("::1", "[::1]:8301"),
            ("[::1]", "[::1]:8301"),
            ("[::1]:9", "[::1]:9"),
        ] {
            assert_eq!(with_port(address, 8301), expected, "{address}");
        }
    }
}
