//! What a member lacks in the catalog (pure), and the words that the leader writes there.

use std::collections::BTreeMap;

use crate::model::{
    Check, CheckStatus, CheckUpdate, Member, MemberStatus, Node, NodeServices, Registration,
    Service,
};

/// The check that says what failure detection thinks of a node. Clients know the name.
pub(super) const HEALTH: &str = "serfHealth";
/// What it says of a member that answers.
const ALIVE: &str = "Agent alive and reachable";
/// What it says of one that does not.
const FAILED: &str = "Agent not live or unreachable";
/// The service that every server is an instance of.
const SERVERS: &str = "consul";

/// What the catalog has of a name.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    /// The node with its instances.
    pub(super) node: Option<NodeServices>,
    /// The verdict of its agent check.
    pub(super) health: Option<CheckStatus>,
}

/// What is to be done with the node of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// Nothing.
    None,
    /// Enters what the catalog lacks. `after` is the id of the node that had the name before.
    Enter { registration: Box<Registration>, after: Option<String> },
    /// The name is another's, whom the pool does not know, or not for long enough.
    Wait,
    /// Its agent check turns critical.
    Fail,
    /// The node goes.
    Remove,
}

/// What is to be done for `member`, who holds its name. `gone` says of an id that no member with
/// it takes part, surely.
pub(super) fn deed(member: &Member, known: &Known, gone: impl Fn(&str) -> bool) -> Deed {
    let holder = known.node.as_ref().map(|known| known.node.id.as_str());
    let own = holder.is_some_and(|id| id.is_empty() || id.eq_ignore_ascii_case(&member.id));
    match member.status {
        MemberStatus::Left if holder == Some(member.id.as_str()) => Deed::Remove,
        MemberStatus::Failed if own && known.health == Some(CheckStatus::Passing) => Deed::Fail,
        MemberStatus::Leaving | MemberStatus::Left | MemberStatus::Failed => Deed::None,
        MemberStatus::Alive if own || holder.is_none() => enter(member, known, None),
        MemberStatus::Alive => match holder {
            Some(id) if !gone(id) => Deed::Wait,
            other => enter(member, known, other.map(str::to_owned)),
        },
    }
}

fn enter(member: &Member, known: &Known, after: Option<String>) -> Deed {
    // The store gives a name away once its holder is not alive.
    if after.is_some() && known.health == Some(CheckStatus::Passing) {
        return Deed::Fail;
    }
    match registration(member, known) {
        Some(registration) => Deed::Enter { registration: Box::new(registration), after },
        None => Deed::None,
    }
}

/// The agent check of a node, critical.
pub(super) fn critical(node: &str) -> CheckUpdate {
    CheckUpdate {
        node: node.to_owned(),
        check: HEALTH.to_owned(),
        status: CheckStatus::Critical,
        output: FAILED.to_owned(),
    }
}

/// Whether a registration by the leader leaves the node's own record as it is. One that enters
/// itself meanwhile says more of itself than the leader knows, so an absent one is left to it too:
/// such a registration makes the record only where there is none when it is applied.
fn leaves_node(known: Option<&Node>, member: &Member) -> bool {
    known.is_none_or(|known| is_of(known, member))
}

fn is_of(node: &Node, member: &Member) -> bool {
    node.id == member.id && node.address == member.address
}

