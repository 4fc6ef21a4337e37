//! A record that filters are asked of in tests and under the fuzzer.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::{Check, CheckStatus, Instance, Node, Service, ServiceAddress, Weights};

fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

pub(super) fn record() -> Instance {
    let node = Node {
        id: "40e4".into(),
        name: "e1".into(),
        address: "10.0.0.1".into(),
        datacenter: "dc1".into(),
        tagged_addresses: pairs(&[("wan", "198.18.0.1")]),
        meta: pairs(&[("rack", "r1"), ("my-key", "x")]),
        ..Node::default()
    };
    let lan = ServiceAddress { address: "10.1.1.1".into(), port: 8000 };
    let service = Service {
        node: "e1".into(),
        id: "web1".into(),
        name: "web".into(),
        tags: vec!["v1".into(), "Blue".into(), "not".into()],
        port: 80,
        meta: pairs(&[("env", "prod"), ("none", "")]),
        tagged_addresses: [("lan".to_owned(), lan)].into(),
        weights: Weights { passing: 10, warning: 2 },
        enable_tag_override: true,
        proxy: r#"{"destination_service_name": "db", "LocalServicePort": 81, "Upstreams":
            [{"DestinationName": "a", "LocalBindPort": 1}, {"DestinationName": "b"}]}"#
            .into(),
        ..Service::default()
    };
    let check = |id: &str, status, output: &str| {
        let output = output.to_owned();
        Arc::new(Check { id: id.into(), status, output, ..Check::default() })
    };
    let checks = vec![
        check("c1", CheckStatus::Passing, "all good"),
        check("c2", CheckStatus::Warning, "line1\nline2"),
    ];
    Instance { node: Arc::new(node), service: Arc::new(service), checks }
}
