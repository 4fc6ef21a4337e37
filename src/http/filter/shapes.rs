//! Which fields of which record can be filtered by, under Consul's names.
//!
//! Indexes and definitions of checks are no fields. Source: Consul HTTP API, "Filtering" of each
//! listing; `Interval`, `Timeout` and `ExposedPort` are of Consul 1.10 and later.

use crate::http::wire::{kind_word, span};
use crate::model::{Check, Instance, Node, Service, ServiceAddress, Weights};

use super::bind::Field::{self, Made, Pairs, Text, Texts, Truth, Whole};
use super::bind::{each, inside, named};
use super::mesh::{connect, proxy};

/// A node.
pub(in crate::http) fn node(name: &str) -> Option<Field<Node>> {
    Some(match name {
        "ID" => Text(|node| &node.id),
        "Node" => Text(|node| &node.name),
        "Address" => Text(|node| &node.address),
        "Datacenter" => Text(|node| &node.datacenter),
        "TaggedAddresses" => Pairs(|node| &node.tagged_addresses),
        "Meta" => Pairs(|node| &node.meta),
        _ => return None,
    })
}

/// An instance as its node and its agent list it.
pub(in crate::http) fn service(name: &str) -> Option<Field<Service>> {
    Some(match name {
        "Kind" => Text(|service| &service.kind),
        "ID" => Text(|service| &service.id),
        "Service" => Text(|service| &service.name),
        "Tags" => Texts(|service| &service.tags),
        "Address" => Text(|service| &service.address),
        "TaggedAddresses" => named(|service| &service.tagged_addresses, address),
        "Meta" => Pairs(|service| &service.meta),
        "Port" => Whole(|service| service.port.into()),
        "Weights" => inside(|service| &service.weights, weights),
        "EnableTagOverride" => Truth(|service| service.enable_tag_override),
        "Proxy" => proxy(|service| &service.proxy),
        "Connect" => connect(|service| &service.connect),
        _ => return None,
    })
}

/// An instance as the catalog lists a service: flat, with its node's fields.
pub(in crate::http) fn catalog_service(name: &str) -> Option<Field<Instance>> {
    Some(match name {
        "ID" => Text(|one| &one.node.id),
        "Node" => Text(|one| &one.node.name),
        "Address" => Text(|one| &one.node.address),
        "Datacenter" => Text(|one| &one.node.datacenter),
        "TaggedAddresses" => Pairs(|one| &one.node.tagged_addresses),
        "NodeMeta" => Pairs(|one| &one.node.meta),
        "ServiceKind" => Text(|one| &one.service.kind),
        "ServiceID" => Text(|one| &one.service.id),
        "ServiceName" => Text(|one| &one.service.name),
        "ServiceTags" => Texts(|one| &one.service.tags),
        "ServiceAddress" => Text(|one| &one.service.address),
        "ServiceTaggedAddresses" => named(|one| &one.service.tagged_addresses, address),
        "ServiceWeights" => inside(|one| &one.service.weights, weights),
        "ServiceMeta" => Pairs(|one| &one.service.meta),
        "ServicePort" => Whole(|one| one.service.port.into()),
        "ServiceEnableTagOverride" => Truth(|one| one.service.enable_tag_override),
        "ServiceProxy" => proxy(|one| &one.service.proxy),
        "ServiceConnect" => connect(|one| &one.service.connect),
        _ => return None,
    })
}

/// A check.
pub(in crate::http) fn check(name: &str) -> Option<Field<Check>> {
    Some(match name {
        "Node" => Text(|check| &check.node),
        "CheckID" => Text(|check| &check.id),
        "Name" => Text(|check| &check.name),
        "Status" => Text(|check| check.status.as_str()),
        "Notes" => Text(|check| &check.notes),
        "Output" => Text(|check| &check.output),
        "ServiceID" => Text(|check| &check.service_id),
        "ServiceName" => Text(|check| &check.service_name),
        "ServiceTags" => Texts(|check| &check.service_tags),
        "Type" => Text(|check| kind_word(check.kind)),
        "Interval" => Made(|check| span(check.definition.interval_ms).unwrap_or_default()),
        "Timeout" => Made(|check| span(check.definition.timeout_ms).unwrap_or_default()),
        "ExposedPort" => Whole(|_| 0),
        _ => return None,
    })
}

/// An instance with its node and its checks.
pub(in crate::http) fn instance(name: &str) -> Option<Field<Instance>> {
    Some(match name {
        "Node" => inside(|one| &*one.node, node),
        "Service" => inside(|one| &*one.service, service),
        "Checks" => each(|one| &one.checks, check),
        _ => return None,
    })
}

fn address(name: &str) -> Option<Field<ServiceAddress>> {
    Some(match name {
        "Address" => Text(|found| &found.address),
        "Port" => Whole(|found| found.port.into()),
        _ => return None,
    })
}

fn weights(name: &str) -> Option<Field<Weights>> {
    Some(match name {
        "Passing" => Whole(|weights| weights.passing.into()),
        "Warning" => Whole(|weights| weights.warning.into()),
        _ => return None,
    })
}
