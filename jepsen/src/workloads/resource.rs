//! What the locks of a run protect: a part of the test, which sees every use at once.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use crate::history::Action;

/// By lock: the highest token that was seen.
#[derive(Debug, Default)]
pub(crate) struct Resource {
    highest: Mutex<BTreeMap<String, u64>>,
}

impl Resource {
    /// A use happens: when it began, whether it was taken, when it ended, by `now`. It is
    /// taken unless a higher token was seen. Two uses never overlap.
    pub(crate) fn used(&self, action: &Action, now: impl Fn() -> u64) -> (u64, bool, u64) {
        let mut highest = self.highest.lock();
        let began = now();
        let accepted = match action {
            Action::Use { key, token } => {
                let seen = highest.entry(key.clone()).or_default();
                let accepted = *token >= *seen;
                *seen = (*seen).max(*token);
                accepted
            }
            _ => false,
        };
        (began, accepted, now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_token_is_not_taken() {
        let resource = Resource::default();
        let with = |token| resource.used(&Action::Use { key: "k".into(), token }, || 7).1;
        assert_eq!([with(1), with(3), with(3), with(2), with(4)], [true, true, true, false, true]);
    }
}
