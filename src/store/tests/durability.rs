//! What survives: a stop, a checkpoint, a restore cut off in the middle, another cut of batches.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use tempfile::TempDir;

use super::language::{command, envelope, session};
use crate::model::{
    Answer, Backup, ClusterTime, Command, Index, KvEntry, Query, Refusal, Renewal, Reply,
};
use crate::store::{Store, View};

/// Every kind of command, with a renewal, an expiry, and things that came and went.
fn history() -> Vec<Bytes> {
    let lines = "
        register n1 10.0.0.1 id=aa service=web:web1:80 tags=a,b address=10.9.0.1 check=c1:passing:web1
        register n2 10.0.0.2 service=web:web2:80 check=serfHealth:passing
        register n3 10.0.0.3 service=db:db1:5432 check=weird:strange:db1
        set a/1 one
        set a/2 two flags=7
        set b three
        session s1 n2 ttl=10000 delay=15000 checks=serfHealth
        session s2 n1 ttl=20000 behavior=delete
        session s3 n1
        lock a/1 mine s1
        lock gone yours s2
        txn set t/1 x; set t/2 y; delete b
        txn set t/1 x; check-not-exists t/2
        check n1 c1 critical output=bad
        check n1 c1 critical output=worse
        delete-tree t/
        destroy s1
        expire s2 0
        deregister n3
        deregister n1 check=c1
        reap 6
        prepare p1 q web tags=a,!b
        prepare p2 \"\" ${name.full} template=yes session=s3
        prepare-again p1 q db
        prepare p3 gone web
        unprepare p3
        locate n2 0.25
        locate n1 0.5 segment=x
        set last word";
    let lines = lines.lines().map(str::trim).filter(|line| !line.is_empty());
    let steps = lines.enumerate().map(|(place, line)| {
        let at = 1000 * place as u64;
        let id = session("s1");
        let renewals =
            if place == 10 { vec![Renewal { id, at: ClusterTime(at) }] } else { Vec::new() };
        let at = if line.starts_with("expire") { 60_000 } else { at };
        envelope(at, renewals, &command(line).expect("a command"))
    });
    let part = Command::RestorePart { id: 1, part: 0, records: Box::default() };
    steps.chain([envelope(0, Vec::new(), &part)]).collect()
}

fn fill(store: &mut Store, payloads: &[Bytes], size: usize) {
    for (place, batch) in payloads.chunks(size).enumerate() {
        store.apply(batch, Bytes::from(format!("p{place}"))).unwrap();
    }
}

fn filled(dir: &Path) -> (Store, View) {
    let (mut store, view) = Store::open(dir).unwrap();
    fill(&mut store, &history(), 3);
    (store, view)
}

