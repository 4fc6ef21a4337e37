//! A reply before it is bytes, and how it is cut to what its asker can take.

use std::collections::HashSet;
use std::net::IpAddr;

use hickory_proto::op::{Edns, Message, Metadata, Query, ResponseCode};
use hickory_proto::rr::rdata::CNAME;
use hickory_proto::rr::rdata::opt::{ClientSubnet, EdnsCode, EdnsOption};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::options::Options;
use super::wire::{Names, write};

/// What an asker over UDP takes that says nothing else. Source: RFC 1035, section 4.2.1.
const UDP_BYTES_PLAIN: usize = 512;
/// Longest reply over UDP, whatever the asker says: what is longer is cut, or comes over TCP.
const UDP_BYTES_MAX: usize = 4096;
/// Longest reply over TCP, which counts it in 16 bits. Source: RFC 1035, section 4.2.2.
const TCP_BYTES_MAX: usize = 65_535;
/// Most answers over UDP to a plain asker, whatever the settings say. Source: Consul 1.8.7.
const UDP_ANSWERS_MAX: usize = 8;
/// No answer is shorter: an owner, type, class, TTL, length, and data.
pub(super) const ANSWER_BYTES_MIN: usize = 12;
/// Most targets of one reply whose own addresses are looked up.
pub(super) const FOLLOWS_MAX: usize = 8;

const _: () = assert!(UDP_BYTES_PLAIN <= UDP_BYTES_MAX && UDP_BYTES_MAX <= TCP_BYTES_MAX);

/// How a question came, and its reply goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Udp,
    Tcp,
}

impl Transport {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

/// The records of a reply, all of them, before anything is cut.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) code: ResponseCode,
    /// Whether it is about names of ours.
    pub(super) authoritative: bool,
    pub(super) answers: Vec<Record>,
    pub(super) authorities: Vec<Record>,
    pub(super) additionals: Vec<Record>,
    /// Whether `udp_answer_limit` holds for it.
    pub(super) counted: bool,
    /// Most answers that are sent, however much room there is.
    pub(super) most: usize,
    /// Whether it is only for the name that was asked for, and cannot be kept for another
    /// spelling of the same question.
    pub(super) own: bool,
    /// For whom it holds.
    pub(super) reach: Reach,
    /// A host name that answers lead to, and that should be looked up for the asker.
    pub(super) follow: Option<Name>,
    /// Host names beside the answers, to be looked up also; at most [`FOLLOWS_MAX`].
    pub(super) follow_beside: Vec<Name>,
}

impl Reply {
    /// A good answer, of nothing yet.
    pub(super) fn good() -> Self {
        Self { authoritative: true, ..Self::bare(ResponseCode::NoError) }
    }

    /// Only a code, about a name that is not ours or that could not be looked up.
    pub(super) fn bare(code: ResponseCode) -> Self {
        Self {
            code,
            authoritative: false,
            answers: Vec::new(),
            authorities: Vec::new(),
            additionals: Vec::new(),
            counted: false,
            most: usize::MAX,
            own: false,
            reach: Reach::Everyone,
            follow: None,
            follow_beside: Vec::new(),
        }
    }

    /// Answers that `owner` is another name for `host`.
    pub(super) fn alias(&mut self, owner: Name, ttl: u32, host: Name) {
        self.answers.push(Record::from_rdata(owner, ttl, RData::CNAME(CNAME(host.clone()))));
        self.follow = Some(host);
    }

    /// Leaves out what stands beside the answers twice. Consul repeats what several answers
    /// share; once is enough for a reader, and leaves more room.
    pub(super) fn settle(&mut self) {
        let mut seen = HashSet::new();
        self.additionals.retain(|record| seen.insert((record.name.clone(), record.data.clone())));
    }

    /// Puts a record beside the answers.
    pub(super) fn beside(&mut self, record: Record) {
        self.additionals.push(record);
    }

    /// Puts records beside the answers.
    pub(super) fn beside_all(&mut self, records: Vec<Record>) {
        self.additionals.extend(records);
    }

    /// Asks that `host` be looked up, for its addresses to stand beside the answers.
    pub(super) fn follow_beside(&mut self, host: Name) {
        if self.follow_beside.len() < FOLLOWS_MAX && !self.follow_beside.contains(&host) {
            self.follow_beside.push(host);
        }
    }
}

