//! Questions to both programs, their answers in a form that can be compared, and what differs.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, Query};
use hickory_proto::rr::rdata::opt::{ClientSubnet, EdnsCode, EdnsOption};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::harness::Over;

/// How long an answer may take; no answer is an answer too, where both give none.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// How long is waited for an answer that should not come.
const SILENCE: Duration = Duration::from_millis(300);
/// The id of every question.
const ID: u16 = 4711;

/// What is asked.
#[derive(Clone)]
pub(super) struct Ask {
    /// The question's name as text, with `\.` for a dot inside a label.
    pub(super) name: &'static str,
    pub(super) kind: RecordType,
    pub(super) class: DNSClass,
    /// How it is asked, one after the other.
    pub(super) over: &'static [Over],
    /// The asker's network, for which the answer should be good.
    pub(super) subnet: bool,
    /// The bytes of the whole message where they cannot be made of the above.
    pub(super) raw: Option<fn() -> Vec<u8>>,
    /// Whether only the numbers of records are compared, because which ones are left is chance.
    pub(super) counted: bool,
    /// What differs, on purpose.
    pub(super) differs: Option<&'static Intended>,
}

const EVERY_WAY: &[Over] = &[Over::Udp, Over::Edns(1232), Over::Tcp];

/// A question in the ordinary ways: a plain datagram, one of 1232 bytes, a stream.
pub(super) const fn ask(name: &'static str, kind: RecordType) -> Ask {
    Ask {
        name,
        kind,
        class: DNSClass::IN,
        over: EVERY_WAY,
        subnet: false,
        raw: None,
        counted: false,
        differs: None,
    }
}

/// A message of bytes that no ordinary asker sends, as a datagram.
pub(super) const fn raw(what: &'static str, bytes: fn() -> Vec<u8>) -> Ask {
    Ask { raw: Some(bytes), over: &[Over::Udp], ..ask(what, RecordType::A) }
}

impl Ask {
    pub(super) const fn differs(mut self, how: &'static Intended) -> Self {
        self.differs = Some(how);
        self
    }

    pub(super) const fn over(mut self, over: &'static [Over]) -> Self {
        self.over = over;
        self
    }

    pub(super) const fn class(mut self, class: DNSClass) -> Self {
        self.class = class;
        self
    }

    pub(super) const fn for_subnet(mut self) -> Self {
        self.subnet = true;
        self.over = &[Over::Edns(1232), Over::Tcp];
        self
    }

    pub(super) const fn counted(mut self) -> Self {
        self.counted = true;
        self
    }

    fn message(&self, name: &str, over: Over) -> Vec<u8> {
        if let Some(raw) = self.raw {
            return raw();
        }
        let mut query = Query::query(spelled(name), self.kind);
        query.set_query_class(self.class);
        let mut message = Message::query();
        message.metadata.id = ID;
        message.metadata.recursion_desired = true;
        message.add_query(query);
        let bytes = match over {
            Over::Edns(bytes) => Some(bytes),
            Over::Udp | Over::Tcp => self.subnet.then_some(1232),
        };
        if let Some(bytes) = bytes {
            let mut edns = Edns::new();
            edns.set_max_payload(bytes);
            if self.subnet {
                let subnet = ClientSubnet::new(Ipv4Addr::new(10, 1, 0, 0).into(), 16, 0);
                edns.options_mut().insert(EdnsOption::Subnet(subnet));
            }
            message.set_edns(edns);
        }
        message.to_vec().expect("a question can be encoded")
    }

    /// Puts the question to the agent at `address`. `masks` are texts of that agent's alone, each
    /// with the word that stands for it; the words may be used in the question's name.
    pub(super) async fn put(
        &self,
        address: Ipv4Addr,
        over: Over,
        masks: &[(String, &'static str)],
    ) -> Answer {
        let name =
            masks.iter().fold(self.name.to_owned(), |name, (own, word)| name.replace(word, own));
        let message = self.message(&name, over);
        let at = SocketAddr::from((address, 8600));
        let limit = if self.raw.is_some() { SILENCE } else { ANSWER_LIMIT };
        let exchange = async {
            match over {
                Over::Tcp => by_stream(at, &message).await,
                Over::Udp | Over::Edns(_) => by_datagram(at, &message).await,
            }
        };
        match timeout(limit, exchange).await {
            Ok(Ok(bytes)) => Answer::read(&bytes, masks, self.counted),
            Ok(Err(_)) | Err(_) => Answer::default(),
        }
    }
}

/// A name of any labels, also such that no host has.
pub(super) fn spelled(text: &str) -> Name {
    let text = text.replace("\\.", "\0");
    let labels = text.split('.').filter(|label| !label.is_empty());
    let labels: Vec<String> = labels.map(|label| label.replace('\0', ".")).collect();
    Name::from_labels(labels.iter().map(String::as_bytes)).expect("a name that can be written")
}

async fn by_datagram(at: SocketAddr, question: &[u8]) -> std::io::Result<Vec<u8>> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    socket.connect(at).await?;
    socket.send(question).await?;
    let mut answer = vec![0; 65_535];
    let length = socket.recv(&mut answer).await?;
    answer.truncate(length);
    Ok(answer)
}

async fn by_stream(at: SocketAddr, question: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(at).await?;
    let length = u16::try_from(question.len()).expect("a question is short");
    let framed = [&length.to_be_bytes()[..], question].concat();
    stream.write_all(&framed).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

/// A part of an answer that is compared by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Code,
    Flags,
    Question,
    Answers,
    Authority,
    Beside,
    Edns,
}

const PARTS: [Part; 7] = [
    Part::Code,
    Part::Flags,
    Part::Question,
    Part::Answers,
    Part::Authority,
    Part::Beside,
    Part::Edns,
];

/// An answer as text; all empty where none came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) code: String,
    pub(super) flags: BTreeSet<&'static str>,
    pub(super) question: Vec<String>,
    pub(super) answers: Vec<String>,
    pub(super) authority: Vec<String>,
    pub(super) beside: Vec<String>,
    pub(super) edns: String,
    /// How long it was on the wire.
    pub(super) bytes: usize,
}

