//! A backup as an archive: gzip tar of `meta.json`, `state.bin` and `SHA256SUMS`, the form that
//! Consul's command line verifies. The state inside is ours: a magic line, then records. Consul's
//! own state is taken too, by `consul_state`.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::codec;
use crate::limits;
use crate::model::{Backup, Server};

use super::consul_state::{self, LeftOut};
use super::json;

/// Longest of the other two files, in bytes.
const FILE_BYTES_MAX: usize = 1024 * 1024;
/// What the state begins with.
const MAGIC: &[u8] = b"portolan state 2\n";

const META: &str = "meta.json";
const STATE: &str = "state.bin";
const SUMS: &str = "SHA256SUMS";

/// Why an archive is not restored.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ArchiveError {
    /// No gzip, or cut short.
    #[error("failed to decompress snapshot: {0}")]
    Gzip(String),
    /// No tar inside.
    #[error("failed to read snapshot file: failed reading snapshot: {0}")]
    Tar(String),
    /// A file is missing.
    #[error("failed to read snapshot file: {0} is missing")]
    Missing(&'static str),
    /// A file is not what its sum says.
    #[error("failed to read snapshot file: hash check failed for {0:?}")]
    Sum(String),
    /// A file is above its bound.
    #[error("failed to read snapshot file: {name} has more than {max} bytes")]
    TooLarge {
        /// The file.
        name: String,
        /// The bound.
        max: usize,
    },
    /// The state was saved by another program.
    #[error("snapshot was saved by neither Portolan nor Consul")]
    Foreign,
    /// Consul's state is broken, or of a version that is not known.
    #[error("Consul's state: {0}; nothing was restored")]
    Consul(#[from] consul_state::Broken),
    /// The state's records do not parse.
    #[error("snapshot's state: {0}")]
    State(String),
}

/// What `meta.json` tells of the cluster that was saved.
pub(super) struct Peers {
    /// Its servers.
    pub servers: Vec<Server>,
    /// Its term.
    pub term: u64,
    /// The store's index.
    pub index: u64,
    /// When it was saved, by this machine's wall clock, in seconds since 1970.
    pub seconds: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct MetaJson<'a> {
    version: u8,
    #[serde(rename = "ID")]
    id: String,
    index: u64,
    term: u64,
    peers: String,
    configuration: ConfigurationJson<'a>,
    configuration_index: u64,
    size: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ConfigurationJson<'a> {
    servers: Vec<ServerJson<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ServerJson<'a> {
    suffrage: u8,
    #[serde(rename = "ID")]
    id: &'a str,
    address: &'a str,
}

/// The archive of a backup.
pub(super) fn pack(backup: &Backup, peers: &Peers) -> Vec<u8> {
    packed(&state_bytes(backup), peers)
}

pub(super) fn packed(state: &[u8], peers: &Peers) -> Vec<u8> {
    let mut meta = json::bytes(&meta(peers, state.len()), false);
    meta.push(b'\n');
    let sums = format!("{}  {META}\n{}  {STATE}\n", sum(&meta), sum(state));
    let packer = GzEncoder::new(Vec::with_capacity(state.len() / 2), Compression::fast());
    let mut files = tar::Builder::new(packer);
    for (name, bytes) in [(META, &meta[..]), (STATE, state), (SUMS, sums.as_bytes())] {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(peers.seconds);
        header.set_cksum();
        files.append_data(&mut header, name, bytes).expect("a vector takes all");
    }
    let packer = files.into_inner().expect("a vector takes all");
    packer.finish().expect("a vector takes all")
}

fn meta(peers: &Peers, size: usize) -> MetaJson<'_> {
    let servers = peers.servers.iter().map(|server| ServerJson {
        suffrage: u8::from(!server.voter),
        id: &server.id,
        address: &server.address,
    });
    MetaJson {
        version: 1,
        id: format!("{}-{}-{}", peers.term, peers.index, peers.seconds * 1000),
        index: peers.index,
        term: peers.term,
        peers: STANDARD.encode(msgpack_texts(peers.servers.iter().map(|one| one.address.as_str()))),
        configuration: ConfigurationJson { servers: servers.collect() },
        configuration_index: 1,
        size,
    }
}