/// What the catalog lacks of a living member; nothing when it has all.
fn registration(member: &Member, known: &Known) -> Option<Registration> {
    let record = known.node.as_ref();
    let node_known = record.is_some_and(|known| is_of(&known.node, member));
    let service_known = member.server_port == 0
        || record
            .iter()
            .flat_map(|known| &known.services)
            .any(|service| service.id == SERVERS && service.port == member.server_port);
    let healthy = known.health == Some(CheckStatus::Passing);
    if node_known && service_known && healthy {
        return None;
    }
    let service = (member.server_port != 0).then(|| Service {
        id: SERVERS.to_owned(),
        name: SERVERS.to_owned(),
        port: member.server_port,
        meta: BTreeMap::from([
            ("raft_version".to_owned(), "3".to_owned()),
            ("version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ]),
        ..Service::default()
    });
    let check = Check {
        id: HEALTH.to_owned(),
        name: "Serf Health Status".to_owned(),
        status: CheckStatus::Passing,
        output: ALIVE.to_owned(),
        ..Check::default()
    };
    let addresses = ["lan", "lan_ipv4", "wan", "wan_ipv4"];
    let node = Node {
        id: member.id.clone(),
        name: member.name.clone(),
        address: member.address.clone(),
        datacenter: member.datacenter.clone(),
        tagged_addresses: addresses
            .iter()
            .map(|purpose| ((*purpose).to_owned(), member.address.clone()))
            .collect(),
        meta: BTreeMap::new(),
        ..Node::default()
    };
    let skip_node_update = leaves_node(record.map(|known| &*known.node), member);
    Some(Registration { node, skip_node_update, service, checks: vec![check] })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::names::tests::member;
    use super::*;

    fn node(id: &str, address: &str) -> Node {
        Node { id: id.into(), address: address.into(), name: "n1".into(), ..Node::default() }
    }

    #[test]
    fn a_node_that_enters_itself_is_not_overwritten() {
        let member =
            Member { address: "10.0.0.1".to_owned(), ..member("aa", "n1", 1, MemberStatus::Alive) };
        for (known, leaves) in [
            (None, true),
            (Some(node("aa", "10.0.0.1")), true),
            (Some(node("aa", "10.0.0.9")), false),
            (Some(node("bb", "10.0.0.1")), false),
        ] {
            assert_eq!(leaves_node(known.as_ref(), &member), leaves, "{known:?}");
        }
    }

    /// Whose node the catalog has, if any; what its check says; the member's state; whether the
    /// node's owner is gone; what is done.
    #[test]
    fn a_name_is_taken_over_once_its_holder_is_gone() {
        use CheckStatus::{Critical, Passing};
        use MemberStatus::{Alive, Failed, Leaving, Left};
        for (holder, health, status, gone, want) in [
            (None, None, Alive, false, "enter"),
            (Some("bb"), Some(Passing), Alive, false, "none"),
            (Some("BB"), Some(Critical), Alive, false, "enter"),
            (Some(""), Some(Passing), Alive, false, "enter"),
            (Some("aa"), Some(Passing), Alive, false, "wait"),
            (Some("aa"), Some(Critical), Alive, false, "wait"),
            (Some("aa"), Some(Passing), Alive, true, "fail"),
            (Some("aa"), Some(Critical), Alive, true, "enter after aa"),
            (Some("aa"), None, Alive, true, "enter after aa"),
            (Some("bb"), Some(Passing), Failed, false, "fail"),
            (Some("bb"), Some(Critical), Failed, false, "none"),
            (Some("aa"), Some(Passing), Failed, true, "none"),
            (Some("bb"), Some(Passing), Left, false, "remove"),
            (Some("aa"), Some(Passing), Left, true, "none"),
            (None, None, Left, false, "none"),
            (Some(""), Some(Passing), Left, false, "none"),
            (Some("bb"), Some(Passing), Leaving, false, "none"),
        ] {
            let mut member = member("bb", "n1", 1, status);
            member.server_port = 0;
            let record = holder.map(|id| NodeServices {
                node: Arc::new(node(id, &member.address)),
                services: Vec::new(),
            });
            let known = Known { node: record, health: health.clone() };
            let done = match deed(&member, &known, |id| {
                assert_eq!(id, "aa");
                gone
            }) {
                Deed::None => "none".to_owned(),
                Deed::Enter { after: None, .. } => "enter".to_owned(),
                Deed::Enter { after: Some(id), .. } => format!("enter after {id}"),
                Deed::Wait => "wait".to_owned(),
                Deed::Fail => "fail".to_owned(),
                Deed::Remove => "remove".to_owned(),
            };
            assert_eq!(done, want, "{holder:?} {health:?} {status:?} {gone}");
        }
    }
}
