//! A check that runs a program in a container, through the Docker Engine's exec API.

use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error;
use bollard::exec::StartExecResults;
use bollard::models::ExecConfig;
use futures::StreamExt;
use tokio::time::timeout;

use crate::model::CheckStatus;

use super::super::disk::Verdict;
use super::super::spec::CheckRun;
use super::tail::Tail;
use super::words::{critical, span_text};

/// Runs the check's program in its container within `patience`, on the engine of `DOCKER_HOST` or
/// of this host, and keeps the last `output_max` bytes that it says.
///
/// Exit code 0 passes, 1 warns, all else is critical. The API cannot end a program: one that
/// outlasts the time-out lives on in its container.
///
/// Source: Consul, "Docker checks".
pub(super) async fn run(how: &CheckRun, patience: Duration, output_max: usize) -> Verdict {
    run_on(Docker::connect_with_defaults(), how, patience, output_max).await
}

async fn run_on(
    engine: Result<Docker, Error>,
    how: &CheckRun,
    patience: Duration,
    output_max: usize,
) -> Verdict {
    let mut tail = Tail::new(output_max);
    let result = match engine {
        Ok(engine) => timeout(patience, exec(&engine, how, &mut tail)).await,
        Err(error) => Ok(Err(create_failed(&how.container, &error))),
    };
    match result {
        Ok(Ok(code)) => {
            let status = match code {
                0 => CheckStatus::Passing,
                1 => CheckStatus::Warning,
                _ => CheckStatus::Critical,
            };
            Verdict { status, output: tail.captured() }
        }
        Ok(Err(why)) => critical(why),
        Err(_elapsed) => {
            let said = tail.captured();
            let parted = if said.is_empty() { "" } else { "\n\n" };
            critical(format!("Timed out ({}) running check{parted}{said}", span_text(patience)))
        }
    }
}

/// The exit code of the program, its output pushed into `tail`.
async fn exec(engine: &Docker, how: &CheckRun, tail: &mut Tail) -> Result<i64, String> {
    let container = how.container.as_str();
    let created = |error: Error| create_failed(container, &error);
    let other = |step: &'static str| {
        move |error: Error| format!("{step} exec failed for container {container}: {}", say(&error))
    };
    let config = ExecConfig {
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        cmd: Some(how.args.clone()),
        ..ExecConfig::default()
    };
    let id = engine.create_exec(container, config).await.map_err(created)?.id;
    let started = engine.start_exec(&id, None).await.map_err(other("start"))?;
    if let StartExecResults::Attached { mut output, input: _input } = started {
        while let Some(part) = output.next().await {
            tail.push(&part.map_err(other("start"))?.into_bytes());
        }
    }
    let ended = engine.inspect_exec(&id).await.map_err(other("inspect"))?;
    let unknown = || format!("inspect exec failed for container {container}: it has no exit code");
    ended.exit_code.ok_or_else(unknown)
}

/// Why no program can be run in a container, in Consul's words.
fn create_failed(container: &str, error: &Error) -> String {
    match error {
        Error::DockerResponseServerError { status_code: 404, .. } => {
            format!("create exec failed for unknown container {container}")
        }
        Error::DockerResponseServerError { status_code: 409, .. } => {
            format!("create exec failed since container {container} is paused or stopped")
        }
        Error::DockerResponseServerError { status_code, message } => {
            format!(
                "create exec failed for container {container} with status {status_code}: {message}"
            )
        }
        other => format!("create exec failed for container {container}: {}", say(other)),
    }
}

