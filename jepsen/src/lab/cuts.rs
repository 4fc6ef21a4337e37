//! Who no longer hears whom: shapes of partitions as plain data, and the switch that keeps to them.
//!
//! A cut is silent, as that of a cable is: the bridge drops what one port sends to another, and
//! the sender is told nothing. Only questions for hardware addresses (ARP) still pass: what one
//! host does not hear must not stop what it sends.

use std::collections::BTreeSet;

use parking_lot::Mutex;

use super::LabError;
use super::space::Space;
use super::tools::run_with;

/// One end of a way through the switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// The host of this number, from 0.
    Host(usize),
    /// The host of the clients.
    Client,
}

/// The ways that are cut: what the first end sends does not come to the second.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cut(BTreeSet<(End, End)>);

impl Cut {
    /// Nothing is cut.
    pub fn none() -> Self {
        Self::default()
    }

    /// Nothing that one of `from` sends comes to any of `to`.
    pub fn one_way(from: &[End], to: &[End]) -> Self {
        let ways = from.iter().flat_map(|from| to.iter().map(|to| (*from, *to)));
        Self(ways.filter(|(from, to)| from != to).collect())
    }

    /// Nothing passes between one of these and one of those, in either direction.
    pub fn two_way(these: &[End], those: &[End]) -> Self {
        Self::one_way(these, those).and(&Self::one_way(those, these))
    }

    /// What either of the two cuts.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self(self.0.union(&other.0).copied().collect())
    }

    /// Whether nothing is cut.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The ways that are cut, in order.
    pub fn ways(&self) -> impl Iterator<Item = (End, End)> + '_ {
        self.0.iter().copied()
    }
}

/// The filter of a bridge, by which ways are cut.
#[derive(Debug)]
pub(crate) struct Filter {
    bridge: Space,
    ports: Vec<String>,
    client: String,
    /// What cuts that are no more have dropped.
    dropped_before: Mutex<u64>,
}

impl Filter {
    /// The filter of this bridge with these ports, of which the last is the clients'.
    pub(crate) fn new(bridge: Space, ports: Vec<String>, client: String) -> Self {
        Self { bridge, ports, client, dropped_before: Mutex::new(0) }
    }

    /// From now on exactly these ways are cut.
    pub(crate) fn set(&self, cut: &Cut) -> Result<(), LabError> {
        let mut before = self.dropped_before.lock();
        // One transaction: there is no moment in which neither the old cut nor the new one holds.
        let mut script = vec![
            "add table bridge lab".to_owned(),
            "delete table bridge lab".to_owned(),
            "add table bridge lab".to_owned(),
            "add counter bridge lab dropped".to_owned(),
            "add chain bridge lab ways { type filter hook forward priority 0; }".to_owned(),
        ];
        for (from, to) in cut.ways() {
            let way = format!("iifname \"{}\" oifname \"{}\"", self.port(from)?, self.port(to)?);
            let drop = "ether type != arp counter name dropped drop";
            script.push(format!("add rule bridge lab ways {way} {drop}"));
        }
        let dropped = self.counted()?;
        run_with(self.bridge.command("nft").args(["-f", "-"]), &(script.join("\n") + "\n"))?;
        *before += dropped;
        Ok(())
    }

    /// How many packets cuts have dropped so far.
    pub(crate) fn dropped(&self) -> Result<u64, LabError> {
        let before = self.dropped_before.lock();
        Ok(*before + self.counted()?)
    }

    /// How many packets the cut of now has dropped.
    fn counted(&self) -> Result<u64, LabError> {
        let listed = run_with(self.bridge.command("nft").args(["list", "counters"]), "")?;
        let mut words = listed.split_whitespace().skip_while(|word| *word != "packets").skip(1);
        let Some(count) = words.next() else { return Ok(0) };
        count.parse().map_err(|error| LabError::new(format!("a counter of {count}"), error))
    }

    fn port(&self, end: End) -> Result<&str, LabError> {
        match end {
            End::Client => Ok(&self.client),
            End::Host(number) => {
                let port = self.ports.get(number).map(String::as_str);
                port.ok_or_else(|| LabError::new("a way", format!("there is no host {number}")))
            }
        }
    }
}