/// For whom a reply holds. Source: RFC 7871, section 7.2.1, SCOPE PREFIX-LENGTH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    Everyone,
    /// The network that the asker named: others may be nearer to something else.
    Network,
}

/// The question that a reply goes with.
#[derive(Clone, Debug)]
pub(super) struct Asker<'a> {
    pub(super) request: &'a Metadata,
    /// The question's bytes as they came; empty where there is none or it cannot be taken over.
    pub(super) question: &'a [u8],
    pub(super) questions: &'a [Query],
    pub(super) edns: Option<&'a Edns>,
    pub(super) transport: Transport,
    /// The address that the question came from.
    pub(super) address: IpAddr,
}

impl Asker<'_> {
    /// Where the asker is: the network that it named, else its own address.
    /// Source: RFC 7871, section 7.1.1.
    pub(super) fn source(&self) -> IpAddr {
        match self.edns.and_then(|edns| edns.option(EdnsCode::Subnet)) {
            Some(EdnsOption::Subnet(subnet)) => subnet.addr(),
            _ => self.address,
        }
    }
}

/// The bytes of `reply`, no more than the asker takes.
pub(super) fn encode(asker: &Asker<'_>, mut reply: Reply, options: &Options) -> Vec<u8> {
    reply.settle();
    let mut message = Message::response(asker.request.id, asker.request.op_code);
    message.metadata = head(asker, options);
    // Several questions are not answered, and may be longer than what the asker takes.
    message.queries = match asker.questions {
        [one] => vec![one.clone()],
        _ => Vec::new(),
    };
    message.edns = asker.edns.map(|edns| told_again(edns, reply.reach));
    message.metadata.authoritative = reply.authoritative;
    message.metadata.response_code = reply.code;
    message.answers = reply.answers;
    message.authorities = reply.authorities;
    message.additionals = reply.additionals;
    let all = message.answers.len();
    message.answers.truncate(reply.most);
    let was = message.answers.len();
    let room = Room::of(asker);
    if reply.counted && room.plain {
        message.answers.truncate(counted_most(options));
    }
    // What surely does not fit is left out before anything is written to see what does.
    message.answers.truncate(room.bytes / ANSWER_BYTES_MIN);
    let names = room.names(options);
    if message.answers.len() < all || !room.holds(&message, names) {
        cut(&mut message, room, names);
    }
    let is_cut = message.answers.len() < was;
    message.metadata.truncation =
        is_cut && options.enable_truncate && asker.transport == Transport::Udp;
    write(&message, options.names())
}

/// Most answers about a service over UDP to a plain asker.
pub(super) fn counted_most(options: &Options) -> usize {
    match options.udp_answer_limit {
        0 => UDP_ANSWERS_MAX,
        limit => limit.min(UDP_ANSWERS_MAX),
    }
}

/// The head of a good reply about names of ours.
pub(super) fn head(asker: &Asker<'_>, options: &Options) -> Metadata {
    let mut head = Metadata::response_from_request(asker.request);
    head.recursion_available = !options.recursors.is_empty();
    head.authoritative = true;
    head
}

/// The asker's size again, as Consul has it, and the asker's network.
/// Source: RFC 6891, section 6.1; RFC 7871, section 7.2.1.
pub(super) fn told_again(asked: &Edns, reach: Reach) -> Edns {
    let mut edns = Edns::new();
    edns.set_max_payload(asked.max_payload());
    if let Some(EdnsOption::Subnet(subnet)) = asked.option(EdnsCode::Subnet) {
        let prefix = match reach {
            Reach::Everyone => 0,
            Reach::Network => subnet.source_prefix(),
        };
        let scope = ClientSubnet::new(subnet.addr(), subnet.source_prefix(), prefix);
        edns.options_mut().insert(EdnsOption::Subnet(scope));
    }
    edns
}

/// What an asker can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    pub(super) bytes: usize,
    /// Over UDP, and no more than every asker takes.
    pub(super) plain: bool,
}

impl Room {
    pub(super) fn of(asker: &Asker<'_>) -> Self {
        let bytes = match (asker.transport, asker.edns) {
            (Transport::Tcp, _) => TCP_BYTES_MAX,
            (Transport::Udp, None) => UDP_BYTES_PLAIN,
            (Transport::Udp, Some(edns)) => {
                usize::from(edns.max_payload()).clamp(UDP_BYTES_PLAIN, UDP_BYTES_MAX)
            }
        };
        let plain = asker.transport == Transport::Udp && bytes == UDP_BYTES_PLAIN;
        Self { bytes, plain }
    }

