//! Gossip detects, the leader decides: members become nodes of the catalog and voters of Raft,
//! and cease to be.
//!
//! *Never*: changes the membership so that fewer voters live than a majority of it.
//!
//! *Why*: what is to be done is decided by pure functions over what is known (`plan`, `names`,
//! `health`, `nodes`), one step at a time, and decided anew after each step; so a leader that dies
//! midway leaves nothing that the next one would have to remember.

mod addresses;
mod catalog;
mod founding;
mod health;
mod names;
mod nodes;
mod plan;
mod servers;

pub(super) use addresses::{Failed, follow};
pub(super) use catalog::keep_nodes;
pub(super) use founding::{Founding, found};
pub(super) use health::Health;
pub(super) use servers::{
    Leavers, bounded, heir, keep_servers, may_be_removed, shown, watch_servers,
};
