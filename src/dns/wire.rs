//! Writes a reply's bytes, with repeated names shortened. Source: RFC 1035, section 4.1.
//!
//! Hickory's own encoder stops shortening after 120 names, since it searches them one by one;
//! a service may have thousands. Here they are found by hash.

use std::collections::HashMap;

use hickory_proto::op::{Edns, Message, Metadata};
use hickory_proto::rr::{Name, RData, Record};
use hickory_proto::serialize::binary::BinEncodable;

use super::recurse::HEADER_BYTES;

/// A name further behind cannot be pointed to: a pointer has 14 bits.
pub(super) const POINTER_MAX: usize = 0x3fff;

/// Whether repeated names are shortened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    Shortened,
    InFull,
}

/// The bytes of `message`, however many. Records of a kind that replies of ours never have are
/// left out.
pub(super) fn write(message: &Message, names: Names) -> Vec<u8> {
    let mut writer = Writer { bytes: Vec::with_capacity(512), known: HashMap::new(), names };
    writer.bytes.resize(HEADER_BYTES, 0);
    for question in &message.queries {
        writer.name(&question.name, Names::Shortened);
        writer.number(question.query_type.into());
        writer.number(question.query_class.into());
    }
    let answers = writer.section(&message.answers);
    let authorities = writer.section(&message.authorities);
    let mut additionals = writer.section(&message.additionals);
    if let Some(edns) = &message.edns {
        let code_high = message.metadata.response_code.high();
        additionals += u16::from(edns_bytes(edns, code_high, &mut writer.bytes));
    }
    let questions = u16::try_from(message.queries.len()).unwrap_or(u16::MAX);
    let counts = [questions, answers, authorities, additionals];
    writer.bytes[..HEADER_BYTES].copy_from_slice(&header(&message.metadata, counts));
    writer.bytes
}

/// The header of a reply; `counts` are of its four sections.
pub(super) fn header(it: &Metadata, counts: [u16; 4]) -> [u8; HEADER_BYTES] {
    let bit = |is_set: bool, at: u16| u16::from(is_set) << at;
    let flags = 0x8000
        | u16::from(u8::from(it.op_code) & 0x0f) << 11
        | bit(it.authoritative, 10)
        | bit(it.truncation, 9)
        | bit(it.recursion_desired, 8)
        | bit(it.recursion_available, 7)
        | bit(it.checking_disabled, 4)
        | u16::from(it.response_code.low());
    let [questions, answers, authorities, additionals] = counts;
    let words = [it.id, flags, questions, answers, authorities, additionals];
    let mut bytes = [0; HEADER_BYTES];
    for (place, word) in bytes.chunks_exact_mut(2).zip(words) {
        place.copy_from_slice(&word.to_be_bytes());
    }
    bytes
}

/// A record without its owner's name, and with every name in full. Nothing, and nothing written,
/// for a kind that replies of ours never have.
pub(super) fn tail(record: &Record, bytes: &mut Vec<u8>) -> Option<()> {
    let mut writer =
        Writer { bytes: std::mem::take(bytes), known: HashMap::new(), names: Names::InFull };
    let written = writer.tail(record);
    *bytes = writer.bytes;
    written
}

/// A name in full.
pub(super) fn name_bytes(name: &Name, bytes: &mut Vec<u8>) {
    for label in name {
        bytes.push(u8::try_from(label.len()).expect("a name's label has at most 63 bytes"));
        bytes.extend_from_slice(label);
    }
    bytes.push(0);
}

/// The OPT record; true where there is one. Source: RFC 6891, section 6.1.2.
pub(super) fn edns_bytes(edns: &Edns, code_high: u8, bytes: &mut Vec<u8>) -> bool {
    let mut edns = edns.clone();
    edns.set_rcode_high(code_high);
    let Ok(record) = Record::from(&edns).to_bytes() else { return false };
    bytes.extend_from_slice(&record);
    true
}

