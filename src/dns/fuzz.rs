//! The DNS door under a fuzzer: requests of strangers, and what other name servers reply.

use std::sync::Arc;

use futures::FutureExt as _;
use hickory_proto::op::{Edns, Message, Query as Question};
use hickory_proto::rr::rdata::opt::{ClientSubnet, EdnsOption};
use hickory_proto::rr::{Name, RecordType};

use super::name::{Target as Asked, Zones, parse};
use super::options::Options;
use super::recurse::{HEADER_BYTES, is_reply, question_end};
use super::reply::{Asker, Transport, fit};
use super::resolve::Resolver;
use super::server::REQUEST_BYTES_MAX;
use super::table::{LOCAL, Table};
use crate::fuzz::{Input, Target, pieces};

/// What is read of who asks, and of who is asked.
pub const TARGETS: &[Target] = &[
    Target {
        name: "dns-request",
        about: "a request: the reply answers it, is read again, and is no longer than its asker takes",
        memory: 32 * 1024 * 1024,
        run: request,
        seeds: request_seeds,
    },
    Target {
        name: "dns-name",
        about: "a name: what is asked does not hang on its case",
        memory: 1024 * 1024,
        run: name,
        seeds: name_seeds,
    },
    Target {
        name: "dns-recursor",
        about: "another server's reply: it is the reply to what was asked, and is cut to what fits",
        memory: 16 * 1024 * 1024,
        run: recursor,
        seeds: recursor_seeds,
    },
];

/// The longest replies. Source: RFC 1035, sections 4.2.1 and 4.2.2; ours over UDP with EDNS.
const TCP_BYTES_MAX: usize = 65_535;
const UDP_BYTES_PLAIN: usize = 512;
const UDP_BYTES_MAX: usize = 4096;

fn transport(bits: u8) -> Transport {
    if bits & 1 == 0 { Transport::Udp } else { Transport::Tcp }
}

/// The most that a reply may have.
fn room(by: Transport, request: Option<&Message>) -> usize {
    let edns = request.and_then(|request| request.edns.as_ref());
    match (by, edns) {
        (Transport::Tcp, _) => TCP_BYTES_MAX,
        (Transport::Udp, None) => UDP_BYTES_PLAIN,
        (Transport::Udp, Some(edns)) => {
            usize::from(edns.max_payload()).clamp(UDP_BYTES_PLAIN, UDP_BYTES_MAX)
        }
    }
}

fn request(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let bits = input.byte();
    let request = input.take(REQUEST_BYTES_MAX);
    let options = Options {
        disable_compression: bits & 2 != 0,
        enable_truncate: bits & 4 == 0,
        node_meta_txt: bits & 8 == 0,
        udp_answer_limit: usize::from(bits >> 4),
        alt_domain: Some("alt.zone".to_owned()),
        ..Options::default()
    };
    let resolver = Resolver::new(Arc::new(options), Table::default());
    let read = Message::from_vec(request).ok();
    // The second time much of it is at hand.
    for _ in 0..2 {
        let by = transport(bits);
        let said = resolver.respond(request, by, LOCAL).now_or_never();
        let Some(said) = said.expect("a table answers at once") else { return };
        let reply = said.bytes;
        assert!(reply.len() >= HEADER_BYTES && reply[..2] == request[..2], "it is the reply");
        assert!(reply[2] & 0x80 != 0, "a reply says that it is one");
        let most = room(by, read.as_ref());
        assert!(reply.len() <= most, "{} bytes, of at most {most}", reply.len());
        let again = Message::from_vec(&reply).expect("a reply of ours can be read");
        let count = usize::from(u16::from_be_bytes([reply[6], reply[7]]));
        assert_eq!(again.answers.len(), count, "all answers can be read");
    }
}

fn asked(name: &str, kind: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.id = 4711;
    let name = Name::from_ascii(name).expect("a seed's name is a name");
    message.add_query(Question::query(name, kind));
    message
}

fn bytes_of(message: &Message) -> Vec<u8> {
    message.to_vec().expect("a seed can be written")
}

