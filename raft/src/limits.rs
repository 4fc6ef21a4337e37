//! Every bound of this crate, with its unit and the reason for its size.

use std::time::Duration;

/// Largest payload of one proposal, in bytes. Together with a full batch it fits one frame.
pub(crate) const ENTRY_BYTES_MAX: usize = 8 * MIB;

/// A replication request, a read from the disk and a batch for the machine stop growing here.
/// One entry always goes through, however large, so a batch may reach this plus one entry.
pub(crate) const BATCH_BYTES: usize = 2 * MIB;

/// Entries in one replication request or one batch for the machine.
pub(crate) const BATCH_ENTRIES: usize = 1024;

/// Body of one frame between nodes, in bytes.
pub(crate) const FRAME_BYTES_MAX: usize = 16 * MIB;

/// One `codec` value, in bytes.
pub(crate) const CODEC_BYTES_MAX: usize = 16 * MIB;

/// Requests that wait in front of the writer of the log.
pub(crate) const WAL_QUEUE: usize = 1024;

/// The writer closes a group at this size, in bytes.
pub(crate) const GROUP_BYTES: usize = 8 * MIB;

/// Zeros are written ahead of the log in steps of this size, in bytes.
pub(crate) const PREWRITE_BYTES: u64 = 4 * MIB as u64;

/// With nothing else to do, the writer keeps this many zeros ahead, in bytes.
pub(crate) const PREWRITE_MARGIN: u64 = MIB as u64;

/// Old segments that are kept for use again.
pub(crate) const SPARES_MAX: usize = 2;

/// Smallest and largest segment, in bytes; offsets inside one are 32 bits wide.
pub(crate) const SEGMENT_BYTES_MIN: u64 = 4096;
/// See [`SEGMENT_BYTES_MIN`].
pub(crate) const SEGMENT_BYTES_MAX: u64 = 1024 * MIB as u64;

/// Bytes appended to the log since the last snapshot that ask for the next one.
pub(crate) const LOG_BYTES_BEFORE_SNAPSHOT: u64 = 1024 * MIB as u64;

/// Proposals that wait to be coalesced.
pub(crate) const PROPOSE_QUEUE: usize = 8192;

/// Proposals in one batch.
pub(crate) const PROPOSE_BATCH: usize = 1024;

/// Batches of proposals under way at once. What comes meanwhile makes the next batch larger: the
/// busier a leader is, the less each proposal costs.
pub(crate) const PROPOSE_BATCHES: usize = 2;

/// Bytes of proposals under way at once, in KiB (a unit of the semaphore).
pub(crate) const PROPOSE_KIB: usize = 64 * 1024;

/// A leader that cannot serve yet (or no leader at all) is given this long.
pub(crate) const LEADER_GRACE: Duration = Duration::from_secs(1);

/// Pause between two tries while there is no leader.
pub(crate) const LEADER_RETRY: Duration = Duration::from_millis(20);

/// A proposal that is neither applied nor discarded by then is reported as unknown.
pub(crate) const PROPOSE_WAIT: Duration = Duration::from_secs(30);

/// Read barriers that wait for a round.
pub(crate) const BARRIER_QUEUE: usize = 8192;

/// Commands that wait in front of the machine.
pub(crate) const MACHINE_QUEUE: usize = 64;

/// Requests that wait in front of one control connection.
pub(crate) const CONTROL_QUEUE: usize = 1024;

/// Requests under way on one control connection, and on the server's side of it.
pub(crate) const CONTROL_PENDING: usize = 4096;

/// Replication requests that a server holds for one connection.
pub(crate) const STREAM_PENDING: usize = 64;

/// Peer connections that a server holds at once.
pub(crate) const CONNECTIONS_MAX: usize = 1024;

/// Connections of agents that a server holds at once, apart from those of peers: agents are
/// spread over the servers, and one that is refused goes to another.
pub(crate) const AGENTS_MAX: usize = 8192;

