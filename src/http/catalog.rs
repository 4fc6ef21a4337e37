//! `/v1/catalog`: nodes and services. Source: Consul HTTP API, "Catalog".

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use uuid::Uuid;

use crate::limits::NAME_BYTES_MAX;
use crate::model::{
    Answer, Check, CheckDefinition, CheckKind, CheckStatus, Command, Consistency, Deregistration,
    Node, Query, Read, ReadOptions, Registration, Service,
};

use super::call::{Call, Discovery, Outcome, Output, wrong_answer};
use super::definition::{self, DefinitionError};
use super::error::Failure;
use super::json::Fields;
use super::near;
use super::number::millis;
use super::params::{ReadPlan, Selection};
use super::session::invalid_byte;
use super::wire::{CatalogServiceJson, NodeJson, NodeServiceListJson, NodeServiceMapJson};

/// A read of catalog or health: parameters first, then the data; a failure of the read itself
/// has index headers.
pub(super) async fn read(call: &Call, query: Query) -> Result<(Read, ReadPlan), Failure> {
    let plan = call.read_plan(Discovery::Yes)?;
    call.no_filter().map_err(Failure::indexed)?;
    call.check_datacenter().map_err(Failure::indexed)?;
    let read = call.read(query, &plan).await.map_err(|why| Failure::from(why).indexed())?;
    Ok((read, plan))
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
    ReadPlan { options: ReadOptions { consistency, after: None, wait: None }, word: "stale" }
}

/// `GET /v1/catalog/datacenters`.
pub(super) fn datacenters(call: &Call) -> Output {
    call.json(&[&call.options.datacenter])
}

/// `GET /v1/catalog/nodes`.
pub(super) async fn nodes(call: Call) -> Outcome {
    let selection = Selection::of(&call.params)?;
    let (read, plan) = read(&call, Query::Nodes).await?;
    let Answer::Nodes(nodes) = &*read.answer else { wrong_answer() };
    let mut chosen: Vec<_> = nodes.iter().filter(|node| selection.node(node)).collect();
    near::sort(&call, &mut chosen, |node| &node.name).await?;
    let shown: Vec<_> = chosen.into_iter().map(|node| NodeJson::of(node)).collect();
    Ok(call.read_json(&shown, &read).consistency(&plan))
}

/// `GET /v1/catalog/services`.
pub(super) async fn services(call: Call) -> Outcome {
    let selection = Selection::of(&call.params)?;
    let (read, plan) = read(&call, Query::Services).await?;
    let Answer::ServiceTags(tags) = &*read.answer else { wrong_answer() };
    if !selection.by_node() {
        return Ok(call.read_json(tags, &read).consistency(&plan));
    }
    let mut narrowed: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for node in selected_nodes(&call, &selection).await? {
        let query = Query::NodeServices(node);
        let found = call.read(query, &aside(Consistency::Stale)).await;
        let found = found.map_err(|why| Failure::from(why).indexed())?;
        let Answer::NodeServices(found) = &*found.answer else { wrong_answer() };
        for service in found.iter().flat_map(|found| &found.services) {
            narrowed.entry(service.name.clone()).or_default().extend(service.tags.iter().cloned());
        }
    }
    Ok(call.read_json(&narrowed, &read).consistency(&plan))
}

/// `GET /v1/catalog/service/<name>`.
pub(super) async fn service(call: Call) -> Outcome {
    let selection = Selection::of(&call.params)?;
    let name = call.required("Missing service name")?.to_owned();
    let (read, plan) = read(&call, Query::CatalogService(name)).await?;
    let Answer::Instances(instances) = &*read.answer else { wrong_answer() };
    let chosen =
        instances.iter().filter(|one| selection.node(&one.node) && selection.service(&one.service));
    let mut chosen: Vec<_> = chosen.collect();
    near::sort(&call, &mut chosen, |one| &one.node.name).await?;
    let shown: Vec<_> = chosen.into_iter().map(CatalogServiceJson::of).collect();
    Ok(call.read_json(&shown, &read).consistency(&plan))
}

