//! A service's answer as bytes, but for its order and its cut: those are made for each asker.
//!
//! Every record is written once, without its owner's name. Most owners are the question's name or
//! the target of an answer, so in a message they are a pointer of two bytes.

use std::collections::HashMap;
use std::ops::Range;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::options::Options;
use super::recurse::HEADER_BYTES;
use super::reply::{
    ANSWER_BYTES_MIN, Asker, Reach, Reply, Room, Transport, counted_most, head, told_again,
};
use super::wire::{Names, POINTER_MAX, edns_bytes, header, name_bytes, tail};
use crate::model::shuffle;

/// What stands behind the name in a question. Source: RFC 1035, section 4.1.2.
const TYPE_AND_CLASS_BYTES: usize = 4;
/// What an owner's list of addresses takes beside it: the smallest there is.
const OWNED_BYTES: usize = 4 * size_of::<usize>();

/// The pieces of an answer.
#[derive(Debug, Default)]
pub(super) struct Parts {
    bytes: Vec<u8>,
    answers: Vec<Answer>,
    beside: Vec<Beside>,
    owners: Vec<Owner>,
    /// Length of the domain that ends the question's name and every owner's.
    zone_bytes: usize,
    /// Most answers that are sent.
    most: usize,
}

/// A record that the question's name owns.
#[derive(Debug)]
struct Answer {
    tail: Range<usize>,
    /// Who owns the address beside it. That name ends the record, in full.
    target: Option<usize>,
}

/// A record beside the answers.
#[derive(Debug)]
struct Beside {
    tail: Range<usize>,
    owner: usize,
}

/// A name that owns records beside the answers.
#[derive(Debug, Default)]
struct Owner {
    /// Written in full.
    name: Range<usize>,
    /// Its addresses, among what is beside the answers.
    addresses: Vec<usize>,
}

/// Which of the records beside the answers are sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Company {
    All,
    /// The addresses of the targets.
    Addresses,
}

impl Parts {
    /// The pieces of `reply`, which answers a question under the domain `zone`. Nothing where it
    /// is more than addresses and places of a service, or holds for one spelling of its name.
    pub(super) fn of(reply: &Reply, zone: &Name) -> Option<Self> {
        let leads_on = reply.follow.is_some() || !reply.follow_beside.is_empty() || reply.own;
        let is_plain = reply.code == ResponseCode::NoError && reply.authorities.is_empty();
        if !is_plain || !reply.counted || leads_on {
            return None;
        }
        let zone_bytes = zone.iter().map(|label| label.len() + 1).sum();
        let mut parts = Self { zone_bytes, most: reply.most, ..Self::default() };
        let mut owners = HashMap::new();
        for record in &reply.additionals {
            let owner = match owners.get(&record.name) {
                Some(owner) => *owner,
                None => parts.add_owner(&record.name, &mut owners),
            };
            if matches!(record.record_type(), RecordType::A | RecordType::AAAA) {
                parts.owners[owner].addresses.push(parts.beside.len());
            }
            let tail = parts.add_tail(record)?;
            parts.beside.push(Beside { tail, owner });
        }
        for record in &reply.answers {
            let target = match &record.data {
                RData::SRV(srv) => Some(*owners.get(&srv.target)?),
                RData::A(_) | RData::AAAA(_) => None,
                _ => return None,
            };
            let tail = parts.add_tail(record)?;
            parts.answers.push(Answer { tail, target });
        }
        parts.bytes.shrink_to_fit();
        Some(parts)
    }

    fn add_owner(&mut self, name: &Name, owners: &mut HashMap<Name, usize>) -> usize {
        let from = self.bytes.len();
        name_bytes(name, &mut self.bytes);
        self.owners.push(Owner { name: from..self.bytes.len(), ..Owner::default() });
        owners.insert(name.clone(), self.owners.len() - 1);
        self.owners.len() - 1
    }

    fn add_tail(&mut self, record: &Record) -> Option<Range<usize>> {
        let from = self.bytes.len();
        tail(record, &mut self.bytes)?;
        Some(from..self.bytes.len())
    }

