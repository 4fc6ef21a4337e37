//! Calls over TCP: joining, exchanging all that is known now and then, asking a suspect, finding
//! again who was lost, saying goodbye; and answering who calls.

use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::exchange;
use super::handle::Inner;
use super::identity::Identity;
use super::keep;
use super::merge::{Extent, Offer, Reply};
use super::pool::{CHECK_TIME, Checked};
use super::run::{flush, refresh};
use crate::lifecycle::Shutdown;
use crate::model::{Member, MemberStatus, host_port};
use crate::time;

/// How long one call may take, from connecting to the last byte.
const CALL_TIME: Duration = Duration::from_secs(5);
/// How long a call to an address that may be nobody's may take to be answered.
const JOIN_TIME: Duration = Duration::from_secs(4);
/// How long somebody who connected may take to speak and to listen.
const ANSWER_TIME: Duration = Duration::from_secs(10);
/// Callers answered at once.
const CALLERS_MAX: usize = 256;
/// Calls of this member's own under way at once.
const CALLS_MAX: usize = 32;
/// Between two exchanges of all that is known, in a pool of up to [`EXCHANGE_MEMBERS`]. Source:
/// memberlist, `PushPullInterval`.
const EXCHANGE_PERIOD: Duration = Duration::from_secs(30);
/// A pool that is twice as large exchanges half as often, and so on. Source: memberlist.
const EXCHANGE_MEMBERS: usize = 32;
/// Between two looks whether there is somebody of whom only the life is known.
const STRANGER_PERIOD: Duration = Duration::from_secs(1);
/// Between two attempts to find a member again that failed.
const RECONNECT_PERIOD: Duration = Duration::from_secs(5);
/// How long a goodbye may take altogether.
const GOODBYE_TIME: Duration = Duration::from_secs(3);
/// How many members are told of it in person, servers first; the others hear of it from them.
const GOODBYES_MAX: usize = 256;

/// Answers who calls.
pub(super) async fn listen(inner: Arc<Inner>, listener: TcpListener, mut shutdown: Shutdown) {
    let permits = Arc::new(Semaphore::new(CALLERS_MAX));
    loop {
        // Dropping an accept loses no connection: it stays in the listener's queue.
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.wait() => return,
        };
        let Ok((stream, from)) = accepted else {
            tokio::time::sleep(Duration::from_millis(50)).await; // out of descriptors: let go
            continue;
        };
        let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else { continue };
        let own = Arc::clone(&inner);
        inner.tasks.spawn(async move {
            let answered = tokio::time::timeout(ANSWER_TIME, answer(&own, stream)).await;
            match answered {
                Ok(Err(error)) if error.kind() == ErrorKind::InvalidData => {
                    own.complaints.lock().log(from.ip(), &error.to_string(), time::now());
                }
                Ok(Err(error)) => tracing::debug!(%error, "a call of another member failed"),
                Ok(Ok(())) | Err(_) => {}
            }
            drop(permit);
        });
    }
}

async fn answer(inner: &Arc<Inner>, stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    // Who has no key, or another one, is refused there, and that is logged there.
    let Ok(mut halves) = inner.streams.accept(stream).await else { return Ok(()) };
    let offer: Offer = exchange::receive(&mut halves).await?;
    refresh(inner, time::now());
    let name = offer.name.clone();
    let reply = inner.pool.lock().answer(offer, time::now());
    flush(inner);
    failpoint!("gossip.exchange.before_answer", Error::other);
    exchange::send(&mut halves, &reply).await?;
    if let Reply::Refused(why) = reply {
        return Err(Error::new(ErrorKind::InvalidData, format!("{name}: {why}")));
    }
    let rest = exchange::receive(&mut halves).await?;
    inner.pool.lock().take_rest(rest, time::now());
    flush(inner);
    exchange::send(&mut halves, &()).await
}

/// Calls whoever is at `address`; returns who that was.
async fn call(
    inner: &Arc<Inner>,
    address: &str,
    extent: Extent,
    whom: Option<Uuid>,
) -> std::io::Result<Identity> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut halves = inner.streams.connect(stream).await?;
    refresh(inner, time::now());
    let offer = inner.pool.lock().offer(extent, whom, time::now());
    let told = match exchange::ask(&mut halves, &offer).await? {
        Reply::Told(told) => *told,
        Reply::Refused(why) => return Err(Error::other(why)),
    };
    let who = told.from();
    let rest = inner.pool.lock().take(told, time::now());
    flush(inner);
    exchange::finish(&mut halves, &rest).await?;
    Ok(who)
}

