//! `/v1/catalog`: nodes and services. Source: Consul HTTP API, "Catalog".

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;
use uuid::Uuid;

use crate::limits::NAME_BYTES_MAX;
use crate::model::{
    Answer, Check, CheckDefinition, CheckKind, CheckStatus, Command, Consistency, Deregistration,
    Instance, Node, NodeServices, Query, Read, ReadOptions, Registration, Service,
};

use super::cache::{Refresh, Wish};
use super::call::{Call, Discovery, Outcome, Output, wrong_answer};
use super::check_definition;
use super::definition::{self, DefinitionError};
use super::error::Failure;
use super::filter::{self, Filter};
use super::json::Fields;
use super::near;
use super::number::millis;
use super::params::{ReadPlan, Selection};
use super::session::invalid_byte;
use super::wire::{CatalogServiceJson, NodeJson, NodeServiceListJson, NodeServiceMapJson};

/// A read of catalog or health: parameters first, then the data; a failure of the read itself
/// has index headers. What the caller filters by comes along, bound to the records' `fields`.
pub(super) async fn read<T: 'static>(
    call: &Call,
    query: Query,
    fields: filter::Fields<T>,
) -> Result<(Read, ReadPlan, Filter<T>), Failure> {
    let plan = call.read_plan(Discovery::Yes)?;
    call.check_datacenter().map_err(Failure::indexed)?;
    let filter = Filter::of(call, fields).map_err(|why| Failure::from(why).indexed())?;
    let read = call.read(query, &plan).await.map_err(|why| Failure::from(why).indexed())?;
    Ok((read, plan, filter))
}

/// As [`read`], of a question whose answer may be kept.
pub(super) async fn read_or_kept<T: 'static>(
    call: &Call,
    query: Query,
    fields: filter::Fields<T>,
) -> Result<(Read, ReadPlan, Filter<T>), Failure> {
    if !call.wants_cached() {
        return read(call, query, fields).await;
    }
    let plan = call.read_plan(Discovery::Yes)?;
    call.check_datacenter().map_err(Failure::indexed)?;
    let filter = Filter::of(call, fields).map_err(|why| Failure::from(why).indexed())?;
    let read = call.read_cached(query, Refresh::Background, &plan).await;
    let (read, cached) = read.map_err(|why| Failure::from(why).indexed())?;
    Ok((read, ReadPlan { cached: Some(cached), ..plan }, filter))
}

/// The nodes that a selection by metadata leaves, by name in lower case.
///
/// Read after the answer that it narrows, from this server, so that it is never older.
pub(super) async fn selected_nodes(
    call: &Call,
    selection: &Selection,
) -> Result<BTreeSet<String>, Failure> {
    let plan = aside(Consistency::Stale);
    let read = call.read(Query::Nodes, &plan).await.map_err(|why| Failure::from(why).indexed())?;
    let Answer::Nodes(nodes) = &*read.answer else { wrong_answer() };
    let chosen = nodes.iter().filter(|node| selection.node(node));
    Ok(chosen.map(|node| node.name.to_lowercase()).collect())
}

/// A read beside the one that the caller asked for: it does not block.
fn aside(consistency: Consistency) -> ReadPlan {
    let options = ReadOptions { consistency, after: None, wait: None };
    ReadPlan { options, word: "stale", wish: Wish::default(), cached: None }
}

/// `GET /v1/catalog/datacenters`.
pub(super) async fn datacenters(call: Call) -> Outcome {
    let plan = call.read_plan(Discovery::No)?;
    call.client().status().await?; // an agent that reaches no server knows of none
    let cached = call.wants_cached().then(|| call.rooms.cache.datacenters(plan.wish));
    Ok(call.json(&[&call.options.datacenter]).cached(cached))
}

/// `GET /v1/catalog/nodes`.
pub(super) async fn nodes(call: Call) -> Outcome {
    let selection = Selection::of(&call.params)?;
    let (read, plan, filter) = read(&call, Query::Nodes, filter::node).await?;
    let Answer::Nodes(nodes) = &*read.answer else { wrong_answer() };
    let chosen = nodes.iter().filter(|node| selection.node(node) && filter.keeps(node));
    let mut chosen: Vec<_> = chosen.collect();
    near::sort(&call, &mut chosen, |node| &node.name).await?;
    let shown: Vec<_> = chosen.into_iter().map(|node| NodeJson::of(node)).collect();
    Ok(call.read_json(&shown, &read).consistency(&plan))
}