/// A list of short texts in MessagePack: addresses of at most 255 bytes, at most 65,535 of them.
fn msgpack_texts<'a>(texts: impl ExactSizeIterator<Item = &'a str>) -> Vec<u8> {
    let mut out = Vec::new();
    match u8::try_from(texts.len()) {
        Ok(count) if count < 16 => out.push(0x90 | count),
        _ => {
            out.push(0xdc);
            out.extend(u16::try_from(texts.len()).unwrap_or(u16::MAX).to_be_bytes());
        }
    }
    for text in texts.take(usize::from(u16::MAX)) {
        let length = u8::try_from(text.len()).unwrap_or(u8::MAX);
        if length < 32 {
            out.push(0xa0 | length);
        } else {
            out.extend([0xd9, length]);
        }
        out.extend(text.bytes().take(usize::from(length)));
    }
    out
}

/// The magic line, then backups of a part each, each behind its length in four bytes.
pub(super) fn state_bytes(backup: &Backup) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    for part in backup.parts(limits::BACKUP_PART_BYTES) {
        let bytes = codec::encode(&part);
        let length = u32::try_from(bytes.len()).expect("a part is far below four gigabytes");
        out.extend(length.to_be_bytes());
        out.extend(bytes);
    }
    out
}

fn sum(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        write!(text, "{byte:02x}").expect("a string takes all");
    }
    text
}

/// The backup in an archive of ours or of Consul's, once every sum is right, and what of it has
/// no place here.
pub(super) fn unpack(packed: &[u8]) -> Result<(Backup, LeftOut), ArchiveError> {
    let mut plain = Vec::new();
    let max = limits::ARCHIVE_STATE_BYTES_MAX + 2 * FILE_BYTES_MAX;
    let mut bounded = GzDecoder::new(packed).take(max as u64 + 1);
    bounded.read_to_end(&mut plain).map_err(|why| ArchiveError::Gzip(gzip_text(&why)))?;
    if plain.len() > max {
        return Err(ArchiveError::TooLarge { name: "the archive".to_owned(), max });
    }
    let files = files(&plain)?;
    drop(plain);
    let find = |name: &'static str| {
        let found = files.iter().find(|(given, _)| given == name);
        found.map(|(_, bytes)| bytes.as_slice()).ok_or(ArchiveError::Missing(name))
    };
    let sums = String::from_utf8_lossy(find(SUMS)?).into_owned();
    for name in [META, STATE] {
        let said = sums.lines().find_map(|line| line.strip_suffix(name)).map(str::trim);
        if said != Some(sum(find(name)?).as_str()) {
            return Err(ArchiveError::Sum(name.to_owned()));
        }
    }
    let bytes = find(STATE)?;
    if consul_state::is_consuls(bytes) {
        return Ok(consul_state::read(bytes)?);
    }
    Ok((state(bytes)?, LeftOut::default()))
}

fn gzip_text(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => "unexpected EOF".to_owned(),
        _ => error.to_string(),
    }
}

fn files(plain: &[u8]) -> Result<Vec<(String, Vec<u8>)>, ArchiveError> {
    let unread = |why: std::io::Error| ArchiveError::Tar(why.to_string());
    let mut found = Vec::new();
    for entry in tar::Archive::new(plain).entries().map_err(unread)? {
        let mut entry = entry.map_err(unread)?;
        let name = entry.path().map_err(unread)?.to_string_lossy().into_owned();
        if ![META, STATE, SUMS].contains(&name.as_str()) {
            return Err(ArchiveError::Tar(format!("unexpected file {name:?} in snapshot")));
        }
        if found.iter().any(|(known, _)| *known == name) {
            return Err(ArchiveError::Tar(format!("file {name:?} comes twice")));
        }
        let state = limits::ARCHIVE_STATE_BYTES_MAX + MAGIC.len();
        let max = if name == STATE { state } else { FILE_BYTES_MAX };
        let mut bytes = Vec::new();
        // A file may have holes, which make it longer than all that was unpacked.
        entry.by_ref().take(max as u64 + 1).read_to_end(&mut bytes).map_err(unread)?;
        if bytes.len() > max {
            return Err(ArchiveError::TooLarge { name, max });
        }
        found.push((name, bytes));
    }
    Ok(found)
}

