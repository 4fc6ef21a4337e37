//! What is measured in a turn, one after another: the same for every system.

use crate::figures::short;
use crate::rows::{Pace, Row};

/// One measurement.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// What is asked.
    pub(crate) row: Row,
    /// How the table calls it.
    pub(crate) title: String,
    /// The share of its own peak that a system is loaded with; none is the closed loop.
    pub(crate) share: Option<f64>,
}

impl Step {
    /// What the shares of one row have in common: a curve goes through them.
    pub(crate) fn curve(&self) -> String {
        self.row.title.to_owned()
    }
}

/// Every row once, those of the open loop once for each share.
pub(crate) fn steps(rows: &[Row], shares: &[f64]) -> Vec<Step> {
    let mut steps = Vec::with_capacity(rows.len());
    for row in rows {
        match row.pace {
            Pace::Closed => {
                steps.push(Step { row: *row, title: row.title.to_owned(), share: None });
            }
            Pace::Open => steps.extend(shares.iter().map(|share| {
                let title = format!("{} at {} % of the own peak", row.title, percent(*share));
                Step { row: *row, title, share: Some(*share) }
            })),
        }
    }
    steps
}

/// A share in per cent, without needless digits.
pub(crate) fn percent(share: f64) -> String {
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

    #[test]
    fn an_open_row_is_measured_at_every_share() {
        let named = |name| *ROWS.iter().find(|row| row.name == name).unwrap();
        let steps = steps(&[named("put-64"), named("put-open")], &[0.1, 0.925]);
        let titles: Vec<_> = steps.iter().map(|step| step.title.as_str()).collect();
        assert_eq!(
            titles,
            [
                "PUT 128 B, 64 connections",
                "PUT 128 B at 10 % of the own peak",
                "PUT 128 B at 92.5 % of the own peak"
            ]
        );
    }

    #[test]
    fn shares_are_written_short() {
        assert_eq!([0.5, 1.0, 3.0, 0.025, 0.001].map(percent), ["50", "100", "300", "2.5", "0.1"]);
    }
}
