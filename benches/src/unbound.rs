//! unbound with the service as local data: what a name server can do that looks nothing up.
//!
//! It is the ceiling of the DNS row alone, a single server with one thread.
//! Source: unbound.conf(5).

use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::Context as _;

use crate::cluster::DNS_PORT;
use crate::rows::{INSTANCES, SERVICE};

/// Writes the configuration beside `data` and returns the command line that reads it.
pub(crate) fn arguments(ip: Ipv4Addr, data: &Path) -> anyhow::Result<Vec<String>> {
    let file = data.with_extension("conf");
    std::fs::write(&file, configuration(ip)).with_context(|| file.display().to_string())?;
    Ok(vec!["-d".to_owned(), "-c".to_owned(), file.display().to_string()])
}

/// One thread, no rights to drop, nothing but our zone; times to live of zero, as the others have.
fn configuration(ip: Ipv4Addr) -> String {
    let mut out = format!(
        "server:\n  num-threads: 1\n  interface: {ip}@{DNS_PORT}\n  access-control: 127.0.0.0/8 \
         allow\n  do-daemonize: no\n  username: \"\"\n  chroot: \"\"\n  directory: \"\"\n  \
         pidfile: \"\"\n  use-syslog: no\n  module-config: \"iterator\"\n  local-zone: \
         \"consul.\" static\n"
    );
    for number in 0..INSTANCES {
        let node = format!("bench-node-{number}.node.dc1.consul.");
        let port = 20_000 + number;
        for record in [
            format!("{SERVICE}.service.consul. 0 IN SRV 1 1 {port} {node}"),
            format!("{node} 0 IN A 10.77.0.{number}"),
        ] {
            out.push_str("  local-data: \"");
            out.push_str(&record);
            out.push_str("\"\n");
        }
    }
    out.push_str("remote-control:\n  control-enable: no\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_holds_every_instance() {
        let text = configuration(Ipv4Addr::new(127, 0, 4, 1));
        assert!(text.contains("  interface: 127.0.4.1@8600\n"), "{text}");
        let srv = "  local-data: \"bench-web.service.consul. 0 IN SRV 1 1 20009 \
                   bench-node-9.node.dc1.consul.\"\n";
        assert!(text.contains(srv), "{text}");
        assert_eq!(text.matches(" IN SRV ").count(), usize::from(INSTANCES));
        assert_eq!(text.matches(" IN A ").count(), usize::from(INSTANCES));
    }
}
