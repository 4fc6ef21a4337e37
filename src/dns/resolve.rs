//! From a request's bytes to its reply's: the reads that a question takes, and host names that
//! answers lead to.

use std::future::Future;
use std::sync::Arc;

use futures::future::join_all;
use hickory_proto::op::{Message, MessageType, OpCode, Query as Question, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, Record, RecordType};

use super::answer::{self, Scope};
use super::name::{Asked, Target, Zone, Zones, parse};
use super::options::Options;
use super::recurse::{HEADER_BYTES, Recursors, question_end};
use super::reply::{Asker, Reply, Transport, encode, fit};
use crate::model::{Answer, Instance, Query, Read, Unavailable};
use crate::time::{random, wall_seconds};

/// How often an answer that is another name is followed. Source: observed on Consul 1.8.7.
const FOLLOW_DEPTH_MAX: usize = 3;
/// The service that all servers of the cluster are instances of.
const SERVERS: &str = "consul";

/// Answers requests. `R` reads the catalog: the client's verb, or a table in a test.
#[derive(Debug)]
pub(super) struct Resolver<R> {
    options: Arc<Options>,
    zones: Zones,
    recursors: Recursors,
    read: R,
}

/// What goes back: records of ours, or what somebody else said, word for word.
enum Outcome {
    Ours(Reply),
    Theirs(Vec<u8>),
}

