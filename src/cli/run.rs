//! Finds the subcommand and runs it.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use clap::error::{ContextKind, ContextValue};
use clap::{CommandFactory as _, FromArgMatches as _, Parser};

use super::flags::{Words, translate, wrong_flag};
use super::screen::{DONE, FAILED, Screen};
use super::{
    absent, agent, catalog, debug, event, exec, info, keyring, kv, lock, maint, members,
    membership, monitor, operator, rtt, services, session, snapshot, validate, version, watch,
};
use crate::config::{Config, reference};

/// A control-plane store: where every container is, on which port, and whether it is fit to sail.
#[derive(Debug, Parser)]
#[command(name = "portolan", disable_help_flag = true, disable_help_subcommand = true)]
pub(super) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
#[command(disable_help_subcommand = true)]
enum Command {
    Agent(Agent),
    /// Interact with the catalog.
    #[command(subcommand)]
    Catalog(catalog::Catalog),
    Completions(absent::Completions),
    /// What the agent can be told.
    #[command(subcommand, hide = true)]
    Config(validate::Configs),
    Debug(debug::Debug),
    Event(event::Event),
    Exec(Box<exec::Exec>),
    ForceLeave(membership::ForceLeave),
    Info(info::Info),
    Join(membership::Join),
    Keygen(validate::Keygen),
    Keyring(keyring::Keyring),
    /// Interact with the key-value store.
    #[command(subcommand)]
    Kv(kv::Kv),
    Leave(membership::Leave),
    Lock(lock::Lock),
    Maint(maint::Maint),
    Members(members::Members),
    Monitor(monitor::Monitor),
    /// Provides cluster-level tools for operators.
    #[command(subcommand)]
    Operator(operator::Operator),
    Reload(membership::Reload),
    Rtt(rtt::Rtt),
    /// Interact with services.
    #[command(subcommand)]
    Services(services::Services),
    /// Interact with sessions.
    #[command(subcommand)]
    Session(session::Session),
    /// Saves, restores, imports and inspects snapshots of server state.
    #[command(subcommand)]
    Snapshot(snapshot::Snapshot),
    Validate(validate::Validate),
    Version(version::Version),
    Watch(watch::Watch),
}

/// Runs an agent; its flags are those of the configuration reference.
#[derive(Debug, clap::Args)]
struct Agent {
    #[arg(hide = true)]
    args: Vec<String>,
}

/// Runs the command line `args`, whose first word is the program's own name.
///
/// `agent` reads its configuration and calls `run_agent` with it, in this thread and outside any
/// runtime; everything else runs here and returns when it is done. Called through a link named
/// `consul`, the program calls itself so.
///
/// The exit code is 0 if it was done, 1 if not, 127 for an unknown word, or what the subcommand
/// says.
///
/// Source: Consul commands (CLI), 1.8.
pub fn run(args: &[String], run_agent: impl FnOnce(Config) -> ExitCode) -> ExitCode {
    let (program, words) = match args.split_first() {
        Some((first, rest)) => (program_of(first), rest),
        None => ("portolan", &[][..]),
    };
    let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
    let mut screen = Screen { out: &mut out, err: &mut err };
    if let Some((word, rest)) = words.split_first()
        && word == "agent"
    {
        if rest.iter().any(|word| matches!(word.as_str(), "-h" | "-help" | "--help")) {
            let help = format!("Usage: {program} agent [options]\n\n{}", reference());
            return ExitCode::from(told(screen.say(help).map(|()| DONE), &mut screen));
        }
        return match agent::load(rest, &mut screen) {
            Ok(config) => run_agent(config),
            Err(code) => code,
        };
    }
    ExitCode::from(run_words(program, words, &mut screen))
}

/// Runs any subcommand but `agent`.
pub(super) fn run_words(program: &str, words: &[String], screen: &mut Screen<'_>) -> u8 {
    let done = run_command(program, words, screen);
    let code = told(done, screen);
    told(screen.flush().map(|()| code), screen)
}

