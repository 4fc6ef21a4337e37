//! The rules of the house: who may import whom, where each dependency lives, how long a file may
//! be, and how it opens. `src/ARCHITECTURE.md` says why; this says where it is broken.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Longest file in lines, its tests left out.
const FILE_LINES_MAX: usize = 800;
/// Longest `mod.rs` in lines: a door holds no logic.
const DOOR_LINES_MAX: usize = 60;

/// Every room, ground first, and which others it may name.
const ROOMS: &[(&str, &[&str])] = &[
    ("failpoint", &[]),
    ("fuzz", &[]),
    ("limits", &[]),
    ("codec", &["limits"]),
    ("seal", &["fuzz", "limits", "time"]),
    ("time", &[]),
    ("lifecycle", &[]),
    ("telemetry", &[]),
    ("ui", &[]),
    ("model", &["fuzz", "limits", "codec"]),
    ("rpc", &["limits", "lifecycle"]),
    ("store", &["fuzz", "model", "limits", "codec"]),
    ("watch", &["model", "limits"]),
    ("config", &["fuzz", "model", "limits"]),
    ("gossip", &["fuzz", "model", "limits", "time", "lifecycle", "telemetry", "codec", "seal"]),
    (
        "replica",
        &[
            "store",
            "watch",
            "model",
            "rpc",
            "limits",
            "time",
            "lifecycle",
            "telemetry",
            "codec",
            "seal",
        ],
    ),
    (
        "client",
        &["replica", "rpc", "model", "limits", "time", "lifecycle", "telemetry", "codec", "seal"],
    ),
    ("agent", &["client", "model", "limits", "time", "lifecycle", "telemetry", "codec"]),
    ("overlay", &["client", "model", "limits", "time", "lifecycle", "telemetry", "codec"]),
    (
        "scheduler",
        &["agent", "client", "model", "limits", "time", "lifecycle", "telemetry", "codec"],
    ),
    ("dns", &["fuzz", "client", "model", "limits", "time", "lifecycle", "telemetry", "codec"]),
    ("etcd", &["client", "model", "limits", "time", "lifecycle", "telemetry", "codec"]),
    ("zookeeper", &["client", "model", "limits", "time", "lifecycle", "telemetry", "codec"]),
    (
        "http",
        &[
            "fuzz",
            "agent",
            "gossip",
            "client",
            "model",
            "ui",
            "limits",
            "time",
            "lifecycle",
            "telemetry",
            "codec",
        ],
    ),
    (
        "node",
        &[
            "failpoint",
            "config",
            "http",
            "dns",
            "etcd",
            "zookeeper",
            "agent",
            "overlay",
            "scheduler",
            "gossip",
            "client",
            "replica",
            "store",
            "watch",
            "rpc",
            "model",
            "limits",
            "time",
            "lifecycle",
            "telemetry",
            "codec",
            "seal",
        ],
    ),
    ("cli", &["config", "node", "http", "telemetry", "time"]),
];

/// Every dependency that has a home, and the only rooms that may name it. `raft-crate` is the
/// workspace crate in `raft/`.
const HOMES: &[(&str, &[&str])] = &[
    ("openraft", &["raft-crate"]),
    ("raft", &["replica", "node", "codec", "seal", "failpoint", "fuzz"]),
    ("fail", &["raft-crate"]),
    ("rocksdb", &["store"]),
    ("axum", &["http"]),
    ("h2", &["agent"]),
    ("http_crate", &["agent"]),
    ("rustls", &["agent"]),
    ("rustls_native_certs", &["agent"]),
    ("tokio_rustls", &["agent"]),
    ("webpki_roots", &["agent"]),
    ("hyper", &["http"]),
    ("hyper_util", &["http"]),
    ("hickory_server", &["dns"]),
    ("hickory_proto", &["dns"]),
    ("tonic", &["etcd"]),
    ("prost", &["etcd"]),
    ("foca", &["gossip"]),
    ("bollard", &["scheduler", "agent"]),
    ("clap", &["cli"]),
    ("clap_complete", &["cli"]),
    ("hcl", &["config"]),
    ("prometheus", &["telemetry"]),
    ("rand", &["gossip", "raft-crate"]),
    ("tracing_subscriber", &["telemetry"]),
    ("bincode", &["codec", "raft-crate"]),
    ("crc32c", &["codec", "rpc", "raft-crate"]),
    ("regex", &["agent", "cli", "http", "model"]),
    ("reqwest", &["cli", "agent"]),
    ("anyhow", &["cli", "main"]),
    ("serde_json", &["http", "config", "cli", "agent", "node", "seal", "telemetry"]),
    ("base64", &["http", "cli", "seal"]),
    ("percent_encoding", &["http", "cli"]),
    ("flate2", &["http", "cli"]),
    ("tar", &["http", "cli"]),
    ("sha2", &["http", "cli", "agent", "store"]),
    ("getrandom", &["cli", "gossip", "time"]),
    ("ring", &["agent", "seal"]),
    ("rustix", &["agent", "node", "telemetry"]),
    ("snow", &["seal"]),
    ("socket2", &["node", "raft-crate"]),
];

