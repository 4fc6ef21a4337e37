//! The DNS door: names, types, sections, codes, sizes.

use std::time::Duration;

use hickory_proto::rr::RecordType;

use crate::harness::{
    Agent, Asked, Over, Shape, ask, beside_others, free_address, is_consul, until,
};

/// A question, and what has to be answered: code and sorted answer lines.
struct Row {
    name: &'static str,
    kind: RecordType,
    code: &'static str,
    answers: &'static [&'static str],
}

const fn row(
    name: &'static str,
    kind: RecordType,
    code: &'static str,
    answers: &'static [&'static str],
) -> Row {
    Row { name, kind, code, answers }
}

const OK: &str = "NOERROR";
const NO_NAME: &str = "NXDOMAIN";

const ROWS: &[Row] = &[
    row("e1.node.consul.", RecordType::A, OK, &["A 10.0.0.1"]),
    row("e1.node.dc1.consul.", RecordType::A, OK, &["A 10.0.0.1"]),
    row("E1.Node.CONSUL.", RecordType::A, OK, &["A 10.0.0.1"]),
    row("e1.node.consul.", RecordType::AAAA, OK, &[]),
    row("e6.node.consul.", RecordType::AAAA, OK, &["AAAA fd00::6"]),
    row("e1.node.consul.", RecordType::TXT, OK, &["TXT rack=r1"]),
    row("none.node.consul.", RecordType::A, NO_NAME, &[]),
    row("e1.node.dc9.consul.", RecordType::A, NO_NAME, &[]),
    row("dotted.name.node.consul.", RecordType::A, OK, &["A 10.0.0.7"]),
    row("web.service.consul.", RecordType::A, OK, &["A 10.0.0.1", "A 10.9.9.9"]),
    row("web.service.dc1.consul.", RecordType::A, OK, &["A 10.0.0.1", "A 10.9.9.9"]),
    row("web.service.consul.", RecordType::AAAA, OK, &[]),
    row("v1.web.service.consul.", RecordType::A, OK, &["A 10.0.0.1"]),
    row("V1.WEB.service.consul.", RecordType::A, OK, &["A 10.0.0.1"]),
    row("v9.web.service.consul.", RecordType::A, NO_NAME, &[]),
    row("dot.ted.web.service.consul.", RecordType::A, OK, &["A 10.9.9.9"]),
    row(
        "web.service.consul.",
        RecordType::SRV,
        OK,
        &["SRV 1 1 81 0a090909.addr.dc1.consul.", "SRV 1 7 80 e1.node.dc1.consul."],
    ),
    row("v1.web.service.consul.", RecordType::SRV, OK, &["SRV 1 7 80 e1.node.dc1.consul."]),
    row(
        "_web._tcp.service.consul.",
        RecordType::SRV,
        OK,
        &["SRV 1 1 81 0a090909.addr.dc1.consul.", "SRV 1 7 80 e1.node.dc1.consul."],
    ),
    row(
        "_web._tcp.consul.",
        RecordType::SRV,
        OK,
        &["SRV 1 1 81 0a090909.addr.dc1.consul.", "SRV 1 7 80 e1.node.dc1.consul."],
    ),
    row("_web._v1.service.consul.", RecordType::SRV, OK, &["SRV 1 7 80 e1.node.dc1.consul."]),
    row("_web._v1.service.dc1.consul.", RecordType::SRV, OK, &["SRV 1 7 80 e1.node.dc1.consul."]),
    row("_web._udp.service.consul.", RecordType::SRV, NO_NAME, &[]),
    row("_none._tcp.service.consul.", RecordType::SRV, NO_NAME, &[]),
    row("none.service.consul.", RecordType::A, NO_NAME, &[]),
    row("none.service.consul.", RecordType::SRV, NO_NAME, &[]),
    row("sick.service.consul.", RecordType::A, NO_NAME, &[]),
    row("tired.service.consul.", RecordType::SRV, OK, &["SRV 1 2 90 e1.node.dc1.consul."]),
    row("web.service.dc9.consul.", RecordType::A, NO_NAME, &[]),
    row("0a090909.addr.dc1.consul.", RecordType::A, OK, &["A 10.9.9.9"]),
    row("0a090909.addr.consul.", RecordType::A, OK, &["A 10.9.9.9"]),
    row("fd000000000000000000000000000006.addr.consul.", RecordType::AAAA, OK, &["AAAA fd00::6"]),
    row("1.0.0.10.in-addr.arpa.", RecordType::PTR, OK, &["PTR e1.node.dc1.consul."]),
    row("9.9.9.10.in-addr.arpa.", RecordType::PTR, OK, &["PTR web.service.dc1.consul."]),
    row("consul.", RecordType::SOA, OK, &["SOA ns.consul. hostmaster.consul."]),
    row("consul.", RecordType::NS, OK, &["NS n1.node.dc1.consul."]),
    row("tired.query.consul.", RecordType::A, NO_NAME, &[]),
    row("both.service.consul.", RecordType::A, OK, &["A 10.1.1.1"]),
    row("both.service.consul.", RecordType::AAAA, OK, &["AAAA fd00::10"]),
    row(
        "both.service.consul.",
        RecordType::SRV,
        OK,
        &["SRV 1 1 10 fd000000000000000000000000000010.addr.dc1.consul."],
    ),
    row("both.node.consul.", RecordType::A, OK, &["A 10.1.1.1"]),
    row("self.service.consul.", RecordType::A, OK, &["A 10.0.0.2"]),
    row("self.service.consul.", RecordType::SRV, OK, &["SRV 1 1 16 e2.node.dc1.consul."]),
    row("hosted.service.consul.", RecordType::MX, OK, &["CNAME host.example.com."]),
    row("odd.service.consul.", RecordType::SRV, OK, &["SRV 1 1 91 e1.node.dc1.consul."]),
    row("what.is.this.consul.", RecordType::A, NO_NAME, &[]),
    row("consul.service.consul.", RecordType::SRV, OK, &["SRV 1 1 8300 n1.node.dc1.consul."]),
    row("example.com.", RecordType::A, "REFUSED", &[]),
];

