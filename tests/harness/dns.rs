//! A small DNS client: one question, one answer, over UDP (with or without EDNS) or TCP.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, Query};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// How long an answer may take before it counts as lost.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// The largest datagram there can be.
const DATAGRAM_BYTES_MAX: usize = 65_535;

/// How to carry a question.
#[derive(Clone, Copy)]
pub(crate) enum Over {
    /// A plain datagram: at most 512 bytes back.
    Udp,
    /// A datagram that offers room for this many bytes.
    Edns(u16),
    /// A stream.
    Tcp,
}

/// An answer, and how many bytes it took.
pub(crate) struct Asked {
    /// What was answered.
    pub(crate) message: Message,
    /// Length of the message on the wire.
    pub(crate) bytes: usize,
}

/// Asks the agent at `address`; `None` if nothing comes back in time.
pub(crate) async fn ask(
    address: Ipv4Addr,
    name: &str,
    kind: RecordType,
    over: Over,
) -> Option<Asked> {
    let mut question = Message::query();
    let name = Name::from_ascii(name).expect("a name that can be written");
    question.add_query(Query::query(name, kind));
    if let Over::Edns(size) = over {
        let mut edns = Edns::new();
        edns.set_max_payload(size);
        question.set_edns(edns);
    }
    let bytes = question.to_vec().expect("a question can be encoded");
    let at = SocketAddr::from((address, 8600));
    let exchange = async {
        match over {
            Over::Udp | Over::Edns(_) => by_datagram(at, &bytes).await,
            Over::Tcp => by_stream(at, &bytes).await,
        }
    };
    let answer = timeout(ANSWER_LIMIT, exchange).await.ok()?.ok()?;
    let message = Message::from_vec(&answer).expect("an answer that can be decoded");
    assert_eq!(message.metadata.id, question.metadata.id, "the answer to another question");
    Some(Asked { message, bytes: answer.len() })
}

async fn by_datagram(at: SocketAddr, question: &[u8]) -> std::io::Result<Vec<u8>> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    socket.connect(at).await?;
    socket.send(question).await?;
    let mut answer = vec![0; DATAGRAM_BYTES_MAX];
    let length = socket.recv(&mut answer).await?;
    answer.truncate(length);
    Ok(answer)
}

async fn by_stream(at: SocketAddr, question: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(at).await?;
    let length = u16::try_from(question.len()).expect("a question is short");
    stream.write_u16(length).await?;
    stream.write_all(question).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

impl Asked {
    /// The answer section as sorted lines: `SRV 1 1 80 name.`, `A 10.0.0.1`, …
    pub(crate) fn answers(&self) -> Vec<String> {
        lines(&self.message.answers)
    }

    /// The additional section as sorted lines, without the EDNS record.
    pub(crate) fn additional(&self) -> Vec<String> {
        lines(&self.message.additionals)
    }

    /// The authority section as sorted lines.
    pub(crate) fn authority(&self) -> Vec<String> {
        lines(&self.message.authorities)
    }

    /// The response code's usual name, in capitals.
    pub(crate) fn code(&self) -> String {
        format!("{:?}", self.message.metadata.response_code).to_uppercase()
    }
}

fn lines(records: &[Record]) -> Vec<String> {
    let mut lines: Vec<String> = records.iter().map(line).collect();
    lines.sort();
    lines
}

fn line(record: &Record) -> String {
    match &record.data {
        RData::A(address) => format!("A {}", address.0),
        RData::AAAA(address) => format!("AAAA {}", address.0),
        RData::CNAME(name) => format!("CNAME {}", name.0),
        RData::PTR(name) => format!("PTR {}", name.0),
        RData::NS(name) => format!("NS {}", name.0),
        RData::SRV(srv) => {
            format!("SRV {} {} {} {}", srv.priority, srv.weight, srv.port, srv.target)
        }
        RData::SOA(soa) => format!("SOA {} {}", soa.mname, soa.rname),
        other => format!("{} {other}", record.record_type()),
    }
}