/// Dependencies that any room may name.
const EVERYWHERE: &[&str] = &[
    "bytes",
    "futures",
    "parking_lot",
    "serde",
    "thiserror",
    "tokio",
    "tracing",
    "uuid",
    "tempfile",
];

/// One source file, as far as the rules look at it.
struct Source {
    path: PathBuf,
    room: String,
    /// How many `super::` lead from this file to the crate's root.
    depth: usize,
    text: String,
}

/// Rules broken so far, each with file and line.
#[derive(Default)]
struct Broken(Vec<String>);

impl Broken {
    fn say(&mut self, path: &Path, line: usize, what: &str) {
        self.0.push(format!("{}:{line}: {what}", path.display()));
    }
}

#[test]
fn house_rules() {
    let mut broken = Broken::default();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for source in sources(root, "src") {
        opens_and_ends(&source, &mut broken);
        names_its_own_kind(&source, &mut broken);
        names_only_neighbours(&source, &mut broken);
    }
    for source in sources(root, "raft/src") {
        opens_and_ends(&source, &mut broken);
        names_its_own_kind(&source, &mut broken);
        stands_alone(&source, &mut broken);
    }
    for folder in ["tests", "raft/tests", "benches", "examples"] {
        for path in rust_files(&root.join(folder)) {
            let text = std::fs::read_to_string(&path).expect("a source file can be read");
            opens_with_words(path.strip_prefix(root).unwrap_or(&path), &text, &mut broken);
        }
    }
    every_dependency_has_a_home(root, &mut broken);
    let broken = broken.0;
    assert!(broken.is_empty(), "{} rules broken\n{}\n", broken.len(), broken.join("\n"));
}

fn opens_with_words(path: &Path, text: &str, broken: &mut Broken) {
    if !text.starts_with("//!") && !text.starts_with("#![doc = include_str!") {
        broken.say(path, 1, "a file opens with what it is for (//!)");
    }
    for (at, line) in text.lines().enumerate() {
        if line.trim_start().starts_with(concat!("#[", "ignore")) {
            broken.say(path, at + 1, "no test is left out");
        }
    }
}

fn opens_and_ends(source: &Source, broken: &mut Broken) {
    opens_with_words(&source.path, &source.text, broken);
    let code = without_tests(&source.text);
    let is_door = source.path.file_name().is_some_and(|name| name == "mod.rs");
    let bound = if is_door { DOOR_LINES_MAX } else { FILE_LINES_MAX };
    let tests = source.text.lines().zip(code.lines()).filter(|(there, left)| there != left);
    if code.lines().count() - tests.count() > bound {
        broken.say(&source.path, bound + 1, &format!("longer than {bound} lines"));
    }
    for (at, line) in code.lines().enumerate().filter(|_| is_door) {
        if words(line).any(|word| word == "fn" || word == "impl") && !is_comment(line) {
            broken.say(&source.path, at + 1, "a door holds no logic");
        }
    }
}

/// Dependencies are named only where they are at home.
fn names_its_own_kind(source: &Source, broken: &mut Broken) {
    for (at, line) in without_tests(&source.text).lines().enumerate() {
        if is_comment(line) {
            continue;
        }
        for (dependency, homes) in HOMES {
            if names_crate(line, dependency) && !homes.contains(&source.room.as_str()) {
                let what = format!("{} is no home of {dependency}", source.room);
                broken.say(&source.path, at + 1, &what);
            }
        }
    }
}

/// Rooms name only the rooms below them.
fn names_only_neighbours(source: &Source, broken: &mut Broken) {
    let own = source.room.as_str();
    if own == "lib" || own == "main" {
        return;
    }
    let rooms: BTreeMap<&str, &[&str]> = ROOMS.iter().copied().collect();
    let Some(allowed) = rooms.get(own) else {
        return broken.say(&source.path, 1, &format!("room {own} is not in the table of rooms"));
    };
    for (line, named) in rooms_named(&without_tests(&source.text), source.depth) {
        let is_room = rooms.contains_key(named.as_str());
        if is_room && named != own && !allowed.contains(&named.as_str()) {
            broken.say(&source.path, line, &format!("{own} may not import {named}"));
        }
    }
}

