//! Histories in the form of the Jepsen tools, for whoever wants their judgement too: Knossos
//! (registers, one for each key) and Elle (list-append).
//!
//! Each operation gives two events, sorted by their time:
//! `{:process 1, :type :invoke, :f :write, :value ["k" 5], :time 12, :index 0}`.

use std::fmt::Write as _;
use std::io::{self, Write};

use super::op::{Action, Answer, ListStep, Op, Outcome};
use super::register::{Access, End, Step, accesses};

/// One of the two events of an operation.
struct Event {
    time: u64,
    is_end: bool,
    process: u32,
    kind: &'static str,
    f: &'static str,
    value: String,
}

/// Writes the reads and writes of keys for Knossos, as `independent` tuples of key and value.
///
/// # Errors
///
/// What the writer says.
pub fn write_registers(out: &mut impl Write, ops: &[Op]) -> io::Result<()> {
    let mut events = Vec::new();
    for access in accesses(ops) {
        let op = &ops[access.op];
        let (f, asked, seen) = register(&access);
        let kind = match access.end {
            End::Done => ":ok",
            End::Refused | End::NotDone => ":fail",
            End::Unknown => ":info",
        };
        push(&mut events, op, kind, f, (asked, seen));
    }
    write_events(out, events)
}

/// Writes the appends and list reads for Elle, one operation a transaction.
///
/// # Errors
///
/// What the writer says.
pub fn write_appends(out: &mut impl Write, ops: &[Op]) -> io::Result<()> {
    let mut events = Vec::new();
    for op in ops {
        let kind = match &op.outcome {
            Outcome::Done(Answer::Refused { .. }) | Outcome::NotDone { .. } => ":fail",
            Outcome::Done(_) => ":ok",
            Outcome::Unknown { .. } => ":info",
        };
        let value = match (&op.action, &op.outcome) {
            (Action::Append { key, element }, _) => {
                let value = format!("[[:append {} {element}]]", text(key));
                (value.clone(), value)
            }
            (Action::List { key, .. }, Outcome::Done(Answer::Elements { elements, .. })) => {
                let list: Vec<String> = elements.iter().map(u64::to_string).collect();
                let asked = format!("[[:r {} nil]]", text(key));
                (asked, format!("[[:r {} [{}]]]", text(key), list.join(" ")))
            }
            (Action::List { key, .. }, _) => {
                let asked = format!("[[:r {} nil]]", text(key));
                (asked.clone(), asked)
            }
            (Action::Lists { steps }, outcome) => {
                let seen = match outcome {
                    Outcome::Done(Answer::Lists { reads, .. }) => reads.as_slice(),
                    _ => &[],
                };
                (transaction(steps, &[]), transaction(steps, seen))
            }
            _ => continue,
        };
        push(&mut events, op, kind, ":txn", value);
    }
    write_events(out, events)
}

/// The steps of a transaction, with what its reads saw as far as that is known.
fn transaction(steps: &[ListStep], seen: &[Vec<u64>]) -> String {
    let mut seen = seen.iter();
    let told = steps.iter().map(|step| match step {
        ListStep::Append { key, element } => format!("[:append {} {element}]", text(key)),
        ListStep::Read { key } => match seen.next() {
            None => format!("[:r {} nil]", text(key)),
            Some(elements) => {
                let list: Vec<String> = elements.iter().map(u64::to_string).collect();
                format!("[:r {} [{}]]", text(key), list.join(" "))
            }
        },
    });
    format!("[{}]", told.collect::<Vec<_>>().join(" "))
}

fn push(
    events: &mut Vec<Event>,
    op: &Op,
    kind: &'static str,
    f: &'static str,
    (asked, seen): (String, String),
) {
    let process = op.client;
    let (time, is_end) = (op.called, false);
    events.push(Event { time, is_end, process, kind: ":invoke", f, value: asked });
    let (time, is_end) = (op.returned, true);
    events.push(Event { time, is_end, process, kind, f, value: seen });
}

/// `:f`, the value of the call and the value of the return.
fn register(access: &Access<'_>) -> (&'static str, String, String) {
    let key = text(access.key);
    let one = |value: Option<u64>| value.map_or("nil".to_owned(), |value| value.to_string());
    match access.step {
        Step::Read(value) => (":read", format!("[{key} nil]"), format!("[{key} {}]", one(value))),
        Step::Write(value) => {
            let value = format!("[{key} {}]", one(value));
            (":write", value.clone(), value)
        }
        Step::Cas(from, to) => {
            let value = format!("[{key} [{} {}]]", one(from), one(to));
            (":cas", value.clone(), value)
        }
    }
}

/// A string of EDN.
fn text(plain: &str) -> String {
    let mut quoted = String::from("\"");
    for sign in plain.chars() {
        match sign {
            '"' | '\\' => quoted.extend(['\\', sign]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            sign if sign.is_control() => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(sign));
            }
            sign => quoted.push(sign),
        }
    }
    quoted.push('"');
    quoted
}

/// Where times are equal, calls come first: such operations overlap.
fn write_events(out: &mut impl Write, mut events: Vec<Event>) -> io::Result<()> {
    events.sort_by_key(|event| (event.time, event.is_end));
    for (index, event) in events.iter().enumerate() {
        let Event { time, process, kind, f, value, .. } = event;
        writeln!(
            out,
            "{{:process {process}, :type {kind}, :f {f}, :value {value}, :time {time}, \
             :index {index}}}"
        )?;
    }
    Ok(())
}
