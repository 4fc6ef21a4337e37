//! The flags that say which agent to ask, and as whom.

use anyhow::{Context as _, Result, bail};

use super::api::{Api, Login};
use crate::config::{Environment, environment};

/// Where an agent is looked for when nobody says.
const ADDRESS_DEFAULT: &str = "127.0.0.1:8500";

/// Which agent to ask.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct Target {
    /// Address of the agent: host:port, a URL, or unix:///path; also `CONSUL_HTTP_ADDR`.
    #[arg(long = "http-addr", value_name = "address", help_heading = "HTTP API options")]
    http_addr: Option<String>,
    /// ACL token; also `CONSUL_HTTP_TOKEN`.
    #[arg(long, value_name = "value", help_heading = "HTTP API options")]
    token: Option<String>,
    /// File that holds the ACL token; also `CONSUL_HTTP_TOKEN_FILE`.
    #[arg(long = "token-file", value_name = "path", help_heading = "HTTP API options")]
    token_file: Option<String>,
    /// File of certificate authorities; also `CONSUL_CACERT`.
    #[arg(long = "ca-file", value_name = "path", help_heading = "HTTP API options")]
    ca_file: Option<String>,
    /// Folder of certificate authorities; also `CONSUL_CAPATH`.
    #[arg(long = "ca-path", value_name = "path", help_heading = "HTTP API options")]
    ca_path: Option<String>,
    /// Our certificate, in PEM; also `CONSUL_CLIENT_CERT`.
    #[arg(long = "client-cert", value_name = "path", help_heading = "HTTP API options")]
    client_cert: Option<String>,
    /// Its key, in PEM; also `CONSUL_CLIENT_KEY`.
    #[arg(long = "client-key", value_name = "path", help_heading = "HTTP API options")]
    client_key: Option<String>,
    /// Name to expect in the server's certificate: not supported yet.
    #[arg(long = "tls-server-name", value_name = "name", help_heading = "HTTP API options")]
    tls_server_name: Option<String>,
}

/// Which agent to ask, and which servers it should ask.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct Servers {
    #[command(flatten)]
    target: Target,
    /// Datacenter to ask; the agent's own if not given.
    #[arg(long, value_name = "name", help_heading = "HTTP API options")]
    datacenter: Option<String>,
    /// Any server may answer, perhaps with old data.
    #[arg(long, help_heading = "HTTP API options")]
    stale: bool,
    /// An enterprise feature of Consul, handed on.
    #[arg(long, value_name = "name", help_heading = "HTTP API options")]
    namespace: Option<String>,
}

impl Target {
    /// A client of this agent.
    pub(super) fn open(&self) -> Result<Api> {
        self.open_with(&environment(), &Servers::default())
    }

    fn open_with(&self, env: &Environment, servers: &Servers) -> Result<Api> {
        let either = |flag: &Option<String>, env: &Option<String>| {
            flag.clone().filter(|text| !text.is_empty()).or_else(|| env.clone())
        };
        if either(&self.tls_server_name, &env.tls_server_name).is_some() {
            bail!("-tls-server-name is not supported yet");
        }
        let login = Login {
            token: self.read_token(env)?,
            basic: env.http_auth.clone(),
            ca_file: either(&self.ca_file, &env.cacert),
            ca_path: either(&self.ca_path, &env.capath),
            client_cert: either(&self.client_cert, &env.client_cert),
            client_key: either(&self.client_key, &env.client_key),
            any_certificate: env.http_ssl_verify.as_deref() == Some("false"),
        };
        let address = either(&self.http_addr, &env.http_addr);
        let address = address.unwrap_or_else(|| ADDRESS_DEFAULT.to_owned());
        let https = matches!(env.http_ssl.as_deref(), Some("true" | "1"));
        let address = match address.split_once("://") {
            None if https => format!("https://{address}"),
            _ => address,
        };
        let mut query = Vec::new();
        let mut add = |name: &'static str, value: Option<String>| {
            query.extend(value.map(|value| (name, value)));
        };
        add("dc", either(&servers.datacenter, &env.datacenter));
        add("ns", either(&servers.namespace, &env.namespace));
        add("stale", servers.stale.then(String::new));
        Api::new(&address, &login, query)
    }

    /// The token of the flag, the flag's file, the environment, the environment's file.
    fn read_token(&self, env: &Environment) -> Result<Option<String>> {
        let read = |path: &String| {
            let text = std::fs::read_to_string(path);
            let text = text.with_context(|| format!("Error loading token file {path}"))?;
            Ok(Some(text.trim().to_owned()))
        };
        match (&self.token, &self.token_file, &env.http_token, &env.http_token_file) {
            (Some(token), ..) if !token.is_empty() => Ok(Some(token.clone())),
            (_, Some(path), ..) => read(path),
            (_, _, Some(token), _) => Ok(Some(token.clone())),
            (_, _, _, Some(path)) => read(path),
            _ => Ok(None),
        }
    }
}

impl Servers {
    /// A client that sends every request to these servers.
    pub(super) fn open(&self) -> Result<Api> {
        self.target.open_with(&environment(), self)
    }
}
