//! A transaction over lists, done by a door that has conditions only: every list is read, the
//! steps are done here, and what came of them is written on the condition that all lists are
//! still as they were read.

use std::collections::BTreeMap;

use crate::history::ListStep;

/// A list as it was read: its elements, and the revision that last changed it.
pub(super) type Found = (Vec<u64>, u64);

/// What the steps saw and what they leave.
pub(super) struct Done {
    /// What each read saw, in the order of the steps.
    pub(super) reads: Vec<Vec<u64>>,
    /// The lists that changed, as they are to become.
    pub(super) changed: BTreeMap<String, Vec<u64>>,
}

/// The keys of all steps, each once.
pub(super) fn keys(steps: &[ListStep]) -> Vec<&str> {
    let mut keys: Vec<&str> = steps.iter().map(key).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

fn key(step: &ListStep) -> &str {
    match step {
        ListStep::Append { key, .. } | ListStep::Read { key } => key,
    }
}

/// Does the steps on the lists that were found.
pub(super) fn perform(steps: &[ListStep], found: &BTreeMap<String, Found>) -> Done {
    let mut done = Done { reads: Vec::new(), changed: BTreeMap::new() };
    let before = |key: &String| found.get(key).map(|(elements, _)| elements.clone());
    for step in steps {
        match step {
            ListStep::Read { key } => {
                let own = done.changed.get(key).cloned();
                done.reads.push(own.or_else(|| before(key)).unwrap_or_default());
            }
            ListStep::Append { key, element } => {
                let list = done.changed.entry(key.clone());
                list.or_insert_with(|| before(key).unwrap_or_default()).push(*element);
            }
        }
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_shows_what_its_own_transaction_appended() {
        let append = |key: &str, element| ListStep::Append { key: key.into(), element };
        let read = |key: &str| ListStep::Read { key: key.into() };
        let steps = [read("a"), append("a", 7), read("a"), append("b", 8), read("c")];
        let found = BTreeMap::from([("a".to_owned(), (vec![1], 4))]);
        let done = perform(&steps, &found);
        assert_eq!(keys(&steps), ["a", "b", "c"]);
        assert_eq!(done.reads, [vec![1], vec![1, 7], vec![]]);
        let changed = BTreeMap::from([("a".to_owned(), vec![1, 7]), ("b".to_owned(), vec![8])]);
        assert_eq!(done.changed, changed);
    }
}