fn state(bytes: &[u8]) -> Result<Backup, ArchiveError> {
    let mut rest = bytes.strip_prefix(MAGIC).ok_or(ArchiveError::Foreign)?;
    if rest.len() > limits::ARCHIVE_STATE_BYTES_MAX {
        return Err(ArchiveError::TooLarge {
            name: STATE.to_owned(),
            max: limits::ARCHIVE_STATE_BYTES_MAX,
        });
    }
    let cut = || ArchiveError::State("cut short".to_owned());
    let mut whole = Backup::default();
    while !rest.is_empty() {
        let (length, behind) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok().ok_or_else(cut)?;
        let (record, behind) = behind.split_at_checked(length).ok_or_else(cut)?;
        let part: Backup =
            codec::decode(record).map_err(|why| ArchiveError::State(why.to_string()))?;
        whole.append(part);
        rest = behind;
    }
    Ok(whole)
}

/// Bytes in gzip, at the level that costs least.
pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Compression::fast());
    packer.write_all(bytes).expect("a vector takes all");
    packer.finish().expect("a vector takes all")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::prepared_definition;
    use crate::model::{
        Autopilot, Check, Index, KvEntry, Node, NodeCoordinate, PreparedId, PreparedQuery, Service,
    };

    fn backup() -> Backup {
        let entry = |n: u64| KvEntry {
            key: format!("k{n}"),
            value: bytes::Bytes::from(vec![7; 100]),
            flags: n,
            session: None,
            lock_index: 0,
            create: Index(n),
            modify: Index(n),
        };
        Backup {
            kv: (1..=200).map(entry).collect(),
            sessions: Vec::new(),
            nodes: vec![Node { name: "n".into(), ..Node::default() }],
            services: vec![Service { name: "s".into(), ..Service::default() }],
            checks: vec![Check { id: "c".into(), ..Check::default() }],
            prepared: vec![prepared()],
            coordinates: vec![NodeCoordinate { node: "n".into(), ..NodeCoordinate::default() }],
            autopilot: Some(Autopilot { max_trailing_logs: 9, ..Autopilot::default() }),
        }
    }

    fn prepared() -> PreparedQuery {
        let value = serde_json::json!({"Name": "q", "Service": {"Service": "s", "Tags": ["!x"]}});
        prepared_definition::new(&value, PreparedId(uuid::Uuid::from_u128(1))).unwrap()
    }

    fn peers() -> Peers {
        let server = Server {
            id: "i".into(),
            name: "n".into(),
            address: "127.0.1.20:8300".into(),
            leader: true,
            voter: true,
        };
        Peers { servers: vec![server], term: 2, index: 71, seconds: 1_795_437_140 }
    }

    #[test]
    fn what_is_packed_comes_out_again() {
        for whole in [backup(), Backup::default()] {
            assert_eq!(unpack(&pack(&whole, &peers())), Ok((whole, LeftOut::default())));
        }
    }

    /// A file of nothing but a hole, as tar describes it in a few bytes.
    fn hole(name: &str, bytes: usize) -> Vec<u8> {
        let mut header = tar::Header::new_gnu();
        header.set_path(name).unwrap();
        header.set_entry_type(tar::EntryType::GNUSparse);
        header.set_size(0);
        let octal = |number: usize| -> [u8; 12] {
            format!("{number:011o}\0").into_bytes().try_into().unwrap()
        };
        let gnu = header.as_gnu_mut().unwrap();
        gnu.realsize = octal(bytes);
        gnu.sparse[0].offset = octal(bytes);
        gnu.sparse[0].numbytes = octal(0);
        header.set_cksum();
        let mut plain = header.as_bytes().to_vec();
        plain.resize(3 * 512, 0);
        plain
    }

    #[test]
    fn a_file_is_no_longer_than_its_bound_whatever_its_holes() {
        let bytes = FILE_BYTES_MAX * 8;
        let why = unpack(&gzip(&hole(META, bytes))).unwrap_err();
        assert_eq!(why, ArchiveError::TooLarge { name: META.to_owned(), max: FILE_BYTES_MAX });
        let twice = [&hole(SUMS, 7)[..512], &hole(SUMS, 7)].concat();
        let why = unpack(&gzip(&twice)).unwrap_err();
        assert_eq!(why, ArchiveError::Tar("file \"SHA256SUMS\" comes twice".to_owned()));
    }

    #[test]
    fn meta_has_consuls_fields() {
        assert_eq!(
            String::from_utf8(json::bytes(&meta(&peers(), 9), false)).unwrap(),
            concat!(
                r#"{"Version":1,"ID":"2-71-1795437140000","Index":71,"Term":2,"#,
                r#""Peers":"ka8xMjcuMC4xLjIwOjgzMDA=","Configuration":{"Servers":[{"Suffrage":0,"#,
                r#""ID":"i","Address":"127.0.1.20:8300"}]},"ConfigurationIndex":1,"Size":9}"#,
            )
        );
    }

    #[test]
    fn garbage_and_damage_are_told_apart() {
        let text = unpack(b"xx").unwrap_err().to_string();
        assert_eq!(text, "failed to decompress snapshot: unexpected EOF");
        let packed = pack(&backup(), &peers());
        assert!(matches!(unpack(&packed[..packed.len() / 2]), Err(ArchiveError::Gzip(_))));
        assert!(matches!(unpack(&gzip(b"no tar at all")), Err(ArchiveError::Tar(_))));
        let mut plain = Vec::new();
        GzDecoder::new(&packed[..]).read_to_end(&mut plain).unwrap();
        let at = plain.windows(MAGIC.len()).position(|part| part == MAGIC).unwrap();
        plain[at + MAGIC.len() + 60] ^= 1;
        assert_eq!(unpack(&gzip(&plain)), Err(ArchiveError::Sum(STATE.to_owned())));
    }

    #[test]
    fn consuls_state_is_taken_or_refused_whole() {
        let header = b"\x81\xa9LastIndex\x27";
        let key = b"\x02\x82\xa3Key\xa1k\xa5Value\xa1v";
        let good = packed(&[&header[..], key, b"\x11\x80"].concat(), &peers());
        let (found, left_out) = unpack(&good).unwrap();
        assert_eq!((found.kv[0].key.as_str(), &found.kv[0].value[..]), ("k", &b"v"[..]));
        assert_eq!(left_out.to_string(), "1 ACL token");
        for (records, want) in [
            (&b"\xc8\xc0"[..], "Consul's state: byte 12: unknown kind of record 200"),
            (b"\x02\xdb\xff\xff\xff\xff", "Consul's state: byte 12: cut short"),
        ] {
            let bad = packed(&[&header[..], key, records].concat(), &peers());
            let why = unpack(&bad).unwrap_err().to_string();
            let at = format!("byte {}", header.len() + key.len());
            assert_eq!(why, want.replace("byte 12", &at) + "; nothing was restored");
        }
    }

    #[test]
    fn another_programs_state_is_refused() {
        assert_eq!(state(b"anything else"), Err(ArchiveError::Foreign));
        assert!(matches!(state(b"portolan state 2\n\0\0\0\x09x"), Err(ArchiveError::State(_))));
    }
}
