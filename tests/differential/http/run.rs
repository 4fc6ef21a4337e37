//! The runner: starts both programs, sends each row to both, reports all that differs at once.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::future::join;
use tokio::sync::RwLockReadGuard;

use crate::harness::{
    Agent, Http, Reply, Shape, beside_others, free_address, is_consul, program, rest, say, skip,
    until,
};
use crate::real_clients::peers;

use super::ask::{Ask, Keep, Payload};
use super::compare::{Answer, Difference, Kept, differences};
use super::intended::Intended;

/// How long a row that may take a while is asked again.
const SOON: Duration = Duration::from_secs(5);
/// How long both may take to know themselves.
const START_LIMIT: Duration = Duration::from_secs(30);

/// One of the two programs: its agent, a client for it, and what rows kept of its answers.
struct Side {
    agent: Agent,
    http: Http,
    kept: Kept,
    /// The server that the agent asks, where it is none itself.
    _server: Option<Agent>,
}

/// What is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Where {
    /// A single server.
    Server,
    /// An agent without a server, in front of one.
    Agent,
}

/// Both programs, and what was seen so far.
pub(super) struct Pair {
    section: &'static str,
    wide: &'static [&'static Intended],
    theirs: Side,
    ours: Side,
    asked: usize,
    wrong: Vec<String>,
    seen: BTreeMap<&'static str, (usize, &'static str)>,
    /// Tests that measure wait until this one is done.
    _turn: RwLockReadGuard<'static, ()>,
}

/// Sends a section's rows to both programs, in order, and panics with all that differs.
///
/// `wide` are the differences that any row of the section may show; each must show somewhere.
pub(super) async fn compare(
    section: &'static str,
    rows: &[Ask],
    wide: &'static [&'static Intended],
) {
    let Some(mut pair) = Pair::start(section, wide, &[]).await else { return };
    pair.ask_all(rows).await;
    pair.end();
}

/// As [`compare`], and then once more with agents without a server, each in front of a server of
/// its own program.
pub(super) async fn compare_also_at_agents(
    section: &'static str,
    rows: &[Ask],
    wide: &'static [&'static Intended],
) {
    compare(section, rows, wide).await;
    let Some(mut pair) = Pair::start_at(Where::Agent, section, wide, &[]).await else { return };
    pair.ask_all(rows).await;
    pair.end();
}

impl Pair {
    /// Starts both with the same name and the same settings; `None`, said loudly, without Consul.
    pub(super) async fn start(
        section: &'static str,
        wide: &'static [&'static Intended],
        settings: &[&str],
    ) -> Option<Self> {
        Self::start_at(Where::Server, section, wide, settings).await
    }

    async fn start_at(
        place: Where,
        section: &'static str,
        wide: &'static [&'static Intended],
        settings: &[&str],
    ) -> Option<Self> {
        let consul: PathBuf = peers().join("usr/bin/consul");
        if !consul.exists() {
            let why = format!("no real Consul at {}; run tests/peers/get", consul.display());
            skip(&format!("differential::http::{section}"), &why);
            return None;
        }
        let turn = beside_others().await;
        let both =
            join(Side::start(place, consul, settings), Side::start(place, program(), settings));
        let (theirs, ours) = both.await;
        let (asked, wrong, seen) = (0, Vec::new(), BTreeMap::new());
        Some(Self { section, wide, theirs, ours, asked, wrong, seen, _turn: turn })
    }

    /// The clients of the real Consul and of ours.
    pub(super) fn clients(&self) -> [&Http; 2] {
        [&self.theirs.http, &self.ours.http]
    }

    /// The agents of the real Consul and of ours.
    pub(super) fn agents(&self) -> [&Agent; 2] {
        [&self.theirs.agent, &self.ours.agent]
    }

    /// Sends the rows, in order.
    pub(super) async fn ask_all(&mut self, rows: &[Ask]) {
        for row in rows {
            let found = self.ask(row).await;
            self.judge(row, found);
        }
    }

    /// Sends a row to both and gives what differs; again, if the row says so.
    async fn ask(&mut self, row: &Ask) -> Vec<Difference> {
        let deadline = tokio::time::Instant::now() + SOON;
        loop {
            let (theirs, ours) = join(self.theirs.answer(row), self.ours.answer(row)).await;
            let found = differences(&theirs, &ours);
            let wanted = |one: &Difference| self.intent(row, one).is_some();
            let settled = found.iter().all(wanted);
            if settled || !row.soon || tokio::time::Instant::now() > deadline {
                return found;
            }
            rest().await;
        }
    }

    /// Why a difference is as we want it, if it is.
    fn intent(&self, row: &Ask, difference: &Difference) -> Option<&'static Intended> {
        if is_consul() {
            return None;
        }
        let mut all = row.differs.iter().chain(self.wide).copied();
        all.find(|one| one.covers(row.method, difference))
    }

    /// Takes down what is not intended, and what was intended and is not there.
    fn judge(&mut self, row: &Ask, found: Vec<Difference>) {
        self.asked += 1;
        let mut lines = Vec::new();
        let mut met: Vec<&str> = Vec::new();
        for one in found {
            if let Some(intended) = self.intent(row, &one) {
                met.push(intended.name);
                continue;
            }
            let Difference { place, theirs, ours } = one;
            lines.push(format!("    {place}\n      consul: {theirs}\n      ours:   {ours}"));
        }
        let stale = row.differs.iter().filter(|one| !met.contains(&one.name) && !is_consul());
        lines.extend(stale.map(|one| format!("    no longer differs as \"{}\" says", one.name)));
        for intended in row.differs.iter().chain(self.wide) {
            if met.contains(&intended.name) {
                self.seen.entry(intended.name).or_insert((0, intended.reason)).0 += 1;
            }
        }
        if !lines.is_empty() {
            let head = format!("  {} {}{}", row.method, row.path, shown(row.body));
            self.wrong.push(format!("{head}\n{}", lines.join("\n")));
        }
    }

    /// Takes down a difference that a test found by itself.
    pub(super) fn same<T: PartialEq + std::fmt::Debug>(
        &mut self,
        what: &str,
        theirs: &T,
        ours: &T,
    ) {
        self.asked += 1;
        if theirs != ours {
            self.wrong.push(format!("  {what}\n      consul: {theirs:?}\n      ours:   {ours:?}"));
        }
    }

    /// Prints the intended differences that were seen, and panics if there are others.
    pub(super) fn end(mut self) {
        let mut list = format!("differential::http::{}: {} asked", self.section, self.asked);
        for (name, (times, reason)) in &self.seen {
            write!(list, "\n  differs on purpose, {times}x: {name}: {reason}").expect("memory");
        }
        say(&list);
        let wide = self.wide.iter().filter(|one| !self.seen.contains_key(one.name));
        let gone = wide.map(|one| format!("  nothing differs as \"{}\" says", one.name));
        let gone: Vec<String> = gone.filter(|_| !is_consul()).collect();
        self.wrong.extend(gone);
        let (section, failed, asked) = (self.section, self.wrong.len(), self.asked);
        let text = self.wrong.join("\n");
        assert!(failed == 0, "{section}: {failed} of {asked} are answered otherwise\n{text}\n");
    }
}

