//! What the frames carry: our own records, and their way from and to openraft's messages.
#![deny(clippy::indexing_slicing, clippy::expect_used, clippy::arithmetic_side_effects)]

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, VoteRequest, VoteResponse,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::frame::malformed;
use crate::codec;
use crate::options::NodeId;
use crate::types::{self, Position, RaftLogEntry, Types};
use crate::wal::{Kind, LogPosition, Record, VoteRecord};

/// Version of the peer protocol; both sides must speak the same.
pub(super) const PROTOCOL: u16 = 1;

/// Bytes in front of an entry's payload: kind (1), term, index (8 each), length (4).
const ENTRY_HEAD: usize = 21;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Lane {
    Replication,
    Control,
    Snapshot,
    /// Of a process that is no node: requests of the application and nothing else.
    Agent,
}

/// The first frame of a connection.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Hello {
    pub(super) protocol: u16,
    pub(super) cluster: String,
    pub(super) from: NodeId,
    pub(super) to: NodeId,
    pub(super) lane: Lane,
}

/// Head of an append; the entries follow.
#[derive(Debug, Serialize, Deserialize)]
struct AppendHead {
    vote: VoteRecord,
    previous: Option<LogPosition>,
    committed: Option<LogPosition>,
    entries: u32,
}

/// Answer to an append.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum Appended {
    Success,
    Partial(Option<LogPosition>),
    Conflict,
    HigherVote(VoteRecord),
}

/// Asks for a vote, really or tentatively.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct VoteAsk {
    vote: VoteRecord,
    last: Option<LogPosition>,
    transfer: bool,
}

/// Answer to a `VoteAsk`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Voted {
    vote: VoteRecord,
    granted: bool,
    last: Option<LogPosition>,
}

/// Tells a node to stand for election.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct TransferAsk {
    from: VoteRecord,
    to: NodeId,
    last: Option<LogPosition>,
}

/// Answer to a `TransferAsk`: what the node has instead, if it declines.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Transferred {
    Done,
    VoteChanged { expected: VoteRecord, actual: VoteRecord },
    LogNotFlushed { expected: Option<LogPosition>, actual: Option<LogPosition> },
}

/// Answer to a read index request.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ReadIndex {
    At(u64),
    NotLeader,
}

/// Head of a snapshot.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SnapshotHead {
    pub(super) vote: VoteRecord,
    pub(super) position: Position,
    /// Path below the checkpoint and size, in the order of sending.
    pub(super) files: Vec<(String, u64)>,
}

/// Decodes a body.
pub(super) fn decode<T: DeserializeOwned>(body: &[u8]) -> io::Result<T> {
    codec::decode(body).map_err(|e| malformed(e.to_string()))
}

/// Appends an append request to `out`. Small payloads are gathered here once, which is cheaper
/// than one system call for each of them.
pub(super) fn put_append(request: AppendEntriesRequest<Types>, out: &mut BytesMut) {
    let head = codec::encode(&AppendHead {
        vote: types::vote_record(&request.vote),
        previous: request.prev_log_id.map(types::position),
        committed: request.leader_commit.map(types::position),
        entries: u32::try_from(request.entries.len()).unwrap_or(u32::MAX),
    });
    out.put_u32_le(u32::try_from(head.len()).unwrap_or(u32::MAX));
    out.put_slice(&head);
    for entry in request.entries {
        let record = types::record(entry);
        let kind = match record.kind {
            Kind::Normal => 2,
            Kind::Membership => 3,
            Kind::Blank | Kind::Vote | Kind::Truncate | Kind::Purge | Kind::Committed => 1,
        };
        out.put_u8(kind);
        out.put_u64_le(record.term);
        out.put_u64_le(record.index);
        out.put_u32_le(u32::try_from(record.payload.len()).unwrap_or(u32::MAX));
        out.put_slice(&record.payload);
    }
}

