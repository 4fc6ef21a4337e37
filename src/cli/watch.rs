//! `watch`: shows a view of the state once, or runs a program whenever it changes.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::ArgAction;
use reqwest::Method;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;

use super::api::Api;
use super::membership::usage;
use super::screen::{DONE, Screen};
use super::shell::{command, interrupted, trouble, unstarted};
use super::target::Servers;
use crate::config::{WatchTarget, WatchView};

/// Longest wait of one blocking read.
const WAIT: &str = "10m";

/// Pause after the first failure; it grows with the square of their number.
const RETRY: Duration = Duration::from_secs(5);

/// Longest pause after a failure.
const RETRY_MAX: Duration = Duration::from_mins(3);

/// Watch for changes: prints the view, or runs CHILD with it on each change.
#[derive(Debug, clap::Args)]
pub(super) struct Watch {
    #[command(flatten)]
    at: Servers,
    /// Key to watch, for type key.
    #[arg(long, value_name = "key", default_value = "")]
    key: String,
    /// Event to watch, for type event.
    #[arg(long, value_name = "name", default_value = "")]
    name: String,
    /// Only instances that pass all checks, for type service.
    #[arg(long, value_name = "bool", action = ArgAction::Set, default_value_t = false)]
    passingonly: bool,
    /// Prefix to watch, for type keyprefix.
    #[arg(long, value_name = "prefix", default_value = "")]
    prefix: String,
    /// Service to watch, for types service and checks.
    #[arg(long, value_name = "name", default_value = "")]
    service: String,
    /// Run CHILD by a shell.
    #[arg(long, value_name = "bool", action = ArgAction::Set, default_value_t = true)]
    shell: bool,
    /// State to watch, for type checks.
    #[arg(long, value_name = "state", default_value = "")]
    state: String,
    /// Only instances with this tag, for type service; may be repeated.
    #[arg(long, value_name = "tag")]
    tag: Vec<String>,
    /// key, keyprefix, services, nodes, service, checks or event.
    #[arg(long = "type", value_name = "type", default_value = "")]
    kind: String,
    #[arg(value_name = "CHILD")]
    args: Vec<String>,
}

impl Watch {
    pub(super) async fn run(self, screen: &mut Screen<'_>) -> Result<u8> {
        if self.kind.is_empty() {
            screen.warn("Watch type must be specified\n")?;
            return usage(screen, "watch");
        }
        let view = self.view()?;
        let api = self.at.open()?;
        let (first, index) = read(&view, &api, 0).await.context("Error querying Consul agent")?;
        if self.args.is_empty() {
            let indent = serde_json::ser::PrettyFormatter::with_indent(b"    ");
            let mut text = Vec::new();
            let mut writer = serde_json::Serializer::with_formatter(&mut text, indent);
            serde::Serialize::serialize(&first, &mut writer)?;
            screen.say(String::from_utf8_lossy(&text))?;
            return Ok(DONE);
        }
        tokio::select! {
            stopped = interrupted() => stopped.map(|()| DONE),
            ended = self.follow(&view, &api, (first, index), screen) => ended,
        }
    }

    /// Runs the child for what is there, then for each change, until one fails.
    async fn follow(
        &self,
        view: &WatchView,
        api: &Api,
        first: (Value, u64),
        screen: &mut Screen<'_>,
    ) -> Result<u8> {
        let (mut value, mut index) = first;
        let mut failures = 0;
        if let Err(error) = self.handle(&value, index, screen).await {
            return screen.fail(format_args!("{error:#}"));
        }
        loop {
            let (next, at) = match read(view, api, index).await {
                Ok(read) => read,
                Err(error) => {
                    failures += 1;
                    let pause = RETRY_MAX.min(RETRY * failures * failures);
                    let kind = &self.kind;
                    screen.warn(format_args!(
                        "Watch (type: {kind}) errored: {error:#}, retry in {pause:?}"
                    ))?;
                    tokio::time::sleep(pause).await;
                    continue;
                }
            };
            failures = 0;
            // An index of events only tells one from another: it may fall, and has no new ones
            // where it stays. Any other that falls means another history: start over.
            let changed = if view.events { at != index } else { next != value };
            index = if at < index && !view.events { 0 } else { at };
            if !changed {
                continue;
            }
            value = next;
            if let Err(error) = self.handle(&value, at, screen).await {
                return screen.fail(format_args!("{error:#}"));
            }
        }
    }

    async fn handle(&self, value: &Value, index: u64, screen: &mut Screen<'_>) -> Result<()> {
        screen.flush()?;
        let mut child = command(&self.args, self.shell).context("no command to run")?;
        child.env("CONSUL_INDEX", index.to_string()).stdin(Stdio::piped());
        let spawned = child.spawn();
        let mut child = spawned.map_err(|error| {
            anyhow::anyhow!("Error starting handler: {}", unstarted(&self.args, &error))
        })?;
        if let Some(mut stdin) = child.stdin.take() {
            let mut text = serde_json::to_vec(value)?;
            text.push(b'\n');
            // A child that does not read its input has not failed.
            if let Err(error) = stdin.write_all(&text).await
                && error.kind() != std::io::ErrorKind::BrokenPipe
            {
                return Err(error.into());
            }
        }
        match trouble(child.wait().await?) {
            None => Ok(()),
            Some(why) => bail!("Error executing handler: {why}"),
        }
    }

