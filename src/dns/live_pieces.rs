//! Tests of the whole resolver: answers at hand, and prepared queries.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;
use hickory_proto::rr::rdata::opt::{ClientSubnet, EdnsCode, EdnsOption};

use super::live::{Live, answers, question, with_edns};
use super::options::Options;
use super::reply::Transport;
use super::resolve::Resolver;
use super::table::{LOCAL, Table};

#[tokio::test]
async fn prepared_queries_are_run() {
    let service_ttl = [("web".to_owned(), Duration::from_secs(5))].into();
    let live =
        Live::start(Options { node_name: "n2".into(), service_ttl, ..Options::default() }).await;
    let (one, other) = ("10.0.0.1", "10.9.9.9");
    let ok = ResponseCode::NoError;
    // (name, code, answers in their order where it is not by chance, TTL)
    let table = [
        ("kept.a.while", ok, vec![one, other], Some(13)),
        ("KEPT.A.while", ok, vec![one, other], Some(13)),
        ("_kept.a.while._tcp", ok, vec![one, other], Some(13)),
        ("here", ok, vec![other, one], Some(5)),
        ("there", ok, vec![other, one], Some(5)),
        ("asker", ok, vec![other, one], Some(5)),
        ("nobody", ResponseCode::NXDomain, vec![], None),
        ("none", ResponseCode::NXDomain, vec![], None),
        ("torn", ResponseCode::ServFail, vec![], None),
    ];
    for (name, code, want, ttl) in table {
        let mut request =
            with_edns(question(&format!("{name}.query.consul."), RecordType::A), 1232);
        let subnet = ClientSubnet::new("fd00::2".parse().unwrap(), 128, 0);
        request.edns.as_mut().unwrap().options_mut().insert(EdnsOption::Subnet(subnet));
        let reply = live.udp(&request).await;
        assert_eq!(reply.metadata.response_code, code, "{name}");
        let mut lines: Vec<String> = reply.answers.iter().map(|r| r.data.to_string()).collect();
        if ttl == Some(13) {
            lines.sort();
        }
        assert_eq!(lines, want, "{name}");
        assert_eq!(reply.answers.first().map(|record| record.ttl), ttl, "{name}");
        let edns = reply.edns.unwrap();
        let Some(EdnsOption::Subnet(told)) = edns.option(EdnsCode::Subnet) else {
            panic!("{name}: no network")
        };
        // What is told to one network holds for it alone; that there is nothing holds for all.
        assert_eq!(told.scope_prefix(), if code == ok { 128 } else { 0 }, "{name}");
    }
}

/// A question that was asked before costs no read until the service's index moves, however it
/// comes and is spelled; and nobody is given another's question or size.
#[tokio::test]
async fn answers_at_hand_are_given_until_the_index_moves() {
    let table = Table::default();
    let resolver = Resolver::new(Arc::new(Options::default()), table.clone());
    let ask = async |name: &str, kind, bytes: Option<u16>, by| {
        let plain = question(name, kind);
        let request = bytes.map_or(plain.clone(), |bytes| with_edns(plain.clone(), bytes));
        let said = resolver.respond(&request.to_vec().unwrap(), by, LOCAL).await.unwrap();
        let message = Message::from_vec(&said.bytes).unwrap();
        assert_eq!(message.queries, request.queries);
        assert!(message.answers.iter().all(|record| record.name == request.queries[0].name));
        (message, said.cache)
    };
    let (first, cache) = ask("big.service.consul.", RecordType::SRV, None, Transport::Tcp).await;
    assert_eq!((first.answers.len(), cache), (200, Some("miss")));
    let (again, cache) = ask("BIG.Service.consul.", RecordType::SRV, None, Transport::Tcp).await;
    assert_eq!((answers(&again), cache), (answers(&first), Some("hit")));
    assert_ne!(again.answers, first.answers, "in another order");
    let (small, cache) = ask("big.service.consul.", RecordType::SRV, None, Transport::Udp).await;
    assert_eq!((small.answers.len(), small.metadata.truncation, cache), (3, true, Some("hit")));
    let (edns, cache) =
        ask("big.service.consul.", RecordType::SRV, Some(1232), Transport::Udp).await;
    assert!(edns.answers.len() > 10 && cache == Some("hit"), "{}", edns.answers.len());
    let reads = table.reads.load(Ordering::Relaxed);
    assert_eq!(reads, 1);
    for (name, kind) in [
        ("big.service.consul.", RecordType::A),
        ("v1.0.big.service.consul.", RecordType::SRV),
        ("v2.big.service.consul.", RecordType::SRV),
    ] {
        assert_ne!(ask(name, kind, None, Transport::Tcp).await.1, Some("hit"), "{name} {kind}");
    }
    table.index.store(9, Ordering::Relaxed);
    let (_, cache) = ask("big.service.consul.", RecordType::SRV, None, Transport::Tcp).await;
    assert_eq!(cache, Some("miss"));
    let (_, cache) = ask("own.service.consul.", RecordType::A, None, Transport::Tcp).await;
    assert_eq!(cache, None, "what holds for one spelling is not kept");
}

/// What is put together of pieces says the same as what is written record by record.
#[tokio::test]
async fn pieces_say_the_same_as_records() {
    for options in [
        Options::default(),
        Options { disable_compression: true, ..Options::default() },
        Options { udp_answer_limit: 8, a_record_limit: 50, ..Options::default() },
        Options { node_meta_txt: false, domain: ".".to_owned(), ..Options::default() },
    ] {
        let zone = if options.domain == "." { "" } else { "consul." };
        let resolver = Resolver::new(Arc::new(options.clone()), Table::default());
        for (service, kind, bytes, by) in [
            ("web", RecordType::A, None, Transport::Udp),
            ("web", RecordType::SRV, None, Transport::Udp),
            ("web", RecordType::SRV, Some(1232), Transport::Udp),
            ("web", RecordType::ANY, Some(1232), Transport::Udp),
            ("big", RecordType::A, None, Transport::Udp),
            ("big", RecordType::A, Some(1232), Transport::Udp),
            ("big", RecordType::SRV, None, Transport::Udp),
            ("big", RecordType::SRV, Some(512), Transport::Udp),
            ("big", RecordType::SRV, Some(1232), Transport::Udp),
            ("big", RecordType::SRV, Some(4096), Transport::Udp),
            ("big", RecordType::SRV, None, Transport::Tcp),
        ] {
            let plain = question(&format!("{service}.service.{zone}"), kind);
            let request = bytes.map_or(plain.clone(), |bytes| with_edns(plain.clone(), bytes));
            let raw = request.to_vec().unwrap();
            let (records, pieces) = resolver.both_ways(&raw, by).await;
            let what = format!("{service} {kind} {bytes:?} {by:?} {options:?}");
            assert!(records.len().abs_diff(pieces.len()) <= 16, "{what}: {records:?} {pieces:?}");
            let (records, pieces) =
                (Message::from_vec(&records).unwrap(), Message::from_vec(&pieces).unwrap());
            let shape =
                |m: &Message| (m.answers.len(), m.additionals.len(), m.metadata, m.edns.clone());
            assert_eq!(shape(&pieces), shape(&records), "{what}");
            if !records.metadata.truncation && options.a_record_limit == 0 {
                assert_eq!(answers(&pieces), answers(&records), "{what}");
            }
        }
    }
}