    /// How names are counted: in full for a plain asker, as Consul does, since whoever passes the
    /// reply on may write it so.
    pub(super) fn names(self, options: &Options) -> Names {
        if self.plain { Names::InFull } else { options.names() }
    }

    fn holds(self, message: &Message, names: Names) -> bool {
        write(message, names).len() <= self.bytes
    }
}

/// Drops what is only beside the answers, but for their targets' addresses; then answers from
/// the end with those of their targets, until the rest fits.
fn cut(message: &mut Message, room: Room, names: Names) {
    let answers = std::mem::take(&mut message.answers);
    let beside = std::mem::take(&mut message.additionals);
    let (mut fits, mut too_many) = (0, answers.len());
    keep(message, &answers, &beside);
    if room.holds(message, names) {
        return;
    }
    while too_many - fits > 1 {
        let middle = fits.midpoint(too_many);
        keep(message, answers.get(..middle).unwrap_or_default(), &beside);
        if room.holds(message, names) {
            fits = middle;
        } else {
            too_many = middle;
        }
    }
    keep(message, answers.get(..fits).unwrap_or_default(), &beside);
}

fn keep(message: &mut Message, answers: &[Record], beside: &[Record]) {
    let pointing = answers.iter().chain(&message.authorities);
    let targets: HashSet<&Name> = pointing.filter_map(target).collect();
    let is_address = |r: &Record| matches!(r.record_type(), RecordType::A | RecordType::AAAA);
    let belongs = |r: &&Record| is_address(r) && targets.contains(&r.name);
    message.additionals = beside.iter().filter(belongs).cloned().collect();
    message.answers = answers.to_vec();
}

fn target(record: &Record) -> Option<&Name> {
    match &record.data {
        RData::SRV(srv) => Some(&srv.target),
        RData::NS(ns) => Some(&ns.0),
        _ => None,
    }
}