impl Answer {
    fn read(bytes: &[u8], masks: &[(String, &'static str)], counted: bool) -> Self {
        let mut read = Self { bytes: bytes.len(), ..Self::default() };
        let Some(head) = bytes.first_chunk::<12>() else {
            read.code = format!("{} bytes", bytes.len());
            return read;
        };
        let flag = |byte: usize, bit: u8, name| (head[byte] & bit != 0).then_some(name);
        let flags = [
            flag(2, 0x80, "qr"),
            flag(2, 0x04, "aa"),
            flag(2, 0x02, "tc"),
            flag(2, 0x01, "rd"),
            flag(3, 0x80, "ra"),
            flag(3, 0x20, "ad"),
            flag(3, 0x10, "cd"),
        ];
        read.flags = flags.into_iter().flatten().collect();
        assert_eq!(head[..2], ID.to_be_bytes(), "the answer to another question");
        let Ok(message) = Message::from_vec(bytes) else {
            read.code = format!("not readable, code {}", head[3] & 0x0f);
            return read;
        };
        let lines = |records: &[Record]| {
            let mut lines: Vec<String> =
                records.iter().map(|record| masked(line(record), masks)).collect();
            lines.sort();
            if counted { counts(&lines) } else { lines }
        };
        read.code = format!("{:?}", message.metadata.response_code).to_uppercase();
        let asked = |it: &Query| masked(format!("{} {}", it.name(), it.query_type()), masks);
        read.question = message.queries.iter().map(asked).collect();
        read.answers = lines(&message.answers);
        read.authority = lines(&message.authorities);
        read.beside = lines(&message.additionals);
        read.edns = message.edns.as_ref().map_or_else(String::new, |edns| {
            let subnet = match edns.option(EdnsCode::Subnet) {
                Some(EdnsOption::Subnet(it)) => {
                    format!(" {}/{} for {}", it.addr(), it.source_prefix(), it.scope_prefix())
                }
                _ => String::new(),
            };
            format!("{} bytes{subnet}", edns.max_payload())
        });
        read
    }

    fn part(&self, part: Part) -> String {
        let list = |lines: &[String]| format!("[{}]", lines.join(" | "));
        match part {
            Part::Code => self.code.clone(),
            Part::Flags => self.flags.iter().copied().collect::<Vec<_>>().join(" "),
            Part::Question => list(&self.question),
            Part::Answers => list(&self.answers),
            Part::Authority => list(&self.authority),
            Part::Beside => list(&self.beside),
            Part::Edns => self.edns.clone(),
        }
    }
}

fn masked(text: String, masks: &[(String, &'static str)]) -> String {
    masks.iter().fold(text, |text, (own, word)| text.replace(own, word))
}

/// Owner, TTL, class, type and data; the time in a SOA record is left out.
fn line(record: &Record) -> String {
    let data = match &record.data {
        RData::SOA(soa) => format!(
            "{} {} {} {} {} {}",
            soa.mname, soa.rname, soa.refresh, soa.retry, soa.expire, soa.minimum
        ),
        RData::TXT(text) => {
            let parts = text.txt_data.iter().map(|part| String::from_utf8_lossy(part));
            format!("{:?}", parts.collect::<Vec<_>>())
        }
        other => other.to_string(),
    };
    let (name, kind) = (record.name.to_string(), record.record_type());
    format!("{name} {} {} {kind} {data}", record.ttl, record.dns_class)
}

/// How many of each type there are.
fn counts(lines: &[String]) -> Vec<String> {
    let kinds: Vec<&str> = lines.iter().filter_map(|line| line.split(' ').nth(3)).collect();
    let distinct: BTreeSet<&str> = kinds.iter().copied().collect();
    let count = |kind: &str| kinds.iter().filter(|it| **it == kind).count();
    distinct.into_iter().map(|kind| format!("{} {kind}", count(kind))).collect()
}

/// Something that we do otherwise, on purpose.
pub(super) struct Intended {
    pub(super) name: &'static str,
    pub(super) reason: &'static str,
    pub(super) parts: &'static [Part],
    /// Whether theirs and ours differ just so.
    pub(super) holds: fn(&Answer, &Answer) -> bool,
}

/// A part that differs.
#[derive(Debug)]
pub(super) struct Difference {
    pub(super) part: Part,
    pub(super) theirs: String,
    pub(super) ours: String,
}

/// All that differs between the real Consul's answer and ours.
pub(super) fn differences(theirs: &Answer, ours: &Answer) -> Vec<Difference> {
    let both = PARTS.iter().map(|part| (*part, theirs.part(*part), ours.part(*part)));
    both.filter(|(_, theirs, ours)| theirs != ours)
        .map(|(part, theirs, ours)| Difference { part, theirs, ours })
        .collect()
}
