//! `http_config`: what the HTTP door refuses, adds and remembers.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::layer::{ConfigError, Layer};

/// The HTTP door.
///
/// Source: Consul agent configuration, `http_config`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HttpOptions {
    /// Beginnings of paths that are answered with 403.
    pub block_endpoints: Vec<String>,
    /// Networks, as address and length of prefix in bits, that writes may come from; empty: all.
    pub allow_write_http_from: Vec<(IpAddr, u8)>,
    /// Headers that every answer of a route has.
    pub response_headers: BTreeMap<String, String>,
    /// True if `?cached` is heeded.
    pub use_cache: bool,
    /// True to take paths with characters that cannot be printed.
    pub unprintable_paths: bool,
}

/// Reads the section.
///
/// # Errors
///
/// A network that is none, or a header that no HTTP message can carry.
pub(super) fn http_of(layer: &Layer) -> Result<HttpOptions, ConfigError> {
    let networks = layer.list("http_config.allow_write_http_from");
    let response_headers = layer.map("http_config.response_headers");
    for (name, value) in &response_headers {
        if !is_token(name) || value.chars().any(|c| c.is_control() || !c.is_ascii()) {
            return Err(ConfigError::new(format!(
                "http_config.response_headers: {name:?} = {value:?} is no HTTP header"
            )));
        }
    }
    Ok(HttpOptions {
        block_endpoints: layer.list("http_config.block_endpoints"),
        allow_write_http_from: networks.iter().map(|it| network(it)).collect::<Result<_, _>>()?,
        response_headers,
        use_cache: layer.switch("http_config.use_cache"),
        unprintable_paths: layer.switch("disable_http_unprintable_char_filter"),
    })
}

/// Source: RFC 9110, "Tokens".
fn is_token(name: &str) -> bool {
    let marks = "!#$%&'*+-.^_`|~";
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || marks.contains(c))
}

/// A network such as `10.0.0.0/8`.
fn network(text: &str) -> Result<(IpAddr, u8), ConfigError> {
    let wrong = || {
        let key = "http_config.allow_write_http_from";
        ConfigError::new(format!("{key}: invalid CIDR address: {text}"))
    };
    let (address, bits) = text.trim().split_once('/').ok_or_else(wrong)?;
    let address: IpAddr = address.parse().ok().ok_or_else(wrong)?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.parse::<u8>().ok().filter(|bits| *bits <= most).ok_or_else(wrong)?;
    Ok((address, bits))
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    fn load(hcl: &str) -> Result<Config, String> {
        Config::load(&["-dev", "-hcl", hcl].map(str::to_owned)).map_err(|error| error.to_string())
    }

    #[test]
    fn the_section_is_read_and_has_consuls_defaults() {
        assert_eq!(
            load("").unwrap().http,
            crate::config::HttpOptions { use_cache: true, ..Default::default() }
        );
        let http = load(
            "disable_http_unprintable_char_filter = true\nhttp_config { use_cache = false\n\
             block_endpoints = [\"/v1/agent/self\"]\n\
             allow_write_http_from = [\"127.0.0.0/8\", \"fd00::/8\"]\n\
             response_headers { \"X-Sea\" = \"calm\" } }",
        );
        let http = http.unwrap().http;
        assert!(!http.use_cache && http.unprintable_paths);
        assert_eq!(http.block_endpoints, ["/v1/agent/self"]);
        let networks: Vec<_> =
            http.allow_write_http_from.iter().map(|(ip, bits)| format!("{ip}/{bits}")).collect();
        assert_eq!(networks, ["127.0.0.0/8", "fd00::/8"]);
        assert_eq!(http.response_headers["X-Sea"], "calm");
    }

    #[test]
    fn what_makes_no_sense_stops_the_start() {
        for network in ["10.0.0.1", "10.0.0.0/33", "x/8", "::/129", ""] {
            let error = load(&format!("http_config {{ allow_write_http_from = [\"{network}\"] }}"));
            let wanted =
                format!("http_config.allow_write_http_from: invalid CIDR address: {network}");
            assert_eq!(error.unwrap_err(), wanted.trim());
        }
        let header = "http_config { response_headers { \"a b\" = \"x\" } }";
        assert!(load(header).unwrap_err().ends_with("is no HTTP header"));
    }
}
