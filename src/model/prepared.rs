//! Prepared queries: questions for instances of a service, kept under a name.
//!
//! Source: Consul HTTP API, "Prepared Queries".

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::catalog::{CheckStatus, Instance};
use super::ids::{Index, SessionId};

/// A prepared query's id, chosen by who proposes its creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PreparedId(pub Uuid);

impl std::fmt::Display for PreparedId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A question that is kept. Its texts together have at most
/// [`crate::limits::PREPARED_BYTES_MAX`] bytes, which the door sees to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreparedQuery {
    /// The id.
    pub id: PreparedId,
    /// The name; compared without regard to case. May be empty for a template, which then takes
    /// every name that no other query has, and for a query that is bound to a session.
    pub name: String,
    /// The session that it ends with.
    pub session: Option<SessionId>,
    /// The token that it runs with. Kept and shown; without access control it decides nothing.
    pub token: String,
    /// Whether it stands for all names that begin with its own.
    pub template: PreparedTemplate,
    /// What it asks for.
    pub service: PreparedService,
    /// How long DNS answers may be kept, as the caller wrote it; empty says nothing.
    pub dns_ttl: String,
    /// The same in milliseconds; `None` says nothing.
    pub dns_ttl_ms: Option<u64>,
    /// The index that created it.
    pub create: Index,
    /// The index that last changed it.
    pub modify: Index,
}

/// What makes a query a template.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreparedTemplate {
    /// Which kind of template.
    pub kind: TemplateKind,
    /// What cuts parts out of the name asked for; empty cuts none.
    pub regexp: String,
    /// Whether tags that are empty once they are filled in are left out.
    pub remove_empty_tags: bool,
}

/// Which kind of template a query is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TemplateKind {
    /// It is none.
    #[default]
    None,
    /// It takes all names that begin with its own; the longest such name wins.
    NamePrefixMatch,
}

/// Which instances are asked for. Lists and maps that the caller did not give are `None`: they
/// are shown apart from empty ones. In a template all texts may hold `${…}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreparedService {
    /// The service's name.
    pub service: String,
    /// Where to ask when nothing is found here.
    pub failover: Failover,
    /// Whether a warning check counts as unfit.
    pub only_passing: bool,
    /// Checks that are passed over.
    pub ignore_check_ids: Option<Vec<String>>,
    /// The node whose nearest come first; `_agent` is the asked agent's, `_ip` the caller's.
    pub near: String,
    /// Tags that an instance has, or with `!` in front has not.
    pub tags: Option<Vec<String>>,
    /// Pairs that its node has.
    pub node_meta: Option<BTreeMap<String, String>>,
    /// Pairs that it has.
    pub service_meta: Option<BTreeMap<String, String>>,
    /// Whether only mesh instances are asked for.
    pub connect: bool,
}

/// Where to ask when nothing is found here. Kept and shown: this cluster knows no other yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failover {
    /// So many of the nearest data centers first.
    pub nearest: u64,
    /// Then these.
    pub datacenters: Option<Vec<String>>,
}

impl PreparedQuery {
    /// Whether it is a template.
    pub fn is_template(&self) -> bool {
        self.template.kind != TemplateKind::None
    }

    /// How many bytes its texts have.
    pub fn text_bytes(&self) -> usize {
        let service = &self.service;
        let list = |list: &Option<Vec<String>>| list.iter().flatten().map(String::len).sum();
        let map = |map: &Option<BTreeMap<String, String>>| {
            map.iter().flatten().map(|(key, value)| key.len() + value.len()).sum()
        };
        let lists: [usize; 5] = [
            list(&service.tags),
            list(&service.ignore_check_ids),
            list(&service.failover.datacenters),
            map(&service.node_meta),
            map(&service.service_meta),
        ];
        let texts = [
            &self.name,
            &self.token,
            &self.template.regexp,
            &self.dns_ttl,
            &service.service,
            &service.near,
        ];
        lists.iter().sum::<usize>() + texts.iter().map(|text| text.len()).sum::<usize>()
    }
}

impl PreparedService {
    /// Whether an instance of the service is one that is asked for.
    pub fn takes(&self, instance: &Instance) -> bool {
        self.is_fit(instance)
            && has_pairs(&instance.node.meta, self.node_meta.as_ref())
            && has_pairs(&instance.service.meta, self.service_meta.as_ref())
            && self.has_tags(&instance.service.tags)
    }