/// Makes somebody else's reply, of at least 12 bytes, fit: what is too long becomes a header and
/// the question, and says that it was cut. `question_end` is where the question ends.
pub(super) fn fit(mut bytes: Vec<u8>, question_end: usize, asker: &Asker<'_>) -> Vec<u8> {
    if bytes.len() > Room::of(asker).bytes {
        bytes.truncate(question_end);
        bytes[2] |= 0b10;
        bytes[6..12].fill(0);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use hickory_proto::op::{MessageType, OpCode};
    use hickory_proto::rr::rdata::{A, AAAA, SRV, TXT};

    use super::*;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    /// A reply of `count` addresses.
    fn addresses(count: u16) -> Reply {
        let mut reply = Reply { counted: true, ..Reply::good() };
        for at in 0..count {
            let [high, low] = at.to_be_bytes();
            let data = RData::A(A(Ipv4Addr::new(10, 0, high, low)));
            reply.answers.push(Record::from_rdata(name("q.service.consul."), 0, data));
        }
        reply
    }

    /// A reply of `count` places, each with its address and a text beside.
    fn places(count: u16) -> Reply {
        let mut reply = Reply { counted: true, ..Reply::good() };
        for at in 0..count {
            let target = name(&format!("{at:08x}.addr.dc1.consul."));
            let srv = RData::SRV(SRV::new(1, 1, at, target.clone()));
            reply.answers.push(Record::from_rdata(name("q.service.consul."), 0, srv));
            let ip = RData::AAAA(AAAA(Ipv6Addr::from_bits(at.into())));
            reply.beside(Record::from_rdata(target, 0, ip));
            let text = RData::TXT(TXT::new(vec![format!("text={at}")]));
            reply.beside(Record::from_rdata(name("n.node.dc1.consul."), 0, text));
        }
        reply
    }

    struct Sent {
        bytes: usize,
        message: Message,
    }

    fn send(reply: Reply, transport: Transport, size: Option<u16>, options: &Options) -> Sent {
        let request = Metadata::new(7, MessageType::Query, OpCode::Query);
        let edns = size.map(|size| {
            let mut edns = Edns::new();
            edns.set_max_payload(size);
            edns
        });
        let questions = [Query::query(name("q.service.consul."), RecordType::SRV)];
        let asker = Asker {
            request: &request,
            question: &[],
            questions: &questions,
            edns: edns.as_ref(),
            transport,
            address: Ipv4Addr::LOCALHOST.into(),
        };
        let bytes = encode(&asker, reply, options);
        Sent { bytes: bytes.len(), message: Message::from_vec(&bytes).unwrap() }
    }

    /// How many answers and other records are sent, and whether it says that it was cut.
    fn counts(sent: &Sent) -> (usize, usize, bool) {
        let message = &sent.message;
        (message.answers.len(), message.additionals.len(), message.metadata.truncation)
    }

    #[test]
    fn what_fits_is_sent_whole_and_the_rest_is_cut() {
        use Transport::{Tcp, Udp};
        let options = Options::default();
        // (reply, transport, advertised size, answers, beside, cut)
        let table = [
            (addresses(3), Udp, None, (3, 0, false)),
            (addresses(4), Udp, None, (3, 0, true)),
            (addresses(4), Udp, Some(512), (3, 0, true)),
            (addresses(4), Udp, Some(513), (4, 0, false)),
            (addresses(200), Udp, Some(1232), (74, 0, true)),
            (addresses(200), Udp, Some(4096), (200, 0, false)),
            (addresses(300), Udp, Some(65_535), (253, 0, true)),
            (addresses(4000), Tcp, None, (4000, 0, false)),
            (addresses(4096), Tcp, None, (4093, 0, false)),
            (places(2), Udp, None, (2, 4, false)),
            (places(4), Udp, None, (3, 3, true)),
            (places(40), Udp, Some(4096), (40, 80, false)),
            (places(55), Udp, Some(4096), (55, 55, false)),
            (places(40), Udp, Some(1232), (16, 16, true)),
            (places(40), Tcp, None, (40, 80, false)),
        ];
        for (at, (reply, transport, size, want)) in table.into_iter().enumerate() {
            let sent = send(reply, transport, size, &options);
            assert_eq!(counts(&sent), want, "row {at}");
            let most = match transport {
                Tcp => 65_535,
                Udp => usize::from(size.unwrap_or(512).min(4096)),
            };
            assert!(sent.bytes <= most, "row {at}: {} bytes", sent.bytes);
        }
    }

    #[test]
    fn the_plain_limit_is_at_most_eight_and_only_for_services() {
        let most = |udp_answer_limit, counted| {
            let options = Options { udp_answer_limit, ..Options::default() };
            let reply = Reply { counted, ..addresses(12) };
            counts(&send(reply, Transport::Udp, None, &options)).0
        };
        let table = [(1, 1), (3, 3), (8, 8), (9, 8), (0, 8)];
        for (limit, want) in table {
            assert_eq!(most(limit, true), want, "{limit}");
        }
        assert_eq!(most(3, false), 12);
    }

    #[test]
    fn a_plain_asker_gets_512_bytes_counted_with_names_in_full() {
        let options = Options { udp_answer_limit: 8, ..Options::default() };
        let sent = send(places(8), Transport::Udp, None, &options);
        // In full: 34 for header and question, then 60 for an answer and 54 for its address.
        assert_eq!(counts(&sent), (4, 4, true));
    }

    #[test]
    fn a_cut_is_told_only_where_it_helps() {
        let options = Options { enable_truncate: false, ..Options::default() };
        assert!(!send(addresses(9), Transport::Udp, None, &options).message.metadata.truncation);
        let options = Options::default();
        assert!(!send(addresses(5000), Transport::Tcp, None, &options).message.metadata.truncation);
    }

    #[test]
    fn what_is_written_is_read_again() {
        let reply = places(300);
        let sent = send(reply.clone(), Transport::Tcp, Some(1232), &Options::default());
        assert_eq!(sent.message.answers, reply.answers);
        assert_eq!(sent.message.additionals, reply.additionals);
        assert_eq!(sent.message.edns.map(|edns| edns.max_payload()), Some(1232));
        assert_eq!(sent.message.metadata.id, 7);
        assert!(sent.message.metadata.authoritative);
    }

    #[test]
    fn repeats_beside_the_answers_are_left_out() {
        let mut reply = places(1);
        let again = reply.additionals.clone();
        reply.beside_all(again);
        assert_eq!(counts(&send(reply, Transport::Tcp, None, &Options::default())), (1, 2, false));
    }
}
