//! What is asked of etcd: its few messages, encoded and read by hand, and how a member is started.
//!
//! Source: etcd v3.5, `rpc.proto` (KV and Maintenance); Protocol Buffers, "Encoding".

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use anyhow::Context as _;

use crate::grpc::{Connection, Head, framed};
use crate::patience::patiently;

/// Port of the clients' door.
pub(crate) const CLIENT_PORT: u16 = 2379;
/// Port of the members among themselves.
const PEER_PORT: u16 = 2380;
/// The write of one key.
pub(crate) const PUT: &str = "/etcdserverpb.KV/Put";
/// The read of one key.
pub(crate) const RANGE: &str = "/etcdserverpb.KV/Range";
/// Several writes at once.
const TXN: &str = "/etcdserverpb.KV/Txn";
/// Who a member is and whom it follows.
const STATUS: &str = "/etcdserverpb.Maintenance/Status";
/// Every version of a key is kept, so a long run passes the default quota of 2 GiB and is refused
/// from then on. This is the largest that etcd's own page on system limits suggests.
const QUOTA_BYTES: u64 = 8 * 1024 * 1024 * 1024;
/// Groups of seven bits in the longest number.
const NUMBER_BYTES_MAX: usize = 10;

/// A field of a message: its number is beside it.
#[derive(Debug, PartialEq, Eq)]
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// What a member says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Status {
    member: u64,
    leader: u64,
}

/// The command line of one of three members; all else is etcd's default, syncing included.
pub(crate) fn arguments(ips: &[Ipv4Addr], ip: Ipv4Addr, data: &Path) -> Vec<String> {
    let name = |ip: &Ipv4Addr| format!("server{}", ip.octets()[3]);
    let peer = |ip: &Ipv4Addr| format!("{}=http://{ip}:{PEER_PORT}", name(ip));
    let all = ips.iter().map(peer).collect::<Vec<_>>().join(",");
    let (client, own) = (format!("http://{ip}:{CLIENT_PORT}"), format!("http://{ip}:{PEER_PORT}"));
    vec![
        format!("--name={}", name(&ip)),
        format!("--data-dir={}", data.display()),
        format!("--initial-cluster={all}"),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={own}"),
        format!("--initial-advertise-peer-urls={own}"),
        format!("--quota-backend-bytes={QUOTA_BYTES}"),
        "--log-level=warn".to_owned(),
    ]
}

/// The leader's door, if all members name the same.
pub(crate) async fn leader(doors: &[SocketAddr]) -> anyhow::Result<SocketAddr> {
    let mut members = Vec::with_capacity(doors.len());
    for door in doors {
        let answer = ask(*door, STATUS, &[]).await?;
        members.push(status(&answer).with_context(|| format!("{door}: no status"))?);
    }
    let leader = members.first().context("no members")?.leader;
    for (door, member) in doors.iter().zip(&members) {
        let other = member.leader;
        anyhow::ensure!(other == leader && other != 0, "{door} names {other:x} as its leader");
    }
    let at = members.iter().position(|member| member.member == leader);
    at.map(|at| doors[at]).with_context(|| format!("{leader:x} leads and is not one of ours"))
}

/// Writes one key.
pub(crate) async fn write(door: SocketAddr, key: &str, value: &[u8]) -> anyhow::Result<()> {
    ask(door, PUT, &put(key, value)).await.map(drop)
}

/// Writes several keys in one transaction, without conditions.
pub(crate) async fn write_all(door: SocketAddr, batch: &[(String, Vec<u8>)]) -> anyhow::Result<()> {
    ask(door, TXN, &txn(batch)).await.map(drop)
}

/// One call outside the measured rows, on a connection of its own; anything but status 0 within
/// ten seconds is an error.
async fn ask(door: SocketAddr, method: &str, message: &[u8]) -> anyhow::Result<Vec<u8>> {
    let call = async {
        let mut connection = Connection::open(door).await?;
        let answer = connection.call(&Head::new(door, method), &framed(message)).await?;
        anyhow::ensure!(answer.status == 0, "gRPC status {}", answer.status);
        Ok(answer.message.to_vec())
    };
    patiently(call).await.with_context(|| format!("{method} at {door}"))
}

/// `PutRequest`: the key is field 1, the value field 2.
pub(crate) fn put(key: &str, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(key.len() + value.len() + 8);
    put_bytes(&mut out, 1, key.as_bytes());
    put_bytes(&mut out, 2, value);
    out
}

/// `RangeRequest` of a single key (field 1), which goes through the leader.
pub(crate) fn range(key: &str) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(&mut out, 1, key.as_bytes());
    out
}

