//! `?near=`: whoever is nearest to a node comes first. Source: Consul HTTP API, "Catalog", `near`.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use crate::model::{
    Answer, Consistency, Execution, Near, NodeCoordinate, Query, ReadOptions, sort_near,
};

use super::cache::Wish;
use super::call::{Call, wrong_answer};
use super::error::Failure;
use super::params::ReadPlan;

/// The word for the agent that was asked.
const AGENT: &str = "_agent";
/// Who asked the first of the proxies in between.
const FORWARDED: &str = "x-forwarded-for";

/// Sorts what an answer lists by how near its nodes are to the one that the caller names; without
/// one nothing moves. Coordinates are read after the answer, from this server.
pub(super) async fn sort<T>(
    call: &Call,
    items: &mut [T],
    node: impl Fn(&T) -> &str,
) -> Result<(), Failure> {
    let near = match call.params.get("near").unwrap_or_default() {
        "" => return Ok(()),
        AGENT => &call.options.node_name,
        near => near,
    };
    let coordinates = coordinates(call, near, items.iter().map(&node)).await?;
    sort_near(items, near, &coordinates, node);
    Ok(())
}

/// The node whose nearest come first in the answer of a prepared query; empty for none.
pub(super) async fn source(call: &Call, execution: &Execution) -> Result<String, Failure> {
    let asked = call.params.get("near").unwrap_or_default();
    let address = match Near::of(execution, asked, &call.options.node_name) {
        Near::Nobody => return Ok(String::new()),
        Near::Node(node) => return Ok(node),
        Near::Caller => caller(call),
    };
    let Some(address) = address else { return Ok(String::new()) };
    let nodes = aside(call, Query::NodesByAddress(address.to_string())).await?;
    let Answer::Nodes(nodes) = &*nodes else { wrong_answer() };
    Ok(nodes.first().map(|node| node.name.clone()).unwrap_or_default())
}

/// Who asks: as the first proxy says, else the other end of the connection.
fn caller(call: &Call) -> Option<IpAddr> {
    let said = call.headers.get(FORWARDED).and_then(|value| value.to_str().ok());
    let first = said.and_then(|text| text.split(',').next());
    first.and_then(|text| text.trim().parse().ok()).or(call.caller)
}

/// The coordinates of a source and of other nodes, as far as there are any.
pub(super) async fn coordinates<'a>(
    call: &Call,
    source: &'a str,
    nodes: impl Iterator<Item = &'a str>,
) -> Result<Vec<Arc<NodeCoordinate>>, Failure> {
    let names: BTreeSet<&str> = nodes.chain([source]).collect();
    let names = names.into_iter().map(str::to_owned).collect();
    let found = aside(call, Query::CoordinatesOf(names)).await?;
    let Answer::Coordinates(found) = &*found else { wrong_answer() };
    Ok(found.clone())
}

/// A read beside the one that the caller asked for: from this server, at once.
async fn aside(call: &Call, query: Query) -> Result<Arc<Answer>, Failure> {
    let options = ReadOptions { consistency: Consistency::Stale, after: None, wait: None };
    let plan = ReadPlan { options, word: "stale", wish: Wish::default(), cached: None };
    let read = call.read(query, &plan).await;
    read.map(|read| read.answer).map_err(|why| Failure::from(why).indexed())
}
