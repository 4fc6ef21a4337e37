//! Files of the configuration under a fuzzer.

use super::load::{Format, parse};
use super::values::build;
use super::{duration, hcl};
use crate::fuzz::{Input, Target};

/// What operators and their tools write.
pub const TARGETS: &[Target] = &[
    Target {
        name: "config-file",
        about: "a file in HCL or JSON: what HCL says is the same in JSON, and is checked whole",
        memory: 16 * 1024 * 1024,
        run: file,
        seeds: file_seeds,
    },
    Target {
        name: "config-duration",
        about: "a duration: written as Go does, it is read as the same",
        memory: 1024 * 1024,
        run: span,
        seeds: span_seeds,
    },
];

fn file(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let format = if input.byte() & 1 == 0 { Format::Hcl } else { Format::Json };
    let Ok(text) = std::str::from_utf8(input.rest()) else { return };
    let told = parse("file", text, format);
    if format == Format::Hcl
        && !text.trim_start().starts_with('{')
        && told.is_ok()
        && let Ok(value) = hcl::parse(text)
    {
        let json = parse("file", &value.to_string(), Format::Json);
        assert_eq!(json, told, "HCL and JSON say the same");
    }
    if let Ok(layer) = told {
        drop(build(true, layer, Vec::new()));
    }
}

fn file_seeds() -> Vec<Vec<u8>> {
    let hcl = [
        "datacenter = \"dc1\"\nserver = true\nbootstrap_expect = 3\n",
        "ports { dns = 8600, http = 8500 }\naddresses = { http = \"127.0.0.1\" }",
        "dns_config { service_ttl { \"*\" = \"5s\" web = \"1m\" } a_record_limit = 1 }",
        "service { name = \"web\" port = 80 tags = [\"a\", \"b\"] check { http = \"http://x\" interval = \"10s\" } }",
        "services = [{ name = \"a\" }, { name = \"b\", meta { k = \"v\" } }] # more\n// and\n/* all */",
        "check { id = \"c\" ttl = \"30s\" notes = <<END\nline\nEND\n}",
        "watches = [{ type = \"key\" key = \"a\" handler_type = \"script\" args = [\"true\"] }]",
        "retry_join = [\"10.0.0.1\", \"[::1]:8301\"] performance { raft_multiplier = 1 }",
        "node_meta { \"a\\u0041\" = \"\\\"q\\\"\" } limits { http_max_conns_per_client = 0x10 }",
        "telemetry { prometheus_retention_time = \"1h\" } encrypt = \"pUqJrVyVRj5jsiYEkM/tFQ==\"",
        "http_config { response_headers { \"X\" = \"y\" } block_endpoints = [\"/v1/acl\"] }",
        "a { b { c { d { e { f { g = 1e3 } } } } } }",
    ];
    let json = [
        "{\"server\": true, \"ports\": {\"dns\": -1}, \"//\": \"a comment\"}",
        "{\"service\": {\"name\": \"web\", \"checks\": [{\"tcp\": \"x:1\", \"interval\": \"1s\"}]}}",
        "{\"recursors\": [\"8.8.8.8\"], \"autopilot\": {\"cleanup_dead_servers\": false}}",
        "{\"log_level\": \"debug\", \"acl\": {\"enabled\": true}, \"node_name\": 1.5}",
    ];
    let seed = |format: u8, text: &str| [&[format], text.as_bytes()].concat();
    let hcl = hcl.iter().map(|text| seed(0, text));
    hcl.chain(json.iter().map(|text| seed(1, text))).collect()
}

fn span(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(read) = duration::parse(text) else { return };
    assert_eq!(duration::parse(&duration::format(read)), Ok(read), "{text:?} is read as the same");
}

fn span_seeds() -> Vec<Vec<u8>> {
    let texts = ["1h2m3.5s", "0", "+.5ms", "15000us", "1.000000000000001h", "2540400h", "3\u{b5}s"];
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}
