//! The services and checks that the configuration names: read as a whole before any is claimed,
//! and taken back once the configuration names them no more, also over a restart.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use futures::future::try_join_all;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{NodeError, identity};
use crate::agent::{Agent, AgentError, CheckSpec, ReplaceChecks, Scripts};
use crate::config::Config;
use crate::http;
use crate::model::Service;

/// What a configuration names, understood.
#[derive(Debug)]
pub(super) struct Configured {
    services: Vec<(Service, Vec<CheckSpec>)>,
    checks: Vec<CheckSpec>,
}

/// The ids that came from a configuration, as they are kept in the data folder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Ids {
    services: BTreeSet<String>,
    checks: BTreeSet<String>,
}

impl Configured {
    /// Reads the definitions of a configuration; claims nothing. `scripts` is what the agent lets
    /// run: what the configuration says of that is in force only after a restart.
    ///
    /// # Errors
    ///
    /// The first that cannot be understood, or that runs a program and must not.
    pub(super) fn read(config: &Config, scripts: Scripts) -> Result<Self, NodeError> {
        if !config.watches.is_empty() && config.ports.http.is_none() {
            let why = "watch plans require an HTTP or HTTPS endpoint";
            return Err(NodeError::Config(why.to_owned()));
        }
        let mut read = Self { services: Vec::new(), checks: Vec::new() };
        for definition in &config.services {
            let (service, checks) =
                http::parse_service(definition).map_err(|why| refused(definition, &why))?;
            for check in &checks {
                scripts.judge(check).map_err(|why| refused(definition, &why.to_string()))?;
            }
            read.services.push((service, checks));
        }
        for definition in &config.checks {
            let check = http::parse_check(definition).map_err(|why| refused(definition, &why))?;
            if check.check.name.is_empty() {
                return Err(refused(definition, "Missing check name"));
            }
            scripts.judge(&check).map_err(|why| refused(definition, &why.to_string()))?;
            read.checks.push(check);
        }
        Ok(read)
    }

    /// Claims all of it, and takes back what an earlier configuration named and this one does not.
    ///
    /// The ids are kept before anything is claimed, so that a crash midway leaves nothing behind
    /// that the next start would not find.
    ///
    /// # Errors
    ///
    /// If the ids cannot be kept, or the agent refuses one; what was done before stays done.
    pub(super) async fn claim(self, agent: &Agent, dir: &Path) -> Result<(), NodeError> {
        let path = dir.join("configured.json");
        let (old, new) = (load(&path)?, self.ids());
        let refused = |error: AgentError| NodeError::Config(error.to_string());
        if old != new {
            keep(&path, dir, &old.and(&new))?;
        }
        for id in old.services.difference(&new.services) {
            gone(agent.deregister_service(id).await).map_err(refused)?;
        }
        for id in old.checks.difference(&new.checks) {
            gone(agent.deregister_check(id).await).map_err(refused)?;
        }
        // Together, for each waits a second for its push where there is no leader yet.
        let services = self
            .services
            .into_iter()
            .map(|(service, checks)| agent.register_service(service, checks, ReplaceChecks::Yes));
        try_join_all(services).await.map_err(refused)?;
        let checks = self.checks.into_iter().map(|check| agent.register_check(check));
        try_join_all(checks).await.map_err(refused)?;
        if old == new { Ok(()) } else { keep(&path, dir, &new) }
    }

    fn ids(&self) -> Ids {
        let id = |id: &String, name: &String| if id.is_empty() { name } else { id }.clone();
        let services = self.services.iter().map(|(service, _)| id(&service.id, &service.name));
        let checks = self.checks.iter().map(|spec| id(&spec.check.id, &spec.check.name));
        Ids { services: services.collect(), checks: checks.collect() }
    }
}

impl Ids {
    /// Those of both.
    fn and(&self, other: &Self) -> Self {
        Self { services: &self.services | &other.services, checks: &self.checks | &other.checks }
    }
}

