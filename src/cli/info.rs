//! `info`: numbers about the agent, for people.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde_json::Value;

use super::screen::{DONE, Screen};
use super::target::Target;

/// Provides debugging information for operators.
#[derive(Debug, clap::Args)]
pub(super) struct Info {
    #[command(flatten)]
    at: Target,
    #[arg(hide = true)]
    args: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Agent {
    #[serde(default)]
    stats: BTreeMap<String, BTreeMap<String, Value>>,
}

impl Info {
    pub(super) async fn run(self, screen: &mut Screen<'_>) -> Result<u8> {
        let agent = self.at.open()?.get_json::<Agent>("agent/self", &[]).await;
        for (title, numbers) in agent.context("Error querying agent")?.stats {
            screen.say(format_args!("{title}:"))?;
            for (name, value) in numbers {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                screen.say(format_args!("\t{name} = {text}"))?;
            }
        }
        Ok(DONE)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::play;

    #[test]
    fn sections_and_names_are_sorted() {
        let body = r#"{"Config":{},"Stats":{"raft":{"term":"2","applied":3},"agent":{"a":""}}}"#;
        let (code, out, _, asked) = play(&["info"], &[(200, body)]);
        assert_eq!((code, out.as_str()), (0, "agent:\n\ta = \nraft:\n\tapplied = 3\n\tterm = 2\n"));
        assert_eq!(asked, ["GET /v1/agent/self"]);
    }
}
