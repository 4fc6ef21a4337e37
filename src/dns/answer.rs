//! Turns what the catalog says into records: which, in what order, for how long. Pure.
//!
//! Chance comes in as a seed and the clock as a number, so that a table can test all of it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::{A, AAAA, NS, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::name::Zone;
use super::options::{Options, seconds};
use super::reply::{Reach, Reply};
use crate::model::{CheckStatus, Execution, Instance, Node, Service, shuffle};

/// Most records that answer one question about addresses. Source: observed on Consul 1.8.7.
const ANSWERS_MAX: usize = 4096;
/// Most SRV records that answer one question. Source: observed on Consul 1.8.7.
const SRV_ANSWERS_MAX: usize = 1024;
/// Most name servers that are told of. Source: observed on Consul 1.8.7.
const NAME_SERVERS_MAX: usize = 3;
/// Longest part of a TXT record, in bytes. Source: RFC 1035, section 3.3.
const TXT_PART_BYTES_MAX: usize = 255;
/// The tag of an address for who reaches the node over IPv4. Source: Consul, tagged addresses.
const LAN_V4: &str = "lan_ipv4";
/// The same over IPv6.
const LAN_V6: &str = "lan_ipv6";
/// Metadata under keys that begin so is shown without its key. Source: Consul, `node_meta`.
const BARE_META_PREFIX: &str = "rfc1035-";

/// What every answer stands on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope<'a> {
    /// The question's name, spelled as the asker spelled it.
    pub(super) name: &'a Name,
    /// The kind of records that is asked for.
    pub(super) kind: RecordType,
    /// The domain that the answer stays under.
    pub(super) zone: &'a Zone,
    /// The door's settings.
    pub(super) options: &'a Options,
    /// Seconds since 1970, for the SOA record's serial.
    pub(super) now: u32,
    /// Decides the order.
    pub(super) seed: u64,
    /// Where the asker is: the network that it named, else its own address.
    pub(super) source: IpAddr,
}

/// Answers about a service. `instances` are all it has, and `tag` is in lower case.
pub(super) fn service(scope: Scope<'_>, instances: &[Instance], tag: Option<&str>) -> Reply {
    let fit = |instance: &&Instance| is_fit(instance, scope.options) && has_tag(instance, tag);
    let mut fitting: Vec<&Instance> = instances.iter().filter(fit).collect();
    let Some(first) = fitting.first() else { return missing(scope) };
    let ttl = scope.options.service_seconds(&first.service.name.to_lowercase());
    shuffle(&mut fitting, scope.seed);
    chosen(scope, fitting.into_iter(), ttl)
}

/// Answers with what a prepared query found; `instances` are in the order of the answer. Who is
/// elsewhere may be told otherwise.
pub(super) fn prepared(scope: Scope<'_>, found: &Execution, instances: &[Instance]) -> Reply {
    if instances.is_empty() {
        return missing(scope);
    }
    let of_service = || scope.options.service_seconds(&found.query.service.service.to_lowercase());
    let ttl = found.query.dns_ttl_ms.map(Duration::from_millis).map(seconds);
    let reply = chosen(scope, instances.iter(), ttl.unwrap_or_else(of_service));
    Reply { reach: Reach::Network, ..reply }
}

/// Answers with these instances, in this order where nothing is said twice.
fn chosen<'a>(scope: Scope<'_>, instances: impl Iterator<Item = &'a Instance>, ttl: u32) -> Reply {
    let mut reply = match scope.kind {
        RecordType::SRV => service_places(scope, instances, ttl),
        _ => service_addresses(scope, instances, ttl),
    };
    reply.counted = true;
    if reply.answers.is_empty() { empty(scope) } else { reply }
}

fn is_fit(instance: &Instance, options: &Options) -> bool {
    match instance.status() {
        CheckStatus::Passing => true,
        CheckStatus::Critical => false,
        CheckStatus::Warning | CheckStatus::Other(_) => !options.only_passing,
    }
}

fn has_tag(instance: &Instance, tag: Option<&str>) -> bool {
    tag.is_none_or(|tag| instance.service.tags.iter().any(|own| own.eq_ignore_ascii_case(tag)))
}