/// Says which definition is refused, by its name or id alone: the rest may hold secrets.
fn refused(definition: &Value, why: &str) -> NodeError {
    let word = |key: &str| {
        let fields = definition.as_object().into_iter().flatten();
        let found = fields.filter(|(name, _)| name.eq_ignore_ascii_case(key));
        found.filter_map(|(_, value)| value.as_str()).find(|text| !text.is_empty())
    };
    let name = word("name").or_else(|| word("id")).unwrap_or_default();
    NodeError::Config(format!("definition \"{name}\": {why}"))
}

/// What is not there is gone as well: a caller of the API may have taken it away.
fn gone(outcome: Result<(), AgentError>) -> Result<(), AgentError> {
    match outcome {
        Err(AgentError::UnknownService(_) | AgentError::UnknownCheck(_)) => Ok(()),
        other => other,
    }
}

fn load(path: &Path) -> Result<Ids, NodeError> {
    let failed = |why: String| NodeError::File(PathBuf::from(path), why);
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| failed(error.to_string())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Ids::default()),
        Err(error) => Err(failed(error.to_string())),
    }
}

fn keep(path: &Path, dir: &Path, ids: &Ids) -> Result<(), NodeError> {
    let text = serde_json::to_string(ids).expect("ids are plain text");
    let kept = identity::keep(path, dir, &text);
    kept.map_err(|error| NodeError::File(path.to_owned(), error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::super::options;
    use super::*;

    /// A configuration of these words.
    fn config(told: &str) -> Config {
        Config::load(&["-dev", "-hcl", told].map(str::to_owned)).unwrap()
    }

    /// What is wrong with a configuration of these definitions, at the start.
    fn wrong(told: &str) -> String {
        let config = config(told);
        let read = Configured::read(&config, options::scripts(&config));
        read.err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn bad_definitions_are_named_and_programs_are_allowed_first() {
        let off = "definition \"a\": Scripts are disabled on this agent; to enable, configure \
                   'enable_script_checks' or 'enable_local_script_checks' to true";
        let script = r#"check { name = "a" args = ["true"] interval = "1s" }"#;
        assert_eq!(wrong(script), off);
        let of_service = r#"service { name = "a" check { args = ["true"] interval = "1s" } }"#;
        assert_eq!(wrong(of_service), off);
        for allowed in ["enable_script_checks = true", "enable_local_script_checks = true"] {
            assert_eq!(wrong(&format!("{allowed}\n{script}")), "");
        }
        let secret = r#"check { id = "b" http = "x" header { a = ["secret"] } }"#;
        let text = wrong(secret);
        assert!(text.starts_with("definition \"b\": Invalid check: Interval must be"), "{text}");
        assert!(!text.contains("secret"), "{text}");
        let watch = r#"watches = [{ type = "nodes" args = ["true"] }]"#;
        assert_eq!(wrong(watch), "");
        let deaf = "watch plans require an HTTP or HTTPS endpoint";
        assert_eq!(wrong(&format!("{watch}\nports {{ http = -1 }}")), deaf);
        assert_eq!(wrong(r#"check { ttl = "1s" }"#), "definition \"\": Missing check name");
    }

    #[test]
    fn a_reload_is_refused_where_programs_may_run_after_a_restart_only() {
        let told = r#"enable_script_checks = true
            check { name = "a" args = ["true"] interval = "1s" }"#;
        let error = Configured::read(&config(told), Scripts::Off).unwrap_err().to_string();
        assert!(error.starts_with("definition \"a\": Scripts are disabled"), "{error}");
        assert!(Configured::read(&config(told), Scripts::FromFiles).is_ok());
    }

    #[test]
    fn ids_are_kept_and_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("configured.json");
        assert_eq!(load(&path).unwrap(), Ids::default());
        let ids = Ids { services: ["a".to_owned()].into(), checks: ["c".to_owned()].into() };
        keep(&path, dir.path(), &ids).unwrap();
        assert_eq!(load(&path).unwrap(), ids);
        std::fs::write(&path, "{").unwrap();
        assert!(load(&path).is_err());
    }
}