/// Its failure would count as this machine's fault and stop the server.
#[test]
fn a_checkpoint_that_a_restore_overtakes_is_still_made() {
    let (dir, made) = (folder(), folder());
    let (mut store, _view) = filled(dir.path());
    let files = made.path().join("files");
    let inside = store.checkpoint().unwrap()(&files).unwrap();
    let value = "v".repeat(100_000);
    let large = (0..400).map(|key| command(&format!("set {key} {value}")).expect("a command"));
    let large: Vec<Bytes> = large.map(|command| envelope(0, Vec::new(), &command)).collect();
    store.apply(&large, "p10".into()).unwrap(); // takes a moment to write
    let checkpoint = store.checkpoint().unwrap();
    store.restore(&files, inside.clone()).unwrap();
    assert_eq!(checkpoint(&made.path().join("late")).unwrap(), "p10");
    assert_eq!(store.position(), Some(inside));
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn a_stop_loses_nothing() {
    let dir = folder();
    let (mut store, view) = filled(dir.path());
    let before = view.digest();
    let topics = [Query::HealthService("web".to_owned()), Query::KvTree("t/".to_owned())];
    let answers: Vec<_> = topics.iter().map(|query| view.query(query)).collect();
    store.flush().unwrap();
    assert_eq!(store.position().as_deref(), Some(b"p9".as_slice()));
    drop(store);
    let (store, view) = Store::open(dir.path()).unwrap();
    assert_eq!(view.digest(), before);
    assert_eq!(store.position().as_deref(), Some(b"p9".as_slice()));
    assert_eq!(topics.iter().map(|query| view.query(query)).collect::<Vec<_>>(), answers);
}

#[test]
fn the_cut_of_batches_changes_nothing() {
    let payloads = history();
    let seen: Vec<(Index, u64)> = [1, 2, 5, payloads.len()]
        .into_iter()
        .map(|size| {
            let dir = folder();
            let (mut store, view) = Store::open(dir.path()).unwrap();
            fill(&mut store, &payloads, size);
            drop(store);
            let digest = view.digest();
            assert_eq!(Store::open(dir.path()).unwrap().1.digest(), digest, "batches of {size}");
            digest
        })
        .collect();
    assert!(seen.iter().all(|digest| *digest == seen[0]), "{seen:?}");
}

#[test]
fn a_checkpoint_is_the_state_elsewhere() {
    let (dir, other, made) = (folder(), folder(), folder());
    let (mut store, view) = filled(dir.path());
    let checkpoint = store.checkpoint().unwrap();
    let files = made.path().join("files");
    let inside = checkpoint(&files).unwrap();
    assert_eq!(inside, "p9");
    assert_eq!(store.position(), Some(inside.clone()));
    let then = view.digest();
    store
        .apply(&[envelope(0, Vec::new(), &command("set later 1").unwrap())], "p10".into())
        .unwrap();
    assert_ne!(view.digest(), then);

    let (mut second, second_view) = Store::open(other.path()).unwrap();
    fill(&mut second, &history()[..4], 1);
    second.restore(&files, inside.clone()).unwrap();
    assert_eq!(second_view.digest(), then);
    assert_eq!(second.position(), Some(inside.clone()));
    let next = envelope(0, Vec::new(), &command("set later 1").unwrap());
    second.apply(&[next], "p10".into()).unwrap();
    assert_eq!(second_view.digest(), view.digest());
    drop(second);
    let (second, second_view) = Store::open(other.path()).unwrap();
    assert_eq!(second_view.digest(), view.digest());
    assert_eq!(second.position().as_deref(), Some(b"p10".as_slice()));
    assert!(files.join("CURRENT").exists(), "the checkpoint's own files stay");
}

#[test]
fn a_backup_taken_back_leaves_nothing_else_on_disk() {
    let dir = folder();
    let (mut store, view) = filled(dir.path());
    let Answer::Backup(backup) = &*view.query(&Query::Backup).answer else { panic!("a backup") };
    let kept = Backup { kv: backup.kv[..1].to_vec(), ..Backup::default() };
    let before = view.index();
    let commands = [command("set late 1").unwrap(), Command::Restore(Box::new(kept.clone()))];
    let payloads = commands.map(|command| envelope(0, Vec::new(), &command));
    store.apply(&payloads, "p10".into()).unwrap();
    assert_eq!(view.index(), Index(before.0 + 2));
    let digest = view.digest();
    drop(store);
    let (_store, view) = Store::open(dir.path()).unwrap();
    assert_eq!(view.digest(), digest);
    assert_eq!(*view.query(&Query::Backup).answer, Answer::Backup(Box::new(kept)));
}

#[test]
fn what_a_backup_gets_wrong_is_set_right() {
    let dir = folder();
    let (mut store, view) = filled(dir.path());
    let Answer::Backup(backup) = &*view.query(&Query::Backup).answer else { panic!("a backup") };
    let mut backup = Backup::clone(backup);
    let mut entry = KvEntry::clone(backup.kv.first().expect("there are keys"));
    (entry.create, entry.modify, entry.lock_index) = (Index(9), Index(3), 0);
    entry.session = Some(session("s3"));
    backup.kv[0] = entry.clone();
    let restore = envelope(0, Vec::new(), &Command::Restore(Box::new(backup)));
    store.apply(&[restore], "p10".into()).unwrap();
    let Answer::Kv(found) = &*view.query(&Query::Kv(entry.key.clone())).answer else {
        panic!("keys")
    };
    let is = (found[0].create, found[0].modify, found[0].lock_index);
    assert_eq!(is, (Index(9), Index(9), 1), "changed when it was made, acquired once");
}

#[test]
fn a_restore_that_was_cut_off_leaves_the_old_state() {
    let dir = folder();
    let (store, view) = filled(dir.path());
    let before = view.digest();
    drop(store);
    fs::create_dir(dir.path().join("state-1")).unwrap();
    fs::write(dir.path().join("state-1/CURRENT"), "half").unwrap();
    fs::write(dir.path().join("CURRENT.new"), "state-").unwrap();
    let (_store, view) = Store::open(dir.path()).unwrap();
    assert_eq!(view.digest(), before);
    assert!(!dir.path().join("state-1").exists());
}

#[test]
fn a_lost_pointer_is_a_fault() {
    let dir = folder();
    drop(filled(dir.path()));
    fs::remove_file(dir.path().join("CURRENT")).unwrap();
    let fault = Store::open(dir.path()).map(|_| ()).unwrap_err().to_string();
    assert!(fault.contains("CURRENT: states are there, but no pointer"), "{fault}");
}

#[test]
fn a_damaged_table_file_is_a_fault() {
    let dir = folder();
    let (mut store, _view) = filled(dir.path());
    store.flush().unwrap();
    drop(store);
    for entry in fs::read_dir(dir.path().join("state-0")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "sst") {
            let mut bytes = fs::read(&path).unwrap();
            bytes[10..40].fill(0x55);
            fs::write(&path, bytes).unwrap();
        }
    }
    let fault = Store::open(dir.path()).map(|_| ()).unwrap_err().to_string();
    assert!(fault.contains("state-0"), "{fault}");
}

