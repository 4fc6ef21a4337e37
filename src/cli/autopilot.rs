//! `operator autopilot`: how the leader looks after its servers.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::screen::{DONE, Screen};
use super::target::Servers;
use crate::config::parse_duration;

const PATH: &str = "operator/autopilot/configuration";

/// Provides tools for modifying Autopilot configuration.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Autopilot {
    GetConfig(GetConfig),
    SetConfig(Box<SetConfig>),
    State(State),
}

/// Display the current Autopilot configuration.
#[derive(Debug, clap::Args)]
#[command(name = "get-config")]
pub(super) struct GetConfig {
    #[command(flatten)]
    at: Servers,
    #[arg(hide = true)]
    args: Vec<String>,
}

/// Modify the current Autopilot configuration.
#[derive(Debug, clap::Args)]
#[command(name = "set-config")]
pub(super) struct SetConfig {
    #[command(flatten)]
    at: Servers,
    /// Remove dead servers when new ones come.
    #[arg(long = "cleanup-dead-servers", value_name = "true|false")]
    cleanup_dead_servers: Option<bool>,
    /// Wait with new servers until a migration (an enterprise feature of Consul).
    #[arg(long = "disable-upgrade-migration", value_name = "true|false")]
    disable_upgrade_migration: Option<bool>,
    /// Longest silence between a healthy server and the leader.
    #[arg(long = "last-contact-threshold", value_name = "200ms", value_parser = duration_text)]
    last_contact_threshold: Option<String>,
    /// How many entries of the log a healthy server may be behind.
    #[arg(long = "max-trailing-logs", value_name = "value")]
    max_trailing_logs: Option<u64>,
    /// Servers that stay, whatever is dead.
    #[arg(long = "min-quorum", value_name = "value")]
    min_quorum: Option<u64>,
    /// Node metadata that names a zone (an enterprise feature of Consul).
    #[arg(long = "redundancy-zone-tag", value_name = "value")]
    redundancy_zone_tag: Option<String>,
    /// How long a new server must be healthy before it votes.
    #[arg(long = "server-stabilization-time", value_name = "10s", value_parser = duration_text)]
    server_stabilization_time: Option<String>,
    /// Node metadata that names a version (an enterprise feature of Consul).
    #[arg(long = "upgrade-version-tag", value_name = "value")]
    upgrade_version_tag: Option<String>,
    #[arg(hide = true)]
    args: Vec<String>,
}

/// Display the current Autopilot state.
#[derive(Debug, clap::Args)]
pub(super) struct State {
    #[command(flatten)]
    at: Servers,
    /// pretty or json.
    #[arg(long, value_name = "format", default_value = "pretty")]
    format: String,
    #[arg(hide = true)]
    args: Vec<String>,
}

/// As the API has it. Fields of other versions are sent back as they came.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Configuration {
    cleanup_dead_servers: bool,
    last_contact_threshold: String,
    max_trailing_logs: u64,
    #[serde(default)]
    min_quorum: u64,
    server_stabilization_time: String,
    #[serde(default)]
    redundancy_zone_tag: String,
    #[serde(default)]
    disable_upgrade_migration: bool,
    #[serde(default)]
    upgrade_version_tag: String,
    #[serde(default)]
    modify_index: u64,
    #[serde(flatten)]
    rest: serde_json::Map<String, Value>,
}

/// The text of a duration, if it is one.
fn duration_text(text: &str) -> Result<String, String> {
    parse_duration(text).map(|_| text.to_owned())
}

impl Autopilot {
    pub(super) async fn run(self, screen: &mut Screen<'_>) -> Result<u8> {
        match self {
            Self::GetConfig(get) => get.run(screen).await,
            Self::SetConfig(set) => set.run(screen).await,
            Self::State(state) => state.run(screen).await,
        }
    }
}

impl GetConfig {
    async fn run(self, screen: &mut Screen<'_>) -> Result<u8> {
        let found = self.at.open()?.get_json::<Configuration>(PATH, &[]).await;
        let found = found.context("Error querying Autopilot configuration")?;
        screen.say(format_args!("CleanupDeadServers = {}", found.cleanup_dead_servers))?;
        screen.say(format_args!("LastContactThreshold = {}", found.last_contact_threshold))?;
        screen.say(format_args!("MaxTrailingLogs = {}", found.max_trailing_logs))?;
        screen.say(format_args!("MinQuorum = {}", found.min_quorum))?;
        screen
            .say(format_args!("ServerStabilizationTime = {}", found.server_stabilization_time))?;
        screen.say(format_args!("RedundancyZoneTag = {:?}", found.redundancy_zone_tag))?;
        screen
            .say(format_args!("DisableUpgradeMigration = {}", found.disable_upgrade_migration))?;
        screen.say(format_args!("UpgradeVersionTag = {:?}", found.upgrade_version_tag))?;
        Ok(DONE)
    }
}

impl SetConfig {
    async fn run(self, screen: &mut Screen<'_>) -> Result<u8> {
        let api = self.at.open()?;
        let found = api.get_json::<Configuration>(PATH, &[]).await;
        let mut wanted = found.context("Error querying Autopilot configuration")?;
        set(&mut wanted.cleanup_dead_servers, self.cleanup_dead_servers);
        set(&mut wanted.last_contact_threshold, self.last_contact_threshold);
        set(&mut wanted.max_trailing_logs, self.max_trailing_logs);
        set(&mut wanted.min_quorum, self.min_quorum);
        set(&mut wanted.server_stabilization_time, self.server_stabilization_time);
        set(&mut wanted.redundancy_zone_tag, self.redundancy_zone_tag);
        set(&mut wanted.disable_upgrade_migration, self.disable_upgrade_migration);
        set(&mut wanted.upgrade_version_tag, self.upgrade_version_tag);
        let index = wanted.modify_index.to_string();
        let body = serde_json::to_vec(&wanted)?;
        let answer = api.put(PATH, &[("cas", &index)], body).await;
        if answer.context("Error setting Autopilot configuration")?.is_true() {
            screen.say("Configuration updated!")?;
            return Ok(DONE);
        }
        screen.fail("Configuration could not be atomically updated, please try again")
    }
}

