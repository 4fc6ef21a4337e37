//! `kv`: reads and writes the key-value store.

use std::io::Read as _;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};

use super::api::{Answer, Api};
use super::columns::pairs;
use super::screen::{DONE, Screen};
use super::target::Servers;

/// Most bytes read from a file or from standard input.
const INPUT_BYTES_MAX: u64 = 512 << 20;

/// What was going on when a read failed, in Consul's words.
const QUERYING: &str = "Error querying Consul agent";

/// Interact with the key-value store.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Kv {
    Get(Get),
    Put(Put),
    Delete(Delete),
    Export(Export),
    Import(Import),
}

/// Retrieves or lists data from the KV store.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub(super) struct Get {
    #[command(flatten)]
    at: Servers,
    /// Show values in base64.
    #[arg(long)]
    base64: bool,
    /// Show indexes, flags and session too.
    #[arg(long)]
    detailed: bool,
    /// List only the keys that start with the prefix.
    #[arg(long)]
    keys: bool,
    /// Show every key that starts with the prefix.
    #[arg(long)]
    recurse: bool,
    /// With -keys: cut keys behind the first of this.
    #[arg(long, value_name = "string", default_value = "/")]
    separator: String,
    #[arg(value_name = "KEY_OR_PREFIX")]
    args: Vec<String>,
}

/// Sets or updates data in the KV store; DATA may be @file or - for standard input.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub(super) struct Put {
    #[command(flatten)]
    at: Servers,
    /// Take the lock on the key for -session.
    #[arg(long)]
    acquire: bool,
    /// The data is base64.
    #[arg(long)]
    base64: bool,
    /// Write only if the key still has -modify-index; 0 means that it must not exist.
    #[arg(long)]
    cas: bool,
    /// A number to keep with the value.
    #[arg(long, value_name = "uint", default_value_t = 0)]
    flags: u64,
    /// The index for -cas.
    #[arg(long = "modify-index", value_name = "uint")]
    modify_index: Option<u64>,
    /// Give up the lock that -session has on the key.
    #[arg(long)]
    release: bool,
    /// Session for -acquire and -release.
    #[arg(long, value_name = "id", default_value = "")]
    session: String,
    #[arg(value_name = "KEY [DATA]")]
    args: Vec<String>,
}

/// Removes data from the KV store.
#[derive(Debug, clap::Args)]
pub(super) struct Delete {
    #[command(flatten)]
    at: Servers,
    /// Delete only if the key still has -modify-index.
    #[arg(long)]
    cas: bool,
    /// The index for -cas.
    #[arg(long = "modify-index", value_name = "uint", default_value_t = 0)]
    modify_index: u64,
    /// Delete every key that starts with the prefix.
    #[arg(long)]
    recurse: bool,
    #[arg(value_name = "KEY_OR_PREFIX")]
    args: Vec<String>,
}

/// Exports a tree from the KV store as JSON.
#[derive(Debug, clap::Args)]
pub(super) struct Export {
    #[command(flatten)]
    at: Servers,
    #[arg(value_name = "PREFIX")]
    args: Vec<String>,
}

