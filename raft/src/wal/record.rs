//! One record of the log: its kinds and its bytes.

use bytes::Bytes;

/// Bytes in front of a record's payload: crc, link, length, synced (4 each), kind (1),
/// term, index (8 each); little-endian.
pub(super) const HEADER_BYTES: usize = 33;

/// Longest payload that a reader believes in, in bytes.
const PAYLOAD_BYTES_MAX: usize = crate::limits::FRAME_BYTES_MAX;

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An entry without content, the first of a leader's term.
    Blank,
    /// An entry for the machine.
    Normal,
    /// An entry that changes the membership; the payload is a `MembershipRecord`.
    Membership,
    /// A vote: `index` is the node voted for, the payload one byte (1: committed).
    Vote,
    /// Entries from `index` on are void.
    Truncate,
    /// Entries up to and including `index` are void.
    Purge,
    /// Entries up to `index` are committed; the payload is one byte (0: none is).
    Committed,
}

impl Kind {
    fn code(self) -> u8 {
        match self {
            Kind::Blank => 1,
            Kind::Normal => 2,
            Kind::Membership => 3,
            Kind::Vote => 4,
            Kind::Truncate => 5,
            Kind::Purge => 6,
            Kind::Committed => 7,
        }
    }

    pub(super) fn from_code(code: u8) -> Option<Kind> {
        Some(match code {
            1 => Kind::Blank,
            2 => Kind::Normal,
            3 => Kind::Membership,
            4 => Kind::Vote,
            5 => Kind::Truncate,
            6 => Kind::Purge,
            7 => Kind::Committed,
            _ => return None,
        })
    }

    /// Whether this is an entry of the Raft log.
    pub(crate) fn is_entry(self) -> bool {
        matches!(self, Kind::Blank | Kind::Normal | Kind::Membership)
    }
}

/// One record, wherever it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) kind: Kind,
    pub(crate) term: u64,
    pub(crate) index: u64,
    pub(crate) payload: Bytes,
}

impl Record {
    /// Bytes that the record takes in a segment.
    pub(super) fn size(&self) -> usize {
        HEADER_BYTES + self.payload.len()
    }
}

/// Where a record stands, and what stood before it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stand {
    /// Number of the segment; part of the checksum, so that recycled bytes never validate.
    pub(super) segment: u64,
    /// Offset in the segment; part of the checksum too.
    pub(super) offset: u32,
    /// Checksum of what stands before: a record out of a void past does not link.
    pub(super) link: u32,
    /// What of this segment was surely on disk when the record was written.
    pub(super) synced: u32,
}

/// A record as it was read.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) record: Record,
    pub(super) crc: u32,
    pub(super) link: u32,
    pub(super) synced: u32,
}

/// Appends the record's bytes to `out` and returns its checksum, to which the next one links.
pub(super) fn encode(record: &Record, stand: Stand, out: &mut Vec<u8>) -> u32 {
    let start = out.len();
    let length = u32::try_from(record.payload.len()).expect("a payload is bounded at the door");
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&stand.link.to_le_bytes());
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&stand.synced.to_le_bytes());
    out.push(record.kind.code());
    out.extend_from_slice(&record.term.to_le_bytes());
    out.extend_from_slice(&record.index.to_le_bytes());
    out.extend_from_slice(&record.payload);
    let crc = checksum(stand.segment, stand.offset, &out[start + 4..]);
    out[start..start + 4].copy_from_slice(&crc.to_le_bytes());
    crc
}

/// Reads the record at `offset` of `segment`; `bytes` starts there. `None`: not a record.
pub(super) fn decode(segment: u64, offset: u32, bytes: &Bytes) -> Option<Read> {
    let header = bytes.get(..HEADER_BYTES)?;
    let kind = Kind::from_code(header[16])?;
    let length = usize::try_from(number32(header, 8)).ok()?;
    if length > PAYLOAD_BYTES_MAX || number32(header, 12) > offset {
        return None;
    }
    let end = HEADER_BYTES.checked_add(length)?;
    let crc = number32(header, 0);
    if checksum(segment, offset, bytes.get(4..end)?) != crc {
        return None;
    }
    let record = Record {
        kind,
        term: number64(header, 17),
        index: number64(header, 25),
        payload: bytes.slice(HEADER_BYTES..end),
    };
    Some(Read { record, crc, link: number32(header, 4), synced: number32(header, 12) })
}

/// Whether a record could start with these bytes: a cheap look before the checksum.
pub(super) fn plausible(header: &[u8]) -> bool {
    header.len() >= HEADER_BYTES && Kind::from_code(header[16]).is_some()
}

fn checksum(segment: u64, offset: u32, bytes: &[u8]) -> u32 {
    let mut seed = [0; 12];
    seed[..8].copy_from_slice(&segment.to_le_bytes());
    seed[8..].copy_from_slice(&offset.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c(&seed), bytes)
}

fn number32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes were taken"))
}

fn number64(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes were taken"))
}
