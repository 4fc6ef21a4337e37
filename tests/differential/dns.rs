//! DNS against the real Consul 1.8.7: the same catalog, the same questions, and every record, code
//! and flag compared.
//!
//! What we do otherwise on purpose is a named row with its reason, and must be just so; one that
//! no longer differs fails too. Where Consul shuffles, order does not count.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use futures::future::join;
use hickory_proto::rr::RecordType;

use super::dns_compare::{Ask, Intended, ask, differences};
use super::dns_intended::{CUT_IS_TOLD, ONCE, OPTIONS_COUNT, RECURSION_IS_OFFERED};
use super::dns_questions::{
    ALIASES, CATALOG, CONFIGURED, CROWDS, NODES, ODDITIES, PREPARED, QUERIES, RECURSION,
    SECOND_DOMAIN, SERVICES, THE_REST,
};
use crate::harness::{Agent, Over, beside_others, is_consul, say, skip, until};
use crate::real_clients::peers;

/// How long the agents may take to know themselves.
const START_LIMIT: Duration = Duration::from_secs(30);

/// The real Consul and ours, with what was seen so far.
struct Pair {
    group: &'static str,
    theirs: Agent,
    ours: Agent,
    /// Texts that are of one agent alone, with the word for them: the real one's, then ours.
    masks: [Vec<(String, &'static str)>; 2],
    asked: usize,
    wrong: Vec<String>,
    /// What may differ anywhere, and must somewhere.
    wide: Vec<&'static Intended>,
    seen: BTreeMap<&'static str, (usize, &'static str)>,
}

impl Pair {
    /// Starts both with the same settings; `None`, said loudly, where the real one is not there.
    async fn start(group: &'static str, settings: &[&str]) -> Option<Self> {
        let consul: PathBuf = peers().join("usr/bin/consul");
        if !consul.exists() {
            let why = format!("no real Consul at {}; run tests/peers/get", consul.display());
            skip(&format!("differential::dns::{group}"), &why);
            return None;
        }
        let (theirs, ours) = join(Agent::dev_of(consul, settings), Agent::dev_with(settings)).await;
        let mask = |agent: &Agent| vec![(agent.address().to_string(), "SELF")];
        let masks = [mask(&theirs), mask(&ours)];
        let (asked, wrong, wide, seen) = (0, Vec::new(), Vec::new(), BTreeMap::new());
        let pair = Self { group, theirs, ours, masks, asked, wrong, wide, seen };
        pair.stock().await;
        Some(pair)
    }

    async fn stock(&self) {
        for agent in [&self.theirs, &self.ours] {
            let look = || async {
                let servers = ask("consul.service.consul", RecordType::A);
                let answer = servers.put(agent.address(), Over::Tcp, &[]).await;
                (!answer.answers.is_empty()).then_some(())
            };
            until("the server is in its own catalog", START_LIMIT, look).await;
            for registration in CATALOG {
                let body = registration.replace("LONG", &"x".repeat(200));
                agent.http().done("/v1/catalog/register", &body).await;
            }
        }
    }

    /// Registers the same on both.
    async fn register(&self, registration: &str) {
        for agent in [&self.theirs, &self.ours] {
            agent.http().done("/v1/catalog/register", registration).await;
        }
    }

    /// Makes the prepared queries; the ids of a plain one and of the template are masked.
    async fn prepare(&mut self) {
        for (agent, masks) in [&self.theirs, &self.ours].into_iter().zip(&mut self.masks) {
            for query in QUERIES {
                let reply = agent.http().send("POST", "/v1/query", &[], query).await;
                let reply = reply.expect("an answer");
                assert_eq!(reply.status, 200, "{query}: {}", reply.text());
                let id = reply.json()["ID"].as_str().expect("an id").to_owned();
                if query.contains("\"plain\"") {
                    masks.push((id, "QUERYID"));
                } else if query.contains("Template") {
                    masks.push((id, "TEMPLATEID"));
                }
            }
        }
    }

