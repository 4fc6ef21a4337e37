//! `debug`: what an agent says of itself over a while, in one archive.
//!
//! *Never*: asks for secrets. What the agent's own endpoints show to everyone is all there is.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::api::Api;
use super::monitor::stream;
use super::screen::{DONE, Screen};
use super::shell::interrupted;
use super::target::Target;
use crate::config::{format_duration, parse_duration};
use crate::time::wall_seconds;

/// Shortest duration and shortest interval. Source: Consul commands, "Debug".
const DURATION_MIN: Duration = Duration::from_secs(10);
const INTERVAL_MIN: Duration = Duration::from_secs(5);
/// Longest log of one interval that is kept, in bytes.
const LOG_BYTES_MAX: usize = 64 << 20;
/// What can be captured, in the order in which it is told.
const TARGETS: [&str; 6] = ["metrics", "logs", "pprof", "host", "agent", "cluster"];

/// Records a debugging archive for operators.
#[derive(Debug, clap::Args)]
pub(super) struct Debug {
    #[command(flatten)]
    at: Target,
    /// Pack the files into one archive.
    #[arg(long, value_name = "bool", action = clap::ArgAction::Set, default_value_t = true)]
    archive: bool,
    /// What to capture: metrics, logs, pprof (never there), host, agent or cluster; may be
    /// repeated, all of them if not given.
    #[arg(long, value_name = "value")]
    capture: Vec<String>,
    /// How long to capture.
    #[arg(long, value_name = "duration", default_value = "2m", value_parser = parse_duration)]
    duration: Duration,
    /// Between two captures of what changes.
    #[arg(long, value_name = "duration", default_value = "30s", value_parser = parse_duration)]
    interval: Duration,
    /// Where the archive goes.
    #[arg(long, value_name = "string")]
    output: Option<String>,
    #[arg(hide = true)]
    args: Vec<String>,
}

impl Debug {
    pub(super) async fn run(mut self, screen: &mut Screen<'_>) -> Result<u8> {
        if !self.args.is_empty() {
            return screen.fail("==> debug: Too many arguments provided, expected 0");
        }
        let output = self.output.take();
        let output = output.unwrap_or_else(|| format!("consul-debug-{}", wall_seconds()));
        let folder = PathBuf::from(&output);
        if let Err(why) = self.check(&folder) {
            return screen.fail(format_args!("==> Capture validation failed: {why}"));
        }
        let api = self.at.open()?;
        let own = api.get_json::<Value>("agent/self", &[]).await;
        let own = own.context("==> Capture validation failed: error querying target agent")?;
        self.announce(&own, &output, screen)?;
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {output}"))?;
        write(&folder.join("index.json"), &self.index(&own))?;
        for (target, path, file) in [
            ("host", "agent/host", "host.json"),
            ("agent", "agent/self", "agent.json"),
            ("cluster", "agent/members?wan=1", "cluster.json"),
        ] {
            if self.captures(target) {
                self.fetch(&api, path, &folder.join(file), screen).await?;
            }
        }
        tokio::select! {
            stopped = interrupted() => stopped?,
            done = self.follow(&api, &folder, screen) => done?,
        }
        if !self.archive {
            screen.say(format_args!("Saved debug directory: {output}"))?;
            return Ok(DONE);
        }
        let archive = archive_of(&folder);
        pack(&folder, &archive).context("Archive creation failed")?;
        fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {output}"))?;
        screen.say(format_args!("Saved debug archive: {}", archive.display()))?;
        Ok(DONE)
    }

    fn check(&mut self, folder: &Path) -> Result<(), String> {
        if self.duration < DURATION_MIN {
            return Err("duration must be longer than 10s".to_owned());
        }
        if self.interval < INTERVAL_MIN {
            return Err("interval must be longer than 5s".to_owned());
        }
        if let Some(unknown) = self.capture.iter().find(|it| !TARGETS.contains(&it.as_str())) {
            return Err(format!("target not found: {unknown}"));
        }
        if self.capture.is_empty() {
            self.capture = TARGETS.iter().map(|&target| target.to_owned()).collect();
        }
        if folder.exists() {
            return Err(format!("output directory already exists: {}", folder.display()));
        }
        if self.archive && archive_of(folder).exists() {
            let archive = archive_of(folder);
            return Err(format!("output archive already exists: {}", archive.display()));
        }
        Ok(())
    }

    fn captures(&self, target: &str) -> bool {
        self.capture.iter().any(|it| it == target)
    }

    fn announce(&self, own: &Value, output: &str, screen: &mut Screen<'_>) -> Result<()> {
        let file = if self.archive { format!("{output}.tar.gz") } else { output.to_owned() };
        let version = own["Config"]["Version"].as_str().unwrap_or_default();
        screen.say("==> Starting debugger and capturing static information...")?;
        screen.say(format_args!("     Agent Version: '{version}'"))?;
        screen.say(format_args!("          Interval: '{}'", format_duration(self.interval)))?;
        screen.say(format_args!("          Duration: '{}'", format_duration(self.duration)))?;
        screen.say(format_args!("            Output: '{file}'"))?;
        screen.say(format_args!("           Capture: '{}'", self.capture.join(", ")))?;
        if self.captures("pprof") {
            screen.say("==> pprof: not there, everything else is captured")?;
        }
        screen.flush()
    }

    fn index(&self, own: &Value) -> Value {
        json!({
            "Version": 1,
            "AgentVersion": own["Config"]["Version"],
            "Interval": format_duration(self.interval),
            "Duration": format_duration(self.duration),
            "Targets": self.capture,
        })
    }

