//! `rtt`: how long a round trip between two nodes takes, by their network coordinates.

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::api::Api;
use super::event::node_name;
use super::membership::usage;
use super::screen::{DONE, Screen};
use super::target::Target;

/// Estimates network round trip time between nodes.
#[derive(Debug, clap::Args)]
pub(super) struct Rtt {
    #[command(flatten)]
    at: Target,
    /// Use the coordinates between datacenters; names are NODE.DATACENTER then.
    #[arg(long)]
    wan: bool,
    #[arg(value_name = "NODE")]
    args: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    node: String,
    #[serde(default)]
    segment: String,
    coord: Coordinate,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Area {
    datacenter: String,
    #[serde(rename = "AreaID", default)]
    id: String,
    coordinates: Option<Vec<Entry>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Coordinate {
    vec: Vec<f64>,
    adjustment: f64,
    height: f64,
}

impl Coordinate {
    /// Seconds of a round trip; `None` where the two have not the same number of dimensions.
    fn seconds_to(&self, other: &Self) -> Option<f64> {
        if self.vec.len() != other.vec.len() {
            return None;
        }
        let pairs = self.vec.iter().zip(&other.vec);
        let apart = pairs.map(|(one, two)| (one - two) * (one - two)).sum::<f64>().sqrt();
        let raw = apart + self.height + other.height;
        let adjusted = raw + self.adjustment + other.adjustment;
        Some(if adjusted > 0.0 { adjusted } else { raw })
    }
}

/// Where a node stands, and in which pool.
type Place = (String, Coordinate);

impl Rtt {
    pub(super) async fn run(self, screen: &mut Screen<'_>) -> Result<u8> {
        if !(1..=2).contains(&self.args.len()) {
            screen.warn("One or two node names must be specified\n")?;
            return usage(screen, "rtt");
        }
        if self.wan && self.args.iter().any(|name| wan_name(name).is_none()) {
            return screen
                .fail("Node names must be specified as <node name>.<datacenter> with -wan");
        }
        let api = self.at.open()?;
        let first = self.args.first().cloned().unwrap_or_default();
        let second = match self.args.get(1) {
            Some(name) => name.clone(),
            None if self.wan => wan_self(&api).await.context("Unable to look up agent info")?,
            None => node_name(&api).await.context("Unable to look up agent info")?,
        };
        let found = if self.wan { areas(&api).await } else { nodes(&api).await };
        let all = found.context("Error getting coordinates")?;
        let of = |name: &String| -> Vec<&Place> {
            let named = all.iter().filter(|(node, _)| node.eq_ignore_ascii_case(name));
            named.map(|(_, place)| place).collect()
        };
        let (from, to) = (of(&first), of(&second));
        for (name, places) in [(&first, &from), (&second, &to)] {
            if places.is_empty() {
                return screen.fail(format_args!("Could not find a coordinate for node {name:?}"));
            }
        }
        let mut pairs = from.iter().flat_map(|one| to.iter().map(move |two| (one, two)));
        let seconds =
            pairs.find(|(one, two)| one.0 == two.0).and_then(|(one, two)| one.1.seconds_to(&two.1));
        let Some(seconds) = seconds else {
            return screen.fail(format_args!(
                "Could not find a set of compatible coordinates for nodes {first:?} and {second:?}"
            ));
        };
        let source = if self.wan { "WAN" } else { "LAN" };
        let millis = seconds * 1000.0;
        screen.say(format_args!(
            "Estimated {first} <-> {second} rtt: {millis:.3} ms (using {source} coordinates)"
        ))?;
        Ok(DONE)
    }
}

fn wan_name(name: &str) -> Option<(&str, &str)> {
    name.rsplit_once('.').filter(|(node, datacenter)| !node.is_empty() && !datacenter.is_empty())
}

async fn wan_self(api: &Api) -> Result<String> {
    let own = api.get_json::<serde_json::Value>("agent/self", &[]).await?;
    let text = |name: &str| own["Config"][name].as_str().unwrap_or_default().to_owned();
    Ok(format!("{}.{}", text("NodeName"), text("Datacenter")))
}

/// The nodes of this datacenter, each in its segment.
async fn nodes(api: &Api) -> Result<Vec<(String, Place)>> {
    let entries = api.get_json::<Vec<Entry>>("coordinate/nodes", &[]).await?;
    Ok(entries.into_iter().map(|entry| (entry.node, (entry.segment, entry.coord))).collect())
}

/// The servers of every datacenter, each in its area.
async fn areas(api: &Api) -> Result<Vec<(String, Place)>> {
    let areas = api.get_json::<Vec<Area>>("coordinate/datacenters", &[]).await?;
    let all = areas.into_iter().flat_map(|area| {
        let (datacenter, id) = (area.datacenter, area.id);
        let entries = area.coordinates.unwrap_or_default().into_iter();
        entries
            .map(move |entry| (format!("{}.{datacenter}", entry.node), (id.clone(), entry.coord)))
    });
    Ok(all.collect())
}

#[cfg(test)]
mod tests {
    use super::super::fixture::play;

    const NODES: &str = r#"[
        {"Node":"a","Segment":"","Coord":{"Vec":[0.003,0],"Error":1.5,"Adjustment":0,"Height":0.00001}},
        {"Node":"b","Segment":"","Coord":{"Vec":[0,0.004],"Error":1.5,"Adjustment":0.0005,"Height":0.00001}},
        {"Node":"c","Segment":"x","Coord":{"Vec":[0,0],"Error":1.5,"Adjustment":0,"Height":0}}]"#;

    #[test]
    fn a_round_trip_is_estimated() {
        let (code, out, _, asked) = play(&["rtt", "a", "b"], &[(200, NODES)]);
        let told = "Estimated a <-> b rtt: 5.520 ms (using LAN coordinates)\n";
        assert_eq!((code, out.as_str()), (0, told));
        assert_eq!(asked, ["GET /v1/coordinate/nodes"]);
        let own = (200, r#"{"Config":{"NodeName":"a","Datacenter":"dc1"}}"#);
        let (_, out, _, _) = play(&["rtt", "a"], &[own, (200, NODES)]);
        assert_eq!(out, "Estimated a <-> a rtt: 0.020 ms (using LAN coordinates)\n");
        let wan = format!(r#"[{{"Datacenter":"dc1","AreaID":"wan","Coordinates":{NODES}}}]"#);
        let (_, out, _, asked) = play(&["rtt", "-wan", "b.dc1"], &[own, (200, &wan)]);
        assert_eq!(out, "Estimated b.dc1 <-> a.dc1 rtt: 5.520 ms (using WAN coordinates)\n");
        assert_eq!(asked[1], "GET /v1/coordinate/datacenters");
    }

    /// A line, what it is answered, what it says.
    type Row = (&'static [&'static str], &'static [(u16, &'static str)], &'static str);

    #[test]
    fn nodes_without_a_common_place_are_named() {
        let table: [Row; 5] = [
            (&["rtt", "a", "z"], &[(200, NODES)], "Could not find a coordinate for node \"z\"\n"),
            (
                &["rtt", "a", "c"],
                &[(200, NODES)],
                "Could not find a set of compatible coordinates for nodes \"a\" and \"c\"\n",
            ),
            (
                &["rtt", "-wan", "a"],
                &[],
                "Node names must be specified as <node name>.<datacenter> with -wan\n",
            ),
            (
                &["rtt", "a", "b"],
                &[(500, "no")],
                "Error getting coordinates: Unexpected response code: 500 (no)\n",
            ),
            (&["rtt"], &[], "One or two node names must be specified\n"),
        ];
        for (line, answers, told) in table {
            let (code, _, err, _) = play(line, answers);
            assert_eq!(code, 1);
            assert!(err.starts_with(told), "{line:?}: {err}");
        }
    }
}
