//! `session`: what locks hang on. Consul has no such command; the shape is ours.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::columns::{pairs, row, table};
use super::screen::{DONE, Screen};
use super::target::Servers;
use crate::config::{format_duration, parse_duration};

/// Interact with sessions.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Session {
    Create(Create),
    Destroy(Destroy),
    Info(Info),
    List(List),
    Renew(Renew),
}

/// Creates a session and prints its id.
#[derive(Debug, clap::Args)]
pub(super) struct Create {
    #[command(flatten)]
    at: Servers,
    /// What happens to its locks at its end: release or delete.
    #[arg(long, value_name = "release|delete")]
    behavior: Option<String>,
    /// Node check that it depends on; may be repeated; serfHealth if none is named.
    #[arg(long, value_name = "check")]
    check: Vec<String>,
    /// How long its locks stay closed after its end.
    #[arg(long = "lock-delay", value_name = "duration")]
    lock_delay: Option<String>,
    /// Name for people.
    #[arg(long, value_name = "name")]
    name: Option<String>,
    /// No check at all: the session lives by its TTL alone.
    #[arg(long = "no-checks")]
    no_checks: bool,
    /// Node that it belongs to; the agent's own if not given.
    #[arg(long, value_name = "node")]
    node: Option<String>,
    /// Ends unless renewed within this.
    #[arg(long, value_name = "duration")]
    ttl: Option<String>,
    #[arg(hide = true)]
    args: Vec<String>,
}

/// Destroys a session.
#[derive(Debug, clap::Args)]
pub(super) struct Destroy {
    #[command(flatten)]
    at: Servers,
    #[arg(value_name = "ID")]
    args: Vec<String>,
}

/// Shows a session.
#[derive(Debug, clap::Args)]
pub(super) struct Info {
    #[command(flatten)]
    at: Servers,
    #[arg(value_name = "ID")]
    args: Vec<String>,
}

/// Lists sessions.
#[derive(Debug, clap::Args)]
pub(super) struct List {
    #[command(flatten)]
    at: Servers,
    /// Show only sessions of this node.
    #[arg(long, value_name = "node")]
    node: Option<String>,
    #[arg(hide = true)]
    args: Vec<String>,
}

/// Renews a session with a TTL.
#[derive(Debug, clap::Args)]
pub(super) struct Renew {
    #[command(flatten)]
    at: Servers,
    #[arg(value_name = "ID")]
    args: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    #[serde(rename = "ID")]
    id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    node: String,
    #[serde(default)]
    lock_delay: u64,
    #[serde(default)]
    behavior: String,
    #[serde(rename = "TTL", default)]
    ttl: String,
    #[serde(default)]
    node_checks: Option<Vec<String>>,
    #[serde(default)]
    service_checks: Option<Vec<Value>>,
    create_index: u64,
    modify_index: u64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Created {
    #[serde(rename = "ID")]
    id: String,
}

impl Session {
    pub(super) async fn run(self, screen: &mut Screen<'_>) -> Result<u8> {
        match self {
            Self::Create(create) => create.run(screen).await,
            Self::Destroy(destroy) => destroy.run(screen).await,
            Self::Info(info) => info.run(screen).await,
            Self::List(list) => list.run(screen).await,
            Self::Renew(renew) => renew.run(screen).await,
        }
    }
}

impl Create {
    async fn run(self, screen: &mut Screen<'_>) -> Result<u8> {
        let mut body = Map::new();
        let mut set = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                body.insert(name.to_owned(), Value::from(value));
            }
        };
        for (flag, text) in [("lock-delay", &self.lock_delay), ("ttl", &self.ttl)] {
            if let Some(Err(why)) = text.as_deref().map(parse_duration) {
                return screen.fail(format_args!("-{flag}: {why}"));
            }
        }
        set("Name", self.name);
        set("Node", self.node);
        set("TTL", self.ttl);
        set("LockDelay", self.lock_delay);
        set("Behavior", self.behavior);
        if self.no_checks || !self.check.is_empty() {
            let checks = if self.no_checks { Vec::new() } else { self.check };
            body.insert("Checks".to_owned(), json!(checks));
        }
        let body = serde_json::to_vec(&body)?;
        let answer = self.at.open()?.put("session/create", &[], body).await;
        let created: Created =
            answer.and_then(|answer| answer.json()).context("Error creating session")?;
        screen.say(created.id)?;
        Ok(DONE)
    }
}

impl Destroy {
    async fn run(self, screen: &mut Screen<'_>) -> Result<u8> {
        let [id] = self.args.as_slice() else { return one_id(screen, self.args.len()) };
        let answer = self.at.open()?.put(&format!("session/destroy/{id}"), &[], Vec::new()).await;
        answer.context("Error destroying session")?;
        screen.say(format_args!("Destroyed session: {id}"))?;
        Ok(DONE)
    }
}

impl Info {
    async fn run(self, screen: &mut Screen<'_>) -> Result<u8> {
        let [id] = self.args.as_slice() else { return one_id(screen, self.args.len()) };
        let path = format!("session/info/{id}");
        let found = self.at.open()?.get_json::<Option<Vec<Entry>>>(&path, &[]).await;
        let found = found.context("Error reading session")?.unwrap_or_default();
        let Some(entry) = found.first() else {
            return screen.fail(format_args!("Error! No session exists with id: {id}"));
        };
        screen.say(entry.block())?;
        Ok(DONE)
    }
}

