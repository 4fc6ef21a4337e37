//! Sources in their order: defaults, `-dev`, files, `-hcl` pieces, flags.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::flags::Flags;
use super::hcl;
use super::layer::{ConfigError, Layer};
use super::values::{Config, build};

/// Longest configuration file, in bytes.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Most entries of one configuration folder.
const FOLDER_ENTRIES_MAX: usize = 4096;

/// How a configuration file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JSON.
    Json,
    /// HashiCorp's configuration language; JSON is understood too.
    Hcl,
}

impl Format {
    /// The format that the end of a file's name tells.
    pub(super) fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "json" => Some(Self::Json),
            "hcl" => Some(Self::Hcl),
            _ => None,
        }
    }

    /// The format that `-config-format` names.
    ///
    /// # Errors
    ///
    /// It is neither `hcl` nor `json`.
    pub fn named(name: &str) -> Result<Self, ConfigError> {
        match name {
            "json" => Ok(Self::Json),
            "hcl" => Ok(Self::Hcl),
            _ => Err(ConfigError::new("-config-format must be either 'hcl' or 'json'")),
        }
    }
}

impl Config {
    /// Reads everything that the arguments behind `agent` name, and checks it.
    ///
    /// Later sources win: the defaults, then `-dev`, then `-config-file` and `-config-dir` in the
    /// order given (a folder sorted by name), then `-hcl` pieces, then the other flags. Lists
    /// append, maps merge.
    ///
    /// # Errors
    ///
    /// One line that names the key, the value and the file or flag; nothing is printed.
    ///
    /// Source: Consul agent configuration, "Configuration Files".
    pub fn load(args: &[String]) -> Result<Self, ConfigError> {
        let flags = Flags::parse(args)?;
        let mut warnings = Vec::new();
        let mut told = read_paths(&flags.paths, flags.format, &mut warnings)?;
        for (at, fragment) in flags.fragments.iter().enumerate() {
            told.merge(parse(&format!("flags-{at}.hcl"), fragment, Format::Hcl)?);
        }
        told.merge(flags.values);
        build(flags.dev, told, warnings)
    }
}

/// Checks files and folders as `agent` would, without starting one.
///
/// # Errors
///
/// As [`Config::load`].
pub fn validate(paths: &[PathBuf], format: Option<Format>) -> Result<Config, ConfigError> {
    let mut warnings = Vec::new();
    let told = read_paths(paths, format, &mut warnings)?;
    build(false, told, warnings)
}

fn read_paths(
    paths: &[PathBuf],
    format: Option<Format>,
    warnings: &mut Vec<String>,
) -> Result<Layer, ConfigError> {
    let mut told = Layer::default();
    for path in paths {
        if path.is_dir() {
            for file in folder(path)? {
                if let Some(format) = Format::of(&file).or(format) {
                    told.merge(read_file(&file, format)?);
                }
            }
            continue;
        }
        match format.or_else(|| Format::of(path)) {
            Some(format) => told.merge(read_file(path, format)?),
            None if path.exists() => warnings.push(format!(
                "skipping file {}, extension must be .hcl or .json, or config format must be set",
                path.display()
            )),
            None => return Err(open_failed(path, "no such file or directory")),
        }
    }
    Ok(told)
}