fn set<T>(field: &mut T, wanted: Option<T>) {
    if let Some(wanted) = wanted {
        *field = wanted;
    }
}

impl State {
    async fn run(self, screen: &mut Screen<'_>) -> Result<u8> {
        if !matches!(self.format.as_str(), "pretty" | "json") {
            return screen.fail(format_args!("Invalid format: {}", self.format));
        }
        let found = self.at.open()?.get_json::<Value>("operator/autopilot/state", &[]).await;
        let found = found.context("Error getting Autopilot state")?;
        if self.format == "json" {
            screen.say(serde_json::to_string_pretty(&found)?)?;
        } else {
            screen.say(pretty(&found).trim_end())?;
        }
        Ok(DONE)
    }
}

/// A name and a value in one line, then the servers, each with what is said of it.
fn pretty(state: &Value) -> String {
    let mut text = String::new();
    for (title, name) in
        [("Healthy:", "Healthy"), ("Failure Tolerance:", "FailureTolerance"), ("Leader:", "Leader")]
    {
        line(&mut text, 0, title, &state[name]);
    }
    text.push_str("Voters:\n");
    for voter in state["Voters"].as_array().into_iter().flatten() {
        line(&mut text, 3, "", voter);
    }
    text.push_str("Servers:\n");
    for (id, server) in state["Servers"].as_object().into_iter().flatten() {
        line(&mut text, 3, "", &Value::from(id.as_str()));
        for (title, name) in [
            ("Name:", "Name"),
            ("Address:", "Address"),
            ("Version:", "Version"),
            ("Status:", "Status"),
            ("Node Status:", "NodeStatus"),
            ("Healthy:", "Healthy"),
            ("Last Contact:", "LastContact"),
            ("Last Term:", "LastTerm"),
            ("Last Index:", "LastIndex"),
        ] {
            line(&mut text, 6, title, &server[name]);
        }
    }
    text
}

fn line(text: &mut String, indent: usize, title: &str, value: &Value) {
    let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let blank = " ".repeat(indent);
    let written = if title.is_empty() {
        writeln!(text, "{blank}{value}")
    } else {
        writeln!(text, "{blank}{title:<18} {value}")
    };
    written.expect("a string takes all");
}

#[cfg(test)]
mod tests {
    use super::super::fixture::play;

    const FOUND: &str = r#"{"CleanupDeadServers":true,"LastContactThreshold":"200ms",
        "MaxTrailingLogs":250,"MinQuorum":0,"ServerStabilizationTime":"10s","RedundancyZoneTag":"",
        "DisableUpgradeMigration":false,"UpgradeVersionTag":"x","CreateIndex":5,"ModifyIndex":7,"New":1}"#;

    #[test]
    fn the_configuration_is_shown_and_set_if_unchanged() {
        let (code, out, _, _) = play(&["operator", "autopilot", "get-config"], &[(200, FOUND)]);
        let shown = "CleanupDeadServers = true\nLastContactThreshold = 200ms\n\
                     MaxTrailingLogs = 250\nMinQuorum = 0\nServerStabilizationTime = 10s\n\
                     RedundancyZoneTag = \"\"\nDisableUpgradeMigration = false\n\
                     UpgradeVersionTag = \"x\"\n";
        assert_eq!((code, out.as_str()), (0, shown));
        let line = [
            "operator",
            "autopilot",
            "set-config",
            "-cleanup-dead-servers=false",
            "-min-quorum=3",
            "-last-contact-threshold=1s",
        ];
        let (code, out, _, asked) = play(&line, &[(200, FOUND), (200, "true")]);
        assert_eq!((code, out.as_str()), (0, "Configuration updated!\n"));
        assert!(asked[1].starts_with("PUT /v1/operator/autopilot/configuration?cas=7 "));
        for part in [
            r#""CleanupDeadServers":false"#,
            r#""MinQuorum":3"#,
            r#""LastContactThreshold":"1s""#,
            r#""ServerStabilizationTime":"10s""#,
            r#""New":1"#,
        ] {
            assert!(asked[1].contains(part), "{part}: {}", asked[1]);
        }
        let (code, _, err, _) = play(&line, &[(200, FOUND), (200, "false")]);
        let told = "Configuration could not be atomically updated, please try again\n";
        assert_eq!((code, err.as_str()), (1, told));
    }

    #[test]
    fn the_state_is_shown_in_two_forms() {
        let state = r#"{"Healthy":true,"FailureTolerance":1,"Leader":"i","Voters":["i"],
            "Servers":{"i":{"Name":"n1","Address":"a","Healthy":true}}}"#;
        let line = ["operator", "autopilot", "state"];
        let (code, out, _, _) = play(&line, &[(200, state)]);
        assert_eq!(code, 0);
        assert!(out.starts_with("Healthy:           true\nFailure Tolerance: 1\n"), "{out}");
        assert!(out.contains("Servers:\n   i\n      Name:              n1\n"), "{out}");
        let line = ["operator", "autopilot", "state", "-format=json"];
        let (_, out, _, _) = play(&line, &[(200, state)]);
        assert!(out.starts_with("{\n  \"Healthy\": true,"), "{out}");
        let line = ["operator", "autopilot", "state", "-format=x"];
        assert_eq!(play(&line, &[]).2, "Invalid format: x\n");
    }
}
