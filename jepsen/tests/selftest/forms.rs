//! Histories on their way to a file and back: as lines, and as the Jepsen tools read them.

use portolan_jepsen::history::{
    Action, Answer, Condition, LINE_BYTES_MAX, Level, Lines, ListStep, Op, Outcome, Write,
    write_appends, write_line, write_registers,
};

fn op(client: u32, called: u64, returned: u64, action: Action, outcome: Outcome) -> Op {
    Op { client, node: 0, called, returned, action, outcome }
}

fn write(key: &str, value: Option<u64>, condition: Condition) -> Action {
    Action::Write(Write { key: key.to_owned(), value, condition })
}

fn read(key: &str) -> Action {
    Action::Read { key: key.to_owned(), level: Level::Default }
}

fn written(revision: u64) -> Outcome {
    Outcome::Done(Answer::Written { revision: Some(revision) })
}

fn value(value: Option<u64>, revision: u64) -> Outcome {
    Outcome::Done(Answer::Value { value, revision, store: None })
}

fn unknown() -> Outcome {
    Outcome::Unknown { why: "no answer".to_owned() }
}

fn not_done() -> Outcome {
    Outcome::NotDone { why: "no leader".to_owned() }
}

fn lines_of(text: &str) -> Vec<Result<Op, String>> {
    Lines::new(text.as_bytes()).map(|line| line.map_err(|bad| bad.to_string())).collect()
}

#[test]
fn what_was_written_as_lines_is_read_as_the_same() {
    let ops = [
        op(1, 5, 9, write("a\"\\\n\u{7}ä", Some(3), Condition::Unchanged(7)), written(8)),
        op(2, 6, 6, read("a"), value(None, 0)),
        op(3, 7, 20, Action::Open { ttl: 10_000 }, unknown()),
        op(4, 8, 21, Action::Append { key: "l".to_owned(), element: u64::MAX }, not_done()),
    ];
    let mut bytes = Vec::new();
    for op in &ops {
        write_line(&mut bytes, op).unwrap();
        bytes.extend(b"\n"); // empty lines are nothing
    }
    let read: Vec<Op> = Lines::new(bytes.as_slice()).map(Result::unwrap).collect();
    assert_eq!(read, ops);
}

#[test]
fn a_bad_line_is_named_and_is_the_last() {
    let mut good = Vec::new();
    write_line(&mut good, &op(1, 5, 9, read("a"), value(None, 0))).unwrap();
    let good = String::from_utf8(good).unwrap();
    let backwards = good.replace("\"returned\":9", "\"returned\":4");
    let cut = good.trim_end().trim_end_matches('}').to_owned();
    let long = " ".repeat(LINE_BYTES_MAX + 1);
    for (bad, why) in [
        (backwards.as_str(), "line 2 of the history: returned at 4, called at 5"),
        (cut.as_str(), "line 2 of the history: EOF while parsing"),
        ("[]\n", "line 2 of the history: invalid length 0"),
        (long.as_str(), "line 2 of the history: is longer than 1048576 bytes"),
    ] {
        let read = lines_of(&format!("{good}{bad}\n{good}"));
        assert_eq!(read.len(), 2, "nothing comes after a bad line: {read:?}");
        assert!(read[0].is_ok());
        let error = read[1].as_ref().unwrap_err();
        assert!(error.starts_with(why), "{error}");
    }
}

/// The longest line there may be is read whether or not the file ends with it.
#[test]
fn the_longest_line_is_read() {
    let mut line = Vec::new();
    write_line(&mut line, &op(1, 5, 9, read("a"), value(None, 0))).unwrap();
    let text = String::from_utf8(line).unwrap();
    let padded = format!("{}{}", " ".repeat(LINE_BYTES_MAX - text.trim_end().len()), text);
    assert_eq!(padded.len(), LINE_BYTES_MAX + 1, "with its end");
    assert!(lines_of(&padded)[0].is_ok());
    assert!(lines_of(padded.trim_end())[0].is_ok());
}

