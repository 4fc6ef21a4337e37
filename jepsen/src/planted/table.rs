//! The table of planted bugs.

/// Where a planted bug should be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// A unit or property test of the room.
    Unit,
    /// Real code on a simulated disk, network and clock.
    Simulation,
    /// Real processes that are killed, paused and cut off, their history judged.
    Processes,
    /// Real processes on a disk whose power is cut.
    PowerCut,
}

/// One planted bug.
#[derive(Clone, Copy, Debug)]
pub struct Bug {
    /// What `PORTOLAN_PLANTED` names it by. Its feature is `planted_` and this in lower case. B23
    /// is missing: it is a check of access rights, which Portolan does not have yet.
    pub number: &'static str,
    /// What is wrong.
    pub what: &'static str,
    /// Where it stands.
    pub place: &'static str,
    /// How it shows to a client, or in a comparison of replicas.
    pub shows: &'static str,
    /// What should find it, the likeliest first.
    pub expected: &'static [Layer],
}

/// Every planted bug, by number.
pub const BUGS: &[Bug] = &[
    Bug {
        number: "B01",
        what: "a group is acknowledged before it is written and synced",
        place: "raft/src/wal/writer.rs",
        shows: "acknowledged write lost",
        expected: &[Layer::PowerCut, Layer::Processes, Layer::Simulation],
    },
    Bug {
        number: "B02",
        what: "a vote that was given is kept in memory only",
        place: "raft/src/wal/handle.rs",
        shows: "two leaders of one term, after a restart between two votes",
        expected: &[Layer::Simulation, Layer::PowerCut],
    },
    Bug {
        number: "B03",
        what: "a joint configuration is kept and sent as its last set alone, so that who is not the leader of the change counts one majority; openraft's own count is not ours to change",
        place: "raft/src/types.rs",
        shows: "commit or election without a majority of the old set",
        expected: &[Layer::Simulation, Layer::Unit],
    },
    Bug {
        number: "B04",
        what: "at a start the whole log counts as committed, whatever terms it is of; openraft's own rule is not ours to change",
        place: "raft/src/log.rs",
        shows: "an entry applied that the next leader overwrites: replicas differ",
        expected: &[Layer::Simulation, Layer::Processes],
    },
    Bug {
        number: "B05",
        what: "a linearizable read takes this server's own committed index",
        place: "raft/src/barrier.rs",
        shows: "stale read",
        expected: &[Layer::Processes, Layer::Simulation],
    },
    Bug {
        number: "B06",
        what: "a linearizable read does not wait until its index is applied here",
        place: "raft/src/handle.rs",
        shows: "stale read on a follower",
        expected: &[Layer::Processes, Layer::Simulation],
    },
    Bug {
        number: "B07",
        what: "a read index by the leader's lease in place of a majority's answers",
        place: "raft/src/barrier.rs",
        shows: "stale read of a paused or cut-off leader whose followers restarted",
        expected: &[Layer::Simulation, Layer::Processes],
    },
    Bug {
        number: "B08",
        what: "the position is written when a batch is applied, its rows later and apart",
        place: "src/store/machine.rs, src/store/engine.rs",
        shows: "entries skipped after a crash: replicas differ",
        expected: &[Layer::Simulation, Layer::Processes],
    },
    Bug {
        number: "B09",
        what: "a state that comes as a snapshot has no sessions",
        place: "src/store/machine.rs",
        shows: "session lost, replicas differ",
        expected: &[Layer::Unit, Layer::Simulation, Layer::Processes],
    },
    Bug {
        number: "B10",
        what: "a blocking read takes the first change behind its index for the known one",
        place: "src/replica/read.rs",
        shows: "no wake-up, or late, after a change",
        expected: &[Layer::Processes, Layer::Simulation],
    },
    Bug {
        number: "B11",
        what: "one publication wakes eight places and drops the rest silently; our hub has no queues that could be full",
        place: "src/watch/hub.rs",
        shows: "no wake-up after a change",
        expected: &[Layer::Processes, Layer::Unit],
    },
    Bug {
        number: "B12",
        what: "an answer bears the store's index of now in place of its own",
        place: "src/replica/read.rs",
        shows: "a change between answer and index is never told; revisions do not replay",
        expected: &[Layer::Processes, Layer::Simulation],
    },
    Bug {
        number: "B13",
        what: "an expiry that was proposed is not checked again when it is applied",
        place: "src/store/sessions.rs",
        shows: "session that was renewed ends before its TTL",
        expected: &[Layer::Unit, Layer::Simulation, Layer::Processes],
    },
    Bug {
        number: "B14",
        what: "cluster time is the leader's wall clock",
        place: "src/replica/clock.rs",
        shows: "sessions end early when a clock jumps, or another server leads",
        expected: &[Layer::Simulation, Layer::Processes],
    },
    Bug {
        number: "B15",
        what: "any session may release a lock that is held",
        place: "src/store/kv.rs",
        shows: "two holders of one lock",
        expected: &[Layer::Unit, Layer::Processes, Layer::Simulation],
    },
    Bug {
        number: "B16",
        what: "compare-and-set asks whether it is the same key, not whether it changed; our condition is an index and never was a value",
        place: "src/store/kv.rs",
        shows: "lost update",
        expected: &[Layer::Unit, Layer::Processes, Layer::Simulation],
    },
    Bug {
        number: "B17",
        what: "a forwarded write without an answer is asked again; there is no table of requests that could be lost",
        place: "src/replica/write.rs",
        shows: "a write refused by its own first try, or done twice",
        expected: &[Layer::Processes, Layer::Simulation],
    },
    Bug {
        number: "B18",
        what: "the keys of a session that ends get indexes in the order of a hash map",
        place: "src/store/sessions.rs",
        shows: "replicas differ after a session with two locks ended",
        expected: &[Layer::Simulation, Layer::Processes],
    },
    Bug {
        number: "B19",
        what: "a server without a vote counts as one of those that a majority needs, when a server is to go; openraft's own count is not ours to change",
        place: "src/replica/autopilot/plan.rs",
        shows: "a removal that takes the majority away",
        expected: &[Layer::Unit, Layer::Processes],
    },
    Bug {
        number: "B20",
        what: "a server that hears of no leader answers linearizable reads from what it has: a removed one hears of none",
        place: "src/replica/read.rs",
        shows: "stale read",
        expected: &[Layer::Processes, Layer::Simulation],
    },
    Bug {
        number: "B21",
        what: "a reaping takes young tombstones too, and does not say so in the index of what was reaped",
        place: "src/store/kv.rs",
        shows: "the index of a prefix falls; a deletion is never told",
        expected: &[Layer::Unit, Layer::Simulation],
    },
    Bug {
        number: "B22",
        what: "an answer kept by the DNS door holds for its name, whatever the index",
        place: "src/dns/cache.rs",
        shows: "an instance that was deregistered is answered",
        expected: &[Layer::Unit, Layer::Processes],
    },
    Bug {
        number: "B24",
        what: "a failed sync of the log is a warning",
        place: "raft/src/wal/writer.rs",
        shows: "acknowledged write lost after EIO and a power cut",
        expected: &[Layer::PowerCut, Layer::Simulation],
    },
    Bug {
        number: "B25",
        what: "no pre-vote",
        place: "raft/src/start.rs",
        shows: "who was cut off deposes the leader when it comes back",
        expected: &[Layer::Simulation, Layer::Processes],
    },
];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn read(path: &str) -> String {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("it is in the workspace");
        std::fs::read_to_string(root.join(path)).expect("a file of the repository can be read")
    }

    /// The features of the program that have this beginning, without it.
    fn features(manifest: &str) -> Vec<String> {
        let of_bugs = manifest.lines().filter_map(|line| line.strip_prefix("planted_"));
        of_bugs.filter_map(|rest| rest.split_once(" = ")).map(|(name, _)| name.to_owned()).collect()
    }

    #[test]
    fn every_bug_has_its_feature_and_stands_where_the_table_says() {
        let numbers: Vec<String> = BUGS.iter().map(|bug| bug.number.to_lowercase()).collect();
        assert_eq!(features(&read("Cargo.toml")), numbers, "features of the program, in order");
        let of_raft = BUGS.iter().filter(|bug| bug.place.starts_with("raft/"));
        let of_raft: Vec<String> = of_raft.map(|bug| bug.number.to_lowercase()).collect();
        assert_eq!(features(&read("raft/Cargo.toml")), of_raft, "features of the raft crate");
        for bug in BUGS {
            let mark = format!("planted!(\"planted_{}\")", bug.number.to_lowercase());
            for place in bug.place.split(", ") {
                assert!(read(place).contains(&mark), "{} is in {place}", bug.number);
            }
            assert!(!bug.expected.is_empty(), "{} can be found", bug.number);
        }
    }
}