/// Addresses, each once. Where there are only host names, the first of them and no other: a name
/// cannot have two CNAME records (RFC 1034, section 3.6.2), but with one it answers for any kind.
fn service_addresses<'a>(
    scope: Scope<'_>,
    instances: impl Iterator<Item = &'a Instance>,
    ttl: u32,
) -> Reply {
    let mut reply = Reply::good();
    let mut alias = None;
    let mut seen = BTreeSet::new();
    // Consul answers a question for text with addresses, and some ask so.
    let kind = if scope.kind == RecordType::TXT { RecordType::ANY } else { scope.kind };
    for instance in instances {
        let Some(way) = way(scope, instance) else { continue };
        reply.own |= way.by_name;
        match way.place {
            Place::Ip(ip) if wants(kind, ip) && seen.insert(ip) => {
                reply.answers.push(ip_record(scope.name.clone(), ttl, ip));
            }
            Place::Host(host) if alias.is_none() => alias = Some(host),
            Place::Ip(_) | Place::Host(_) => {}
        }
    }
    if reply.answers.is_empty()
        && let Some(host) = alias
    {
        reply.alias(scope.name.clone(), ttl, host);
    }
    reply.most = match scope.options.a_record_limit {
        0 => ANSWERS_MAX,
        limit => limit.min(ANSWERS_MAX),
    };
    reply
}

/// SRV records, one for each node, address and port, with the targets' addresses beside them.
fn service_places<'a>(
    scope: Scope<'_>,
    instances: impl Iterator<Item = &'a Instance>,
    ttl: u32,
) -> Reply {
    let mut reply = Reply::good();
    reply.most = SRV_ANSWERS_MAX;
    let mut seen = BTreeSet::new();
    for instance in instances {
        let port = instance.service.port;
        if !seen.insert((instance.node.name.as_str(), own_address(scope.kind, instance), port)) {
            continue;
        }
        let Some(way) = way(scope, instance) else { continue };
        let Some(target) = target(scope, &way, instance) else { continue };
        reply.own |= way.by_name;
        let data = SRV::new(1, weight(instance), port, target.clone());
        reply.answers.push(Record::from_rdata(scope.name.clone(), ttl, RData::SRV(data)));
        match way.place {
            Place::Ip(ip) => reply.beside(ip_record(target, ttl, ip)),
            Place::Host(host) => reply.follow_beside(host),
        }
        if scope.options.node_meta_txt
            && let Some(owner) = node_name(scope, &instance.node.name)
        {
            reply.beside_all(meta_records(&owner, ttl, &instance.node));
        }
    }
    reply
}

/// How an instance is reached by who asked.
struct Way {
    place: Place,
    /// Whether that is the node's own address, so that the node's name stands for it.
    of_node: bool,
    /// Whether that depends on the name that was asked for, or leads to another name.
    by_name: bool,
}

/// Where an instance is: at its own address, else at its node's. One whose own address is the
/// very name that was asked for is on its node, or the asker would go round in a circle.
fn way(scope: Scope<'_>, instance: &Instance) -> Option<Way> {
    let node = node_address(scope.kind, &instance.node);
    let of_node = node == instance.node.address;
    let own = own_address(scope.kind, instance);
    if own.is_empty() {
        let place = place(node)?;
        let by_name = matches!(place, Place::Host(_));
        return Some(Way { place, of_node, by_name });
    }
    match place(own)? {
        Place::Host(host) if host == *scope.name && node.parse::<IpAddr>().is_ok() => {
            Some(Way { place: place(node)?, of_node: true, by_name: true })
        }
        found => {
            let by_name = matches!(found, Place::Host(_));
            Some(Way { place: found, of_node: false, by_name })
        }
    }
}

/// The address of a kind: the one that is tagged for its family, if there is one. A question that
/// names no family prefers IPv6. Source: observed on Consul 1.8.7.
fn by_family<'a>(
    kind: RecordType,
    plain: &'a str,
    tagged: impl Fn(&'static str) -> Option<&'a str>,
) -> &'a str {
    let tagged = |key| tagged(key).filter(|address| !address.is_empty());
    let found = match kind {
        RecordType::A => tagged(LAN_V4),
        RecordType::AAAA => tagged(LAN_V6),
        _ => tagged(LAN_V6).or_else(|| tagged(LAN_V4)),
    };
    found.unwrap_or(plain)
}

fn node_address(kind: RecordType, node: &Node) -> &str {
    by_family(kind, &node.address, |key| node.tagged_addresses.get(key).map(String::as_str))
}

/// Empty where the instance has none.
fn own_address(kind: RecordType, instance: &Instance) -> &str {
    let tagged = &instance.service.tagged_addresses;
    by_family(kind, &instance.service.address, |key| tagged.get(key).map(|it| it.address.as_str()))
}

/// What an SRV record points to: the host name that the address is; the node, where the instance
/// is at its address; else the address itself as a name. The latter also stands in for a node
/// whose name DNS cannot spell.
fn target(scope: Scope<'_>, way: &Way, instance: &Instance) -> Option<Name> {
    match &way.place {
        Place::Host(host) => Some(host.clone()),
        Place::Ip(ip) if way.of_node => {
            node_name(scope, &instance.node.name).or_else(|| hex_name(scope, *ip))
        }
        Place::Ip(ip) => hex_name(scope, *ip),
    }
}