    /// Captures what changes, interval by interval, until the duration is over.
    async fn follow(&self, api: &Api, folder: &Path, screen: &mut Screen<'_>) -> Result<()> {
        let end = Instant::now() + self.duration;
        let mut captures = 0;
        screen.say("==> Beginning capture interval")?;
        while Instant::now() < end {
            let until = end.min(Instant::now() + self.interval);
            let folder = folder.join(wall_seconds().to_string());
            fs::create_dir_all(&folder)?;
            if self.captures("metrics") {
                self.fetch(api, "agent/metrics", &folder.join("metrics.json"), screen).await?;
            }
            if self.captures("logs") {
                self.record(api, &folder.join("consul.log"), until, screen).await?;
            }
            sleep_until(until).await;
            captures += 1;
            screen.say(format_args!("==> Capture successful ({captures})"))?;
            screen.flush()?;
        }
        Ok(())
    }

    /// Keeps one answer; one that does not come is told and left out.
    async fn fetch(
        &self,
        api: &Api,
        path: &str,
        file: &Path,
        screen: &mut Screen<'_>,
    ) -> Result<()> {
        let (path, query) = match path.split_once("?wan=") {
            Some((path, value)) => (path, vec![("wan", value)]),
            None => (path, Vec::new()),
        };
        match api.get_json::<Value>(path, &query).await {
            Ok(value) => write(file, &value),
            Err(error) => screen.warn(format_args!("==> {path} is left out: {error:#}")),
        }
    }

    /// Keeps the agent's log until a moment.
    async fn record(
        &self,
        api: &Api,
        file: &Path,
        until: Instant,
        screen: &mut Screen<'_>,
    ) -> Result<()> {
        let mut response = match stream(api, "DEBUG", false).await {
            Ok(response) => response,
            Err(error) => return screen.warn(format_args!("==> logs are left out: {error:#}")),
        };
        let mut log = Vec::new();
        while let Ok(Ok(Some(chunk))) = timeout_at(until, response.chunk()).await {
            if log.len() + chunk.len() > LOG_BYTES_MAX {
                break;
            }
            log.extend_from_slice(&chunk);
        }
        fs::write(file, log).with_context(|| format!("cannot write {}", file.display()))
    }
}

fn write(file: &Path, value: &Value) -> Result<()> {
    let text = serde_json::to_vec_pretty(value)?;
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

/// Where the archive of a folder goes: beside it.
fn archive_of(folder: &Path) -> PathBuf {
    let mut archive = folder.as_os_str().to_owned();
    archive.push(".tar.gz");
    PathBuf::from(archive)
}

/// Packs a folder, whose name stands in front of every file's. Nothing is overwritten.
fn pack(folder: &Path, archive: &Path) -> Result<()> {
    let file = fs::File::create_new(archive)?;
    let mut tar = tar::Builder::new(GzEncoder::new(file, Compression::default()));
    let name = folder.file_name().context("the output has no name")?;
    tar.append_dir_all(name, folder)?;
    tar.into_inner()?.finish()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::fixture::play;
    use super::*;

    #[test]
    fn nonsense_is_named_before_anything_is_asked() {
        let dir = tempfile::tempdir().unwrap();
        let there = format!("-output={}", dir.path().display());
        for (flag, told) in [
            ("-duration=1s", "duration must be longer than 10s"),
            ("-interval=1s", "interval must be longer than 5s"),
            ("-capture=bogus", "target not found: bogus"),
            (there.as_str(), "output directory already exists: "),
        ] {
            let (code, _, err, asked) = play(&["debug", flag], &[]);
            assert!(code == 1 && asked.is_empty());
            assert!(err.starts_with(&format!("==> Capture validation failed: {told}")), "{err}");
        }
        let (code, _, err, _) = play(&["debug", "-archive=false", "x"], &[]);
        assert_eq!(
            (code, err.as_str()),
            (1, "==> debug: Too many arguments provided, expected 0\n")
        );
    }

    #[test]
    fn an_archive_that_is_there_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let archive = dir.path().join("found.tar.gz");
        fs::write(&archive, "of yesterday").unwrap();
        let output = format!("-output={}", dir.path().join("found").display());
        let (code, _, err, asked) = play(&["debug", &output], &[]);
        assert!(code == 1 && asked.is_empty(), "{err}");
        let told = "==> Capture validation failed: output archive already exists: ";
        assert_eq!(err, format!("{told}{}\n", archive.display()));
        // Where no archive is made, none is in the way.
        let (_, _, err, _) = play(&["debug", "-archive=false", &output], &[(500, "")]);
        assert!(!err.contains("already exists"), "{err}");
        assert_eq!(fs::read_to_string(&archive).unwrap(), "of yesterday");
    }

    #[test]
    fn a_folder_becomes_an_archive_of_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("found");
        fs::create_dir_all(folder.join("1")).unwrap();
        write(&folder.join("1/metrics.json"), &json!({"a": 1})).unwrap();
        let archive = dir.path().join("found.tar.gz");
        pack(&folder, &archive).unwrap();
        let file = flate2::read::GzDecoder::new(fs::File::open(&archive).unwrap());
        let mut tar = tar::Archive::new(file);
        let names: Vec<String> = tar
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        assert!(names.iter().any(|name| name == "found/1/metrics.json"), "{names:?}");
    }
}
