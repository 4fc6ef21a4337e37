//! What is measured in a turn, one after another: the same for every system.

use crate::figures::{short, whole};
use crate::rows::{Pace, Row, SERVICE_INSTANCES, Work};

/// How much a system holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Size {
    /// Keys in the data set.
    pub(crate) keys: u32,
    /// Instances in the catalogue, in services of [`SERVICE_INSTANCES`].
    pub(crate) instances: u32,
}

/// One measurement.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// What is asked.
    pub(crate) row: Row,
    /// The share of its own peak that a system is loaded with; none is the closed loop.
    pub(crate) share: Option<f64>,
    /// Which of the sizes the data has.
    pub(crate) stage: usize,
    /// The size as the table says it, if there are several.
    pub(crate) size: Option<String>,
}

impl Size {
    /// Services in the catalogue.
    pub(crate) fn services(self) -> u32 {
        self.instances / SERVICE_INSTANCES
    }

    /// What of it this work depends on.
    fn of(self, work: Work) -> (u32, &'static str) {
        match work {
            Work::Put(_) | Work::Get(_) => (self.keys, "keys"),
            Work::Srv => (self.instances, "instances in all"),
        }
    }
}

impl Step {
    /// How the table calls it.
    pub(crate) fn title(&self) -> String {
        let size = self.size.iter().map(|size| format!("; {size}"));
        self.without_size() + &size.collect::<String>()
    }

    /// The same, whatever the size.
    pub(crate) fn without_size(&self) -> String {
        let share = self.share.map(|share| format!(" at {} % of the own peak", percent(share)));
        self.row.title.to_owned() + &share.unwrap_or_default()
    }

    /// What the shares of one row have in common: a curve goes through them.
    pub(crate) fn curve(&self) -> String {
        Self { share: None, ..self.clone() }.title()
    }
}

/// The stages through which the data grows: a shorter list stays at its last.
///
/// # Panics
/// If either list is empty; the options see to that.
pub(crate) fn sizes(keys: &[u32], instances: &[u32]) -> Vec<Size> {
    let at = |list: &[u32], stage: usize| list[stage.min(list.len() - 1)];
    let stages = 0..keys.len().max(instances.len());
    stages.map(|stage| Size { keys: at(keys, stage), instances: at(instances, stage) }).collect()
}

/// Every row at each size that it depends on, those of the open loop once for each share.
pub(crate) fn steps(rows: &[Row], shares: &[f64], sizes: &[Size]) -> Vec<Step> {
    let mut steps = Vec::new();
    for (stage, size) in sizes.iter().enumerate() {
        let before = stage.checked_sub(1).map(|before| sizes[before]);
        for row in rows {
            let (count, what) = size.of(row.work);
            if before.is_some_and(|before| before.of(row.work).0 == count) {
                continue; // what it depends on did not grow
            }
            let grows = sizes.iter().any(|other| other.of(row.work).0 != count);
            let size = grows.then(|| format!("{} {what}", whole(count)));
            let step = Step { row: *row, share: None, stage, size };
            match row.pace {
                Pace::Closed => steps.push(step),
                Pace::Open => {
                    let at = |share: &f64| Step { share: Some(*share), ..step.clone() };
                    steps.extend(shares.iter().map(at));
                }
            }
        }
    }
    steps
}

/// A share in per cent, without needless digits.
fn percent(share: f64) -> String {
    let text = short(share * 100.0);
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::ROWS;

    fn titles(rows: &[&str], shares: &[f64], sizes: &[Size]) -> Vec<String> {
        let rows = rows.iter().map(|name| *ROWS.iter().find(|row| row.name == *name).unwrap());
        let steps = steps(&rows.collect::<Vec<_>>(), shares, sizes);
        steps.iter().map(Step::title).collect()
    }

    #[test]
    fn an_open_row_is_measured_at_every_share() {
        assert_eq!(
            titles(&["put-64", "put-open"], &[0.1, 0.925], &sizes(&[9], &[10])),
            [
                "PUT 128 B, 64 connections",
                "PUT 128 B at 10 % of the own peak",
                "PUT 128 B at 92.5 % of the own peak"
            ]
        );
    }

    #[test]
    fn a_row_runs_again_when_what_it_depends_on_grew() {
        assert_eq!(
            titles(&["put-1", "dns-srv"], &[], &sizes(&[1_000, 2_000, 3_000], &[10, 100])),
            [
                "PUT 128 B, 1 connection; 1,000 keys",
                "DNS SRV of 10 instances, 64 UDP sockets; 10 instances in all",
                "PUT 128 B, 1 connection; 2,000 keys",
                "DNS SRV of 10 instances, 64 UDP sockets; 100 instances in all",
                "PUT 128 B, 1 connection; 3,000 keys",
            ]
        );
        let one = titles(&["put-1", "dns-srv"], &[], &sizes(&[1_000, 2_000], &[10]));
        assert_eq!(one[1], "DNS SRV of 10 instances, 64 UDP sockets");
        assert_eq!(one.len(), 3);
    }

    #[test]
    fn a_curve_is_named_without_its_shares() {
        let rows = [*ROWS.iter().find(|row| row.name == "get-open").unwrap()];
        let steps = steps(&rows, &[0.5], &sizes(&[1, 200], &[10]));
        assert_eq!(steps[1].curve(), "GET; 200 keys");
        assert_eq!(steps[1].without_size(), "GET at 50 % of the own peak");
    }

    #[test]
    fn shares_are_written_short() {
        assert_eq!([0.5, 1.0, 3.0, 0.025, 0.001].map(percent), ["50", "100", "300", "2.5", "0.1"]);
    }
}
