//! From a request's bytes to its reply's: the reads that a question takes, and host names that
//! answers lead to.

use std::net::IpAddr;
use std::sync::Arc;

use futures::future::join_all;
use hickory_proto::op::{Message, MessageType, OpCode, Query as Question, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, Record, RecordType};

use super::answer::{self, Scope};
use super::cache::{Cache, Key};
use super::catalog::Catalog;
use super::name::{Asked, Target, Zone, Zones, parse};
use super::options::Options;
use super::parts::Parts;
use super::recurse::{HEADER_BYTES, Recursors, question_end};
use super::reply::{Asker, Reply, Transport, encode, fit};
use crate::model::{
    Answer, Arrangement, Execution, Instance, Near, NodeCoordinate, Query, Read, Unavailable,
    Unresolved, arrange,
};
use crate::time::{random, wall_seconds};

/// How often an answer that is another name is followed. Source: observed on Consul 1.8.7.
const FOLLOW_DEPTH_MAX: usize = 3;
/// The service that all servers of the cluster are instances of.
const SERVERS: &str = "consul";

/// Answers requests.
#[derive(Debug)]
pub(super) struct Resolver<C> {
    pub(super) options: Arc<Options>,
    zones: Zones,
    recursors: Recursors,
    catalog: C,
    cache: Cache,
}

/// A reply's bytes.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) bytes: Vec<u8>,
    /// `hit` or `miss`, where the answer could be at hand.
    pub(super) cache: Option<&'static str>,
}

/// What goes back: records of ours, pieces of a service's answer that were at hand or were not, or
/// what somebody else said, word for word.
enum Outcome {
    Ours(Reply),
    Pieces(Arc<Parts>, &'static str),
    Theirs(Vec<u8>),
}

impl<C: Catalog> Resolver<C> {
    /// # Panics
    ///
    /// If a domain of `options` is not a domain name.
    pub(super) fn new(options: Arc<Options>, catalog: C) -> Self {
        let zones = Zones::new(&options.domain, options.alt_domain.as_deref(), &options.datacenter)
            .expect("the configuration names domains");
        let recursors = Recursors::new(
            options.recursors.clone(),
            options.recursor_timeout,
            options.recursor_order,
        );
        Self { options, zones, recursors, catalog, cache: Cache::default() }
    }

    /// The reply to a request; nothing where there should be none.
    ///
    /// May be dropped at any time.
    pub(super) async fn respond(
        &self,
        request: &[u8],
        transport: Transport,
        address: IpAddr,
    ) -> Option<Said> {
        // No reply to a reply: two servers would keep each other busy for ever.
        if request.len() < HEADER_BYTES || request[2] & 0x80 != 0 {
            return None;
        }
        let Ok(message) = Message::from_vec(request) else {
            return Some(Said { bytes: malformed(request), cache: None });
        };
        if message.metadata.message_type == MessageType::Response {
            return None;
        }
        let question_end = question_end(request);
        let asker = Asker {
            request: &message.metadata,
            question: question_end.and_then(|end| request.get(HEADER_BYTES..end)).unwrap_or(&[]),
            questions: &message.queries,
            edns: message.edns.as_ref(),
            transport,
            address,
        };
        let outcome = match admit(&message) {
            Ok(question) => self.answer(question, request, &asker).await,
            Err(code) => Outcome::Ours(Reply::bare(code)),
        };
        let (bytes, cache) = match outcome {
            Outcome::Ours(reply) => (encode(&asker, reply, &self.options), None),
            Outcome::Pieces(parts, cache) => {
                (parts.reply(&asker, &self.options, random()), Some(cache))
            }
            Outcome::Theirs(bytes) => (fit(bytes, question_end?, &asker), None),
        };
        Some(Said { bytes, cache })
    }

