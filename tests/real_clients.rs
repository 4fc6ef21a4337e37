//! The real Consul 1.8.7 command line as a judge of our API, against each of three servers.
//!
//! `tests/peers/get` fetches it into `$PEERS` (by default `~/.cache/portolan-peers`).

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use futures::future::join_all;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

use crate::harness::{Agent, Cluster, Shape, alone, free_address, program, setting, skip, until};

/// How long one command may take.
const COMMAND_LIMIT: Duration = Duration::from_mins(1);
const LIMIT: Duration = Duration::from_secs(20);

/// Where the fetched peers lie.
pub(crate) fn peers() -> PathBuf {
    let home = || PathBuf::from(setting("HOME").unwrap_or_default());
    setting("PEERS").map_or_else(|| home().join(".cache/portolan-peers"), PathBuf::from)
}

/// The real command line, pointed at one server.
pub(crate) struct Cli<'a> {
    pub(crate) program: PathBuf,
    pub(crate) server: &'a Agent,
}

/// What a command printed, and how it ended.
struct Printed {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Cli<'_> {
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(words)
            .env("CONSUL_HTTP_ADDR", format!("{}:8500", self.server.address()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    async fn run_with(&self, words: &[&str], input: &str) -> Printed {
        let mut child = self.command(words).spawn().expect("the real consul starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        stdin.write_all(input.as_bytes()).await.expect("it takes its input");
        drop(stdin);
        let ended = tokio::time::timeout(COMMAND_LIMIT, child.wait_with_output()).await;
        let ended = ended.unwrap_or_else(|_| panic!("{words:?} does not end"));
        let ended = ended.expect("its output can be read");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim_end().to_owned();
        Printed { code: ended.status.code(), out: text(ended.stdout), err: text(ended.stderr) }
    }

    async fn run(&self, words: &[&str]) -> Printed {
        self.run_with(words, "").await
    }

    /// Runs a command that must succeed; gives what it printed.
    pub(crate) async fn ok(&self, words: &[&str]) -> String {
        let printed = self.run(words).await;
        let Printed { code, out, err } = printed;
        assert_eq!(code, Some(0), "{words:?} at {}: {out} {err}", self.server.name());
        out
    }

    /// Runs a command that must fail with exit code 1; gives what it said.
    pub(crate) async fn fails(&self, words: &[&str]) -> String {
        let printed = self.run(words).await;
        assert_eq!(printed.code, Some(1), "{words:?}: {} {}", printed.out, printed.err);
        format!("{}{}", printed.out, printed.err)
    }

    fn begin(&self, words: &[&str]) -> Child {
        let mut command = self.command(words);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("the real consul starts")
    }
}

#[tokio::test]
async fn the_real_command_line() {
    let program = peers().join("usr/bin/consul");
    if !program.exists() {
        return skip("the_real_command_line", "real Consul CLI not fetched (tests/peers/get)");
    }
    let _turn = alone().await;
    let cluster = Cluster::start().await;
    let folder = TempDir::new().expect("a temporary folder");
    for server in &cluster.servers {
        let cli = Cli { program: program.clone(), server };
        keys(&cli).await;
        conditions(&cli).await;
        export_and_import(&cli).await;
        catalogue(&cli).await;
        operator(&cli, &cluster).await;
        snapshots(&cli, folder.path()).await;
        watches(&cli, folder.path()).await;
    }
    locks(&program, &cluster, folder.path()).await;
    semaphores(&program, &cluster, folder.path()).await;
}

/// The same program, pointed at an agent without a server.
#[tokio::test]
async fn the_real_command_line_at_an_agent() {
    let program = peers().join("usr/bin/consul");
    if !program.exists() {
        let why = "real Consul CLI not fetched (tests/peers/get)";
        return skip("the_real_command_line_at_an_agent", why);
    }
    let _turn = alone().await;
    let cluster = Cluster::start().await;
    let folder = TempDir::new().expect("a temporary folder");
    let join = cluster.servers.iter().map(Agent::address).collect();
    let mut agent = Agent::new("a1", free_address(), &Shape::Client { join }, &[]);
    agent.start();
    agent.serving().await;
    let cli = Cli { program: program.clone(), server: &agent };
    let members = cli.ok(&["members"]).await;
    assert_eq!(members.lines().count(), 5, "{members}");
    let own = members.lines().find(|line| line.starts_with("a1")).expect("a line");
    assert!(own.contains(" alive ") && own.contains(" client "), "{own}");
    let info = cli.ok(&["info"]).await;
    assert!(info.contains("known_servers = 3") && info.contains("server = false"), "{info}");
    let peers = cli.ok(&["operator", "raft", "list-peers"]).await;
    assert_eq!(peers.lines().count(), 4, "{peers}");
    let nodes = cli.ok(&["catalog", "nodes"]).await;
    assert!(nodes.lines().any(|line| line.starts_with("a1")), "{nodes}");
    keys(&cli).await;
    conditions(&cli).await;
    export_and_import(&cli).await;
    snapshots(&cli, folder.path()).await;
    agent.http().done("/v1/agent/service/register", r#"{"Name":"web","Port":80}"#).await;
    watches(&cli, folder.path()).await;
    let script = format!("touch {}", folder.path().join("held").display());
    cli.ok(&["lock", "-child-exit-code", "locks/agent", &script]).await;
    assert!(folder.path().join("held").exists(), "the lock was held");
    let left = cluster.servers[0].http().get("/v1/kv/locks/agent/.lock").await;
    assert_eq!(left.status, 404, "the lock's key is cleaned up");
    assert!(cli.ok(&["leave"]).await.contains("Graceful leave complete"));
}

async fn keys(cli: &Cli<'_>) {
    let base = format!("cli/{}", cli.server.name());
    let (key, tree) = (format!("{base}/a"), format!("{base}/"));
    assert_eq!(
        cli.ok(&["kv", "put", &key, "one"]).await,
        format!("Success! Data written to: {key}")
    );
    assert_eq!(cli.ok(&["kv", "get", &key]).await, "one");
    cli.ok(&["kv", "put", "-flags=42", &key, "two"]).await;
    let detailed = cli.ok(&["kv", "get", "-detailed", &key]).await;
    for wanted in
        ["CreateIndex", "Flags            42", "Value            two", "LockIndex        0"]
    {
        assert!(detailed.contains(wanted), "{detailed}");
    }
    cli.ok(&["kv", "put", "-base64", &format!("{base}/b"), "c2Vh"]).await;
    assert_eq!(cli.ok(&["kv", "get", &format!("{base}/b")]).await, "sea");
    assert_eq!(cli.ok(&["kv", "get", "-base64", &format!("{base}/b")]).await, "c2Vh");
    let stdin = cli.run_with(&["kv", "put", &format!("{base}/c"), "-"], "from stdin").await;
    assert_eq!(stdin.code, Some(0), "{}", stdin.err);
    let all = cli.ok(&["kv", "get", "-recurse", &tree]).await;
    assert_eq!(all, format!("{base}/a:two\n{base}/b:sea\n{base}/c:from stdin"));
    assert_eq!(cli.ok(&["kv", "get", "-keys", &base]).await, tree);
    let names = cli.ok(&["kv", "get", "-keys", "-separator=", &base]).await;
    assert_eq!(names, format!("{base}/a\n{base}/b\n{base}/c"));
    let none = cli.fails(&["kv", "get", "cli/none"]).await;
    assert_eq!(none, "Error! No key exists at: cli/none");
    let gone = cli.ok(&["kv", "delete", &key]).await;
    assert_eq!(gone, format!("Success! Deleted key: {key}"));
    let gone = cli.ok(&["kv", "delete", "-recurse", &tree]).await;
    assert_eq!(gone, format!("Success! Deleted keys with prefix: {tree}"));
    assert_eq!(cli.ok(&["kv", "get", "-recurse", &tree]).await, "");
}

async fn conditions(cli: &Cli<'_>) {
    let key = format!("cas/{}", cli.server.name());
    cli.ok(&["kv", "put", &key, "one"]).await;
    let refused = cli.fails(&["kv", "put", "-cas", "-modify-index=1", &key, "two"]).await;
    assert_eq!(refused, format!("Error! Did not write to {key}: CAS failed"));
    let index =
        cli.server.http().get(&format!("/v1/kv/{key}")).await.json()[0]["ModifyIndex"].clone();
    cli.ok(&["kv", "put", "-cas", &format!("-modify-index={index}"), &key, "two"]).await;
    let stale = format!("-modify-index={index}");
    let refused = cli.fails(&["kv", "delete", "-cas", &stale, &key]).await;
    assert!(refused.starts_with(&format!("Error! Did not delete key {key}")), "{refused}");
    let session = cli.server.http().done("/v1/session/create", r#"{"LockDelay":"0s"}"#).await;
    let session = format!("-session={}", session["ID"].as_str().expect("an id"));
    let taken = cli.ok(&["kv", "put", "-acquire", &session, &key]).await;
    assert_eq!(taken, format!("Success! Lock acquired on: {key}"));
    let freed = cli.ok(&["kv", "put", "-release", &session, &key]).await;
    assert_eq!(freed, format!("Success! Lock released on: {key}"));
}

async fn export_and_import(cli: &Cli<'_>) {
    let base = format!("trip/{}", cli.server.name());
    for (key, value) in [("a", "1"), ("b/c", "line\nline"), ("empty", "")] {
        cli.ok(&["kv", "put", "-flags=7", &format!("{base}/{key}"), value]).await;
    }
    let exported = cli.ok(&["kv", "export", &base]).await;
    let entries: serde_json::Value = serde_json::from_str(&exported).expect("JSON");
    assert_eq!(entries.as_array().map(Vec::len), Some(3));
    assert_eq!(entries[0]["flags"], 7);
    cli.ok(&["kv", "delete", "-recurse", &base]).await;
    let imported = cli.run_with(&["kv", "import", "-"], &exported).await;
    assert_eq!(imported.code, Some(0), "{}", imported.err);
    assert_eq!(imported.out.lines().count(), 3, "{}", imported.out);
    assert_eq!(cli.ok(&["kv", "export", &base]).await, exported);
}

async fn catalogue(cli: &Cli<'_>) {
    let service = r#"{"Name":"web","Port":80,"Tags":["v1","v2"]}"#;
    cli.server.http().done("/v1/agent/service/register", service).await;
    let listed = || async {
        let services = cli.ok(&["catalog", "services"]).await;
        (services == "consul\nweb").then_some(())
    };
    until("the service is listed", LIMIT, listed).await;
    let tags = cli.ok(&["catalog", "services", "-tags"]).await;
    let web = tags.lines().find(|line| line.starts_with("web")).expect("a line for web");
    assert!(web.ends_with("v1,v2"), "{tags}");
    let nodes = cli.ok(&["catalog", "nodes"]).await;
    for name in ["c1", "c2", "c3"] {
        assert!(nodes.lines().any(|line| line.starts_with(name)), "{nodes}");
    }
    let of_service = cli.ok(&["catalog", "nodes", "-service=web"]).await;
    assert!(of_service.lines().any(|line| line.starts_with(cli.server.name())), "{of_service}");
    assert_eq!(cli.ok(&["catalog", "datacenters"]).await, "dc1");
    let own = cli.ok(&["catalog", "services", &format!("-node={}", cli.server.name())]).await;
    assert_eq!(own, "consul\nweb");
}

async fn operator(cli: &Cli<'_>, cluster: &Cluster) {
    let members = cli.ok(&["members"]).await;
    assert_eq!(members.lines().count(), 4, "{members}");
    for server in &cluster.servers {
        let line = members.lines().find(|line| line.starts_with(server.name())).expect("a line");
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(
            words.get(1..4),
            Some(&[&*format!("{}:8301", server.address()), "alive", "server"][..])
        );
    }
    cli.ok(&["members", "-detailed"]).await;
    let peers = cli.ok(&["operator", "raft", "list-peers"]).await;
    assert_eq!(peers.lines().count(), 4, "{peers}");
    let role = |role: &str| peers.lines().filter(|line| line.contains(role)).count();
    assert_eq!((role(" leader "), role(" follower "), role(" true ")), (1, 2, 3), "{peers}");
    cli.ok(&["info"]).await;
}

async fn snapshots(cli: &Cli<'_>, folder: &Path) {
    let file = folder.join(format!("{}.snap", cli.server.name()));
    let file = file.to_str().expect("a name in UTF-8");
    let key = format!("snap/{}", cli.server.name());
    cli.ok(&["kv", "put", &key, "then"]).await;
    let saved = cli.ok(&["snapshot", "save", file]).await;
    assert!(saved.starts_with("Saved and verified snapshot to index "), "{saved}");
    let inspected = cli.ok(&["snapshot", "inspect", file]).await;
    for column in ["ID", "Size", "Index", "Term", "Version"] {
        assert!(inspected.lines().any(|line| line.trim_start().starts_with(column)), "{inspected}");
    }
    cli.ok(&["kv", "put", &key, "later"]).await;
    assert_eq!(cli.ok(&["snapshot", "restore", file]).await, "Restored snapshot");
    assert_eq!(cli.ok(&["kv", "get", &key]).await, "then");
}

async fn watches(cli: &Cli<'_>, folder: &Path) {
    let name = cli.server.name();
    let key = format!("watched/{name}");
    cli.ok(&["kv", "put", &key, "first"]).await;
    let once = cli.ok(&["watch", "-type=key", &format!("-key={key}")]).await;
    assert!(once.contains("\"Value\""), "{once}");
    let (keys, services) =
        (folder.join(format!("{name}.keys")), folder.join(format!("{name}.services")));
    let script = |file: &Path| format!("cat >> {0}; echo >> {0}", file.display());
    let on_key = cli.begin(&["watch", "-type=key", &format!("-key={key}"), &script(&keys)]);
    until("the watch has the first value", LIMIT, || has(&keys, "Zmlyc3Q=")).await;
    cli.ok(&["kv", "put", &key, "second"]).await;
    let ((), took) =
        until("the watch has the second value", LIMIT, || has(&keys, "c2Vjb25k")).await;
    println!("watch -type=key at {name}: told after {took:?}");
    drop(on_key);
    let service = format!("watched-{name}");
    let on_service =
        cli.begin(&["watch", "-type=service", &format!("-service={service}"), &script(&services)]);
    until("the watch has begun", LIMIT, || has(&services, "[]")).await;
    let registration = format!(r#"{{"Name":"{service}","Port":8181}}"#);
    cli.server.http().done("/v1/agent/service/register", &registration).await;
    until("the watch has the instance", LIMIT, || has(&services, "8181")).await;
    drop(on_service);
    cli.server.http().done(&format!("/v1/agent/service/deregister/{service}"), "").await;
    cli.server.http().done("/v1/agent/service/deregister/web", "").await;
    let gone = || async { (cli.ok(&["catalog", "services"]).await == "consul").then_some(()) };
    until("the services are gone", LIMIT, gone).await;
}

/// Whether a file holds a text by now.
async fn has(file: &Path, text: &str) -> Option<()> {
    let held = tokio::fs::read_to_string(file).await.ok()?;
    held.contains(text).then_some(())
}

/// Two holders of a lock at every server, all after the same lock: each adds one to a number in
/// a file, slowly, and notes if it is not alone.
async fn locks(program: &Path, cluster: &Cluster, folder: &Path) {
    let (number, held, overlap) =
        (folder.join("number"), folder.join("held"), folder.join("overlap"));
    std::fs::write(&number, "0").expect("a file");
    let script = format!(
        "mkdir {held} || touch {overlap}; n=$(cat {number}); sleep 0.1; echo $((n+1)) > {number}; rmdir {held}",
        held = held.display(),
        overlap = overlap.display(),
        number = number.display()
    );
    let words = ["lock", "-child-exit-code", "locks/one", &script];
    let clis: Vec<Cli<'_>> = cluster
        .servers
        .iter()
        .flat_map(|server| [server, server])
        .map(|server| Cli { program: program.to_owned(), server })
        .collect();
    join_all(clis.iter().map(|cli| cli.ok(&words))).await;
    let counted = std::fs::read_to_string(&number).expect("the number");
    assert!(!overlap.exists(), "two held the lock at once");
    assert_eq!(counted.trim(), clis.len().to_string());
    let left = cluster.servers[0].http().get("/v1/kv/locks/one/.lock").await;
    assert_eq!(left.status, 404, "the lock's key is cleaned up");
}

/// The real program and ours at every server, all after one of two slots: each leaves a file where
/// it is at work, and notes how many it finds. The first waits for the second, so two are seen.
async fn semaphores(real: &Path, cluster: &Cluster, folder: &Path) {
    let path = |name: &str| folder.join(name);
    let [held, over, both, ran] = ["slots", "over", "both", "ran"].map(path);
    std::fs::create_dir(&held).expect("a folder");
    let script = format!(
        "mine=$(mktemp -p {held}); n=$(ls {held} | wc -l); \
         [ $n -le 2 ] || touch {over}; [ $n -lt 2 ] || touch {both}; \
         i=0; until [ -e {both} ] || [ $i = 300 ]; do i=$((i+1)); sleep 0.1; done; \
         sleep 0.3; rm $mine; echo done >> {ran}",
        held = held.display(),
        over = over.display(),
        both = both.display(),
        ran = ran.display()
    );
    let words = ["lock", "-child-exit-code", "-n=2", "locks/two", &script];
    let clis: Vec<Cli<'_>> = cluster
        .servers
        .iter()
        .flat_map(|server| [(server, real.to_owned()), (server, program())])
        .map(|(server, program)| Cli { program, server })
        .collect();
    join_all(clis.iter().map(|cli| cli.ok(&words))).await;
    assert!(!over.exists(), "more than two held a slot at once");
    assert!(both.exists(), "two never held a slot at once");
    let ran = std::fs::read_to_string(&ran).expect("who ran");
    assert_eq!(ran.lines().count(), clis.len());
    let left = cluster.servers[0].http().get("/v1/kv/locks/two/?recurse").await;
    assert_eq!(left.status, 404, "the semaphore's keys are cleaned up: {}", left.text());
}
