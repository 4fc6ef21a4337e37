//! A canned agent for tests: answers in the order given and keeps what it was asked.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::thread::JoinHandle;

use super::screen::Screen;

/// An agent that answers a fixed number of requests, then goes.
pub(super) struct Canned {
    /// Where it listens.
    pub(super) address: String,
    asked: JoinHandle<Vec<String>>,
}

impl Canned {
    /// Starts one; each answer is a status and a body, with index 7.
    pub(super) fn start(answers: &[(u16, &str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let answers: Vec<_> =
            answers.iter().map(|(code, body)| (*code, body.to_string())).collect();
        let asked = std::thread::spawn(move || {
            let mut asked = Vec::new();
            for (status, body) in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut head = String::new();
                reader.read_line(&mut head).unwrap();
                let mut sent = vec![0; body_length(&mut reader)];
                reader.read_exact(&mut sent).unwrap();
                let line = head.trim().trim_end_matches(" HTTP/1.1");
                asked.push(format!("{line} {}", String::from_utf8_lossy(&sent)).trim().to_owned());
                let length = body.len();
                write!(
                    stream,
                    "HTTP/1.1 {status} x\r\nX-Consul-Index: 7\r\nConnection: close\r\n\
                     Content-Length: {length}\r\n\r\n{body}"
                )
                .unwrap();
            }
            asked
        });
        Self { address, asked }
    }

    /// What it was asked: method, path, body.
    pub(super) fn asked(self) -> Vec<String> {
        self.asked.join().unwrap()
    }
}

/// Reads the rest of a head, and what it says of the body's length.
fn body_length(reader: &mut impl std::io::BufRead) -> usize {
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            return length;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
}

/// Runs a command line against `canned`: exit code, output, errors, what was asked.
pub(super) fn play(line: &[&str], answers: &[(u16, &str)]) -> (u8, String, String, Vec<String>) {
    let canned = Canned::start(answers);
    let mut words: Vec<String> = line.iter().map(|&word| word.to_owned()).collect();
    let leaf = words.iter().position(|word| word.starts_with('-'));
    let leaf = leaf.unwrap_or_else(|| super::run::leaf_of(&words));
    words.insert(leaf, format!("-http-addr={}", canned.address));
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = {
        let mut screen = Screen { out: &mut out, err: &mut err };
        super::run::run_words("portolan", &words, &mut screen)
    };
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (code, text(out), text(err), canned.asked())
}
