//! Nodes, services and checks as JSON, in each of the forms that Consul has for them.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use crate::http::number::duration_text;
use crate::model::{
    Check, CheckDefinition, CheckKind, Instance, Node, NodeServices, Service, ServiceAddress,
    Weights,
};

/// A node; empty maps are `null`, as Consul shows what was never given.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::http) struct NodeJson<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    node: &'a str,
    address: &'a str,
    datacenter: &'a str,
    tagged_addresses: Option<&'a BTreeMap<String, String>>,
    meta: Option<&'a BTreeMap<String, String>>,
    create_index: u64,
    modify_index: u64,
}

impl<'a> NodeJson<'a> {
    /// The node as catalog and health show it.
    pub(in crate::http) fn of(node: &'a Node) -> Self {
        Self {
            id: &node.id,
            node: &node.name,
            address: &node.address,
            datacenter: &node.datacenter,
            tagged_addresses: filled(&node.tagged_addresses),
            meta: filled(&node.meta),
            create_index: node.create.0,
            modify_index: node.modify.0,
        }
    }
}

fn filled<K, V>(map: &BTreeMap<K, V>) -> Option<&BTreeMap<K, V>> {
    (!map.is_empty()).then_some(map)
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct WeightsJson {
    passing: u16,
    warning: u16,
}

impl WeightsJson {
    fn of(weights: Weights) -> Self {
        Self { passing: weights.passing, warning: weights.warning }
    }
}

/// Addresses by purpose.
struct AddressesJson<'a>(&'a BTreeMap<String, ServiceAddress>);

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct AddressJson<'a> {
    address: &'a str,
    port: u16,
}

impl AddressesJson<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for AddressesJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(purpose, found)| {
            (purpose, AddressJson { address: &found.address, port: found.port })
        }))
    }
}

/// JSON kept as data, or what Consul shows in its place.
fn kept(text: &str, otherwise: Value) -> Value {
    if text.is_empty() { otherwise } else { serde_json::from_str(text).unwrap_or(otherwise) }
}

/// A proxy's settings with the two fields that Consul shows whether they were given or not.
fn proxy(service: &Service) -> Value {
    let mut shown = kept(&service.proxy, json!({}));
    if let Value::Object(fields) = &mut shown {
        for name in ["MeshGateway", "Expose"] {
            fields.entry(name).or_insert_with(|| json!({}));
        }
    }
    shown
}

fn connect(service: &Service) -> Value {
    kept(&service.connect, json!({}))
}

/// An instance inside a node or a health answer.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::http) struct ServiceJson<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    kind: &'a str,
    #[serde(rename = "ID")]
    id: &'a str,
    service: &'a str,
    tags: &'a [String],
    address: &'a str,
    #[serde(skip_serializing_if = "AddressesJson::is_empty")]
    tagged_addresses: AddressesJson<'a>,
    meta: Option<&'a BTreeMap<String, String>>,
    port: u16,
    weights: WeightsJson,
    enable_tag_override: bool,
    proxy: Value,
    connect: Value,
    create_index: u64,
    modify_index: u64,
}

impl<'a> ServiceJson<'a> {
    /// The instance with everything about it.
    pub(in crate::http) fn of(service: &'a Service) -> Self {
        Self {
            kind: &service.kind,
            id: &service.id,
            service: &service.name,
            tags: &service.tags,
            address: &service.address,
            tagged_addresses: AddressesJson(&service.tagged_addresses),
            meta: filled(&service.meta),
            port: service.port,
            weights: WeightsJson::of(service.weights),
            enable_tag_override: service.enable_tag_override,
            proxy: proxy(service),
            connect: connect(service),
            create_index: service.create.0,
            modify_index: service.modify.0,
        }
    }
}

/// An instance as the agent that holds it shows it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::http) struct AgentServiceJson<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    kind: &'a str,
    #[serde(rename = "ID")]
    id: &'a str,
    service: &'a str,
    tags: &'a [String],
    meta: &'a BTreeMap<String, String>,
    port: u16,
    address: &'a str,
    #[serde(skip_serializing_if = "AddressesJson::is_empty")]
    tagged_addresses: AddressesJson<'a>,
    weights: WeightsJson,
    enable_tag_override: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    content_hash: &'a str,
    #[serde(skip_serializing_if = "Value::is_null")]
    proxy: Value,
    #[serde(skip_serializing_if = "Value::is_null")]
    connect: Value,
}

