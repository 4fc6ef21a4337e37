//! The command line, line by line: ours against our server, and the real one against our server,
//! have to say what the real one says against the real server.
//!
//! Exit code, standard output and standard error are compared. Ids, addresses, times and indexes
//! are masked; of a usage text only what stands before it counts, for its wording is ours. A line
//! that differs on purpose carries its reason, and has to differ still.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::LazyLock;
use std::time::Duration;

use futures::future::join3;
use regex::Regex;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::harness::{Agent, alone, is_consul, program, skip, until};
use crate::real_clients::peers;

use super::lines::{Differs, LINES, Line};

/// How long one line may take.
const LINE_LIMIT: Duration = Duration::from_mins(1);
/// Fewest lines that have to be compared, so that none is lost unseen.
const LINES_LEAST: usize = 150;

/// What is not compared, and what stands in its place.
static MASKS: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    let masks = [
        (r"127\.\d+\.\d+\.\d+", "<ip>"),
        (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "<id>"),
        (r"\b[0-9a-f]{8}\b", "<short-id>"),
        (r"\d{4}-\d\d-\d\d[T ][0-9:.]+(Z| [+]0000 UTC)?", "<time>"),
        (r#"((?:Create|Modify)Index"?:?\s+)\d+"#, "${1}<index>"),
        (r"(index )\d+", "${1}<index>"),
        (r"[A-Za-z0-9+/]{43}=", "<key>"),
        (r"/tmp/[A-Za-z0-9._/-]+", "<path>"),
        (r"\b\d+\.\d{3} ms", "<ms>"),
        (r"\b(1\.8\.7|0\.1\.0)\b", "<version>"),
        (r"[ \t]+", " "),
    ];
    let compiled = |(pattern, mask)| (Regex::new(pattern).expect("a pattern"), mask);
    masks.into_iter().map(compiled).collect()
});

/// One command line with the server that it talks to.
struct Side {
    program: PathBuf,
    server: Agent,
    folder: TempDir,
}