    async fn answer(&self, question: &Question, request: &[u8], asker: &Asker<'_>) -> Outcome {
        let (name, kind, source) = (&question.name, question.query_type, asker.source());
        let target = parse(name, kind, &self.zones);
        let answered = match target {
            // Where the question's bytes cannot be taken over, nor can the pieces.
            Target::Ours(zone, Asked::Service { name: service, tag })
                if !asker.question.is_empty() =>
            {
                self.service(self.scope((name, kind), zone, source), service, tag).await
            }
            Target::Ours(zone, asked) => {
                self.ours(self.scope((name, kind), zone, source), asked).await.map(Outcome::Ours)
            }
            Target::Pointer(address) => {
                let scope = self.scope((name, kind), &self.zones.main, source);
                match self.pointer(scope, address.map(|address| address.to_string())).await {
                    Ok(None) => Ok(self.theirs(request, asker, answer::missing(scope)).await),
                    found => found.map(|reply| Outcome::Ours(reply.unwrap_or_else(Reply::good))),
                }
            }
            Target::Outside => {
                Ok(self.theirs(request, asker, Reply::bare(ResponseCode::Refused)).await)
            }
        };
        match answered {
            Ok(Outcome::Ours(reply)) => Outcome::Ours(self.followed(reply, kind, source).await),
            Ok(outcome) => outcome,
            Err(unavailable) => {
                tracing::debug!(%name, %kind, %unavailable, "dns question not answered");
                Outcome::Ours(Reply::bare(ResponseCode::ServFail))
            }
        }
    }

    fn scope<'a>(
        &'a self,
        (name, kind): (&'a Name, RecordType),
        zone: &'a Zone,
        source: IpAddr,
    ) -> Scope<'a> {
        // The serial is a time of 32 bits and may wrap. Source: RFC 1982.
        let now = u32::try_from(wall_seconds() & u64::from(u32::MAX)).unwrap_or(u32::MAX);
        Scope { name, kind, zone, options: &self.options, now, seed: random(), source }
    }

    /// Answers about a service from what is at hand, where that is still so; else makes it anew.
    async fn service(
        &self,
        scope: Scope<'_>,
        name: String,
        tag: Option<String>,
    ) -> Result<Outcome, Unavailable> {
        let zone = scope.zone.name.clone();
        let query = Query::HealthService(name.clone());
        let key = Key { name, tag, kind: scope.kind, zone };
        if let Some(parts) = self.cache.get(&key, self.catalog.changed(&query).await?) {
            return Ok(Outcome::Pieces(parts, "hit"));
        }
        let read = self.catalog.read(query).await?;
        let mut reply = answer::service(scope, instances(&read)?, key.tag.as_deref());
        reply.settle();
        let Some(parts) = Parts::of(&reply, &key.zone) else { return Ok(Outcome::Ours(reply)) };
        let parts = Arc::new(parts);
        self.cache.put(key, read.index, &parts);
        Ok(Outcome::Pieces(parts, "miss"))
    }

    /// The reply to a question about a service, written record by record and of pieces.
    #[cfg(test)]
    pub(super) async fn both_ways(&self, request: &[u8], by: Transport) -> (Vec<u8>, Vec<u8>) {
        let message = Message::from_vec(request).expect("a request");
        let end = question_end(request).expect("a question");
        let asker = Asker {
            request: &message.metadata,
            question: request.get(HEADER_BYTES..end).expect("it is whole"),
            questions: &message.queries,
            edns: message.edns.as_ref(),
            transport: by,
            address: std::net::Ipv4Addr::LOCALHOST.into(),
        };
        let question = message.queries.first().expect("a question");
        let (name, kind, source) = (&question.name, question.query_type, asker.source());
        let Target::Ours(zone, asked) = parse(name, kind, &self.zones) else { panic!("not ours") };
        let mut reply =
            self.ours(self.scope((name, kind), zone, source), asked).await.expect("a reply");
        reply.settle();
        let parts = Parts::of(&reply, &zone.name).expect("pieces");
        (encode(&asker, reply, &self.options), parts.reply(&asker, &self.options, 7))
    }

    async fn ours(&self, scope: Scope<'_>, asked: Asked) -> Result<Reply, Unavailable> {
        Ok(match asked {
            Asked::Node(name) => self.node(scope, name).await?,
            Asked::Service { name, tag } => {
                let read = self.catalog.read(Query::HealthService(name)).await?;
                answer::service(scope, instances(&read)?, tag.as_deref())
            }
            Asked::Address(ip) => answer::address(scope, ip),
            Asked::Query(name) => self.prepared(scope, name).await?,
            Asked::Soa => answer::soa(scope, instances(&self.servers().await?)?),
            Asked::NameServers => answer::name_servers(scope, instances(&self.servers().await?)?),
            Asked::Unknown => answer::missing(scope),
        })
    }