/// Requests of one agent under way: the blocking reads of its callers, and all else they ask.
pub(crate) const AGENT_PENDING: usize = 8192;

/// Requests that wait in front of an agent's connection to one server.
pub(crate) const AGENT_QUEUE: usize = 4096;

/// An agent's connection on which nothing is asked is closed after this long: its requests have
/// moved to another server.
pub(crate) const AGENT_IDLE: Duration = Duration::from_mins(1);

/// Servers to which one agent keeps a way.
pub(crate) const AGENT_WAYS_MAX: usize = 64;

/// Longest answer to an agent, in bytes. Source: the longest archive of a backup.
pub(crate) const ANSWER_BYTES_MAX: usize = 256 * MIB;

/// A longer answer is sent in parts of this size, in bytes, so that others pass between them.
pub(crate) const ANSWER_PART: usize = MIB;

/// Bytes of answers in parts that a server holds for all agents, in KiB (a unit of the
/// semaphore): two of the longest.
pub(crate) const ANSWERS_KIB: usize = 512 * 1024;

/// One decoded answer, in bytes as the decoder counts them: a small number counts as eight.
pub(crate) const ANSWER_DECODED_MAX: usize = 4 * ANSWER_BYTES_MAX;

/// Time to connect to a peer and to exchange the first frames.
pub(crate) const CONNECT_WAIT: Duration = Duration::from_millis(1500);

/// An idle connection is probed after this long, and then again after each such pause.
pub(crate) const KEEPALIVE: Duration = Duration::from_secs(15);

/// A connection is given up when so many probes stay unanswered.
pub(crate) const KEEPALIVE_PROBES: u32 = 3;

/// A snapshot's file is sent in pieces of this size, in bytes.
pub(crate) const SNAPSHOT_CHUNK: usize = MIB;

/// Files in one snapshot.
pub(crate) const SNAPSHOT_FILES_MAX: usize = 65_536;

/// No progress for this long ends the transfer of a snapshot.
pub(crate) const SNAPSHOT_STALL: Duration = Duration::from_secs(30);

/// After a peer has got a snapshot, no new one is taken for this long: it would purge the very log
/// that the peer needs to catch up from there.
pub(crate) const SNAPSHOT_CATCH_UP: Duration = Duration::from_secs(10);

/// Pause after a snapshot that could not be taken; each further one is twice as long.
pub(crate) const SNAPSHOT_RETRY_FIRST: Duration = Duration::from_secs(1);

/// The longest of those pauses: the log grows meanwhile.
pub(crate) const SNAPSHOT_RETRY_LONGEST: Duration = Duration::from_mins(1);

/// Time to take over a received snapshot.
pub(crate) const SNAPSHOT_INSTALL: Duration = Duration::from_mins(10);

/// Terms that a recovery goes ahead: more elections than a cluster without a quorum has stood.
pub(crate) const RECOVERY_TERMS: u64 = 1_000_000;

/// Entries that a recovery goes ahead: more than a survivor may have and this node has not. A
/// server that lags by more than this is not the one to recover from.
pub(crate) const RECOVERY_ENTRIES: u64 = 1_000_000_000;

const MIB: usize = 1024 * 1024;

const _: () = assert!(ENTRY_BYTES_MAX + BATCH_BYTES + BATCH_ENTRIES * 64 < FRAME_BYTES_MAX);
const _: () = assert!(SNAPSHOT_CHUNK < FRAME_BYTES_MAX);
const _: () = assert!(ANSWER_PART < FRAME_BYTES_MAX);
const _: () = assert!(ANSWER_BYTES_MAX / 1024 <= ANSWERS_KIB);
const _: () = assert!(PREWRITE_MARGIN < PREWRITE_BYTES);
const _: () = assert!(ENTRY_BYTES_MAX / 1024 < PROPOSE_KIB);
const _: () = assert!(SEGMENT_BYTES_MAX + GROUP_BYTES as u64 + PREWRITE_BYTES < u32::MAX as u64);
