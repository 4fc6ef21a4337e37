//! Who no longer hears whom: shapes of partitions as plain data, and the switch that keeps to them.
//!
//! A cut is silent, as that of a cable is: the bridge drops what one port sends to another, and
//! the sender is told nothing. Only questions for hardware addresses (ARP) still pass: what one
//! host does not hear must not stop what it sends.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::LabError;
use super::network::{Host, Network};
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

impl Network {
    /// From now on exactly these ways are cut: what was cut before and is not in it is healed.
    ///
    /// # Errors
    ///
    /// If the cut names a host that there is not, or `nft` is missing or refuses.
    pub fn set_cut(&self, cut: &Cut) -> Result<(), LabError> {
        // One transaction: there is no moment in which neither the old cut nor the new one holds.
        let mut script = String::from(
            "add table bridge lab\n\
             delete table bridge lab\n\
             add table bridge lab\n\
             add chain bridge lab ways { type filter hook forward priority 0; }\n",
        );
        for (from, to) in cut.ways() {
            let (from, to) = (self.end(from)?.port(), self.end(to)?.port());
            let drop = format!("iifname \"{from}\" oifname \"{to}\" ether type != arp drop");
            writeln!(script, "add rule bridge lab ways {drop}")
                .map_err(|error| LabError::new("a cut", error))?;
        }
        run_with(self.switch().command("nft").args(["-f", "-"]), &script).map(drop)
    }

    /// Mends all cuts.
    ///
    /// # Errors
    ///
    /// If `nft` is missing or refuses.
    pub fn heal(&self) -> Result<(), LabError> {
        self.set_cut(&Cut::none())
    }

    fn end(&self, end: End) -> Result<&Host, LabError> {
        match end {
            End::Client => Ok(self.client()),
            End::Host(number) => {
                let host = self.hosts().get(number);
                host.ok_or_else(|| LabError::new("a cut", format!("there is no host {number}")))
            }
        }
    }
}
