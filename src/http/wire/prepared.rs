//! Prepared queries and what they find, as JSON.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::InstanceJson;
use crate::model::{
    Execution, Failover, Instance, PreparedId, PreparedQuery, PreparedService, PreparedTemplate,
    SessionId, TemplateKind,
};

/// A prepared query as every route shows it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::http) struct PreparedJson<'a> {
    #[serde(rename = "ID")]
    id: &'a PreparedId,
    name: &'a str,
    session: String,
    token: &'a str,
    template: TemplateJson<'a>,
    service: ServiceJson<'a>,
    #[serde(rename = "DNS")]
    dns: DnsJson<'a>,
    create_index: u64,
    modify_index: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct TemplateJson<'a> {
    #[serde(rename = "Type")]
    kind: &'static str,
    regexp: &'a str,
    remove_empty_tags: bool,
}

/// What lists and maps were never given is `null`, apart from what is empty.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ServiceJson<'a> {
    service: &'a str,
    failover: FailoverJson<'a>,
    only_passing: bool,
    #[serde(rename = "IgnoreCheckIDs")]
    ignore_check_ids: Option<&'a [String]>,
    near: &'a str,
    tags: Option<&'a [String]>,
    node_meta: Option<&'a BTreeMap<String, String>>,
    service_meta: Option<&'a BTreeMap<String, String>>,
    connect: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct FailoverJson<'a> {
    nearest_n: u64,
    datacenters: Option<&'a [String]>,
}

#[derive(Serialize)]
struct DnsJson<'a> {
    #[serde(rename = "TTL")]
    ttl: &'a str,
}

/// The word of the one kind of template.
pub(in crate::http) const NAME_PREFIX_MATCH: &str = "name_prefix_match";

impl<'a> PreparedJson<'a> {
    /// The query with all that it was given.
    pub(in crate::http) fn of(query: &'a PreparedQuery) -> Self {
        let PreparedTemplate { kind, regexp, remove_empty_tags } = &query.template;
        let kind = match kind {
            TemplateKind::None => "",
            TemplateKind::NamePrefixMatch => NAME_PREFIX_MATCH,
        };
        Self {
            id: &query.id,
            name: &query.name,
            session: query.session.as_ref().map(SessionId::to_string).unwrap_or_default(),
            token: &query.token,
            template: TemplateJson { kind, regexp, remove_empty_tags: *remove_empty_tags },
            service: ServiceJson::of(&query.service),
            dns: DnsJson { ttl: &query.dns_ttl },
            create_index: query.create.0,
            modify_index: query.modify.0,
        }
    }
}

impl<'a> ServiceJson<'a> {
    fn of(service: &'a PreparedService) -> Self {
        let Failover { nearest, datacenters } = &service.failover;
        Self {
            service: &service.service,
            failover: FailoverJson { nearest_n: *nearest, datacenters: datacenters.as_deref() },
            only_passing: service.only_passing,
            ignore_check_ids: service.ignore_check_ids.as_deref(),
            near: &service.near,
            tags: service.tags.as_deref(),
            node_meta: service.node_meta.as_ref(),
            service_meta: service.service_meta.as_ref(),
            connect: service.connect,
        }
    }
}

/// What the answers of `execute` and `explain` say about the read that they come from.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::http) struct AboutJson {
    index: u64,
    last_contact: u64,
    known_leader: bool,
    consistency_level: &'static str,
}

impl AboutJson {
    /// A read of this kind; Consul shows no index here.
    pub(in crate::http) fn of(
        known_leader: bool,
        last_contact: Duration,
        word: &'static str,
    ) -> Self {
        let last_contact = u64::try_from(last_contact.as_nanos()).unwrap_or(u64::MAX);
        Self { index: 0, last_contact, known_leader, consistency_level: word }
    }
}

/// What a prepared query found. No other data center was asked.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::http) struct ExecutionJson<'a> {
    service: &'a str,
    nodes: Vec<InstanceJson<'a>>,
    #[serde(rename = "DNS")]
    dns: DnsJson<'a>,
    datacenter: &'a str,
    failovers: u32,
    #[serde(flatten)]
    about: AboutJson,
}

impl<'a> ExecutionJson<'a> {
    /// The instances in the order given.
    pub(in crate::http) fn of(
        execution: &'a Execution,
        instances: &'a [Instance],
        datacenter: &'a str,
        about: AboutJson,
    ) -> Self {
        Self {
            service: &execution.query.service.service,
            nodes: instances.iter().map(InstanceJson::of).collect(),
            dns: DnsJson { ttl: &execution.query.dns_ttl },
            datacenter,
            failovers: 0,
            about,
        }
    }
}

/// A prepared query as it would run.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::http) struct ExplainedJson<'a> {
    query: PreparedJson<'a>,
    #[serde(flatten)]
    about: AboutJson,
}

impl<'a> ExplainedJson<'a> {
    /// The query with everything filled in.
    pub(in crate::http) fn of(query: &'a PreparedQuery, about: AboutJson) -> Self {
        Self { query: PreparedJson::of(query), about }
    }
}
