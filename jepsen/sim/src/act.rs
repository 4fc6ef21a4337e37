//! One operation of a client on one replica, and what was learned of it.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use portolan::model::{
    Answer as Stored, Behavior, Command, Consistency, Index, KvEntry, KvOp, KvWrite, Query, Read,
    ReadOptions, Reply, SessionId, SessionSpec, Unavailable, Written,
};
use portolan::replica::Replica;
use portolan_jepsen::history::{Action, Answer, Condition, Level, Outcome, Write};
use uuid::Uuid;

use crate::server;

/// How long a watch waits.
const WATCH_WAIT: Duration = Duration::from_secs(4);
/// A client that hears nothing for this long gives up.
const PATIENCE: Duration = Duration::from_secs(15);

/// Does one operation. A read without an answer was not done; any other may have been.
pub(crate) async fn act(replica: &Replica, action: &Action) -> Outcome {
    let late = || Outcome::Unknown { why: "no answer".to_owned() };
    let outcome = match tokio::time::timeout(PATIENCE, attempt(replica, action)).await {
        Ok(Ok(answer)) => Outcome::Done(answer),
        Ok(Err(Unavailable::Unknown(why))) => Outcome::Unknown { why },
        Ok(Err(other)) => Outcome::NotDone { why: other.to_string() },
        Err(_elapsed) => late(),
    };
    settled(action, outcome)
}

/// A read changes nothing, so one without an answer is as one that was not done.
pub(crate) fn settled(action: &Action, outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Unknown { why } if action.only_reads() => Outcome::NotDone { why },
        other => other,
    }
}

async fn attempt(replica: &Replica, action: &Action) -> Result<Answer, Unavailable> {
    match action {
        Action::Write(write) => Ok(written(&replica.write(&command(write)).await?, write)),
        Action::Read { key, level } => {
            let read = replica.read(Query::Kv(key.clone()), options(*level)).await?;
            Ok(value(&read))
        }
        Action::Scan { prefix, level } => {
            let read = replica.read(Query::KvTree(prefix.clone()), options(*level)).await?;
            Ok(values(&read))
        }
        Action::Watch { key, after } => {
            let waits = ReadOptions {
                after: Some(Index(*after)),
                wait: Some(WATCH_WAIT),
                ..ReadOptions::default()
            };
            Ok(value(&replica.read(Query::Kv(key.clone()), waits).await?))
        }
        Action::List { key, level } => {
            let read = replica.read(Query::Kv(key.clone()), options(*level)).await?;
            let (elements, revision) = list(&read);
            Ok(Answer::Elements { elements, revision })
        }
        Action::Append { key, element } => append(replica, key, *element).await,
        Action::Open { ttl } => open(replica, *ttl).await,
        Action::Renew { session } => {
            Ok(Answer::Alive { alive: replica.renew(session_id(session)).await?.is_some() })
        }
        Action::Look { session } => {
            let query = Query::Session(session_id(session));
            let read = replica.read(query, ReadOptions::default()).await?;
            let alive = matches!(&*read.answer, Stored::Sessions(found) if !found.is_empty());
            Ok(Answer::Alive { alive })
        }
        Action::End { session } => {
            let written = replica.write(&Command::SessionDestroy(session_id(session))).await?;
            Ok(Answer::Written { revision: Some(written.index.0) })
        }
        Action::Acquire { key, session } => lock(replica, key, session).await,
        Action::Release { key, session } => unlock(replica, key, session).await,
        other => Err(Unavailable::NotApplied(format!("no such work here: {other:?}"))),
    }
}

fn command(write: &Write) -> Command {
    let verb = match (write.value, write.condition) {
        (None, _) => KvWrite::Delete,
        (Some(value), Condition::Always) => KvWrite::Set { value: bytes(value), flags: 0 },
        (Some(value), Condition::Absent) => {
            KvWrite::Cas { value: bytes(value), flags: 0, index: Index(0) }
        }
        (Some(value), Condition::Unchanged(index)) => {
            KvWrite::Cas { value: bytes(value), flags: 0, index: Index(index) }
        }
    };
    Command::Kv(KvOp { key: write.key.clone(), verb })
}

/// A deletion does not say whether there was anything, so its index may be of an earlier write.
fn written(written: &Written, write: &Write) -> Answer {
    let index = Some(written.index.0);
    match written.reply {
        Reply::Flag(false) => Answer::Refused { store: index },
        _ => Answer::Written { revision: index.filter(|_| write.value.is_some()) },
    }
}

