//! `join`, `leave`, `force-leave`, `reload`: words to the agent itself.

use anyhow::{Context as _, Result};
use clap::CommandFactory as _;

use super::flags::help_of;
use super::screen::{DONE, FAILED, Screen};
use super::target::Target;

/// Tells a running agent to join a cluster.
#[derive(Debug, clap::Args)]
pub(super) struct Join {
    #[command(flatten)]
    at: Target,
    /// Join another server in the pool of all datacenters.
    #[arg(long)]
    wan: bool,
    #[arg(value_name = "ADDRESS")]
    args: Vec<String>,
}

/// Gracefully leaves the cluster and shuts the agent down.
#[derive(Debug, clap::Args)]
pub(super) struct Leave {
    #[command(flatten)]
    at: Target,
    #[arg(hide = true)]
    args: Vec<String>,
}

/// Forces a member of the cluster to enter the "left" state.
#[derive(Debug, clap::Args)]
#[command(name = "force-leave")]
pub(super) struct ForceLeave {
    #[command(flatten)]
    at: Target,
    /// Remove the agent from the list of members too.
    #[arg(long)]
    prune: bool,
    #[arg(value_name = "NAME")]
    args: Vec<String>,
}

/// Triggers the agent to read its configuration again.
#[derive(Debug, clap::Args)]
pub(super) struct Reload {
    #[command(flatten)]
    at: Target,
    #[arg(hide = true)]
    args: Vec<String>,
}

impl Join {
    pub(super) async fn run(self, screen: &mut Screen<'_>) -> Result<u8> {
        if self.args.is_empty() {
            screen.warn("At least one address to join must be specified.\n")?;
            return usage(screen, "join");
        }
        let api = self.at.open()?;
        let query = [("wan", "1")];
        let query = if self.wan { &query[..] } else { &[] };
        let mut joined = 0;
        for address in &self.args {
            match api.put(&format!("agent/join/{address}"), query, Vec::new()).await {
                Ok(_) => joined += 1,
                Err(error) => {
                    screen.warn(format_args!("Error joining address '{address}': {error:#}"))?;
                }
            }
        }
        if joined == 0 {
            return screen.fail("Failed to join any nodes.");
        }
        screen.say(format_args!("Successfully joined cluster by contacting {joined} nodes."))?;
        Ok(DONE)
    }
}

impl Leave {
    pub(super) async fn run(self, screen: &mut Screen<'_>) -> Result<u8> {
        if !self.args.is_empty() {
            let extra = self.args.join(" ");
            return screen.fail(format_args!("Error found unexpected args: [{extra}]"));
        }
        self.at.open()?.put("agent/leave", &[], Vec::new()).await.context("Error leaving")?;
        screen.say("Graceful leave complete")?;
        Ok(DONE)
    }
}

impl ForceLeave {
    pub(super) async fn run(self, screen: &mut Screen<'_>) -> Result<u8> {
        let [name] = self.args.as_slice() else {
            screen.warn("A single node name must be specified to force leave.\n")?;
            return usage(screen, "force-leave");
        };
        let query = [("prune", "1")];
        let query = if self.prune { &query[..] } else { &[] };
        let path = format!("agent/force-leave/{name}");
        let left = self.at.open()?.put(&path, query, Vec::new()).await;
        left.context("Error force leaving")?;
        Ok(DONE)
    }
}

impl Reload {
    pub(super) async fn run(self, screen: &mut Screen<'_>) -> Result<u8> {
        self.at.open()?.put("agent/reload", &[], Vec::new()).await.context("Error reloading")?;
        screen.say("Configuration reload triggered")?;
        Ok(DONE)
    }
}

/// The help of a command as an answer to a wrong use of it.
pub(super) fn usage(screen: &mut Screen<'_>, name: &str) -> Result<u8> {
    let mut root = super::run::Cli::command();
    root.build();
    let command = root.find_subcommand(name).expect("the callers name subcommands");
    screen.warn(help_of(command))?;
    Ok(FAILED)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::play;

    #[test]
    fn words_to_the_agent() {
        let table: [(&[&str], &str, &str); 5] = [
            (
                &["join", "-wan", "a"],
                "PUT /v1/agent/join/a?wan=1",
                "Successfully joined cluster by contacting 1 nodes.\n",
            ),
            (&["leave"], "PUT /v1/agent/leave", "Graceful leave complete\n"),
            (&["reload"], "PUT /v1/agent/reload", "Configuration reload triggered\n"),
            (&["force-leave", "n"], "PUT /v1/agent/force-leave/n", ""),
            (&["force-leave", "-prune", "n"], "PUT /v1/agent/force-leave/n?prune=1", ""),
        ];
        for (line, asked, shown) in table {
            let (code, out, err, got) = play(line, &[(200, "")]);
            assert_eq!((code, out.as_str(), err.as_str()), (0, shown, ""), "{line:?}");
            assert_eq!(got, [asked]);
        }
        let (code, _, err, _) = play(&["join", "a"], &[(500, "no")]);
        let told = "Error joining address 'a': Unexpected response code: 500 (no)\n\
                    Failed to join any nodes.\n";
        assert_eq!((code, err.as_str()), (1, told));
        let (code, _, err, _) = play(&["force-leave"], &[]);
        assert_eq!(code, 1);
        assert!(err.starts_with("A single node name must be specified to force leave.\n\n"));
    }
}
