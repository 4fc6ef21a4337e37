//! Who stands for a name: members may come with a name that another one has, or had (pure).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::{Member, MemberStatus};

/// Whether a member takes part. One that is about to leave still does.
pub(super) fn is_there(member: &Member) -> bool {
    matches!(member.status, MemberStatus::Alive | MemberStatus::Leaving)
}

/// The form in which names are compared.
pub(super) fn folded(name: &str) -> String {
    name.to_lowercase()
}

/// All members, sorted by what they are for their name.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// One for each name.
    pub(super) holders: Vec<Arc<Member>>,
    /// Living ones whose name another living one has, each with that one.
    pub(super) refused: Vec<(Arc<Member>, Arc<Member>)>,
}

impl Names {
    /// Sorts `members`. `known` is the id under which the catalog has a name; it is asked only
    /// where several living members want the same.
    ///
    /// A living member goes before those that are gone. Of several living ones the one that the
    /// catalog has keeps its name; else the one that came first.
    pub(super) fn of(members: &[Arc<Member>], known: impl Fn(&str) -> Option<String>) -> Self {
        let mut by_name: BTreeMap<String, Vec<&Arc<Member>>> = BTreeMap::new();
        for member in members {
            by_name.entry(folded(&member.name)).or_default().push(member);
        }
        let mut names = Self::default();
        for (name, group) in by_name {
            let mut living: Vec<_> = group.iter().copied().filter(|m| is_there(m)).collect();
            let holder = match living.len() {
                0 => group.into_iter().max_by_key(|m| (m.generation, &m.id)),
                1 => living.pop(),
                _ => {
                    let id = known(&name);
                    living.sort_by_key(|m| (Some(&m.id) != id.as_ref(), m.generation, &m.id));
                    Some(living.remove(0))
                }
            };
            let Some(holder) = holder else { continue };
            let refused = living.into_iter().filter(|m| m.id != holder.id);
            names.refused.extend(refused.map(|m| (Arc::clone(m), Arc::clone(holder))));
            names.holders.push(Arc::clone(holder));
        }
        names
    }

    /// Whether a member is refused.
    pub(super) fn refuses(&self, member: &Member) -> bool {
        self.refused.iter().any(|(refused, _)| refused.id == member.id)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A server of this id, name and number.
    pub(in crate::replica::autopilot) fn member(
        id: &str,
        name: &str,
        raft: u64,
        status: MemberStatus,
    ) -> Member {
        Member {
            id: id.to_owned(),
            name: name.to_owned(),
            address: format!("10.0.0.{raft}"),
            port: 8301,
            server_port: 8300,
            datacenter: "dc1".to_owned(),
            expect: 0,
            bootstrapped: true,
            tags: BTreeMap::new(),
            status,
            generation: raft,
            raft,
        }
    }

    /// Members (id, generation, status), what the catalog knows, who holds, who is refused.
    type Row = (
        &'static [(&'static str, u64, MemberStatus)],
        Option<&'static str>,
        &'static str,
        &'static [&'static str],
    );

    #[test]
    fn one_member_stands_for_each_name() {
        use MemberStatus::{Alive, Failed, Leaving, Left};
        let rows: &[Row] = &[
            (&[("a", 1, Alive)], None, "a", &[]),
            (&[("a", 1, Failed), ("b", 2, Alive)], Some("a"), "b", &[]),
            (&[("a", 1, Left), ("b", 2, Alive)], Some("a"), "b", &[]),
            (&[("a", 1, Alive), ("b", 2, Alive)], Some("a"), "a", &["b"]),
            (&[("a", 1, Alive), ("b", 2, Alive)], Some("b"), "b", &["a"]),
            (&[("a", 1, Alive), ("b", 2, Alive)], Some("x"), "a", &["b"]),
            (&[("b", 1, Alive), ("a", 2, Alive), ("c", 3, Alive)], None, "b", &["a", "c"]),
            (&[("a", 1, Leaving), ("b", 2, Alive)], Some("a"), "a", &["b"]),
            (&[("a", 1, Failed), ("b", 2, Left)], Some("a"), "b", &[]),
            (&[("a", 3, Failed), ("b", 2, Left)], Some("b"), "a", &[]),
        ];
        for (members, known, holder, refused) in rows {
            let spelled = ["N1", "n1", "n1"];
            let all: Vec<Arc<Member>> = members
                .iter()
                .zip(spelled)
                .map(|((id, generation, status), name)| {
                    Arc::new(member(id, name, *generation, *status))
                })
                .collect();
            let names = Names::of(&all, |name| {
                assert_eq!(name, "n1", "names are compared in lower case");
                known.map(str::to_owned)
            });
            let holders: Vec<&str> = names.holders.iter().map(|m| m.id.as_str()).collect();
            let turned: Vec<&str> = names.refused.iter().map(|(m, _)| m.id.as_str()).collect();
            assert_eq!(holders, [*holder], "{members:?}");
            assert_eq!(turned, *refused, "{members:?}");
        }
    }
}