#[test]
fn registers_are_written_as_knossos_reads_them() {
    let ops = [
        op(1, 10, 20, write("k\"", Some(5), Condition::Always), written(3)),
        op(2, 15, 30, read("k\""), value(Some(5), 3)),
        op(3, 30, 40, write("k\"", Some(6), Condition::Unchanged(3)), written(4)),
        op(
            4,
            41,
            42,
            write("k\"", Some(7), Condition::Unchanged(3)),
            Outcome::Done(Answer::Refused { store: None }),
        ),
        op(5, 43, 44, write("k\"", None, Condition::Always), unknown()),
        op(6, 45, 46, write("k\"", Some(8), Condition::Always), not_done()),
    ];
    let mut out = Vec::new();
    write_registers(&mut out, &ops).unwrap();
    let wanted = r#"
{:process 1, :type :invoke, :f :write, :value ["k\"" 5], :time 10, :index 0}
{:process 2, :type :invoke, :f :read, :value ["k\"" nil], :time 15, :index 1}
{:process 1, :type :ok, :f :write, :value ["k\"" 5], :time 20, :index 2}
{:process 3, :type :invoke, :f :cas, :value ["k\"" [5 6]], :time 30, :index 3}
{:process 2, :type :ok, :f :read, :value ["k\"" 5], :time 30, :index 4}
{:process 3, :type :ok, :f :cas, :value ["k\"" [5 6]], :time 40, :index 5}
{:process 4, :type :invoke, :f :cas, :value ["k\"" [5 7]], :time 41, :index 6}
{:process 4, :type :fail, :f :cas, :value ["k\"" [5 7]], :time 42, :index 7}
{:process 5, :type :invoke, :f :write, :value ["k\"" nil], :time 43, :index 8}
{:process 5, :type :info, :f :write, :value ["k\"" nil], :time 44, :index 9}
{:process 6, :type :invoke, :f :write, :value ["k\"" 8], :time 45, :index 10}
{:process 6, :type :fail, :f :write, :value ["k\"" 8], :time 46, :index 11}
"#;
    assert_eq!(String::from_utf8(out).unwrap(), wanted.trim_start());
}

#[test]
fn lists_are_written_as_elle_reads_them() {
    let key = || "l".to_owned();
    let steps = vec![ListStep::Append { key: key(), element: 2 }, ListStep::Read { key: key() }];
    let saw = Answer::Lists { reads: vec![vec![1, 2]], revision: Some(9) };
    let list = Action::List { key: key(), level: Level::Default };
    let ops = [
        op(1, 10, 20, Action::Append { key: key(), element: 1 }, written(3)),
        op(2, 30, 40, Action::Lists { steps: steps.clone() }, Outcome::Done(saw)),
        op(3, 50, 60, Action::Lists { steps }, unknown()),
        op(
            4,
            70,
            80,
            list.clone(),
            Outcome::Done(Answer::Elements { elements: vec![1, 2], revision: 9 }),
        ),
        op(5, 90, 95, list, not_done()),
        op(6, 96, 97, read("k"), value(None, 0)),
    ];
    let mut out = Vec::new();
    write_appends(&mut out, &ops).unwrap();
    let wanted = r#"
{:process 1, :type :invoke, :f :txn, :value [[:append "l" 1]], :time 10, :index 0}
{:process 1, :type :ok, :f :txn, :value [[:append "l" 1]], :time 20, :index 1}
{:process 2, :type :invoke, :f :txn, :value [[:append "l" 2] [:r "l" nil]], :time 30, :index 2}
{:process 2, :type :ok, :f :txn, :value [[:append "l" 2] [:r "l" [1 2]]], :time 40, :index 3}
{:process 3, :type :invoke, :f :txn, :value [[:append "l" 2] [:r "l" nil]], :time 50, :index 4}
{:process 3, :type :info, :f :txn, :value [[:append "l" 2] [:r "l" nil]], :time 60, :index 5}
{:process 4, :type :invoke, :f :txn, :value [[:r "l" nil]], :time 70, :index 6}
{:process 4, :type :ok, :f :txn, :value [[:r "l" [1 2]]], :time 80, :index 7}
{:process 5, :type :invoke, :f :txn, :value [[:r "l" nil]], :time 90, :index 8}
{:process 5, :type :fail, :f :txn, :value [[:r "l" nil]], :time 95, :index 9}
"#;
    assert_eq!(String::from_utf8(out).unwrap(), wanted.trim_start());
}
