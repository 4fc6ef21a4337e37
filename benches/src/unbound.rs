//! unbound with the services as local data: what a name server can do that looks nothing up.
//!
//! It is the ceiling of the DNS row alone, a single server with one thread.
//! Source: unbound.conf(5).

use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::Context as _;

use crate::cluster::DNS_PORT;
use crate::data::{NODES, Node, node, port};
use crate::rows::{SERVICE_INSTANCES, service};

/// Writes the configuration beside `data` and returns the command line that reads it.
pub(crate) fn arguments(ip: Ipv4Addr, data: &Path, instances: u32) -> anyhow::Result<Vec<String>> {
    let file = data.with_extension("conf");
    std::fs::write(&file, configuration(ip, instances))
        .with_context(|| file.display().to_string())?;
    Ok(vec!["-d".to_owned(), "-c".to_owned(), file.display().to_string()])
}

/// One thread, no rights to drop, nothing but our zone; times to live of zero, as the others have.
fn configuration(ip: Ipv4Addr, instances: u32) -> String {
    let mut out = format!(
        "server:\n  num-threads: 1\n  interface: {ip}@{DNS_PORT}\n  access-control: 127.0.0.0/8 \
         allow\n  do-daemonize: no\n  username: \"\"\n  chroot: \"\"\n  directory: \"\"\n  \
         pidfile: \"\"\n  use-syslog: no\n  module-config: \"iterator\"\n  local-zone: \
         \"consul.\" static\n"
    );
    let mut local = |record: String| {
        out.push_str("  local-data: \"");
        out.push_str(&record);
        out.push_str("\"\n");
    };
    for number in 0..instances {
        let (service, node) = (service(number / SERVICE_INSTANCES), node(number).name);
        let target = format!("{} {node}.node.dc1.consul.", port(number));
        local(format!("{service}.service.consul. 0 IN SRV 1 1 {target}"));
    }
    for Node { name, address } in (0..instances.min(NODES)).map(node) {
        local(format!("{name}.node.dc1.consul. 0 IN A {address}"));
    }
    out.push_str("remote-control:\n  control-enable: no\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_holds_every_instance() {
        let text = configuration(Ipv4Addr::new(127, 0, 4, 1), 2_000);
        assert!(text.contains("  interface: 127.0.4.1@8600\n"), "{text}");
        for record in [
            "bench-000000.service.consul. 0 IN SRV 1 1 20000 bench-node-9.node.dc1.consul.",
            "bench-000199.service.consul. 0 IN SRV 1 1 20001 bench-node-999.node.dc1.consul.",
            "bench-node-999.node.dc1.consul. 0 IN A 10.77.3.231",
        ] {
            assert!(text.contains(&format!("  local-data: \"{record}\"\n")), "{record}");
        }
        assert_eq!(text.matches(" IN SRV ").count(), 2_000);
        assert_eq!(text.matches(" IN A ").count(), 1_000);
    }
}
