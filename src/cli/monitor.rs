//! `monitor`: the agent's log as it comes.

use anyhow::{Context as _, Result, bail};
use reqwest::{Method, Response};

use super::api::{Api, hold, refused};
use super::screen::{DONE, Screen};
use super::shell::interrupted;
use super::target::Target;

/// Longest text of a refusal that is read, in bytes.
const REFUSAL_BYTES_MAX: usize = 64 << 10;

/// Stream logs from a Consul agent.
#[derive(Debug, clap::Args)]
pub(super) struct Monitor {
    #[command(flatten)]
    at: Target,
    /// Least level of the lines: trace, debug, info, warn or err.
    #[arg(long = "log-level", value_name = "string", default_value = "INFO")]
    log_level: String,
    /// Lines in JSON.
    #[arg(long = "log-json")]
    log_json: bool,
    #[arg(hide = true)]
    args: Vec<String>,
}

/// Opens the stream of an agent's log.
pub(super) async fn stream(api: &Api, level: &str, json: bool) -> Result<Response> {
    let query = [("loglevel", level), ("logjson", "true")];
    let query = if json { &query[..] } else { &query[..1] };
    let response = api.open(Method::GET, "agent/monitor", query, Vec::new()).await?;
    let status = response.status().as_u16();
    if status == 200 {
        return Ok(response);
    }
    bail!(refused(status, &hold(response, REFUSAL_BYTES_MAX).await?))
}

impl Monitor {
    pub(super) async fn run(self, screen: &mut Screen<'_>) -> Result<u8> {
        let opened = stream(&self.at.open()?, &self.log_level, self.log_json).await;
        let mut response = opened.context("Error starting monitor")?;
        let mut stopped = Box::pin(interrupted());
        loop {
            // What was read is written before the next wait.
            let chunk = tokio::select! {
                chunk = response.chunk() => chunk,
                stopped = &mut stopped => return stopped.map(|()| DONE),
            };
            // A stream that breaks off ends as one that is closed.
            let Ok(Some(chunk)) = chunk else { break };
            screen.out.write_all(&chunk)?;
            screen.flush()?;
        }
        screen.fail(
            "\nRemote side ended the monitor! This usually means that the\n\
             remote side has exited or crashed.",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::play;

    #[test]
    fn lines_are_shown_until_the_agent_ends() {
        let line = ["monitor", "-log-level=debug", "-log-json"];
        let (code, out, err, asked) = play(&line, &[(200, "one\ntwo\n")]);
        assert_eq!((code, out.as_str()), (1, "one\ntwo\n"));
        assert!(err.contains("Remote side ended the monitor!"), "{err}");
        assert_eq!(asked, ["GET /v1/agent/monitor?loglevel=debug&logjson=true"]);
        let (code, _, err, asked) = play(&["monitor"], &[(400, "Unknown log level: x")]);
        let told = "Error starting monitor: Unexpected response code: 400 (Unknown log level: x)\n";
        assert_eq!((code, err.as_str()), (1, told));
        assert_eq!(asked, ["GET /v1/agent/monitor?loglevel=INFO"]);
    }
}
