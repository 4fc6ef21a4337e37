//! What every client does, and how a failure becomes an outcome.

use std::future::Future;
use std::pin::Pin;

use crate::history::{Action, Answer, Outcome, Write};

use super::http::Failure;

/// An answer on its way.
pub type Doing<'a> = Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

/// One client of one node: it does one action at a time, on one connection.
pub trait Client: Send {
    /// Does this and says what was learned, within the client's limit of time.
    fn act<'a>(&'a mut self, action: &'a Action) -> Doing<'a>;
}

/// What an action comes to, one step of it: the answer, or why there is none.
pub(crate) enum Trouble {
    /// Surely not done.
    NotDone(String),
    /// Perhaps done.
    Unknown(String),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::NotSent(why) => Self::NotDone(why),
            Failure::Lost(why) => Self::Unknown(why),
        }
    }
}

/// The outcome of an action; one that only reads is never unknown.
pub(crate) fn outcome(action: &Action, done: Result<Answer, Trouble>) -> Outcome {
    match done {
        Ok(answer) => Outcome::Done(answer),
        Err(Trouble::NotDone(why)) => Outcome::NotDone { why },
        Err(Trouble::Unknown(why)) if action.only_reads() => Outcome::NotDone { why },
        Err(Trouble::Unknown(why)) => Outcome::Unknown { why },
    }
}

/// What goes wrong before anything is written leaves everything as it was.
pub(crate) fn not_begun(trouble: Trouble) -> Trouble {
    match trouble {
        Trouble::NotDone(why) | Trouble::Unknown(why) => Trouble::NotDone(why),
    }
}

/// An action that a system has no words for.
pub(crate) fn foreign(action: &Action) -> Trouble {
    Trouble::NotDone(format!("this door cannot do {action:?}"))
}

/// The numbers of a list, as its value in the store: in decimals, with spaces between.
pub(crate) fn list_text(elements: &[u64]) -> String {
    elements.iter().map(u64::to_string).collect::<Vec<_>>().join(" ")
}

/// The list in a value.
pub(crate) fn list_of(text: &str) -> Vec<u64> {
    text.split_whitespace().map(number_of).collect()
}

/// The number in a value. What no client can have written becomes [`NOBODYS`].
pub(crate) fn number_of(text: &str) -> u64 {
    text.parse().unwrap_or(NOBODYS)
}

/// A value that no workload writes: the checkers take it for what it is, a phantom.
pub const NOBODYS: u64 = u64::MAX;

/// The one write of an action, or the writes of a transaction.
pub(crate) fn writes_of(action: &Action) -> Option<&[Write]> {
    match action {
        Action::Write(write) => Some(std::slice::from_ref(write)),
        Action::Transaction { writes } => Some(writes),
        _ => None,
    }
}