fn shown(body: Payload) -> String {
    match body {
        Payload::Text("") => String::new(),
        Payload::Text(text) => format!(" {text}"),
        Payload::Fill(bytes) => format!(" ({bytes} bytes)"),
        Payload::Chunked(bytes) => format!(" ({bytes} bytes in chunks)"),
    }
}

/// An agent without a server, and the server that it asks.
async fn in_front_of_a_server(program: &Path, settings: &[&str]) -> (Agent, Agent) {
    let quick = "performance { raft_multiplier = 1 }";
    let settings: Vec<&str> = settings.iter().copied().chain([quick]).collect();
    let at = free_address();
    let shape = Shape::Server { expect: 1, join: Vec::new() };
    let server = Agent::new("s1", at, &shape, &settings);
    let mut server = server.with_program(program.to_owned());
    server.start();
    let shape = Shape::Client { join: vec![at] };
    let agent = Agent::new("n1", free_address(), &shape, &settings);
    let mut agent = agent.with_program(program.to_owned());
    agent.start();
    agent.serving().await;
    (agent, server)
}

impl Side {
    async fn start(place: Where, program: PathBuf, settings: &[&str]) -> Self {
        let (agent, server) = match place {
            Where::Server => (Agent::dev_of(program, settings).await, None),
            Where::Agent => {
                let (agent, server) = in_front_of_a_server(&program, settings).await;
                (agent, Some(server))
            }
        };
        let http = agent.http();
        // Both write their own node, and judge it, in their own time; the rows want that done.
        let known = || async {
            let health = http.try_get("/v1/health/node/n1").await.ok()?;
            let services = http.try_get("/v1/catalog/node/n1").await.ok()?;
            let judged = http.try_get("/v1/operator/autopilot/health").await.ok()?;
            let there = judged.status == 200
                && health.text().contains("serfHealth")
                && services.text().contains("consul-network-segment");
            there.then_some(())
        };
        until("the node is in its own catalogue", START_LIMIT, known).await;
        let mut kept = Kept::from([("ip".to_owned(), agent.address().to_string())]);
        if let Some(server) = &server {
            kept.insert("server-ip".to_owned(), server.address().to_string());
        }
        let own = http.get("/v1/agent/self").await.json();
        let id = own["Config"]["NodeID"].as_str().expect("the node has an id");
        kept.insert("node-id".to_owned(), id.to_owned());
        Self { agent, http, kept, _server: server }
    }

    async fn answer(&mut self, row: &Ask) -> Answer {
        let reply = self.send(row).await;
        if let Some((name, place)) = row.keep {
            let value = match place {
                Keep::Header(header) => reply.header(header).map(str::to_owned),
                Keep::At(pointer) => serde_json::from_slice::<serde_json::Value>(&reply.body)
                    .ok()
                    .and_then(|json| json.pointer(pointer).cloned())
                    .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)),
            };
            // A value that did not come shows as a difference of this row or of those that use it.
            self.kept.insert(name.to_owned(), value.unwrap_or_else(|| "none".to_owned()));
        }
        Answer::of(&reply, row, &self.kept)
    }

    async fn send(&self, row: &Ask) -> Reply {
        let path = self.filled(row.path);
        let sent: Vec<(&str, String)> =
            row.sent.iter().map(|(name, value)| (*name, self.filled(value))).collect();
        let sent: Vec<(&str, &str)> =
            sent.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let reply = match row.body {
            Payload::Text(text) => {
                self.http.send(row.method, &path, &sent, &self.filled(text)).await
            }
            Payload::Fill(bytes) => {
                self.http.send(row.method, &path, &sent, &"x".repeat(bytes)).await
            }
            Payload::Chunked(bytes) => {
                return self.http.send_chunked(row.method, &path, &"x".repeat(bytes)).await;
            }
        };
        // Consul's handlers panic at some bodies, which closes the connection without a word.
        reply.unwrap_or_else(|error| {
            let body = format!("no answer{}", if error.is_timeout() { " in time" } else { "" });
            Reply { status: 0, headers: BTreeMap::new(), body: body.into(), took: SOON }
        })
    }

    fn filled(&self, text: &str) -> String {
        self.kept.iter().fold(text.to_owned(), |text, (name, value)| {
            text.replace(&format!("{{{name}}}"), value)
        })
    }
}
