//! Filter expressions under a fuzzer.

use super::sample::record;
use super::{Fields, Filter, catalog_service, check, instance, node, service};
use crate::fuzz::{Input, Target};
use crate::limits::{FILTER_BYTES_MAX, FILTER_DEPTH_MAX};

/// What callers write behind `?filter=`.
pub(in crate::http) const TARGET: Target = Target {
    name: "http-filter",
    about: "an expression and five records: it keeps what its opposite does not, and is read in bounds",
    memory: 64 * 1024 * 1024,
    run: filter,
    seeds,
};

fn filter(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let kind = input.byte();
    let Ok(text) = std::str::from_utf8(input.rest()) else { return };
    let one = record();
    match kind % 5 {
        0 => opposite(text, instance, &one),
        1 => opposite(text, catalog_service, &one),
        2 => opposite(text, node, &one.node),
        3 => opposite(text, service, &one.service),
        _ => opposite(text, check, &one.checks[1]),
    }
}

/// An expression keeps a record, or `not` before it does.
fn opposite<T: 'static>(text: &str, fields: Fields<T>, record: &T) {
    let Ok(kept) = Filter::parse(text, fields).map(|filter| filter.keeps(record)) else { return };
    let other = format!("not ({text})");
    match Filter::parse(&other, fields) {
        Ok(filter) => assert_ne!(filter.keeps(record), kept, "{other}"),
        Err(why) => {
            let deep = text.matches(['(', 'n']).count() + 2 >= FILTER_DEPTH_MAX;
            assert!(deep || other.len() > FILTER_BYTES_MAX, "{other}: {why}");
        }
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let expressions = [
        (0, "Node.Node == e1 and Service.Tags contains Blue"),
        (0, "Checks.Status != passing or not Node.Meta.rack matches `^r[0-9]+$`"),
        (0, "any Checks as c { c.Status == passing }"),
        (0, "Service.Proxy.Upstreams.DestinationName == a"),
        (1, "ServiceMeta[\"env\"] == prod and ServicePort != 80"),
        (1, "v1 in ServiceTags or v1 not in ServiceTags"),
        (1, "ServiceTaggedAddresses.lan.Port == 0x1f40"),
        (2, "Meta is not empty and (Meta.\"my-key\" == x or ID == \"40\\u00654\")"),
        (2, "Node matches \"(?i)E\\\\d\" and not(not(Datacenter != dc1))"),
        (3, "Weights.Passing == 10 and EnableTagOverride == true"),
        (3, "Port == 80 or Port == 0o120 or Port == -1"),
        (4, "Output contains line2 and Interval == `0s`"),
        (4, "Name is empty and CheckID matches `[[:alpha:]\\d]{2}`"),
        (4, "((((((((Status==warning))))))))"),
    ];
    let seed = |(kind, text): &(u8, &str)| [&[*kind], text.as_bytes()].concat();
    expressions.iter().map(seed).collect()
}