fn request_seeds() -> Vec<Vec<u8>> {
    use RecordType::{A, AAAA, ANY, AXFR, NS, PTR, SOA, SRV, TXT};
    let mut seeds: Vec<Vec<u8>> = [
        ("web.service.consul.", A),
        ("v1.0.big.service.dc1.consul.", SRV),
        ("_web._tcp.service.consul.", SRV),
        ("loop.service.consul.", A),
        ("chain.service.alt.zone.", ANY),
        ("sick.service.consul.", A),
        ("gone.service.consul.", A),
        ("n1.node.consul.", TXT),
        ("there.query.consul.", SRV),
        ("asker.query.consul.", A),
        ("0a010203.addr.consul.", AAAA),
        ("1.0.0.10.in-addr.arpa.", PTR),
        ("consul.", SOA),
        ("consul.", NS),
        ("example.com.", A),
        ("web.service.consul.", AXFR),
    ]
    .into_iter()
    .enumerate()
    .map(|(bits, (name, kind))| {
        let bits = u8::try_from(bits).unwrap_or_default();
        [&[bits], &bytes_of(&asked(name, kind))[..]].concat()
    })
    .collect();
    for size in [0, 1232, 65_535] {
        let mut message = asked("big.service.consul.", SRV);
        let mut edns = Edns::new();
        edns.set_max_payload(size);
        let subnet = ClientSubnet::new([10, 1, 0, 0].into(), 16, 0);
        edns.options_mut().insert(EdnsOption::Subnet(subnet));
        message.edns = Some(edns);
        seeds.push([&[0], &bytes_of(&message)[..]].concat());
    }
    seeds.extend([pointing_to_itself(), many_questions()]);
    seeds
}

/// A name whose end is a pointer to its beginning.
fn pointing_to_itself() -> Vec<u8> {
    let mut bytes = bytes_of(&asked("web.service.consul.", RecordType::A));
    bytes.truncate(HEADER_BYTES + 4);
    bytes.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1]);
    [vec![0], bytes].concat()
}

/// Questions of which each but the first costs six bytes.
fn many_questions() -> Vec<u8> {
    let mut bytes = bytes_of(&asked("web.service.consul.", RecordType::A));
    bytes[5] = 200;
    for _ in 1..200 {
        bytes.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1]);
    }
    [vec![0], bytes].concat()
}

fn name(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let kinds = [RecordType::A, RecordType::SRV, RecordType::PTR, RecordType::SOA, RecordType::NS];
    let kind = kinds[usize::from(input.byte()) % kinds.len()];
    let mut labels: Vec<&[u8]> = Vec::new();
    while !input.is_empty() {
        labels.push(input.piece());
    }
    let zones = Zones::new("consul", Some("alt.zone"), "dc1").expect("these are names");
    let Ok(name) = Name::from_labels(labels.iter().copied()) else { return };
    let upper = labels.iter().map(|label| label.to_ascii_uppercase());
    let upper = Name::from_labels(upper.collect::<Vec<_>>().iter().map(Vec::as_slice));
    let upper = upper.expect("a name in upper case is one");
    let found = parse(&name, kind, &zones);
    assert_eq!(found, parse(&upper, kind, &zones), "case does not count");
    if let Asked::Pointer(Some(address)) = found {
        let reverse = Name::from(address);
        assert_eq!(parse(&reverse, kind, &zones), Asked::Pointer(Some(address)), "the way back");
    }
}

fn name_seeds() -> Vec<Vec<u8>> {
    let name =
        |kind: u8, name: &str| [vec![kind], pieces(&name.split('.').collect::<Vec<_>>())].concat();
    vec![
        name(0, "web.service.consul"),
        name(0, "v1.web.service.dc1.consul"),
        name(1, "_web._tcp.service.alt.zone"),
        name(1, "_web._v2.dc1.consul"),
        name(0, "n1.node.consul"),
        name(0, "0a010203.addr.consul"),
        name(0, "a.b.query.dc1.dc.consul"),
        name(2, "3.2.1.10.in-addr.arpa"),
        name(2, "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.e.f.ip6.arpa"),
        name(3, "consul"),
        name(4, "example.com"),
    ]
}

fn recursor(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let bits = input.byte();
    let request = input.piece();
    let reply = input.rest();
    let Ok(message) = Message::from_vec(request) else { return };
    let Some(end) = question_end(request) else { return };
    if !is_reply(reply, request) {
        return;
    }
    let asker = Asker {
        request: &message.metadata,
        question: &request[HEADER_BYTES..end],
        questions: &message.queries,
        edns: message.edns.as_ref(),
        transport: transport(bits),
        address: LOCAL,
    };
    let sent = fit(reply.to_vec(), end, &asker);
    assert!(sent.len() <= room(asker.transport, Some(&message)), "it fits");
    assert!(
        sent == reply || (sent[2] & 0b10 != 0 && sent.len() == end),
        "whole, or said to be cut"
    );
}

fn recursor_seeds() -> Vec<Vec<u8>> {
    let request = bytes_of(&asked("example.com.", RecordType::A));
    let reply = |flags: [u8; 2], more: usize| {
        let mut reply = request.clone();
        reply[2..4].copy_from_slice(&flags);
        reply.extend(std::iter::repeat_n(0, more));
        [vec![0], pieces(&[&request]), reply].concat()
    };
    vec![reply([0x81, 0x80], 0), reply([0x81, 0x83], 600), reply([0x81, 0x82], 0), reply([1, 0], 0)]
}