/// `GET /v1/catalog/services`. A filter is of instances: a service is listed with the tags of
/// those that are kept. Consul does so from 1.17 on.
pub(super) async fn services(call: Call) -> Outcome {
    let selection = Selection::of(&call.params)?;
    let (read, plan, filter) =
        read_or_kept(&call, Query::Services, filter::catalog_service).await?;
    let Answer::ServiceTags(tags) = &*read.answer else { wrong_answer() };
    if !selection.by_node() && filter.keeps_all() {
        return Ok(call.read_json(tags, &read).consistency(&plan));
    }
    let narrowed = if filter.keeps_all() {
        services_of_nodes(&call, &selection).await?
    } else {
        let chosen = |one: &Instance| selection.node(&one.node) && filter.keeps(one);
        services_of_instances(&call, tags.keys(), &chosen).await?
    };
    // More than the read's own answer went in, so that no other request may share it.
    Ok(call.json(&narrowed).about(&read).consistency(&plan))
}

/// Services by name, each with its tags.
type ServiceTags = BTreeMap<String, BTreeSet<String>>;

async fn services_of_nodes(call: &Call, selection: &Selection) -> Result<ServiceTags, Failure> {
    let mut narrowed = ServiceTags::new();
    for node in selected_nodes(call, selection).await? {
        let query = Query::NodeServices(node);
        let found = call.read(query, &aside(Consistency::Stale)).await;
        let found = found.map_err(|why| Failure::from(why).indexed())?;
        let Answer::NodeServices(found) = &*found.answer else { wrong_answer() };
        for service in found.iter().flat_map(|found| &found.services) {
            narrowed.entry(service.name.clone()).or_default().extend(service.tags.iter().cloned());
        }
    }
    Ok(narrowed)
}

async fn services_of_instances(
    call: &Call,
    names: impl Iterator<Item = &String>,
    chosen: &(dyn Fn(&Instance) -> bool + Sync),
) -> Result<ServiceTags, Failure> {
    let mut narrowed = ServiceTags::new();
    for name in names {
        let query = Query::CatalogService(name.clone());
        let found = call.read(query, &aside(Consistency::Stale)).await;
        let found = found.map_err(|why| Failure::from(why).indexed())?;
        let Answer::Instances(found) = &*found.answer else { wrong_answer() };
        for one in found.iter().filter(|one| chosen(one)) {
            let tags = narrowed.entry(one.service.name.clone()).or_default();
            tags.extend(one.service.tags.iter().cloned());
        }
    }
    Ok(narrowed)
}

/// `GET /v1/catalog/service/<name>`.
pub(super) async fn service(call: Call) -> Outcome {
    let selection = Selection::of(&call.params)?;
    let name = call.required("Missing service name")?.to_owned();
    let query = Query::CatalogService(name);
    let found = read_or_kept(&call, query, filter::catalog_service).await?;
    instances(&call, &selection, found).await
}

/// `GET /v1/catalog/connect/<service>`: the proxies of a service, and its own instances that
/// need none, as data.
pub(super) async fn connect(call: Call) -> Outcome {
    let selection = Selection::of(&call.params)?;
    let name = call.required("Missing service name")?.to_owned();
    let found = read(&call, Query::ConnectService(name), filter::catalog_service).await?;
    instances(&call, &selection, found).await
}

async fn instances(
    call: &Call,
    selection: &Selection,
    (read, plan, filter): (Read, ReadPlan, Filter<Instance>),
) -> Outcome {
    let Answer::Instances(instances) = &*read.answer else { wrong_answer() };
    let chosen = instances.iter().filter(|one| {
        selection.node(&one.node) && selection.service(&one.service) && filter.keeps(one)
    });
    let mut chosen: Vec<_> = chosen.collect();
    near::sort(call, &mut chosen, |one| &one.node.name).await?;
    let shown: Vec<_> = chosen.into_iter().map(CatalogServiceJson::of).collect();
    Ok(call.read_json(&shown, &read).consistency(&plan))
}

