//! `lock`: runs a program while holding a lock, and stops it when the lock is lost.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use clap::ArgAction;
use serde::Deserialize;
use serde_json::json;
use tokio::process::Child;

use super::api::Api;
use super::claim::{Claim, SESSION_TTL, under};
use super::screen::{DONE, Screen};
use super::semaphore::Semaphore;
use super::shell::{command, interrupted, stop, trouble, unstarted};
use super::target::Servers;
use crate::config::parse_duration;

/// Exit code for a child that failed, where that is asked for.
const CHILD_FAILED: u8 = 2;

/// Execute a command holding a lock.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub(super) struct Lock {
    #[command(flatten)]
    at: Servers,
    /// Exit 2 if the child failed.
    #[arg(long = "child-exit-code")]
    child_exit_code: bool,
    /// How often a failed look at the lock is tried again, once a second.
    #[arg(long = "monitor-retry", value_name = "int", default_value_t = 3)]
    monitor_retry: u32,
    /// Holders at a time; above 1 it is a semaphore.
    #[arg(long = "n", value_name = "int", default_value_t = 1, allow_negative_numbers = true)]
    holders: i64,
    /// Name of the session.
    #[arg(long, value_name = "name", default_value = "")]
    name: String,
    /// Give the child our standard input.
    #[arg(long = "pass-stdin")]
    pass_stdin: bool,
    /// Run the child by a shell.
    #[arg(long, value_name = "bool", action = ArgAction::Set, default_value_t = true)]
    shell: bool,
    /// Longest wait for the lock; 0 is without end.
    #[arg(long, value_name = "duration", default_value = "0", value_parser = parse_duration)]
    timeout: Duration,
    /// An older name of -timeout.
    #[arg(long, value_name = "duration", default_value = "0", value_parser = parse_duration)]
    r#try: Duration,
    /// Say each step.
    #[arg(long)]
    verbose: bool,
    #[arg(value_name = "PREFIX CHILD")]
    args: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Created {
    #[serde(rename = "ID")]
    id: String,
}

/// What is held while the child runs.
enum Hold {
    Lock(Claim),
    Semaphore(Semaphore),
}

/// How the child's time ended.
enum End {
    Child(ExitStatus),
    Lost(String),
    Interrupted,
}

impl Lock {
    pub(super) async fn run(self, screen: &mut Screen<'_>) -> Result<u8> {
        if self.holders <= 0 {
            return screen.fail("Lock holder limit must be positive");
        }
        let Some((prefix, words)) = self.args.split_first().filter(|(_, rest)| !rest.is_empty())
        else {
            return screen.fail("Key prefix and child command must be specified");
        };
        let prefix = prefix.strip_prefix('/').unwrap_or(prefix);
        let key = under(prefix, ".lock");
        let api = self.at.open()?;
        if self.holders == 1 {
            self.tell(screen, format_args!("Setting up lock at path: {key}"))?;
        } else {
            let limit = self.holders;
            let line = format_args!("Setting up semaphore (limit {limit}) at prefix: {prefix}");
            self.tell(screen, line)?;
            if prefix.trim_matches('/').is_empty() {
                return screen.fail("Lock setup failed: missing prefix");
            }
        }
        let session = self.create_session(&api, prefix, words).await;
        let session = session.context("Lock setup failed: failed to create session")?;
        let claim = Claim { api, key, session, monitor_retry: self.monitor_retry };
        let hold = match self.holders {
            1 => Hold::Lock(claim),
            limit => Hold::Semaphore(Semaphore::new(claim, prefix, limit)),
        };
        let done = self.run_claimed(&hold, words, screen).await;
        let claim = hold.claim();
        // The session would end by itself; ending it now frees the lock at once.
        let path = format!("session/destroy/{}", claim.session);
        if let Err(error) = claim.api.put(&path, &[], Vec::new()).await {
            self.tell(screen, format_args!("session was not destroyed: {error:#}"))?;
        }
        done
    }