const REGISTRATIONS: &[&str] = &[
    r#"{"Node":"e1","Address":"10.0.0.1","NodeMeta":{"rack":"r1"},"Service":{"ID":"w1","Service":"web",
    "Port":80,"Tags":["v1"],"Weights":{"Passing":7,"Warning":2}}}"#,
    r#"{"Node":"e2","Address":"10.0.0.2","Service":{"ID":"w2","Service":"web","Port":81,
    "Address":"10.9.9.9","Tags":["dot.ted"]}}"#,
    r#"{"Node":"e2","Address":"10.0.0.2","Service":{"ID":"w3","Service":"web","Port":82},
    "Check":{"CheckID":"c","Name":"c","ServiceID":"w3","Status":"critical"}}"#,
    r#"{"Node":"e2","Address":"10.0.0.2","Service":{"ID":"s1","Service":"sick","Port":83},
    "Check":{"CheckID":"s","Name":"s","ServiceID":"s1","Status":"critical"}}"#,
    r#"{"Node":"e1","Address":"10.0.0.1","NodeMeta":{"rack":"r1"},"Service":{"ID":"t1","Service":"tired","Port":90,
    "Weights":{"Passing":7,"Warning":2}},
    "Check":{"CheckID":"t","Name":"t","ServiceID":"t1","Status":"warning"}}"#,
    r#"{"Node":"e6","Address":"fd00::6"}"#,
    r#"{"Node":"both","Address":"10.0.0.10","TaggedAddresses":{"lan_ipv4":"10.1.1.1",
    "lan_ipv6":"fd00::10"},"Service":{"Service":"both","Port":10}}"#,
    r#"{"Node":"e2","Address":"10.0.0.2","Service":{"Service":"self","Port":16,
    "Address":"self.service.consul"}}"#,
    r#"{"Node":"host","Address":"host.example.com","Service":{"Service":"hosted","Port":12}}"#,
    r#"{"Node":"e1","Address":"10.0.0.1","NodeMeta":{"rack":"r1"},"Service":{"ID":"o1","Service":"odd","Port":91,
    "Weights":{"Passing":7,"Warning":2}},
    "Check":{"CheckID":"o","Name":"o","ServiceID":"o1","Status":"sleepy"}}"#,
    r#"{"Node":"dotted.name","Address":"10.0.0.7"}"#,
];

async fn asked(agent: &Agent, name: &str, kind: RecordType, over: Over) -> Asked {
    let answer = ask(agent.address(), name, kind, over).await;
    answer.unwrap_or_else(|| panic!("no answer to {kind} {name}"))
}

async fn stocked(fragments: &[&str]) -> Agent {
    let agent = Agent::dev_with(fragments).await;
    for registration in REGISTRATIONS {
        agent.http().done("/v1/catalog/register", registration).await;
    }
    agent
}