#[test]
fn a_payload_that_is_no_envelope_is_a_fault() {
    let dir = folder();
    let (mut store, view) = Store::open(dir.path()).unwrap();
    let fault = store.apply(&["?".into()], "p0".into()).unwrap_err().to_string();
    assert!(fault.contains("1 bytes is no envelope"), "{fault}");
    assert_eq!(view.index(), Index(0));
}

#[test]
fn a_command_of_a_newer_version_is_refused() {
    let dir = folder();
    let (mut store, view) = Store::open(dir.path()).unwrap();
    let unread = crate::model::Envelope {
        at: ClusterTime(5),
        renewals: Vec::new(),
        command: vec![1, 250, 1].into(),
    };
    let payload = Bytes::from(crate::codec::encode(&unread));
    let applied = store.apply(&[payload], "p0".into()).unwrap();
    assert_eq!(applied.replies[0].reply, Reply::Refused(Refusal::UnknownCommand));
    assert_eq!((view.index(), view.clock()), (Index(0), ClusterTime(5)));
}

#[test]
fn an_apply_without_payloads_moves_the_position() {
    let dir = folder();
    let (mut store, view) = Store::open(dir.path()).unwrap();
    assert_eq!(store.position(), None);
    store.apply(&[], "p1".into()).unwrap();
    store.apply(&[envelope(0, Vec::new(), &Command::Tick)], "p2".into()).unwrap();
    drop(store);
    let (store, _view) = Store::open(dir.path()).unwrap();
    assert_eq!(store.position().as_deref(), Some(b"p2".as_slice()));
    assert_eq!(view.index(), Index(0));
}

#[test]
fn readers_run_beside_the_writer_and_checkpoints() {
    let (dir, made) = (folder(), folder());
    let (mut store, view) = Store::open(dir.path()).unwrap();
    let payloads = history();
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let mut of_web = Index(0);
            for _ in 0..2000 {
                let index = view.query(&Query::HealthService("web".to_owned())).index;
                assert!(index >= of_web, "an index fell from {} to {}", of_web.0, index.0);
                of_web = index;
                std::thread::yield_now();
            }
        });
        for (place, payload) in payloads.iter().enumerate() {
            store.apply(std::slice::from_ref(payload), format!("p{place}").into()).unwrap();
            if place % 7 == 0 {
                let checkpoint = store.checkpoint().unwrap();
                let files = made.path().join(place.to_string());
                scope.spawn(move || checkpoint(&files).unwrap());
            }
        }
        reader.join().unwrap();
    });
}

#[test]
fn a_digest_and_its_position_are_of_one_moment() {
    const WRITES: u64 = 2000;
    let dir = folder();
    let (mut store, view) = Store::open(dir.path()).unwrap();
    let first = view.index().0;
    std::thread::scope(|scope| {
        let writer = scope.spawn(move || {
            for nth in 1..=WRITES {
                let payload = envelope(0, Vec::new(), &command(&format!("set k {nth}")).unwrap());
                store.apply(&[payload], Bytes::from(nth.to_string())).unwrap();
            }
        });
        let mut seen = 0;
        while seen < WRITES {
            let done = writer.is_finished();
            let ((index, _), position) = view.digest_with_position();
            seen = position.map_or(0, |mark| str::from_utf8(&mark).unwrap().parse().unwrap());
            assert_eq!(index.0 - first, seen, "each write is one index and one position");
            assert!(!done || seen == WRITES, "the last position is shown");
        }
    });
}