/// The files of a folder, sorted by name; folders in it are passed over.
fn folder(path: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let entries = std::fs::read_dir(path).map_err(|error| open_failed(path, &told_by(&error)))?;
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| open_failed(path, &told_by(&error)))?;
        if files.len() == FOLDER_ENTRIES_MAX {
            return Err(ConfigError::new(format!(
                "{} holds more than {FOLDER_ENTRIES_MAX} files",
                path.display()
            )));
        }
        if !entry.path().is_dir() {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

/// Reads and checks one file.
pub(super) fn read_file(path: &Path, format: Format) -> Result<Layer, ConfigError> {
    let failed = |error: std::io::Error| open_failed(path, &told_by(&error));
    let length = std::fs::metadata(path).map_err(failed)?.len();
    if length > FILE_BYTES_MAX {
        return Err(ConfigError::new(format!(
            "config: {} has {length} bytes, more than {FILE_BYTES_MAX}",
            path.display()
        )));
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    parse(&path.display().to_string(), &text, format)
}

pub(super) fn parse(name: &str, text: &str, format: Format) -> Result<Layer, ConfigError> {
    let failed = |why: String| ConfigError::new(format!("failed to parse {name}: {why}"));
    let json = || serde_json::from_str::<Value>(text).map_err(|error| error.to_string());
    let root = match format {
        Format::Json => json(),
        // JSON was part of HCL's first version, which is the one that Consul reads.
        Format::Hcl if text.trim_start().starts_with('{') => json(),
        Format::Hcl => hcl::parse(text),
    };
    Layer::read(&root.map_err(failed)?).map_err(|ConfigError(why)| failed(why))
}

fn open_failed(path: &Path, why: &str) -> ConfigError {
    let path = path.display();
    ConfigError::new(format!("config: Open failed on {path}. open {path}: {why}"))
}

/// What the system says, without Rust's capital letter and number.
fn told_by(error: &std::io::Error) -> String {
    let text = error.to_string();
    let bare = text.split(" (os error").next().unwrap_or(&text);
    let mut letters = bare.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(line: &[&str]) -> Result<Config, ConfigError> {
        Config::load(&line.iter().map(|&arg| arg.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn sources_count_in_their_order() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        put("b.json", r#"{"log_level": "WARN", "retry_join": ["b"], "domain": "b"}"#);
        put(
            "a.hcl",
            "log_level = \"ERR\"\nretry_join = [\"a\"]\nnode_name = \"a\"\ndomain = \"a\"",
        );
        put("c.txt", "not read");
        std::fs::create_dir(dir.path().join("d.json")).unwrap();
        let config = load(&[
            "-dev",
            "-retry-join=flag",
            "-node=flag",
            &format!("-config-dir={}", dir.path().display()),
            "-hcl",
            "retry_join = [\"hcl\"]\nnode_name = \"hcl\"\nlog_level = \"trace\"",
        ])
        .unwrap();
        assert_eq!(config.retry_join, ["a", "b", "hcl", "flag"]);
        assert_eq!(config.node_name, "flag");
        assert_eq!(config.log_level, "TRACE");
        assert_eq!(config.domain, "b");
    }

    #[test]
    fn hcl_blocks_repeat_and_nest() {
        let text = r#"
            # a comment
            data_dir = "/x"
            performance { raft_multiplier = 3 }
            dns_config { only_passing = true }
            dns_config {
              soa { min_ttl = 5 }
              service_ttl { "db*" = "3s" }
            }
            service {
              name = "web"
              tags = ["a", "b"]
              check {
                args = ["true"]
                interval = "10s"
              }
            }
            service {
              id = "w2"
              name = "web"
              checks = [{ ttl = "1s" }]
            }
        "#;
        let config = load(&["-hcl", text]).unwrap();
        assert_eq!(config.performance.raft_multiplier, 3);
        assert!(config.dns.only_passing);
        assert_eq!(config.dns.soa.min_ttl, 5);
        assert_eq!(config.dns.service_ttl["db*"], std::time::Duration::from_secs(3));
        assert_eq!(config.services.len(), 2);
        assert_eq!(config.services[0]["check"]["interval"], "10s");
        assert_eq!(config.services[1]["checks"][0]["ttl"], "1s");
    }

    #[test]
    fn errors_name_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.json");
        std::fs::write(&file, r#"{"bogus": 1}"#).unwrap();
        let name = file.display().to_string();
        let error = load(&["-dev", "-config-file", &name]).unwrap_err().to_string();
        assert_eq!(error, format!("failed to parse {name}: invalid config key bogus"));
        let error = load(&["-dev", "-config-file", "/no/where.json"]).unwrap_err().to_string();
        let open = "open /no/where.json: no such file or directory";
        assert_eq!(error, format!("config: Open failed on /no/where.json. {open}"));
        let error = load(&["-dev", "-hcl", "x {"]).unwrap_err().to_string();
        assert!(error.starts_with("failed to parse flags-0.hcl: "), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }

    #[test]
    fn a_file_of_another_name_is_skipped_or_read_as_told() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.conf");
        std::fs::write(&file, "domain = \"x\"").unwrap();
        let name = file.display().to_string();
        let config = load(&["-dev", "-config-file", &name]).unwrap();
        assert_eq!(config.domain, "consul");
        assert!(config.warnings[0].starts_with("skipping file "));
        let config = load(&["-dev", "-config-file", &name, "-config-format=hcl"]).unwrap();
        assert_eq!(config.domain, "x");
    }
}