/// Reads an append request; the payloads stay where they are.
pub(super) fn append_request(mut body: Bytes) -> io::Result<AppendEntriesRequest<Types>> {
    let short = || malformed("append is cut short".to_owned());
    let length = body.try_get_u32_le().map_err(|_short| short())?;
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > body.len() {
        return Err(short());
    }
    let head: AppendHead = decode(&body.split_to(length))?;
    let mut entries = Vec::new();
    let mut before = head.previous;
    for _ in 0..head.entries {
        let entry = entry(&mut body)?;
        let at = types::position(entry.log_id);
        follows(before, at)?;
        before = Some(at);
        entries.push(entry);
    }
    Ok(AppendEntriesRequest {
        vote: types::vote(head.vote),
        prev_log_id: head.previous.map(types::log_id),
        entries,
        leader_commit: head.committed.map(types::log_id),
    })
}

/// Entries with a gap, or of terms that fall, would end at the log, which stops the node.
fn follows(before: Option<LogPosition>, at: LogPosition) -> io::Result<()> {
    let next = before.map_or(Some(0), |before| before.index.checked_add(1));
    if next == Some(at.index) && before.is_none_or(|before| before.term <= at.term) {
        return Ok(());
    }
    Err(malformed(format!("entry {at:?} does not follow {before:?}")))
}

fn entry(body: &mut Bytes) -> io::Result<RaftLogEntry> {
    let short = || malformed("entry is cut short".to_owned());
    if body.len() < ENTRY_HEAD {
        return Err(short());
    }
    let kind = match body.get_u8() {
        1 => Kind::Blank,
        2 => Kind::Normal,
        3 => Kind::Membership,
        code => return Err(malformed(format!("entry of unknown kind {code}"))),
    };
    let (term, index) = (body.get_u64_le(), body.get_u64_le());
    let length = usize::try_from(body.get_u32_le()).unwrap_or(usize::MAX);
    if length > body.len() {
        return Err(short());
    }
    let payload = body.split_to(length);
    types::entry(Record { kind, term, index, payload }).map_err(malformed)
}

pub(super) fn appended(response: &AppendEntriesResponse<Types>) -> Appended {
    match response {
        AppendEntriesResponse::Success => Appended::Success,
        AppendEntriesResponse::PartialSuccess(upto) => Appended::Partial(upto.map(types::position)),
        AppendEntriesResponse::Conflict => Appended::Conflict,
        AppendEntriesResponse::HigherVote(vote) => Appended::HigherVote(types::vote_record(vote)),
    }
}

pub(super) fn append_response(appended: Appended) -> AppendEntriesResponse<Types> {
    match appended {
        Appended::Success => AppendEntriesResponse::Success,
        Appended::Partial(upto) => AppendEntriesResponse::PartialSuccess(upto.map(types::log_id)),
        Appended::Conflict => AppendEntriesResponse::Conflict,
        Appended::HigherVote(vote) => AppendEntriesResponse::HigherVote(types::vote(vote)),
    }
}

pub(super) fn vote_ask(request: &VoteRequest<Types>) -> VoteAsk {
    VoteAsk {
        vote: types::vote_record(&request.vote),
        last: request.last_log_id.map(types::position),
        transfer: request.leadership_transfer,
    }
}

pub(super) fn vote_request(ask: &VoteAsk) -> VoteRequest<Types> {
    let mut request = VoteRequest::new(types::vote(ask.vote), ask.last.map(types::log_id));
    request.leadership_transfer = ask.transfer;
    request
}

pub(super) fn voted(response: &VoteResponse<Types>) -> Voted {
    Voted {
        vote: types::vote_record(&response.vote),
        granted: response.vote_granted,
        last: response.last_log_id.map(types::position),
    }
}

pub(super) fn vote_response(voted: &Voted) -> VoteResponse<Types> {
    VoteResponse::new(types::vote(voted.vote), voted.last.map(types::log_id), voted.granted)
}

pub(super) fn transfer_ask(request: &TransferLeaderRequest<Types>) -> TransferAsk {
    TransferAsk {
        from: types::vote_record(request.from_leader()),
        to: *request.to_node_id(),
        last: request.last_log_id().copied().map(types::position),
    }
}

pub(super) fn transfer_request(ask: &TransferAsk) -> TransferLeaderRequest<Types> {
    TransferLeaderRequest::new(types::vote(ask.from), ask.to, ask.last.map(types::log_id))
}
