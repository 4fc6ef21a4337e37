//! Reads what a question's name asks for. Pure.
//!
//! The name comes from a stranger: nothing here may panic, whatever its bytes are.
#![deny(clippy::indexing_slicing, clippy::expect_used, clippy::arithmetic_side_effects)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::ProtoError;
use hickory_proto::rr::{Name, RecordType};

/// What a name asks for, once its domain is taken off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// `<name>.node`.
    Node(String),
    /// `[tag.]<name>.service`, or `_<name>._<tag>[.service]`.
    Service {
        /// The service, in lower case.
        name: String,
        /// Only instances that have this tag, in lower case.
        tag: Option<String>,
    },
    /// `<name or id>.query`, or `_<name or id>._<protocol>.query`, in lower case.
    Query(String),
    /// `<hex>.addr`.
    Address(IpAddr),
    /// The SOA record of the domain, from any name under it.
    Soa,
    /// The name servers of the domain, from any name under it.
    NameServers,
    /// In the domain, but nothing that could be there.
    Unknown,
}

/// Whose name it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target<'a> {
    /// Under one of our domains.
    Ours(&'a Zone, Asked),
    /// A name under `arpa`: of an address, or none where it is not an address.
    Pointer(Option<IpAddr>),
    /// Somebody else's.
    Outside,
}

/// A domain that is answered for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Zone {
    /// Its name, as answers spell it.
    pub(super) name: Name,
    /// Its labels in lower case.
    labels: Vec<String>,
}

/// All domains that are answered for, and their data center.
#[derive(Clone, Debug)]
pub(super) struct Zones {
    /// The one that answers about addresses are spelled in.
    pub(super) main: Zone,
    alt: Option<Zone>,
    datacenter: String,
}

impl Zones {
    /// # Errors
    ///
    /// If one of the domains is not a domain name.
    pub(super) fn new(
        domain: &str,
        alt_domain: Option<&str>,
        datacenter: &str,
    ) -> Result<Self, ProtoError> {
        let main = Zone::new(domain)?;
        let alt = alt_domain.filter(|alt| !alt.is_empty()).map(Zone::new).transpose()?;
        Ok(Self { main, alt, datacenter: datacenter.to_ascii_lowercase() })
    }

    /// Takes the longest domain that fits off `labels`.
    fn split<'l>(&self, labels: &'l [String]) -> Option<(&Zone, &'l [String])> {
        let fitting = [&self.main].into_iter().chain(&self.alt).filter_map(|zone| {
            let rest = labels.strip_suffix(zone.labels.as_slice())?;
            Some((zone, rest))
        });
        fitting.max_by_key(|(zone, _)| zone.labels.len())
    }
}

impl Zone {
    fn new(domain: &str) -> Result<Self, ProtoError> {
        let parts = domain.split('.').filter(|part| !part.is_empty());
        let labels: Vec<String> = parts.map(str::to_ascii_lowercase).collect();
        let name = Name::from_labels(labels.iter().map(String::as_bytes))?;
        Ok(Self { name, labels })
    }
}

/// What is asked by `name`, for records of `kind`.
///
/// Source: Consul DNS interface, "Node lookups", "Service lookups", "RFC 2782 lookup".
pub(super) fn parse<'a>(name: &Name, kind: RecordType, zones: &'a Zones) -> Target<'a> {
    let labels: Vec<String> = name.iter().map(label).collect();
    match zones.split(&labels) {
        Some((zone, rest)) => Target::Ours(zone, asked(rest, kind, &zones.datacenter)),
        None if labels.last().is_some_and(|label| label == "arpa") => {
            Target::Pointer(pointer(&labels))
        }
        None => Target::Outside,
    }
}

/// A label in lower case; what is not text becomes a sign that no name holds.
fn label(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains(['.', '\0']) => text.to_ascii_lowercase(),
        _ => BAD_LABEL.to_owned(),
    }
}

/// Stands for a label that is not text, or that has a dot inside.
const BAD_LABEL: &str = "\0";

fn asked(labels: &[String], kind: RecordType, datacenter: &str) -> Asked {
    match kind {
        RecordType::SOA => return Asked::Soa,
        RecordType::NS => return Asked::NameServers,
        _ => {}
    }
    if labels.iter().any(|label| label == BAD_LABEL) {
        return Asked::Unknown;
    }
    let Some(found) = find_word(labels, kind) else { return Asked::Unknown };
    if found.word != Word::Address && !is_here(found.behind, datacenter) {
        return Asked::Unknown;
    }
    match found.word {
        Word::Node if !found.before.is_empty() => Asked::Node(found.before.join(".")),
        Word::Service => service(found.before),
        Word::Query if !found.before.is_empty() => Asked::Query(query(found.before)),
        Word::Address => address(found.before),
        Word::Node | Word::Query | Word::Nothing => Asked::Unknown,
    }
}

