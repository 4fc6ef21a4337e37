//! `/v1/kv`: keys. Source: Consul HTTP API, "KV Store".

use axum::body::Bytes;
use axum::http::StatusCode;

use crate::limits::KEY_BYTES_MAX;
use crate::model::{Answer, Command, Index, KvOp, KvWrite, Query, Read, Reply, SessionId, Written};

use super::call::{Call, Discovery, Kind, Outcome, Output, wrong_answer};
use super::error::Failure;
use super::number;
use super::session::parse_id;
use super::wire::KvListJson;

/// `GET /v1/kv/<key>`: one key, or with `recurse` or `keys` all below a prefix.
pub(super) async fn get(call: Call) -> Outcome {
    let plan = call.read_plan(Discovery::No)?;
    call.check_datacenter()?;
    if call.params.has("keys") {
        return keys(call).await;
    }
    let tree = call.params.has("recurse");
    if !tree {
        call.required("Missing key name")?;
    }
    bounded(&call.rest)?;
    let key = call.rest.clone();
    let query = if tree { Query::KvTree(key) } else { Query::Kv(key) };
    let read = call.read(query, &plan).await?;
    let Answer::Kv(entries) = &*read.answer else { wrong_answer() };
    match entries.first() {
        None => Ok(missing(&read)),
        Some(entry) if !tree && call.params.has("raw") => Ok(raw(entry.value.clone(), &read)),
        Some(_) => Ok(call.read_json(&KvListJson(entries), &read)),
    }
}

async fn keys(call: Call) -> Outcome {
    let plan = call.read_plan(Discovery::No)?;
    bounded(&call.rest)?;
    let separator = call.params.get("separator").or_else(|| call.params.get("seperator"));
    let separator = separator.unwrap_or_default().to_owned();
    let query = Query::KvKeys { prefix: call.rest.clone(), separator };
    let read = call.read(query, &plan).await?;
    let Answer::Names(names) = &*read.answer else { wrong_answer() };
    if names.is_empty() && !call.rest.is_empty() {
        return Ok(missing(&read));
    }
    Ok(call.read_json(names, &read))
}

fn missing(read: &Read) -> Output {
    Output::empty().status(StatusCode::NOT_FOUND).about(read)
}

/// The value alone, dressed so that no browser runs it.
fn raw(value: Bytes, read: &Read) -> Output {
    let output = Output { kind: Kind::Other("text/plain"), body: value, ..Output::empty() };
    output
        .about(read)
        .header("x-content-type-options", "nosniff")
        .header("content-security-policy", "sandbox")
}

/// `PUT /v1/kv/<key>`: stores, compares and sets, locks or unlocks.
pub(super) async fn put(mut call: Call) -> Outcome {
    call.read_plan(Discovery::No)?;
    call.check_datacenter()?;
    call.required("Missing key name")?;
    bounded(&call.rest)?;
    call.params.conflict(&["cas", "acquire", "release"])?;
    let flags = number_param(&call, "flags")?.unwrap_or(0);
    let guard = Guard::of(&call)?;
    let value = call.body(call.options.value_bytes_max, "kv_max_value_size").await?;
    let verb = match guard {
        Guard::None => KvWrite::Set { value, flags },
        Guard::Cas(index) => KvWrite::Cas { value, flags, index },
        Guard::Acquire(session) => KvWrite::Lock { value, flags, session },
        Guard::Release(session) => KvWrite::Unlock { value, flags, session },
        Guard::ReleaseNobody => return Ok(call.json(&false)),
    };
    run(call, verb).await
}

/// `DELETE /v1/kv/<key>`: one key, with `cas` if it is unchanged, with `recurse` all below.
pub(super) async fn delete(call: Call) -> Outcome {
    call.read_plan(Discovery::No)?;
    call.check_datacenter()?;
    let tree = call.params.has("recurse");
    if !tree {
        call.required("Missing key name")?;
    }
    bounded(&call.rest)?;
    call.params.conflict(&["recurse", "cas"])?;
    let verb = match number_param(&call, "cas")? {
        Some(index) => KvWrite::DeleteCas { index: Index(index) },
        None if tree => KvWrite::DeleteTree,
        None => KvWrite::Delete,
    };
    run(call, verb).await
}

async fn run(mut call: Call, verb: KvWrite) -> Outcome {
    let key = std::mem::take(&mut call.rest);
    let Written { reply, index } = call.write(Command::Kv(KvOp { key, verb })).await?;
    let done = match reply {
        Reply::Flag(done) => done,
        Reply::Done => true,
        Reply::Session(_) | Reply::Txn(_) | Reply::Refused(_) => wrong_answer(),
    };
    Ok(call.json(&done).written(index))
}

/// On what a write depends.
enum Guard {
    None,
    Cas(Index),
    Acquire(SessionId),
    Release(SessionId),
    /// A release by what is no session at all: nobody holds a lock by that name.
    ReleaseNobody,
}

impl Guard {
    fn of(call: &Call) -> Result<Self, Failure> {
        if let Some(index) = number_param(call, "cas")? {
            return Ok(Self::Cas(Index(index)));
        }
        if let Some(text) = call.params.get("acquire") {
            return session(text).map(Self::Acquire);
        }
        match call.params.get("release") {
            None => Ok(Self::None),
            Some("") => session("").map(Self::Release),
            Some(text) => Ok(parse_id(text).map_or(Self::ReleaseNobody, Self::Release)),
        }
    }
}

fn session(text: &str) -> Result<SessionId, Failure> {
    if text.is_empty() {
        return Err(Failure::internal("missing session"));
    }
    parse_id(text).map_err(Failure::internal)
}

/// A parameter that is a number where it is given; Consul answers 500 to nonsense.
fn number_param(call: &Call, name: &str) -> Result<Option<u64>, Failure> {
    call.params.get(name).map(number::unsigned).transpose().map_err(Failure::internal)
}

/// Refuses a key above its bound.
pub(super) fn bounded(key: &str) -> Result<(), Failure> {
    if key.len() <= KEY_BYTES_MAX {
        return Ok(());
    }
    let length = key.len();
    Err(Failure::bad(format!("key of {length} bytes is too long, at most {KEY_BYTES_MAX}")))
}
