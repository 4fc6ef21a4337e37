//! Bodies that define prepared queries: decoded, then looked at in Consul's order.
//!
//! Source: Consul HTTP API, "Create Prepared Query".

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::limits::NAME_BYTES_MAX;
use crate::model::{
    Failover, Index, PreparedId, PreparedQuery, PreparedService, PreparedTemplate, Template,
    TemplateKind,
};

use super::definition;
use super::error::Failure;
use super::json::Fields;
use super::number;
use super::session::parse_id as session_id;
use super::wire::NAME_PREFIX_MATCH;

/// What a token is shown as to those who may not see it; nobody's token is called so.
const REDACTED: &str = "<hidden>";

/// A query of a body that makes a new one.
pub(super) fn new(value: &Value, id: PreparedId) -> Result<PreparedQuery, Failure> {
    let given = decoded(value, id).map_err(|text| Failure::decode(&text))?;
    if !given.id.is_empty() {
        return Err(Failure::internal("ID must be empty when creating a new prepared query"));
    }
    checked(given)
}

/// A query of a body that changes one; the id that the body may name says nothing.
pub(super) fn changed(value: &Value, id: PreparedId) -> Result<PreparedQuery, Failure> {
    checked(decoded(value, id).map_err(|text| Failure::decode(&text))?)
}

/// A query, beside it the words that need a second look.
struct Given {
    query: PreparedQuery,
    id: String,
    template: String,
    session: String,
    nearest: i64,
}

fn decoded(value: &Value, id: PreparedId) -> Result<Given, String> {
    let none = Value::Null;
    let mut fields = Fields::of(value, "structs.PreparedQuery")?;
    let mut part = |name: &str| fields.take(name).unwrap_or(&none);
    let mut template = Fields::of(part("Template"), "structs.QueryTemplateOptions")?;
    let mut dns = Fields::of(part("DNS"), "structs.QueryDNSOptions")?;
    let (service, nearest) = service(part("Service"))?;
    let given = Given {
        id: fields.text("ID")?,
        template: template.text("Type")?,
        session: fields.text("Session")?,
        nearest,
        query: PreparedQuery {
            id,
            name: fields.text("Name")?,
            session: None,
            token: fields.text("Token")?,
            template: PreparedTemplate {
                kind: TemplateKind::None,
                regexp: template.text("Regexp")?,
                remove_empty_tags: template.truth("RemoveEmptyTags")?,
            },
            service,
            dns_ttl: dns.text("TTL")?,
            dns_ttl_ms: None,
            create: Index(0),
            modify: Index(0),
        },
    };
    fields.ignore(&["CreateIndex", "ModifyIndex"]);
    [&fields, &template, &dns].into_iter().try_for_each(Fields::finish)?;
    Ok(given)
}

/// What a query asks for, and how many data centers come first; that may be below zero here.
fn service(value: &Value) -> Result<(PreparedService, i64), String> {
    let none = Value::Null;
    let mut fields = Fields::of(value, "structs.ServiceQuery")?;
    let failover = fields.take("Failover").unwrap_or(&none);
    let mut failover = Fields::of(failover, "structs.QueryDatacenterOptions")?;
    let nearest = failover.whole("NearestN")?.unwrap_or_default();
    let datacenters = failover.texts("Datacenters")?;
    // Newer clients always send these two; what they would say has no place here yet.
    if !failover.list("Targets")?.is_empty() || !fields.text("SamenessGroup")?.is_empty() {
        return Err("failover to targets and sameness groups is not supported".to_owned());
    }
    let service = PreparedService {
        service: fields.text("Service")?,
        failover: Failover { nearest: u64::try_from(nearest).unwrap_or_default(), datacenters },
        only_passing: fields.truth("OnlyPassing")?,
        ignore_check_ids: fields.texts("IgnoreCheckIDs")?,
        near: fields.text("Near")?,
        tags: fields.texts("Tags")?,
        node_meta: pairs(&mut fields, "NodeMeta")?,
        service_meta: pairs(&mut fields, "ServiceMeta")?,
        connect: fields.truth("Connect")?,
    };
    fields.ignore(&["Namespace", "Partition"]);
    failover.finish()?;
    fields.finish()?;
    Ok((service, nearest))
}

/// A map of texts; none is not the same as an empty one.
fn pairs(fields: &mut Fields<'_>, name: &str) -> Result<Option<BTreeMap<String, String>>, String> {
    fields.take(name).is_some().then(|| fields.pairs(name)).transpose()
}

/// Consul's rules in Consul's order, with Consul's texts.
fn checked(given: Given) -> Result<PreparedQuery, Failure> {
    let invalid = |why: String| Failure::internal(format!("Invalid prepared query: {why}"));
    rules(&given).map_err(invalid)?;
    let Given { mut query, template, session, .. } = given;
    query.dns_ttl_ms = ttl_ms(&query.dns_ttl).map_err(invalid)?;
    let compiling = |why: String| Failure::internal(format!("failed compiling template: {why}"));
    query.template.kind = match template.as_str() {
        "" => TemplateKind::None,
        NAME_PREFIX_MATCH => TemplateKind::NamePrefixMatch,
        other => return Err(compiling(format!("Bad Template.Type '{other}'"))),
    };
    if !session.is_empty() {
        let lookup = |why: String| why.replace("failed session lookup", "invalid session");
        let id = session_id(&session).map_err(|why| Failure::internal(lookup(why)))?;
        query.session = Some(id);
    }
    if query.is_template() {
        Template::compile(Arc::new(query.clone())).map_err(compiling)?;
    }
    Ok(query)
}