/// `GET /v1/catalog/node/<name or id>`: `null` for an unknown one.
pub(super) async fn node(call: Call) -> Outcome {
    let name = call.required("Missing node name")?.to_owned();
    let (read, plan, filter) = read(&call, Query::NodeServices(name), filter::service).await?;
    let Answer::NodeServices(found) = &*read.answer else { wrong_answer() };
    let found = found.as_ref().map(|found| kept_services(found, &filter));
    let shown = found.as_deref().map(NodeServiceMapJson::of);
    Ok(call.read_json(&shown, &read).consistency(&plan))
}

/// `GET /v1/catalog/node-services/<name or id>`.
pub(super) async fn node_services(call: Call) -> Outcome {
    let name = call.required("Missing node name")?.to_owned();
    let (read, plan, filter) = read(&call, Query::NodeServices(name), filter::service).await?;
    let Answer::NodeServices(found) = &*read.answer else { wrong_answer() };
    let found = found.as_ref().map(|found| kept_services(found, &filter));
    let shown = NodeServiceListJson::of(found.as_deref());
    Ok(call.read_json(&shown, &read).consistency(&plan))
}

/// A node with those of its instances that a filter keeps.
fn kept_services<'a>(found: &'a NodeServices, filter: &Filter<Service>) -> Cow<'a, NodeServices> {
    if filter.keeps_all() {
        return Cow::Borrowed(found);
    }
    let kept = found.services.iter().filter(|one| filter.keeps(one)).map(Arc::clone);
    Cow::Owned(NodeServices { node: Arc::clone(&found.node), services: kept.collect() })
}

/// `PUT /v1/catalog/register`.
pub(super) async fn register(mut call: Call) -> Outcome {
    let value = call.json_body().await?;
    let (registration, datacenter) = registration(&value, &call.options.datacenter)?;
    call.own_datacenter(&datacenter)?;
    call.check_datacenter()?;
    let parts = registration.service.is_some() || !registration.checks.is_empty();
    let node = registration.node.name.clone();
    let owned = parts && has_agent(&call, &node).await?;
    let written = call.write(Command::Register(Box::new(registration))).await?;
    let output = call.json(&true).written(written.index);
    Ok(if owned { warned(output, &node) } else { output })
}

/// The check that stands on every node that has an agent.
const AGENTS_CHECK: &str = "serfHealth";
/// Says what will become of a write. An extension.
const WARNING: &str = "x-portolan-warning";

/// Whether a node has an agent, which owns what is registered on it.
async fn has_agent(call: &Call, node: &str) -> Result<bool, Failure> {
    let found = call.read(Query::NodeChecks(node.to_owned()), &aside(Consistency::Stale)).await?;
    let Answer::Checks(checks) = &*found.answer else { wrong_answer() };
    Ok(checks.iter().any(|check| check.id == AGENTS_CHECK))
}

/// The answer to a write against an agent's own records.
fn warned(output: Output, node: &str) -> Output {
    let node: String = node.escape_default().collect();
    let text = format!("node \"{node}\" has an agent, which will undo this at its next sync");
    output.header(WARNING, &text)
}

/// What a body registers, and the data center that it names.
pub(super) fn registration(value: &Value, own: &str) -> Result<(Registration, String), Failure> {
    let decode = |text: String| Failure::decode(&text);
    let mut fields = Fields::of(value, "structs.RegisterRequest").map_err(decode)?;
    let datacenter = fields.text("Datacenter").map_err(decode)?;
    let node = Node {
        id: fields.text("ID").map_err(decode)?.to_lowercase(),
        name: fields.text("Node").map_err(decode)?,
        address: fields.text("Address").map_err(decode)?,
        datacenter: own.to_owned(),
        tagged_addresses: fields.pairs("TaggedAddresses").map_err(decode)?,
        meta: fields.pairs("NodeMeta").map_err(decode)?,
        ..Node::default()
    };
    let skip_node_update = fields.truth("SkipNodeUpdate").map_err(decode)?;
    let service = fields.take("Service").map(service_part).transpose().map_err(defined)?;
    let one = fields.take("Check");
    let many = fields.list("Checks").map_err(decode)?;
    let checks = one.into_iter().chain(many).map(|value| check_part(value, &node.name));
    let checks: Vec<Check> = checks.collect::<Result<_, _>>().map_err(decode)?;
    fields.ignore(&["Token", "Namespace", "Partition", "PeerName", "Locality", "WriteRequest"]);
    fields.finish().map_err(decode)?;
    let registration = Registration { node, skip_node_update, service, checks };
    validate(&registration).map_err(Failure::internal)?;
    Ok((registration, datacenter))
}

