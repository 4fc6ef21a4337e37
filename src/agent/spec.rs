//! A check as its owner defines it, and which of them may run programs on this host.

use serde::{Deserialize, Serialize};

use crate::model::{Check, CheckKind};

use super::handle::AgentError;

/// A check as its owner defines it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckSpec {
    /// Id, name, notes, service, first status, kind and definition; empty id and name are filled
    /// in by [`super::Agent::register_service`] as Consul does (`service:<id>`,
    /// `service:<id>:1`…).
    pub check: Check,
    /// What it is run with beyond `check.definition`. Stays on this host.
    pub how: CheckRun,
    /// Passing results in a row before it passes; 0 and 1 mean at once.
    pub success_before_passing: u32,
    /// Failures in a row before it warns; 0 means as many as before it is critical.
    pub failures_before_warning: u32,
    /// Failures in a row before it is critical; 0 and 1 mean at once.
    pub failures_before_critical: u32,
    /// Bytes of output kept, at most [`crate::limits::CHECK_OUTPUT_BYTES_MAX`], which 0 means.
    pub output_max: usize,
    /// Whether it stands in a configuration file of this host and did not come over the network.
    pub from_file: bool,
}

/// What a check is run with, by kind; empty texts are unset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckRun {
    /// The program of a script or Docker check and its arguments; no shell reads them.
    pub args: Vec<String>,
    /// The container that a Docker check runs its program in.
    pub container: String,
    /// The shell of a Docker check; kept, for a program is always given whole.
    pub shell: String,
    /// `host:port` of a UDP check.
    pub udp: String,
    /// `host:port` or `host:port/service` of a gRPC check.
    pub grpc: String,
    /// `host:port` of an HTTP/2 ping.
    pub h2ping: String,
    /// Whether a gRPC, HTTP/2 or TCP check speaks TLS.
    pub tls: bool,
    /// The name that a certificate must be of, where it is not the host of the address.
    pub tls_server_name: String,
    /// Whether an HTTP check judges a redirect instead of following it.
    pub disable_redirects: bool,
    /// The node that an alias check looks at; empty is this one.
    pub alias_node: String,
    /// The id of the instance that an alias check looks at; empty is the node alone.
    pub alias_service: String,
}

/// Which checks may run programs: on this host, or through Docker in a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scripts {
    /// None.
    #[default]
    Off,
    /// Those of this host's configuration files.
    FromFiles,
    /// All, whoever registers them.
    On,
}

impl Scripts {
    /// Whether this check may be run.
    ///
    /// # Errors
    ///
    /// [`AgentError::ScriptsOff`] if it runs a program and must not.
    ///
    /// Source: Consul agent configuration, "enable_script_checks".
    pub fn judge(self, spec: &CheckSpec) -> Result<(), AgentError> {
        let runs_program = match spec.check.kind {
            CheckKind::Script | CheckKind::Docker => true,
            CheckKind::None
            | CheckKind::Ttl
            | CheckKind::Http
            | CheckKind::Tcp
            | CheckKind::Maintenance
            | CheckKind::Udp
            | CheckKind::Grpc
            | CheckKind::H2ping
            | CheckKind::Alias => false,
        };
        let allowed = match self {
            Self::Off => false,
            Self::FromFiles => spec.from_file,
            Self::On => true,
        };
        if !runs_program || allowed {
            return Ok(());
        }
        Err(AgentError::ScriptsOff(if spec.from_file {
            "Scripts are disabled on this agent; to enable, configure 'enable_script_checks' or \
             'enable_local_script_checks' to true"
        } else {
            "Scripts are disabled on this agent from remote calls; to enable, configure \
             'enable_script_checks' to true"
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_run_only_where_the_operator_lets_them() {
        let spec = |kind, from_file| {
            let check = Check { kind, ..Check::default() };
            CheckSpec { check, from_file, ..CheckSpec::default() }
        };
        for kind in [CheckKind::Script, CheckKind::Docker] {
            for (scripts, file, network) in [
                (Scripts::Off, false, false),
                (Scripts::FromFiles, true, false),
                (Scripts::On, true, true),
            ] {
                assert_eq!(scripts.judge(&spec(kind, true)).is_ok(), file, "{scripts:?}");
                assert_eq!(scripts.judge(&spec(kind, false)).is_ok(), network, "{scripts:?}");
            }
        }
        assert_eq!(Scripts::Off.judge(&spec(CheckKind::Http, false)), Ok(()));
        let text = Scripts::FromFiles.judge(&spec(CheckKind::Script, false)).unwrap_err();
        assert!(text.to_string().contains("from remote calls"), "{text}");
    }
}
