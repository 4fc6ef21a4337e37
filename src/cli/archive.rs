//! The archive of a snapshot: a compressed tar of `meta.json`, `state.bin` and their sums.

use std::collections::BTreeMap;
use std::io::{Read, Write as _};

use anyhow::{Context as _, Result, anyhow, bail};
use flate2::read::GzDecoder;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

/// Longest `meta.json` and longest list of sums, in bytes.
const SMALL_BYTES_MAX: u64 = 4 << 20;

/// What `meta.json` says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Meta {
    pub(super) version: u64,
    #[serde(rename = "ID")]
    pub(super) id: String,
    pub(super) index: u64,
    pub(super) term: u64,
    /// Bytes of the state; 0 where the writer did not say.
    #[serde(default)]
    pub(super) size: u64,
}

/// Reads an archive from its first byte to its last, and checks every sum.
///
/// The state passes through and is not held.
pub(super) fn verify(archive: impl Read) -> Result<Meta> {
    let mut tar = tar::Archive::new(GzDecoder::new(archive));
    let mut sums: BTreeMap<String, String> = BTreeMap::new();
    let mut wanted = String::new();
    let mut meta = None;
    let mut state_bytes = 0;
    for entry in tar.entries().map_err(|error| undone(&error))? {
        let mut entry = entry.map_err(|error| undone(&error))?;
        let name = entry.path()?.to_string_lossy().into_owned();
        match name.as_str() {
            "meta.json" => {
                let mut text = Vec::new();
                entry.take(SMALL_BYTES_MAX).read_to_end(&mut text)?;
                sums.insert(name, hex(&Sha256::digest(&text)));
                let read = serde_json::from_slice(&text);
                meta = Some(read.context("failed to decode snapshot metadata")?);
            }
            "state.bin" => {
                let mut digest = Digester(Sha256::new());
                state_bytes = std::io::copy(&mut entry, &mut digest).map_err(|e| undone(&e))?;
                sums.insert(name, hex(&digest.0.finalize()));
            }
            "SHA256SUMS" => {
                entry.take(SMALL_BYTES_MAX).read_to_string(&mut wanted)?;
            }
            other => bail!("unexpected file {other:?} in snapshot"),
        }
    }
    // The end of the stream carries its own check, which only a reader of all of it sees.
    std::io::copy(&mut tar.into_inner(), &mut std::io::sink()).map_err(|e| undone(&e))?;
    compare(&sums, &wanted)?;
    let mut meta: Meta = meta.context("failed checking integrity of snapshot: no meta.json")?;
    if meta.size == 0 {
        meta.size = state_bytes;
    }
    if meta.size != state_bytes {
        bail!("snapshot holds {state_bytes} bytes of state, its metadata says {}", meta.size);
    }
    Ok(meta)
}

/// Every file must be listed with its sum, and every listed file must be there.
fn compare(sums: &BTreeMap<String, String>, wanted: &str) -> Result<()> {
    let mut listed: BTreeMap<String, String> = BTreeMap::new();
    for line in wanted.lines() {
        let (sum, name) = line.split_once("  ").context("failed to read hashes")?;
        listed.insert(name.to_owned(), sum.to_lowercase());
    }
    for (name, sum) in sums {
        match listed.get(name) {
            Some(told) if told == sum => {}
            Some(_) => {
                bail!("failed checking integrity of snapshot: hash check failed for {name:?}")
            }
            None => bail!("failed checking integrity of snapshot: no hash for {name:?}"),
        }
    }
    for name in ["meta.json", "state.bin"]
        .iter()
        .chain(listed.keys().map(String::as_str).collect::<Vec<_>>().iter())
    {
        if !sums.contains_key(*name) {
            bail!("failed checking integrity of snapshot: file missing for {name:?}");
        }
    }
    Ok(())
}

/// Go's words for bytes that are not what they should be.
fn undone(error: &std::io::Error) -> anyhow::Error {
    let why = match error.kind() {
        std::io::ErrorKind::UnexpectedEof => "unexpected EOF".to_owned(),
        std::io::ErrorKind::InvalidInput if error.to_string().contains("gzip") => {
            "gzip: invalid header".to_owned()
        }
        _ => error.to_string(),
    };
    anyhow!("failed to decompress snapshot: {why}")
}

struct Digester(Sha256);

impl std::io::Write for Digester {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = Vec::with_capacity(bytes.len() * 2);
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a Vec takes every write");
    }
    text.into_iter().map(char::from).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    /// An archive of these files.
    pub(in crate::cli) fn pack(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (name, bytes) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o600);
            header.set_cksum();
            tar.append_data(&mut header, name, *bytes).unwrap();
        }
        tar.into_inner().unwrap().finish().unwrap()
    }

    /// A sound archive of this state.
    pub(in crate::cli) fn sound(state: &[u8]) -> Vec<u8> {
        let size = state.len();
        let meta = format!(r#"{{"Version":1,"ID":"2-5-9","Index":5,"Term":2,"Size":{size}}}"#);
        let (a, b) = (hex(&Sha256::digest(&meta)), hex(&Sha256::digest(state)));
        let sums = format!("{a}  meta.json\n{b}  state.bin\n");
        pack(&[
            ("meta.json", meta.as_bytes()),
            ("state.bin", state),
            ("SHA256SUMS", sums.as_bytes()),
        ])
    }

    #[test]
    fn a_sound_archive_tells_its_meta() {
        let meta = verify(&sound(b"state")[..]).unwrap();
        assert_eq!((meta.id.as_str(), meta.index, meta.term, meta.size), ("2-5-9", 5, 2, 5));
    }

    #[test]
    fn anything_else_is_refused() {
        let good = sound(b"state");
        let told = |bytes: &[u8]| verify(bytes).unwrap_err().to_string();
        assert_eq!(told(b"hello, world"), "failed to decompress snapshot: gzip: invalid header");
        assert_eq!(told(&good[..20]), "failed to decompress snapshot: unexpected EOF");
        let head = "failed checking integrity of snapshot:";
        let meta = br#"{"Version":1,"ID":"x","Index":1,"Term":1}"#;
        let none = pack(&[("meta.json", meta), ("state.bin", b"x")]);
        assert_eq!(told(&none), format!("{head} no hash for \"meta.json\""));
        let wrong = pack(&[
            ("meta.json", meta),
            ("state.bin", b"x"),
            ("SHA256SUMS", b"00  meta.json\n00  state.bin\n"),
        ]);
        assert_eq!(told(&wrong), format!("{head} hash check failed for \"meta.json\""));
        let empty = pack(&[("SHA256SUMS", b"")]);
        assert_eq!(told(&empty), format!("{head} file missing for \"meta.json\""));
        let more = pack(&[("x", b"")]);
        assert_eq!(told(&more), "unexpected file \"x\" in snapshot");
        for at in [good.len() / 3, good.len() / 2, good.len() - 6] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(verify(&bad[..]).is_err(), "a changed byte {at} went unseen");
        }
    }
}