fn rules(given: &Given) -> Result<(), String> {
    let Given { query, template, session, nearest, .. } = given;
    if query.name.is_empty() && template.is_empty() && session.is_empty() {
        return Err("Must be bound to a session".to_owned());
    }
    if query.name.len() > NAME_BYTES_MAX {
        return Err(format!("a name is at most {NAME_BYTES_MAX} bytes long"));
    }
    if query.token == REDACTED {
        return Err(format!(
            "Bad Token '{REDACTED}', it looks like a query definition with a redacted token \
             was submitted"
        ));
    }
    if query.service.service.is_empty() {
        return Err("Must provide a Service name to query".to_owned());
    }
    if *nearest < 0 {
        return Err(format!("Bad NearestN '{nearest}', must be >= 0"));
    }
    query.service.node_meta.as_ref().map_or(Ok(()), definition::metadata)
}

/// How long DNS answers may be kept, in milliseconds; `None` says nothing.
fn ttl_ms(text: &str) -> Result<Option<u64>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let nanos =
        number::duration_nanos(text).map_err(|why| format!("Bad DNS TTL '{text}': {why}"))?;
    if nanos < 0 {
        return Err(format!("DNS TTL '{nanos}', must be >=0"));
    }
    Ok(Some(number::millis(nanos)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use uuid::Uuid;

    const ID: PreparedId = PreparedId(Uuid::from_u128(7));

    fn parse(value: &Value) -> Result<PreparedQuery, (u16, String)> {
        new(value, ID).map_err(|failure| (failure.status.as_u16(), failure.text.into_owned()))
    }

    #[test]
    fn a_query_is_kept_as_it_was_given() {
        let query = parse(&json!({"name": "q", "Token": "t", "CreateIndex": 5,
            "Service": {"Service": "web", "Tags": [], "onlypassing": true, "NodeMeta": {"a": "b"},
                "Failover": {"NearestN": 2, "Datacenters": ["dc2"], "Targets": null}},
            "DNS": {"TTL": "1.5s"}}))
        .unwrap();
        assert_eq!((query.id, query.name.as_str(), query.token.as_str()), (ID, "q", "t"));
        assert_eq!((query.dns_ttl.as_str(), query.dns_ttl_ms), ("1.5s", Some(1500)));
        let service = &query.service;
        assert_eq!((service.tags.as_deref(), service.service_meta.as_ref()), (Some(&[][..]), None));
        assert_eq!((service.failover.nearest, service.only_passing), (2, true));
        assert!(!query.is_template() && query.session.is_none());
        let named = json!({"ID": "any", "Name": "q", "Service": {"Service": "web"}});
        assert_eq!(changed(&named, ID).unwrap().id, ID);
        let bound = json!({"Session": ID.to_string(), "Service": {"Service": "web"}});
        assert_eq!(parse(&bound).unwrap().session.map(|id| id.0), Some(ID.0));
    }

    #[test]
    fn bad_queries_have_consuls_texts() {
        let web = || json!({"Service": "web"});
        for (value, status, text) in [
            (json!({}), 500, "Invalid prepared query: Must be bound to a session"),
            (
                json!({"Name": "q"}),
                500,
                "Invalid prepared query: Must provide a Service name to query",
            ),
            (
                json!({"ID": "x", "Name": "q", "Service": web()}),
                500,
                "ID must be empty when creating a new prepared query",
            ),
            (
                json!({"Name": "q", "Service": {"Service": "web", "Failover": {"NearestN": -1}}}),
                500,
                "Invalid prepared query: Bad NearestN '-1', must be >= 0",
            ),
            (
                json!({"Name": "q", "Service": {"Service": "web", "NodeMeta": {"": "x"}}}),
                500,
                "Invalid prepared query: Couldn't load metadata pair ('', 'x'): Key cannot be blank",
            ),
            (
                json!({"Name": "q", "Service": web(), "DNS": {"TTL": "bogus"}}),
                500,
                "Invalid prepared query: Bad DNS TTL 'bogus': time: invalid duration \"bogus\"",
            ),
            (
                json!({"Name": "q", "Service": web(), "DNS": {"TTL": "-1s"}}),
                500,
                "Invalid prepared query: DNS TTL '-1000000000', must be >=0",
            ),
            (
                json!({"Name": "q", "Service": web(), "Session": "nope"}),
                500,
                "invalid session: index error: UUID must be 36 characters",
            ),
            (
                json!({"Name": "q", "Service": web(), "Template": {"Type": "bogus"}}),
                500,
                "failed compiling template: Bad Template.Type 'bogus'",
            ),
            (
                json!({"Name": "q", "Service": {"Service": "web", "only_passing": 1, "x": 1}}),
                400,
                "Request decode failed: json: cannot unmarshal number into Go struct field \
                 .OnlyPassing of type bool",
            ),
            (
                json!({"Name": "q", "Service": {"Service": "web", "Failover": {"Targets": [{}]}}}),
                400,
                "Request decode failed: failover to targets and sameness groups is not supported",
            ),
        ] {
            assert_eq!(parse(&value), Err((status, text.to_owned())), "{value}");
        }
    }
}
