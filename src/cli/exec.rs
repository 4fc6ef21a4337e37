//! `exec`: the words of Consul's command, and the plain answer that nobody runs anything.
//!
//! *Why*: whoever may write keys would run commands as the agents' user on every host. Consul has
//! this off by default since 0.8, and our agents do not have it at all.

use std::time::Duration;

use anyhow::Result;

use super::event::Filters;
use super::membership::usage;
use super::screen::Screen;
use super::target::Servers;
use crate::config::parse_duration;

/// Executes a command on Consul nodes: never done here, agents run no command of others.
#[derive(Debug, clap::Args)]
pub(super) struct Exec {
    #[command(flatten)]
    at: Servers,
    #[command(flatten)]
    filters: Filters,
    /// Prefix of the keys that carry the request.
    #[arg(long, value_name = "string", default_value = "_rexec")]
    prefix: String,
    /// Run the command by a shell.
    #[arg(long, value_name = "bool", action = clap::ArgAction::Set, default_value_t = true)]
    shell: bool,
    /// Say more.
    #[arg(long)]
    verbose: bool,
    /// How long to wait for answers.
    #[arg(long, value_name = "duration", default_value = "2s", value_parser = parse_duration)]
    wait: Duration,
    /// How long to wait for replication before the request goes out.
    #[arg(long = "wait-repl", value_name = "duration", default_value = "200ms", value_parser = parse_duration)]
    wait_repl: Duration,
    #[arg(value_name = "COMMAND")]
    args: Vec<String>,
}

impl Exec {
    pub(super) fn run(self, screen: &mut Screen<'_>) -> Result<u8> {
        let Self { at, filters, prefix: _, shell: _, verbose: _, wait: _, wait_repl: _, args } =
            self;
        if args.is_empty() {
            screen.warn("Must specify a command to execute\n")?;
            return usage(screen, "exec");
        }
        filters.check()?;
        drop(at.open()?); // a wrong address or token file is told first
        screen.fail(
            "Remote execution is off: agents of this program run no commands of others \
             (Consul: disable_remote_exec, on by default). Nothing was sent.",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::play;

    #[test]
    fn nothing_is_ever_sent() {
        let table: [(&[&str], &str); 3] = [
            (&["exec"], "Must specify a command to execute\n\n"),
            (&["exec", "-tag=x", "true"], "Cannot provide tag filter without service filter.\n"),
            (
                &[
                    "exec",
                    "-node=n",
                    "-wait=1s",
                    "-wait-repl=1s",
                    "-shell=false",
                    "-verbose",
                    "true",
                ],
                "Remote execution is off: ",
            ),
        ];
        for (line, told) in table {
            let (code, out, err, asked) = play(line, &[]);
            assert!(code == 1 && out.is_empty() && asked.is_empty(), "{line:?}: {out}");
            assert!(err.starts_with(told), "{line:?}: {err}");
        }
    }
}