/// The label that says what kind of thing is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    Node,
    Service,
    Query,
    Address,
    /// A word of Consul's that nothing is kept under here.
    Nothing,
}

struct Found<'l> {
    word: Word,
    before: &'l [String],
    behind: &'l [String],
}

/// Finds the last such label. For SRV, one with an underscore means a service by itself.
fn find_word(labels: &[String], kind: RecordType) -> Option<Found<'_>> {
    let mut rest = labels;
    while let Some((last, before)) = rest.split_last() {
        let behind = labels.get(rest.len()..)?;
        let word = match last.as_str() {
            "node" => Word::Node,
            "service" => Word::Service,
            "addr" => Word::Address,
            "query" => Word::Query,
            "connect" | "ingress" | "virtual" => Word::Nothing,
            label if kind == RecordType::SRV && label.starts_with('_') => {
                return Some(Found { word: Word::Service, before: rest, behind });
            }
            _ => {
                rest = before;
                continue;
            }
        };
        return Some(Found { word, before, behind });
    }
    None
}

/// Whether what stands behind the word names this data center, as `<dc>`, `<dc>.dc` or not at all.
fn is_here(behind: &[String], datacenter: &str) -> bool {
    match behind {
        [] => true,
        [dc] => dc == datacenter,
        [dc, word] => dc == datacenter && word == "dc",
        _ => false,
    }
}

/// A service's name is the last label; all before it is one tag. Source: RFC 2782 for the other.
fn service(labels: &[String]) -> Asked {
    if let [name, tag] = labels
        && let (Some(name), Some(tag)) = (name.strip_prefix('_'), tag.strip_prefix('_'))
    {
        let tag = (tag != "tcp").then(|| tag.to_owned());
        return Asked::Service { name: name.to_owned(), tag };
    }
    match labels.split_last() {
        None => Asked::Unknown,
        Some((name, [])) => Asked::Service { name: name.clone(), tag: None },
        Some((name, tag)) => Asked::Service { name: name.clone(), tag: Some(tag.join(".")) },
    }
}

/// A query's name may have dots. Between two labels with an underscore, the last one is only a
/// protocol. Source: Consul DNS interface, "Prepared query lookups", RFC 2782 form.
fn query(labels: &[String]) -> String {
    if let Some((protocol, name)) = labels.split_last()
        && protocol.starts_with('_')
        && let Some(bare) = name.join(".").strip_prefix('_')
    {
        return bare.to_owned();
    }
    labels.join(".")
}

fn address(labels: &[String]) -> Asked {
    let [hex] = labels else { return Asked::Unknown };
    if !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Asked::Unknown;
    }
    match hex.len() {
        8 => u32::from_str_radix(hex, 16)
            .map_or(Asked::Unknown, |bits| Asked::Address(Ipv4Addr::from_bits(bits).into())),
        32 => u128::from_str_radix(hex, 16)
            .map_or(Asked::Unknown, |bits| Asked::Address(Ipv6Addr::from_bits(bits).into())),
        _ => Asked::Unknown,
    }
}

/// The address that a name under `arpa` stands for. Source: RFC 1035, 3.5; RFC 3596, 2.5.
fn pointer(labels: &[String]) -> Option<IpAddr> {
    let (arpa, rest) = labels.split_last()?;
    let (family, digits) = rest.split_last()?;
    match (family.as_str(), arpa.as_str()) {
        ("in-addr", "arpa") => pointer_v4(digits),
        ("ip6", "arpa") => pointer_v6(digits),
        _ => None,
    }
}

fn pointer_v4(labels: &[String]) -> Option<IpAddr> {
    let octets: Vec<u8> =
        labels.iter().rev().map(|octet| octet_of(octet)).collect::<Option<_>>()?;
    let octets: [u8; 4] = octets.try_into().ok()?;
    Some(Ipv4Addr::from(octets).into())
}

fn octet_of(label: &str) -> Option<u8> {
    if label.bytes().all(|byte| byte.is_ascii_digit()) { label.parse().ok() } else { None }
}