async fn call_within(
    inner: &Arc<Inner>,
    address: &str,
    (extent, whom): (Extent, Option<Uuid>),
    limit: Duration,
) -> std::io::Result<Identity> {
    let called = tokio::time::timeout(limit, call(inner, address, extent, whom)).await;
    called.unwrap_or_else(|_late| Err(Error::from(ErrorKind::TimedOut)))
}

/// Asks a suspect whether it lives, by another way than the one on which it did not answer.
pub(super) async fn check(inner: Arc<Inner>, whom: Identity) {
    let about = (Extent::Pair, Some(whom.id));
    let called = call_within(&inner, &whom.at.to_string(), about, CHECK_TIME).await;
    let what = match called {
        Ok(who) if who.id == whom.id => Checked::Answered,
        // Another one has its address now: the suspect is not there any more.
        Ok(_) => Checked::Refused,
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Checked::Refused,
        Err(_) => Checked::Silent,
    };
    tracing::debug!(suspect = %whom.at, ?what, "a suspect was asked");
    inner.pool.lock().checked(whom, what, time::now());
    flush(&inner);
}

/// How long until the next exchange of all that is known, in a pool of so many others.
pub(super) fn exchange_pause(others: usize, random: u64) -> Duration {
    let times = (others / EXCHANGE_MEMBERS).checked_ilog2().map_or(1, |twice| twice + 2);
    let period = EXCHANGE_PERIOD * times;
    period / 2 + time::jitter(period, 1, random)
}

/// Exchanges all that is known with a random member now and then: what was lost on the way is
/// made good so.
pub(super) async fn exchange_now_and_then(inner: Arc<Inner>, mut shutdown: Shutdown) {
    loop {
        let others = others(&inner, MemberStatus::Alive);
        let pause = exchange_pause(others.len(), time::random());
        // Dropping the wait or the exchange loses nothing: another one follows.
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shutdown.wait() => return,
        }
        if let Some(member) = pick(&others) {
            let address = host_port(&member.address, member.port);
            let called = call_within(&inner, &address, (Extent::Whole, None), CALL_TIME).await;
            if let Err(error) = called {
                tracing::debug!(member = member.name, %error, "an exchange failed");
            }
        }
    }
}

/// Looks again for members that failed, so that a pool that was cut in two comes together; and asks
/// those who they are of whom only the life is known, because what they said was lost.
pub(super) async fn reconnect(inner: Arc<Inner>, mut shutdown: Shutdown) {
    let mut looked = time::now();
    loop {
        // As above.
        tokio::select! {
            () = tokio::time::sleep(STRANGER_PERIOD) => {}
            () = shutdown.wait() => return,
        }
        if inner.pool.lock().has_left() {
            continue;
        }
        let strangers = inner.pool.lock().heard.lock().book.strangers();
        let few = futures::stream::iter(strangers.into_iter().take(CALLS_MAX));
        few.for_each_concurrent(CALLS_MAX, |stranger| look_for(&inner, stranger.at, stranger.id))
            .await;
        if looked.elapsed() >= RECONNECT_PERIOD {
            looked = time::now();
            look_for_failed(&inner).await;
        }
    }
}

async fn look_for_failed(inner: &Arc<Inner>) {
    let failed = others(inner, MemberStatus::Failed);
    let alive = others(inner, MemberStatus::Alive).len();
    // All together make about one attempt for each member that failed. Source: Serf.
    let chance = u64::try_from(alive + 1).unwrap_or(u64::MAX);
    let drawn = time::random() % chance;
    if drawn >= u64::try_from(failed.len()).unwrap_or(u64::MAX) {
        return;
    }
    if let Some(member) = pick(&failed)
        && let Ok(ip) = member.address.parse()
        && let Ok(whom) = Uuid::parse_str(&member.id)
    {
        look_for(inner, SocketAddr::new(ip, member.port), whom).await;
    }
}

