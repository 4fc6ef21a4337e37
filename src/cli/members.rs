//! `members`: the agents that gossip knows.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::columns::{row, table};
use super::pattern::Pattern;
use super::screen::{DONE, Screen};
use super::target::Target;

/// Exit code where no member fits, as Consul gives it.
const NONE_FIT: u8 = 2;

/// Lists the members of a cluster.
#[derive(Debug, clap::Args)]
pub(super) struct Members {
    #[command(flatten)]
    at: Target,
    /// Show every tag.
    #[arg(long)]
    detailed: bool,
    /// An enterprise feature of Consul, handed on.
    #[arg(long, value_name = "name", default_value = "_all")]
    segment: String,
    /// Show only members whose status fits this pattern.
    #[arg(long, value_name = "pattern", default_value = ".*")]
    status: String,
    /// Show the servers of all datacenters.
    #[arg(long)]
    wan: bool,
    #[arg(hide = true)]
    args: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Member {
    name: String,
    addr: String,
    port: u16,
    #[serde(default)]
    tags: Option<BTreeMap<String, String>>,
    status: u8,
}

impl Members {
    pub(super) async fn run(self, screen: &mut Screen<'_>) -> Result<u8> {
        let status = Pattern::parse(&self.status).context("Failed to compile status regexp")?;
        let mut query = vec![("segment", self.segment.as_str())];
        if self.wan {
            query.push(("wan", "1"));
        }
        let members = self.at.open()?.get_json::<Vec<Member>>("agent/members", &query).await;
        let mut members = members.context("Error retrieving members")?;
        members.retain(|member| status.fits(member.status_name()));
        members.sort_by(|a, b| (&a.name, a.tag("segment")).cmp(&(&b.name, b.tag("segment"))));
        if members.is_empty() {
            return Ok(NONE_FIT);
        }
        let mut rows = Vec::new();
        if self.detailed {
            rows.push(row(["Node", "Address", "Status", "Tags"]));
            rows.extend(members.iter().map(Member::detailed));
        } else {
            let head = ["Node", "Address", "Status", "Type", "Build", "Protocol", "DC", "Segment"];
            rows.push(row(head));
            rows.extend(members.iter().map(Member::short));
        }
        screen.say(table(&rows))?;
        Ok(DONE)
    }
}

impl Member {
    fn tag(&self, name: &str) -> &str {
        self.tags.as_ref().and_then(|tags| tags.get(name)).map_or("", String::as_str)
    }

    fn address(&self) -> String {
        match self.addr.parse::<IpAddr>() {
            Ok(IpAddr::V6(address)) => format!("[{address}]:{}", self.port),
            _ => format!("{}:{}", self.addr, self.port),
        }
    }

    fn status_name(&self) -> &'static str {
        match self.status {
            0 => "none",
            1 => "alive",
            2 => "leaving",
            3 => "left",
            4 => "failed",
            _ => "unknown",
        }
    }

    fn short(&self) -> Vec<String> {
        let (kind, segment) = match (self.tag("role"), self.tag("segment")) {
            ("node", "") => ("client", "<default>"),
            ("node", segment) => ("client", segment),
            ("consul", _) => ("server", "<all>"),
            (_, segment) => ("unknown", segment),
        };
        let build = self.tag("build").split(':').next().unwrap_or_default();
        let (address, status) = (self.address(), self.status_name());
        let (version, datacenter) = (self.tag("vsn"), self.tag("dc"));
        row([&self.name, &address, status, kind, build, version, datacenter, segment])
    }

    fn detailed(&self) -> Vec<String> {
        // A server is in every segment, and the tag says so in its own way.
        let shown = |name: &str, value: &str| match (name, self.tag("role")) {
            ("segment", "consul") => "segment=<all>".to_owned(),
            ("segment", _) if value.is_empty() => "segment=<default>".to_owned(),
            _ => format!("{name}={value}"),
        };
        let tags = self.tags.iter().flatten().map(|(name, value)| shown(name, value));
        let tags = tags.collect::<Vec<_>>().join(",");
        row([&self.name, &self.address(), self.status_name(), &tags])
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::play;

    const MEMBERS: &str = r#"[
        {"Name":"z","Addr":"::1","Port":8301,"Status":4,
         "Tags":{"role":"node","build":"0.1.0:ab","vsn":"2","dc":"dc1","segment":""}},
        {"Name":"a","Addr":"127.0.0.1","Port":8301,"Status":1,
         "Tags":{"role":"consul","build":"0.1.0","vsn":"2","dc":"dc1","segment":""}}]"#;

    #[test]
    fn members_are_sorted_and_aligned() {
        let (code, out, _, asked) = play(&["members"], &[(200, MEMBERS)]);
        let shown = "\
Node  Address         Status  Type    Build  Protocol  DC   Segment
a     127.0.0.1:8301  alive   server  0.1.0  2         dc1  <all>
z     [::1]:8301      failed  client  0.1.0  2         dc1  <default>
";
        assert_eq!((code, out.as_str()), (0, shown));
        assert_eq!(asked, ["GET /v1/agent/members?segment=_all"]);
    }

    #[test]
    fn members_are_filtered_and_detailed() {
        let line = ["members", "-detailed", "-status=^fail", "-wan"];
        let (code, out, _, asked) = play(&line, &[(200, MEMBERS)]);
        let shown = "\
Node  Address     Status  Tags
z     [::1]:8301  failed  build=0.1.0:ab,dc=dc1,role=node,segment=<default>,vsn=2
";
        assert_eq!((code, out.as_str()), (0, shown));
        assert_eq!(asked, ["GET /v1/agent/members?segment=_all&wan=1"]);
        let (code, out, err, _) = play(&["members", "-status=left"], &[(200, MEMBERS)]);
        assert_eq!((code, out.as_str(), err.as_str()), (2, "", ""));
    }
}
