//! What this host claims: services and checks, kept on disk, kept true in the catalog.
//!
//! A registration is kept first (`disk`), then claimed (`registry`), then pushed at once (`push`,
//! sent by `sync`); anti-entropy reads the catalog now and then and mends whatever differs. All
//! of it but the sending works without a leader. Checks run in tasks of their own (`checks`).
//!
//! *Never*: the store, the replica, or the spelling of a protocol.
//!
//! *Why*: this host alone says what runs on it, so the catalog follows the claim, and a service
//! that only the catalog has is taken out of it. Tags are the exception, where their owner asks
//! for it. What a check is run with (its headers may hold secrets) stays on this host.
//! A loaded check that has not run yet takes the catalog's verdict instead of bringing its own,
//! so that the restart of an agent makes nothing unfit.

mod bounds;
mod checks;
mod claim;
mod coordinates;
mod disk;
mod events;
mod handle;
#[cfg(test)]
mod mirror;
mod plan;
mod push;
mod registry;
mod run;
mod spec;
mod sync;
mod watches;

pub use coordinates::tell_coordinates;
pub use events::EventError;
pub use handle::{Agent, AgentError, Options, ReplaceChecks};
pub use spec::{CheckRun, CheckSpec, Scripts};
pub use watches::{Call, Handler, Watch, WatchShow, Watches};
