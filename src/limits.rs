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
/// Bytes of a refused body that are read and thrown away, so that its caller sees the refusal.
pub const REFUSED_BODY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How long that may take.
pub const REFUSED_BODY_TIME_MAX: Duration = Duration::from_secs(1);
/// Longest archive of a snapshot that is restored, in bytes. It is held in memory meanwhile.
pub const ARCHIVE_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Longest state inside such an archive, in bytes, likewise.
pub const ARCHIVE_STATE_BYTES_MAX: usize = 1024 * 1024 * 1024;
/// Most archives that a listener packs or unpacks at once: each is a gigabyte at worst, and a
/// few kilobytes may become one.
pub const ARCHIVES_MAX: usize = 2;
/// Longest that a request for an archive waits for its place.
pub const ARCHIVE_WAIT_MAX: Duration = Duration::from_secs(10);
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

/// Longest filter expression, in bytes; it travels in the head of a request and is asked of every
/// record of an answer.
pub const FILTER_BYTES_MAX: usize = 16 * 1024;
/// How deep parentheses and `not` may nest in a filter: each level is a call of the parser.
pub const FILTER_DEPTH_MAX: usize = 100;
/// Most patterns (`matches`) in one filter.
pub const FILTER_PATTERNS_MAX: usize = 16;
/// Largest compiled pattern of a filter, in bytes; its cache while it runs may be as large again.
pub const FILTER_PATTERN_BYTES_MAX: usize = 1024 * 1024;

/// Callers who may wait for the configuration to be read anew; more of them wait at the door.
pub const RELOADS_WAITING_MAX: usize = 8;
/// Callers who may wait until this node has left; more of them wait at the door.
pub const LEAVES_WAITING_MAX: usize = 8;

/// A blocking read without `wait`. Source: Consul, `default_query_time`.
pub const WAIT_DEFAULT: Duration = Duration::from_mins(5);
/// The longest wait of a blocking read. Source: Consul, `max_query_time`.
pub const WAIT_MAX: Duration = Duration::from_mins(10);
/// A server asks so often whether it has all that was acknowledged, so that it knows how old its
/// state may be. A round trip to the leader.
pub const CONFIRM_PERIOD: Duration = Duration::from_secs(1);
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

/// Requests of all agents that one server answers at once, those aside that wait for a change;
/// as many as its own HTTP door takes.
pub const AGENT_REQUESTS_MAX: usize = HTTP_REQUESTS_MAX;
/// Blocking reads of an agent's callers that wait at a server at once. The rest of what the agent
/// may have under way there (8,192) is left to all else.
pub const AGENT_WAITS_MAX: usize = 4_096;
/// How long a server may take over a request of an agent that does not block: its own hold time
/// and a write's timeout are within.
pub const AGENT_CALL_MAX: Duration = Duration::from_mins(1);
/// How long an agent keeps to one server, lengthened by up to half of it: so agents spread over
/// servers that came later. Source: Consul, server rebalancing.
pub const AGENT_SERVER_TIME: Duration = Duration::from_mins(2);
/// A server that failed an agent is passed over for this long, as long as there is another.
pub const AGENT_SERVER_REST: Duration = Duration::from_secs(10);

