//! What the door is told when it opens: Consul's `dns_config` and the names around it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::wire::Names;
use crate::model::Consistency;

/// Settings of the door. Source: Consul agent configuration, `dns_config`.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "Consul's switches, each its own")]
pub struct Options {
    /// The data center that names without one mean, and the only one that is answered for.
    pub datacenter: String,
    /// This node's name: what `_agent` means in a prepared query.
    pub node_name: String,
    /// The domain that is answered for, `consul`. It must be a domain name, or `.` for all.
    pub domain: String,
    /// A second domain; answers to a question under it stay under it.
    pub alt_domain: Option<String>,
    /// How long an answer about a node may be kept by others. Whole seconds.
    pub node_ttl: Duration,
    /// The same for services, by name: exact, else the longest prefix (`db-*`), else `*`, else 0.
    pub service_ttl: BTreeMap<String, Duration>,
    /// Whether an instance that warns is left out too; one that is critical always is.
    pub only_passing: bool,
    /// Whether a cut answer over UDP says so (TC), so that the asker comes back over TCP.
    pub enable_truncate: bool,
    /// Most records in an answer over UDP to an asker of 512 bytes; 0, or more than 8, means 8.
    pub udp_answer_limit: usize,
    /// Most addresses in any answer; 0 for no such limit.
    pub a_record_limit: usize,
    /// The numbers of the SOA record.
    pub soa: Soa,
    /// Whether a node's metadata goes along with its addresses, as TXT records.
    pub node_meta_txt: bool,
    /// Whether any server may answer from what it has; else each answer is linearizable.
    pub allow_stale: bool,
    /// With `allow_stale`: how long ago this server may have heard of the leader last.
    pub max_stale: Duration,
    /// Where other names are asked, in this order. Without any they are refused.
    pub recursors: Vec<SocketAddr>,
    /// How long one of them may take.
    pub recursor_timeout: Duration,
    /// Whether they are asked in another order each time.
    pub recursor_order: RecursorOrder,
    /// Whether to answer from what this server has, whatever `allow_stale` says.
    pub use_cache: bool,
    /// With `use_cache`: as `max_stale`; zero for no bound but `max_stale`.
    pub cache_max_age: Duration,
    /// Whether every name is written in full.
    pub disable_compression: bool,
    /// Told of each question that was answered; must not block.
    pub observe: Option<Observer>,
}

impl Default for Options {
    /// Consul's defaults, except that a cut answer says so.
    fn default() -> Self {
        Self {
            datacenter: "dc1".to_owned(),
            node_name: String::new(),
            domain: "consul".to_owned(),
            alt_domain: None,
            node_ttl: Duration::ZERO,
            service_ttl: BTreeMap::new(),
            only_passing: false,
            enable_truncate: true,
            udp_answer_limit: 3,
            a_record_limit: 0,
            soa: Soa::default(),
            node_meta_txt: true,
            allow_stale: true,
            max_stale: Duration::from_hours(87_600),
            recursors: Vec::new(),
            recursor_timeout: Duration::from_secs(2),
            recursor_order: RecursorOrder::AsGiven,
            use_cache: false,
            cache_max_age: Duration::ZERO,
            disable_compression: false,
            observe: None,
        }
    }
}

impl Options {
    /// The TTL of answers about a service, in seconds. `name` is in lower case.
    pub(super) fn service_seconds(&self, name: &str) -> u32 {
        let exact = self.service_ttl.get(name);
        let prefixed = || {
            let fits = |(pattern, ttl)| Some((str::strip_suffix(pattern, '*')?, ttl));
            let patterns = self.service_ttl.iter().filter_map(|(p, t)| fits((p.as_str(), t)));
            let fitting = patterns.filter(|(prefix, _)| name.starts_with(prefix));
            fitting.max_by_key(|(prefix, _)| prefix.len()).map(|(_, ttl)| ttl)
        };
        exact.or_else(prefixed).map_or(0, |ttl| seconds(*ttl))
    }

    /// How fresh the state has to be that answers are made of.
    ///
    /// Consul's `use_cache` keeps answers on the agent for up to `cache_max_age`. A server has the
    /// whole state at hand, so the keys say how far behind the leader that state may be.
    pub(super) fn consistency(&self) -> Consistency {
        match (self.use_cache, self.allow_stale) {
            (true, _) if self.cache_max_age.is_zero() => Consistency::StaleWithin(self.max_stale),
            (true, _) => Consistency::StaleWithin(self.cache_max_age.min(self.max_stale)),
            (false, true) => Consistency::StaleWithin(self.max_stale),
            (false, false) => Consistency::Linearizable,
        }
    }

