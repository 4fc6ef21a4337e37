//! Every bound of the program: value, unit, reason, and the relations that must hold between them.

use std::time::Duration;

/// Longest value of a key, in bytes, unless the operator sets `limits.kv_max_value_size`.
/// Source: Consul agent configuration, `kv_max_value_size`.
pub const VALUE_BYTES_MAX: usize = 512 * 1024;
/// Longest key, in bytes; a key travels in the path of a request.
pub const KEY_BYTES_MAX: usize = 8 * 1024;
/// Longest name of a node, service, check or session, in bytes.
pub const NAME_BYTES_MAX: usize = 512;
/// Most operations in one transaction. Source: Consul 1.14 and later.
pub const TXN_OPS_MAX: usize = 128;
/// Longest body of a request, in bytes: a full transaction's values in base64 and JSON.
pub const BODY_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Longest silence in the middle of a body, after which the request ends with 408.
pub const BODY_SILENCE_MAX: Duration = Duration::from_secs(30);
/// Longest archive of a snapshot that is restored, in bytes. It is held in memory meanwhile.
pub const ARCHIVE_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Longest state inside such an archive, in bytes, likewise.
pub const ARCHIVE_STATE_BYTES_MAX: usize = 1024 * 1024 * 1024;
/// About how long one part of a restored backup is, in bytes: one command carries it.
pub const BACKUP_PART_BYTES: usize = 1024 * 1024;
/// Longest encoded command, in bytes.
pub const COMMAND_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Longest output of a check that is kept, in bytes. Source: Consul, `check_output_max_size`.
pub const CHECK_OUTPUT_BYTES_MAX: usize = 4096;
/// Most pairs in a service's or node's metadata. Source: Consul, service `Meta`.
pub const META_PAIRS_MAX: usize = 64;
/// Longest key of a metadata pair, in bytes. Source: Consul, service `Meta`.
pub const META_KEY_BYTES_MAX: usize = 128;
/// Longest value of a metadata pair, in bytes. Source: Consul, service `Meta`.
pub const META_VALUE_BYTES_MAX: usize = 512;

/// Callers who may wait for the configuration to be read anew; more of them wait at the door.
pub const RELOADS_WAITING_MAX: usize = 8;

/// A blocking read without `wait`. Source: Consul, `default_query_time`.
pub const WAIT_DEFAULT: Duration = Duration::from_mins(5);
/// The longest wait of a blocking read. Source: Consul, `max_query_time`.
pub const WAIT_MAX: Duration = Duration::from_mins(10);
/// A wait is lengthened by up to this part of itself, so that callers do not come back together.
pub const WAIT_JITTER_PART: u32 = 16;
/// Most blocking reads parked at once; a waiter costs some hundred bytes.
pub const WAITERS_MAX: usize = 100_000;
/// Topics one blocking read may wait for.
pub const TOPICS_MAX: usize = 8;

/// How long a write may take once it was proposed, before its outcome is called unknown.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Commands in flight from this node's doors; one more is refused. Half of what the control
/// connection to a leader takes (4,096), so that votes and read barriers keep their lane.
pub const WRITES_IN_FLIGHT_MAX: usize = 2_048;

/// A learner this many log entries behind, or fewer, becomes a voter.
pub const PROMOTE_BEHIND_MAX: u64 = 1_000;

/// Shortest session TTL. Source: Consul, `session_ttl_min`.
pub const SESSION_TTL_MIN: Duration = Duration::from_secs(10);
/// Longest session TTL. Source: Consul HTTP API, "Create Session".
pub const SESSION_TTL_MAX: Duration = Duration::from_hours(24);
/// A session ends this many times its TTL after its last renewal. Source: observed on Consul 1.8.7.
pub const SESSION_TTL_FACTOR: u32 = 2;
/// Longest lock delay. Source: Consul, "Session internals".
pub const LOCK_DELAY_MAX: Duration = Duration::from_mins(1);
/// Lock delay of a session that names none. Source: Consul HTTP API, "Create Session".
pub const LOCK_DELAY_DEFAULT: Duration = Duration::from_secs(15);
/// Sessions whose renewals one command may carry.
pub const RENEWALS_A_COMMAND_MAX: usize = 4096;
/// Longest time between two stamps of cluster time while any deadline is alive.
pub const TICK_INTERVAL: Duration = Duration::from_millis(500);
/// How long a deleted key is remembered, so that no index falls. Source: Consul, `tombstone_ttl`.
pub const TOMBSTONE_TTL: Duration = Duration::from_mins(15);

/// Longest body that defines a prepared query, in bytes; its texts are within.
pub const PREPARED_BYTES_MAX: usize = 64 * 1024;
/// Longest compiled form of a template's regular expression, in bytes. It matches in linear time.
pub const TEMPLATE_REGEX_BYTES_MAX: usize = 1024 * 1024;
/// Coordinates that one command may carry, each of about a hundred bytes and a node's name.
pub const COORDINATES_A_COMMAND_MAX: usize = 4096;

/// Apply batches that may wait for the persister; apply waits when it is full.
pub const PERSIST_QUEUE_MAX: usize = 256;
/// Bytes that may wait for the persister.
pub const PERSIST_QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Connections of one client address. Source: Consul, `http_max_conns_per_client`.
pub const HTTP_CONNECTIONS_A_CLIENT: usize = 200;
/// Connections of the HTTP door altogether.
pub const HTTP_CONNECTIONS_MAX: usize = 20_000;
/// Longest head of an HTTP request, in bytes.
pub const HTTP_HEAD_BYTES_MAX: usize = 64 * 1024;
/// Connections of the DNS door over TCP.
pub const DNS_TCP_CONNECTIONS_MAX: usize = 1_000;
/// Requests over UDP that the DNS door answers at once; more are dropped, and their askers ask
/// again.
pub const DNS_UDP_IN_FLIGHT_MAX: usize = 4_096;
/// Questions that may wait for other name servers at once; more are answered with a failure, so
/// that a slow recursor cannot take the place of our own names.
pub const DNS_RECURSIONS_MAX: usize = 512;
/// Services' encoded answers that the DNS door keeps: each is of one name, tag and kind.
pub const DNS_CACHE_ENTRIES_MAX: usize = 8_192;
/// Bytes of such answers altogether: 8,192 of some hundred instances.
pub const DNS_CACHE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Longest such answer, in bytes: a service of some ten thousand instances. One that is longer is
/// made anew for each question.
pub const DNS_CACHE_ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// How long an idle DNS connection over TCP is kept.
pub const DNS_TCP_IDLE: Duration = Duration::from_secs(10);

/// Services and checks one agent may hold.
pub const AGENT_REGISTRATIONS_MAX: usize = 100_000;
/// Shortest interval of a check. Source: Consul, check definitions.
pub const CHECK_INTERVAL_MIN: Duration = Duration::from_secs(1);
/// Members of one pool.
pub const MEMBERS_MAX: usize = 10_000;

const _: () = assert!(2 * DNS_CACHE_ANSWER_BYTES_MAX < DNS_CACHE_BYTES_MAX);
const _: () = assert!(VALUE_BYTES_MAX < BODY_BYTES_MAX);
const _: () = assert!(BODY_BYTES_MAX < COMMAND_BYTES_MAX);
const _: () = assert!(BACKUP_PART_BYTES + BODY_BYTES_MAX < COMMAND_BYTES_MAX);
const _: () = assert!(WAIT_DEFAULT.as_secs() <= WAIT_MAX.as_secs());
const _: () = assert!(SESSION_TTL_MIN.as_secs() < SESSION_TTL_MAX.as_secs());