    /// About how much memory they take.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
            + self.answers.len() * size_of::<Answer>()
            + self.beside.len() * (size_of::<Beside>() + size_of::<usize>())
            + self.owners.len() * (size_of::<Owner>() + OWNED_BYTES)
    }

    /// Pieces of this size that say nothing.
    #[cfg(test)]
    pub(super) fn of_bytes(bytes: usize) -> Self {
        Self { bytes: vec![0; bytes], ..Self::default() }
    }

    /// The whole reply to `asker`, no longer than it takes, in the order that `seed` decides.
    pub(super) fn reply(&self, asker: &Asker<'_>, options: &Options, seed: u64) -> Vec<u8> {
        let room = Room::of(asker);
        let mut order: Vec<usize> = (0..self.answers.len()).collect();
        shuffle(&mut order, seed);
        order.truncate(self.most);
        let was = order.len();
        if room.plain {
            order.truncate(counted_most(options));
        }
        let fewest = order.len() * ANSWER_BYTES_MIN;
        let fits = order.len() == self.answers.len() && fewest <= room.bytes && {
            let counted = self.write(asker, options, &order, (Company::All, room.names(options)));
            counted.len() <= room.bytes
        };
        let company = if fits { Company::All } else { Company::Addresses };
        if !fits {
            order.truncate(room.bytes / ANSWER_BYTES_MIN);
            let fitting = self.fitting(asker, options, &order, room);
            order.truncate(fitting);
        }
        let mut bytes = self.write(asker, options, &order, (company, options.names()));
        if order.len() < was && options.enable_truncate && asker.transport == Transport::Udp {
            bytes[2] |= 0b10;
        }
        bytes
    }

    /// How many of the answers of `order` fit, with their targets' addresses.
    fn fitting(&self, asker: &Asker<'_>, options: &Options, order: &[usize], room: Room) -> usize {
        let how = (Company::Addresses, room.names(options));
        let fits = |count: usize| {
            let these = order.get(..count).unwrap_or_default();
            self.write(asker, options, these, how).len() <= room.bytes
        };
        if fits(order.len()) {
            return order.len();
        }
        let (mut fit, mut too_many) = (0, order.len());
        while too_many - fit > 1 {
            let middle = fit.midpoint(too_many);
            if fits(middle) { fit = middle } else { too_many = middle }
        }
        fit
    }

    fn write(
        &self,
        asker: &Asker<'_>,
        options: &Options,
        order: &[usize],
        (company, names): (Company, Names),
    ) -> Vec<u8> {
        let size = HEADER_BYTES + asker.question.len() + 64 * (order.len() + 1);
        let mut writer = Writer {
            parts: self,
            message: Vec::with_capacity(size),
            names,
            question: asker.question,
            owners_at: vec![None; self.owners.len()],
        };
        writer.message.resize(HEADER_BYTES, 0);
        writer.message.extend_from_slice(asker.question);
        for at in order {
            writer.answer(&self.answers[*at]);
        }
        let mut beside = match company {
            Company::All => self.beside.iter().map(|record| writer.beside(record)).count(),
            Company::Addresses => writer.addresses(order),
        };
        let Writer { mut message, .. } = writer;
        if let Some(edns) = asker.edns {
            let told = told_again(edns, Reach::Everyone);
            beside += usize::from(edns_bytes(&told, 0, &mut message));
        }
        let count = |number| u16::try_from(number).unwrap_or(u16::MAX);
        let counts = [1, count(order.len()), 0, count(beside)];
        message[..HEADER_BYTES].copy_from_slice(&header(&head(asker, options), counts));
        message
    }
}

/// A message that grows.
struct Writer<'a> {
    parts: &'a Parts,
    message: Vec<u8>,
    names: Names,
    /// The question as it came: its name, type and class.
    question: &'a [u8],
    /// Where in the message the owners' names stand so far.
    owners_at: Vec<Option<u16>>,
}

impl Writer<'_> {
    fn answer(&mut self, answer: &Answer) {
        match self.names {
            Names::Shortened => self.pointer(HEADER_BYTES),
            Names::InFull => {
                let name = self.question.len() - TYPE_AND_CLASS_BYTES;
                self.message.extend_from_slice(&self.question[..name]);
            }
        }
        self.message.extend_from_slice(&self.parts.bytes[answer.tail.clone()]);
        if let Some(owner) = answer.target {
            let length = self.parts.owners[owner].name.len();
            self.note(owner, self.message.len() - length);
        }
    }

    /// The addresses of the targets of these answers, each once; how many.
    fn addresses(&mut self, order: &[usize]) -> usize {
        let parts = self.parts;
        let mut count = 0;
        let mut seen = vec![false; parts.owners.len()];
        for owner in order.iter().filter_map(|at| parts.answers[*at].target) {
            if std::mem::replace(&mut seen[owner], true) {
                continue;
            }
            for at in &parts.owners[owner].addresses {
                self.beside(&parts.beside[*at]);
                count += 1;
            }
        }
        count
    }

    fn beside(&mut self, record: &Beside) {
        match (self.names, self.owners_at[record.owner]) {
            (Names::Shortened, Some(at)) => self.pointer(usize::from(at)),
            (names, _) => self.owner(record.owner, names),
        }
        self.message.extend_from_slice(&self.parts.bytes[record.tail.clone()]);
    }

    /// A name for the first time; its domain is the question's.
    fn owner(&mut self, owner: usize, names: Names) {
        let here = self.message.len();
        let name = &self.parts.bytes[self.parts.owners[owner].name.clone()];
        let zone_bytes = self.parts.zone_bytes;
        if names == Names::Shortened && zone_bytes > 0 {
            self.message.extend_from_slice(&name[..name.len() - zone_bytes - 1]);
            let zone = self.question.len() - TYPE_AND_CLASS_BYTES - zone_bytes - 1;
            self.pointer(HEADER_BYTES + zone);
        } else {
            self.message.extend_from_slice(name);
        }
        self.note(owner, here);
    }

    fn note(&mut self, owner: usize, at: usize) {
        if at <= POINTER_MAX && self.owners_at[owner].is_none() {
            self.owners_at[owner] = u16::try_from(at).ok();
        }
    }

    fn pointer(&mut self, to: usize) {
        let to = u16::try_from(to).expect("it is near the message's beginning");
        self.message.extend_from_slice(&(0xc000 | to).to_be_bytes());
    }
}
