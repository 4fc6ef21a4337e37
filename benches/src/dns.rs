//! One DNS question, built once, and a look at its answers.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::rows::service;
use crate::source::put_digits;

/// UDP payload that the question offers: what fits every path without fragments, and ten SRV
/// records with their addresses. Without EDNS Consul answers with three of the ten, so the two
/// systems might do unequal work. Source: RFC 6891, section 6.2.3; DNS flag day 2020.
const PAYLOAD_BYTES: u16 = 1232;
/// Longest wait for an answer; a datagram lost after this is an error.
const PATIENCE: Duration = Duration::from_secs(1);
/// Room for any datagram that a server may send on loopback.
const DATAGRAM_BYTES_MAX: usize = 4096;
/// Bytes of a header. Source: RFC 1035, section 4.1.1.
const HEADER_BYTES: usize = 12;
/// Type SRV. Source: RFC 2782.
const TYPE_SRV: u16 = 33;
/// Type OPT. Source: RFC 6891, section 6.1.2.
const TYPE_OPT: u16 = 41;
/// Where the service's number stands in the question: behind the header, a length and `bench-`.
const NUMBER_AT: std::ops::Range<usize> = HEADER_BYTES + 7..HEADER_BYTES + 13;
/// Class IN.
const CLASS_IN: u16 = 1;

/// One socket that asks one server for services, one question at a time.
#[derive(Debug)]
pub(crate) struct Asker {
    socket: UdpSocket,
    question: Vec<u8>,
    id: u16,
    answer: Box<[u8]>,
}

/// What came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Records in the answer section.
    pub(crate) records: u16,
    /// Bytes of the whole message.
    pub(crate) bytes: usize,
}

impl Answer {
    /// An answer of another protocol, which has no records.
    pub(crate) fn of(bytes: usize) -> Self {
        Self { records: 0, bytes }
    }
}

impl Asker {
    /// A socket of its own towards `server`.
    pub(crate) async fn open(server: SocketAddr) -> std::io::Result<Self> {
        let socket = UdpSocket::bind(("127.0.0.1", 0)).await?;
        socket.connect(server).await?;
        let question = question(&format!("{}.service.consul", service(0)));
        Ok(Self { socket, question, id: 0, answer: vec![0; DATAGRAM_BYTES_MAX].into() })
    }

    /// Asks for the service with this number and waits for the answer, at most a second. The error says what was wrong in few
    /// words. Safe to drop: a late answer to an older question is passed over.
    pub(crate) async fn ask(&mut self, service: u32) -> Result<Answer, String> {
        self.id = self.id.wrapping_add(1);
        put_digits(&mut self.question[NUMBER_AT], service);
        self.question[..2].copy_from_slice(&self.id.to_be_bytes());
        self.socket.send(&self.question).await.map_err(|error| error.to_string())?;
        let own = async {
            loop {
                let bytes = self.socket.recv(&mut self.answer).await?;
                if self.answer[..bytes].starts_with(&self.id.to_be_bytes()) {
                    return std::io::Result::Ok(bytes);
                }
            }
        };
        match timeout(PATIENCE, own).await {
            Ok(Ok(bytes)) => check(&self.answer[..bytes]),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("no answer within 1 s".to_owned()),
        }
    }
}

/// A message with one question for `SRV` and the OPT record.
///
/// # Panics
/// If a label has no or more than 63 bytes: names come from this program alone.
fn question(name: &str) -> Vec<u8> {
    let mut out = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1]; // RD; one question, one additional
    for label in name.split('.') {
        assert!((1..=63).contains(&label.len()), "{name}: a label has 1 to 63 bytes");
        out.push(u8::try_from(label.len()).expect("at most 63"));
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    for field in [TYPE_SRV, CLASS_IN] {
        out.extend_from_slice(&field.to_be_bytes());
    }
    out.push(0); // the root owns OPT
    for field in [TYPE_OPT, PAYLOAD_BYTES, 0, 0, 0] {
        out.extend_from_slice(&field.to_be_bytes());
    }
    out
}

/// Whether a message is a whole, positive answer. Source: RFC 1035, section 4.1.1.
fn check(message: &[u8]) -> Result<Answer, String> {
    if message.len() < HEADER_BYTES {
        return Err("answer shorter than a header".to_owned());
    }
    let records = u16::from_be_bytes([message[6], message[7]]);
    let (is_answer, is_cut, code) =
        (message[2] & 0x80 != 0, message[2] & 0x02 != 0, message[3] & 0x0f);
    match (is_answer, code, records) {
        (false, ..) => Err("not an answer".to_owned()),
        (_, 1.., _) => Err(format!("response code {code}")),
        (_, _, 0) => Err("no records".to_owned()),
        _ if is_cut => Err("truncated".to_owned()),
        _ => Ok(Answer { records, bytes: message.len() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_question_is_as_the_rfcs_draw_it() {
        let bytes = question("a.consul");
        let head = [0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
        assert_eq!(bytes[..12], head);
        assert_eq!(bytes[12..22], *b"\x01a\x06consul\x00");
        assert_eq!(bytes[22..26], [0, 33, 0, 1]);
        assert_eq!(bytes[26..], [0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn answers_are_judged_by_their_header() {
        let message = |flags: [u8; 2], records: u8| {
            let head = [0, 7, flags[0], flags[1], 0, 1, 0, records, 0, 0, 0, 0];
            check(&head)
        };
        assert_eq!(message([0x85, 0], 10), Ok(Answer { records: 10, bytes: 12 }));
        assert_eq!(message([0x85, 3], 0), Err("response code 3".to_owned()));
        assert_eq!(message([0x85, 0], 0), Err("no records".to_owned()));
        assert_eq!(message([0x87, 0], 3), Err("truncated".to_owned()));
        assert_eq!(message([0x05, 0], 3), Err("not an answer".to_owned()));
        assert_eq!(check(b"short"), Err("answer shorter than a header".to_owned()));
    }

    #[tokio::test]
    async fn an_answer_to_an_older_question_is_passed_over() {
        let server = UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
        let mut asker = Asker::open(server.local_addr().unwrap()).await.unwrap();
        let answer = async {
            let mut question = [0; 512];
            let (_, from) = server.recv_from(&mut question).await.unwrap();
            assert_eq!(question[12..33], *b"\x0cbench-123456\x07service");
            let head = |id: u8, records| [0, id, 0x85, 0, 0, 1, 0, records, 0, 0, 0, 0];
            server.send_to(&head(question[1] - 1, 3), from).await.unwrap();
            server.send_to(&head(question[1], 10), from).await.unwrap();
        };
        let (answer, ()) = tokio::join!(asker.ask(123_456), answer);
        assert_eq!(answer, Ok(Answer { records: 10, bytes: 12 }));
    }
}
