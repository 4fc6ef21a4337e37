//! One encoding for all who wait for the same: a change that wakes a hundred identical reads is
//! written as JSON once, and packed once.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock, Weak};

use axum::body::Bytes;
use parking_lot::Mutex;

use super::params::Params;
use crate::limits::{HTTP_ENCODINGS_BYTES_MAX, HTTP_ENCODINGS_MAX};
use crate::model::Answer;

/// Parameters that change the form of an answer, and nothing but its form. A request with any
/// other one is encoded for itself: what it asks for may depend on more than the answer.
const FORMING: [&str; 8] =
    ["pretty", "tag", "passing", "keys", "recurse", "separator", "seperator", "filter"];
/// Parameters that say how an answer is read; the form is the same.
const READING: [&str; 9] =
    ["index", "wait", "stale", "consistent", "leader", "cached", "max_stale", "dc", "token"];

/// The encodings that are kept, the oldest first. One whose answer nobody holds any more goes at
/// the next turn; there are at most [`HTTP_ENCODINGS_MAX`], of [`HTTP_ENCODINGS_BYTES_MAX`].
#[derive(Debug, Default)]
pub(super) struct Encodings(Mutex<VecDeque<Kept>>);

#[derive(Debug)]
struct Kept {
    /// As long as this is here, no other answer can have the same address.
    answer: Weak<Answer>,
    form: String,
    encoded: Arc<Encoded>,
}

/// An answer as bytes: made by the first who needs it, while others wait for it.
#[derive(Debug, Default)]
pub(super) struct Encoded {
    plain: OnceLock<Bytes>,
    packed: OnceLock<Bytes>,
}

impl Encodings {
    /// The encoding of this answer in this form, which may be there already.
    pub(super) fn of(&self, answer: &Arc<Answer>, form: &str) -> Arc<Encoded> {
        let mut kept = self.0.lock();
        let same =
            |one: &&Kept| Weak::as_ptr(&one.answer) == Arc::as_ptr(answer) && one.form == form;
        if let Some(found) = kept.iter().find(same) {
            return Arc::clone(&found.encoded);
        }
        kept.retain(|one| one.answer.strong_count() > 0);
        let mut bytes: usize = kept.iter().map(|one| one.encoded.bytes()).sum();
        while kept.len() >= HTTP_ENCODINGS_MAX || bytes > HTTP_ENCODINGS_BYTES_MAX {
            let Some(oldest) = kept.pop_front() else { break };
            bytes = bytes.saturating_sub(oldest.encoded.bytes());
        }
        let encoded = Arc::new(Encoded::default());
        let answer = Arc::downgrade(answer);
        kept.push_back(Kept { answer, form: form.to_owned(), encoded: Arc::clone(&encoded) });
        encoded
    }
}

impl Encoded {
    /// The bytes, and whether it was this call that made them.
    pub(super) fn plain(&self, make: impl FnOnce() -> Bytes) -> (Bytes, bool) {
        let mut made = false;
        let bytes = self.plain.get_or_init(|| {
            made = true;
            make()
        });
        (bytes.clone(), made)
    }

    /// The bytes packed by `pack`.
    pub(super) fn packed(&self, pack: impl FnOnce() -> Bytes) -> Bytes {
        self.packed.get_or_init(pack).clone()
    }

    fn bytes(&self) -> usize {
        [&self.plain, &self.packed].into_iter().filter_map(OnceLock::get).map(Bytes::len).sum()
    }
}

/// What identical requests have in common besides the answer: the path and the parameters that
/// form it. `None` for a read that does not wait, which shares its answer with nobody, and for
/// one whose bytes may hang on more than the answer.
pub(super) fn form(route: &str, rest: &str, params: &Params) -> Option<String> {
    params.get("index")?;
    // With lengths: whatever a caller writes into one part, it is not taken for another.
    let mut form = format!("{}:{route}{rest}", rest.len());
    for (name, value) in params.iter() {
        if READING.contains(&name) {
            continue;
        }
        if !FORMING.contains(&name) {
            return None;
        }
        form.extend(["\n", name, "=", &value.len().to_string(), ":", value]);
    }
    Some(form)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> Arc<Answer> {
        Arc::new(Answer::Names(Vec::new()))
    }

    #[test]
    fn the_same_answer_in_the_same_form_is_encoded_once() {
        let encodings = Encodings::default();
        let (one, two) = (answer(), answer());
        let encode = |answer: &Arc<Answer>, form: &str, text: &'static str| {
            encodings.of(answer, form).plain(|| Bytes::from_static(text.as_bytes()))
        };
        assert_eq!(encode(&one, "f", "a"), ("a".into(), true));
        assert_eq!(encode(&one, "f", "b"), ("a".into(), false));
        assert_eq!(encode(&one, "g", "c"), ("c".into(), true));
        assert_eq!(encode(&two, "f", "d"), ("d".into(), true));
        drop(one);
        encode(&answer(), "f", "e");
        assert_eq!(encodings.0.lock().len(), 2, "what nobody holds is forgotten");
    }

    #[test]
    fn neither_number_nor_bytes_grow_without_bound() {
        let encodings = Encodings::default();
        let answers: Vec<_> = (0..HTTP_ENCODINGS_MAX + 10).map(|_| answer()).collect();
        for answer in &answers {
            encodings.of(answer, "f");
        }
        assert_eq!(encodings.0.lock().len(), HTTP_ENCODINGS_MAX);
        let large = Bytes::from(vec![0; HTTP_ENCODINGS_BYTES_MAX / 2]);
        for answer in &answers[..4] {
            encodings.of(answer, "g").plain(|| large.clone());
        }
        let held: usize = encodings.0.lock().iter().map(|one| one.encoded.bytes()).sum();
        assert!(held <= HTTP_ENCODINGS_BYTES_MAX + large.len(), "{held}");
    }

    #[test]
    fn only_what_forms_the_answer_counts() {
        let form = |query: &str| form("/r/", "a", &Params::parse(Some(query)).unwrap());
        assert_eq!(form("index=1&wait=5s&stale"), form("index=2&wait=1m"));
        assert_ne!(form("index=1&tag=a"), form("index=1&tag=b"));
        assert_ne!(form("index=1&pretty"), form("index=1"));
        assert_ne!(form("index=1&tag=a&passing="), form("index=1&tag=a%0Apassing="));
        assert_ne!(form("index=1&tag=a&passing=1"), form("index=1&tag=a%0Apassing=1"));
        for alone in ["", "pretty", "index=1&near=n1", "index=1&node-meta=a:b"] {
            assert_eq!(form(alone), None, "{alone}");
        }
    }
}