fn run_command(program: &str, words: &[String], screen: &mut Screen<'_>) -> Result<u8> {
    if let Some("-v" | "-version" | "--version") = words.first().map(String::as_str) {
        return version::print(screen);
    }
    if let Some(answered) = absent::autocomplete(words, screen) {
        return answered;
    }
    if let Some(text) = absent::absent(words) {
        return screen.fail(text);
    }
    let root = root(program);
    let ready = match translate(&root, words) {
        Words::Ready(ready) => ready,
        Words::Help(text) => return screen.say(text).map(|()| DONE),
        Words::Wrong(text, code) => return screen.warn(text).map(|()| code),
    };
    let parsed = root.clone().try_get_matches_from(&ready);
    let cli = match parsed.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => {
            let Words::Wrong(text, code) = wrong_flag(leaf(&root, words), &complaint(&error))
            else {
                return Ok(FAILED);
            };
            return screen.warn(text).map(|()| code);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(Box::pin(cli.command.run(screen)))
}

impl Command {
    async fn run(self, screen: &mut Screen<'_>) -> Result<u8> {
        match self {
            Self::Agent(Agent { .. }) => screen.fail("agent starts a process of its own"),
            Self::Catalog(catalog) => catalog.run(screen).await,
            Self::Completions(completions) => completions.run(screen),
            Self::Config(config) => config.run(screen),
            Self::Debug(debug) => debug.run(screen).await,
            Self::Event(event) => event.run(screen).await,
            Self::Exec(exec) => exec.run(screen),
            Self::ForceLeave(force_leave) => force_leave.run(screen).await,
            Self::Info(info) => info.run(screen).await,
            Self::Join(join) => join.run(screen).await,
            Self::Keygen(keygen) => keygen.run(screen),
            Self::Keyring(keyring) => keyring.run(screen).await,
            Self::Kv(kv) => kv.run(screen).await,
            Self::Leave(leave) => leave.run(screen).await,
            Self::Lock(lock) => lock.run(screen).await,
            Self::Maint(maint) => maint.run(screen).await,
            Self::Members(members) => members.run(screen).await,
            Self::Monitor(monitor) => monitor.run(screen).await,
            Self::Operator(operator) => operator.run(screen).await,
            Self::Reload(reload) => reload.run(screen).await,
            Self::Rtt(rtt) => rtt.run(screen).await,
            Self::Services(services) => services.run(screen).await,
            Self::Session(session) => session.run(screen).await,
            Self::Snapshot(snapshot) => snapshot.run(screen).await,
            Self::Validate(validate) => validate.run(screen),
            Self::Version(version) => version.run(screen),
            Self::Watch(watch) => watch.run(screen).await,
        }
    }
}

fn root(program: &str) -> clap::Command {
    let mut root = Cli::command().name(program.to_owned()).bin_name(program.to_owned());
    root.build();
    root
}

fn program_of(first: &str) -> &'static str {
    match Path::new(first).file_name().and_then(|name| name.to_str()) {
        Some(name) if name.ends_with("consul") => "consul",
        _ => "portolan",
    }
}

/// The exit code of what was done; an error is told in one line.
fn told(done: Result<u8>, screen: &mut Screen<'_>) -> u8 {
    match done {
        Ok(code) => code,
        Err(error) => {
            let pipe = error.downcast_ref::<std::io::Error>();
            if pipe.is_none_or(|error| error.kind() != std::io::ErrorKind::BrokenPipe) {
                // Where even standard error is gone, the exit code still tells.
                drop(screen.warn(format_args!("{error:#}")));
            }
            FAILED
        }
    }
}

/// Go's words for a value that its flag cannot take.
fn complaint(error: &clap::Error) -> String {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        _ => String::new(),
    };
    let flag = text(ContextKind::InvalidArg);
    let flag = flag.split([' ', '=']).next().unwrap_or_default().trim_start_matches('-');
    let value = text(ContextKind::InvalidValue);
    match flag {
        "" => error.to_string().trim_end().to_owned(),
        flag => format!("invalid value {value:?} for flag -{flag}: parse error"),
    }
}

/// The command that the leading words name.
fn leaf<'a>(root: &'a clap::Command, words: &[String]) -> &'a clap::Command {
    let mut command = root;
    for word in words {
        match command.find_subcommand(word) {
            Some(next) => command = next,
            None => break,
        }
    }
    command
}

/// How many leading words name the command, for tests that put a flag behind them.
#[cfg(test)]
pub(super) fn leaf_of(words: &[String]) -> usize {
    let root = root("portolan");
    let mut command = &root;
    for (at, word) in words.iter().enumerate() {
        match command.find_subcommand(word) {
            Some(next) => command = next,
            None => return at,
        }
    }
    words.len()
}

#[cfg(test)]
mod tests {
    use super::super::flags::help_of;
    use super::*;

    fn run_line(line: &str) -> (u8, String, String) {
        let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = run_words("consul", &words, &mut Screen { out: &mut out, err: &mut err });
        (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    #[test]
    fn the_command_tree_is_sound() {
        Cli::command().debug_assert();
        assert!(!help_of(&root("consul")).contains("--"));
    }

    #[test]
    fn the_program_takes_the_name_it_was_called_by() {
        assert_eq!(program_of("/usr/bin/consul"), "consul");
        assert_eq!(program_of("target/debug/portolan"), "portolan");
        let (code, out, _) = run_line("kv get -h");
        assert_eq!(code, 0);
        assert!(out.contains("Usage: consul kv get"), "{out}");
        let (code, out, _) = run_line("version");
        assert_eq!(code, 0);
        assert!(out.starts_with("Portolan v") && out.ends_with("(speaks Consul 1.8)\n"), "{out}");
    }

    #[test]
    fn wrong_values_are_told_in_gos_words() {
        let (code, _, err) = run_line("kv put -flags=x a");
        assert_eq!(code, 1);
        assert!(err.starts_with("invalid value \"x\" for flag -flags: parse error\n"), "{err}");
        let (code, _, err) = run_line("lock -timeout=x a b");
        assert_eq!(code, 1);
        assert!(err.starts_with("invalid value \"x\" for flag -timeout: parse error\n"), "{err}");
        assert_eq!(run_line("bogus").0, 127);
        assert_eq!(run_line("kv").0, 1);
    }

    #[test]
    fn an_agent_that_is_not_there_is_named() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let (code, _, err) = run_line(&format!("members -http-addr={address}"));
        let url = format!("http://{address}/v1/agent/members?segment=_all");
        let refused = format!("dial tcp {address}: connect: connection refused");
        assert_eq!(
            (code, err),
            (1, format!("Error retrieving members: Get \"{url}\": {refused}\n"))
        );
    }
}
