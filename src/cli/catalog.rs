//! `catalog`: datacenters, nodes and services of the whole cluster.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::columns::{row, table};
use super::screen::{DONE, Screen};
use super::target::Servers;

/// Letters of a node's id that the short list shows.
const ID_LETTERS: usize = 8;

/// Interact with the catalog.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Catalog {
    Datacenters(Datacenters),
    Nodes(Nodes),
    Services(Services),
}

/// Lists all known datacenters.
#[derive(Debug, clap::Args)]
pub(super) struct Datacenters {
    #[command(flatten)]
    at: Servers,
    #[arg(hide = true)]
    args: Vec<String>,
}

/// Lists all nodes in the given datacenter.
#[derive(Debug, clap::Args)]
pub(super) struct Nodes {
    #[command(flatten)]
    at: Servers,
    /// Show whole ids, tagged addresses and metadata.
    #[arg(long)]
    detailed: bool,
    /// Filter expression.
    #[arg(long, value_name = "expression")]
    filter: Option<String>,
    /// Sort by distance from this node; _agent for the agent's own.
    #[arg(long, value_name = "node")]
    near: Option<String>,
    /// Show only nodes with this metadata; may be repeated.
    #[arg(long = "node-meta", value_name = "key=value")]
    node_meta: Vec<String>,
    /// Show only nodes that provide this service.
    #[arg(long, value_name = "name")]
    service: Option<String>,
    #[arg(hide = true)]
    args: Vec<String>,
}