    async fn node(&self, scope: Scope<'_>, name: String) -> Result<Reply, Unavailable> {
        let read = self.catalog.read(Query::NodeServices(name)).await?;
        match &*read.answer {
            Answer::NodeServices(Some(found)) => Ok(answer::node(scope, &found.node)),
            Answer::NodeServices(None) => Ok(answer::missing(scope)),
            other => Err(mismatch(other)),
        }
    }

    /// Runs a prepared query. What cannot be filled in is a failure, as Consul has it.
    async fn prepared(&self, scope: Scope<'_>, name: String) -> Result<Reply, Unavailable> {
        let read = self.catalog.read(Query::Execute { name, connect: false }).await?;
        let found = match &*read.answer {
            Answer::Executed(Ok(found)) => found,
            Answer::Executed(Err(Unresolved::NotFound)) => return Ok(answer::missing(scope)),
            Answer::Executed(Err(_)) => {
                return Ok(Reply { authoritative: true, ..Reply::bare(ResponseCode::ServFail) });
            }
            other => return Err(mismatch(other)),
        };
        let near = match Near::of(found, "", &self.options.node_name) {
            Near::Nobody => String::new(),
            Near::Node(node) => node,
            Near::Caller => self.node_at(scope.source).await?,
        };
        let coordinates =
            if near.is_empty() { Vec::new() } else { self.coordinates(found, &near).await? };
        let (seed, limit) = (scope.seed, 0);
        let how = Arrangement { seed, near: &near, coordinates: &coordinates, limit };
        let instances = arrange(found.instances.clone(), &how);
        Ok(answer::prepared(scope, found, &instances))
    }

    /// The node that has this address; empty where there is none.
    async fn node_at(&self, address: IpAddr) -> Result<String, Unavailable> {
        let read = self.catalog.read(Query::NodesByAddress(address.to_string())).await?;
        match &*read.answer {
            Answer::Nodes(nodes) => {
                Ok(nodes.first().map(|node| node.name.clone()).unwrap_or_default())
            }
            other => Err(mismatch(other)),
        }
    }

    async fn coordinates(
        &self,
        found: &Execution,
        near: &str,
    ) -> Result<Vec<Arc<NodeCoordinate>>, Unavailable> {
        let of_instances = found.instances.iter().map(|it| it.node.name.clone());
        let names = of_instances.chain([near.to_owned()]).collect();
        let read = self.catalog.read(Query::CoordinatesOf(names)).await?;
        match &*read.answer {
            Answer::Coordinates(coordinates) => Ok(coordinates.clone()),
            other => Err(mismatch(other)),
        }
    }

    async fn servers(&self) -> Result<Read, Unavailable> {
        self.catalog.read(Query::HealthService(SERVERS.to_owned())).await
    }

    async fn pointer(
        &self,
        scope: Scope<'_>,
        address: Option<String>,
    ) -> Result<Option<Reply>, Unavailable> {
        let Some(address) = address else { return Ok(None) };
        let read = self.catalog.read(Query::NodesByAddress(address.clone())).await?;
        let nodes = match &*read.answer {
            Answer::Nodes(nodes) => nodes,
            other => return Err(mismatch(other)),
        };
        if let Some(reply) = answer::pointer(scope, nodes, &[]) {
            return Ok(Some(reply));
        }
        let read = self.catalog.read(Query::InstancesByAddress(address)).await?;
        Ok(answer::pointer(scope, nodes, instances(&read)?))
    }

    /// Asks the recursors; `alone` is the answer where there are none.
    async fn theirs(&self, request: &[u8], asker: &Asker<'_>, alone: Reply) -> Outcome {
        if self.recursors.is_empty() {
            return Outcome::Ours(alone);
        }
        match self.recursors.ask(request, asker.transport).await {
            Some(bytes) => Outcome::Theirs(bytes),
            None => Outcome::Ours(Reply::bare(ResponseCode::ServFail)),
        }
    }