fn weight(instance: &Instance) -> u16 {
    match instance.status() {
        CheckStatus::Passing => instance.service.weights.passing,
        CheckStatus::Warning => instance.service.weights.warning,
        CheckStatus::Critical | CheckStatus::Other(_) => 1, // as of no weights; critical is left out
    }
}

/// Answers about a node. A kind that it has not brings an empty answer, without SOA, as Consul's.
pub(super) fn node(scope: Scope<'_>, node: &Node) -> Reply {
    let ttl = scope.options.node_seconds();
    let mut reply = Reply::good();
    match place(node_address(scope.kind, node)) {
        Some(Place::Ip(ip)) if wants(scope.kind, ip) => {
            reply.answers.push(ip_record(scope.name.clone(), ttl, ip));
        }
        Some(Place::Host(host)) if wants_alias(scope.kind) => {
            reply.alias(scope.name.clone(), ttl, host);
        }
        _ => {}
    }
    let texts = meta_records(scope.name, ttl, node);
    match scope.kind {
        RecordType::TXT | RecordType::ANY => reply.answers.extend(texts),
        RecordType::A | RecordType::AAAA if scope.options.node_meta_txt => reply.beside_all(texts),
        _ => {}
    }
    reply
}

/// Answers about an address that a name spells in hexadecimal.
pub(super) fn address(scope: Scope<'_>, ip: IpAddr) -> Reply {
    if !wants(scope.kind, ip) {
        return empty(scope);
    }
    let mut reply = Reply::good();
    reply.answers.push(ip_record(scope.name.clone(), scope.options.node_seconds(), ip));
    reply
}

/// Names an address: after its node, else after a service that has it.
pub(super) fn pointer(
    scope: Scope<'_>,
    nodes: &[impl AsRef<Node>],
    instances: &[Instance],
) -> Option<Reply> {
    let of_node = nodes.iter().find_map(|node| node_name(scope, &node.as_ref().name));
    let of_service = || instances.iter().find_map(|found| service_name(scope, &found.service));
    let name = of_node.or_else(of_service)?;
    if !matches!(scope.kind, RecordType::PTR | RecordType::ANY) {
        return Some(empty(scope));
    }
    let mut reply = Reply::good();
    reply.answers.push(Record::from_rdata(scope.name.clone(), 0, RData::PTR(PTR(name))));
    Some(reply)
}

/// The SOA record, with the name servers beside it. `servers` are those of the cluster.
pub(super) fn soa(scope: Scope<'_>, servers: &[Instance]) -> Reply {
    let mut reply = name_servers(scope, servers);
    reply.authorities = std::mem::take(&mut reply.answers);
    reply.answers.extend(soa_record(scope));
    reply
}

/// Up to [`NAME_SERVERS_MAX`] healthy servers by chance, with their addresses.
pub(super) fn name_servers(scope: Scope<'_>, servers: &[Instance]) -> Reply {
    let ttl = scope.options.node_seconds();
    let fit = |server: &&Instance| server.status() != CheckStatus::Critical;
    let mut fitting: Vec<&Instance> = servers.iter().filter(fit).collect();
    shuffle(&mut fitting, scope.seed);
    let mut reply = Reply::good();
    let named = fitting.into_iter().filter_map(|s| Some((node_name(scope, &s.node.name)?, s)));
    for (name, server) in named.take(NAME_SERVERS_MAX) {
        let data = RData::NS(NS(name.clone()));
        reply.answers.push(Record::from_rdata(scope.zone.name.clone(), ttl, data));
        if let Some(Place::Ip(ip)) = place(node_address(RecordType::ANY, &server.node)) {
            reply.beside(ip_record(name, ttl, ip));
        }
    }
    reply
}

/// The name does not exist. Source: RFC 2308, section 2.1.
pub(super) fn missing(scope: Scope<'_>) -> Reply {
    Reply { code: ResponseCode::NXDomain, ..empty(scope) }
}

/// The name exists, and has nothing of this kind. Source: RFC 2308, section 2.2.
pub(super) fn empty(scope: Scope<'_>) -> Reply {
    let mut reply = Reply::good();
    reply.authorities.extend(soa_record(scope));
    reply
}

fn soa_record(scope: Scope<'_>) -> Option<Record> {
    let soa = scope.options.soa;
    let under = |label: &[u8]| scope.zone.name.prepend_label(label).ok();
    let number = |span| i32::try_from(seconds(span)).unwrap_or(i32::MAX);
    let data = SOA::new(
        under(b"ns")?,
        under(b"hostmaster")?,
        scope.now,
        number(soa.refresh),
        number(soa.retry),
        number(soa.expire),
        seconds(soa.min_ttl),
    );
    Some(Record::from_rdata(scope.zone.name.clone(), seconds(soa.min_ttl), RData::SOA(data)))
}

/// Where something can be reached.
enum Place {
    Ip(IpAddr),
    Host(Name),
}