/// Lists all registered services in a datacenter.
#[derive(Debug, clap::Args)]
pub(super) struct Services {
    #[command(flatten)]
    at: Servers,
    /// Show only services of this node.
    #[arg(long, value_name = "id or name")]
    node: Option<String>,
    /// Show only services on nodes with this metadata; may be repeated.
    #[arg(long = "node-meta", value_name = "key=value")]
    node_meta: Vec<String>,
    /// Show each service's tags.
    #[arg(long)]
    tags: bool,
    #[arg(hide = true)]
    args: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Host {
    #[serde(rename = "ID", default)]
    id: String,
    #[serde(rename = "Node")]
    name: String,
    #[serde(default)]
    address: String,
    #[serde(default)]
    datacenter: String,
    #[serde(default)]
    tagged_addresses: Option<BTreeMap<String, String>>,
    #[serde(default, alias = "NodeMeta")]
    meta: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NodeServices {
    services: BTreeMap<String, NodeService>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NodeService {
    service: String,
    #[serde(default)]
    tags: Option<Vec<String>>,
}

impl Catalog {
    pub(super) async fn run(self, screen: &mut Screen<'_>) -> Result<u8> {
        let (Self::Datacenters(Datacenters { args, .. })
        | Self::Nodes(Nodes { args, .. })
        | Self::Services(Services { args, .. })) = &self;
        if !args.is_empty() {
            let got = args.len();
            return screen.fail(format_args!("Too many arguments (expected 0, got {got})"));
        }
        match self {
            Self::Datacenters(datacenters) => datacenters.run(screen).await,
            Self::Nodes(nodes) => nodes.run(screen).await,
            Self::Services(services) => services.run(screen).await,
        }
    }
}

impl Datacenters {
    async fn run(self, screen: &mut Screen<'_>) -> Result<u8> {
        let found = self.at.open()?.get_json::<Vec<String>>("catalog/datacenters", &[]).await;
        for name in found.context("Error listing datacenters")? {
            screen.say(name)?;
        }
        Ok(DONE)
    }
}

impl Nodes {
    async fn run(self, screen: &mut Screen<'_>) -> Result<u8> {
        let path = match &self.service {
            Some(service) => format!("catalog/service/{service}"),
            None => "catalog/nodes".to_owned(),
        };
        let meta = with_colons(&self.node_meta);
        let mut query: Vec<_> = meta.iter().map(|pair| ("node-meta", pair.as_str())).collect();
        query.extend(self.near.iter().map(|near| ("near", near.as_str())));
        query.extend(self.filter.iter().map(|filter| ("filter", filter.as_str())));
        let nodes = self.at.open()?.get_json::<Option<Vec<Host>>>(&path, &query).await;
        let nodes = nodes.context("Error listing nodes")?.unwrap_or_default();
        if nodes.is_empty() {
            screen.warn("No nodes match the given query - try expanding your search.")?;
            return Ok(DONE);
        }
        let mut rows = vec![if self.detailed {
            row(["Node", "ID", "Address", "DC", "TaggedAddresses", "Meta"])
        } else {
            row(["Node", "ID", "Address", "DC"])
        }];
        rows.extend(nodes.iter().map(|node| self.line(node)));
        screen.say(table(&rows))?;
        Ok(DONE)
    }

    fn line(&self, node: &Host) -> Vec<String> {
        if !self.detailed {
            let id: String = node.id.chars().take(ID_LETTERS).collect();
            return row([&node.name, &id, &node.address, &node.datacenter]);
        }
        let tagged = joined(node.tagged_addresses.as_ref());
        let meta = joined(node.meta.as_ref());
        row([&node.name, &node.id, &node.address, &node.datacenter, &tagged, &meta])
    }
}

impl Services {
    async fn run(self, screen: &mut Screen<'_>) -> Result<u8> {
        let services = self.read().await.context("Error listing services")?;
        if services.is_empty() {
            screen.warn("No services match the given query - try expanding your search.")?;
            return Ok(DONE);
        }
        if !self.tags {
            for name in services.keys() {
                screen.say(name)?;
            }
            return Ok(DONE);
        }
        let width = services.keys().map(|name| name.chars().count()).max().unwrap_or(0) + 6;
        for (name, tags) in &services {
            let tags = tags.iter().map(String::as_str).collect::<Vec<_>>().join(",");
            screen.say(format_args!("{name:width$}{tags}"))?;
        }
        Ok(DONE)
    }

    async fn read(&self) -> Result<BTreeMap<String, BTreeSet<String>>> {
        let api = self.at.open()?;
        let meta = with_colons(&self.node_meta);
        let query: Vec<_> = meta.iter().map(|pair| ("node-meta", pair.as_str())).collect();
        let mut services: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let Some(node) = &self.node else {
            let all: BTreeMap<String, Option<Vec<String>>> =
                api.get_json("catalog/services", &query).await?;
            let sets = all.into_iter().map(|(name, tags)| (name, tags.into_iter().flatten()));
            return Ok(sets.map(|(name, tags)| (name, tags.collect())).collect());
        };
        let found: Option<NodeServices> =
            api.get_json(&format!("catalog/node/{node}"), &query).await?;
        for service in found.into_iter().flat_map(|found| found.services.into_values()) {
            let tags = service.tags.into_iter().flatten();
            services.entry(service.service).or_default().extend(tags);
        }
        Ok(services)
    }
}

/// `key=value` as the HTTP API takes it, `key:value`.
fn with_colons(pairs: &[String]) -> Vec<String> {
    pairs.iter().map(|pair| pair.replacen('=', ":", 1)).collect()
}

fn joined(map: Option<&BTreeMap<String, String>>) -> String {
    let pairs = map.into_iter().flatten().map(|(name, value)| format!("{name}={value}"));
    pairs.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::fixture::play;

    #[test]
    fn the_catalog_looks_like_consuls() {
        let nodes = r#"[{"ID":"27337552-d833-4692-0d18-2c7677820165","Node":"vm",
            "Address":"127.0.0.1","Datacenter":"dc1","TaggedAddresses":{"wan":"2","lan":"1"},
            "Meta":{"k":""}}]"#;
        let services = r#"{"web":["b","a"],"consul":[]}"#;
        let node = r#"{"Node":{},"Services":{"w1":{"Service":"web","Tags":["x"]},
            "w2":{"Service":"web","Tags":["a","x"]}}}"#;
        let table: [(&[&str], &str, &str, &str); 7] = [
            (&["catalog", "datacenters"], r#"["dc1","dc2"]"#, "catalog/datacenters", "dc1\ndc2\n"),
            (
                &["catalog", "nodes", "-node-meta=a=b"],
                nodes,
                "catalog/nodes?node-meta=a%3Ab",
                "Node  ID        Address    DC\nvm    27337552  127.0.0.1  dc1\n",
            ),
            (
                &["catalog", "nodes", "-detailed"],
                nodes,
                "catalog/nodes",
                "Node  ID                                    Address    DC   \
                 TaggedAddresses  Meta\n\
                 vm    27337552-d833-4692-0d18-2c7677820165  127.0.0.1  dc1  lan=1, wan=2     k=\n",
            ),
            (&["catalog", "services"], services, "catalog/services", "consul\nweb\n"),
            (
                &["catalog", "services", "-tags"],
                services,
                "catalog/services",
                "consul      \nweb         a,b\n",
            ),
            (
                &["catalog", "services", "-tags", "-node=n"],
                node,
                "catalog/node/n",
                "web      a,x\n",
            ),
            (
                &["catalog", "nodes", "-service=web"],
                nodes,
                "catalog/service/web",
                "Node  ID        Address    DC\nvm    27337552  127.0.0.1  dc1\n",
            ),
        ];
        for (line, body, path, shown) in table {
            let (code, out, err, asked) = play(line, &[(200, body)]);
            assert_eq!((code, out.as_str(), err.as_str()), (0, shown, ""), "{line:?}");
            assert_eq!(asked, [format!("GET /v1/{path}")], "{line:?}");
        }
        let (code, _, err, _) = play(&["catalog", "services", "-node=n"], &[(200, "null")]);
        let told = "No services match the given query - try expanding your search.\n";
        assert_eq!((code, err.as_str()), (0, told));
        let (code, _, err, _) = play(&["catalog", "nodes", "-stale=false", "x"], &[]);
        assert_eq!((code, err.as_str()), (1, "Too many arguments (expected 0, got 1)\n"));
    }
}
