//! The versioned bytes of stored rows: the only file that knows how a row's name is spelled.
//!
//! The first byte of a name is its space, the second its table within that space. Parts of a name
//! carry their length, so that no name can be mistaken for another.

use std::sync::Arc;

use super::fault::Fault;
use super::tables::{Record, Row};
use crate::codec;
use crate::limits::COMMAND_BYTES_MAX;
use crate::model::{PreparedQuery, Session};

/// The form of all that is stored. A folder of another form is not opened.
pub(crate) const FORMAT: u32 = 2;
/// Name of the row that holds [`FORMAT`].
pub(crate) const FORMAT_ROW: &[u8] = &[SPACE_META, b'f'];
/// Name of the row that holds the counters.
pub(crate) const COUNTERS_ROW: &[u8] = &[SPACE_META, b'c'];
/// Name of the row that holds the position in the log.
pub(crate) const POSITION_ROW: &[u8] = &[SPACE_META, b'p'];
/// The first name behind the meta rows and the first behind all rows: the range of the tables.
pub(crate) const TABLES_RANGE: (&[u8], &[u8]) = (&[SPACE_META + 1], &[0xff]);

const SPACE_META: u8 = 0;
const SPACE_CONSUL_KV: u8 = 4;
const SPACE_CONSUL_CATALOG: u8 = 5;
const SPACE_SESSIONS: u8 = 6;
const SPACE_STAGED: u8 = 7;
const SPACE_PREPARED: u8 = 8;
const SPACE_OPERATOR: u8 = 12;

const KV_ENTRY: [u8; 2] = [SPACE_CONSUL_KV, 0];
const KV_TOMBSTONE: [u8; 2] = [SPACE_CONSUL_KV, 1];
const KV_LOCK_DELAY: [u8; 2] = [SPACE_CONSUL_KV, 2];
const NODE: [u8; 2] = [SPACE_CONSUL_CATALOG, 0];
const SERVICE: [u8; 2] = [SPACE_CONSUL_CATALOG, 1];
const CHECK: [u8; 2] = [SPACE_CONSUL_CATALOG, 2];
const NODE_LAST: [u8; 2] = [SPACE_CONSUL_CATALOG, 3];
const SERVICE_LAST: [u8; 2] = [SPACE_CONSUL_CATALOG, 4];
const COORDINATE: [u8; 2] = [SPACE_CONSUL_CATALOG, 5];
const SESSION: [u8; 2] = [SPACE_SESSIONS, 0];
const STAGED: [u8; 2] = [SPACE_STAGED, 0];
const PREPARED: [u8; 2] = [SPACE_PREPARED, 0];
const AUTOPILOT: [u8; 2] = [SPACE_OPERATOR, 0];

/// The bytes of a row's name.
pub(crate) fn name(row: &Row) -> Vec<u8> {
    match row {
        Row::Kv(key) => join(KV_ENTRY, &[key]),
        Row::Tombstone(key) => join(KV_TOMBSTONE, &[key]),
        Row::LockDelay(key) => join(KV_LOCK_DELAY, &[key]),
        Row::Node(node) => join(NODE, &[node]),
        Row::Service(node, id) => join(SERVICE, &[node, id]),
        Row::Check(node, id) => join(CHECK, &[node, id]),
        Row::NodeLast(node) => join(NODE_LAST, &[node]),
        Row::ServiceLast(name) => join(SERVICE_LAST, &[name]),
        Row::Session(id) => [SESSION.as_slice(), id.0.as_bytes()].concat(),
        Row::Autopilot => AUTOPILOT.to_vec(),
        Row::Staged(place) => [STAGED.as_slice(), &place.to_be_bytes()].concat(),
        Row::Prepared(id) => [PREPARED.as_slice(), id.0.as_bytes()].concat(),
        Row::Coordinate(node, segment) => join(COORDINATE, &[node, segment]),
    }
}

/// All parts but the last carry their length in front, so that one part keeps its order.
fn join(table: [u8; 2], parts: &[&str]) -> Vec<u8> {
    let mut bytes = table.to_vec();
    for (place, part) in parts.iter().enumerate() {
        if place + 1 < parts.len() {
            let length = u32::try_from(part.len()).expect("a name is shorter than 4 GiB");
            bytes.extend_from_slice(&length.to_be_bytes());
        }
        bytes.extend_from_slice(part.as_bytes());
    }
    bytes
}

/// The bytes of what stands in a row.
pub(crate) fn value(record: &Record) -> Vec<u8> {
    match record {
        Record::Kv(entry) => codec::encode(&**entry),
        Record::Tombstone(tombstone) => codec::encode(tombstone),
        Record::LockDelay(until) => codec::encode(until),
        Record::Node(node) => codec::encode(&**node),
        Record::Service(service) => codec::encode(&**service),
        Record::Check(check) => codec::encode(&**check),
        Record::NodeLast(last) => codec::encode(last),
        Record::ServiceLast(last) => codec::encode(last),
        Record::Session(session) => codec::encode(&**session),
        Record::Staged(part) => codec::encode(&**part),
        Record::Prepared(query) => codec::encode(&**query),
        Record::Coordinate(one) => codec::encode(&**one),
        Record::Autopilot(found) => codec::encode(&**found),
    }
}