impl<'a> AgentServiceJson<'a> {
    /// The instance; `content_hash` may be empty, then it is not shown.
    pub(in crate::http) fn of(service: &'a Service, content_hash: &'a str) -> Self {
        Self {
            kind: &service.kind,
            id: &service.id,
            service: &service.name,
            tags: &service.tags,
            meta: &service.meta,
            port: service.port,
            address: &service.address,
            tagged_addresses: AddressesJson(&service.tagged_addresses),
            weights: WeightsJson::of(service.weights),
            enable_tag_override: service.enable_tag_override,
            content_hash,
            proxy: if service.proxy.is_empty() { Value::Null } else { proxy(service) },
            connect: kept(&service.connect, Value::Null),
        }
    }
}

/// An instance as `/v1/catalog/service` shows it: flat, with its node's fields.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::http) struct CatalogServiceJson<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    node: &'a str,
    address: &'a str,
    datacenter: &'a str,
    tagged_addresses: Option<&'a BTreeMap<String, String>>,
    node_meta: Option<&'a BTreeMap<String, String>>,
    service_kind: &'a str,
    #[serde(rename = "ServiceID")]
    service_id: &'a str,
    service_name: &'a str,
    service_tags: &'a [String],
    service_address: &'a str,
    #[serde(skip_serializing_if = "AddressesJson::is_empty")]
    service_tagged_addresses: AddressesJson<'a>,
    service_weights: WeightsJson,
    service_meta: &'a BTreeMap<String, String>,
    service_port: u16,
    service_enable_tag_override: bool,
    service_proxy: Value,
    service_connect: Value,
    create_index: u64,
    modify_index: u64,
}

impl<'a> CatalogServiceJson<'a> {
    /// The instance with its node.
    pub(in crate::http) fn of(instance: &'a Instance) -> Self {
        let (node, service) = (&instance.node, &instance.service);
        Self {
            id: &node.id,
            node: &node.name,
            address: &node.address,
            datacenter: &node.datacenter,
            tagged_addresses: filled(&node.tagged_addresses),
            node_meta: filled(&node.meta),
            service_kind: &service.kind,
            service_id: &service.id,
            service_name: &service.name,
            service_tags: &service.tags,
            service_address: &service.address,
            service_tagged_addresses: AddressesJson(&service.tagged_addresses),
            service_weights: WeightsJson::of(service.weights),
            service_meta: &service.meta,
            service_port: service.port,
            service_enable_tag_override: service.enable_tag_override,
            service_proxy: proxy(service),
            service_connect: connect(service),
            create_index: service.create.0,
            modify_index: service.modify.0,
        }
    }
}

/// A node with its instances by id; Consul's `/v1/catalog/node`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::http) struct NodeServiceMapJson<'a> {
    node: NodeJson<'a>,
    services: BTreeMap<&'a str, ServiceJson<'a>>,
}

impl<'a> NodeServiceMapJson<'a> {
    /// The node with its instances.
    pub(in crate::http) fn of(found: &'a NodeServices) -> Self {
        let services = found.services.iter().map(|one| (one.id.as_str(), ServiceJson::of(one)));
        Self { node: NodeJson::of(&found.node), services: services.collect() }
    }
}

/// A node with a list of its instances, or two `null`s; Consul's `/v1/catalog/node-services`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::http) struct NodeServiceListJson<'a> {
    node: Option<NodeJson<'a>>,
    services: Option<Vec<ServiceJson<'a>>>,
}

impl<'a> NodeServiceListJson<'a> {
    /// The node with its instances.
    pub(in crate::http) fn of(found: Option<&'a NodeServices>) -> Self {
        let list = |found: &'a NodeServices| {
            found.services.iter().map(|one| ServiceJson::of(one)).collect()
        };
        Self { node: found.map(|found| NodeJson::of(&found.node)), services: found.map(list) }
    }
}

/// An instance with its node and its checks.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::http) struct InstanceJson<'a> {
    node: NodeJson<'a>,
    service: ServiceJson<'a>,
    checks: Vec<CheckJson<'a>>,
}

impl<'a> InstanceJson<'a> {
    /// The instance with all that health says of it.
    pub(in crate::http) fn of(instance: &'a Instance) -> Self {
        Self {
            node: NodeJson::of(&instance.node),
            service: ServiceJson::of(&instance.service),
            checks: instance.checks.iter().map(|check| CheckJson::of(check)).collect(),
        }
    }
}

