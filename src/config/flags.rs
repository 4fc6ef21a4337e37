//! The command line of `agent`: Consul's flags, with one dash or two.

use std::path::PathBuf;

use super::layer::{ConfigError, Layer, parse_switch};
use super::load::Format;
use super::options::{Kind, find_flag};

/// Most arguments of one command line.
const ARGUMENTS_MAX: usize = 4096;

/// What the command line said, in the order in which it counts.
#[derive(Debug, Default)]
pub(super) struct Flags {
    pub(super) dev: bool,
    pub(super) paths: Vec<PathBuf>,
    pub(super) format: Option<Format>,
    pub(super) fragments: Vec<String>,
    pub(super) values: Layer,
}

impl Flags {
    /// Reads the arguments behind `agent`.
    pub(super) fn parse(args: &[String]) -> Result<Self, ConfigError> {
        if args.len() > ARGUMENTS_MAX {
            return Err(ConfigError::new(format!(
                "{} arguments are more than {ARGUMENTS_MAX}",
                args.len()
            )));
        }
        let mut flags = Self::default();
        let mut rest = args.iter();
        while let Some(arg) = rest.next() {
            let Some(body) = dashless(arg) else {
                let extra: Vec<_> = std::iter::once(arg).chain(rest).cloned().collect();
                let extra = extra.join(" ");
                return Err(ConfigError::new(format!("Unexpected extra arguments: [{extra}]")));
            };
            let (name, inline) = match body.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (body, None),
            };
            let value = match inline {
                Some(value) => value,
                None if is_switch(name) => "true".to_owned(),
                None if !is_known(name) => String::new(),
                None => rest
                    .next()
                    .cloned()
                    .ok_or_else(|| ConfigError::new(format!("flag needs an argument: -{name}")))?,
            };
            flags.set(name, value)?;
        }
        Ok(flags)
    }

    fn set(&mut self, name: &str, value: String) -> Result<(), ConfigError> {
        match name {
            "dev" => {
                self.dev = parse_switch(&value).ok_or_else(|| {
                    ConfigError::new(format!("invalid boolean value {value:?} for -dev"))
                })?;
            }
            "config-file" | "config-dir" => self.paths.push(PathBuf::from(value)),
            "config-format" => self.format = Some(Format::named(&value)?),
            "hcl" => self.fragments.push(value),
            _ => {
                let setting = find_flag(name).ok_or_else(|| {
                    ConfigError::new(format!("flag provided but not defined: -{name}"))
                })?;
                self.values
                    .put(setting, &value)
                    .map_err(|ConfigError(why)| ConfigError::new(format!("flag -{name}: {why}")))?;
            }
        }
        Ok(())
    }
}

/// The argument without its dashes, or `None` if it is no flag.
fn dashless(arg: &str) -> Option<&str> {
    let body = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-'))?;
    (!body.is_empty()).then_some(body)
}

fn is_switch(name: &str) -> bool {
    name == "dev" || find_flag(name).is_some_and(|setting| setting.kind == Kind::Switch)
}

fn is_known(name: &str) -> bool {
    matches!(name, "dev" | "config-file" | "config-dir" | "config-format" | "hcl")
        || find_flag(name).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Flags, ConfigError> {
        Flags::parse(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn one_dash_or_two_and_both_ways_to_give_a_value() {
        let flags = parse(
            "-server --node=a -datacenter dc2 -retry-join x --retry-join=y -node-meta k:v:w \
             -bootstrap-expect=3 -config-dir d -config-file=f.json -dev=false -ui=0",
        )
        .unwrap();
        assert!(flags.values.switch("server"));
        assert!(!flags.values.switch("ui"));
        assert!(!flags.dev);
        assert_eq!(flags.values.text("node_name"), "a");
        assert_eq!(flags.values.text("datacenter"), "dc2");
        assert_eq!(flags.values.list("retry_join"), ["x", "y"]);
        assert_eq!(flags.values.map("node_meta")["k"], "v:w");
        assert_eq!(flags.values.number("bootstrap_expect"), 3);
        assert_eq!(flags.paths, [PathBuf::from("d"), PathBuf::from("f.json")]);
    }

    #[test]
    fn nonsense_is_named() {
        let table = [
            ("-bogus x", "flag provided but not defined: -bogus"),
            ("-node", "flag needs an argument: -node"),
            ("-dev x y", "Unexpected extra arguments: [x y]"),
            ("-server=maybe", "flag -server: invalid value \"maybe\": expected true or false"),
            ("-http-port=x", "flag -http-port: invalid value \"x\": invalid digit found in string"),
            ("-http-port=70000", "flag -http-port: ports.http: invalid port: 70000"),
            ("-config-format=xml", "-config-format must be either 'hcl' or 'json'"),
        ];
        for (line, message) in table {
            assert_eq!(parse(line).unwrap_err().to_string(), message, "{line}");
        }
    }
}
