//! `services`: registers services with the agent, from files or from flags.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Map, Value, json};

use super::screen::{DONE, Screen};
use super::target::Servers;
use crate::config::read_services;

/// Parts of names that the HTTP API writes in capitals.
const CAPITALS: &[&str] = &["id", "http", "tcp", "udp", "ttl", "tls", "grpc", "h2ping"];

/// Sections whose names are the user's own, and stay as they are.
const FREE: &[&str] =
    &["meta", "header", "tagged_addresses", "taggedaddresses", "proxy", "connect"];

/// Interact with services.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Services {
    Register(Box<Register>),
    Deregister(Box<Deregister>),
}

/// Register services with the local agent, from flags or from files in JSON or HCL.
#[derive(Debug, clap::Args)]
pub(super) struct Register {
    #[command(flatten)]
    at: Servers,
    /// Address of the service; the node's own if not given.
    #[arg(long, value_name = "address")]
    address: Option<String>,
    /// Id of the service; its name if not given.
    #[arg(long, value_name = "id")]
    id: Option<String>,
    /// Kind of the service.
    #[arg(long, value_name = "kind")]
    kind: Option<String>,
    /// Metadata; may be repeated.
    #[arg(long, value_name = "key=value")]
    meta: Vec<String>,
    /// Name of the service.
    #[arg(long, value_name = "name")]
    name: Option<String>,
    /// Port of the service.
    #[arg(long, value_name = "port")]
    port: Option<u16>,
    /// Tag of the service; may be repeated.
    #[arg(long, value_name = "tag")]
    tag: Vec<String>,
    /// Tagged address of the service, with or without a port; may be repeated.
    #[arg(long = "tagged-address", value_name = "key=address[:port]")]
    tagged_address: Vec<String>,
    #[arg(value_name = "FILE")]
    args: Vec<String>,
}

/// Deregister services from the local agent.
#[derive(Debug, clap::Args)]
pub(super) struct Deregister {
    #[command(flatten)]
    at: Servers,
    /// Id of the service.
    #[arg(long, value_name = "id")]
    id: Option<String>,
    #[arg(value_name = "FILE")]
    args: Vec<String>,
}

impl Services {
    pub(super) async fn run(self, screen: &mut Screen<'_>) -> Result<u8> {
        match self {
            Self::Register(register) => register.run(screen).await,
            Self::Deregister(deregister) => deregister.run(screen).await,
        }
    }
}

impl Register {
    async fn run(self, screen: &mut Screen<'_>) -> Result<u8> {
        let services = match (&self.name, self.args.as_slice()) {
            (None, []) => {
                return screen
                    .fail("Service registration requires at least one argument or flags.");
            }
            (_, []) => vec![self.flags_as_sent()?],
            (_, files) => read_all(files).context("Error")?,
        };
        let api = self.at.open()?;
        for service in services {
            let name = named(&service, "Name");
            let body = serde_json::to_vec(&service)?;
            let put = api.put("agent/service/register", &[], body).await;
            put.with_context(|| format!("Error registering service \"{name}\""))?;
            screen.say(format_args!("Registered service: {name}"))?;
        }
        Ok(DONE)
    }

    fn flags_as_sent(&self) -> Result<Value> {
        let mut service = Map::new();
        let mut set = |name: &str, value: Value| service.insert(name.to_owned(), value);
        for (name, text) in [
            ("ID", &self.id),
            ("Name", &self.name),
            ("Kind", &self.kind),
            ("Address", &self.address),
        ] {
            if let Some(text) = text {
                set(name, Value::from(text.clone()));
            }
        }
        if let Some(port) = self.port {
            set("Port", Value::from(port));
        }
        if !self.tag.is_empty() {
            set("Tags", json!(self.tag));
        }
        if !self.meta.is_empty() {
            set("Meta", json!(split_pairs("meta", &self.meta)?));
        }
        if !self.tagged_address.is_empty() {
            let pairs = split_pairs("tagged-address", &self.tagged_address)?;
            let addresses = pairs.into_iter().map(|(name, text)| (name, tagged(&text)));
            set("TaggedAddresses", Value::Object(addresses.collect()));
        }
        Ok(Value::Object(service))
    }
}

