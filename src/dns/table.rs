//! A catalog that is a table: for tests and the fuzzer.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::catalog::Catalog;
use crate::model::{
    Answer, Check, CheckStatus, Coordinate, Execution, Index, Instance, Node, NodeCoordinate,
    NodeServices, PreparedId, PreparedQuery, PreparedService, PreparedTemplate, Query, Read, Real,
    Service, Unavailable, Unresolved,
};

/// Where questions come from that come over no socket.
pub(super) const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn node(name: &str, address: &str) -> Arc<Node> {
    let meta = [("env".to_owned(), "prod".to_owned())].into();
    Arc::new(Node { name: name.to_owned(), address: address.to_owned(), meta, ..Node::default() })
}

fn instance(node: &Arc<Node>, name: &str, address: &str, port: u16) -> Instance {
    let service = Service {
        node: node.name.clone(),
        id: format!("{name}-{port}"),
        name: name.to_owned(),
        tags: vec!["v1.0".to_owned()],
        address: address.to_owned(),
        port,
        ..Service::default()
    };
    Instance { node: Arc::clone(node), service: Arc::new(service), checks: Vec::new() }
}

/// Two nodes, a small service, a big one, one that is critical, and host names.
fn answer(query: Query) -> Result<Answer, Unavailable> {
    let (n1, n2) = (node("n1", "10.0.0.1"), node("n2", "fd00::2"));
    Ok(match query {
        Query::HealthService(name) => Answer::Instances(match name.as_str() {
            "consul" => vec![instance(&n1, "consul", "", 8300)],
            "web" => vec![instance(&n1, "web", "", 80), instance(&n2, "web", "10.9.9.9", 81)],
            "big" => (1..=200)
                .map(|at| instance(&n1, "big", &format!("10.1.0.{at}"), 1000 + at))
                .collect(),
            "alias" => vec![instance(&n1, "alias", "web.service.consul", 80)],
            "chain" => vec![instance(&n1, "chain", "alias.service.consul.", 80)],
            "loop" => vec![instance(&n1, "loop", "pool.service.consul", 80)],
            "pool" => vec![instance(&n1, "pool", "loop.service.consul", 80)],
            "deep" => vec![instance(&n1, "deep", "n1.node.example.com", 80)],
            "far" => vec![instance(&n1, "far", "far.example.com", 80)],
            "sick" => {
                let check = Check { status: CheckStatus::Critical, ..Check::default() };
                let checks = vec![Arc::new(check)];
                vec![Instance { checks, ..instance(&n1, "sick", "", 80) }]
            }
            "gone" => return Err(Unavailable::NoLeader),
            "own" => vec![instance(&n1, "own", "own.service.consul", 80)],
            _ => Vec::new(),
        }),
        Query::NodeServices(name) => Answer::NodeServices(
            [n1, n2]
                .into_iter()
                .find(|node| node.name == name)
                .map(|node| NodeServices { node, services: Vec::new() }),
        ),
        Query::NodesByAddress(address) => {
            Answer::Nodes([n1, n2].into_iter().filter(|node| node.address == address).collect())
        }
        Query::InstancesByAddress(address) if address == "10.9.9.9" => {
            Answer::Instances(vec![instance(&n2, "web", "10.9.9.9", 81)])
        }
        Query::InstancesByAddress(_) => Answer::Instances(Vec::new()),
        Query::Execute { name, connect: false } => Answer::Executed(executed(&name)),
        Query::CoordinatesOf(nodes) => {
            let at = |node: &String| {
                let mut coordinate = Coordinate::default();
                coordinate.vec[0] =
                    Real::of(if node == "n1" { 0.5 } else { 0.0 }).unwrap_or_default();
                let (node, segment) = (node.clone(), String::new());
                Arc::new(NodeCoordinate { node, segment, coordinate })
            };
            Answer::Coordinates(nodes.iter().map(at).collect())
        }
        other => panic!("the door asked {other:?}"),
    })
}

/// What prepared queries find: the instances of `web`, for who wants the nearest ones in three
/// ways.
fn executed(name: &str) -> Result<Box<Execution>, Unresolved> {
    let (near, ttl) = match name {
        "kept.a.while" => ("", Some(13_900)),
        "here" => ("_agent", None),
        "there" => ("n2", None),
        "asker" => ("_ip", None),
        "nobody" => ("", None),
        "torn" => return Err(Unresolved::Template("no such group".to_owned())),
        _ => return Err(Unresolved::NotFound),
    };
    let (n1, n2) = (node("n1", "10.0.0.1"), node("n2", "fd00::2"));
    let instances = match name {
        "nobody" => Vec::new(),
        _ => vec![instance(&n1, "web", "", 80), instance(&n2, "web", "10.9.9.9", 81)],
    };
    let query = PreparedQuery {
        id: PreparedId(uuid::Uuid::nil()),
        name: name.to_owned(),
        session: None,
        token: String::new(),
        template: PreparedTemplate::default(),
        service: PreparedService {
            service: "Web".to_owned(),
            near: near.to_owned(),
            ..PreparedService::default()
        },
        dns_ttl: String::new(),
        dns_ttl_ms: ttl,
        create: Index(1),
        modify: Index(1),
    };
    Ok(Box::new(Execution { query: Arc::new(query), instances }))
}

/// The table as a catalog: what it holds never changes, but its index may, and reads are counted.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    pub(super) index: Arc<AtomicU64>,
    pub(super) reads: Arc<AtomicU64>,
}

impl Catalog for Table {
    async fn read(&self, query: Query) -> Result<Read, Unavailable> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let (answer, index) = (Arc::new(answer(query)?), Index(self.index.load(Ordering::Relaxed)));
        Ok(Read { answer, index, known_leader: true, last_contact: Duration::ZERO })
    }

    async fn changed(&self, query: &Query) -> Result<Index, Unavailable> {
        match query {
            Query::HealthService(name) if name == "gone" => Err(Unavailable::NoLeader),
            _ => Ok(Index(self.index.load(Ordering::Relaxed))),
        }
    }
}