/// About how many bytes a row takes, without encoding it.
pub(crate) fn weight(record: &Record) -> usize {
    const SMALL: usize = 64;
    match record {
        Record::Kv(entry) => entry.key.len() + entry.value.len() + SMALL,
        Record::Check(check) => check.output.len() + check.notes.len() + 4 * SMALL,
        Record::Node(_) | Record::Service(_) | Record::Session(_) | Record::Autopilot(_) => {
            8 * SMALL
        }
        Record::Tombstone(_)
        | Record::LockDelay(_)
        | Record::NodeLast(_)
        | Record::ServiceLast(_) => SMALL,
        Record::Staged(_) => COMMAND_BYTES_MAX,
        Record::Prepared(query) => query.text_bytes() + 4 * SMALL,
        Record::Coordinate(_) => 2 * SMALL,
    }
}

/// Reads a stored row.
///
/// # Errors
///
/// [`Fault`] if its name is of no table, or its bytes do not parse.
pub(crate) fn read(name: &[u8], bytes: &[u8]) -> Result<(Row, Record), Fault> {
    let wrong = || Fault::new(format!("stored row {name:02x?} has a name of no table"));
    let (table, rest) = name.split_first_chunk::<2>().ok_or_else(wrong)?;
    Ok(match *table {
        KV_ENTRY => (Row::Kv(text(name, rest)?), Record::Kv(parse(name, bytes)?)),
        KV_TOMBSTONE => (Row::Tombstone(text(name, rest)?), Record::Tombstone(parse(name, bytes)?)),
        KV_LOCK_DELAY => {
            (Row::LockDelay(text(name, rest)?), Record::LockDelay(parse(name, bytes)?))
        }
        NODE => (Row::Node(text(name, rest)?), Record::Node(parse(name, bytes)?)),
        SERVICE => {
            let (node, id) = pair(name, rest)?;
            (Row::Service(node, id), Record::Service(parse(name, bytes)?))
        }
        CHECK => {
            let (node, id) = pair(name, rest)?;
            (Row::Check(node, id), Record::Check(parse(name, bytes)?))
        }
        NODE_LAST => (Row::NodeLast(text(name, rest)?), Record::NodeLast(parse(name, bytes)?)),
        SERVICE_LAST => {
            (Row::ServiceLast(text(name, rest)?), Record::ServiceLast(parse(name, bytes)?))
        }
        SESSION => {
            let session: Arc<Session> = parse(name, bytes)?;
            if rest != session.spec.id.0.as_bytes() {
                return Err(wrong());
            }
            (Row::Session(session.spec.id), Record::Session(session))
        }
        PREPARED => {
            let query: Arc<PreparedQuery> = parse(name, bytes)?;
            if rest != query.id.0.as_bytes() {
                return Err(wrong());
            }
            (Row::Prepared(query.id), Record::Prepared(query))
        }
        COORDINATE => {
            let (node, segment) = pair(name, rest)?;
            (Row::Coordinate(node, segment), Record::Coordinate(parse(name, bytes)?))
        }
        STAGED => {
            let place = rest.try_into().map(u32::from_be_bytes);
            let place = place.map_err(|error| {
                Fault::new(format!("stored row {name:02x?} names no part: {error}"))
            })?;
            (Row::Staged(place), Record::Staged(parse(name, bytes)?))
        }
        AUTOPILOT if rest.is_empty() => (Row::Autopilot, Record::Autopilot(parse(name, bytes)?)),
        _ => return Err(wrong()),
    })
}

/// Reads one stored value.
///
/// # Errors
///
/// [`Fault`] if the bytes do not parse.
pub(crate) fn parse<T: serde::de::DeserializeOwned>(name: &[u8], bytes: &[u8]) -> Result<T, Fault> {
    codec::decode(bytes).map_err(|error| {
        Fault::new(format!("stored row {name:02x?} of {} bytes: {error}", bytes.len()))
    })
}

fn text(name: &[u8], part: &[u8]) -> Result<String, Fault> {
    String::from_utf8(part.to_vec())
        .map_err(|error| Fault::new(format!("stored row {name:02x?} is not text: {error}")))
}

fn pair(name: &[u8], rest: &[u8]) -> Result<(String, String), Fault> {
    let short = || Fault::new(format!("stored row {name:02x?} breaks off within its name"));
    let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(short)?;
    let length = usize::try_from(u32::from_be_bytes(*length)).expect("32 bits fit");
    let (node, id) = rest.split_at_checked(length).ok_or_else(short)?;
    Ok((text(name, node)?, text(name, id)?))
}

/// The hash of rows, one after the other: FNV-1a of 64 bits, the same on every machine.
#[derive(Debug)]
pub(crate) struct Digest(u64);

impl Digest {
    /// Of nothing.
    pub(crate) fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// With one more part, whose length counts too.
    pub(crate) fn add(&mut self, part: &[u8]) {
        let length = part.len() as u64;
        for byte in length.to_be_bytes().iter().chain(part) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    /// The hash.
    pub(crate) fn value(&self) -> u64 {
        self.0
    }
}