    /// Whether repeated names are shortened.
    pub(super) fn names(&self) -> Names {
        if self.disable_compression { Names::InFull } else { Names::Shortened }
    }

    /// The TTL of answers about a node, in seconds.
    pub(super) fn node_seconds(&self) -> u32 {
        seconds(self.node_ttl)
    }
}

/// Whole seconds, as DNS counts a TTL: at most 2^31 - 1. Source: RFC 2181, section 8.
pub(super) fn seconds(span: Duration) -> u32 {
    i32::try_from(span.as_secs()).unwrap_or(i32::MAX).unsigned_abs()
}

/// The numbers of the SOA record, in whole seconds. Source: RFC 1035, section 3.3.13.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Soa {
    /// Between two looks of a secondary.
    pub refresh: Duration,
    /// Between two tries of such a look.
    pub retry: Duration,
    /// After this long without one, a secondary gives up.
    pub expire: Duration,
    /// How long it may be kept that a name does not exist. Source: RFC 2308, section 4.
    pub min_ttl: Duration,
}

impl Default for Soa {
    fn default() -> Self {
        Self {
            refresh: Duration::from_hours(1),
            retry: Duration::from_mins(10),
            expire: Duration::from_hours(24),
            min_ttl: Duration::ZERO,
        }
    }
}

/// In which order recursors are asked. Source: Consul agent configuration, `recursor_strategy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecursorOrder {
    /// As they were given: the next one only where one fails.
    AsGiven,
    /// Another one each time, so that they share the load.
    Random,
}

/// A question that was answered, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observed {
    /// `udp` or `tcp`.
    pub transport: &'static str,
    /// The response code: `noerror`, `nxdomain`, `servfail`, `refused`, `formerr`, `notimp` or
    /// `other`.
    pub code: &'static str,
    /// From the whole question to the whole answer.
    pub took: Duration,
    /// Length of the answer in bytes.
    pub bytes: usize,
    /// `hit` or `miss`, where the encoded answer could be at hand.
    pub cache: Option<&'static str>,
}

/// Is told of each question that was answered. Cheap to clone.
#[derive(Clone)]
pub struct Observer(Arc<dyn Fn(Observed) + Send + Sync>);

impl Observer {
    /// Calls `tell` for each; it runs on the answering task and must not block.
    pub fn new(tell: impl Fn(Observed) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    /// Tells of one.
    pub(super) fn tell(&self, observed: Observed) {
        (self.0)(observed);
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_is_as_fresh_as_the_keys_say() {
        let within = |secs| Consistency::StaleWithin(Duration::from_secs(secs));
        // (use_cache, cache_max_age, allow_stale, what of it); max_stale is 60 s.
        let table = [
            (false, 5, true, within(60)),
            (false, 5, false, Consistency::Linearizable),
            (true, 5, false, within(5)),
            (true, 90, true, within(60)),
            (true, 0, true, within(60)),
        ];
        for (use_cache, age, allow_stale, want) in table {
            let options = Options {
                use_cache,
                allow_stale,
                cache_max_age: Duration::from_secs(age),
                max_stale: Duration::from_mins(1),
                ..Options::default()
            };
            assert_eq!(options.consistency(), want, "{use_cache} {age} {allow_stale}");
        }
    }

    #[test]
    fn a_services_ttl_is_exact_then_longest_prefix_then_star() {
        let ttl = |pattern: &str, secs| (pattern.to_owned(), Duration::from_secs(secs));
        let mut options = Options {
            service_ttl: [ttl("web", 1), ttl("db-*", 2), ttl("db-eu-*", 3), ttl("*", 4)].into(),
            ..Options::default()
        };
        let table = [("web", 1), ("web2", 4), ("db-us", 2), ("db-eu-1", 3), ("db-", 2), ("db", 4)];
        for (name, want) in table {
            assert_eq!(options.service_seconds(name), want, "{name}");
        }
        options.service_ttl.remove("*");
        assert_eq!(options.service_seconds("db"), 0);
        options.service_ttl.insert("db".to_owned(), Duration::from_secs(u64::MAX));
        assert_eq!(options.service_seconds("db"), 0x7fff_ffff);
    }
}
