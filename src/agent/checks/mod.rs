//! The checks that this host runs, each in a task of its own.

mod alias;
mod docker;
mod grpc;
mod h2;
mod http;
mod run;
mod script;
mod streak;
mod tail;
mod tcp;
mod tls;
mod ttl;
mod udp;
mod words;

pub(super) use alias::judge as alias_verdict;
pub(super) use run::{Checker, Runner};
pub(super) use ttl::{expired, told};