fn pointer_v6(labels: &[String]) -> Option<IpAddr> {
    if labels.len() != 32 || labels.iter().any(|nibble| nibble.len() != 1) {
        return None;
    }
    let hex: String = labels.iter().rev().map(String::as_str).collect();
    if !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u128::from_str_radix(&hex, 16).ok().map(|bits| Ipv6Addr::from_bits(bits).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zones() -> Zones {
        Zones::new("Consul.", Some("alt.zone"), "DC1").expect("the domains are names")
    }

    fn ask(name: &str, kind: RecordType) -> String {
        let zones = zones();
        let name = Name::from_labels(
            name.split('.')
                .filter(|part| !part.is_empty())
                .map(|part| {
                    part.as_bytes().iter().map(|b| if *b == b'|' { b'.' } else { *b }).collect()
                })
                .collect::<Vec<Vec<u8>>>()
                .iter()
                .map(Vec::as_slice),
        )
        .expect("a name");
        match parse(&name, kind, &zones) {
            Target::Outside => "outside".to_owned(),
            Target::Pointer(None) => "pointer -".to_owned(),
            Target::Pointer(Some(address)) => format!("pointer {address}"),
            Target::Ours(_, Asked::Node(name)) => format!("node {name}"),
            Target::Ours(_, Asked::Service { name, tag: None }) => format!("service {name}"),
            Target::Ours(_, Asked::Service { name, tag: Some(tag) }) => {
                format!("service {name} tag {tag}")
            }
            Target::Ours(_, Asked::Address(address)) => format!("address {address}"),
            Target::Ours(_, Asked::Query(name)) => format!("query {name}"),
            Target::Ours(_, Asked::Soa) => "soa".to_owned(),
            Target::Ours(_, Asked::NameServers) => "ns".to_owned(),
            Target::Ours(_, Asked::Unknown) => "unknown".to_owned(),
        }
    }

    fn check(kind: RecordType, table: &[(&str, &str)]) {
        for (name, want) in table {
            assert_eq!(ask(name, kind), *want, "{name} {kind}");
        }
    }

    #[test]
    fn names_of_nodes() {
        check(
            RecordType::A,
            &[
                ("n1.node.consul", "node n1"),
                ("N1.NoDe.CONSUL.", "node n1"),
                ("n1.rack.a.node.consul", "node n1.rack.a"),
                ("n1.node.dc1.consul", "node n1"),
                ("n1.node.DC1.consul", "node n1"),
                ("n1.node.dc1.dc.consul", "node n1"),
                ("n1.node.dc2.consul", "unknown"),
                ("n1.node.dc2.dc.consul", "unknown"),
                ("n1.node.dc1.ns.consul", "unknown"),
                ("n1.node.a.dc1.dc.consul", "unknown"),
                ("n1.node.alt.zone", "node n1"),
                ("n1.node.dc1.ALT.zone", "node n1"),
                ("node.consul", "unknown"),
                ("n1.consul", "unknown"),
                ("service.node.consul", "node service"),
                ("a b_c.node.consul", "node a b_c"),
                ("a|b.node.consul", "unknown"),
                ("a\0.node.consul", "unknown"),
            ],
        );
    }

    #[test]
    fn names_of_services() {
        check(
            RecordType::A,
            &[
                ("web.service.consul", "service web"),
                ("WEB.Service.consul", "service web"),
                ("web.service.dc1.consul", "service web"),
                ("web.service.dc1.dc.consul", "service web"),
                ("web.service.dc9.consul", "unknown"),
                ("web.service.x.dc1.consul", "unknown"),
                ("v1.web.service.consul", "service web tag v1"),
                ("V1.0.2.web.service.consul", "service web tag v1.0.2"),
                ("node.service.consul", "service node"),
                ("_web._tcp.service.consul", "service web"),
                ("_web._TCP.service.dc1.consul", "service web"),
                ("_web._udp.service.consul", "service web tag udp"),
                ("_web._v2.service.consul", "service web tag v2"),
                ("_web._v1._tcp.service.consul", "service _tcp tag _web._v1"),
                ("_web.service.consul", "service _web"),
                ("_web.v1.service.consul", "service v1 tag _web"),
                ("_web._tcp.consul", "unknown"),
                ("service.consul", "unknown"),
                ("web.consul", "unknown"),
                ("consul", "unknown"),
                ("x.query.consul", "query x"),
                ("X.y.query.dc1.consul", "query x.y"),
                ("x.query.dc1.dc.consul", "query x"),
                ("x.query.dc9.consul", "unknown"),
                ("_x._tcp.query.consul", "query x"),
                ("_x.y._tcp.query.consul", "query x.y"),
                ("_x.query.consul", "query _x"),
                ("x._tcp.query.consul", "query x._tcp"),
                ("query.consul", "unknown"),
                ("web.connect.consul", "unknown"),
                ("web.ingress.consul", "unknown"),
                ("web.virtual.consul", "unknown"),
                ("web.service.alt.zone", "service web"),
            ],
        );
    }

    #[test]
    fn names_of_services_for_srv() {
        check(
            RecordType::SRV,
            &[
                ("web.service.consul", "service web"),
                ("_web._tcp.service.consul", "service web"),
                ("_web._tcp.consul", "service web"),
                ("_web._tcp.dc1.consul", "service web"),
                ("_web._tcp.dc1.dc.consul", "service web"),
                ("_web._tcp.dc2.consul", "unknown"),
                ("_web._udp.consul", "service web tag udp"),
                ("_web._v2.consul", "service web tag v2"),
                ("_web.consul", "service _web"),
                ("a._web._tcp.consul", "service _tcp tag a._web"),
                ("web.consul", "unknown"),
            ],
        );
    }

    #[test]
    fn names_of_addresses() {
        check(
            RecordType::AAAA,
            &[
                ("0a010203.addr.consul", "address 10.1.2.3"),
                ("0A010203.addr.dc1.consul", "address 10.1.2.3"),
                ("0a010203.addr.dc9.consul", "address 10.1.2.3"),
                ("fe800000000000000000000000000001.addr.consul", "address fe80::1"),
                ("0a01020.addr.consul", "unknown"),
                ("0a0102030.addr.consul", "unknown"),
                ("zz010203.addr.consul", "unknown"),
                ("+a010203.addr.consul", "unknown"),
                ("a.0a010203.addr.consul", "unknown"),
                ("addr.consul", "unknown"),
            ],
        );
    }

    #[test]
    fn names_of_pointers() {
        let six = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.e.f.ip6.arpa";
        check(
            RecordType::PTR,
            &[
                ("3.2.1.10.in-addr.arpa", "pointer 10.1.2.3"),
                ("3.2.1.10.IN-ADDR.ARPA", "pointer 10.1.2.3"),
                ("2.1.10.in-addr.arpa", "pointer -"),
                ("1.3.2.1.10.in-addr.arpa", "pointer -"),
                ("256.2.1.10.in-addr.arpa", "pointer -"),
                ("+3.2.1.10.in-addr.arpa", "pointer -"),
                (six, "pointer fe80::1"),
                ("0.8.e.f.ip6.arpa", "pointer -"),
                ("in-addr.arpa", "pointer -"),
                ("arpa", "pointer -"),
                ("3.2.1.10.in-addr.example", "outside"),
            ],
        );
        check(RecordType::A, &[("3.2.1.10.in-addr.arpa", "pointer 10.1.2.3")]);
    }

    #[test]
    fn names_of_the_domain_itself_and_of_others() {
        check(RecordType::SOA, &[("consul", "soa"), ("any.thing.consul", "soa"), ("a", "outside")]);
        check(RecordType::NS, &[("consul", "ns"), ("x.alt.zone", "ns"), ("zone", "outside")]);
        check(
            RecordType::A,
            &[
                ("www.example.com", "outside"),
                ("", "outside"),
                ("xconsul", "outside"),
                ("web.service.consul.example.com", "outside"),
            ],
        );
    }

    #[test]
    fn the_root_can_be_the_domain() {
        let zones = Zones::new(".", None, "dc1").expect("the root is a name");
        let name = Name::from_ascii("web.service.").expect("a name");
        let want = Asked::Service { name: "web".to_owned(), tag: None };
        assert_eq!(parse(&name, RecordType::A, &zones), Target::Ours(&zones.main, want));
    }

    #[test]
    fn the_longer_domain_wins() {
        let zones = Zones::new("corp", Some("svc.corp"), "dc1").expect("the domains are names");
        let name = Name::from_ascii("n.node.svc.corp.").expect("a name");
        let Target::Ours(zone, asked) = parse(&name, RecordType::A, &zones) else {
            panic!("outside");
        };
        assert_eq!((zone.name.to_ascii().as_str(), asked), ("svc.corp.", Asked::Node("n".into())));
    }
}