    fn view(&self) -> Result<WatchView> {
        let target = WatchTarget {
            kind: self.kind.clone(),
            key: self.key.clone(),
            prefix: self.prefix.clone(),
            service: self.service.clone(),
            tags: self.tag.clone(),
            passing_only: self.passingonly,
            state: self.state.clone(),
            name: self.name.clone(),
            ..WatchTarget::default()
        };
        target.view().map_err(anyhow::Error::msg)
    }
}

/// What is there now, once its index is not `known`.
async fn read(view: &WatchView, api: &Api, known: u64) -> Result<(Value, u64)> {
    let after = known.to_string();
    let mut query: Vec<_> =
        view.query.iter().map(|(name, value)| (*name, value.as_str())).collect();
    if known != 0 {
        query.extend([("index", after.as_str()), ("wait", WAIT)]);
    }
    let answer = api.send(Method::GET, &view.path, &query, Vec::new()).await?;
    let index = answer.index.unwrap_or_default();
    if view.is_nothing(answer.status) {
        return Ok((Value::Null, index));
    }
    Ok((view.show(answer.expect_ok()?.json()?, known), index))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::play;

    #[test]
    fn a_view_is_shown_once() {
        let pair =
            r#"[{"LockIndex":0,"Key":"a","Flags":3,"Value":null,"CreateIndex":1,"ModifyIndex":2}]"#;
        let shown = "{\n    \"Key\": \"a\",\n    \"CreateIndex\": 1,\n    \"ModifyIndex\": 2,\n    \
                     \"LockIndex\": 0,\n    \"Flags\": 3,\n    \
                     \"Value\": null,\n    \"Session\": \"\"\n}\n";
        let table: [(&[&str], u16, &str, &str, &str); 6] = [
            (&["watch", "-type=key", "-key=a"], 200, pair, "kv/a", shown),
            (&["watch", "-type=key", "-key=a"], 404, "", "kv/a", "null\n"),
            (
                &["watch", "-type=services"],
                200,
                r#"{"b":[],"a":[]}"#,
                "catalog/services",
                "{\n    \"b\": [],\n    \"a\": []\n}\n",
            ),
            (
                &["watch", "-type=service", "-service=w", "-tag=t", "-passingonly"],
                200,
                "[]",
                "health/service/w?tag=t&passing=1",
                "[]\n",
            ),
            (
                &["watch", "-type=checks", "-state=passing"],
                200,
                "[]",
                "health/state/passing",
                "[]\n",
            ),
            (&["watch", "-type=keyprefix", "-prefix=p/"], 404, "", "kv/p/?recurse", "null\n"),
        ];
        for (line, status, body, path, shown) in table {
            let (code, out, err, asked) = play(line, &[(status, body)]);
            assert_eq!((code, out.as_str(), err.as_str()), (0, shown, ""), "{line:?}");
            assert_eq!(asked, [format!("GET /v1/{path}")], "{line:?}");
        }
    }

    #[test]
    fn a_child_runs_on_each_change_until_one_fails() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("seen");
        let child = format!("cat >> {0}; test $(grep -c . {0}) -lt 2", file.display());
        let line = ["watch", "-type=services", &child];
        let answers = [(200, r#"{"a":[]}"#), (200, r#"{"a":[]}"#), (200, r#"{"b":[]}"#)];
        let (code, _, err, asked) = play(&line, &answers);
        assert_eq!((code, err.as_str()), (1, "Error executing handler: exit status 1\n"));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "{\"a\":[]}\n{\"b\":[]}\n");
        assert_eq!(asked[2], "GET /v1/catalog/services?index=7&wait=10m");
    }

    #[test]
    fn events_are_asked_for_by_name() {
        let line = ["watch", "-type=event", "-name=e"];
        let (code, out, _, asked) = play(&line, &[(200, "[]")]);
        assert_eq!((code, out.as_str()), (0, "[]\n"));
        assert_eq!(asked, ["GET /v1/event/list?name=e"]);
    }

    #[test]
    fn nonsense_is_named() {
        let table: [(&[&str], &str); 4] = [
            (&["watch", "-type=key"], "Must specify a single key to watch\n"),
            (&["watch", "-type=x"], "Unsupported watch type: x\n"),
            (
                &["watch", "-type=checks", "-state=a", "-service=b"],
                "Cannot specify service and state\n",
            ),
            (&["watch", "-type=service"], "Must specify a single service to watch\n"),
        ];
        for (line, told) in table {
            let (code, _, err, _) = play(line, &[]);
            assert_eq!((code, err.as_str()), (1, told), "{line:?}");
        }
    }
}
