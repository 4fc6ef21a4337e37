//! `keyring`: the keys that encrypt the pool's talk.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use super::membership::usage;
use super::screen::{DONE, Screen};
use super::target::Target;

/// Most nodes that relay an answer. Source: Consul HTTP API, "Keyring".
const RELAY_FACTOR_MAX: i64 = 5;

/// Manages gossip layer encryption keys.
#[derive(Debug, clap::Args)]
pub(super) struct Keyring {
    #[command(flatten)]
    at: Target,
    /// Install this key on all members.
    #[arg(long, value_name = "string", default_value = "")]
    install: String,
    /// List the keys in use.
    #[arg(long)]
    list: bool,
    /// List the primary keys in use.
    #[arg(long = "list-primary")]
    list_primary: bool,
    /// Ask only the servers of this datacenter; for lists.
    #[arg(long = "local-only")]
    local_only: bool,
    /// Let answers come back through this many other nodes, at most 5.
    #[arg(
        long = "relay-factor",
        value_name = "int",
        default_value_t = 0,
        allow_negative_numbers = true
    )]
    relay_factor: i64,
    /// Remove this key; not the primary one.
    #[arg(long, value_name = "string", default_value = "")]
    remove: String,
    /// Make this installed key the primary one.
    #[arg(long = "use", value_name = "string", default_value = "")]
    make_primary: String,
    #[arg(hide = true)]
    args: Vec<String>,
}

/// The keys of one pool.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Ring {
    #[serde(rename = "WAN")]
    wan: bool,
    datacenter: String,
    #[serde(default)]
    segment: String,
    messages: Option<BTreeMap<String, String>>,
    keys: BTreeMap<String, u32>,
    #[serde(default)]
    primary_keys: BTreeMap<String, u32>,
    num_nodes: u32,
}

impl Keyring {
    pub(super) async fn run(self, screen: &mut Screen<'_>) -> Result<u8> {
        let changes = [
            (Method::POST, &self.install, "Installing new gossip encryption key..."),
            (Method::PUT, &self.make_primary, "Changing primary gossip encryption key..."),
            (Method::DELETE, &self.remove, "Removing gossip encryption key..."),
        ];
        let changes: Vec<_> = changes.into_iter().filter(|(_, key, _)| !key.is_empty()).collect();
        match changes.len() + usize::from(self.list) + usize::from(self.list_primary) {
            0 => return usage(screen, "keyring"),
            1 => {}
            _ => return screen.fail("Only a single action is allowed"),
        }
        if !(0..=RELAY_FACTOR_MAX).contains(&self.relay_factor) {
            return screen.fail(format_args!(
                "Error parsing relay factor: Relay factor must be in range: [0, {RELAY_FACTOR_MAX}]"
            ));
        }
        if self.local_only && !changes.is_empty() {
            return screen
                .fail("Error validating local-only: local-only can only be set for list requests");
        }
        let relay = self.relay_factor.to_string();
        let mut query = Vec::new();
        if self.relay_factor > 0 {
            query.push(("relay-factor", relay.as_str()));
        }
        let api = self.at.open()?;
        if let Some((method, key, doing)) = changes.into_iter().next() {
            screen.say(format_args!("==> {doing}"))?;
            let body = serde_json::to_vec(&json!({"Key": key}))?;
            let done = api.send(method, "operator/keyring", &query, body).await;
            done.and_then(super::api::Answer::expect_ok).context("error")?;
            return Ok(DONE);
        }
        if self.local_only {
            query.push(("local-only", "true"));
        }
        let which = if self.list_primary { "primary encryption keys" } else { "encryption keys" };
        screen.say(format_args!("==> Gathering installed {which}..."))?;
        let rings = api.get_json::<Vec<Ring>>("operator/keyring", &query).await;
        for ring in rings.context("error")? {
            let keys = if self.list_primary { &ring.primary_keys } else { &ring.keys };
            screen.say(shown(&ring, keys))?;
        }
        Ok(DONE)
    }
}

fn shown(ring: &Ring, keys: &BTreeMap<String, u32>) -> String {
    let pool = if ring.wan { "WAN".to_owned() } else { format!("{} (LAN)", ring.datacenter) };
    let segment = match ring.segment.as_str() {
        "" => String::new(),
        segment => format!(" [{segment}]"),
    };
    let mut lines = vec![format!("\n{pool}{segment}:")];
    let messages = ring.messages.iter().flatten();
    lines.extend(messages.map(|(node, message)| format!("  ===> {node}: {message}")));
    let of = ring.num_nodes;
    lines.extend(keys.iter().map(|(key, count)| format!("  {key} [{count}/{of}]")));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::super::fixture::play;

    #[test]
    fn keys_are_listed_and_changed() {
        let rings = r#"[
            {"WAN":true,"Datacenter":"dc1","Segment":"","Keys":{"a=":1,"b=":2},"PrimaryKeys":{"a=":2},"NumNodes":2},
            {"WAN":false,"Datacenter":"dc1","Segment":"","Keys":{"a=":2},"PrimaryKeys":{},"NumNodes":2}]"#;
        let (code, out, _, asked) = play(&["keyring", "-list", "-local-only"], &[(200, rings)]);
        let shown = "==> Gathering installed encryption keys...\n\nWAN:\n  a= [1/2]\n  b= [2/2]\n\n\
                     dc1 (LAN):\n  a= [2/2]\n";
        assert_eq!((code, out.as_str()), (0, shown));
        assert_eq!(asked, ["GET /v1/operator/keyring?local-only=true"]);
        let (_, out, _, _) = play(&["keyring", "-list-primary"], &[(200, rings)]);
        assert!(
            out.starts_with(
                "==> Gathering installed primary encryption keys...\n\nWAN:\n  a= [2/2]"
            )
        );
        for (flag, method) in [("-install=k", "POST"), ("-use=k", "PUT"), ("-remove=k", "DELETE")] {
            let line = ["keyring", "-relay-factor=2", flag];
            let (code, out, _, asked) = play(&line, &[(200, "")]);
            assert!(code == 0 && out.starts_with("==> "), "{out}");
            let want = format!(r#"{method} /v1/operator/keyring?relay-factor=2 {{"Key":"k"}}"#);
            assert_eq!(asked, [want]);
        }
        let (code, _, err, _) = play(&["keyring", "-use=x"], &[(500, "no")]);
        assert_eq!((code, err.as_str()), (1, "error: Unexpected response code: 500 (no)\n"));
    }

    #[test]
    fn nonsense_is_named() {
        let table: [(&[&str], &str); 4] = [
            (&["keyring"], "Manages gossip layer encryption keys"),
            (&["keyring", "-list", "-use=x"], "Only a single action is allowed\n"),
            (
                &["keyring", "-list", "-relay-factor=6"],
                "Error parsing relay factor: Relay factor must be in range: [0, 5]\n",
            ),
            (
                &["keyring", "-use=x", "-local-only"],
                "Error validating local-only: local-only can only be set for list requests\n",
            ),
        ];
        for (line, told) in table {
            let (code, _, err, _) = play(line, &[]);
            assert!(code == 1 && err.starts_with(told), "{line:?}: {err}");
        }
    }
}