    /// Adds what the host names of a reply lead to.
    async fn followed(&self, mut reply: Reply, kind: RecordType, source: IpAddr) -> Reply {
        let wanted = match kind {
            RecordType::A | RecordType::AAAA => kind,
            RecordType::CNAME => return reply,
            _ => RecordType::ANY,
        };
        if let Some(host) = reply.follow.take() {
            reply.answers.extend(self.trail(host, wanted, source).await);
        }
        let hosts = std::mem::take(&mut reply.follow_beside).into_iter();
        let trails = hosts.map(|host| self.trail(host, RecordType::ANY, source));
        for found in join_all(trails).await {
            reply.beside_all(found);
        }
        reply
    }

    /// The records of a host name, and of those that it leads on to.
    async fn trail(&self, host: Name, kind: RecordType, source: IpAddr) -> Vec<Record> {
        let (mut records, mut next) = (Vec::new(), Some(host));
        for _ in 0..FOLLOW_DEPTH_MAX {
            let Some(host) = next else { break };
            let (found, further) = self.find(&host, kind, source).await;
            records.extend(found);
            next = further;
        }
        records
    }

    /// The records of a host name, and the name that they lead on to, if any. Nothing where it
    /// cannot be found now: the asker has the name and may look itself.
    async fn find(
        &self,
        host: &Name,
        kind: RecordType,
        source: IpAddr,
    ) -> (Vec<Record>, Option<Name>) {
        match parse(host, kind, &self.zones) {
            Target::Ours(zone, asked) => match self
                .ours(self.scope((host, kind), zone, source), asked)
                .await
            {
                Ok(reply) => (reply.answers.into_iter().filter(is_place).collect(), reply.follow),
                Err(_) => (Vec::new(), None),
            },
            Target::Outside if !self.recursors.is_empty() => {
                (self.find_outside(host, kind).await, None)
            }
            Target::Outside | Target::Pointer(_) => (Vec::new(), None),
        }
    }

    async fn find_outside(&self, host: &Name, kind: RecordType) -> Vec<Record> {
        let kind = if kind == RecordType::ANY { RecordType::A } else { kind };
        let mut message = Message::query();
        message.metadata.recursion_desired = true;
        message.add_query(Question::query(host.clone(), kind));
        let Ok(request) = message.to_vec() else { return Vec::new() };
        let Some(bytes) = self.recursors.ask(&request, Transport::Udp).await else {
            return Vec::new();
        };
        match Message::from_vec(&bytes) {
            Ok(reply) => reply.answers.into_iter().filter(is_place).collect(),
            Err(_) => Vec::new(),
        }
    }
}

/// The one question of a request that is answered at all; else the code that says why not.
fn admit(message: &Message) -> Result<&Question, ResponseCode> {
    if message.metadata.op_code != OpCode::Query {
        return Err(ResponseCode::NotImp);
    }
    if message.edns.as_ref().is_some_and(|edns| edns.version() > 0) {
        return Err(ResponseCode::BADVERS);
    }
    let [question] = message.queries.as_slice() else { return Err(ResponseCode::FormErr) };
    if matches!(question.query_type, RecordType::AXFR | RecordType::IXFR) {
        return Err(ResponseCode::NotImp);
    }
    match question.query_class {
        DNSClass::IN | DNSClass::ANY => Ok(question),
        _ => Err(ResponseCode::Refused),
    }
}

/// FORMERR for what could not be read: only its header is known. Source: RFC 1035, section 4.1.1.
fn malformed(request: &[u8]) -> Vec<u8> {
    let mut reply = vec![0; HEADER_BYTES];
    reply[..2].copy_from_slice(&request[..2]);
    reply[2] = 0x80 | request[2] & 0x79; // a reply; its operation and RD as they came
    reply[3] = 1;
    reply
}

fn is_place(record: &Record) -> bool {
    matches!(record.record_type(), RecordType::A | RecordType::AAAA | RecordType::CNAME)
}

fn instances(read: &Read) -> Result<&[Instance], Unavailable> {
    match &*read.answer {
        Answer::Instances(instances) => Ok(instances),
        other => Err(mismatch(other)),
    }
}

/// Our own mistake; but one question is no reason to stop a server.
fn mismatch(answer: &Answer) -> Unavailable {
    tracing::error!(?answer, "the catalog answered another question");
    Unavailable::Unknown("the catalog answered another question".to_owned())
}
