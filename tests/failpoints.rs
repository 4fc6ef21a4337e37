//! The process dies at each failpoint under a writing load; what was acknowledged is still there.
//!
//! Needs a program built with the feature `failpoints` (`make failpoints`); skipped loudly, but
//! for the comparison of table and source, where it is not.
//!
//! | variable | means |
//! |---|---|
//! | `PORTOLAN_FAILPOINT` | only points whose names begin so |

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use portolan::failpoint::POINTS;
use raft::failpoint::{POINTS as RAFT_POINTS, Point};

use crate::harness::{Cluster, Load, alone, setting, skip, within};

/// Fewer points than this would test too little.
const POINTS_MIN: usize = 40;
const WRITERS: usize = 4;
/// Acknowledged writes before a point is set, and after the dead server is back.
const WRITES: u64 = 20;
/// How long a point may take to be passed; one that needs more than a load to be passed is not.
const PASSED_WITHIN: Duration = Duration::from_millis(1500);
/// Snapshots, purges and segments have to come often enough to be died in.
const OFTEN: &str = "raft_snapshot_threshold = 50 raft_trailing_logs = 10";

/// The names in `failpoint!("…")` below a folder, each as often as it stands there.
fn in_source(folder: &Path, names: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).expect("a folder can be listed") {
        let path = entry.expect("an entry can be read").path();
        if path.is_dir() {
            in_source(&path, names);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = std::fs::read_to_string(&path).expect("a source file can be read");
            let uses = text.split("failpoint!(").skip(1);
            let quoted = uses.filter_map(|rest| rest.trim_start().strip_prefix('"'));
            let named = quoted.filter_map(|rest| rest.split('"').next());
            names.extend(named.map(str::to_owned));
        }
    }
}

fn listed(points: &[Point]) -> Vec<String> {
    points.iter().map(|point| point.name.to_owned()).collect()
}

#[test]
fn the_tables_of_points_are_the_points_in_the_source() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (folder, points) in [("src", POINTS), ("raft/src", RAFT_POINTS)] {
        let mut found = Vec::new();
        in_source(&root.join(folder), &mut found);
        found.sort();
        assert_eq!(found, listed(points), "in {folder}: each once, in order of names");
    }
    let all: BTreeSet<String> =
        [listed(POINTS), listed(RAFT_POINTS)].concat().into_iter().collect();
    assert_eq!(all.len(), POINTS.len() + RAFT_POINTS.len(), "no name in both tables");
    assert!(all.len() >= POINTS_MIN, "{} points, at least {POINTS_MIN}", all.len());
    for name in &all {
        assert!(name.split('.').count() >= 3, "{name} is room.what.when");
    }
}

/// Says a line to a server's socket; gives the first line of the answer.
fn say_to(socket: &Path, line: &str) -> String {
    let mut stream = UnixStream::connect(socket).expect("the server listens");
    writeln!(stream, "{line}").expect("it takes a line");
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).expect("it answers");
    answer.trim_end().to_owned()
}

fn socket(cluster: &Cluster, at: usize) -> PathBuf {
    cluster.servers[at].data_dir().with_file_name("failpoints")
}

/// Has each server die at a point, one after another; gives how many did.
async fn die_at(cluster: &mut Cluster, load: &Load, point: &str) -> usize {
    let mut died = 0;
    for at in 0..cluster.servers.len() {
        load.goes_on(WRITES).await;
        let socket = socket(cluster, at);
        assert_eq!(say_to(&socket, &format!("{point}=abort")), "ok", "{point}");
        let server = &mut cluster.servers[at];
        let look = || std::future::ready(server.has_ended().then_some(()));
        if within(PASSED_WITHIN, look).await.is_none() {
            assert_eq!(say_to(&socket, &format!("{point}=off")), "ok", "{point}");
            continue;
        }
        died += 1;
        server.stopped().await;
        server.start();
        server.serving().await;
    }
    load.goes_on(1).await;
    died
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_at_any_point() {
    if !cfg!(feature = "failpoints") {
        return skip("failpoints", "the program was built without them: make failpoints");
    }
    let _turn = alone().await;
    let begin = setting("PORTOLAN_FAILPOINT").unwrap_or_default();
    let mut cluster = Cluster::start_listening(&[OFTEN]).await;
    let load = Load::start(WRITERS, &cluster.addresses());
    let mut never = Vec::new();
    let mut died = 0;
    let all = RAFT_POINTS.iter().chain(POINTS).map(|point| point.name);
    for point in all.filter(|name| name.starts_with(&begin)) {
        match die_at(&mut cluster, &load, point).await {
            0 => never.push(point),
            times => died += times,
        }
    }
    let record = load.stop().await;
    cluster.settled().await;
    println!("failpoints: {died} deaths; not passed under a load: {never:?}");
    println!("failpoints: {}", record.figures());
    record.judge(&cluster.addresses()).await;
    println!("failpoints: the replicas agree: {}", cluster.agreed(Duration::from_mins(1)).await);
    assert!(died > 0, "no server died at any of the points");
}