/// `GET /v1/catalog/node/<name or id>`: `null` for an unknown one.
pub(super) async fn node(call: Call) -> Outcome {
    let name = call.required("Missing node name")?.to_owned();
    let (read, plan) = read(&call, Query::NodeServices(name)).await?;
    let Answer::NodeServices(found) = &*read.answer else { wrong_answer() };
    let shown = found.as_ref().map(NodeServiceMapJson::of);
    Ok(call.read_json(&shown, &read).consistency(&plan))
}

/// `GET /v1/catalog/node-services/<name or id>`.
pub(super) async fn node_services(call: Call) -> Outcome {
    let name = call.required("Missing node name")?.to_owned();
    let (read, plan) = read(&call, Query::NodeServices(name)).await?;
    let Answer::NodeServices(found) = &*read.answer else { wrong_answer() };
    let shown = NodeServiceListJson::of(found.as_ref());
    Ok(call.read_json(&shown, &read).consistency(&plan))
}

/// `PUT /v1/catalog/register`.
pub(super) async fn register(mut call: Call) -> Outcome {
    let value = call.json_body().await?;
    let (registration, datacenter) = registration(&value, &call.options.datacenter)?;
    call.own_datacenter(&datacenter)?;
    call.check_datacenter()?;
    let written = call.write(Command::Register(Box::new(registration))).await?;
    Ok(call.json(&true).written(written.index))
}

/// What a body registers, and the data center that it names.
fn registration(value: &Value, own: &str) -> Result<(Registration, String), Failure> {
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
        DefinitionError::Scripts => unreachable!("a catalog service has no scripts"),
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
        names.extend([&check.name, &check.id]);
    }
    match names.iter().find(|name| name.len() > NAME_BYTES_MAX) {
        Some(name) => {
            Err(format!("a name of {} bytes is too long, at most {NAME_BYTES_MAX}", name.len()))
        }
        None => Ok(()),
    }
}

fn check_node_id(id: &str) -> Result<(), String> {
    if id.len() != 36 {
        return Err("Bad node ID: uuid string is wrong length".to_owned());
    }
    if Uuid::try_parse(id).is_ok() {
        return Ok(());
    }
    match id.chars().find(|c| *c != '-' && !c.is_ascii_hexdigit()) {
        Some(c) => Err(format!("Bad node ID: {}", invalid_byte(c))),
        None => Err("Bad node ID: uuid is improperly formatted".to_owned()),
    }
}

/// A service in the catalog's own words, which are not those of the agent's.
fn service_part(value: &Value) -> Result<Service, DefinitionError> {
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
        proxy: definition::kept(fields.take("Proxy")),
        connect: definition::kept(fields.take("Connect")),
        ..Service::default()
    };
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
fn check_part(value: &Value, node: &str) -> Result<Check, String> {
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
        header: definition::header(fields.take("Header"))?,
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
    let decode = |text: String| Failure::decode(&text);
    let mut fields = Fields::of(&value, "structs.DeregisterRequest").map_err(decode)?;
    let filled = |text: String| Some(text).filter(|text| !text.is_empty());
    let datacenter = fields.text("Datacenter").map_err(decode)?;
    let removal = Deregistration {
        node: fields.text("Node").map_err(decode)?,
        service: filled(fields.text("ServiceID").map_err(decode)?),
        check: filled(fields.text("CheckID").map_err(decode)?),
    };
    fields.ignore(&["Address", "Token", "Namespace", "Partition", "PeerName", "WriteRequest"]);
    fields.finish().map_err(decode)?;
    call.own_datacenter(&datacenter)?;
    call.check_datacenter()?;
    if removal.node.is_empty() {
        return Err(Failure::internal("Must provide node"));
    }
    let written = call.write(Command::Deregister(removal)).await?;
    Ok(call.json(&true).written(written.index))
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
