//! The loop around the protocol: packets in, timers, and whatever comes out of either.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::call;
use super::handle::{Inner, LABEL};
use super::pool::Output;
use super::questions::{self, Answer, Question};
use crate::lifecycle::Shutdown;
use crate::limits::PACKETS_A_TURN_MAX;
use crate::model::MemberStatus;
use crate::time;

/// Longest datagram that is read: one that is longer is none of ours.
const DATAGRAM_BYTES: usize = 2048;
/// Members are told at most this often: thousands may join at once.
const TELL_PERIOD: Duration = Duration::from_millis(50);
/// How often this member looks whether it has a Raft log by now, and whom it may forget.
const LOOK_PERIOD: Duration = Duration::from_millis(250);
/// Between an answer and its second copy.
const SECOND_ANSWER: Duration = Duration::from_millis(150);

/// Takes packets and runs timers until the word to stop.
pub(super) async fn packets(inner: Arc<Inner>, mut shutdown: Shutdown) {
    let mut buffer = vec![0; DATAGRAM_BYTES];
    let mut looked = time::now();
    loop {
        let due = inner.pool.lock().due();
        let wake = due.unwrap_or(looked + LOOK_PERIOD).min(looked + LOOK_PERIOD);
        // Each branch may be dropped: a packet stays in the socket, a timer in its place.
        tokio::select! {
            got = inner.udp.recv_from(&mut buffer) => match got {
                Ok((length, from)) => take(&inner, buffer.get(..length).unwrap_or_default(), from),
                // Linux reports here that an earlier packet of ours was refused.
                Err(error) => tracing::debug!(%error, "a packet was not received"),
            },
            () = tokio::time::sleep_until(wake) => {}
            () = inner.wake.notified() => {}
            () = shutdown.wait() => return,
        }
        // Packets that came meanwhile go before timers: among them may be what a timer waits for.
        for _ in 0..PACKETS_A_TURN_MAX {
            let Ok((length, from)) = inner.udp.try_recv_from(&mut buffer) else { break };
            take(&inner, buffer.get(..length).unwrap_or_default(), from);
        }
        let now = time::now();
        inner.pool.lock().tick(now);
        if now.duration_since(looked) >= LOOK_PERIOD {
            looked = now;
            look(&inner, now);
        }
        work_off(&inner);
    }
}

fn take(inner: &Inner, sealed: &[u8], from: SocketAddr) {
    let now = time::now();
    let bytes = match inner.options.keyring.unseal(sealed, LABEL.as_bytes()) {
        Ok(bytes) => bytes,
        // The ring says so once for all that comes from there: packets and calls.
        Err(cause) => return inner.options.keyring.note(from.ip(), cause),
    };
    let taken = inner.pool.lock().packet(&bytes, now);
    match taken {
        Ok(None) => {}
        Ok(Some(answer)) => {
            let asking = inner.asking.lock();
            if let Some(waits) = asking.get(&answer.question) {
                // Who waits may have gone, or have all that it wants.
                drop(waits.try_send(answer));
            }
        }
        Err(why) => inner.complaints.lock().log(from.ip(), &why, now),
    }
}

/// What this member says of itself may have changed, and others may be forgotten.
fn look(inner: &Inner, now: Instant) {
    refresh(inner, now);
    let (failed, left) = inner.options.forget;
    let pool = inner.pool.lock();
    let mut heard = pool.heard.lock();
    for id in heard.book.reap(failed, left, now) {
        tracing::info!(%id, "a member is forgotten");
        heard.changed = true;
    }
}

/// Says whether this member has a Raft log, if that is news.
pub(super) fn refresh(inner: &Inner, now: Instant) {
    let bootstrapped = (inner.options.bootstrapped)();
    let mut pool = inner.pool.lock();
    let said = pool.heard.lock().book.mine().member.bootstrapped;
    if said != bootstrapped && !pool.has_left() {
        pool.change_card(|me| me.bootstrapped = bootstrapped, now);
    }
}

/// As [`work_off`], by somebody else than the loop, which looks at its timers anew after it.
pub(super) fn flush(inner: &Arc<Inner>) {
    work_off(inner);
    inner.wake.notify_one();
}

/// Does what came out of the protocol since the last time.
fn work_off(inner: &Arc<Inner>) {
    let now = time::now();
    let (outputs, (events, questions)) = {
        let mut pool = inner.pool.lock();
        (pool.outputs(), pool.told())
    };
    for output in outputs {
        match output {
            Output::Packet(to, bytes) => send(inner, to, &bytes),
            Output::Check(whom) => inner.tasks.spawn(call::check(Arc::clone(inner), whom)),
        }
    }
    for event in events {
        if let Err(error) = inner.options.events.try_send(event) {
            tracing::warn!(%error, "an event is lost here");
        }
    }
    for question in questions {
        inner.tasks.spawn(answer(Arc::clone(inner), question));
    }
    let mut told_at = inner.told_at.lock();
    if told_at.is_none_or(|at| now.duration_since(at) >= TELL_PERIOD)
        && let Some(members) = inner.pool.lock().news()
    {
        *told_at = Some(now);
        tell(inner, members);
    }
}

fn tell(inner: &Inner, members: crate::model::MemberList) {
    let before = inner.told.borrow().clone();
    if before == members {
        return;
    }
    for member in members.iter().filter(|member| member.status == MemberStatus::Failed) {
        let was = before.iter().find(|other| other.id == member.id).map(|other| other.status);
        if was == Some(MemberStatus::Alive) {
            tracing::warn!(member = member.name, address = member.address, "member failed");
        }
    }
    inner.told.send_replace(members);
}

/// Sends one packet. One that the socket does not take now is lost, as any packet may be.
fn send(inner: &Inner, to: SocketAddr, bytes: &[u8]) {
    let sealed = inner.options.keyring.seal(bytes, LABEL.as_bytes());
    if let Err(error) = inner.udp.try_send_to(&sealed, to) {
        tracing::debug!(%to, %error, "a packet was not sent");
    }
}

/// Answers a question, twice: either packet may be lost.
async fn answer(inner: Arc<Inner>, question: Question) {
    let verb = question.verb.clone();
    let keyring = inner.options.keyring.clone();
    // The ring is written to a disk.
    let done = tokio::task::spawn_blocking(move || questions::carry_out(&verb, &keyring)).await;
    let outcome = done.unwrap_or_else(|error| Err(error.to_string()));
    if let Err(why) = &outcome {
        tracing::warn!(why, "a change of the keyring failed here");
    }
    let (packet, me) = {
        let pool = inner.pool.lock();
        let member = inner.options.me.id.clone();
        let answer = Answer { question: question.id, member, outcome };
        if question.from.id == pool.me().id {
            let asking = inner.asking.lock();
            if let Some(waits) = asking.get(&question.id) {
                drop(waits.try_send(answer)); // who waits may have gone
            }
            return;
        }
        (pool.answer_packet(&answer), question.from.at)
    };
    send(&inner, me, &packet);
    tokio::time::sleep(SECOND_ANSWER).await;
    send(&inner, me, &packet);
}