/// A check.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::http) struct CheckJson<'a> {
    node: &'a str,
    #[serde(rename = "CheckID")]
    check_id: &'a str,
    name: &'a str,
    status: &'a str,
    notes: &'a str,
    output: &'a str,
    #[serde(rename = "ServiceID")]
    service_id: &'a str,
    service_name: &'a str,
    service_tags: &'a [String],
    #[serde(rename = "Type")]
    kind: &'static str,
    interval: String,
    timeout: String,
    exposed_port: u16,
    definition: DefinitionJson<'a>,
    create_index: u64,
    modify_index: u64,
}

impl<'a> CheckJson<'a> {
    /// The check as catalog and health show it.
    pub(in crate::http) fn of(check: &'a Check) -> Self {
        Self {
            node: &check.node,
            check_id: &check.id,
            name: &check.name,
            status: check.status.as_str(),
            notes: &check.notes,
            output: &check.output,
            service_id: &check.service_id,
            service_name: &check.service_name,
            service_tags: &check.service_tags,
            kind: kind_word(check.kind),
            interval: span(check.definition.interval_ms).unwrap_or_default(),
            timeout: span(check.definition.timeout_ms).unwrap_or_default(),
            exposed_port: 0,
            definition: if is_run_by_agent(check) {
                DefinitionJson::default()
            } else {
                DefinitionJson::of(&check.definition)
            },
            create_index: check.create.0,
            modify_index: check.modify.0,
        }
    }

    /// The check as its agent shows it: without the definition, whose headers may hold secrets.
    pub(in crate::http) fn local(check: &'a Check) -> Self {
        Self { definition: DefinitionJson::default(), ..Self::of(check) }
    }
}

/// Whether an agent runs this check: such a one comes without a target, and Consul shows no
/// definition of it.
fn is_run_by_agent(check: &Check) -> bool {
    let CheckDefinition { interval_ms, timeout_ms, .. } = check.definition;
    let bare = CheckDefinition { interval_ms, timeout_ms, ..CheckDefinition::default() };
    check.kind != CheckKind::None && check.definition == bare
}

/// The word of a check's kind.
pub(in crate::http) fn kind_word(kind: CheckKind) -> &'static str {
    match kind {
        CheckKind::None => "",
        CheckKind::Ttl => "ttl",
        CheckKind::Http => "http",
        CheckKind::Tcp => "tcp",
        CheckKind::Maintenance => "maintenance",
        CheckKind::Script => "script",
        CheckKind::Docker => "docker",
        CheckKind::Udp => "udp",
        CheckKind::Grpc => "grpc",
        CheckKind::H2ping => "h2ping",
        CheckKind::Alias => "alias",
    }
}

/// A span as Go prints it; `None` for one that is not set.
pub(in crate::http) fn span(millis: u64) -> Option<String> {
    (millis > 0).then(|| duration_text(millis))
}

#[derive(Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct DefinitionJson<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    interval: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deregister_critical_service_after: Option<String>,
    #[serde(rename = "HTTP", skip_serializing_if = "str::is_empty")]
    http: &'a str,
    #[serde(rename = "TLSSkipVerify", skip_serializing_if = "std::ops::Not::not")]
    tls_skip_verify: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    header: Option<&'a BTreeMap<String, Vec<String>>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    method: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    body: &'a str,
    #[serde(rename = "TCP", skip_serializing_if = "str::is_empty")]
    tcp: &'a str,
    #[serde(rename = "TTL", skip_serializing_if = "Option::is_none")]
    ttl: Option<String>,
}