async fn append(replica: &Replica, key: &str, element: u64) -> Result<Answer, Unavailable> {
    let read = replica.read(Query::Kv(key.to_owned()), ReadOptions::default()).await;
    // Nothing was written yet, so whatever went wrong, it was not done.
    let read = read.map_err(|error| Unavailable::NotApplied(error.to_string()))?;
    let (mut elements, revision) = list(&read);
    elements.push(element);
    let text = elements.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
    let verb = KvWrite::Cas { value: text.into(), flags: 0, index: Index(revision) };
    let written = replica.write(&Command::Kv(KvOp { key: key.to_owned(), verb })).await?;
    let index = Some(written.index.0);
    Ok(match written.reply {
        Reply::Flag(true) => Answer::Written { revision: index },
        _ => Answer::Refused { store: index },
    })
}

async fn open(replica: &Replica, ttl: u64) -> Result<Answer, Unavailable> {
    let id = SessionId(Uuid::new_v4());
    let spec = SessionSpec {
        id,
        name: String::new(),
        node: server::name(1),
        lock_delay_ms: 0,
        behavior: Behavior::Release,
        ttl_ms: Some(ttl),
        ttl_text: String::new(),
        node_checks: Vec::new(),
        service_checks: None,
        checks: None,
    };
    let written = replica.write(&Command::SessionCreate(spec)).await?;
    match written.reply {
        Reply::Session(id) => Ok(Answer::Opened { session: id.to_string() }),
        other => Err(Unavailable::NotApplied(format!("{other:?}"))),
    }
}

async fn lock(replica: &Replica, key: &str, session: &str) -> Result<Answer, Unavailable> {
    let session = session_id(session);
    let verb = KvWrite::Lock { value: Bytes::from_static(b"held"), flags: 0, session };
    let written = replica.write(&Command::Kv(KvOp { key: key.to_owned(), verb })).await?;
    match written.reply {
        Reply::Flag(held) => Ok(Answer::Held { token: held.then_some(written.index.0) }),
        // A session that has ended asks for nothing: that says nothing of the lock.
        other => Err(Unavailable::NotApplied(format!("{other:?}"))),
    }
}

async fn unlock(replica: &Replica, key: &str, session: &str) -> Result<Answer, Unavailable> {
    let session = session_id(session);
    let verb = KvWrite::Unlock { value: Bytes::from_static(b"free"), flags: 0, session };
    let written = replica.write(&Command::Kv(KvOp { key: key.to_owned(), verb })).await?;
    Ok(match written.reply {
        Reply::Flag(true) => Answer::Written { revision: Some(written.index.0) },
        _ => Answer::Refused { store: Some(written.index.0) },
    })
}

fn options(level: Level) -> ReadOptions {
    let consistency = match level {
        Level::Default | Level::Strong => Consistency::Linearizable,
        Level::Stale => Consistency::Stale,
    };
    ReadOptions { consistency, ..ReadOptions::default() }
}

fn entries(read: &Read) -> &[std::sync::Arc<KvEntry>] {
    match &*read.answer {
        Stored::Kv(entries) => entries,
        _ => &[],
    }
}

fn value(read: &Read) -> Answer {
    let store = Some(read.index.0);
    match entries(read).first() {
        Some(entry) => {
            Answer::Value { value: number(&entry.value), revision: entry.modify.0, store }
        }
        None => Answer::Value { value: None, revision: 0, store },
    }
}

fn values(read: &Read) -> Answer {
    let values = entries(read)
        .iter()
        .filter_map(|entry| Some((entry.key.clone(), (number(&entry.value)?, entry.modify.0))));
    Answer::Values { values: values.collect::<BTreeMap<_, _>>(), store: Some(read.index.0) }
}

fn list(read: &Read) -> (Vec<u64>, u64) {
    let Some(entry) = entries(read).first() else { return (Vec::new(), 0) };
    let text = String::from_utf8_lossy(&entry.value);
    (text.split(',').filter_map(|part| part.parse().ok()).collect(), entry.modify.0)
}

fn bytes(value: u64) -> Bytes {
    value.to_string().into()
}

fn number(bytes: &Bytes) -> Option<u64> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

fn session_id(text: &str) -> SessionId {
    SessionId(Uuid::parse_str(text).unwrap_or_default())
}