#[tokio::test]
async fn names() {
    let _turn = beside_others().await;
    let agent = stocked(&[]).await;
    // The servers' own service is written by the leader, a moment after it begins to lead.
    let servers = || async {
        let answer = asked(&agent, "consul.service.consul.", RecordType::A, Over::Udp).await;
        (!answer.answers().is_empty()).then_some(())
    };
    until("the servers are in the catalogue", Duration::from_secs(10), servers).await;
    let mut wrong = Vec::new();
    for row in ROWS {
        for over in [Over::Udp, Over::Edns(1232), Over::Tcp] {
            let answer = asked(&agent, row.name, row.kind, over).await;
            let there = (answer.code(), answer.answers());
            if there.0 != row.code || there.1 != row.answers {
                wrong.push(format!(
                    "{} {}: {there:?}, not {} {:?}",
                    row.kind, row.name, row.code, row.answers
                ));
            }
            if !answer.message.metadata.authoritative && row.code != "REFUSED" {
                wrong.push(format!("{} {}: not authoritative", row.kind, row.name));
            }
        }
    }
    wrong.dedup();
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[tokio::test]
async fn sections() {
    let _turn = beside_others().await;
    let agent = stocked(&[]).await;
    let srv = asked(&agent, "web.service.consul.", RecordType::SRV, Over::Edns(1232)).await;
    let addresses: Vec<String> =
        srv.additional().into_iter().filter(|line| line.starts_with("A ")).collect();
    assert_eq!(addresses, ["A 10.0.0.1", "A 10.9.9.9"], "every target has its address");
    let size = srv.message.edns.as_ref().map(hickory_proto::op::Edns::max_payload);
    assert_eq!(size, Some(1232), "the offered size is echoed");
    for (name, kind) in
        [("none.service.consul.", RecordType::A), ("web.service.consul.", RecordType::AAAA)]
    {
        let none = asked(&agent, name, kind, Over::Udp).await;
        assert_eq!(none.authority(), ["SOA ns.consul. hostmaster.consul."], "{kind} {name}");
    }
    let cased = asked(&agent, "wEb.SERVICE.consul.", RecordType::A, Over::Udp).await;
    let question = cased.message.queries.first().expect("the question is echoed");
    assert_eq!(question.name().to_ascii(), "wEb.SERVICE.consul.");
    assert!(!cased.message.metadata.recursion_available, "without recursors there is no recursion");
    assert!(cased.message.answers.iter().all(|record| record.ttl == 0));
}

/// Without EDNS at most three answers come by datagram; by stream all of them.
#[tokio::test]
async fn many_instances() {
    let _turn = beside_others().await;
    let agent = Agent::dev_with(&["dns_config { enable_truncate = true }"]).await;
    for nth in 1..=40 {
        let instance = format!(
            r#"{{"Node":"m{nth}","Address":"10.3.0.{nth}","Service":{{"Service":"many","Port":{nth}}}}}"#
        );
        agent.http().done("/v1/catalog/register", &instance).await;
    }
    let name = "many.service.consul.";
    let plain = asked(&agent, name, RecordType::A, Over::Udp).await;
    assert_eq!(plain.answers().len(), 3);
    assert!(plain.message.metadata.truncation, "what was left out is said");
    let srv = asked(&agent, name, RecordType::SRV, Over::Udp).await;
    assert!(srv.bytes <= 512, "{} bytes", srv.bytes);
    let roomy = asked(&agent, name, RecordType::SRV, Over::Edns(1232)).await;
    assert!(roomy.bytes <= 1232, "{} bytes", roomy.bytes);
    assert!(roomy.answers().len() > 3, "{}", roomy.answers().len());
    assert!(roomy.message.metadata.truncation);
    let stream = asked(&agent, name, RecordType::SRV, Over::Tcp).await;
    assert_eq!(stream.answers().len(), 40);
    assert!(!stream.message.metadata.truncation);
    let first =
        |answer: Asked| answer.message.answers.first().map(|record| record.data.to_string());
    let mut firsts = std::collections::BTreeSet::new();
    for _ in 0..20 {
        firsts.insert(first(asked(&agent, name, RecordType::A, Over::Tcp).await));
    }
    assert!(firsts.len() > 1, "the order is the same every time");
}

#[tokio::test]
async fn configured() {
    let _turn = beside_others().await;
    let agent = stocked(&[
        "dns_config { node_ttl = \"7s\" only_passing = true service_ttl { \"*\" = \"3s\" \"we*\" = \"5s\" } }",
        "domain = \"harbour\"",
    ])
    .await;
    let ttl = |answer: &Asked| answer.message.answers.first().map(|record| record.ttl);
    let node = asked(&agent, "e1.node.harbour.", RecordType::A, Over::Udp).await;
    assert_eq!(ttl(&node), Some(7));
    let web = asked(&agent, "web.service.harbour.", RecordType::A, Over::Udp).await;
    assert_eq!(ttl(&web), Some(5));
    let servers = asked(&agent, "consul.service.harbour.", RecordType::A, Over::Udp).await;
    assert_eq!(ttl(&servers), Some(3));
    let tired = asked(&agent, "tired.service.harbour.", RecordType::A, Over::Udp).await;
    assert_eq!(tired.code(), NO_NAME);
    let old = asked(&agent, "web.service.consul.", RecordType::A, Over::Udp).await;
    assert_eq!(old.code(), "REFUSED");
}

/// What `dns_config` says is taken up by a reload, also for answers that were given before.
#[tokio::test]
async fn reloaded() {
    let _turn = beside_others().await;
    let file = tempfile::Builder::new().suffix(".json").tempfile().expect("a file");
    let write = |text: &str| std::fs::write(file.path(), text).expect("a write");
    write(r#"{"dns_config":{"service_ttl":{"*":"3s"}}}"#);
    let shape = Shape::Server { expect: 1, join: Vec::new() };
    let mut agent = Agent::new("n1", free_address(), &shape, &[]).with_file(file.path());
    agent.start();
    agent.serving().await;
    for registration in REGISTRATIONS {
        agent.http().done("/v1/catalog/register", registration).await;
    }
    let ttl = |answer: &Asked| answer.message.answers.first().map(|record| record.ttl);
    let name = "web.service.consul.";
    assert_eq!(ttl(&asked(&agent, name, RecordType::A, Over::Udp).await), Some(3));
    let outside = asked(&agent, "example.com.", RecordType::A, Over::Udp).await;
    assert_eq!(outside.code(), "REFUSED");
    write(
        r#"{"dns_config":{"service_ttl":{"web":"9s"},"only_passing":true,"recursor_timeout":"100ms"},
        "recursors":["127.0.0.1:1"]}"#,
    );
    agent.http().done("/v1/agent/reload", "").await;
    assert_eq!(ttl(&asked(&agent, name, RecordType::A, Over::Udp).await), Some(9));
    let tired = asked(&agent, "tired.service.consul.", RecordType::A, Over::Udp).await;
    assert_eq!(tired.code(), NO_NAME);
    let outside = asked(&agent, "example.com.", RecordType::A, Over::Udp).await;
    assert_eq!(outside.code(), "SERVFAIL", "there is a recursor now, and it does not answer");
}

/// An answer that was asked for before shows every change at once: a check, a weight, an address,
/// a node's metadata, an end.
#[tokio::test]
async fn answers_follow_the_catalog_at_once() {
    let _turn = beside_others().await;
    let agent = Agent::dev().await;
    let http = agent.http();
    let see = async || {
        let answer = asked(&agent, "live.service.consul.", RecordType::SRV, Over::Tcp).await;
        [answer.answers(), answer.additional()].concat()
    };
    let register = |node: &str, more: &str, service: &str| {
        format!(
            r#"{{"Node":"l1","Address":"{node}",{more}"Service":{{"Service":"live",{service}}}}}"#
        )
    };
    let weights = r#""Port":2,"Weights":{"Passing":5,"Warning":1}"#;
    let meta = r#""NodeMeta":{"k":"v"},"#;
    let check = r#"{"Node":"l1","Address":"10.0.0.2","SkipNodeUpdate":true,
        "Check":{"CheckID":"c","Name":"c","ServiceID":"live","Status":"critical"}}"#;
    let (first, second) = ("SRV 1 1 1 l1.node.dc1.consul.", "SRV 1 1 2 l1.node.dc1.consul.");
    let heavy = "SRV 1 5 2 l1.node.dc1.consul.";
    let steps: &[(&str, String, &[&str])] = &[
        ("an instance", register("10.0.0.1", "", r#""Port":1"#), &[first, "A 10.0.0.1"]),
        ("its port", register("10.0.0.1", "", r#""Port":2"#), &[second, "A 10.0.0.1"]),
        ("its weight", register("10.0.0.1", "", weights), &[heavy, "A 10.0.0.1"]),
        ("its node's address", register("10.0.0.2", "", weights), &[heavy, "A 10.0.0.2"]),
        (
            "its node's metadata",
            register("10.0.0.2", meta, weights),
            &[heavy, "A 10.0.0.2", "TXT k=v"],
        ),
        ("a check that fails", check.to_owned(), &[]),
    ];
    for (what, registration, want) in steps {
        http.done("/v1/catalog/register", registration).await;
        for _ in 0..2 {
            assert_eq!(see().await, *want, "{what}");
        }
    }
    http.done("/v1/catalog/deregister", r#"{"Node":"l1","CheckID":"c"}"#).await;
    assert_eq!(see().await.len(), 3, "the check is gone");
    let other = register("10.0.0.2", "", r#""ID":"live","Port":2"#);
    http.done("/v1/catalog/register", &other.replace(r#""Service":"live""#, r#""Service":"new""#))
        .await;
    assert_eq!(see().await, [""; 0], "it has another name");
    http.done("/v1/catalog/register", &other).await;
    assert_eq!(see().await.len(), 2, "it has its name again");
    http.done("/v1/catalog/deregister", r#"{"Node":"l1"}"#).await;
    assert_eq!(see().await, [""; 0], "the node is gone");
    if !is_consul() {
        let metrics = http.get("/metrics").await.text();
        assert!(metrics.contains(r#"portolan_dns_cache_total{outcome="hit"}"#), "{metrics}");
    }
}
