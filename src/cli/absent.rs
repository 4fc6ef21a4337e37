//! Consul's commands that this program does not have, each with a plain word; and the shells'
//! completions, which come from the table of commands.

use anyhow::Result;
use clap::CommandFactory as _;
use clap_complete::Shell;

use super::screen::{DONE, Screen};

/// The commands that are not there, and what they would be about.
const ABSENT: &[(&str, &str)] = &[
    ("acl", "access control"),
    ("connect", "the service mesh"),
    ("intention", "the service mesh"),
    ("login", "access control"),
    ("logout", "access control"),
    ("tls", "an authority for certificates"),
];

/// Subcommands of `config` in Consul; our own `config` has others.
const ABSENT_CONFIG: &[&str] = &["delete", "list", "read", "write"];

/// What a command line asks for that is not there, if it does.
pub(super) fn absent(words: &[String]) -> Option<String> {
    let first = words.first()?.as_str();
    if first == "config" {
        let second = words.get(1)?.as_str();
        return ABSENT_CONFIG.contains(&second).then(|| {
            format!("config {second} is not there: this program has no configuration entries.")
        });
    }
    let (name, about) = ABSENT.iter().find(|(name, _)| *name == first)?;
    Some(format!("{name} is not there: this program does not have {about}."))
}

/// Prints a script that completes command lines.
#[derive(Debug, clap::Args)]
pub(super) struct Completions {
    /// bash, zsh, fish, elvish or powershell.
    #[arg(value_name = "SHELL")]
    args: Vec<String>,
}

impl Completions {
    pub(super) fn run(self, screen: &mut Screen<'_>) -> Result<u8> {
        let shell = match self.args.as_slice() {
            [name] => name.parse::<Shell>().ok(),
            _ => None,
        };
        let Some(shell) = shell else {
            return screen.fail("One shell must be named: bash, zsh, fish, elvish or powershell");
        };
        let mut command = super::run::Cli::command();
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut command, "portolan", &mut script);
        screen.out.write_all(&script)?;
        Ok(DONE)
    }
}

/// Answers Consul's `-autocomplete-install` and `-autocomplete-uninstall`, if that is asked.
pub(super) fn autocomplete(words: &[String], screen: &mut Screen<'_>) -> Option<Result<u8>> {
    let install = match words.first()?.trim_start_matches('-') {
        "autocomplete-install" => true,
        "autocomplete-uninstall" => false,
        _ => return None,
    };
    if !install {
        return Some(screen.say("Nothing was installed, so nothing is taken out.").map(|()| DONE));
    }
    let told = "This program does not edit the files of your shell. Add one of these to them:\n\n  \
                source <(portolan completions bash)\n  source <(portolan completions zsh)\n  \
                portolan completions fish | source";
    Some(screen.fail(told))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_says_so() {
        for (line, told) in [
            (&["acl", "token", "list", "-format=json"][..], "acl is not there: "),
            (&["tls", "ca", "create"], "tls is not there: "),
            (&["config", "list", "-kind=x"], "config list is not there: "),
            (&["login"], "login is not there: "),
        ] {
            let words: Vec<String> = line.iter().map(|&word| word.to_owned()).collect();
            assert!(absent(&words).is_some_and(|text| text.starts_with(told)), "{line:?}");
        }
        assert_eq!(absent(&["kv".to_owned()]), None);
        assert_eq!(absent(&["config".to_owned(), "reference".to_owned()]), None);
    }

    fn run(line: &str) -> (u8, String) {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut screen = Screen { out: &mut out, err: &mut err };
        let code = super::super::run::run_words("portolan", &words, &mut screen);
        (code, String::from_utf8(out).unwrap())
    }

    #[test]
    fn completions_know_the_commands() {
        for shell in ["bash", "zsh", "fish"] {
            let (code, out) = run(&format!("completions {shell}"));
            assert!(code == 0 && out.contains("force-leave"), "{shell}");
        }
        assert_eq!(run("completions x").0, 1);
        assert_eq!(run("-autocomplete-install").0, 1);
        assert_eq!(run("acl token list -format=json").0, 1);
    }
}