    async fn run_claimed(
        &self,
        hold: &Hold,
        words: &[String],
        screen: &mut Screen<'_>,
    ) -> Result<u8> {
        self.tell(screen, "Attempting lock acquisition")?;
        let patience = self.timeout.max(self.r#try);
        let acquired = tokio::select! {
            acquired = hold.acquire(patience) => acquired.context("Lock acquisition failed")?,
            lost = hold.claim().keep_session() => bail!("Lock acquisition failed: {lost}"),
            stopped = interrupted() => stopped.map(|()| false)?,
        };
        if !acquired {
            return screen.fail("Shutdown triggered or timeout during lock acquisition");
        }
        self.tell(screen, "Starting handler")?;
        screen.flush()?;
        let failed = match self.start(words) {
            Ok(child) => self.attend(hold, child, screen).await?,
            Err(error) => {
                screen.warn(format_args!("Error starting handler: {error}"))?;
                true
            }
        };
        self.tell(screen, "Child terminated, releasing lock")?;
        hold.release().await.context("Lock release failed")?;
        match hold.clean_up().await {
            Ok(true) => self.tell(screen, "Cleanup succeeded")?,
            Ok(false) => self.tell(screen, "Cleanup aborted, lock in use")?,
            Err(error) => return screen.fail(format_args!("Lock cleanup failed: {error:#}")),
        }
        Ok(if failed && self.child_exit_code { CHILD_FAILED } else { DONE })
    }

    /// Waits for the child, and stops it when the lock is lost: true if it failed.
    async fn attend(&self, hold: &Hold, mut child: Child, screen: &mut Screen<'_>) -> Result<bool> {
        let end = tokio::select! {
            status = child.wait() => End::Child(status?),
            lost = hold.watch() => End::Lost(lost),
            lost = hold.claim().keep_session() => End::Lost(lost),
            stopped = interrupted() => stopped.map(|()| End::Interrupted)?,
        };
        let status = match end {
            End::Child(status) => status,
            End::Lost(why) => {
                self.tell(screen, format_args!("Lock lost, killing child: {why}"))?;
                stop(&mut child).await?
            }
            End::Interrupted => {
                self.tell(screen, "Shutdown triggered, killing child")?;
                stop(&mut child).await?
            }
        };
        match trouble(status) {
            None => Ok(false),
            Some(why) => {
                screen.warn(format_args!("Error running handler: {why}"))?;
                Ok(true)
            }
        }
    }

    fn start(&self, words: &[String]) -> Result<Child> {
        let mut child = command(words, self.shell).context("no command to run")?;
        child.env("CONSUL_LOCK_HELD", "true").kill_on_drop(true);
        child.stdin(if self.pass_stdin { Stdio::inherit() } else { Stdio::null() });
        child.spawn().map_err(|error| anyhow!(unstarted(words, &error)))
    }

    async fn create_session(&self, api: &Api, prefix: &str, words: &[String]) -> Result<String> {
        let name = match self.name.as_str() {
            "" => format!("Consul lock for '{}' at '{prefix}'", words.join(" ")),
            name => name.to_owned(),
        };
        let mut body = json!({"Name": name, "TTL": format!("{}s", SESSION_TTL.as_secs())});
        if self.holders > 1 {
            // A holder's own key goes with its session, which is how others learn of it.
            body["Behavior"] = "delete".into();
        }
        let answer = api.put("session/create", &[], serde_json::to_vec(&body)?).await?;
        Ok(answer.json::<Created>()?.id)
    }

    fn tell(&self, screen: &mut Screen<'_>, line: impl std::fmt::Display) -> Result<()> {
        if self.verbose { screen.say(line) } else { Ok(()) }
    }
}

impl Hold {
    fn claim(&self) -> &Claim {
        match self {
            Self::Lock(claim) => claim,
            Self::Semaphore(semaphore) => semaphore.claim(),
        }
    }

    /// Takes it; false if `patience`, above zero, ran out.
    async fn acquire(&self, patience: Duration) -> Result<bool> {
        match self {
            Self::Lock(claim) => claim.acquire(patience).await,
            Self::Semaphore(semaphore) => semaphore.acquire(patience).await,
        }
    }

    async fn release(&self) -> Result<()> {
        match self {
            Self::Lock(claim) => claim.release().await,
            Self::Semaphore(semaphore) => semaphore.release().await,
        }
    }

    /// Deletes what is left if nobody holds it; false if somebody does.
    async fn clean_up(&self) -> Result<bool> {
        match self {
            Self::Lock(claim) => claim.clean_up().await,
            Self::Semaphore(semaphore) => semaphore.clean_up().await,
        }
    }

