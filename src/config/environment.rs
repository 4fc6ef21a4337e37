//! The only reader of the process's environment; the command line is its only customer.

/// What the environment says about how to reach an agent.
///
/// Each field is read from `PORTOLAN_<NAME>` and, where that is absent or empty, from
/// `CONSUL_<NAME>`, so that scripts written for Consul keep working. Empty counts as absent.
///
/// Source: Consul commands, "Environment Variables".
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment {
    /// `HTTP_ADDR`: `host:port`, `http://host:port`, `https://host:port` or `unix:///path`.
    pub http_addr: Option<String>,
    /// `HTTP_TOKEN`: ACL token.
    pub http_token: Option<String>,
    /// `HTTP_TOKEN_FILE`: file that holds the ACL token.
    pub http_token_file: Option<String>,
    /// `HTTP_AUTH`: `user` or `user:password` for basic authentication.
    pub http_auth: Option<String>,
    /// `HTTP_SSL`: `true` asks for https where the address names no scheme.
    pub http_ssl: Option<String>,
    /// `HTTP_SSL_VERIFY`: `false` accepts any certificate.
    pub http_ssl_verify: Option<String>,
    /// `CACERT`: file of certificate authorities.
    pub cacert: Option<String>,
    /// `CAPATH`: folder of certificate authorities.
    pub capath: Option<String>,
    /// `CLIENT_CERT`: our certificate.
    pub client_cert: Option<String>,
    /// `CLIENT_KEY`: its key.
    pub client_key: Option<String>,
    /// `TLS_SERVER_NAME`: the name to expect in the server's certificate.
    pub tls_server_name: Option<String>,
    /// `NAMESPACE`: an enterprise feature of Consul; sent along, ignored by our servers.
    pub namespace: Option<String>,
    /// `DATACENTER`: where requests go by default (ours; Consul has no such variable).
    pub datacenter: Option<String>,
    /// `SHELL`, without prefix: runs the handlers of `watch` and `lock`.
    pub shell: Option<String>,
}

/// Reads the environment once.
pub fn environment() -> Environment {
    read_with(&variable)
}

/// This host's name, or `None` where the system does not tell.
pub fn host_name() -> Option<String> {
    let told = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = told.or_else(|| variable("HOSTNAME"))?.trim().to_owned();
    (!name.is_empty()).then_some(name)
}

#[expect(clippy::disallowed_methods, reason = "config is the room that may read the environment")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn read_with(variable: &dyn Fn(&str) -> Option<String>) -> Environment {
    let filled = |name: &str| variable(name).filter(|value| !value.is_empty());
    let either = |name: &str| {
        filled(&format!("PORTOLAN_{name}")).or_else(|| filled(&format!("CONSUL_{name}")))
    };
    Environment {
        http_addr: either("HTTP_ADDR"),
        http_token: either("HTTP_TOKEN"),
        http_token_file: either("HTTP_TOKEN_FILE"),
        http_auth: either("HTTP_AUTH"),
        http_ssl: either("HTTP_SSL"),
        http_ssl_verify: either("HTTP_SSL_VERIFY"),
        cacert: either("CACERT"),
        capath: either("CAPATH"),
        client_cert: either("CLIENT_CERT"),
        client_key: either("CLIENT_KEY"),
        tls_server_name: either("TLS_SERVER_NAME"),
        namespace: either("NAMESPACE"),
        datacenter: either("DATACENTER"),
        shell: filled("SHELL"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_name_wins_over_consuls_and_empty_is_absent() {
        let read = read_with(&|name| {
            let value = match name {
                "PORTOLAN_HTTP_ADDR" => "127.0.0.1:1",
                "CONSUL_HTTP_ADDR" => "127.0.0.1:2",
                "PORTOLAN_HTTP_TOKEN" => "",
                "CONSUL_HTTP_TOKEN" => "secret",
                "SHELL" => "/bin/zsh",
                _ => return None,
            };
            Some(value.to_owned())
        });
        let expected = Environment {
            http_addr: Some("127.0.0.1:1".to_owned()),
            http_token: Some("secret".to_owned()),
            shell: Some("/bin/zsh".to_owned()),
            ..Environment::default()
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn this_host_has_a_name() {
        assert!(host_name().is_some_and(|name| !name.contains('\n')));
    }
}