/// What a line came to.
#[derive(Debug, PartialEq, Eq)]
struct Came {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Side {
    async fn run(&self, line: &Line) -> Came {
        let mut command = Command::new(&self.program);
        command
            .args(line.words())
            .current_dir(self.folder.path())
            .env("CONSUL_HTTP_ADDR", format!("{}:8500", self.server.address()))
            .env("HOME", self.folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().expect("the program starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        // One that does not read its input has its own reasons.
        drop(stdin.write_all(line.input.as_bytes()).await);
        drop(stdin);
        let ended = tokio::time::timeout(LINE_LIMIT, child.wait_with_output()).await;
        let ended = ended.unwrap_or_else(|_| panic!("{} does not end", line.text));
        let ended = ended.expect("its output can be read");
        let text = |bytes: &[u8]| masked(&String::from_utf8_lossy(bytes));
        Came { code: ended.status.code(), out: text(&ended.stdout), err: text(&ended.stderr) }
    }
}

fn masked(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    let text = lines.join("\n").trim().to_owned();
    MASKS.iter().fold(text, |text, (pattern, mask)| pattern.replace_all(&text, *mask).into_owned())
}

/// What stands before the usage text, if there is one.
fn before_usage(text: &str) -> Option<&str> {
    if text.starts_with("Usage:") {
        return Some("");
    }
    text.split_once("\nUsage:").map(|(before, _)| before.trim())
}

/// Whether one output is as good as the other.
fn same(real: &str, ours: &str) -> bool {
    match (before_usage(real), before_usage(ours)) {
        (Some(said), Some(_)) => ours.starts_with(said),
        (None, None) => real == ours,
        _ => false,
    }
}

fn fits(real: &Came, ours: &Came) -> bool {
    real.code == ours.code && same(&real.out, &ours.out) && same(&real.err, &ours.err)
}

/// Our program under the name that scripts call it by.
fn as_consul(folder: &Path) -> PathBuf {
    let link = folder.join("consul");
    std::os::unix::fs::symlink(program(), &link).expect("a link can be made");
    link
}

/// The routes that lines need and our server does not have; says so, since nothing is compared.
async fn absent(server: &Agent) -> BTreeSet<&'static str> {
    let needed: BTreeSet<_> = LINES.iter().map(|line| line.needs).collect();
    let mut absent = BTreeSet::new();
    for route in needed {
        let asked = server.http().send("OPTIONS", route, &[], "").await;
        if !route.is_empty() && asked.is_ok_and(|reply| reply.status == 404) {
            let lines = LINES.iter().filter(|line| line.needs == route).count();
            skip(&format!("{lines} command lines"), &format!("our server has no {route}"));
            absent.insert(route);
        }
    }
    absent
}

#[tokio::test]
async fn the_command_line_says_what_consuls_says() {
    let real = peers().join("usr/bin/consul");
    if !real.exists() || is_consul() {
        return skip("the_command_line_says_what_consuls_says", "no two programs to compare");
    }
    let _turn = alone().await;
    let links = TempDir::new().expect("a temporary folder");
    let folder = || TempDir::with_prefix("portolan-cli-").expect("a temporary folder");
    let side = |program: PathBuf, server| Side { program, server, folder: folder() };
    let real_side = side(real.clone(), Agent::dev_of(real.clone(), &[]).await);
    let our_side = side(as_consul(links.path()), Agent::dev().await);
    let mixed_side = side(real, Agent::dev().await);
    let absent = absent(&our_side.server).await;
    let mut wrong = Vec::new();
    for line in LINES.iter().filter(|line| !absent.contains(&line.needs)) {
        let sides = (real_side.run(line), our_side.run(line), mixed_side.run(line));
        let (real, ours, mixed) = join3(sides.0, sides.1, sides.2).await;
        let asked =
            [(&ours, line.differs.ours(), "ours"), (&mixed, line.differs.server(), "mixed")];
        for (came, reason, which) in asked {
            match (fits(&real, came), reason) {
                (true, Some(reason)) => {
                    wrong.push(format!("{} ({which}): the same now, and not: {reason}", line.text));
                }
                // A reason is one for other words, never for a crash.
                (false, Some(_)) if matches!(came.code, Some(0..=2)) => {}
                (false, _) => {
                    wrong.push(format!("{} ({which}):\n  {real:?}\n  {came:?}", line.text));
                }
                (true, None) => {}
            }
        }
    }
    let (failed, all) = (wrong.len(), LINES.len());
    assert!(wrong.is_empty(), "{failed} of {all} lines differ\n{}\n", wrong.join("\n"));
    assert!(all >= LINES_LEAST, "{all} lines are too few");
}

/// A watch of events hands each new event on once: the real program's and ours, at our server.
#[tokio::test]
async fn a_watch_of_events_hands_each_on_once() {
    let real = peers().join("usr/bin/consul");
    if !real.exists() || is_consul() {
        return skip("a_watch_of_events_hands_each_on_once", "no two programs to compare");
    }
    let _turn = alone().await;
    let agent = Agent::dev().await;
    let folder = TempDir::new().expect("a temporary folder");
    let mut watching = Vec::new();
    for (name, program) in [("real", real), ("ours", as_consul(folder.path()))] {
        let seen = folder.path().join(name);
        let handler = format!("cat >> {0}; echo >> {0}", seen.display());
        let child = Command::new(program)
            .args(["watch", "-type=event", "-name=deploy", &handler])
            .env("CONSUL_HTTP_ADDR", format!("{}:8500", agent.address()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn();
        watching.push((child.expect("the program starts"), seen));
    }
    let http = agent.http();
    for (nth, payload) in ["", "one", "two"].into_iter().enumerate() {
        if nth > 0 {
            http.done("/v1/event/fire/other", payload).await;
            http.done("/v1/event/fire/deploy", payload).await;
        }
        for (_, seen) in &watching {
            let calls = || async { (calls(seen).len() == nth + 1).then_some(()) };
            until(&format!("{} has {nth} events", seen.display()), LINE_LIMIT, calls).await;
        }
    }
    let [real, ours] = [0, 1].map(|nth| calls(&watching[nth].1));
    assert_eq!(real, ours);
    assert!(real[1].contains("b25l") && !real[2].contains("b25l"), "{real:?}");
}

/// What a handler was given, call by call.
fn calls(seen: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(seen).unwrap_or_default();
    text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn a_reason_is_a_sentence() {
    let differing = LINES.iter().filter_map(|line| match line.differs {
        Differs::No => None,
        Differs::Ours(reason) | Differs::Both(reason) => Some(reason),
    });
    for reason in differing {
        assert!(reason.contains(' '), "{reason:?} is no reason");
    }
}
