//! The checks that this host runs, each in a task of its own.

mod http;
mod run;
mod tcp;
mod ttl;

pub(super) use run::{Checker, Runner};
pub(super) use ttl::{expired, told};
