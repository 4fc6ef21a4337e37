//! The golden scripts' runner. `UPDATE_GOLDENFILES=1` writes what came into the files.
//!
//! A script is a text file: `#` begins a comment, a line that is not indented is a step, and the
//! indented lines under it are what it gave. `at MS` sets cluster time, `renew s1` travels with the
//! next command, `due MS` asks what is due, `save` and `restore` take a backup and
//! put it back, `part ID PLACE` sets the saved one aside, `restore-parts ID PARTS` joins them.

use std::fs;
use std::path::{Path, PathBuf};

use super::language::{self, Line, command, envelope, query};
use super::show;
use crate::model::{Answer, Backup, ClusterTime, Command, Query, Renewal};
use crate::store::{Store, View};
use bytes::Bytes;

struct Script {
    store: Store,
    view: View,
    at: u64,
    renewals: Vec<Renewal>,
    saved: Backup,
    position: u64,
}

impl Script {
    fn step(&mut self, text: &str) -> Vec<String> {
        let line = Line::parse(text);
        match line.verb {
            "at" => {
                self.at = line.word(0).parse().expect("a time in milliseconds");
                return Vec::new();
            }
            "renew" => {
                let id = language::session(line.word(0));
                let at = line.option("at").map_or(self.at, |at| at.parse().expect("a time"));
                self.renewals.push(Renewal { id, at: ClusterTime(at) });
                return Vec::new();
            }
            "due" => return self.due(&line),
            "save" => {
                let found = self.view.query(&Query::Backup);
                let Answer::Backup(backup) = &*found.answer else { panic!("not a backup") };
                self.saved = Backup::clone(backup);
                return Vec::new();
            }
            "part" => {
                let part = line.word(1).parse().expect("a place");
                let records = Box::new(self.saved.clone());
                return self.apply(&Command::RestorePart { id: line.id(), part, records });
            }
            "restore-parts" => {
                let parts = line.word(1).parse().expect("a number");
                return self.apply(&Command::RestoreParts { id: line.id(), parts });
            }
            "restore" => return self.apply(&Command::Restore(Box::new(self.saved.clone()))),
            _ => {}
        }
        match (query(text), command(text)) {
            (Some(query), _) => self.query(&query),
            (None, Some(command)) => self.apply(&command),
            (None, None) => panic!("unknown step {text:?}"),
        }
    }

    fn apply(&mut self, command: &Command) -> Vec<String> {
        self.position += 1;
        let payload = envelope(self.at, std::mem::take(&mut self.renewals), command);
        let position = Bytes::from(self.position.to_string());
        let applied = self.store.apply(&[payload], position).unwrap();
        let mut shown =
            vec![format!("{} @{}", show::reply(&applied.replies[0].reply), applied.index.0)];
        if !applied.changes.is_empty() {
            let topics: Vec<String> = applied.changes.iter().map(show::topic).collect();
            shown.push(format!("wakes {}", topics.join(", ")));
        }
        shown
    }

    fn query(&self, query: &Query) -> Vec<String> {
        let found = self.view.query(query);
        let (index, changed) = (found.index.0, found.changed.0);
        let answer = show::answer(&found.answer);
        vec![if index == changed {
            format!("{answer} @{index}")
        } else {
            format!("{answer} @{index} changed {changed}")
        }]
    }

    fn due(&self, line: &Line<'_>) -> Vec<String> {
        let now = ClusterTime(line.word(0).parse().expect("a time in milliseconds"));
        let due = self.view.due(now, 10).into_iter().map(|command| match command {
            Command::SessionExpire { id, sequence } => {
                format!("expire s{} {sequence}", id.0.as_u128())
            }
            Command::TombstoneReap(index) => format!("reap {}", index.0),
            other => format!("{other:?}"),
        });
        let mut due: Vec<String> = due.collect();
        if due.is_empty() {
            due.push(format!("nothing, deadlines: {}", self.view.has_deadlines()));
        }
        due
    }
}

/// Runs a script and gives its text with what came.
fn run(text: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let (store, view) = Store::open(dir.path()).unwrap();
    let saved = Backup::default();
    let mut script = Script { store, view, at: 0, renewals: Vec::new(), saved, position: 0 };
    let mut came = String::new();
    for line in text.lines().filter(|line| !line.starts_with(' ')) {
        came.push_str(line);
        came.push('\n');
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        for shown in script.step(line) {
            came.push_str("    ");
            came.push_str(&shown);
            came.push('\n');
        }
    }
    came
}

#[expect(clippy::disallowed_methods, reason = "the switch that rewrites golden files")]
fn check(room: &str) {
    let update = std::env::var("UPDATE_GOLDENFILES").is_ok();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/scripts").join(room);
    let mut files: Vec<PathBuf> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} has scripts", folder.display());
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let came = run(&text);
        if update {
            fs::write(&file, came).unwrap();
        } else {
            assert_eq!(text, came, "script {}", file.display());
        }
    }
}

#[test]
fn kv() {
    check("kv");
}

#[test]
fn txn() {
    check("txn");
}

#[test]
fn operator() {
    check("operator");
}

#[test]
fn sessions() {
    check("sessions");
}

#[test]
fn catalog() {
    check("catalog");
}

#[test]
fn prepared() {
    check("prepared");
}

#[test]
fn coordinates() {
    check("coordinates");
}

#[test]
fn index() {
    check("index");
}
