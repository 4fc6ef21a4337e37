//! A transaction that fails leaves nothing behind: not a row, not an index, not a wake-up.

use bytes::Bytes;

use super::language::{command, envelope};
use super::walk::{Dice, line, records};
use crate::model::{Command, Reply};
use crate::store::{Applied, Store};

const STEPS: u64 = 1500;
/// Cluster time stands still, so that a failed command changes nothing at all.
const AT: u64 = 10;

fn apply(store: &mut Store, place: u64, text: &str) -> Applied {
    let command: Command = command(text).expect("a command");
    let payload = envelope(AT, Vec::new(), &command);
    store.apply(&[payload], Bytes::from(place.to_string())).unwrap()
}

#[test]
fn what_fails_is_taken_back_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, view) = Store::open(dir.path()).unwrap();
    let mut dice = Dice(5);
    let mut operations = 0;
    for step in 0..STEPS {
        let text = line(&mut dice, view.index());
        apply(&mut store, step * 2, &text);
        let before = view.digest();
        let doomed = format!("txn {}; nonsense", records(&mut dice, view.index().0));
        let applied = apply(&mut store, step * 2 + 1, &doomed);
        let Reply::Txn(Err(errors)) = &applied.replies[0].reply else { panic!("{doomed}") };
        operations += doomed.matches(';').count() + 1 - errors.len();
        assert_eq!(view.digest(), before, "step {step}: {doomed} behind {text}");
        assert!(applied.changes.is_empty(), "step {step}: {doomed} wakes {:?}", applied.changes);
    }
    assert!(operations > 2000, "the walk takes something back: {operations}");
    // What was stored is what is held: a row that was taken back is not left on the disk.
    let digest = view.digest();
    drop(store);
    let (_store, view) = Store::open(dir.path()).unwrap();
    assert_eq!(view.digest(), digest);
}

#[test]
fn a_failure_inside_a_batch_leaves_the_others_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, view) = Store::open(dir.path()).unwrap();
    let lines = ["register n1 10.0.0.1", "txn node-set n2 10.0.0.2; nonsense", "set k v"];
    let payloads: Vec<Bytes> =
        lines.iter().map(|text| envelope(AT, Vec::new(), &command(text).unwrap())).collect();
    let applied = store.apply(&payloads, Bytes::from("1")).unwrap();
    assert_eq!(applied.changes.len(), 3, "nodes, node n1, key k: {:?}", applied.changes);
    let digest = view.digest();
    drop(store);
    let (_store, view) = Store::open(dir.path()).unwrap();
    assert_eq!(view.digest(), digest);
}
