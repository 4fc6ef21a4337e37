//! The real Consul 1.8.7 as the judge: the same goes to it and to us, and what comes back is
//! compared. `tests/peers/get` fetches it into `$PEERS`.

mod cli;
mod dns;
mod dns_compare;
mod dns_intended;
mod dns_questions;
mod http;
mod lines;