async fn look_for(inner: &Arc<Inner>, at: SocketAddr, whom: Uuid) {
    let about = (Extent::Pair, Some(whom));
    let found = call_within(inner, &at.to_string(), about, JOIN_TIME).await;
    tracing::debug!(%at, %whom, found = found.is_ok(), "looked for a member");
}

fn others(inner: &Inner, status: MemberStatus) -> Vec<Arc<Member>> {
    let me = &inner.options.me.id;
    let told = inner.told.borrow();
    told.iter().filter(|m| m.status == status && m.id != *me).map(Arc::clone).collect()
}

fn pick(members: &[Arc<Member>]) -> Option<&Arc<Member>> {
    let count = u64::try_from(members.len()).ok().filter(|count| *count > 0)?;
    members.get(usize::try_from(time::random() % count).ok()?)
}

/// Tells the others in person what this member says of itself; returns when each heard it, or
/// could not be told in time.
pub(super) async fn tell_all(inner: &Arc<Inner>) {
    let mut all = others(inner, MemberStatus::Alive);
    all.sort_by_key(|member| member.server_port == 0);
    all.truncate(GOODBYES_MAX);
    let told = futures::stream::iter(all).for_each_concurrent(CALLS_MAX, |member| async move {
        let address = host_port(&member.address, member.port);
        let called = call_within(inner, &address, (Extent::Pair, None), CHECK_TIME).await;
        if let Err(error) = called {
            tracing::debug!(member = member.name, %error, "could not be told of the goodbye");
        }
    });
    if tokio::time::timeout(GOODBYE_TIME, told).await.is_err() {
        tracing::info!("not every member was told of the goodbye in person");
    }
}

/// Looks for others until one was found, or until there were as many attempts as may be.
pub(super) async fn join_until_found(inner: Arc<Inner>, mut shutdown: Shutdown) {
    let options = &inner.options;
    if !options.join_once.is_empty()
        && let Err(error) = join(&inner, &options.join_once).await
    {
        tracing::warn!(error, "nobody answered at the start");
    }
    let kept = keep::read(options.kept.as_deref());
    let targets: Vec<String> = options.join.iter().chain(&kept).cloned().collect();
    let mut attempts = 0;
    while !targets.is_empty() && inner.told.borrow().len() < 2 {
        if let Err(error) = join(&inner, &targets).await {
            attempts += 1;
            if attempts == options.retry_max && !options.join.is_empty() {
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
pub(super) async fn join(inner: &Arc<Inner>, addresses: &[String]) -> Result<usize, String> {
    let with_port = |address: &String| with_port(address, inner.options.port);
    let targets: Vec<String> = addresses.iter().map(with_port).collect();
    let calls = futures::stream::iter(targets).map(|target| async move {
        let called = call_within(inner, &target, (Extent::Whole, None), JOIN_TIME).await;
        called.map(drop).map_err(|error| refused(&target, &error))
    });
    let results: Vec<Result<(), String>> = calls.buffered(CALLS_MAX).collect().await;
    let answered = results.iter().filter(|result| result.is_ok()).count();
    let failed: Vec<String> = results.into_iter().filter_map(Result::err).collect();
    if answered == 0 && !failed.is_empty() { Err(failed.join("; ")) } else { Ok(answered) }
}

/// Why a call failed, in the words of Go's dialer, which operators search for.
fn refused(target: &str, error: &Error) -> String {
    match error.kind() {
        ErrorKind::ConnectionRefused => format!("dial tcp {target}: connect: connection refused"),
        ErrorKind::TimedOut => format!("dial tcp {target}: i/o timeout"),
        _ => format!("dial tcp {target}: {error}"),
    }
}

/// `address` with a port: its own, or `port`.
fn with_port(address: &str, port: u16) -> String {
    if let Ok(whole) = address.parse::<SocketAddr>() {
        return whole.to_string();
    }
    let bare_v6 = address.matches(':').count() > 1 && !address.starts_with('[');
    let named = !bare_v6 && address.rsplit_once(':').is_some_and(|(_, p)| p.parse::<u16>().is_ok());
    if named { address.to_owned() } else { host_port(address.trim_matches(['[', ']']), port) }
}

#[cfg(test)]
mod tests {
    use super::*;

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