fn defined(error: DefinitionError) -> Failure {
    match error {
        DefinitionError::Decode(text) => Failure::decode(&text),
        DefinitionError::Invalid(text) => Failure::bad(text),
    }
}

/// Consul's rules in Consul's order; the error is Consul's text.
fn validate(registration: &Registration) -> Result<(), String> {
    let node = &registration.node;
    if node.name.is_empty() {
        return Err("Must provide node".to_owned());
    }
    if node.address.is_empty() && !registration.skip_node_update {
        return Err("Must provide address if SkipNodeUpdate is not set".to_owned());
    }
    if !node.id.is_empty() {
        check_node_id(&node.id)?;
    }
    let mut names = vec![&node.name];
    if let Some(service) = &registration.service {
        if service.name.is_empty() && !service.id.is_empty() {
            return Err("Must provide service name with ID".to_owned());
        }
        if service.name.is_empty() {
            return Err("failed inserting service: Must provide service name".to_owned());
        }
        if definition::is_any_address(&service.address) {
            return Err("Invalid service address".to_owned());
        }
        names.extend([&service.name, &service.id]);
    }
    for check in &registration.checks {
        if check.id.is_empty() {
            return Err(format!(
                "failed inserting check: Must provide check id or name on node \"{}\"",
                node.name
            ));
        }
        if check.node != node.name {
            let (own, other) = (&node.name, &check.node);
            return Err(format!("check node \"{other}\" does not match node \"{own}\""));
        }
        names.extend([&check.name, &check.id]);
    }
    match names.iter().find(|name| name.len() > NAME_BYTES_MAX) {
        Some(name) => {
            Err(format!("a name of {} bytes is too long, at most {NAME_BYTES_MAX}", name.len()))
        }
        None => Ok(()),
    }
}

pub(super) fn check_node_id(id: &str) -> Result<(), String> {
    if id.len() != 36 {
        return Err("Bad node ID: uuid string is wrong length".to_owned());
    }
    if Uuid::try_parse(id).is_ok() {
        return Ok(());
    }
    let dashed = [8, 13, 18, 23].iter().all(|at| id.as_bytes().get(*at) == Some(&b'-'));
    match id.chars().find(|c| *c != '-' && !c.is_ascii_hexdigit()) {
        Some(c) if dashed => Err(format!("Bad node ID: {}", invalid_byte(c))),
        _ => Err("Bad node ID: uuid is improperly formatted".to_owned()),
    }
}

/// A service in the catalog's own words, which are not those of the agent's.
pub(super) fn service_part(value: &Value) -> Result<Service, DefinitionError> {
    let mut fields = Fields::of(value, "structs.NodeService")?;
    let id = fields.text("ID")?;
    let name = fields.text("Service")?;
    let service = Service {
        id: if id.is_empty() { name.clone() } else { id },
        name,
        tags: fields.texts("Tags")?.unwrap_or_default(),
        address: fields.text("Address")?,
        tagged_addresses: definition::addresses(fields.take("TaggedAddresses"))?,
        meta: fields.pairs("Meta")?,
        port: definition::port(fields.whole("Port")?)?,
        weights: catalog_weights(fields.take("Weights"))?,
        enable_tag_override: fields.truth("EnableTagOverride")?,
        kind: fields.text("Kind")?,
        ..Service::default()
    };
    let service = definition::with_mesh(service, fields.take("Proxy"), fields.take("Connect"))?;
    fields.ignore(&["Namespace", "Partition", "SocketPath", "PeerName", "Locality"]);
    fields.ignore(&["CreateIndex", "ModifyIndex", "Datacenter", "ContentHash"]);
    fields.finish()?;
    Ok(service)
}

