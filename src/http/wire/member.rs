//! Members of the pool as JSON, with Serf's tags.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::model::Member;

/// Serf's protocol numbers, which old clients print.
const PROTOCOL: [u8; 3] = [1, 5, 2];
/// Serf's delegate numbers.
const DELEGATE: [u8; 3] = [2, 5, 4];

/// A member as `/v1/agent/members` shows it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::http) struct MemberJson<'a> {
    name: String,
    addr: &'a str,
    port: u16,
    tags: BTreeMap<String, String>,
    status: u8,
    protocol_min: u8,
    protocol_max: u8,
    protocol_cur: u8,
    delegate_min: u8,
    delegate_max: u8,
    delegate_cur: u8,
}

impl<'a> MemberJson<'a> {
    /// The member; `version` is this program's, for members that do not say theirs.
    pub(in crate::http) fn of(member: &'a Member, version: &str) -> Self {
        Self {
            name: member.name.clone(),
            addr: &member.address,
            port: member.port,
            tags: tags(member, version),
            status: member.status as u8,
            protocol_min: PROTOCOL[0],
            protocol_max: PROTOCOL[1],
            protocol_cur: PROTOCOL[2],
            delegate_min: DELEGATE[0],
            delegate_max: DELEGATE[1],
            delegate_cur: DELEGATE[2],
        }
    }

    /// The same as the pool of all data centers names it: `node.dc`, at that pool's port.
    pub(in crate::http) fn wide(member: &'a Member, version: &str, port: Option<u16>) -> Self {
        let name = format!("{}.{}", member.name, member.datacenter);
        let mut shown = Self { name, ..Self::of(member, version) };
        shown.port = port.unwrap_or_default();
        shown.tags.remove("wan_join_port");
        shown
    }
}

/// Consul's tags beside those that the member carries itself, which win.
fn tags(member: &Member, version: &str) -> BTreeMap<String, String> {
    let server = member.server_port > 0;
    let mut tags = member.tags.clone();
    let mut add = |name: &str, value: String| {
        tags.entry(name.to_owned()).or_insert(value);
    };
    add("role", if server { "consul" } else { "node" }.to_owned());
    add("dc", member.datacenter.clone());
    add("id", member.id.clone());
    add("build", format!("{version}:"));
    add("segment", String::new());
    add("acls", "0".to_owned());
    for (name, value) in [("vsn", "2"), ("vsn_min", "2"), ("vsn_max", "3")] {
        add(name, value.to_owned());
    }
    if server {
        add("port", member.server_port.to_string());
        add("raft_vsn", "3".to_owned());
        if member.expect > 1 {
            add("expect", member.expect.to_string());
        }
    }
    tags
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::json;
    use crate::model::MemberStatus;

    #[test]
    fn a_server_carries_serfs_tags() {
        let member = Member {
            id: "i".into(),
            name: "n".into(),
            address: "127.0.0.1".into(),
            port: 8301,
            server_port: 8300,
            datacenter: "dc1".into(),
            expect: 3,
            bootstrapped: false,
            tags: BTreeMap::new(),
            status: MemberStatus::Failed,
            generation: 1,
            raft: 0,
        };
        assert_eq!(
            String::from_utf8(json::bytes(&MemberJson::of(&member, "0.1.0"), false)).unwrap(),
            concat!(
                r#"{"Name":"n","Addr":"127.0.0.1","Port":8301,"Tags":{"acls":"0","#,
                r#""build":"0.1.0:","dc":"dc1","expect":"3","id":"i","port":"8300","#,
                r#""raft_vsn":"3","role":"consul","segment":"","vsn":"2","vsn_max":"3","#,
                r#""vsn_min":"2"},"Status":4,"ProtocolMin":1,"ProtocolMax":5,"ProtocolCur":2,"#,
                r#""DelegateMin":2,"DelegateMax":5,"DelegateCur":4}"#,
            )
        );
        let agent = Member { server_port: 0, ..member };
        let shown = MemberJson::wide(&agent, "0.1.0", Some(8302));
        assert_eq!((shown.name.as_str(), shown.tags["role"].as_str()), ("n.dc1", "node"));
        assert_eq!(shown.port, 8302);
    }
}
