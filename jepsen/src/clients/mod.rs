//! Clients of the doors under test: an action goes in, an honest outcome comes out.
//!
//! What surely was not sent, or what the system says it did not do, is not done; everything else
//! without an answer is unknown. Never: a retry, since one operation of the history is one request
//! (a conditional append is two, of which only the second changes anything).

mod client;
mod consul;
mod consul_catalog;
mod consul_kv;
mod consul_session;
mod dns;
mod entry;
mod etcd;
mod etcd_kv;
mod etcd_lease;
mod http;
mod lists;

pub use client::{Client, Doing, NOBODYS};
pub use consul::ConsulClient;
pub use etcd::EtcdClient;
pub(crate) use http::Connection;
