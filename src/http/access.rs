//! What the operator keeps callers from: paths that are blocked, networks that may not write.
//! Source: Consul agent configuration, `http_config`.

use std::net::IpAddr;

use axum::http::{Method, StatusCode};

use super::error::Failure;

/// A network: an address and how many of its first bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// The network; `bits` is at most 32 for IPv4 and 128 for IPv6, more counts as all.
    pub fn new(address: IpAddr, bits: u8) -> Self {
        Self { address, bits }
    }

    /// Whether an address lies within; an IPv4 address counts as such also when it comes mapped
    /// into IPv6.
    fn holds(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differ = own.to_bits() ^ other.to_bits();
                differ.leading_zeros() >= u32::from(self.bits.min(32))
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differ = own.to_bits() ^ other.to_bits();
                differ.leading_zeros() >= u32::from(self.bits.min(128))
            }
            _ => false,
        }
    }
}

/// What is kept from whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Beginnings of paths that nobody may ask.
    pub blocked: Vec<String>,
    /// Where writes may come from; empty: from everywhere.
    pub writers: Vec<Network>,
}

impl Access {
    /// Fails for a path that is blocked.
    pub(super) fn path(&self, path: &str) -> Result<(), Failure> {
        if self.blocked.iter().any(|blocked| path.starts_with(blocked.as_str())) {
            let text = "Endpoint is blocked by agent configuration";
            return Err(Failure::new(StatusCode::FORBIDDEN, text));
        }
        Ok(())
    }

    /// Fails for a write from where none may come; `from` is unknown on a socket without one.
    pub(super) fn write(&self, method: &Method, from: Option<IpAddr>) -> Result<(), Failure> {
        let reads = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
        let may = |from: IpAddr| self.writers.iter().any(|network| network.holds(from));
        if reads || self.writers.is_empty() || from.is_some_and(may) {
            return Ok(());
        }
        Err(Failure::new(StatusCode::FORBIDDEN, "Access is restricted"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_hold_what_begins_like_them() {
        for (network, bits, address, want) in [
            ("127.0.0.0", 8, "127.4.5.6", true),
            ("127.0.0.0", 8, "128.0.0.1", false),
            ("10.1.2.3", 32, "10.1.2.3", true),
            ("10.1.2.3", 32, "10.1.2.2", false),
            ("0.0.0.0", 0, "9.9.9.9", true),
            ("0.0.0.0", 0, "::1", false),
            ("127.0.0.0", 8, "::ffff:127.0.0.1", true),
            ("fd00::", 8, "fd12::1", true),
            ("fd00::", 8, "fe80::1", false),
        ] {
            let network = Network::new(network.parse().unwrap(), bits);
            assert_eq!(network.holds(address.parse().unwrap()), want, "{network:?} {address}");
        }
    }

    #[test]
    fn writes_need_a_place_and_paths_a_permission() {
        let access = Access {
            blocked: vec!["/v1/agent/m".to_owned()],
            writers: vec![Network::new("10.0.0.0".parse().unwrap(), 8)],
        };
        assert!(access.path("/v1/agent/self").is_ok());
        assert_eq!(access.path("/v1/agent/members").unwrap_err().status.as_u16(), 403);
        let at = |text: &str| Some(text.parse().unwrap());
        assert!(access.write(&Method::GET, at("127.0.0.1")).is_ok());
        assert!(access.write(&Method::PUT, at("10.3.0.1")).is_ok());
        for from in [at("127.0.0.1"), None] {
            let failure = access.write(&Method::DELETE, from).unwrap_err();
            assert_eq!((failure.status.as_u16(), &*failure.text), (403, "Access is restricted"));
        }
        assert!(Access::default().write(&Method::PUT, None).is_ok());
    }
}