    fn is_fit(&self, instance: &Instance) -> bool {
        let ignored = |id: &String| self.ignore_check_ids.iter().flatten().any(|it| it == id);
        let counting = instance.checks.iter().filter(|check| !ignored(&check.id));
        counting.map(|check| &check.status).all(|status| match status {
            CheckStatus::Passing => true,
            CheckStatus::Warning | CheckStatus::Other(_) => !self.only_passing,
            CheckStatus::Critical => false,
        })
    }

    fn has_tags(&self, tags: &[String]) -> bool {
        let has = |wanted: &str| tags.iter().any(|tag| tag.to_lowercase() == wanted);
        self.tags.iter().flatten().map(|tag| tag.to_lowercase()).all(|tag| {
            match tag.strip_prefix('!') {
                Some(unwanted) => !has(unwanted),
                None => has(&tag),
            }
        })
    }
}

fn has_pairs(own: &BTreeMap<String, String>, wanted: Option<&BTreeMap<String, String>>) -> bool {
    wanted.into_iter().flatten().all(|(key, value)| own.get(key) == Some(value))
}

/// What running a prepared query found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Execution {
    /// The query that ran; of a template, with everything filled in.
    pub query: Arc<PreparedQuery>,
    /// The instances that it asks for, each with its checks, by node and id; a door brings them
    /// into the order of the answer with [`super::arrange`].
    pub instances: Vec<Instance>,
}

/// Why a name leads to no prepared query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unresolved {
    /// No query has the name or id, and no template takes it.
    NotFound,
    /// A template was asked for by its id, which gives no name to fill in.
    TemplateById,
    /// The template cannot be filled in; the text says why.
    Template(String),
}

#[cfg(test)]
mod tests {
    use super::CheckStatus::{Critical, Other, Passing, Warning};
    use super::*;
    use crate::model::{Check, Node, Service};

    fn instance(statuses: &[(&str, CheckStatus)]) -> Instance {
        let pairs = |key: &str, value: &str| [(key.to_owned(), value.to_owned())].into();
        let node = Node { meta: pairs("rack", "1"), ..Node::default() };
        let tags = vec!["Blue".to_owned(), "v1".to_owned()];
        let service = Service { meta: pairs("v", "2"), tags, ..Service::default() };
        let check = |(id, status): &(&str, CheckStatus)| {
            let (id, status) = ((*id).to_owned(), status.clone());
            Arc::new(Check { id, status, ..Check::default() })
        };
        let checks = statuses.iter().map(check).collect();
        Instance { node: Arc::new(node), service: Arc::new(service), checks }
    }

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn checks_decide_unless_they_are_ignored() {
        let plain = PreparedService::default();
        let strict = PreparedService { only_passing: true, ..PreparedService::default() };
        let blind = PreparedService { ignore_check_ids: Some(texts(&["b"])), ..strict.clone() };
        for (statuses, want) in [
            (vec![], [true, true, true]),
            (vec![("a", Passing)], [true, true, true]),
            (vec![("a", Passing), ("b", Warning)], [true, false, true]),
            (vec![("b", Critical)], [false, false, true]),
            (vec![("a", Critical), ("b", Passing)], [false, false, false]),
            (vec![("a", Other("odd".into()))], [true, false, false]),
        ] {
            let one = instance(&statuses);
            assert_eq!([plain.takes(&one), strict.takes(&one), blind.takes(&one)], want);
        }
    }

    #[test]
    fn tags_and_pairs_are_all_there_or_not_there() {
        let one = instance(&[]);
        for (tags, want) in [
            (vec!["blue"], true),
            (vec!["BLUE", "V1"], true),
            (vec!["blue", "green"], false),
            (vec!["!green"], true),
            (vec!["v1", "!Blue"], false),
            (vec![""], false),
        ] {
            let query = PreparedService { tags: Some(texts(&tags)), ..PreparedService::default() };
            assert_eq!(query.takes(&one), want, "{tags:?}");
        }
        let pairs = |key: &str, value: &str| Some([(key.to_owned(), value.to_owned())].into());
        for (node, service, want) in [
            (pairs("rack", "1"), pairs("v", "2"), true),
            (pairs("rack", "2"), None, false),
            (None, pairs("rack", "1"), false),
        ] {
            let query = PreparedService {
                node_meta: node,
                service_meta: service,
                ..PreparedService::default()
            };
            assert_eq!(query.takes(&one), want);
        }
    }
}
