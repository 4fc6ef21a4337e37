//! The catalog and Raft's membership at Consul's door.

use serde_json::{Value, json};

use crate::history::{Answer, Instance, Level};

use super::client::Trouble;
use super::consul::{ConsulClient, INDEX, LAST_CONTACT, json_of, level_word, strange};

/// Where the nodes of registered instances are said to be; nobody goes there.
const ELSEWHERE: &str = "10.99.0.1";

impl ConsulClient {
    pub(super) async fn register(
        &mut self,
        service: &str,
        instance: &Instance,
    ) -> Result<Answer, Trouble> {
        let Instance { node, id, port, passing } = instance;
        let status = if *passing { "passing" } else { "critical" };
        let body = json!({
            "Node": node,
            "Address": ELSEWHERE,
            "Service": { "ID": id, "Service": service, "Port": port },
            "Check": {
                "CheckID": format!("{id}-fit"), "Name": "fit", "ServiceID": id, "Status": status
            },
        });
        let response = self.put("/v1/catalog/register", &body).await?;
        Ok(Answer::Written { revision: response.number(INDEX) })
    }

    pub(super) async fn deregister(&mut self, node: &str, id: &str) -> Result<Answer, Trouble> {
        let body = json!({ "Node": node, "ServiceID": id });
        self.put("/v1/catalog/deregister", &body).await?;
        // It may have changed nothing, so that the index would be another change's.
        Ok(Answer::Written { revision: None })
    }

    pub(super) async fn lookup(&mut self, service: &str, level: Level) -> Result<Answer, Trouble> {
        let path = format!("/v1/health/service/{service}?{}", level_word(level));
        let response = self.get(&path).await?;
        let json = json_of(&response)?;
        let all = json.as_array().ok_or_else(|| strange("no list", &response))?;
        let instances: Option<Vec<Instance>> = all.iter().map(instance).collect();
        let mut instances = instances.ok_or_else(|| strange("no instances", &response))?;
        instances.sort_by(|one, other| (&one.id, &one.node).cmp(&(&other.id, &other.node)));
        Ok(Answer::Instances {
            instances,
            store: response.number(INDEX),
            age: response.number(LAST_CONTACT),
        })
    }

    pub(super) async fn members(&mut self, level: Level) -> Result<Answer, Trouble> {
        // The leader is asked unless it is said that any server may answer.
        let stale = if level == Level::Stale { "stale" } else { "" };
        let response = self.get(&format!("/v1/operator/raft/configuration?{stale}")).await?;
        let json = json_of(&response)?;
        let servers = json["Servers"].as_array();
        let servers = servers.ok_or_else(|| strange("no servers", &response))?;
        let named = |server: &Value| server["Node"].as_str().map(str::to_owned);
        let those = |votes: bool| -> Vec<String> {
            let mut names: Vec<String> = servers
                .iter()
                .filter(|one| (one["Voter"] == true) == votes)
                .filter_map(named)
                .collect();
            names.sort();
            names
        };
        Ok(Answer::Membership {
            index: json["Index"].as_u64().filter(|index| *index != 0),
            voters: those(true),
            learners: those(false),
            leader: servers.iter().find(|server| server["Leader"] == true).and_then(named),
        })
    }
}

fn instance(json: &Value) -> Option<Instance> {
    let checks = json["Checks"].as_array()?;
    Some(Instance {
        node: json["Node"]["Node"].as_str()?.to_owned(),
        id: json["Service"]["ID"].as_str()?.to_owned(),
        port: u16::try_from(json["Service"]["Port"].as_u64()?).ok()?,
        passing: checks.iter().all(|check| check["Status"] == "passing"),
    })
}