/// Nothing where the text is neither an address nor a name.
fn place(address: &str) -> Option<Place> {
    match address.parse() {
        Ok(ip) => Some(Place::Ip(ip)),
        Err(_) => spell(address.strip_suffix('.').unwrap_or(address).split('.')).map(Place::Host),
    }
}

fn wants(kind: RecordType, ip: IpAddr) -> bool {
    match kind {
        RecordType::A => ip.is_ipv4(),
        RecordType::AAAA => ip.is_ipv6(),
        RecordType::ANY => true,
        _ => false,
    }
}

fn wants_alias(kind: RecordType) -> bool {
    matches!(kind, RecordType::A | RecordType::AAAA | RecordType::ANY | RecordType::CNAME)
}

fn ip_record(owner: Name, ttl: u32, ip: IpAddr) -> Record {
    let data = match ip {
        IpAddr::V4(ip) => RData::A(A(ip)),
        IpAddr::V6(ip) => RData::AAAA(AAAA(ip)),
    };
    Record::from_rdata(owner, ttl, data)
}

/// A node's metadata as text. Source: RFC 1464, section 2.
fn meta_records(owner: &Name, ttl: u32, node: &Node) -> Vec<Record> {
    let record = |(key, value): (&String, &String)| {
        let is_bare = key.to_ascii_lowercase().starts_with(BARE_META_PREFIX);
        let text = if is_bare { value.clone() } else { pair(key, value) };
        let mut parts: Vec<&[u8]> = text.as_bytes().chunks(TXT_PART_BYTES_MAX).collect();
        if parts.is_empty() {
            parts.push(&[]); // there is no TXT record of no part
        }
        Record::from_rdata(owner.clone(), ttl, RData::TXT(TXT::from_bytes(parts)))
    };
    node.meta.iter().map(record).collect()
}

/// `key=value`, with a back quote before what would be read wrongly. Source: RFC 1464, section 2.
fn pair(key: &str, value: &str) -> String {
    let core = key.trim_matches(' ');
    let lead = key.len() - key.trim_start_matches(' ').len();
    let trail = key.len() - lead - core.len();
    let mut text = "` ".repeat(lead);
    for sign in core.chars() {
        if matches!(sign, '`' | '=') {
            text.push('`');
        }
        text.push(sign);
    }
    text.push_str(&"` ".repeat(trail));
    text.push('=');
    text.push_str(&value.replace('`', "``"));
    text
}

/// `<node>.node.<dc>.<domain>`.
fn node_name(scope: Scope<'_>, node: &str) -> Option<Name> {
    under_zone(scope, node, "node")
}

/// `<service>.service.<dc>.<domain>`.
fn service_name(scope: Scope<'_>, service: &Service) -> Option<Name> {
    under_zone(scope, &service.name, "service")
}

/// `<hex>.addr.<dc>.<domain>`.
fn hex_name(scope: Scope<'_>, ip: IpAddr) -> Option<Name> {
    let hex = match ip {
        IpAddr::V4(ip) => format!("{:08x}", ip.to_bits()),
        IpAddr::V6(ip) => format!("{:032x}", ip.to_bits()),
    };
    under_zone(scope, &hex, "addr")
}

fn under_zone(scope: Scope<'_>, name: &str, word: &str) -> Option<Name> {
    let labels = name.split('.').chain([word, &scope.options.datacenter]);
    spell(labels)?.append_domain(&scope.zone.name).ok()
}