/// The raft crate knows nothing of ours, and its door hands out nothing of openraft's.
fn stands_alone(source: &Source, broken: &mut Broken) {
    let is_door = source.path.ends_with("raft/src/lib.rs");
    for (at, line) in without_tests(&source.text).lines().enumerate() {
        if names_crate(line, "portolan") && !is_comment(line) {
            broken.say(&source.path, at + 1, "the raft crate stands alone");
        }
        if is_door && line.contains("pub use") && line.contains("openraft") {
            broken.say(&source.path, at + 1, "openraft does not pass the raft crate's door");
        }
    }
}

/// A new dependency is a decision: it is listed above, with its rooms, or it is not used.
fn every_dependency_has_a_home(root: &Path, broken: &mut Broken) {
    let homed: BTreeSet<&str> = HOMES.iter().map(|(name, _)| *name).collect();
    for manifest in ["Cargo.toml", "raft/Cargo.toml"] {
        let Ok(text) = std::fs::read_to_string(root.join(manifest)) else {
            broken.say(Path::new(manifest), 1, "cannot be read");
            continue;
        };
        let mut listing = false;
        for (at, line) in text.lines().enumerate() {
            if line.starts_with('[') {
                listing = line == "[dependencies]";
                continue;
            }
            let name = line.split(['=', '.', ' ']).next().unwrap_or_default();
            if !listing || name.is_empty() || name.starts_with('#') {
                continue;
            }
            let name = if name == "hcl-rs" { "hcl".to_owned() } else { name.replace('-', "_") };
            if !homed.contains(name.as_str()) && !EVERYWHERE.contains(&name.as_str()) {
                broken.say(Path::new(manifest), at + 1, &format!("{name} has no home"));
            }
            if manifest.starts_with("raft") && name.starts_with("portolan") {
                broken.say(Path::new(manifest), at + 1, "the raft crate stands alone");
            }
        }
    }
}

/// A file with the lines of its test modules left empty, so that line numbers stay true.
fn without_tests(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut before = "";
    let mut testing = false;
    for line in text.lines() {
        testing |= before == "#[cfg(test)]" && line.starts_with("mod ") && line.ends_with('{');
        if !testing {
            code.push_str(line);
        }
        code.push('\n');
        testing &= line != "}";
        before = line;
    }
    code
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//")
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|sign: char| !sign.is_alphanumeric() && sign != '_').filter(|word| !word.is_empty())
}

/// Whether a line names a crate: `name::…`, `use name;`, `use name as …`, and not `x::name::…`.
fn names_crate(line: &str, name: &str) -> bool {
    line.match_indices(name).any(|(at, _)| {
        let before = line.get(..at).unwrap_or_default();
        let after = line.get(at + name.len()..).unwrap_or_default();
        let inside = before.ends_with(|sign: char| sign.is_alphanumeric() || "_:\"".contains(sign));
        let used = before.trim_end().ends_with("use") && after.starts_with([';', ' ']);
        !inside && (after.starts_with("::") || used)
    })
}

/// The names right behind `crate::`, or behind as many `super::` as lead to the root, each with
/// its line; `crate::{a, b::c}` names two.
fn rooms_named(code: &str, depth: usize) -> Vec<(usize, String)> {
    let plain: String = code
        .lines()
        .map(|line| if is_comment(line) { "\n".to_owned() } else { format!("{line}\n") })
        .collect();
    let mut named = Vec::new();
    for mark in ["crate::".to_owned(), "super::".repeat(depth)] {
        for (at, _) in plain.match_indices(&mark) {
            let before = plain.get(..at).unwrap_or_default();
            if before.ends_with(|sign: char| sign.is_alphanumeric() || "_:$".contains(sign)) {
                continue;
            }
            let line = before.matches('\n').count() + 1;
            let rest = plain.get(at + mark.len()..).unwrap_or_default();
            if rest.starts_with("super::") {
                continue;
            }
            named.extend(heads(rest).into_iter().map(|head| (line, head)));
        }
    }
    named
}