    /// Returns when it is no longer ours, with the reason.
    async fn watch(&self) -> String {
        match self {
            Self::Lock(claim) => claim.watch_key().await,
            Self::Semaphore(semaphore) => semaphore.watch().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::play;

    const HELD: &str = r#"[{"Key":"p/.lock","Flags":3304740253564472344,"Session":"s",
        "LockIndex":1,"CreateIndex":1,"ModifyIndex":5}]"#;

    #[test]
    fn nonsense_asks_nobody() {
        let table: [(&[&str], &str); 5] = [
            (&["lock"], "Key prefix and child command must be specified\n"),
            (&["lock", "p"], "Key prefix and child command must be specified\n"),
            (&["lock", "-n=0", "p", "true"], "Lock holder limit must be positive\n"),
            (&["lock", "-n=0"], "Lock holder limit must be positive\n"),
            (&["lock", "-n=2", "/", "true"], "Lock setup failed: missing prefix\n"),
        ];
        for (line, told) in table {
            let (code, _, err, asked) = play(line, &[]);
            assert_eq!((code, err.as_str()), (1, told), "{line:?}");
            assert!(asked.is_empty());
        }
    }

    #[test]
    fn a_key_of_another_use_is_left_alone() {
        let other = r#"[{"Key":"p/.lock","Flags":0,"ModifyIndex":5}]"#;
        let answers = [(200, r#"{"ID":"s"}"#), (200, other), (200, "true")];
        let (code, _, err, asked) = play(&["lock", "-name=n", "p", "true"], &answers);
        let told = "Lock acquisition failed: Existing key does not match lock use\n";
        assert_eq!((code, err.as_str()), (1, told));
        assert_eq!(
            asked,
            [
                r#"PUT /v1/session/create {"Name":"n","TTL":"15s"}"#,
                "GET /v1/kv/p/.lock?consistent",
                "PUT /v1/session/destroy/s",
            ]
        );
    }

    #[test]
    fn patience_runs_out_while_another_holds_the_lock() {
        let held = HELD.replace("\"s\"", "\"other\"");
        // A nanosecond is over before the first look has its answer.
        let answers = [(200, r#"{"ID":"s"}"#), (200, held.as_str()), (200, "true")];
        let (code, _, err, _) = play(&["lock", "-timeout=1ns", "p", "true"], &answers);
        let told = "Shutdown triggered or timeout during lock acquisition\n";
        assert_eq!((code, err.as_str()), (1, told));
    }

    #[test]
    fn the_child_runs_with_the_lock_and_the_key_goes_after_it() {
        let free = HELD.replace("\"s\"", "\"\"");
        let created = (200, r#"{"ID":"s"}"#);
        let answers = [
            created,
            (404, ""),
            (200, "true"),
            (200, "true"),
            (200, free.as_str()),
            (200, "true"),
            (200, "true"),
        ];
        let line = ["lock", "-verbose", "-child-exit-code", "-shell=false", "p", "no-such-program"];
        let (code, out, err, asked) = play(&line, &answers);
        let told = "Error starting handler: exec: \"no-such-program\": \
                    executable file not found in $PATH\n";
        assert_eq!((code, err.as_str()), (2, told));
        let steps = [
            "Setting up lock at path: p/.lock",
            "Attempting lock acquisition",
            "Starting handler",
            "Child terminated, releasing lock",
            "Cleanup succeeded",
        ];
        assert_eq!(out.lines().collect::<Vec<_>>(), steps);
        let key = "/v1/kv/p/.lock?";
        let flags = "flags=3304740253564472344";
        assert_eq!(
            asked[1..],
            [
                format!("GET {key}consistent"),
                format!("PUT {key}{flags}&acquire=s"),
                format!("PUT {key}{flags}&release=s"),
                format!("GET {key}consistent"),
                format!("DELETE {key}cas=5"),
                "PUT /v1/session/destroy/s".to_owned(),
            ]
        );
    }

    #[test]
    fn a_lost_lock_stops_the_child() {
        let answers = [
            (200, r#"{"ID":"s"}"#),
            (404, ""),
            (200, "true"),
            (404, ""),
            (200, "false"),
            (404, ""),
            (200, "true"),
        ];
        let line = ["lock", "-verbose", "p", "exec sleep 60"];
        let (code, out, err, _) = play(&line, &answers);
        assert_eq!((code, err.as_str()), (0, "Error running handler: signal: terminated\n"));
        assert!(out.contains("Lock lost, killing child: the key has another holder, or none\n"));
    }
}
