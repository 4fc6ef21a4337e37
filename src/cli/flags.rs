//! Flags as Go programs take them, turned into what clap reads.
//!
//! One dash or two, `-flag value` or `-flag=value`, switches with `=false`, the last of several
//! wins, and the first argument that is no flag ends the flags.

use clap::{Arg, ArgAction, Command};

/// Exit code where the first word is no subcommand.
const UNKNOWN_COMMAND: u8 = 127;

/// What the arguments come to.
#[derive(Debug)]
pub(super) enum Words {
    /// Arguments for clap, the program's name first.
    Ready(Vec<String>),
    /// The help text of a command was asked for.
    Help(String),
    /// The arguments are wrong: text for standard error, exit code.
    Wrong(String, u8),
}

/// Translates `args`, which start behind the program's name.
pub(super) fn translate(root: &Command, args: &[String]) -> Words {
    let mut command = root;
    let mut ready = vec![root.get_name().to_owned()];
    let mut rest = args;
    while command.has_subcommands() {
        let Some((word, tail)) = rest.split_first() else {
            return Words::Wrong(help_of(command), code_at(command, root));
        };
        if is_help(word) {
            return Words::Help(help_of(command));
        }
        let Some(next) = command.find_subcommand(word) else {
            return Words::Wrong(help_of(command), code_at(command, root));
        };
        ready.push(word.clone());
        (command, rest) = (next, tail);
    }
    let mut flags: Vec<(String, String)> = Vec::new();
    while let Some((word, tail)) = rest.split_first() {
        if word == "--" {
            rest = tail;
            break;
        }
        if word == "-" || !word.starts_with('-') {
            break;
        }
        if is_help(word) {
            return Words::Help(help_of(command));
        }
        match flag_of(command, word, tail) {
            Ok((name, value, after)) => {
                let repeats = find(command, &name).is_some_and(takes_many);
                flags.retain(|flag| repeats || flag.0 != name);
                flags.push((name, value));
                rest = after;
            }
            Err(message) => return wrong_flag(command, &message),
        }
    }
    ready.extend(flags.iter().filter_map(|(name, value)| spelled(command, name, value)));
    ready.push("--".to_owned());
    ready.extend(rest.iter().cloned());
    Words::Ready(ready)
}

/// The text for a wrong flag: what is wrong, then the command's help.
pub(super) fn wrong_flag(command: &Command, message: &str) -> Words {
    Words::Wrong(format!("{message}\n{}", help_of(command)), 1)
}

/// The help of a command, with one dash as we write flags.
pub(super) fn help_of(command: &Command) -> String {
    command.clone().render_help().to_string().replace("--", "-")
}

/// The name and value of the flag in `word`, and the arguments behind it.
fn flag_of<'a>(
    command: &Command,
    word: &str,
    tail: &'a [String],
) -> Result<(String, String, &'a [String]), String> {
    let body = word.strip_prefix("--").or_else(|| word.strip_prefix('-')).unwrap_or(word);
    let (name, inline) = match body.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (body, None),
    };
    let Some(arg) = find(command, name) else {
        return Err(format!("flag provided but not defined: -{name}"));
    };
    if is_switch(arg) {
        let text = inline.unwrap_or_else(|| "true".to_owned());
        let switch = match text.as_str() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => "true",
            "0" | "f" | "F" | "false" | "FALSE" | "False" => "false",
            _ => return Err(format!("invalid boolean value {text:?} for -{name}: parse error")),
        };
        return Ok((name.to_owned(), switch.to_owned(), tail));
    }
    match (inline, tail.split_first()) {
        (Some(value), _) => Ok((name.to_owned(), value, tail)),
        (None, Some((value, after))) => Ok((name.to_owned(), value.clone(), after)),
        (None, None) => Err(format!("flag needs an argument: -{name}")),
    }
}

/// The flag in clap's spelling, or `None` for a switch that is off by being absent.
fn spelled(command: &Command, name: &str, value: &str) -> Option<String> {
    let absent_is_off =
        find(command, name).is_some_and(|arg| matches!(arg.get_action(), ArgAction::SetTrue));
    match (absent_is_off, value) {
        (true, "true") => Some(format!("--{name}")),
        (true, _) => None,
        (false, value) => Some(format!("--{name}={value}")),
    }
}

fn find<'a>(command: &'a Command, name: &str) -> Option<&'a Arg> {
    command.get_arguments().find(|arg| arg.get_long() == Some(name))
}

fn takes_many(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append)
}

fn is_switch(arg: &Arg) -> bool {
    let values = arg.get_possible_values();
    matches!(arg.get_action(), ArgAction::SetTrue)
        || values.iter().map(clap::builder::PossibleValue::get_name).eq(["true", "false"])
}

fn is_help(word: &str) -> bool {
    matches!(word, "-h" | "-help" | "--help" | "--h")
}

fn code_at(command: &Command, root: &Command) -> u8 {
    if std::ptr::eq(command, root) { UNKNOWN_COMMAND } else { 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> Command {
        let put = Command::new("put")
            .arg(Arg::new("cas").long("cas").action(ArgAction::SetTrue))
            .arg(Arg::new("flags").long("flags"))
            .arg(Arg::new("tag").long("tag").action(ArgAction::Append))
            .arg(
                Arg::new("shell")
                    .long("shell")
                    .action(ArgAction::Set)
                    .value_parser(clap::value_parser!(bool)),
            )
            .arg(Arg::new("args").num_args(0..));
        Command::new("p").subcommand(Command::new("kv").subcommand(put))
    }

    fn words(line: &str) -> Words {
        translate(&root(), &line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn gos_flags_become_claps() {
        let table = [
            ("kv put -cas -flags=3 a b", "p kv put --cas --flags=3 -- a b"),
            ("kv put --flags 3 -flags=4 a -cas", "p kv put --flags=4 -- a -cas"),
            (
                "kv put -cas=false -shell=f -tag a -tag b -",
                "p kv put --shell=false --tag=a --tag=b -- -",
            ),
            ("kv put -- -x", "p kv put -- -x"),
        ];
        for (line, expected) in table {
            match words(line) {
                Words::Ready(ready) => assert_eq!(ready.join(" "), expected),
                other => panic!("{line}: {other:?}"),
            }
        }
    }

    #[test]
    fn wrong_words_are_named() {
        let table = [
            ("", 127, "Usage"),
            ("bogus", 127, "Usage"),
            ("kv", 1, "Usage"),
            ("kv bogus", 1, "Usage"),
            ("kv put -x", 1, "flag provided but not defined: -x\n"),
            ("kv put -flags", 1, "flag needs an argument: -flags\n"),
            ("kv put -cas=2", 1, "invalid boolean value \"2\" for -cas: parse error\n"),
        ];
        for (line, code, text) in table {
            match words(line) {
                Words::Wrong(told, exit) => {
                    assert!(told.contains(text), "{line}: {told}");
                    assert_eq!(exit, code, "{line}");
                }
                other => panic!("{line}: {other:?}"),
            }
        }
        assert!(matches!(words("kv put -h"), Words::Help(_)));
        assert!(matches!(words("-help"), Words::Help(_)));
    }
}
