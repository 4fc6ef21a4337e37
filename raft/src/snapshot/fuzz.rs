//! A snapshot that arrives, under a fuzzer.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::receive::Receiving;
use crate::fuzz::{Input, Target, pieces};
use crate::types::Position;

/// What is read of a snapshot's sender.
pub(crate) const TARGETS: &[Target] = &[Target {
    name: "snapshot-stream",
    about: "names, sizes and chunks: files are what was sent, within their folder, or nothing stays",
    memory: 1024 * 1024,
    run: stream,
    seeds,
}];

/// Most files, and longest of them in bytes, of an input: this is about names, not about disks.
const FILES_MAX: usize = 16;

fn stream(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let count = usize::from(input.byte()) % FILES_MAX;
    let mut names = Vec::new();
    for _ in 0..count {
        let size = u64::from(input.number());
        names.push((String::from_utf8_lossy(input.piece()).into_owned(), size));
    }
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let path = folder.path().join("receiving-1");
    let sent = input.clone().rest();
    let received = receive(&path, &names, input);
    let received = received.map(|state| files(&state.state(), ""));
    assert!(fs::read_dir(folder.path()).expect("it is there").next().is_none(), "all is gone");
    let Some(mut received) = received else { return };
    let mut sent = contents(sent);
    for (name, size) in names {
        let size = usize::try_from(size).expect("16 bits");
        let rest = sent.split_off(size);
        let name =
            name.split('/').filter(|part| !matches!(*part, "" | ".")).collect::<Vec<_>>().join("/");
        assert_eq!(received.remove(&name), Some(sent), "{name:?} is as it was sent");
        sent = rest;
    }
    assert!(received.is_empty() && sent.is_empty(), "there is nothing else");
}

/// The chunks of an input in a row.
fn contents(bytes: &[u8]) -> Vec<u8> {
    let mut input = Input::new(bytes);
    let mut sent = Vec::new();
    while !input.is_empty() {
        sent.extend_from_slice(input.piece());
    }
    sent
}

fn receive(
    path: &Path,
    names: &[(String, u64)],
    mut input: Input<'_>,
) -> Option<std::sync::Arc<super::SnapshotFolder>> {
    let begun = Receiving::begin(path.to_owned(), Position::default(), names.to_vec());
    let mut receiving = begun.ok()?;
    while !input.is_empty() {
        receiving.write(input.piece()).ok()?;
    }
    receiving.finish().ok()
}

/// Every file below a folder, with its content.
fn files(folder: &Path, above: &str) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for item in fs::read_dir(folder).expect("the folder is there") {
        let item = item.expect("the folder can be read");
        let name = format!("{above}{}", item.file_name().to_string_lossy());
        if item.path().is_dir() {
            found.append(&mut files(&item.path(), &format!("{name}/")));
        } else {
            found.insert(name, fs::read(item.path()).expect("the file is there"));
        }
    }
    found
}

fn seeds() -> Vec<Vec<u8>> {
    let head = |names: &[(&str, u16)]| {
        let mut out = vec![u8::try_from(names.len()).unwrap_or_default()];
        for (name, size) in names {
            out.extend_from_slice(&size.to_be_bytes());
            out.extend(pieces(&[name]));
        }
        out
    };
    vec![
        head(&[]),
        [head(&[("rows", 5)]), pieces(&["hello"])].concat(),
        [head(&[("rows", 5), ("a/b", 3), ("none", 0)]), pieces(&["hell", "oabc"])].concat(),
        [head(&[("a/b", 1), ("a", 1)]), pieces(&["xy"])].concat(),
        [head(&[("../out", 2)]), pieces(&["xx"])].concat(),
        [head(&[("/out", 2)]), pieces(&["xx"])].concat(),
        [head(&[("a/./b", 2)]), pieces(&["xx", "y"])].concat(),
    ]
}