/// Imports a tree stored as JSON to the KV store; DATA may be @file or - for standard input.
#[derive(Debug, clap::Args)]
pub(super) struct Import {
    #[command(flatten)]
    at: Servers,
    #[arg(value_name = "DATA")]
    args: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Pair {
    key: String,
    flags: u64,
    value: Option<String>,
    #[serde(default)]
    session: String,
    lock_index: u64,
    create_index: u64,
    modify_index: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Exported {
    key: String,
    #[serde(default)]
    flags: u64,
    #[serde(default)]
    value: String,
}

impl Kv {
    pub(super) async fn run(self, screen: &mut Screen<'_>) -> Result<u8> {
        match self {
            Self::Get(get) => get.run(screen).await,
            Self::Put(put) => put.run(screen).await,
            Self::Delete(delete) => delete.run(screen).await,
            Self::Export(export) => export.run(screen).await,
            Self::Import(import) => import.run(screen).await,
        }
    }
}

impl Get {
    async fn run(self, screen: &mut Screen<'_>) -> Result<u8> {
        let key = match self.args.as_slice() {
            [] => "",
            [key] => key.strip_prefix('/').unwrap_or(key),
            more => return too_many(screen, 1, more.len()),
        };
        if key.is_empty() && !self.recurse && !self.keys {
            return screen.fail("Error! Missing KEY argument");
        }
        let api = self.at.open()?;
        if self.keys {
            let query = [("keys", ""), ("separator", self.separator.as_str())];
            for key in list::<String>(&api, key, &query).await? {
                screen.say(key)?;
            }
        } else if self.recurse {
            for (at, pair) in list::<Pair>(&api, key, &[("recurse", "")]).await?.iter().enumerate()
            {
                if at > 0 && self.detailed {
                    screen.say("")?;
                }
                self.show(pair, screen)?;
            }
        } else {
            let found = list::<Pair>(&api, key, &[]).await?;
            let Some(pair) = found.first() else {
                return screen.fail(format_args!("Error! No key exists at: {key}"));
            };
            self.show(pair, screen)?;
        }
        Ok(DONE)
    }

    fn show(&self, pair: &Pair, screen: &mut Screen<'_>) -> Result<()> {
        let encoded = pair.value.as_deref().unwrap_or_default();
        let value = if self.base64 {
            encoded.as_bytes().to_vec()
        } else {
            BASE64_STANDARD.decode(encoded)?
        };
        if self.detailed {
            let session = if pair.session.is_empty() { "-" } else { &pair.session };
            let head = pairs(&[
                ("CreateIndex", pair.create_index.to_string()),
                ("Flags", pair.flags.to_string()),
                ("Key", pair.key.clone()),
                ("LockIndex", pair.lock_index.to_string()),
                ("ModifyIndex", pair.modify_index.to_string()),
                ("Session", session.to_owned()),
            ]);
            write!(screen.out, "{head}\nValue")?;
            if !value.is_empty() {
                screen.out.write_all(b"            ")?;
            }
        } else if self.recurse {
            write!(screen.out, "{}:", pair.key)?;
        }
        screen.out.write_all(&value)?;
        screen.say("")
    }
}

impl Put {
    async fn run(self, screen: &mut Screen<'_>) -> Result<u8> {
        let (key, data) = match self.args.as_slice() {
            [] => return screen.fail("Error! Missing KEY argument"),
            [key] => (key, ""),
            [key, data] => (key, data.as_str()),
            more => {
                let count = more.len();
                return screen.fail(format_args!(
                    "Error! Too many arguments (expected 1 or 2, got {count})"
                ));
            }
        };
        let mut data = match input(data) {
            Ok(data) => data,
            Err(error) => return screen.fail(format_args!("Error! {error:#}")),
        };
        if self.base64 {
            data = match BASE64_STANDARD.decode(&data) {
                Ok(data) => data,
                Err(error) => {
                    let why = base64_error(&error);
                    return screen.fail(format_args!("Error! Cannot base 64 decode data: {why}"));
                }
            };
        }
        if self.cas && self.modify_index.is_none() {
            return screen.fail("Must specify -modify-index with -cas!");
        }
        if (self.acquire || self.release) && self.session.is_empty() {
            return screen.fail("Error! Missing -session (required with -acquire and -release)");
        }
        let failed = "Error! Failed writing data";
        if key.starts_with('/') {
            let why = format!("Invalid key. Key must not begin with a '/': {key}");
            return screen.fail(format_args!("{failed}: {why}"));
        }
        let written = self.send(key, data).await.context(failed)?;
        let (good, bad) = if self.cas {
            ("Data written to", format!("Error! Did not write to {key}: CAS failed"))
        } else if self.acquire {
            ("Lock acquired on", "Error! Did not acquire lock".to_owned())
        } else if self.release {
            ("Lock released on", "Error! Did not release lock".to_owned())
        } else {
            ("Data written to", format!("Error! Did not write to {key}"))
        };
        if !written.is_true() {
            return screen.fail(bad);
        }
        screen.say(format_args!("Success! {good}: {key}"))?;
        Ok(DONE)
    }

    async fn send(&self, key: &str, data: Vec<u8>) -> Result<Answer> {
        let flags = self.flags.to_string();
        let index = self.modify_index.unwrap_or_default().to_string();
        let mut query = vec![("flags", flags.as_str())];
        if self.cas {
            query.push(("cas", &index));
        } else if self.acquire {
            query.push(("acquire", &self.session));
        } else if self.release {
            query.push(("release", &self.session));
        }
        self.at.open()?.put(&format!("kv/{key}"), &query, data).await
    }
}

impl Delete {
    async fn run(self, screen: &mut Screen<'_>) -> Result<u8> {
        let key = match self.args.as_slice() {
            [] => "",
            [key] => key.strip_prefix('/').unwrap_or(key),
            more => return too_many(screen, 1, more.len()),
        };
        if key.is_empty() && !self.recurse {
            return screen.fail("Error! Missing KEY argument");
        }
        if self.cas && self.modify_index == 0 {
            return screen.fail("Must specify -modify-index with -cas!");
        }
        if !self.cas && self.modify_index != 0 {
            return screen.fail("Cannot specify -modify-index without -cas!");
        }
        if self.recurse && self.cas {
            return screen.fail("Cannot specify both -cas and -recurse!");
        }
        let api = self.at.open()?;
        let path = format!("kv/{key}");
        let failed = || format!("Error! Did not delete key {key}");
        if self.recurse {
            api.delete(&path, &[("recurse", "")]).await.with_context(failed)?;
            screen.say(format_args!("Success! Deleted keys with prefix: {key}"))?;
            return Ok(DONE);
        }
        let index = self.modify_index.to_string();
        let query = [("cas", index.as_str())];
        let query = if self.cas { &query[..] } else { &[] };
        let deleted = api.delete(&path, query).await.with_context(failed)?;
        if !deleted.is_true() {
            return screen.fail(format_args!("Error! Did not delete key {key}: CAS failed"));
        }
        screen.say(format_args!("Success! Deleted key: {key}"))?;
        Ok(DONE)
    }
}

impl Export {
    async fn run(self, screen: &mut Screen<'_>) -> Result<u8> {
        let prefix = match self.args.as_slice() {
            [] => "",
            [prefix] => prefix.strip_prefix('/').unwrap_or(prefix),
            more => return too_many(screen, 1, more.len()),
        };
        let found = list::<Pair>(&self.at.open()?, prefix, &[("recurse", "")]).await?;
        let entries = found.into_iter().map(|pair| Exported {
            key: pair.key,
            flags: pair.flags,
            value: pair.value.unwrap_or_default(),
        });
        let entries: Vec<_> = entries.collect();
        let indent = serde_json::ser::PrettyFormatter::with_indent(b"\t");
        let mut text = Vec::new();
        entries.serialize(&mut serde_json::Serializer::with_formatter(&mut text, indent))?;
        screen.say(String::from_utf8_lossy(&text))?;
        Ok(DONE)
    }
}

impl Import {
    async fn run(self, screen: &mut Screen<'_>) -> Result<u8> {
        let data = match self.args.as_slice() {
            [] => return screen.fail("Error! Missing DATA argument"),
            [data] => input(data),
            more => {
                let count = more.len();
                return screen
                    .fail(format_args!("Error! Too many arguments (expected 1, got {count})"));
            }
        };
        let data = match data {
            Ok(data) => data,
            Err(error) => return screen.fail(format_args!("Error! {error:#}")),
        };
        let entries: Vec<Exported> = match serde_json::from_slice(&data) {
            Ok(entries) => entries,
            Err(error) => return screen.fail(format_args!("Cannot unmarshal data: {error}")),
        };
        let api = self.at.open()?;
        for Exported { key, flags, value } in entries {
            let value = match BASE64_STANDARD.decode(&value) {
                Ok(value) => value,
                Err(error) => {
                    let why = base64_error(&error);
                    return screen
                        .fail(format_args!("Error base 64 decoding value for key {key}: {why}"));
                }
            };
            let flags = flags.to_string();
            let put = api.put(&format!("kv/{key}"), &[("flags", &flags)], value).await;
            put.with_context(|| format!("Error! Failed writing data for key {key}"))?;
            screen.say(format_args!("Imported: {key}"))?;
        }
        Ok(DONE)
    }
}

/// Reads a list; no such key is an empty one.
async fn list<T: serde::de::DeserializeOwned>(
    api: &Api,
    key: &str,
    query: super::api::Query<'_>,
) -> Result<Vec<T>> {
    let answer = api.send(reqwest::Method::GET, &format!("kv/{key}"), query, Vec::new()).await;
    let answer = answer.context(QUERYING)?;
    if answer.status == 404 {
        return Ok(Vec::new());
    }
    answer.expect_ok().and_then(|answer| answer.json()).context(QUERYING)
}

/// What DATA stands for: itself, the file behind `@`, or standard input for `-`.
fn input(data: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match (data, data.strip_prefix('@')) {
        ("-", _) => {
            let stdin = std::io::stdin().lock();
            stdin.take(INPUT_BYTES_MAX).read_to_end(&mut bytes).context("Failed to read stdin")?;
        }
        (_, Some(path)) => {
            let file = std::fs::File::open(path)
                .map_err(|error| anyhow::anyhow!("open {path}: {}", plain(&error)));
            let file = file.context("Failed to read file")?;
            file.take(INPUT_BYTES_MAX).read_to_end(&mut bytes).context("Failed to read file")?;
        }
        (text, None) => bytes.extend_from_slice(text.as_bytes()),
    }
    Ok(bytes)
}

/// The system's words as Go gives them: lower case, without a number.
pub(super) fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

/// Go's words for bad base64.
fn base64_error(error: &base64::DecodeError) -> String {
    use base64::DecodeError::{InvalidByte, InvalidLastSymbol, InvalidLength, InvalidPadding};
    match error {
        InvalidByte(at, _) | InvalidLastSymbol(at, _) | InvalidLength(at) => {
            format!("illegal base64 data at input byte {at}")
        }
        InvalidPadding => "illegal base64 data: wrong padding".to_owned(),
    }
}

fn too_many(screen: &mut Screen<'_>, expected: usize, got: usize) -> Result<u8> {
    screen.fail(format_args!("Too many arguments (expected {expected}, got {got})"))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::play;

    const PAIR: &str = r#"[{"LockIndex":1,"Key":"a/b","Flags":42,"Value":"eA==",
        "CreateIndex":2,"ModifyIndex":3}]"#;
    const EMPTY: &str = r#"[{"LockIndex":0,"Key":"a","Flags":0,"Value":null,
        "CreateIndex":2,"ModifyIndex":3,"Session":"s"}]"#;

    #[test]
    fn get_shows_what_consul_shows() {
        let detailed = "CreateIndex      2\nFlags            42\nKey              a/b\n\
                        LockIndex        1\nModifyIndex      3\nSession          -\n\
                        Value            x\n";
        let table: [(&[&str], &str, &str, &str); 8] = [
            (&["kv", "get", "a/b"], PAIR, "GET /v1/kv/a/b", "x\n"),
            (&["kv", "get", "/a/b"], PAIR, "GET /v1/kv/a/b", "x\n"),
            (&["kv", "get", "-base64", "a/b"], PAIR, "GET /v1/kv/a/b", "eA==\n"),
            (&["kv", "get", "-detailed", "a/b"], PAIR, "GET /v1/kv/a/b", detailed),
            (&["kv", "get", "-recurse", "a"], PAIR, "GET /v1/kv/a?recurse", "a/b:x\n"),
            (&["kv", "get", "-recurse"], EMPTY, "GET /v1/kv/?recurse", "a:\n"),
            (
                &["kv", "get", "-keys", "a"],
                r#"["a/","b"]"#,
                "GET /v1/kv/a?keys&separator=%2F",
                "a/\nb\n",
            ),
            (
                &["kv", "get", "-stale", "-datacenter=d", "a"],
                EMPTY,
                "GET /v1/kv/a?dc=d&stale",
                "\n",
            ),
        ];
        for (line, body, asked, shown) in table {
            let (code, out, err, got) = play(line, &[(200, body)]);
            assert_eq!((code, out.as_str(), err.as_str()), (0, shown, ""), "{line:?}");
            assert_eq!(got, [asked], "{line:?}");
        }
        let (code, out, err, _) = play(&["kv", "get", "x"], &[(404, "")]);
        assert_eq!((code, out.as_str(), err.as_str()), (1, "", "Error! No key exists at: x\n"));
        let (code, _, err, _) = play(&["kv", "get", "x"], &[(500, "boom")]);
        let told = "Error querying Consul agent: Unexpected response code: 500 (boom)\n";
        assert_eq!((code, err.as_str()), (1, told));
    }

    #[test]
    fn put_and_delete_say_what_happened() {
        let table: [(&[&str], &str, &str, u8, &str); 9] = [
            (
                &["kv", "put", "k", "v"],
                "true",
                "PUT /v1/kv/k?flags=0 v",
                0,
                "Success! Data written to: k\n",
            ),
            (
                &["kv", "put", "-base64", "k", "dg=="],
                "true",
                "PUT /v1/kv/k?flags=0 v",
                0,
                "Success! Data written to: k\n",
            ),
            (
                &["kv", "put", "-cas", "-modify-index=0", "k"],
                "false",
                "PUT /v1/kv/k?flags=0&cas=0",
                1,
                "Error! Did not write to k: CAS failed\n",
            ),
            (
                &["kv", "put", "-acquire", "-session=s", "k"],
                "true",
                "PUT /v1/kv/k?flags=0&acquire=s",
                0,
                "Success! Lock acquired on: k\n",
            ),
            (
                &["kv", "put", "-release", "-session=s", "k"],
                "false",
                "PUT /v1/kv/k?flags=0&release=s",
                1,
                "Error! Did not release lock\n",
            ),
            (&["kv", "delete", "k"], "true", "DELETE /v1/kv/k", 0, "Success! Deleted key: k\n"),
            (
                &["kv", "delete", "-recurse", "k"],
                "true",
                "DELETE /v1/kv/k?recurse",
                0,
                "Success! Deleted keys with prefix: k\n",
            ),
            (
                &["kv", "delete", "-cas", "-modify-index=3", "k"],
                "false",
                "DELETE /v1/kv/k?cas=3",
                1,
                "Error! Did not delete key k: CAS failed\n",
            ),
            (
                &["kv", "import", r#"[{"key":"i","flags":3,"value":"aGk="}]"#],
                "true",
                "PUT /v1/kv/i?flags=3 hi",
                0,
                "Imported: i\n",
            ),
        ];
        for (line, body, asked, exit, told) in table {
            let (code, out, err, got) = play(line, &[(200, body)]);
            assert_eq!((code, format!("{out}{err}").as_str()), (exit, told), "{line:?}");
            assert_eq!(got, [asked], "{line:?}");
        }
    }

    #[test]
    fn nonsense_asks_nobody() {
        let table: [(&[&str], &str); 11] = [
            (&["kv", "get"], "Error! Missing KEY argument\n"),
            (&["kv", "get", "a", "b"], "Too many arguments (expected 1, got 2)\n"),
            (&["kv", "put"], "Error! Missing KEY argument\n"),
            (&["kv", "put", "a", "b", "c"], "Error! Too many arguments (expected 1 or 2, got 3)\n"),
            (&["kv", "put", "-cas", "a"], "Must specify -modify-index with -cas!\n"),
            (
                &["kv", "put", "-acquire", "a"],
                "Error! Missing -session (required with -acquire and -release)\n",
            ),
            (
                &["kv", "put", "/a"],
                "Error! Failed writing data: Invalid key. Key must not begin with a '/': /a\n",
            ),
            (
                &["kv", "put", "-base64", "a", "!!"],
                "Error! Cannot base 64 decode data: illegal base64 data at input byte 0\n",
            ),
            (
                &["kv", "put", "a", "@/no/file"],
                "Error! Failed to read file: open /no/file: no such file or directory\n",
            ),
            (
                &["kv", "delete", "-modify-index=3", "a"],
                "Cannot specify -modify-index without -cas!\n",
            ),
            (&["kv", "import"], "Error! Missing DATA argument\n"),
        ];
        for (line, told) in table {
            let (code, out, err, asked) = play(line, &[]);
            assert_eq!((code, out.as_str(), err.as_str()), (1, "", told), "{line:?}");
            assert!(asked.is_empty());
        }
    }

    #[test]
    fn export_is_consuls_json() {
        let (code, out, _, _) = play(&["kv", "export", "a"], &[(200, PAIR)]);
        let json =
            "[\n\t{\n\t\t\"key\": \"a/b\",\n\t\t\"flags\": 42,\n\t\t\"value\": \"eA==\"\n\t}\n]\n";
        assert_eq!((code, out.as_str()), (0, json));
        let (code, out, _, _) = play(&["kv", "export"], &[(404, "")]);
        assert_eq!((code, out.as_str()), (0, "[]\n"));
    }
}