impl Deregister {
    async fn run(self, screen: &mut Screen<'_>) -> Result<u8> {
        let ids = match (&self.id, self.args.as_slice()) {
            (None, []) => {
                return screen
                    .fail("Service deregistration requires at least one argument or -id.");
            }
            (Some(_), [_, ..]) => {
                return screen.fail("Service deregistration requires arguments or -id, not both.");
            }
            (Some(id), []) => vec![id.clone()],
            (None, files) => {
                let services = read_all(files).context("Error")?;
                services.iter().map(id_of).collect()
            }
        };
        let api = self.at.open()?;
        for id in ids {
            let put = api.put(&format!("agent/service/deregister/{id}"), &[], Vec::new()).await;
            put.with_context(|| format!("Error deregistering service \"{id}\""))?;
            screen.say(format_args!("Deregistered service: {id}"))?;
        }
        Ok(DONE)
    }
}

fn read_all(files: &[String]) -> Result<Vec<Value>> {
    let mut services = Vec::new();
    for file in files {
        services.extend(read_services(Path::new(file))?.iter().map(as_sent));
    }
    Ok(services)
}

/// A definition from a file, with its names as the HTTP API has them.
fn as_sent(definition: &Value) -> Value {
    match definition {
        Value::Object(entries) => {
            let entries = entries.iter().map(|(name, value)| {
                if FREE.contains(&name.to_lowercase().as_str()) {
                    (camel(name), value.clone())
                } else {
                    (camel(name), as_sent(value))
                }
            });
            Value::Object(entries.collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(as_sent).collect()),
        other => other.clone(),
    }
}

/// `deregister_critical_service_after` as `DeregisterCriticalServiceAfter`.
fn camel(name: &str) -> String {
    let part = |part: &str| {
        if CAPITALS.contains(&part) {
            return part.to_uppercase();
        }
        let mut letters = part.chars();
        letters
            .next()
            .map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
    };
    name.split('_').map(part).collect()
}

fn named(service: &Value, key: &str) -> String {
    service.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn id_of(service: &Value) -> String {
    match named(service, "ID") {
        id if id.is_empty() => named(service, "Name"),
        id => id,
    }
}

fn split_pairs(flag: &str, pairs: &[String]) -> Result<BTreeMap<String, String>> {
    let split = pairs.iter().map(|pair| {
        let halves = pair.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
        halves
            .with_context(|| format!("invalid value {pair:?} for flag -{flag}: expected key=value"))
    });
    split.collect()
}

fn tagged(text: &str) -> Value {
    let halves =
        text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
    match halves {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
            json!({"Address": host.trim_matches(['[', ']']), "Port": port})
        }
        _ => json!({"Address": text, "Port": 0}),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::play;

    #[test]
    fn flags_and_files_become_registrations() {
        let line = [
            "services",
            "register",
            "-name=w",
            "-port=9",
            "-tag=a",
            "-tag=b",
            "-meta=k=v=w",
            "-tagged-address=lan=1.2.3.4:5",
        ];
        let (code, out, _, asked) = play(&line, &[(200, "")]);
        assert_eq!((code, out.as_str()), (0, "Registered service: w\n"));
        let body = [
            r#"{"Name":"w","Port":9,"Tags":["a","b"],"Meta":{"k":"v=w"},"#,
            r#""TaggedAddresses":{"lan":{"Address":"1.2.3.4","Port":5}}}"#,
        ]
        .concat();
        assert_eq!(asked, [format!("PUT /v1/agent/service/register {body}")]);

        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("s.hcl");
        std::fs::write(
            &file,
            "service { id = \"w1\" name = \"w\" meta { a_b = \"c\" }\n\
            check { tls_skip_verify = true deregister_critical_service_after = \"90m\" } }",
        )
        .unwrap();
        let name = file.to_str().unwrap();
        let (code, out, _, asked) = play(&["services", "register", name], &[(200, "")]);
        assert_eq!((code, out.as_str()), (0, "Registered service: w\n"));
        let body = [
            r#"{"ID":"w1","Name":"w","Meta":{"a_b":"c"},"#,
            r#""Check":{"TLSSkipVerify":true,"DeregisterCriticalServiceAfter":"90m"}}"#,
        ]
        .concat();
        assert_eq!(asked, [format!("PUT /v1/agent/service/register {body}")]);
        let (code, out, _, asked) = play(&["services", "deregister", name], &[(200, "")]);
        assert_eq!((code, out.as_str()), (0, "Deregistered service: w1\n"));
        assert_eq!(asked, ["PUT /v1/agent/service/deregister/w1"]);
        let (code, _, err, _) = play(&["services", "register"], &[]);
        let told = "Service registration requires at least one argument or flags.\n";
        assert_eq!((code, err.as_str()), (1, told));
    }
}
