//! `event`: throws a word into the pool.

use anyhow::{Context as _, Result, anyhow};
use serde::Deserialize;
use serde_json::Value;

use super::api::Api;
use super::membership::usage;
use super::screen::{DONE, Screen};
use super::target::Target;

/// Fire a new event.
#[derive(Debug, clap::Args)]
pub(super) struct Event {
    #[command(flatten)]
    at: Target,
    /// Name of the event.
    #[arg(long, value_name = "string", default_value = "")]
    name: String,
    #[command(flatten)]
    filters: Filters,
    #[arg(value_name = "PAYLOAD")]
    args: Vec<String>,
}

/// For whom an event or a command is.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct Filters {
    /// Pattern of node names.
    #[arg(long, value_name = "string", default_value = "")]
    node: String,
    /// Pattern of services.
    #[arg(long, value_name = "string", default_value = "")]
    service: String,
    /// Pattern of tags; needs -service.
    #[arg(long, value_name = "string", default_value = "")]
    tag: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Fired {
    #[serde(rename = "ID")]
    id: String,
}

impl Filters {
    /// Says what is wrong with them, as far as it can be seen without an agent.
    pub(super) fn check(&self) -> Result<()> {
        for (which, text) in [("node", &self.node), ("service", &self.service), ("tag", &self.tag)]
        {
            if let Err(error) = regex::Regex::new(text) {
                let told = error.to_string();
                let why = told.lines().last().unwrap_or_default().trim_start_matches("error: ");
                return Err(anyhow!(
                    "Failed to compile {which} filter regexp: error parsing regexp: {why}: `{text}`"
                ));
            }
        }
        if !self.tag.is_empty() && self.service.is_empty() {
            return Err(anyhow!("Cannot provide tag filter without service filter."));
        }
        Ok(())
    }
}

impl Event {
    pub(super) async fn run(self, screen: &mut Screen<'_>) -> Result<u8> {
        if self.name.is_empty() {
            screen.warn("Event name must be specified\n")?;
            return usage(screen, "event");
        }
        let payload = match self.args.as_slice() {
            [] => "",
            [payload] => payload,
            _ => {
                screen.warn("Too many command line arguments.\n")?;
                return usage(screen, "event");
            }
        };
        self.filters.check()?;
        let api = self.at.open()?;
        node_name(&api).await.context("Error querying Consul agent")?;
        let Filters { node, service, tag } = &self.filters;
        let all = [("node", node.as_str()), ("service", service), ("tag", tag)];
        let query: Vec<_> = all.into_iter().filter(|(_, text)| !text.is_empty()).collect();
        let path = format!("event/fire/{}", self.name);
        let fired = api.put(&path, &query, payload.as_bytes().to_vec()).await;
        let fired: Fired = fired.and_then(|answer| answer.json()).context("Error firing event")?;
        screen.say(format_args!("Event ID: {}", fired.id))?;
        Ok(DONE)
    }
}

/// The name of the agent's own node.
pub(super) async fn node_name(api: &Api) -> Result<String> {
    let own = api.get_json::<Value>("agent/self", &[]).await?;
    Ok(own["Config"]["NodeName"].as_str().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::fixture::play;

    #[test]
    fn an_event_is_fired() {
        let own = (200, r#"{"Config":{"NodeName":"n1"}}"#);
        let line = ["event", "-name=a/b", "-node=n", "-service=s", "-tag=t", "load"];
        let (code, out, _, asked) = play(&line, &[own, (200, r#"{"ID":"x"}"#)]);
        assert_eq!((code, out.as_str()), (0, "Event ID: x\n"));
        assert_eq!(asked[1], "PUT /v1/event/fire/a/b?node=n&service=s&tag=t load");
        let (code, _, err, _) = play(&["event", "-name=a"], &[own, (500, "no")]);
        let told = "Error firing event: Unexpected response code: 500 (no)\n";
        assert_eq!((code, err.as_str()), (1, told));
    }

    #[test]
    fn nonsense_is_named() {
        let table: [(&[&str], &str); 4] = [
            (&["event"], "Event name must be specified\n\n"),
            (&["event", "-name=x", "a", "b"], "Too many command line arguments.\n\n"),
            (
                &["event", "-name=x", "-tag=a"],
                "Cannot provide tag filter without service filter.\n",
            ),
            (
                &["event", "-name=x", "-node=("],
                "Failed to compile node filter regexp: error parsing",
            ),
        ];
        for (line, told) in table {
            let (code, out, err, _) = play(line, &[]);
            assert_eq!((code, out.as_str()), (1, ""), "{line:?}");
            assert!(err.starts_with(told), "{line:?}: {err}");
        }
    }
}
