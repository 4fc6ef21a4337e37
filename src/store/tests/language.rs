//! The scripts' language: a line is a verb, its words, and `name=value` options.

use bytes::Bytes;
use uuid::Uuid;

use crate::codec;
use crate::model::{
    Autopilot, Behavior, Check, CheckStatus, CheckUpdate, ClusterTime, Command, Coordinate,
    Deregistration, Envelope, Index, KvOp, KvWrite, Node, NodeCoordinate, PreparedId,
    PreparedQuery, PreparedService, PreparedTemplate, Query, Real, RecordVerb, Registration,
    Renewal, Service, SessionId, SessionSpec, TemplateKind, TxnOp,
};

/// One line, cut into words.
pub(super) struct Line<'a> {
    pub(super) verb: &'a str,
    words: Vec<&'a str>,
    options: Vec<(&'a str, &'a str)>,
}

impl<'a> Line<'a> {
    pub(super) fn parse(text: &'a str) -> Self {
        let mut parts = text.split_whitespace();
        let verb = parts.next().expect("a line has a verb");
        let (options, words): (Vec<&str>, Vec<&str>) = parts.partition(|part| part.contains('='));
        let options = options.iter().filter_map(|option| option.split_once('=')).collect();
        Self { verb, words, options }
    }

    /// The word at a place; `""` spells the empty one.
    pub(super) fn word(&self, place: usize) -> &'a str {
        match self.words.get(place) {
            Some(&"\"\"") | None => "",
            Some(word) => word,
        }
    }

    /// The first word as the id of a backup in parts.
    pub(super) fn id(&self) -> u64 {
        self.number(0)
    }

    fn number(&self, place: usize) -> u64 {
        self.word(place).parse().unwrap_or_else(|_| panic!("{} is no number", self.word(place)))
    }

    pub(super) fn option(&self, name: &str) -> Option<&'a str> {
        self.options.iter().find(|(it, _)| *it == name).map(|(_, value)| *value)
    }

    fn text(&self, name: &str) -> String {
        self.option(name).unwrap_or_default().to_owned()
    }

    fn list(&self, name: &str) -> Vec<String> {
        let parts = self.option(name).unwrap_or_default().split(',');
        parts.filter(|part| !part.is_empty()).map(str::to_owned).collect()
    }
}

/// `s1` is the session 1, and so on.
pub(super) fn session(word: &str) -> SessionId {
    let number = word.strip_prefix('s').and_then(|number| number.parse().ok());
    SessionId(Uuid::from_u128(number.unwrap_or_else(|| panic!("{word:?} is no session"))))
}

/// `p1` is the prepared query 1, and so on.
fn prepared_id(word: &str) -> PreparedId {
    let number = word.strip_prefix('p').and_then(|number| number.parse().ok());
    PreparedId(Uuid::from_u128(number.unwrap_or_else(|| panic!("{word:?} is no prepared query"))))
}

/// `prepare p1 NAME SERVICE tags= session= regexp= template=yes only-passing=yes remove-empty=yes`.
fn prepared(line: &Line<'_>) -> Box<PreparedQuery> {
    let kind = match line.option("template") {
        Some(_) => TemplateKind::NamePrefixMatch,
        None => TemplateKind::None,
    };
    let (regexp, remove_empty_tags) = (line.text("regexp"), line.option("remove-empty").is_some());
    let service = PreparedService {
        service: line.word(2).to_owned(),
        tags: line.option("tags").map(|tags| tags.split(',').map(str::to_owned).collect()),
        only_passing: line.option("only-passing").is_some(),
        ignore_check_ids: line.option("ignore").map(|_| line.list("ignore")),
        ..PreparedService::default()
    };
    Box::new(PreparedQuery {
        id: prepared_id(line.word(0)),
        name: line.word(1).to_owned(),
        session: line.option("session").map(session),
        token: String::new(),
        template: PreparedTemplate { kind, regexp, remove_empty_tags },
        service,
        dns_ttl: String::new(),
        dns_ttl_ms: None,
        create: Index(0),
        modify: Index(0),
    })
}

/// `locate NODE PLACE segment=`.
fn coordinate(line: &Line<'_>) -> NodeCoordinate {
    let mut coordinate = Coordinate::default();
    let place: f64 = line.word(1).parse().expect("a place");
    coordinate.vec[0] = Real::of(place).expect("a finite number");
    NodeCoordinate { node: line.word(0).to_owned(), segment: line.text("segment"), coordinate }
}