/// The same with field 7, `serializable`: the member answers from what it has.
pub(crate) fn serializable_range(key: &str) -> Vec<u8> {
    let mut out = range(key);
    put_number(&mut out, 7 << 3);
    put_number(&mut out, 1);
    out
}

/// `TxnRequest`: field 2 is what to do when all conditions hold, and there are none; in each of
/// these, field 2 is a put.
fn txn(batch: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (key, value) in batch {
        let mut operation = Vec::new();
        put_bytes(&mut operation, 2, &put(key, value));
        put_bytes(&mut out, 2, &operation);
    }
    out
}

/// `StatusResponse`: the header is field 1, with the member as field 2; the leader is field 4.
fn status(message: &[u8]) -> Option<Status> {
    let Field::Bytes(header) = field(message, 1)? else { return None };
    let (Field::Number(member), Field::Number(leader)) =
        (field(header, 2)?, field(message, 4).unwrap_or(Field::Number(0)))
    else {
        return None;
    };
    Some(Status { member, leader })
}

/// The first field of this number; none as well if the message breaks off before it.
fn field(mut message: &[u8], wanted: u64) -> Option<Field<'_>> {
    while !message.is_empty() {
        let tag = take_number(&mut message)?;
        let found = match tag & 7 {
            0 => Field::Number(take_number(&mut message)?),
            1 => Field::Bytes(message.split_off(..8)?),
            2 => {
                let length = usize::try_from(take_number(&mut message)?).ok()?;
                Field::Bytes(message.split_off(..length)?)
            }
            5 => Field::Bytes(message.split_off(..4)?),
            _ => return None,
        };
        if tag >> 3 == wanted {
            return Some(found);
        }
    }
    None
}

fn put_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put_number(out, field << 3 | 2);
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// A number in groups of seven bits, the lowest first.
fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        out.push(u8::try_from(number & 0x7f).expect("seven bits") | 0x80);
        number >>= 7;
    }
    out.push(u8::try_from(number).expect("seven bits"));
}

fn take_number(from: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for group in 0..NUMBER_BYTES_MAX {
        let byte = from.split_off_first()?;
        number |= u64::from(byte & 0x7f) << (7 * group);
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_as_protobuf_draws_them() {
        assert_eq!(put("ab", b"xyz"), *b"\x0a\x02ab\x12\x03xyz");
        assert_eq!(range("ab"), *b"\x0a\x02ab");
        assert_eq!(serializable_range("ab"), *b"\x0a\x02ab\x38\x01");
        let two = [("a".to_owned(), b"x".to_vec()), ("b".to_owned(), Vec::new())];
        assert_eq!(
            txn(&two),
            *b"\x12\x08\x12\x06\x0a\x01a\x12\x01x\x12\x07\x12\x05\x0a\x01b\x12\0"
        );
        let long = put("k", &[7; 300]);
        assert_eq!(long[..6], *b"\x0a\x01k\x12\xac\x02");
        assert_eq!(long.len(), 306);
    }

    #[test]
    fn a_status_names_the_member_and_its_leader() {
        // header { cluster 1, member 300, revision 5 }, version "3.5", leader 300
        let message = b"\x0a\x07\x08\x01\x10\xac\x02\x18\x05\x12\x033.5\x20\xac\x02";
        assert_eq!(status(message), Some(Status { member: 300, leader: 300 }));
        let alone = b"\x0a\x03\x10\xac\x02";
        assert_eq!(status(alone), Some(Status { member: 300, leader: 0 }));
        for cut in 0..alone.len() {
            assert_eq!(status(&alone[..cut]), None, "cut at {cut}");
        }
        assert_eq!(field(b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 1), None);
    }

    #[test]
    fn numbers_come_back() {
        for number in [0, 1, 127, 128, 16_384, u64::MAX] {
            let mut bytes = Vec::new();
            put_number(&mut bytes, number);
            assert_eq!(take_number(&mut bytes.as_slice()), Some(number));
        }
    }

    #[test]
    fn a_member_knows_all_three() {
        let ips = [1, 2, 3].map(|last| Ipv4Addr::new(127, 0, 4, last));
        let line = arguments(&ips, ips[1], Path::new("/d")).join(" ");
        assert!(line.starts_with("--name=server2 --data-dir=/d --initial-cluster=server1=http://127.0.4.1:2380,server2=http://127.0.4.2:2380,"), "{line}");
        assert!(line.contains("--listen-client-urls=http://127.0.4.2:2379 "), "{line}");
    }
}