/// What lies at the ground of an error.
fn say(error: &Error) -> String {
    if let Error::SocketNotFoundError(path) = error {
        return format!("dial unix {path}: connect: no such file or directory");
    }
    let mut deepest: &dyn std::error::Error = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::Tasks;
    use bollard::API_DEFAULT_VERSION;
    use std::path::Path;
    use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
    use tokio::net::{UnixListener, UnixStream};

    const PATIENCE: Duration = Duration::from_secs(20);

    fn how(container: &str) -> CheckRun {
        let args = ["check", "me"].map(str::to_owned).to_vec();
        CheckRun { container: container.to_owned(), args, ..CheckRun::default() }
    }

    async fn check(socket: &Path, container: &str, patience: Duration) -> Verdict {
        let path = socket.to_str().unwrap();
        let engine = Docker::connect_with_unix(path, 120, API_DEFAULT_VERSION);
        run_on(engine, &how(container), patience, 12).await
    }

    /// One request of an engine's client: its first line, and its body.
    async fn request(stream: &mut BufReader<UnixStream>) -> Option<(String, String)> {
        let mut first = String::new();
        stream.read_line(&mut first).await.ok().filter(|count| *count > 0)?;
        let mut length = 0;
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await.ok()?;
            if line == "\r\n" {
                break;
            }
            let lower = line.to_ascii_lowercase();
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.ok()?;
        Some((first, String::from_utf8(body).unwrap()))
    }

    /// Speaks the exec API: the container's name is the exit code, or what is wrong with it.
    async fn answer(stream: UnixStream) {
        let mut stream = BufReader::new(stream);
        while let Some((first, body)) = request(&mut stream).await {
            let path = first.split(' ').nth(1).unwrap().to_owned();
            let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
            let (status, answer) = match parts.as_slice() {
                ["containers", "gone", "exec"] => {
                    ("404 Not Found", r#"{"message":"No such container: gone"}"#.to_owned())
                }
                ["containers", "paused", "exec"] => {
                    ("409 Conflict", r#"{"message":"is paused"}"#.to_owned())
                }
                ["containers", "ill", "exec"] => {
                    ("500 Internal Server Error", r#"{"message":"ill"}"#.to_owned())
                }
                ["containers", name, "exec"] => {
                    assert!(body.contains(r#""Cmd":["check","me"]"#), "{body}");
                    ("201 Created", format!(r#"{{"Id":"{name}"}}"#))
                }
                ["exec", id, "start"] => {
                    let upgrade = "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\
                        Content-Type: application/vnd.docker.raw-stream\r\n\r\n";
                    stream.write_all(upgrade.as_bytes()).await.unwrap();
                    stream.write_all(b"\x01\0\0\0\0\0\0\x0bhello there").await.unwrap();
                    stream.write_all(b"\x02\0\0\0\0\0\0\x06\nyours").await.unwrap();
                    if *id == "slow" {
                        std::future::pending::<()>().await;
                    }
                    return;
                }
                ["exec", id, "json"] => ("200 OK", format!(r#"{{"ExitCode":{id}}}"#)),
                other => panic!("nobody asks for {other:?}"),
            };
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                answer.len()
            );
            stream.write_all((head + &answer).as_bytes()).await.unwrap();
        }
    }

    fn engine(tasks: &Tasks, socket: &Path) {
        let listener = UnixListener::bind(socket).unwrap();
        let own = tasks.clone();
        tasks.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                own.spawn(answer(stream));
            }
        });
    }

    #[tokio::test]
    async fn the_exit_code_judges_and_the_output_is_kept() {
        let tasks = Tasks::new();
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("docker.sock");
        engine(&tasks, &socket);
        let said = "Captured 12 of 17 bytes\n...\n there\nyours";
        for (code, status) in [
            ("0", CheckStatus::Passing),
            ("1", CheckStatus::Warning),
            ("2", CheckStatus::Critical),
            ("137", CheckStatus::Critical),
        ] {
            let verdict = check(&socket, code, PATIENCE).await;
            assert_eq!(verdict, Verdict { status, output: said.to_owned() }, "{code}");
        }
        for (container, why) in [
            ("gone", "create exec failed for unknown container gone"),
            ("paused", "create exec failed since container paused is paused or stopped"),
            ("ill", "create exec failed for container ill with status 500: ill"),
        ] {
            assert_eq!(check(&socket, container, PATIENCE).await, critical(why));
        }
        let verdict = check(&socket, "slow", Duration::from_millis(1500)).await;
        assert_eq!(verdict, critical(format!("Timed out (1.5s) running check\n\n{said}")));
    }

    #[tokio::test]
    async fn an_engine_that_is_not_there_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("docker.sock");
        let verdict = check(&socket, "c", PATIENCE).await;
        let failed =
            format!("create exec failed for container c: dial unix {}: ", socket.display());
        assert_eq!(verdict, critical(format!("{failed}connect: no such file or directory")));
        drop(UnixListener::bind(&socket).unwrap());
        let verdict = check(&socket, "c", PATIENCE).await;
        assert_eq!(verdict.status, CheckStatus::Critical);
        let prefix = "create exec failed for container c: ";
        assert!(verdict.output.starts_with(prefix), "{}", verdict.output);
    }
}