/// An envelope's bytes.
pub(super) fn envelope(at: u64, renewals: Vec<Renewal>, command: &Command) -> Bytes {
    let command = Bytes::from(codec::encode(command));
    codec::encode(&Envelope { at: ClusterTime(at), renewals, command }).into()
}

/// The command that a line words, if it is one.
pub(super) fn command(text: &str) -> Option<Command> {
    let line = Line::parse(text);
    Some(match line.verb {
        "tick" => Command::Tick,
        "txn" => {
            let ops = text.trim_start_matches("txn").split(';');
            Command::Txn(ops.map(|op| operation(&Line::parse(op)).expect("an operation")).collect())
        }
        "session" => Command::SessionCreate(spec(&line)),
        "destroy" => Command::SessionDestroy(session(line.word(0))),
        "expire" => Command::SessionExpire { id: session(line.word(0)), sequence: line.number(1) },
        "register" => Command::Register(Box::new(registration(&line))),
        "deregister" => Command::Deregister(Deregistration {
            node: line.word(0).to_owned(),
            service: line.option("service").map(str::to_owned),
            check: line.option("check").map(str::to_owned),
        }),
        "check" => Command::CheckUpdate(vec![CheckUpdate {
            node: line.word(0).to_owned(),
            check: line.word(1).to_owned(),
            status: CheckStatus::from_word(line.word(2)),
            output: line.text("output"),
        }]),
        "autopilot" => Command::Autopilot {
            settings: Box::new(Autopilot {
                last_contact_ms: line.number(0),
                max_trailing_logs: line.number(1),
                ..Autopilot::default()
            }),
            index: line.option("cas").map(|index| Index(index.parse().expect("an index"))),
        },
        "reap" => Command::TombstoneReap(Index(line.number(0))),
        "prepare" => Command::PreparedCreate(prepared(&line)),
        "prepare-again" => Command::PreparedUpdate(prepared(&line)),
        "unprepare" => Command::PreparedDelete(prepared_id(line.word(0))),
        "locate" => Command::CoordinateUpdate(vec![coordinate(&line)]),
        _ => Command::Kv(kv(&line)?),
    })
}

fn kv(line: &Line<'_>) -> Option<KvOp> {
    let value = || Bytes::from(line.word(1).to_owned());
    let flags = line.option("flags").map_or(0, |flags| flags.parse().expect("a number"));
    let index = |place| Index(line.number(place));
    let verb = match line.verb {
        "set" => KvWrite::Set { value: value(), flags },
        "cas" => KvWrite::Cas { value: value(), flags, index: index(2) },
        "lock" => KvWrite::Lock { value: value(), flags, session: session(line.word(2)) },
        "unlock" => KvWrite::Unlock { value: value(), flags, session: session(line.word(2)) },
        "delete" => KvWrite::Delete,
        "delete-cas" => KvWrite::DeleteCas { index: index(1) },
        "delete-tree" => KvWrite::DeleteTree,
        "read" => KvWrite::Get,
        "read-or-empty" => KvWrite::GetOrEmpty,
        "read-tree" => KvWrite::GetTree,
        "check-index" => KvWrite::CheckIndex { index: index(1) },
        "check-session" => KvWrite::CheckSession { session: session(line.word(1)).to_string() },
        "check-not-exists" => KvWrite::CheckNotExists,
        _ => return None,
    };
    Some(KvOp { key: line.word(0).to_owned(), verb })
}

/// `node-VERB NODE ADDRESS id=`, `service-VERB NODE service=NAME:ID:PORT tags=`,
/// `status-VERB NODE check=ID:STATUS:SERVICE`; all with `index=`; everything else is of keys.
fn operation(line: &Line<'_>) -> Option<TxnOp> {
    if line.verb == "nonsense" {
        return Some(TxnOp::Nonsense("nonsense".to_owned()));
    }
    let Some((kind, word)) = line.verb.split_once('-') else { return kv(line).map(TxnOp::Kv) };
    let index = line.option("index").map_or(0, |index| index.parse().expect("a number"));
    let verb = match word {
        "set" => RecordVerb::Set,
        "cas" => RecordVerb::Cas(Index(index)),
        "get" => RecordVerb::Get,
        "delete" => RecordVerb::Delete,
        "delete-cas" => RecordVerb::DeleteCas(Index(index)),
        _ => return kv(line).map(TxnOp::Kv),
    };
    let named = registration(line);
    Some(match kind {
        "node" => TxnOp::Node { verb, node: Box::new(named.node) },
        "service" => {
            let service = named.service.expect("a service is named");
            TxnOp::Service { verb, service: Box::new(Service { node: named.node.name, ..service }) }
        }
        "status" => {
            let check = named.checks.into_iter().next().expect("a check is named");
            TxnOp::Check { verb, check: Box::new(Check { node: named.node.name, ..check }) }
        }
        _ => return kv(line).map(TxnOp::Kv),
    })
}

