//! The peer protocol under a fuzzer: frames as they come in pieces, and what they carry.

use bytes::{Bytes, BytesMut};
use futures::FutureExt as _;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::frame::{self, Kind, Reader};
use super::wire::{self, Appended, Hello, Lane, ReadIndex, SnapshotHead, TransferAsk, Transferred};
use crate::codec;
use crate::fuzz::{Input, Target, Trickle};
use crate::types::{Position, RaftLogEntry};
use crate::wal::{LogPosition, VoteRecord};

/// What is read of peers.
pub(crate) const TARGETS: &[Target] = &[
    Target {
        name: "peer-frames",
        about: "frames that come in pieces: what is taken is what was sent, nothing is reserved for claims",
        memory: 1024 * 1024,
        run: frames,
        seeds: frame_seeds,
    },
    Target {
        name: "peer-bodies",
        about: "requests and answers of peers: read, written and read they are the same",
        memory: 32 * 1024 * 1024,
        run: bodies,
        seeds: body_seeds,
    },
];

fn frames(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let step = usize::from(input.byte()) * 64;
    let sent = input.rest();
    let mut reader = Reader::new(Trickle::new(sent, step));
    let mut again = BytesMut::new();
    while let Ok(frame) = reader.next().now_or_never().expect("all bytes are there") {
        frame::put(&mut again, frame.kind, frame.seq, &frame.body);
        assert!(sent.starts_with(&again), "a frame is what was sent");
    }
}

fn frame_seeds() -> Vec<Vec<u8>> {
    let mut out = BytesMut::new();
    let mut seeds = Vec::new();
    for (step, body) in body_seeds().into_iter().enumerate() {
        frame::put(&mut out, Kind::Call, u64::from(body[0]), &body);
        let step = [u8::try_from(step % 3).unwrap_or_default()];
        seeds.push([&step, &out[..]].concat());
    }
    // Longer than it is: nothing must be reserved for that.
    seeds.push([&[1, 0, 0, 0xff, 0, 7][..], &[0; 30]].concat());
    seeds
}

/// One kind of body, by the first byte of the input.
const BODIES: &[fn(&[u8])] = &[
    append,
    |body| is_same::<Hello>(body),
    |body| {
        if let Some(ask) = same(body) {
            as_sent(&wire::vote_ask(&wire::vote_request(&ask)), body);
        }
    },
    |body| {
        if let Some(voted) = same(body) {
            as_sent(&wire::voted(&wire::vote_response(&voted)), body);
        }
    },
    |body| {
        if let Some(ask) = same::<TransferAsk>(body) {
            as_sent(&wire::transfer_ask(&wire::transfer_request(&ask)), body);
        }
    },
    |body| is_same::<Transferred>(body),
    |body| is_same::<ReadIndex>(body),
    |body| {
        if let Some(head) = same::<SnapshotHead>(body) {
            drop(head.position.into_parts());
        }
    },
    |body| {
        if let Some(appended) = same::<Appended>(body) {
            as_sent(&wire::appended(&wire::append_response(appended)), body);
        }
    },
];

fn bodies(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let kind = usize::from(input.byte()) % BODIES.len();
    BODIES[kind](input.rest());
}

/// What a body says; written again, it is read as the same.
fn same<T: Serialize + DeserializeOwned>(body: &[u8]) -> Option<T> {
    let value: T = wire::decode(body).ok()?;
    as_sent(&value, body);
    Some(value)
}

/// As [`same`], of what nothing more is made of.
fn is_same<T: Serialize + DeserializeOwned>(body: &[u8]) {
    if let Ok(value) = wire::decode::<T>(body) {
        as_sent(&value, body);
    }
}

