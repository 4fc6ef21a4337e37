//! `maint`: takes a node or one service out of service, and back.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::screen::{DONE, Screen};
use super::target::Target;

/// Id of the check that keeps a whole node out.
const NODE_CHECK: &str = "_node_maintenance";

/// Head of the ids of the checks that keep a service out.
const SERVICE_CHECK: &str = "_service_maintenance:";

/// Controls node or service maintenance mode.
#[derive(Debug, clap::Args)]
pub(super) struct Maint {
    #[command(flatten)]
    at: Target,
    /// Back into service.
    #[arg(long)]
    disable: bool,
    /// Out of service.
    #[arg(long)]
    enable: bool,
    /// Why, for people.
    #[arg(long, value_name = "text", default_value = "")]
    reason: String,
    /// Only this service of the node.
    #[arg(long, value_name = "id", default_value = "")]
    service: String,
    #[arg(hide = true)]
    args: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Check {
    #[serde(rename = "CheckID")]
    id: String,
    #[serde(default)]
    node: String,
    #[serde(default)]
    notes: String,
    #[serde(rename = "ServiceID", default)]
    service_id: String,
    #[serde(default)]
    service_name: String,
}

impl Maint {
    pub(super) async fn run(self, screen: &mut Screen<'_>) -> Result<u8> {
        if self.enable && self.disable {
            return screen.fail("Only one of -enable or -disable may be provided");
        }
        if !self.reason.is_empty() && !self.enable {
            return screen.fail("Reason may only be provided with -enable");
        }
        if !self.service.is_empty() && !self.enable && !self.disable {
            return screen.fail("Service requires either -enable or -disable");
        }
        if self.enable || self.disable {
            self.switch(screen).await
        } else {
            self.show(screen).await
        }
    }

    async fn switch(&self, screen: &mut Screen<'_>) -> Result<u8> {
        let (path, what) = match self.service.as_str() {
            "" => ("agent/maintenance".to_owned(), "node"),
            service => (format!("agent/service/maintenance/{service}"), "service"),
        };
        let enable = if self.enable { "true" } else { "false" };
        let mut query = vec![("enable", enable)];
        if !self.reason.is_empty() {
            query.push(("reason", self.reason.as_str()));
        }
        let doing = if self.enable { "enabling" } else { "disabling" };
        let put = self.at.open()?.put(&path, &query, Vec::new()).await;
        put.with_context(|| format!("Error {doing} {what} maintenance"))?;
        let now = if self.enable { "enabled" } else { "disabled" };
        match self.service.as_str() {
            "" => screen.say(format_args!("Node maintenance is now {now}"))?,
            service => {
                screen.say(format_args!("Service maintenance is now {now} for \"{service}\""))?;
            }
        }
        Ok(DONE)
    }

    async fn show(&self, screen: &mut Screen<'_>) -> Result<u8> {
        let checks = self.at.open()?.get_json::<BTreeMap<String, Check>>("agent/checks", &[]).await;
        for check in checks.context("Error getting checks")?.into_values() {
            if check.id == NODE_CHECK {
                screen.say(format_args!(
                    "Node:\n  Name:   {}\n  Reason: {}\n",
                    check.node, check.notes
                ))?;
            } else if check.id.starts_with(SERVICE_CHECK) {
                let Check { service_id, service_name, notes, .. } = check;
                screen.say(format_args!(
                    "Service:\n  ID:     {service_id}\n  Name:   {service_name}\n  \
                     Reason: {notes}\n"
                ))?;
            }
        }
        Ok(DONE)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::play;

    #[test]
    fn maintenance_is_switched_and_shown() {
        let line = ["maint", "-enable", "-reason=x y"];
        let (code, out, _, asked) = play(&line, &[(200, "")]);
        assert_eq!((code, out.as_str()), (0, "Node maintenance is now enabled\n"));
        assert_eq!(asked, ["PUT /v1/agent/maintenance?enable=true&reason=x%20y"]);
        let line = ["maint", "-disable", "-service=w"];
        let (code, out, _, asked) = play(&line, &[(200, "")]);
        assert_eq!((code, out.as_str()), (0, "Service maintenance is now disabled for \"w\"\n"));
        assert_eq!(asked, ["PUT /v1/agent/service/maintenance/w?enable=false"]);
        let body = r#"{"_node_maintenance":{"CheckID":"_node_maintenance","Node":"n","Notes":"r"},
            "x":{"CheckID":"x"}}"#;
        let (code, out, _, _) = play(&["maint"], &[(200, body)]);
        assert_eq!((code, out.as_str()), (0, "Node:\n  Name:   n\n  Reason: r\n\n"));
        let (code, _, err, _) = play(&["maint", "-disable", "-enable"], &[]);
        assert_eq!((code, err.as_str()), (1, "Only one of -enable or -disable may be provided\n"));
    }
}