impl<'a> DefinitionJson<'a> {
    fn of(definition: &'a CheckDefinition) -> Self {
        Self {
            interval: span(definition.interval_ms),
            timeout: span(definition.timeout_ms),
            deregister_critical_service_after: span(definition.deregister_after_ms),
            http: &definition.http,
            tls_skip_verify: definition.tls_skip_verify,
            header: filled(&definition.header),
            method: &definition.method,
            body: &definition.body,
            tcp: &definition.tcp,
            ttl: span(definition.ttl_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::json as wire;
    use crate::model::{CheckStatus, Index};
    use std::sync::Arc;

    fn text<T: Serialize>(value: &T) -> String {
        String::from_utf8(wire::bytes(value, false)).unwrap()
    }

    fn instance() -> Instance {
        let node = Node {
            name: "n2".into(),
            address: "1.2.3.4".into(),
            datacenter: "dc1".into(),
            create: Index(66),
            modify: Index(66),
            ..Node::default()
        };
        let service = Service {
            node: "n2".into(),
            id: "db".into(),
            name: "db".into(),
            tags: vec!["X".into()],
            port: 5,
            create: Index(66),
            modify: Index(67),
            ..Service::default()
        };
        Instance { node: Arc::new(node), service: Arc::new(service), checks: Vec::new() }
    }

    #[test]
    fn a_catalog_service_is_flat() {
        assert_eq!(
            text(&CatalogServiceJson::of(&instance())),
            concat!(
                r#"{"ID":"","Node":"n2","Address":"1.2.3.4","Datacenter":"dc1","#,
                r#""TaggedAddresses":null,"NodeMeta":null,"ServiceKind":"","ServiceID":"db","#,
                r#""ServiceName":"db","ServiceTags":["X"],"ServiceAddress":"","#,
                r#""ServiceWeights":{"Passing":1,"Warning":1},"ServiceMeta":{},"ServicePort":5,"#,
                r#""ServiceEnableTagOverride":false,"ServiceProxy":{"MeshGateway":{},"#,
                r#""Expose":{}},"ServiceConnect":{},"CreateIndex":66,"ModifyIndex":67}"#,
            )
        );
    }

    #[test]
    fn an_instance_nests() {
        assert_eq!(
            text(&InstanceJson::of(&instance())),
            concat!(
                r#"{"Node":{"ID":"","Node":"n2","Address":"1.2.3.4","Datacenter":"dc1","#,
                r#""TaggedAddresses":null,"Meta":null,"CreateIndex":66,"ModifyIndex":66},"#,
                r#""Service":{"ID":"db","Service":"db","Tags":["X"],"Address":"","Meta":null,"#,
                r#""Port":5,"Weights":{"Passing":1,"Warning":1},"EnableTagOverride":false,"#,
                r#""Proxy":{"MeshGateway":{},"Expose":{}},"Connect":{},"CreateIndex":66,"#,
                r#""ModifyIndex":67},"Checks":[]}"#,
            )
        );
    }

    #[test]
    fn a_check_shows_its_definition_only_in_the_catalog() {
        let definition = CheckDefinition {
            http: "http://x".into(),
            method: "PUT".into(),
            header: [("a".to_owned(), vec!["b".to_owned()])].into(),
            tls_skip_verify: true,
            interval_ms: 10_000,
            timeout_ms: 2_000,
            deregister_after_ms: 60_000,
            ..CheckDefinition::default()
        };
        let check = Check {
            node: "n2".into(),
            id: "c".into(),
            name: "c".into(),
            status: CheckStatus::Other("weird".into()),
            kind: CheckKind::Http,
            definition,
            create: Index(66),
            modify: Index(66),
            ..Check::default()
        };
        let head = concat!(
            r#"{"Node":"n2","CheckID":"c","Name":"c","Status":"weird","Notes":"","Output":"","#,
            r#""ServiceID":"","ServiceName":"","ServiceTags":[],"Type":"http","#,
            r#""Interval":"10s","Timeout":"2s","ExposedPort":0,"#,
        );
        let definition = concat!(
            r#""Definition":{"Interval":"10s","Timeout":"2s","#,
            r#""DeregisterCriticalServiceAfter":"1m0s","HTTP":"http://x","#,
            r#""TLSSkipVerify":true,"Header":{"a":["b"]},"Method":"PUT"},"#,
        );
        let tail = r#""CreateIndex":66,"ModifyIndex":66}"#;
        assert_eq!(text(&CheckJson::of(&check)), format!("{head}{definition}{tail}"));
        assert_eq!(text(&CheckJson::local(&check)), format!("{head}\"Definition\":{{}},{tail}"));
    }

    #[test]
    fn an_agents_service_has_its_own_order() {
        let mut service = Service::clone(&instance().service);
        let address = ServiceAddress { address: "1.2.3.4".into(), port: 8 };
        service.tagged_addresses.insert("lan".into(), address);
        assert_eq!(
            text(&AgentServiceJson::of(&service, "e30c")),
            concat!(
                r#"{"ID":"db","Service":"db","Tags":["X"],"Meta":{},"Port":5,"Address":"","#,
                r#""TaggedAddresses":{"lan":{"Address":"1.2.3.4","Port":8}},"#,
                r#""Weights":{"Passing":1,"Warning":1},"EnableTagOverride":false,"#,
                r#""ContentHash":"e30c"}"#,
            )
        );
    }

    #[test]
    fn node_services_of_nobody_are_null() {
        assert_eq!(text(&NodeServiceListJson::of(None)), r#"{"Node":null,"Services":null}"#);
    }
}
