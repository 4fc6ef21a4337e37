//! Questions to every member, and their answers: today those about the keys of the pool.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::identity::Identity;
use crate::model::Member;
use crate::seal::Keyring;

/// What is done to the keyring of every member. Keys are in base64.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyVerb {
    /// Tells the keys.
    List,
    /// Adds a key, which is then good for reading.
    Install(String),
    /// Encrypts with this key, which must be installed, from now on.
    Use(String),
    /// Forgets a key, which must not be in use.
    Remove(String),
}

/// A question on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Question {
    /// Random.
    pub(super) id: u64,
    /// Who is to be answered.
    pub(super) from: Identity,
    /// What is asked.
    pub(super) verb: KeyVerb,
}

/// One member's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Answer {
    /// To which question.
    pub(super) question: u64,
    /// The member's id.
    pub(super) member: String,
    /// Its keys, the one in use first, where they were asked for; or why it failed.
    pub(super) outcome: Result<Vec<String>, String>,
}

/// What members said that answered in time.
#[derive(Clone, Debug, Default)]
pub struct KeyReport {
    /// Who was asked, by name.
    pub members: Vec<Arc<Member>>,
    /// The answers by the members' ids: the keys, the one in use first, where they were asked
    /// for; or why it failed.
    pub answers: BTreeMap<String, Result<Vec<String>, String>>,
}

impl KeyReport {
    /// The same of some of the members.
    #[must_use]
    pub fn of(&self, which: impl Fn(&Member) -> bool) -> Self {
        let members: Vec<_> = self.members.iter().filter(|m| which(m)).cloned().collect();
        let said = |member: &Arc<Member>| {
            self.answers.get(&member.id).map(|answer| (member.id.clone(), answer.clone()))
        };
        let answers = members.iter().filter_map(said).collect();
        Self { members, answers }
    }

    /// Why some failed, by their names.
    pub fn failed(&self) -> Vec<(&str, &str)> {
        let mut failed = Vec::new();
        for member in &self.members {
            if let Some(Err(why)) = self.answers.get(&member.id) {
                failed.push((member.name.as_str(), why.as_str()));
            }
        }
        failed
    }

    /// How many members have each key, and how many use each.
    pub fn keys(&self) -> (BTreeMap<&str, usize>, BTreeMap<&str, usize>) {
        let (mut all, mut primary) = (BTreeMap::new(), BTreeMap::new());
        for keys in self.answers.values().flatten() {
            if let Some(first) = keys.first() {
                *primary.entry(first.as_str()).or_default() += 1;
            }
            for key in keys {
                *all.entry(key.as_str()).or_default() += 1;
            }
        }
        (all, primary)
    }
}

/// Does what is asked to this member's keyring.
pub(super) fn carry_out(verb: &KeyVerb, keyring: &Keyring) -> Result<Vec<String>, String> {
    if !keyring.is_on() {
        let why = match verb {
            KeyVerb::List => "Keyring is empty (encryption not enabled)",
            _ => "No keyring to modify (encryption not enabled)",
        };
        return Err(why.to_owned());
    }
    let done = match verb {
        KeyVerb::List => return Ok(keyring.keys()),
        KeyVerb::Install(key) => keyring.install(key),
        KeyVerb::Use(key) => keyring.use_key(key),
        KeyVerb::Remove(key) => keyring.remove(key),
    };
    done.map(|()| Vec::new()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::MemberStatus;

    fn member(name: &str, server_port: u16) -> Arc<Member> {
        Arc::new(Member {
            id: format!("id-{name}"),
            name: name.to_owned(),
            address: "10.0.0.1".to_owned(),
            port: 8301,
            server_port,
            datacenter: "dc1".to_owned(),
            expect: 0,
            bootstrapped: false,
            tags: BTreeMap::new(),
            status: MemberStatus::Alive,
            generation: 1,
            raft: 0,
        })
    }

    #[test]
    fn answers_are_counted_also_of_some() {
        let keys = |keys: &[&str]| Ok(keys.iter().map(|key| (*key).to_owned()).collect());
        let report = KeyReport {
            members: vec![member("a", 1), member("b", 0), member("c", 1), member("d", 0)],
            answers: BTreeMap::from([
                ("id-a".to_owned(), keys(&["k1", "k2"])),
                ("id-b".to_owned(), keys(&["k2"])),
                ("id-c".to_owned(), Err("no".to_owned())),
            ]),
        };
        let both = (BTreeMap::from([("k1", 1), ("k2", 2)]), BTreeMap::from([("k1", 1), ("k2", 1)]));
        assert_eq!(report.keys(), both);
        assert_eq!(report.failed(), [("c", "no")]);
        let servers = report.of(|member| member.server_port > 0);
        assert_eq!((servers.members.len(), servers.answers.len()), (2, 2));
        assert_eq!(servers.keys().1, BTreeMap::from([("k1", 1)]));
    }

    #[test]
    fn without_keys_nothing_can_be_done() {
        for (verb, why) in [
            (KeyVerb::List, "Keyring is empty (encryption not enabled)"),
            (KeyVerb::Use(String::new()), "No keyring to modify (encryption not enabled)"),
        ] {
            assert_eq!(carry_out(&verb, &Keyring::off()), Err(why.to_owned()));
        }
    }
}
