//! The command line: `agent` starts a node, everything else is a client of the HTTP door.
//!
//! *Never*: reaches into a node. What a subcommand shows, any HTTP client could have asked for.
//!
//! *Why*: words, flags, output and exit codes are Consul 1.8's, so that scripts keep working when
//! a link named `consul` points here. Where Consul has no such command (`session`), the shape is
//! ours.

mod absent;
mod agent;
mod api;
mod archive;
mod autopilot;
mod catalog;
mod claim;
mod columns;
mod debug;
mod event;
mod exec;
mod flags;
mod info;
mod keyring;
mod kv;
mod lock;
mod maint;
mod members;
mod membership;
mod monitor;
mod operator;
mod pattern;
mod recover;
mod rtt;
mod run;
mod screen;
mod semaphore;
mod services;
mod session;
mod shell;
mod snapshot;
mod target;
mod validate;
mod version;
mod watch;

#[cfg(test)]
mod fixture;

pub use run::run;
