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
pub(super) use http::{client as http_client, root as call_failed};
pub(super) use run::{Checker, Runner};
pub(super) use script::{read as read_all, start as start_program};
pub(super) use tail::Tail;
pub(super) use ttl::{expired, told};
pub(super) use words::plain;