impl List {
    async fn run(self, screen: &mut Screen<'_>) -> Result<u8> {
        let path = match &self.node {
            Some(node) => format!("session/node/{node}"),
            None => "session/list".to_owned(),
        };
        let found = self.at.open()?.get_json::<Option<Vec<Entry>>>(&path, &[]).await;
        let mut found = found.context("Error listing sessions")?.unwrap_or_default();
        found.sort_by_key(|entry| entry.create_index);
        let mut rows = vec![row(["ID", "Name", "Node", "TTL", "Behavior"])];
        rows.extend(found.iter().map(|entry| {
            row([&entry.id, dashed(&entry.name), &entry.node, dashed(&entry.ttl), &entry.behavior])
        }));
        screen.say(table(&rows))?;
        Ok(DONE)
    }
}

impl Renew {
    async fn run(self, screen: &mut Screen<'_>) -> Result<u8> {
        let [id] = self.args.as_slice() else { return one_id(screen, self.args.len()) };
        let path = format!("session/renew/{id}");
        let api = self.at.open()?;
        let answer = api.send(reqwest::Method::PUT, &path, &[], Vec::new()).await;
        let failed = "Error renewing session";
        let answer = answer.context(failed)?;
        if answer.status == 404 {
            return screen.fail(format_args!("Error! No session exists with id: {id}"));
        }
        let renewed: Vec<Entry> =
            answer.expect_ok().and_then(|answer| answer.json()).context(failed)?;
        let ttl = renewed.first().map_or("-", |entry| dashed(&entry.ttl));
        screen.say(format_args!("Renewed session: {id} (TTL {ttl})"))?;
        Ok(DONE)
    }
}

impl Entry {
    fn block(&self) -> String {
        let checks = self.node_checks.iter().flatten().cloned().collect::<Vec<_>>().join(",");
        let mut services = String::new();
        for check in self.service_checks.iter().flatten() {
            let comma = if services.is_empty() { "" } else { "," };
            let id = check
                .get("ID")
                .and_then(Value::as_str)
                .map_or_else(|| check.to_string(), str::to_owned);
            write!(services, "{comma}{id}").expect("a String takes every write");
        }
        let delay = format_duration(std::time::Duration::from_nanos(self.lock_delay));
        pairs(&[
            ("ID", self.id.clone()),
            ("Name", dashed(&self.name).to_owned()),
            ("Node", self.node.clone()),
            ("Behavior", self.behavior.clone()),
            ("TTL", dashed(&self.ttl).to_owned()),
            ("LockDelay", delay),
            ("NodeChecks", dashed(&checks).to_owned()),
            ("ServiceChecks", dashed(&services).to_owned()),
            ("CreateIndex", self.create_index.to_string()),
            ("ModifyIndex", self.modify_index.to_string()),
        ])
    }
}

fn dashed(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

fn one_id(screen: &mut Screen<'_>, got: usize) -> Result<u8> {
    match got {
        0 => screen.fail("Error! Missing ID argument"),
        got => screen.fail(format_args!("Too many arguments (expected 1, got {got})")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::play;

    const ENTRY: &str = r#"[{"ID":"i","Name":"","Node":"vm","LockDelay":15000000000,
        "Behavior":"release","TTL":"15s","NodeChecks":["serfHealth"],"ServiceChecks":null,
        "CreateIndex":2,"ModifyIndex":3}]"#;

    #[test]
    fn sessions_are_made_and_shown() {
        let line =
            ["session", "create", "-ttl=15s", "-name=n", "-lock-delay=0s", "-behavior=delete"];
        let (code, out, _, asked) = play(&line, &[(200, r#"{"ID":"i"}"#)]);
        assert_eq!((code, out.as_str()), (0, "i\n"));
        let body = r#"{"Name":"n","TTL":"15s","LockDelay":"0s","Behavior":"delete"}"#;
        assert_eq!(asked, [format!("PUT /v1/session/create {body}")]);
        let (code, out, _, _) = play(&["session", "list"], &[(200, ENTRY)]);
        let shown = "ID  Name  Node  TTL  Behavior\ni   -     vm    15s  release\n";
        assert_eq!((code, out.as_str()), (0, shown));
        let (_, out, _, _) = play(&["session", "info", "i"], &[(200, ENTRY)]);
        assert!(out.contains("LockDelay          15s\n"), "{out}");
        let (code, out, _, _) = play(&["session", "renew", "i"], &[(200, ENTRY)]);
        assert_eq!((code, out.as_str()), (0, "Renewed session: i (TTL 15s)\n"));
        let (code, _, err, _) = play(&["session", "renew", "i"], &[(404, "gone")]);
        assert_eq!((code, err.as_str()), (1, "Error! No session exists with id: i\n"));
        let (code, _, err, _) = play(&["session", "create", "-ttl=5"], &[]);
        assert!(code == 1 && err.starts_with("-ttl: invalid duration"), "{err}");
        let (code, out, _, _) = play(&["session", "destroy", "i"], &[(200, "true")]);
        assert_eq!((code, out.as_str()), (0, "Destroyed session: i\n"));
    }
}