/// Longest that a leader waits for one change of Raft's membership. A change needs two commits,
/// and one of a joint configuration whose new half is slow needs its snapshot first; what did not
/// end by then is looked at again.
pub const MEMBERSHIP_CHANGE_MAX: Duration = Duration::from_secs(10);
/// How long a server that the leader has led without ever seeing in the pool may still be on its
/// way there: the pool of a server that has just started is not whole.
pub const UNSEEN_GRACE: Duration = Duration::from_secs(30);
/// How long a node of the catalog that no member stands for is shown as critical before it is
/// removed: time to bring it back, or to see that an import brought what is not here.
pub const UNSEEN_KEPT: Duration = Duration::from_mins(5);
/// The leader compares all members with the catalog once in so long. Source: Consul, its
/// `reconcile_interval`.
pub const RECONCILE_INTERVAL: Duration = Duration::from_mins(1);
/// How long a server that leaves waits, once it has drained, to be out of Raft's configuration.
/// Source: Consul, its
/// `raftRemoveGracePeriod`.
pub const LEAVE_GRACE: Duration = Duration::from_secs(5);
/// Names of members that wait to be declared gone; one more is told in a later round.
pub const DISMISSALS_WAITING_MAX: usize = 256;
/// How long a server stands by the set of servers with which it agreed to begin.
pub const FOUNDING_PROMISE: Duration = Duration::from_secs(5);

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
/// Refused connections that are being told why; more are closed without a word.
pub const HTTP_REFUSALS_MAX: usize = 256;
/// Requests being answered, those aside that wait for a change; one more is refused. Each may
/// hold a body of [`BODY_BYTES_MAX`] and an answer.
pub const HTTP_REQUESTS_MAX: usize = 4_096;
/// Longest head of an HTTP request, in bytes.
pub const HTTP_HEAD_BYTES_MAX: usize = 64 * 1024;
/// Callers who listen to this server's log at once; each holds a buffer of lines.
pub const MONITORS_MAX: usize = 16;
/// Log lines that wait for one such caller. Source: Consul, its monitor's buffer.
pub const MONITOR_LINES_MAX: usize = 512;
/// Callers who are sent metrics again and again at once.
pub const METRIC_STREAMS_MAX: usize = 16;
/// Questions whose answers are kept for `?cached`; each has a reader that keeps it fresh.
pub const CACHE_ENTRIES_MAX: usize = 1_000;
/// Bytes, about, of all answers that are kept so.
pub const CACHE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How long an answer is kept that nobody asks for. Consul: three days; a reader that keeps an
/// answer fresh costs work at each change, so ours goes sooner.
pub const CACHE_IDLE_MAX: Duration = Duration::from_hours(1);
/// Most headers of an HTTP request.
pub const HTTP_HEADERS_MAX: usize = 100;
/// How long a connection may stay idle between two requests.
pub const HTTP_IDLE_MAX: Duration = Duration::from_mins(5);
/// How long a head may take from its first byte to its last: one that trickles holds a place.
pub const HTTP_HEAD_TIME_MAX: Duration = Duration::from_secs(10);
/// Longest silence of a caller in the middle of its answer, after which the connection ends.
pub const HTTP_WRITE_SILENCE_MAX: Duration = Duration::from_secs(30);
/// Bytes that a caller may send ahead of the answer that it waits for and is still watched.
pub const HTTP_EARLY_BYTES_MAX: usize = 16 * 1024;
/// Encoded answers kept for others who ask the same.
pub const HTTP_ENCODINGS_MAX: usize = 256;
/// Bytes of them altogether.
pub const HTTP_ENCODINGS_BYTES_MAX: usize = 32 * 1024 * 1024;
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
/// Watches of one agent: each holds a connection of its own HTTP door, which takes 200 of one
/// address, and at most one program.
pub const WATCHES_MAX: usize = 128;
/// Bytes of an answer that a watch holds.
pub const WATCH_ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes of a watch's program's output, or of an answer to its call, that are logged. Source:
/// Consul, observed.
pub const WATCH_OUTPUT_BYTES_MAX: usize = 4 * 1024;
/// Longest run of a watch's program, after which it is killed. Consul sets no end; one that hangs
/// would keep its watch from ever telling again.
pub const WATCH_RUN_MAX: Duration = Duration::from_hours(1);
/// Members of one pool.
pub const MEMBERS_MAX: usize = 10_000;
/// Longest message of failure detection in one packet, in bytes: with the seal and what stands
/// around it, it fits an Ethernet frame.
pub const GOSSIP_BYTES_MAX: usize = 1_200;
/// Longest that a member may say of itself (name, tags), in bytes: it travels in one packet.
/// memberlist's bound for the tags alone is 512.
pub const CARD_BYTES_MAX: usize = 900;
/// Longest message of an exchange between two members, in bytes: what [`MEMBERS_MAX`] members say
/// of themselves.
pub const EXCHANGE_BYTES_MAX: u32 = 12 * 1024 * 1024;
/// Packets that are taken in before timers are looked at again.
pub const PACKETS_A_TURN_MAX: usize = 256;
/// Questions to the whole pool whose numbers a member remembers, so that it answers none twice.
pub const QUESTIONS_SEEN_MAX: usize = 256;
/// Members whose last round trips are remembered for the network's coordinates.
pub const ROUND_TRIPS_KEPT_MAX: usize = 1_024;
/// Refusals of strangers that are remembered so that they are logged once.
pub const COMPLAINTS_MAX: usize = 1_024;

