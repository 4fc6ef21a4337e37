//! The command line: `agent` starts a node, everything else is a client of the HTTP door.
//!
//! *Never*: reaches into a node. What a subcommand shows, any HTTP client could have asked for.
//!
//! *Why*: words, flags, output and exit codes are Consul 1.8's, so that scripts keep working when
//! a link named `consul` points here. Where Consul has no such command (`session`), the shape is
//! ours.

mod agent;
mod api;
mod archive;
mod catalog;
mod columns;
mod flags;
mod info;
mod kv;
mod lock;
mod maint;
mod members;
mod membership;
mod operator;
mod pattern;
mod run;
mod screen;
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
