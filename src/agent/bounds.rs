//! The bounds that only this room needs: value, unit, reason, and the relations between them.

use std::time::Duration;

use crate::limits;

/// Checks over the network that run at the same moment, and as many slow ones; each holds a
/// socket.
pub(super) const CHECK_RUNS_MAX: usize = 512;
/// Programs that checks run at the same moment, here or in containers, and as many slow ones;
/// each holds a process.
pub(super) const SCRIPT_RUNS_MAX: usize = 128;
/// How long one run may take, unless the check says so. Source: Consul, check definitions.
pub(super) const CHECK_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
/// A check whose last run took longer is slow.
pub(super) const CHECK_RUN_SLOW: Duration = Duration::from_secs(2);
/// How long a UDP check listens at most: a refusal comes within a round trip, and most of what
/// speaks UDP says nothing at all, which passes.
pub(super) const UDP_SILENCE_MAX: Duration = Duration::from_secs(1);
/// How long one run of a program may take, unless the check says so. Source: Consul, likewise.
pub(super) const SCRIPT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
/// How long one run may take at all, so that hanging targets cannot hold every place for good.
pub(super) const CHECK_TIMEOUT_MAX: Duration = Duration::from_mins(10);
/// Bytes of a body that an HTTP check reads; the last ones of these are its output.
pub(super) const CHECK_BODY_BYTES_MAX: usize = 1024 * 1024;
/// Redirects that an HTTP check follows. Source: Go's HTTP client, which Consul uses.
pub(super) const CHECK_REDIRECTS_MAX: usize = 10;
/// Bytes of an output with all that is put around it: its URL, its error.
pub(super) const CHECK_WORDS_BYTES_MAX: usize = 2 * limits::CHECK_OUTPUT_BYTES_MAX;
/// How long an alias of another node blocks in one read of the catalog. Source: Consul, likewise.
pub(super) const ALIAS_WAIT: Duration = Duration::from_mins(1);
/// The first wait before a failed read of an alias is tried again; it doubles up to the next.
pub(super) const ALIAS_RETRY_FIRST: Duration = Duration::from_secs(1);
/// The longest of these waits. Source: Consul, likewise.
pub(super) const ALIAS_RETRY_MAX: Duration = Duration::from_mins(1);
/// Longest interval, TTL or deadline of a check; longer ones are cut to it.
pub(super) const CHECK_SPAN_MAX: Duration = Duration::from_hours(365 * 24);
/// Shortest `deregister_after`. Source: Consul, `DeregisterCriticalServiceAfter`.
pub(super) const DEREGISTER_AFTER_MIN: Duration = Duration::from_mins(1);
/// Between two looks for services that were critical for too long. Source: Consul, likewise.
pub(super) const REAP_INTERVAL: Duration = Duration::from_secs(30);

/// Checks or verdicts that one command carries: their outputs must fit into a command.
pub(super) const CHECKS_A_COMMAND_MAX: usize = 256;
/// Pushes that are built before the first of them is sent; bounds the memory of a first sync.
pub(super) const PUSHES_A_ROUND_MAX: usize = 1024;
/// Pushes of this agent that wait for the cluster at the same moment.
pub(super) const PUSHES_IN_FLIGHT_MAX: usize = 64;
/// How long a registration waits for its push before it returns without.
pub(super) const PUSH_WAIT: Duration = Duration::from_secs(1);
/// The first wait before a failed push is tried again; it doubles up to [`FULL_SYNC_RETRY`].
pub(super) const PUSH_RETRY_FIRST: Duration = Duration::from_secs(1);
/// Between two full comparisons in a small cluster. Source: Consul, anti-entropy.
pub(super) const FULL_SYNC_INTERVAL: Duration = Duration::from_mins(1);
/// Nodes from which on the interval grows by one of itself with each doubling. Source: likewise.
pub(super) const FULL_SYNC_NODES: usize = 128;
/// Until a comparison that failed is tried again. Source: likewise.
pub(super) const FULL_SYNC_RETRY: Duration = Duration::from_secs(15);
/// All agents of a small cluster compare within this time of a new leader or server, each at its
/// own moment; in a larger one the time grows as the interval does. Source: likewise.
pub(super) const LEADER_SPREAD: Duration = Duration::from_secs(3);
/// An interval is lengthened by up to this part of itself, so that agents do not march in step.
pub(super) const FULL_SYNC_JITTER_PART: u32 = 4;

/// Bytes of a check beside its output: names, notes, the service's name and tags; a generous guess.
const CHECK_REST_BYTES: usize = 4 * 1024;

const _: () = assert!(CHECK_TIMEOUT_DEFAULT.as_secs() < CHECK_TIMEOUT_MAX.as_secs());
const _: () = assert!(UDP_SILENCE_MAX.as_millis() < CHECK_RUN_SLOW.as_millis());
const _: () = assert!(PUSH_RETRY_FIRST.as_secs() <= FULL_SYNC_RETRY.as_secs());
const _: () = assert!(limits::CHECK_OUTPUT_BYTES_MAX <= CHECK_BODY_BYTES_MAX);
const _: () = assert!(
    CHECKS_A_COMMAND_MAX * (CHECK_WORDS_BYTES_MAX + CHECK_REST_BYTES) <= limits::COMMAND_BYTES_MAX
);