impl<R, F> Resolver<R>
where
    R: Fn(Query) -> F,
    F: Future<Output = Result<Read, Unavailable>>,
{
    /// # Panics
    ///
    /// If a domain of `options` is not a domain name.
    pub(super) fn new(options: Arc<Options>, read: R) -> Self {
        let zones = Zones::new(&options.domain, options.alt_domain.as_deref(), &options.datacenter)
            .expect("the configuration names domains");
        let recursors = Recursors::new(options.recursors.clone(), options.recursor_timeout);
        Self { options, zones, recursors, read }
    }

    /// The reply to a request; nothing where there should be none.
    ///
    /// May be dropped at any time.
    pub(super) async fn respond(&self, request: &[u8], transport: Transport) -> Option<Vec<u8>> {
        // No reply to a reply: two servers would keep each other busy for ever.
        if request.len() < HEADER_BYTES || request[2] & 0x80 != 0 {
            return None;
        }
        let Ok(message) = Message::from_vec(request) else { return Some(malformed(request)) };
        if message.metadata.message_type == MessageType::Response {
            return None;
        }
        let asker = Asker {
            request: &message.metadata,
            questions: &message.queries,
            edns: message.edns.as_ref(),
            transport,
        };
        let outcome = match admit(&message) {
            Ok(question) => self.answer(question, request, transport).await,
            Err(code) => Outcome::Ours(Reply::bare(code)),
        };
        match outcome {
            Outcome::Ours(reply) => Some(encode(&asker, reply, &self.options)),
            Outcome::Theirs(bytes) => Some(fit(bytes, question_end(request)?, &asker)),
        }
    }

    async fn answer(&self, question: &Question, request: &[u8], by: Transport) -> Outcome {
        let (name, kind) = (&question.name, question.query_type);
        let answered = match parse(name, kind, &self.zones) {
            Target::Ours(zone, asked) => self.ours(self.scope(name, kind, zone), asked).await,
            Target::Pointer(address) => {
                let address = address.map(|address| address.to_string());
                match self.pointer(name, address).await {
                    Ok(None) => return self.theirs(request, by, ResponseCode::ServFail).await,
                    Ok(Some(reply)) => Ok(reply),
                    Err(unavailable) => Err(unavailable),
                }
            }
            Target::Outside => return self.theirs(request, by, ResponseCode::Refused).await,
        };
        match answered {
            Ok(reply) => Outcome::Ours(self.followed(reply, kind).await),
            Err(unavailable) => {
                tracing::debug!(%name, %kind, %unavailable, "dns question not answered");
                Outcome::Ours(Reply::bare(ResponseCode::ServFail))
            }
        }
    }

    fn scope<'a>(&'a self, name: &'a Name, kind: RecordType, zone: &'a Zone) -> Scope<'a> {
        // The serial is a time of 32 bits and may wrap. Source: RFC 1982.
        let now = u32::try_from(wall_seconds() & u64::from(u32::MAX)).unwrap_or(u32::MAX);
        Scope { name, kind, zone, options: &self.options, now, seed: random() }
    }

    async fn ours(&self, scope: Scope<'_>, asked: Asked) -> Result<Reply, Unavailable> {
        Ok(match asked {
            Asked::Node(name) => self.node(scope, name).await?,
            Asked::Service { name, tag } => {
                let read = (self.read)(Query::HealthService(name)).await?;
                answer::service(scope, instances(&read)?, tag.as_deref())
            }
            Asked::Address(ip) => answer::address(scope, ip),
            Asked::NoAddress => Reply::good(),
            Asked::Soa => answer::soa(scope, instances(&self.servers().await?)?),
            Asked::NameServers => answer::name_servers(scope, instances(&self.servers().await?)?),
            Asked::Unknown => answer::missing(scope),
        })
    }

    async fn node(&self, scope: Scope<'_>, name: String) -> Result<Reply, Unavailable> {
        let read = (self.read)(Query::NodeServices(name)).await?;
        match &*read.answer {
            Answer::NodeServices(Some(found)) => Ok(answer::node(scope, &found.node)),
            Answer::NodeServices(None) => Ok(answer::missing(scope)),
            other => Err(mismatch(other)),
        }
    }

    async fn servers(&self) -> Result<Read, Unavailable> {
        (self.read)(Query::HealthService(SERVERS.to_owned())).await
    }

    async fn pointer(
        &self,
        name: &Name,
        address: Option<String>,
    ) -> Result<Option<Reply>, Unavailable> {
        let Some(address) = address else { return Ok(None) };
        let scope = self.scope(name, RecordType::PTR, &self.zones.main);
        let read = (self.read)(Query::NodesByAddress(address.clone())).await?;
        let nodes = match &*read.answer {
            Answer::Nodes(nodes) => nodes,
            other => return Err(mismatch(other)),
        };
        if let Some(reply) = answer::pointer(scope, nodes, &[]) {
            return Ok(Some(reply));
        }
        let read = (self.read)(Query::InstancesByAddress(address)).await?;
        Ok(answer::pointer(scope, nodes, instances(&read)?))
    }

    /// Asks the recursors; `alone` is the answer where there are none.
    async fn theirs(&self, request: &[u8], by: Transport, alone: ResponseCode) -> Outcome {
        if self.recursors.is_empty() {
            return Outcome::Ours(Reply::bare(alone));
        }
        match self.recursors.ask(request, by).await {
            Some(bytes) => Outcome::Theirs(bytes),
            None => Outcome::Ours(Reply::bare(ResponseCode::ServFail)),
        }
    }

    /// Adds what the host names of a reply lead to.
    async fn followed(&self, mut reply: Reply, kind: RecordType) -> Reply {
        let wanted = match kind {
            RecordType::A | RecordType::AAAA => kind,
            RecordType::CNAME => return reply,
            _ => RecordType::ANY,
        };
        let mut next = reply.follow.take();
        for _ in 0..FOLLOW_DEPTH_MAX {
            let Some(host) = next else { break };
            let (found, further) = self.find(&host, wanted).await;
            reply.answers.extend(found);
            next = further;
        }
        let hosts = std::mem::take(&mut reply.follow_beside);
        let finds = hosts.iter().map(|host| self.find(host, RecordType::ANY));
        for (found, _) in join_all(finds).await {
            reply.beside_all(found);
        }
        reply
    }

    /// The records of a host name, and the name that they lead on to, if any. Nothing where it
    /// cannot be found now: the asker has the name and may look itself.
    async fn find(&self, host: &Name, kind: RecordType) -> (Vec<Record>, Option<Name>) {
        match parse(host, kind, &self.zones) {
            Target::Ours(zone, asked) => match self.ours(self.scope(host, kind, zone), asked).await
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