/// Reads again what `value` is written as, which is no longer than the body that it came from.
fn as_sent<T: Serialize + DeserializeOwned>(value: &T, body: &[u8]) {
    let bytes = codec::encode(value);
    assert!(bytes.len() <= body.len(), "what is written is the shortest way to say it");
    let again: T = wire::decode(&bytes).expect("what was written is read");
    assert_eq!(codec::encode(&again), bytes, "what was read is written in the same way");
}

fn append(body: &[u8]) {
    let Ok(request) = wire::append_request(Bytes::copy_from_slice(body)) else { return };
    let mut before = request.prev_log_id;
    for entry in &request.entries {
        let follows = before.map_or(0, |before| before.index + 1) == entry.log_id.index;
        assert!(follows && before <= Some(entry.log_id), "entries follow each other");
        before = Some(entry.log_id);
    }
    let mut written = BytesMut::new();
    wire::put_append(request, &mut written);
    let again = wire::append_request(written.clone().freeze());
    let mut twice = BytesMut::new();
    wire::put_append(again.expect("what was written is read"), &mut twice);
    assert_eq!(written, twice, "an append is written in the same way");
}

fn body_seeds() -> Vec<Vec<u8>> {
    let at = |term, index| LogPosition { term, index };
    let vote = VoteRecord { term: 3, node: 2, committed: true };
    let position = Position { applied: Some(at(2, 7)), ..Position::default() };
    let files = vec![("rows".to_owned(), 5), ("sst/000007.sst".to_owned(), 70_000)];
    let hello = |lane| Hello { protocol: 1, cluster: "c".to_owned(), from: 2, to: 1, lane };
    let [ask, voted, transfer] = requests(vote, at(2, 7));
    let seed = |kind: u8, body: Vec<u8>| [&[kind], &body[..]].concat();
    vec![
        seed(0, append_seed(at(2, 7), &[])),
        seed(0, append_seed(at(2, 7), &[b"one", b"", b"three"])),
        seed(1, codec::encode(&hello(Lane::Agent))),
        seed(1, codec::encode(&hello(Lane::Replication))),
        seed(2, ask),
        seed(3, voted),
        seed(4, transfer),
        seed(5, codec::encode(&Transferred::VoteChanged { expected: vote, actual: vote })),
        seed(6, codec::encode(&ReadIndex::At(70_000))),
        seed(7, codec::encode(&SnapshotHead { vote, position, files })),
        seed(8, codec::encode(&Appended::Partial(Some(at(2, 7))))),
        seed(8, codec::encode(&Appended::HigherVote(vote))),
    ]
}

/// A request for a vote, the answer to it, and a transfer of leadership.
fn requests(vote: VoteRecord, last: LogPosition) -> [Vec<u8>; 3] {
    use openraft::raft::{TransferLeaderRequest, VoteRequest, VoteResponse};
    let (vote, last) = (crate::types::vote(vote), Some(crate::types::log_id(last)));
    [
        codec::encode(&wire::vote_ask(&VoteRequest::new(vote, last))),
        codec::encode(&wire::voted(&VoteResponse::new(vote, last, true))),
        codec::encode(&wire::transfer_ask(&TransferLeaderRequest::new(vote, 3, last))),
    ]
}

fn append_seed(previous: LogPosition, payloads: &[&'static [u8]]) -> Vec<u8> {
    use openraft::entry::RaftEntry as _;
    let previous_id = crate::types::log_id(previous);
    let entries = payloads.iter().zip(previous.index + 1..).map(|(payload, index)| {
        let id = crate::types::log_id(LogPosition { term: previous.term, index });
        RaftLogEntry::new_normal(id, crate::types::Payload(Bytes::from_static(payload)))
    });
    let request = openraft::raft::AppendEntriesRequest {
        vote: crate::types::vote(VoteRecord { term: previous.term, node: 2, committed: true }),
        prev_log_id: Some(previous_id),
        entries: entries.collect(),
        leader_commit: Some(previous_id),
    };
    let mut out = BytesMut::new();
    wire::put_append(request, &mut out);
    out.to_vec()
}