/// Longest event, in bytes, with all that Consul puts around it. Source: Consul, "Event".
pub const EVENT_BYTES_MAX: usize = 512;
/// What an event costs of that before its name, filters and payload: observed on Consul 1.8.7.
pub const EVENT_HEAD_BYTES: usize = 96;
/// How often an event's name counts: Consul sends it twice.
pub const EVENT_NAME_TIMES: usize = 2;
/// Events that one agent remembers. Source: Consul HTTP API, "List Events".
pub const EVENTS_KEPT_MAX: usize = 256;
/// Events whose ids a member remembers, so that it takes none twice; one whose Lamport time is
/// further back than this is too old. They cost 16 bytes each.
pub const EVENTS_SEEN_MAX: usize = 1024;
/// How long a member tells others of an event: some rounds, so that a lost call does no harm.
pub const EVENT_SPREAD: Duration = Duration::from_secs(10);
/// Events told in one message, the newest; with [`EVENT_BYTES_MAX`] about 200 KiB.
pub const EVENTS_A_MESSAGE_MAX: usize = 256;
/// Events that may wait until the agent looks at them; one more is lost, and that is logged.
pub const EVENTS_WAITING_MAX: usize = 1024;

/// Keys of one ring: an exchange needs two, and each is tried at no more than a glance.
pub const SEAL_KEYS_MAX: usize = 16;
/// Longest file of a ring, in bytes: sixteen keys of 44 signs are far below.
pub const SEAL_FILE_BYTES_MAX: u64 = 64 * 1024;
/// Longest encrypted record of a connection, in bytes, its tag included. Source: Noise, section 3.
pub const SEAL_RECORD_BYTES_MAX: usize = 65_535;
/// How long both sides of a connection may take to agree on its encryption.
pub const SEAL_HANDSHAKE_MAX: Duration = Duration::from_secs(2);
/// Peers and causes of which it is remembered that a refusal was logged, about 100 bytes each.
pub const SEAL_NOTES_MAX: usize = 1_024;
/// How often a refusal of the same peer for the same cause is logged.
pub const SEAL_NOTE_EVERY: Duration = Duration::from_hours(1);

const _: () = assert!(RECONCILE_INTERVAL.as_secs() < UNSEEN_KEPT.as_secs());
const _: () = assert!(2 * DNS_CACHE_ANSWER_BYTES_MAX < DNS_CACHE_BYTES_MAX);
const _: () = assert!(VALUE_BYTES_MAX < BODY_BYTES_MAX);
const _: () = assert!(CARD_BYTES_MAX + 200 < GOSSIP_BYTES_MAX);
const _: () = assert!(MEMBERS_MAX * (CARD_BYTES_MAX + 60) < EXCHANGE_BYTES_MAX as usize);
const _: () = assert!(EVENTS_A_MESSAGE_MAX <= EVENTS_SEEN_MAX);
const _: () = assert!(BODY_BYTES_MAX < COMMAND_BYTES_MAX);
const _: () = assert!(BACKUP_PART_BYTES + BODY_BYTES_MAX < COMMAND_BYTES_MAX);
const _: () = assert!(HTTP_CONNECTIONS_A_CLIENT < HTTP_CONNECTIONS_MAX);
const _: () = assert!(HTTP_REQUESTS_MAX < HTTP_CONNECTIONS_MAX);
const _: () = assert!(WRITE_TIMEOUT.as_secs() < AGENT_CALL_MAX.as_secs());
const _: () = assert!(WAIT_DEFAULT.as_secs() <= WAIT_MAX.as_secs());
const _: () = assert!(SESSION_TTL_MIN.as_secs() < SESSION_TTL_MAX.as_secs());