/// Nothing where a label is empty or longer than 63 bytes, or the whole than 255.
fn spell<'a>(labels: impl Iterator<Item = &'a str>) -> Option<Name> {
    Name::from_labels(labels.map(str::as_bytes)).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;
    use crate::dns::name::Zones;
    use crate::model::{Check, Weights};

    fn at(name: &str, address: &str) -> Arc<Node> {
        Arc::new(Node { name: name.into(), address: address.into(), ..Node::default() })
    }

    /// `node/nodeaddress/address/port/status/tag`.
    fn instance(text: &str) -> Instance {
        let parts: Vec<&str> = text.split('/').collect();
        let [node, node_address, address, port, status, tag] = parts[..] else {
            panic!("six parts: {text}")
        };
        let service = Service {
            node: node.to_owned(),
            name: "Web".to_owned(),
            address: address.to_owned(),
            port: port.parse().unwrap(),
            tags: vec![tag.to_owned()],
            weights: Weights { passing: 10, warning: 2 },
            ..Service::default()
        };
        let status = CheckStatus::from_word(status);
        let check = Check { status, ..Check::default() };
        Instance {
            node: at(node, node_address),
            service: Arc::new(service),
            checks: vec![Arc::new(check)],
        }
    }

    /// The reply as lines: its code, then each record with its section, sorted.
    fn show(reply: &Reply) -> Vec<String> {
        let mut lines = vec![format!("{:?}", reply.code)];
        let sections =
            [("", &reply.answers), ("! ", &reply.authorities), ("+ ", &reply.additionals)];
        for (sign, records) in sections {
            let line =
                |r: &Record| format!("{sign}{} {} {} {}", r.name, r.ttl, r.record_type(), r.data);
            let mut these: Vec<String> = records.iter().map(line).collect();
            these.sort();
            lines.extend(these);
        }
        lines
    }

    struct World {
        name: Name,
        zones: Zones,
        options: Options,
    }

    impl World {
        fn new(options: Options) -> Self {
            let zones = Zones::new("consul", None, "dc1").unwrap();
            Self { name: Name::from_ascii("Q.consul.").unwrap(), zones, options }
        }

        fn scope(&self, kind: RecordType) -> Scope<'_> {
            let (name, zone) = (&self.name, &self.zones.main);
            Scope {
                name,
                kind,
                zone,
                options: &self.options,
                now: 77,
                seed: 1,
                source: [127, 0, 0, 1].into(),
            }
        }

        fn service(&self, kind: RecordType, tag: Option<&str>, texts: &[&str]) -> Vec<String> {
            let instances: Vec<Instance> = texts.iter().map(|text| instance(text)).collect();
            show(&service(self.scope(kind), &instances, tag))
        }
    }

    const SOA: &str = "! consul. 0 SOA ns.consul. hostmaster.consul. 77 3600 600 86400 0";
    const V4: &str = "n1/10.0.0.1//80/passing/a";
    const OWN: &str = "n1/10.0.0.1/10.9.9.9/81/passing/b";
    const V6: &str = "n2/fd00::2//82/passing/b";
    const HOST: &str = "n3/10.0.0.3/far.example.com/83/passing/a";
    const HOST_DOT: &str = "n3/10.0.0.3/near.example.com./84/passing/a";
    const WARNS: &str = "n4/10.0.0.4//85/warning/a";
    const SICK: &str = "n5/10.0.0.5//86/critical/a";
    const ODD: &str = "n6/10.0.0.6//87/sleepy/a";
    const DOTTED: &str = "n7.rack/10.0.0.7//88/passing/a";
    const UNSPELLED: &str = "n8..x/10.0.0.8//89/passing/a";
    const ITSELF: &str = "n2/10.0.0.2/q.consul/91/passing/a";
    const NOWHERE: &str = "n9/..//90/passing/a";

    /// Kind, tag, instances, lines.
    type ServiceCase<'a> = (RecordType, Option<&'a str>, &'a [&'a str], &'a [&'a str]);

    #[test]
    fn addresses_of_a_service() {
        use RecordType as T;
        let world = World::new(Options::default());
        let table: &[ServiceCase<'_>] = &[
            (T::A, None, &[V4], &["NoError", "Q.consul. 0 A 10.0.0.1"]),
            (T::A, None, &[V4, V4], &["NoError", "Q.consul. 0 A 10.0.0.1"]),
            (T::A, None, &[OWN], &["NoError", "Q.consul. 0 A 10.9.9.9"]),
            (T::A, None, &[V6], &["NoError", SOA]),
            (T::AAAA, None, &[V4, V6], &["NoError", "Q.consul. 0 AAAA fd00::2"]),
            (T::AAAA, None, &[V4], &["NoError", SOA]),
            (
                T::ANY,
                None,
                &[V4, V6],
                &["NoError", "Q.consul. 0 A 10.0.0.1", "Q.consul. 0 AAAA fd00::2"],
            ),
            (T::TXT, None, &[V4], &["NoError", "Q.consul. 0 A 10.0.0.1"]),
            (T::MX, None, &[V4], &["NoError", SOA]),
            (T::CNAME, None, &[V4], &["NoError", SOA]),
            (T::MX, None, &[HOST], &["NoError", "Q.consul. 0 CNAME far.example.com."]),
            (T::A, None, &[], &["NXDomain", SOA]),
            (T::A, None, &[SICK], &["NXDomain", SOA]),
            (T::A, None, &[SICK, V4], &["NoError", "Q.consul. 0 A 10.0.0.1"]),
            (T::A, None, &[WARNS], &["NoError", "Q.consul. 0 A 10.0.0.4"]),
            (T::A, None, &[ODD], &["NoError", "Q.consul. 0 A 10.0.0.6"]),
            (T::A, Some("A"), &[V4, OWN], &["NoError", "Q.consul. 0 A 10.0.0.1"]),
            (T::A, Some("b"), &[V4, OWN], &["NoError", "Q.consul. 0 A 10.9.9.9"]),
            (T::A, Some("c"), &[V4, OWN], &["NXDomain", SOA]),
            (T::A, None, &[HOST], &["NoError", "Q.consul. 0 CNAME far.example.com."]),
            (T::CNAME, None, &[HOST], &["NoError", "Q.consul. 0 CNAME far.example.com."]),
            (T::A, None, &[HOST_DOT], &["NoError", "Q.consul. 0 CNAME near.example.com."]),
            (T::A, None, &[HOST, V4], &["NoError", "Q.consul. 0 A 10.0.0.1"]),
            (T::AAAA, None, &[HOST, V4], &["NoError", "Q.consul. 0 CNAME far.example.com."]),
            (T::A, None, &[NOWHERE], &["NoError", SOA]),
            (T::A, None, &[ITSELF], &["NoError", "Q.consul. 0 A 10.0.0.2"]),
        ];
        for (kind, tag, instances, want) in table {
            assert_eq!(
                world.service(*kind, *tag, instances),
                *want,
                "{kind} {tag:?} {instances:?}"
            );
        }
    }

    #[test]
    fn places_of_a_service() {
        let world = World::new(Options { node_meta_txt: false, ..Options::default() });
        let table: &[(&str, &[&str])] = &[
            (
                V4,
                &[
                    "Q.consul. 0 SRV 1 10 80 n1.node.dc1.consul.",
                    "+ n1.node.dc1.consul. 0 A 10.0.0.1",
                ],
            ),
            (
                OWN,
                &[
                    "Q.consul. 0 SRV 1 10 81 0a090909.addr.dc1.consul.",
                    "+ 0a090909.addr.dc1.consul. 0 A 10.9.9.9",
                ],
            ),
            (
                V6,
                &[
                    "Q.consul. 0 SRV 1 10 82 n2.node.dc1.consul.",
                    "+ n2.node.dc1.consul. 0 AAAA fd00::2",
                ],
            ),
            (
                "n/10.0.0.1/fe80::1/1/passing/a",
                &[
                    "Q.consul. 0 SRV 1 10 1 fe800000000000000000000000000001.addr.dc1.consul.",
                    "+ fe800000000000000000000000000001.addr.dc1.consul. 0 AAAA fe80::1",
                ],
            ),
            (
                WARNS,
                &[
                    "Q.consul. 0 SRV 1 2 85 n4.node.dc1.consul.",
                    "+ n4.node.dc1.consul. 0 A 10.0.0.4",
                ],
            ),
            (HOST, &["Q.consul. 0 SRV 1 10 83 far.example.com."]),
            (
                DOTTED,
                &[
                    "Q.consul. 0 SRV 1 10 88 n7.rack.node.dc1.consul.",
                    "+ n7.rack.node.dc1.consul. 0 A 10.0.0.7",
                ],
            ),
            (
                UNSPELLED,
                &[
                    "Q.consul. 0 SRV 1 10 89 0a000008.addr.dc1.consul.",
                    "+ 0a000008.addr.dc1.consul. 0 A 10.0.0.8",
                ],
            ),
        ];
        for (instance, want) in table {
            let lines = world.service(RecordType::SRV, None, &[instance]);
            assert_eq!(lines[1..], **want, "{instance}");
        }
        let lines = world.service(RecordType::SRV, None, &[V4, V4, "n1/10.0.0.1//8080/passing/a"]);
        assert_eq!(lines.len(), 1 + 2 + 2, "one for each port, and addresses beside: {lines:?}");
        let lines = world.service(RecordType::SRV, None, &[NOWHERE]);
        assert_eq!(lines, ["NoError", SOA]);
    }

    #[test]
    fn addresses_of_a_family_come_first() {
        use RecordType as T;
        let world = World::new(Options { node_meta_txt: false, ..Options::default() });
        let tagged = |node: &[(&str, &str)], own: &[(&str, &str)]| {
            let mut it = instance("n1/10.0.0.1//80/passing/a");
            let pairs =
                node.iter().map(|(key, address)| ((*key).to_owned(), (*address).to_owned()));
            Arc::make_mut(&mut it.node).tagged_addresses = pairs.collect();
            let pairs = own.iter().map(|(key, address)| {
                let address = (*address).to_owned();
                ((*key).to_owned(), crate::model::ServiceAddress { address, port: 9 })
            });
            Arc::make_mut(&mut it.service).tagged_addresses = pairs.collect();
            it
        };
        let same = tagged(&[("lan_ipv4", "10.0.0.1"), ("wan", "1.1.1.1")], &[]);
        let six = tagged(&[("lan_ipv4", "10.0.0.1"), ("lan_ipv6", "fd00::1")], &[]);
        let four = tagged(&[("lan_ipv4", "10.1.1.1")], &[]);
        let own = tagged(&[], &[("lan_ipv6", "fd00::9")]);
        let table: &[(&Instance, T, &str)] = &[
            (&same, T::A, "A 10.0.0.1"),
            (&same, T::SRV, "SRV 1 10 80 n1.node.dc1.consul."),
            (&six, T::A, "A 10.0.0.1"),
            (&six, T::AAAA, "AAAA fd00::1"),
            (&six, T::ANY, "AAAA fd00::1"),
            (&six, T::SRV, "SRV 1 10 80 fd000000000000000000000000000001.addr.dc1.consul."),
            (&four, T::A, "A 10.1.1.1"),
            (&four, T::SRV, "SRV 1 10 80 0a010101.addr.dc1.consul."),
            (&own, T::A, "A 10.0.0.1"),
            (&own, T::AAAA, "AAAA fd00::9"),
            (&own, T::SRV, "SRV 1 10 80 fd000000000000000000000000000009.addr.dc1.consul."),
        ];
        for (it, kind, want) in table {
            let reply = service(world.scope(*kind), std::slice::from_ref(*it), None);
            assert_eq!(show(&reply)[1], format!("Q.consul. 0 {want}"), "{kind}");
        }
        let node = node(world.scope(T::AAAA), &six.node);
        assert_eq!(show(&node)[1], "Q.consul. 0 AAAA fd00::1");
    }

    #[test]
    fn a_status_of_another_word_weighs_one() {
        let world = World::new(Options { node_meta_txt: false, ..Options::default() });
        let lines = world.service(RecordType::SRV, None, &[ODD]);
        assert_eq!(lines[1], "Q.consul. 0 SRV 1 1 87 n6.node.dc1.consul.");
    }

    #[test]
    fn hosts_beside_answers_are_followed_up_to_a_bound() {
        let world = World::new(Options::default());
        let texts: Vec<String> =
            (0..20).map(|at| format!("n/10.0.0.1/h{at}.example.com/{at}/passing/a")).collect();
        let instances: Vec<Instance> = texts.iter().map(|text| instance(text)).collect();
        let reply = service(world.scope(RecordType::SRV), &instances, None);
        assert_eq!((reply.answers.len(), reply.follow_beside.len()), (20, 8));
    }

    #[test]
    fn options_decide_health_number_and_ttl() {
        let ttl = [("web".to_owned(), Duration::from_secs(9))].into();
        let world = World::new(Options {
            only_passing: true,
            a_record_limit: 2,
            service_ttl: ttl,
            ..Options::default()
        });
        let lines = world.service(RecordType::A, None, &[V4, WARNS, ODD]);
        assert_eq!(lines, ["NoError", "Q.consul. 9 A 10.0.0.1"]);
        let lines = world.service(RecordType::A, None, &[V4, OWN, DOTTED, UNSPELLED]);
        assert_eq!(lines.len(), 1 + 4, "the limit is for the encoder");
        let instances: Vec<Instance> = [V4, OWN, DOTTED, UNSPELLED].map(instance).into();
        assert_eq!(service(world.scope(RecordType::A), &instances, None).most, 2);
        let lines = world.service(RecordType::SRV, None, &[V4, OWN, DOTTED, UNSPELLED]);
        assert_eq!(lines.len(), 1 + 4 + 4, "the limit is for addresses");
    }

    #[test]
    fn the_seed_alone_decides_the_order() {
        let world = World::new(Options::default());
        let texts: Vec<String> =
            (1..=9).map(|at| format!("n/10.0.0.{at}//{at}/passing/a")).collect();
        let instances: Vec<Instance> = texts.iter().map(|text| instance(text)).collect();
        let order = |seed| {
            let scope = Scope { seed, ..world.scope(RecordType::A) };
            let reply = service(scope, &instances, None);
            reply.answers.iter().map(|r| r.data.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(order(3), order(3));
        let first: BTreeSet<String> = (0..200).map(|seed| order(seed)[0].clone()).collect();
        assert_eq!(first.len(), 9, "each comes first for some seed");
    }

    #[test]
    fn answers_about_a_node() {
        use RecordType as T;
        let world = World::new(Options { node_ttl: Duration::from_secs(5), ..Options::default() });
        let bare = World::new(Options { node_meta_txt: false, ..Options::default() });
        let meta: BTreeMap<String, String> =
            [("env".to_owned(), "prod".to_owned()), ("rfc1035-x".to_owned(), "hi".to_owned())]
                .into();
        let with = |address: &str| Node {
            name: "n1".into(),
            address: address.into(),
            meta: meta.clone(),
            ..Node::default()
        };
        let table: &[(&str, T, &[&str])] = &[
            (
                "10.0.0.1",
                T::A,
                &["Q.consul. 5 A 10.0.0.1", "+ Q.consul. 5 TXT env=prod", "+ Q.consul. 5 TXT hi"],
            ),
            ("10.0.0.1", T::AAAA, &["+ Q.consul. 5 TXT env=prod", "+ Q.consul. 5 TXT hi"]),
            ("10.0.0.1", T::TXT, &["Q.consul. 5 TXT env=prod", "Q.consul. 5 TXT hi"]),
            (
                "fd00::1",
                T::ANY,
                &["Q.consul. 5 AAAA fd00::1", "Q.consul. 5 TXT env=prod", "Q.consul. 5 TXT hi"],
            ),
            ("10.0.0.1", T::MX, &[]),
            ("10.0.0.1", T::SRV, &[]),
            ("h.example.com", T::CNAME, &["Q.consul. 5 CNAME h.example.com."]),
        ];
        for (address, kind, want) in table {
            let lines = show(&node(world.scope(*kind), &with(address)));
            assert_eq!(lines[0], "NoError", "{address} {kind}");
            assert_eq!(lines[1..], **want, "{address} {kind}");
        }
        let lines = show(&node(bare.scope(T::A), &with("10.0.0.1")));
        assert_eq!(lines, ["NoError", "Q.consul. 0 A 10.0.0.1"]);
        let lines = show(&node(bare.scope(T::TXT), &with("10.0.0.1")));
        assert_eq!(lines.len(), 3, "text that is asked for comes all the same");
        let reply = node(world.scope(T::A), &with("h.example.com"));
        assert_eq!(reply.follow, Some(Name::from_ascii("h.example.com.").unwrap()));
    }

    #[test]
    fn metadata_is_escaped_and_split() {
        let table = [
            ("k", "v", "k=v"),
            ("a=b", "c=d", "a`=b=c=d"),
            ("a`b", "c`d", "a``b=c``d"),
            (" a b  ", "", "` a b` ` ="),
            ("  ", "x", "` ` =x"),
        ];
        for (key, value, want) in table {
            assert_eq!(pair(key, value), want, "{key:?}");
        }
        let meta = [("k".to_owned(), "v".repeat(400)), ("rfc1035-e".to_owned(), String::new())];
        let long = Node { meta: meta.into(), ..Node::default() };
        let parts = |record: &Record| match &record.data {
            RData::TXT(text) => text.txt_data.iter().map(|part| part.len()).collect::<Vec<_>>(),
            other => panic!("{other}"),
        };
        let records = meta_records(&Name::root(), 0, &long);
        assert_eq!(records.iter().map(parts).collect::<Vec<_>>(), [vec![255, 147], vec![0]]);
    }

    #[test]
    fn answers_about_addresses_and_the_domain() {
        use RecordType as T;
        let world = World::new(Options::default());
        let (v4, v6) = ("10.1.2.3".parse().unwrap(), "fe80::1".parse().unwrap());
        let table: &[(IpAddr, T, &str)] = &[
            (v4, T::A, "Q.consul. 0 A 10.1.2.3"),
            (v4, T::ANY, "Q.consul. 0 A 10.1.2.3"),
            (v4, T::AAAA, SOA),
            (v6, T::AAAA, "Q.consul. 0 AAAA fe80::1"),
            (v6, T::A, SOA),
            (v6, T::TXT, SOA),
        ];
        for (ip, kind, want) in table {
            assert_eq!(show(&address(world.scope(*kind), *ip)), ["NoError", want], "{ip} {kind}");
        }
        let servers: Vec<Instance> = [V4, V6, WARNS, SICK, DOTTED].map(instance).into();
        let reply = name_servers(world.scope(T::NS), &servers);
        assert_eq!((reply.answers.len(), reply.additionals.len()), (3, 3));
        let lines = show(&name_servers(world.scope(T::NS), &servers[..1]));
        let ns = ["consul. 0 NS n1.node.dc1.consul.", "+ n1.node.dc1.consul. 0 A 10.0.0.1"];
        assert_eq!(lines[1..], ns);
        let lines = show(&soa(world.scope(T::SOA), &servers[..1]));
        let soa = SOA.strip_prefix("! ").unwrap();
        assert_eq!(lines[1..], [soa, &format!("! {}", ns[0]), ns[1]]);
        assert_eq!(show(&name_servers(world.scope(T::NS), &[instance(SICK)])), ["NoError"]);
    }

    #[test]
    fn an_address_is_named_after_its_node_first() {
        let world = World::new(Options::default());
        let scope = world.scope(RecordType::PTR);
        let (nodes, instances) = ([at("n1", "10.0.0.1")], [instance(OWN)]);
        let lines = show(&pointer(scope, &nodes, &instances).unwrap());
        assert_eq!(lines[1..], ["Q.consul. 0 PTR n1.node.dc1.consul."]);
        let lines = show(&pointer(scope, &[] as &[Arc<Node>], &instances).unwrap());
        assert_eq!(lines[1..], ["Q.consul. 0 PTR Web.service.dc1.consul."]);
        assert!(pointer(scope, &[at("a..b", "10.0.0.1")], &[]).is_none());
        let lines = show(&pointer(world.scope(RecordType::A), &nodes, &[]).unwrap());
        assert_eq!(lines, ["NoError", SOA], "a name is no address");
    }
}