fn spec(line: &Line<'_>) -> SessionSpec {
    SessionSpec {
        id: session(line.word(0)),
        name: line.text("name"),
        node: line.word(1).to_owned(),
        lock_delay_ms: line.option("delay").map_or(0, |delay| delay.parse().expect("a number")),
        behavior: match line.option("behavior") {
            Some("delete") => Behavior::Delete,
            _ => Behavior::Release,
        },
        ttl_ms: line.option("ttl").map(|ttl| ttl.parse().expect("a number")),
        ttl_text: line.text("ttl"),
        node_checks: line.list("checks"),
        service_checks: line.option("service-checks").map(|_| {
            line.list("service-checks").into_iter().map(|id| (id, String::new())).collect()
        }),
        checks: None,
    }
}

/// `register NODE ADDRESS id= skip=yes service=NAME:ID:PORT tags= address= check=ID:STATUS:SERVICE`.
fn registration(line: &Line<'_>) -> Registration {
    let node = Node {
        id: line.text("id"),
        name: line.word(0).to_owned(),
        address: line.word(1).to_owned(),
        datacenter: "dc1".to_owned(),
        ..Node::default()
    };
    let service = line.option("service").map(|text| {
        let parts: Vec<&str> = text.split(':').collect();
        Service {
            name: parts[0].to_owned(),
            id: (*parts.get(1).unwrap_or(&parts[0])).to_owned(),
            port: parts.get(2).map_or(0, |port| port.parse().expect("a port")),
            tags: line.list("tags"),
            address: line.text("address"),
            lets_in_to: line.text("lets-in-to"),
            ..Service::default()
        }
    });
    let checks = line.list("check").into_iter().map(|text| {
        let parts: Vec<&str> = text.split(':').collect();
        Check {
            node: line.text("check-node"),
            id: parts[0].to_owned(),
            name: parts[0].to_owned(),
            status: CheckStatus::from_word(parts.get(1).unwrap_or(&"")),
            service_id: (*parts.get(2).unwrap_or(&"")).to_owned(),
            output: line.text("output"),
            ..Check::default()
        }
    });
    let skip_node_update = line.option("skip").is_some();
    Registration { node, skip_node_update, service, checks: checks.collect() }
}

/// The query that a line words, if it is one.
pub(super) fn query(text: &str) -> Option<Query> {
    let line = Line::parse(text);
    let word = line.word(0).to_owned();
    Some(match line.verb {
        "?kv" => Query::Kv(word),
        "?tree" => Query::KvTree(word),
        "?keys" => Query::KvKeys { prefix: word, separator: line.word(1).to_owned() },
        "?session" => Query::Session(session(&word)),
        "?node-sessions" => Query::NodeSessions(word),
        "?sessions" => Query::Sessions,
        "?nodes" => Query::Nodes,
        "?services" => Query::Services,
        "?catalog" => Query::CatalogService(word),
        "?health" => Query::HealthService(word),
        "?node" => Query::NodeServices(word),
        "?node-checks" => Query::NodeChecks(word),
        "?service-checks" => Query::ServiceChecks(word),
        "?connect" => Query::ConnectService(word),
        "?autopilot" => Query::Autopilot,
        "?state" => Query::ChecksInState(word),
        "?nodes-at" => Query::NodesByAddress(word),
        "?instances-at" => Query::InstancesByAddress(word),
        "?prepared" if word.is_empty() => Query::AllPrepared,
        "?prepared" => Query::Prepared(prepared_id(&word)),
        "?resolve" => Query::Resolve(word),
        "?execute" => Query::Execute { name: word, connect: line.option("connect").is_some() },
        "?coordinates" if word.is_empty() => Query::Coordinates,
        "?coordinates" => Query::NodeCoordinates(word),
        "?txn" => {
            let ops = text.trim_start_matches("?txn").split(';');
            Query::Txn(ops.map(|op| operation(&Line::parse(op)).expect("an operation")).collect())
        }
        _ => return None,
    })
}