struct Writer {
    bytes: Vec<u8>,
    /// Where the ends of names stand, by their labels as written.
    known: HashMap<Vec<u8>, u16>,
    names: Names,
}

impl Writer {
    /// Returns how many were written.
    fn section(&mut self, records: &[Record]) -> u16 {
        let mut count = 0;
        for record in records {
            count += self.record(record);
        }
        count
    }

    fn record(&mut self, record: &Record) -> u16 {
        let begin = self.bytes.len();
        self.name(&record.name, Names::Shortened);
        if self.tail(record).is_none() {
            self.forget(begin);
            return 0;
        }
        1
    }

    /// Type, class, TTL, length and data; nothing, and nothing written, where it cannot be.
    fn tail(&mut self, record: &Record) -> Option<()> {
        let begin = self.bytes.len();
        self.number(record.record_type().into());
        self.number(record.dns_class.into());
        self.bytes.extend_from_slice(&record.ttl.to_be_bytes());
        let length_at = self.bytes.len();
        self.number(0);
        let known = self.data(&record.data);
        let length = u16::try_from(self.bytes.len() - length_at - 2).ok().filter(|_| known);
        let Some(length) = length else {
            self.forget(begin);
            return None;
        };
        self.bytes[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
        Some(())
    }

    fn forget(&mut self, begin: usize) {
        self.bytes.truncate(begin);
        self.known.retain(|_, at| usize::from(*at) < begin);
    }

    /// False for a kind that replies of ours never have.
    fn data(&mut self, data: &RData) -> bool {
        match data {
            RData::A(ip) => self.bytes.extend_from_slice(&ip.octets()),
            RData::AAAA(ip) => self.bytes.extend_from_slice(&ip.octets()),
            RData::CNAME(name) => self.name(&name.0, Names::Shortened),
            RData::PTR(name) => self.name(&name.0, Names::Shortened),
            RData::NS(name) => self.name(&name.0, Names::Shortened),
            RData::SRV(srv) => {
                self.number(srv.priority);
                self.number(srv.weight);
                self.number(srv.port);
                // RFC 2782: the target is not to be shortened; others may point to it.
                self.name(&srv.target, Names::InFull);
            }
            RData::TXT(text) => {
                for part in &text.txt_data {
                    let part = part.get(..255).unwrap_or(part);
                    self.bytes.push(u8::try_from(part.len()).unwrap_or(u8::MAX));
                    self.bytes.extend_from_slice(part);
                }
            }
            RData::SOA(soa) => {
                self.name(&soa.mname, Names::Shortened);
                self.name(&soa.rname, Names::Shortened);
                self.bytes.extend_from_slice(&soa.serial.to_be_bytes());
                for number in [soa.refresh, soa.retry, soa.expire] {
                    self.bytes.extend_from_slice(&number.to_be_bytes());
                }
                self.bytes.extend_from_slice(&soa.minimum.to_be_bytes());
            }
            _ => return false,
        }
        true
    }

    fn name(&mut self, name: &Name, names: Names) {
        let shorten = names == Names::Shortened && self.names == Names::Shortened;
        let mut rest = Vec::with_capacity(name.len() + 1);
        for label in name {
            rest.push(u8::try_from(label.len()).expect("a name's label has at most 63 bytes"));
            rest.extend_from_slice(label);
        }
        let mut rest = rest.as_slice();
        while let Some(length) = rest.first() {
            if shorten && let Some(at) = self.known.get(rest) {
                let pointer = 0xc000 | *at;
                self.number(pointer);
                return;
            }
            let here = self.bytes.len();
            if here <= POINTER_MAX && !self.known.contains_key(rest) {
                let here = u16::try_from(here).expect("it has 14 bits");
                self.known.insert(rest.to_vec(), here);
            }
            let (label, behind) = rest.split_at(usize::from(*length) + 1);
            self.bytes.extend_from_slice(label);
            rest = behind;
        }
        self.bytes.push(0);
    }

    fn number(&mut self, number: u16) {
        self.bytes.extend_from_slice(&number.to_be_bytes());
    }
}