/// The catalog takes what nobody would weigh with as the default.
fn catalog_weights(value: Option<&Value>) -> Result<crate::model::Weights, DefinitionError> {
    match definition::weights(value) {
        Ok(weights) => Ok(weights.unwrap_or_default()),
        Err(DefinitionError::Invalid(_)) => Ok(crate::model::Weights::default()),
        Err(error) => Err(error),
    }
}

/// A check in the catalog's own words. Its status is kept as it comes.
pub(super) fn check_part(value: &Value, node: &str) -> Result<Check, String> {
    let mut fields = Fields::of(value, "structs.HealthCheck")?;
    let id = fields.text("CheckID")?;
    let name = fields.text("Name")?;
    let named = fields.text("Node")?;
    let definition = definition_part(&mut fields)?;
    let kind = kind_of(&fields.text("Type")?, &definition);
    let check = Check {
        node: if named.is_empty() { node.to_owned() } else { named },
        id: if id.is_empty() { name.clone() } else { id },
        name,
        status: CheckStatus::from_word(&fields.text("Status")?),
        notes: fields.text("Notes")?,
        output: fields.text("Output")?,
        service_id: fields.text("ServiceID")?,
        service_name: fields.text("ServiceName")?,
        service_tags: fields.texts("ServiceTags")?.unwrap_or_default(),
        kind,
        definition,
        ..Check::default()
    };
    fields.ignore(&["Namespace", "Partition", "PeerName", "ExposedPort"]);
    fields.ignore(&["CreateIndex", "ModifyIndex"]);
    fields.finish()?;
    Ok(check)
}

fn kind_of(word: &str, definition: &CheckDefinition) -> CheckKind {
    match word {
        "ttl" => CheckKind::Ttl,
        "http" => CheckKind::Http,
        "tcp" => CheckKind::Tcp,
        "maintenance" => CheckKind::Maintenance,
        "script" => CheckKind::Script,
        "docker" => CheckKind::Docker,
        "udp" => CheckKind::Udp,
        "grpc" => CheckKind::Grpc,
        "h2ping" => CheckKind::H2ping,
        "alias" => CheckKind::Alias,
        _ if !definition.http.is_empty() => CheckKind::Http,
        _ if !definition.tcp.is_empty() => CheckKind::Tcp,
        _ if definition.ttl_ms > 0 => CheckKind::Ttl,
        _ => CheckKind::None,
    }
}

fn definition_part(outer: &mut Fields<'_>) -> Result<CheckDefinition, String> {
    let interval = millis(outer.duration_nanos("Interval")?);
    let timeout = millis(outer.duration_nanos("Timeout")?);
    let plain =
        CheckDefinition { interval_ms: interval, timeout_ms: timeout, ..Default::default() };
    let Some(value) = outer.take("Definition") else { return Ok(plain) };
    let mut fields = Fields::of(value, "structs.HealthCheckDefinition")?;
    let mut or = |name: &str, other: u64| -> Result<u64, String> {
        let found = millis(fields.duration_nanos(name)?);
        Ok(if found == 0 { other } else { found })
    };
    let interval_ms = or("Interval", interval)?;
    let timeout_ms = or("Timeout", timeout)?;
    let ttl_ms = or("TTL", 0)?;
    let deregister_after_ms = or("DeregisterCriticalServiceAfter", 0)?;
    Ok(CheckDefinition {
        http: fields.text("HTTP")?,
        method: fields.text("Method")?,
        header: check_definition::header(fields.take("Header"))?,
        body: fields.text("Body")?,
        tls_skip_verify: fields.truth("TLSSkipVerify")?,
        tcp: fields.text("TCP")?,
        interval_ms,
        timeout_ms,
        ttl_ms,
        deregister_after_ms,
    })
}