/// The first name of a path, or the first names of all paths of a group in braces.
fn heads(rest: &str) -> Vec<String> {
    let Some(group) = rest.strip_prefix('{') else {
        return words(rest).next().map(str::to_owned).into_iter().collect();
    };
    let mut open = 1_usize;
    let mut parts = vec![String::new()];
    for sign in group.chars() {
        match sign {
            '{' => open += 1,
            '}' => open -= 1,
            ',' if open == 1 => parts.push(String::new()),
            _ => {}
        }
        if open == 0 {
            break;
        }
        parts.last_mut().expect("there is always one").push(sign);
    }
    parts.iter().filter_map(|part| words(part).next().map(str::to_owned)).collect()
}

/// All source files below a folder that are not tests as a whole.
fn sources(root: &Path, folder: &str) -> Vec<Source> {
    let base = root.join(folder);
    let paths = rust_files(&base);
    let mut read = Vec::new();
    let mut tests = BTreeSet::new();
    for path in paths {
        let text = std::fs::read_to_string(&path).expect("a source file can be read");
        tests.extend(test_modules(&path, &text));
        read.push((path, text));
    }
    let of_tests = |path: &Path| {
        tests.iter().any(|test| path.starts_with(test) || path == test.with_extension("rs"))
    };
    read.into_iter()
        .filter(|(path, _)| !of_tests(path))
        .map(|(path, text)| {
            let inner = path.strip_prefix(&base).expect("it is below the folder");
            let parts = inner.components().count();
            let is_door = inner.file_name().is_some_and(|name| name == "mod.rs");
            let first = inner.components().next().expect("a file has a name").as_os_str();
            let room = first.to_string_lossy().trim_end_matches(".rs").to_owned();
            let room = if folder == "src" { room } else { "raft-crate".to_owned() };
            let depth = if is_door { parts - 1 } else { parts };
            let path = path.strip_prefix(root).expect("it is below the root").to_owned();
            Source { path, room, depth, text }
        })
        .collect()
}

/// The modules that a file declares for tests only, as paths without an ending.
fn test_modules(path: &Path, text: &str) -> Vec<PathBuf> {
    let stem = path.file_stem().expect("a file has a name");
    let parent = path.parent().expect("a file has a folder");
    let inside = if ["mod", "lib", "main"].iter().any(|door| stem == *door) {
        parent.to_owned()
    } else {
        parent.join(stem)
    };
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let pairs = lines.windows(2).filter(|pair| pair[0] == "#[cfg(test)]");
    let names = pairs.filter_map(|pair| pair[1].strip_prefix("mod ")?.strip_suffix(';'));
    names.map(|name| inside.join(name)).collect()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.expect("a folder can be listed").path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The rules catch what they are for: each of these breaks exactly one.
#[test]
fn rules_bite() {
    let cases = [
        ("store", 2, "//! x\nuse crate::replica::Handle;\n", "2: store may not import replica"),
        ("dns", 2, "//! x\nuse crate::{limits, store::State};\n", "2: dns may not import store"),
        (
            "dns",
            2,
            "//! x\nuse crate::{\n    limits,\n    http::Wire,\n};\n",
            "2: dns may not import http",
        ),
        ("dns", 2, "//! x\nuse super::super::store::State;\n", "2: dns may not import store"),
        ("http", 2, "//! x\n\nfn f() { openraft::x() }\n", "3: http is no home of openraft"),
        ("dns", 2, "//! x\nuse rocksdb::DB;\n", "2: dns is no home of rocksdb"),
        (
            "dns",
            2,
            "//! x\n#[cfg(test)]\nmod tests {\n    use crate::store;\n}\nuse crate::store::S;\n",
            "6: dns may not import store",
        ),
        ("cellar", 1, "//! x\n", "1: room cellar is not in the table of rooms"),
        ("dns", 2, "use std::fmt;\n", "1: a file opens with what it is for (//!)"),
    ];
    for (room, depth, text, wanted) in cases {
        let path = PathBuf::from("f.rs");
        let source = Source { path, room: room.to_owned(), depth, text: text.to_owned() };
        let mut broken = Broken::default();
        opens_and_ends(&source, &mut broken);
        names_its_own_kind(&source, &mut broken);
        names_only_neighbours(&source, &mut broken);
        assert_eq!(broken.0, [format!("f.rs:{wanted}")], "{text}");
    }
    let fine = "//! x\n// crate::store::State\nuse super::store::Own;\nuse crate::model::{Index, store};\n\
        #[cfg(test)]\nmod tests {\n    use crate::store::State;\n}\n";
    let path = PathBuf::from("f.rs");
    let source = Source { path, room: "dns".to_owned(), depth: 2, text: fine.to_owned() };
    let mut broken = Broken::default();
    names_only_neighbours(&source, &mut broken);
    assert_eq!(broken.0, [""; 0]);
}