    /// Puts each question to both, in each of its ways. `wide` may differ anywhere.
    async fn compare(&mut self, questions: &[Ask], wide: &[&'static Intended]) {
        self.wide.extend(wide);
        for row in questions {
            let mut met = Vec::new();
            for over in row.over {
                self.asked += 1;
                met.extend(self.differs_so(row, *over, wide).await);
            }
            let stale = row.differs.filter(|it| !met.iter().any(|met| met.name == it.name));
            if let Some(intended) = stale.filter(|_| !is_consul()) {
                let what = format!("no longer differs as \"{}\" says", intended.name);
                self.wrong.push(format!("{} {}: {what}\n", row.name, row.kind));
            }
            for intended in met {
                self.seen.entry(intended.name).or_insert((0, intended.reason)).0 += 1;
            }
        }
    }

    /// Puts one question to both; what differs on purpose is given, the rest is taken down.
    async fn differs_so(
        &mut self,
        row: &Ask,
        over: Over,
        wide: &[&'static Intended],
    ) -> Vec<&'static Intended> {
        let [of_theirs, of_ours] = &self.masks;
        let (theirs, ours) = join(
            row.put(self.theirs.address(), over, of_theirs),
            row.put(self.ours.address(), over, of_ours),
        )
        .await;
        let (mut met, mut lines) = (Vec::new(), String::new());
        for one in differences(&theirs, &ours) {
            let mut intents = row.differs.iter().chain(wide).copied();
            let fits = |it: &&Intended| it.parts.contains(&one.part) && (it.holds)(&theirs, &ours);
            if let Some(intent) = intents.find(fits).filter(|_| !is_consul()) {
                met.push(intent);
                continue;
            }
            let (part, theirs, ours) = (one.part, one.theirs, one.ours);
            writeln!(lines, "  {part:?}\n    consul {theirs}\n    ours   {ours}").expect("a text");
        }
        if !lines.is_empty() {
            let way = match over {
                Over::Udp => "UDP".to_owned(),
                Over::Edns(bytes) => format!("UDP of {bytes} bytes"),
                Over::Tcp => "TCP".to_owned(),
            };
            self.wrong.push(format!("{} {} over {way}\n{lines}", row.name, row.kind));
        }
        met
    }

    /// Fails with all that differs at once.
    fn end(mut self) {
        let unseen = self.wide.iter().filter(|it| !self.seen.contains_key(it.name));
        let lines = unseen.map(|it| format!("nothing differs as \"{}\" says\n", it.name));
        if !is_consul() {
            self.wrong.extend(lines.collect::<Vec<_>>());
        }
        let mut text = format!("differential::dns::{}: {} questions", self.group, self.asked);
        for (name, (times, reason)) in &self.seen {
            write!(text, "\n  {times} × {name}: {reason}").expect("a text");
        }
        say(&text);
        let wrong = self.wrong;
        assert!(wrong.is_empty(), "{} differ\n{}", wrong.len(), wrong.concat());
    }
}

#[tokio::test]
async fn names() {
    let _turn = beside_others().await;
    let Some(mut pair) = Pair::start("names", &[]).await else { return };
    pair.compare(NODES, &[]).await;
    pair.compare(SERVICES, &[&CUT_IS_TOLD, &ONCE]).await;
    pair.compare(ALIASES, &[&CUT_IS_TOLD]).await;
    pair.compare(THE_REST, &[]).await;
    pair.compare(ODDITIES, &[]).await;
    pair.end();
}

/// Registers services of forty, twenty and three instances.
async fn crowd(pair: &Pair) {
    for at in 11..=50 {
        let tag = if at % 2 == 0 { "ours" } else { "theirs" };
        let many = format!(
            r#"{{"Node":"m{at}","Address":"10.3.0.{at}","Service":{{"Service":"many","Port":{at},
            "Tags":["{tag}"]}}}}"#
        );
        pair.register(&many).await;
    }
    for at in 11..=30 {
        let wordy = format!(
            r#"{{"Node":"wordy-{at}","Address":"10.4.0.{at}","NodeMeta":{{"k":"{}"}},
            "Service":{{"Service":"wordy","Port":{at}}}}}"#,
            "x".repeat(60)
        );
        pair.register(&wordy).await;
    }
    for at in 1..=3 {
        let few = format!(
            r#"{{"Node":"few-{at}","Address":"10.5.0.{at}","Service":{{"Service":"few","Port":{at},
            "Address":"10.5.1.{at}"}}}}"#
        );
        pair.register(&few).await;
    }
}

#[tokio::test]
async fn sizes() {
    let _turn = beside_others().await;
    let Some(mut pair) = Pair::start("sizes", &[]).await else { return };
    crowd(&pair).await;
    pair.compare(CROWDS, &[&CUT_IS_TOLD]).await;
    pair.end();
}

#[tokio::test]
async fn sizes_with_a_word() {
    let _turn = beside_others().await;
    let settings = ["dns_config { enable_truncate = true udp_answer_limit = 5 }"];
    let Some(mut pair) = Pair::start("sizes_with_a_word", &settings).await else { return };
    crowd(&pair).await;
    pair.compare(CROWDS, &[&OPTIONS_COUNT]).await;
    pair.end();
}

#[tokio::test]
async fn settings() {
    let _turn = beside_others().await;
    let settings = ["dns_config { node_ttl = \"7s\" only_passing = true a_record_limit = 4
        disable_compression = true enable_truncate = true
        enable_additional_node_meta_txt = false
        soa { refresh = 1 retry = 2 expire = 3 min_ttl = 30 }
        service_ttl { \"*\" = \"3s\" \"we*\" = \"5s\" \"six\" = \"6s\" \"six-*\" = \"8s\" } }"];
    let Some(mut pair) = Pair::start("settings", &settings).await else { return };
    crowd(&pair).await;
    pair.compare(CONFIGURED, &[]).await;
    pair.end();
}

#[tokio::test]
async fn a_second_domain() {
    let _turn = beside_others().await;
    let settings = ["alt_domain = \"harbour.example\""];
    let Some(mut pair) = Pair::start("a_second_domain", &settings).await else { return };
    pair.compare(SECOND_DOMAIN, &[]).await;
    pair.end();
}

/// Both ask the same agent of ours, which has another domain, behind one that does not answer.
#[tokio::test]
async fn recursors() {
    let _turn = beside_others().await;
    let upstream = Agent::dev_with(&["domain = \"example.com\""]).await;
    for registration in CATALOG {
        upstream.http().done("/v1/catalog/register", registration).await;
    }
    let settings = format!(
        "recursors = [\"127.0.0.1:1\", \"{}:8600\"] dns_config {{ recursor_timeout = \"1s\" }}",
        upstream.address()
    );
    let Some(mut pair) = Pair::start("recursors", &[&settings]).await else { return };
    pair.register(
        r#"{"Node":"e2","Address":"10.0.0.2","Service":{"Service":"up","Port":1,
        "Address":"e1.node.example.com"}}"#,
    )
    .await;
    pair.compare(RECURSION, &[&RECURSION_IS_OFFERED]).await;
    pair.end();
}

#[tokio::test]
async fn prepared_queries() {
    let _turn = beside_others().await;
    let Some(mut pair) = Pair::start("prepared_queries", &[]).await else { return };
    pair.prepare().await;
    pair.compare(PREPARED, &[]).await;
    pair.end();
}