/// `PUT /v1/catalog/deregister`: true always.
pub(super) async fn deregister(mut call: Call) -> Outcome {
    let value = call.json_body().await?;
    let (removal, datacenter) = deregistration(&value)?;
    call.own_datacenter(&datacenter)?;
    call.check_datacenter()?;
    if removal.node.is_empty() {
        return Err(Failure::internal("Must provide node"));
    }
    let node = removal.node.clone();
    let owned = has_agent(&call, &node).await?;
    let written = call.write(Command::Deregister(removal)).await?;
    let output = call.json(&true).written(written.index);
    Ok(if owned { warned(output, &node) } else { output })
}

/// What is to go, and the data center that the body names.
pub(super) fn deregistration(value: &Value) -> Result<(Deregistration, String), Failure> {
    let decode = |text: String| Failure::decode(&text);
    let mut fields = Fields::of(value, "structs.DeregisterRequest").map_err(decode)?;
    let filled = |text: String| Some(text).filter(|text| !text.is_empty());
    let datacenter = fields.text("Datacenter").map_err(decode)?;
    let removal = Deregistration {
        node: fields.text("Node").map_err(decode)?,
        service: filled(fields.text("ServiceID").map_err(decode)?),
        check: filled(fields.text("CheckID").map_err(decode)?),
    };
    fields.ignore(&["Address", "Token", "Namespace", "Partition", "PeerName", "WriteRequest"]);
    fields.finish().map_err(decode)?;
    Ok((removal, datacenter))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(value: &Value) -> Result<Registration, (u16, String)> {
        registration(value, "dc1")
            .map(|(registration, _)| registration)
            .map_err(|failure| (failure.status.as_u16(), failure.text.into_owned()))
    }

    #[test]
    fn a_registration_has_all_its_parts() {
        let found = parse(&json!({
            "Node": "n2", "Address": "1.2.3.4", "NodeMeta": {"a": "b"},
            "Service": {"Service": "db", "Tags": ["X"], "Port": 5, "Weights": {"Passing": 0}},
            "Check": {"Name": "c", "Status": "weird", "Definition": {
                "HTTP": "http://x", "Interval": "10s", "Timeout": "2s",
                "DeregisterCriticalServiceAfter": "1m", "Header": {"a": ["b"]}}},
            "Checks": [{"CheckID": "c2", "ServiceID": "db"}],
        }))
        .unwrap();
        let service = found.service.unwrap();
        assert_eq!((service.id.as_str(), service.port), ("db", 5));
        assert_eq!(service.weights, crate::model::Weights::default());
        assert_eq!(found.checks[0].status, CheckStatus::Other("weird".into()));
        assert_eq!((found.checks[0].id.as_str(), found.checks[0].kind), ("c", CheckKind::Http));
        assert_eq!(found.checks[0].definition.deregister_after_ms, 60_000);
        assert_eq!(
            (found.checks[1].node.as_str(), found.checks[1].service_id.as_str()),
            ("n2", "db")
        );
        assert_eq!(found.checks[1].status, CheckStatus::Critical);
    }

    #[test]
    fn bad_registrations_have_consuls_texts() {
        for (value, want) in [
            (json!({"Address": "x"}), (500, "Must provide node")),
            (json!({"Node": "n"}), (500, "Must provide address if SkipNodeUpdate is not set")),
            (
                json!({"Node": "n", "Address": "x", "ID": "zz"}),
                (500, "Bad node ID: uuid string is wrong length"),
            ),
            (
                json!({"Node": "n", "Address": "x",
                       "ID": "11111111-1111-1111-1111-1111111111zz"}),
                (500, "Bad node ID: encoding/hex: invalid byte: U+007A 'z'"),
            ),
            (
                json!({"Node": "n", "Address": "x", "Service": {"ID": "y"}}),
                (500, "Must provide service name with ID"),
            ),
            (
                json!({"Node": "n", "Address": "x", "Bogus": 1}),
                (400, "Request decode failed: json: unknown field \"Bogus\""),
            ),
        ] {
            assert_eq!(parse(&value).unwrap_err(), (want.0, want.1.to_owned()), "{value}");
        }
        assert!(parse(&json!({"Node": "n", "SkipNodeUpdate": true})).is_ok());
    }
}
