//! Rolling restart and rolling replacement of all three servers under a writing load, by the
//! script that a person would run: `tests/rolling.sh`.
//!
//! | variable | means |
//! |---|---|
//! | `PORTOLAN_ROLLING_ROUNDS` | how often all servers are restarted and replaced (1) |
//!
//! `make rolling` does it three times, against the release program.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::harness::{Http, Load, alone, free_address, is_consul, program, setting, skip, until};

const WRITERS: usize = 6;
/// The life of the session; Consul's, and our, shortest.
const TTL: &str = "10s";
/// How often its client renews it.
const RENEWAL: Duration = Duration::from_secs(1);
/// A client that was not answered by then asks another server.
const PATIENCE: Duration = Duration::from_secs(3);
/// Whoever is well for so long gets a vote.
const STABLE: &str = r#"autopilot { server_stabilization_time = "500ms" }"#;
const LIMIT: Duration = Duration::from_mins(2);

/// The cluster that the script runs. Dropping it kills its servers.
struct Rolled {
    folder: TempDir,
}

impl Rolled {
    fn script(&self, word: &str, addresses: &[Ipv4Addr]) -> Command {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rolling.sh");
        let mut command = Command::new(script);
        command.env("PORTOLAN", program()).env("HCL", STABLE).arg(self.folder.path()).arg(word);
        command.args(addresses.iter().map(Ipv4Addr::to_string));
        command
    }

    /// Runs one of the script's words to its end.
    async fn run(&self, word: &str, addresses: &[Ipv4Addr]) {
        let mut command = self.script(word, addresses);
        let began = Instant::now();
        let ended = tokio::task::spawn_blocking(move || command.output()).await.expect("a thread");
        let ended = ended.expect("the script starts");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success(), "{word}: {said}\n{}", self.logs());
        print!("{}", String::from_utf8_lossy(&ended.stdout));
        println!("rolling: {word} of all took {:?}", began.elapsed());
    }

    /// The ends of the servers' logs.
    fn logs(&self) -> String {
        let folders = std::fs::read_dir(self.folder.path()).into_iter().flatten().flatten();
        let end = |folder: PathBuf| {
            let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let from = lines.len().saturating_sub(30);
            format!("--- {}\n{}", folder.display(), lines.get(from..).unwrap_or(&[]).join("\n"))
        };
        folders.map(|folder| end(folder.path())).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Rolled {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.logs());
        }
        // Where the script cannot be started no server was.
        drop(self.script("stop", &[]).status());
    }
}

/// A client that knows several servers and asks the next one when one does not answer.
struct Client {
    servers: Vec<Http>,
}

impl Client {
    fn new(addresses: &[Ipv4Addr]) -> Self {
        let at = |address: &Ipv4Addr| SocketAddr::from((*address, 8500));
        let servers = addresses.iter().map(|one| Http::with_limit(at(one), PATIENCE)).collect();
        Self { servers }
    }

    /// Asks until a server answers with 200; any other answer than that of one in trouble is wrong.
    async fn ask(&self, method: &str, path: &str, body: &str) -> Value {
        let began = Instant::now();
        loop {
            for server in &self.servers {
                match server.send(method, path, &[], body).await {
                    Ok(reply) if reply.status == 200 => return reply.json(),
                    Ok(reply) if reply.status < 500 => {
                        panic!("{method} {path}: {} {}", reply.status, reply.text());
                    }
                    _ => {}
                }
            }
            assert!(began.elapsed() < LIMIT, "{method} {path}: nobody answers");
            sleep(Duration::from_millis(50)).await;
        }
    }
}

/// A lock, held with a session that its client renews all the time.
struct Held {
    session: String,
    over: Arc<AtomicBool>,
    renewing: JoinSet<u64>,
}

impl Held {
    async fn take(addresses: &[Ipv4Addr]) -> Self {
        let client = Client::new(addresses);
        let node = r#"{"Node":"crew","Address":"10.9.9.9"}"#;
        client.ask("PUT", "/v1/catalog/register", node).await;
        let body = format!(
            r#"{{"Node":"crew","TTL":"{TTL}","NodeChecks":[],"LockDelay":"0s","Name":"held"}}"#
        );
        let made = client.ask("PUT", "/v1/session/create", &body).await;
        let session = made["ID"].as_str().expect("an id").to_owned();
        let taken = client.ask("PUT", &format!("/v1/kv/held?acquire={session}"), "mine").await;
        assert_eq!(taken, true);
        let over = Arc::new(AtomicBool::new(false));
        let (told, path) = (Arc::clone(&over), format!("/v1/session/renew/{session}"));
        let mut renewing = JoinSet::new();
        renewing.spawn(async move {
            let mut count = 0;
            while !told.load(Ordering::Relaxed) {
                // A session that has ended would be answered with 404.
                client.ask("PUT", &path, "").await;
                count += 1;
                sleep(RENEWAL).await;
            }
            count
        });
        Self { session, over, renewing }
    }

    /// Stops renewing; the lock must have been held all the time, by this session.
    async fn judge(self, addresses: &[Ipv4Addr]) {
        self.over.store(true, Ordering::Relaxed);
        let renewals: u64 = self.renewing.join_all().await.iter().sum();
        let client = Client::new(addresses);
        let entry = client.ask("GET", "/v1/kv/held?consistent", "").await;
        assert_eq!(entry[0]["Session"], self.session.as_str(), "{entry}");
        assert_eq!(entry[0]["LockIndex"], 1, "somebody else held the lock: {entry}");
        println!("rolling: the lock was held over {renewals} renewals of a TTL of {TTL}");
        if setting("PORTOLAN_ROLLING_ROUNDS").is_none() {
            return;
        }
        // It is a session like others: once nobody renews it, it ends.
        let ended = || async {
            let found = client.ask("GET", &format!("/v1/session/info/{}", self.session), "").await;
            found.as_array().is_some_and(Vec::is_empty).then_some(())
        };
        until("the session ends", LIMIT, ended).await;
    }
}

fn three() -> Vec<Ipv4Addr> {
    (0..3).map(|_| free_address()).collect()
}

/// Takes about half a minute with the program built for debugging.
#[tokio::test(flavor = "multi_thread")]
async fn all_servers_restarted_and_replaced_one_at_a_time() {
    let name = "all_servers_restarted_and_replaced_one_at_a_time";
    if is_consul() {
        return skip(name, "the real Consul has no hash of its state");
    }
    let _turn = alone().await;
    let rounds = setting("PORTOLAN_ROLLING_ROUNDS");
    let rounds: usize = rounds.map_or(1, |text| text.parse().expect("a number of rounds"));
    let rolled = Rolled { folder: TempDir::new().expect("a temporary folder") };
    let mut now = three();
    rolled.run("start", &now).await;
    // What clients know: the servers that there are, and those that will be.
    let mut known = now.clone();
    let fresh: Vec<Vec<Ipv4Addr>> = (0..rounds).map(|_| three()).collect();
    known.extend(fresh.iter().flatten());
    let held = Held::take(&known).await;
    let load = Load::start(WRITERS, &known);
    for next in fresh {
        rolled.run("restart", &[]).await;
        load.goes_on(200).await;
        rolled.run("replace", &next).await;
        now = next;
        load.goes_on(200).await;
    }
    let record = load.stop().await;
    println!("rolling: {}", record.figures());
    record.judge(&now).await;
    held.judge(&now).await;
}
