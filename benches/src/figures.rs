//! Small arithmetic on measurements, and how figures are written.

/// A count as a float; exact up to 2^53, far above what a run can count.
#[expect(clippy::cast_precision_loss, reason = "counts of a run stay far below 2^53")]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}

/// `whole / parts`, or zero when there are no parts.
pub(crate) fn per(whole: f64, parts: f64) -> f64 {
    if parts > 0.0 { whole / parts } else { 0.0 }
}

/// Median with the least and the greatest of several runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    /// The middle value; of an even number of runs, the mean of the two in the middle.
    pub(crate) median: f64,
    /// The least.
    pub(crate) min: f64,
    /// The greatest.
    pub(crate) max: f64,
}

/// The spread of some values; none of no values.
pub(crate) fn spread(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    let (min, max) = (*sorted.first()?, *sorted.last()?);
    let upper = sorted.len() / 2;
    let lower = (sorted.len() - 1) / 2;
    Some(Spread { median: f64::midpoint(sorted[lower], sorted[upper]), min, max })
}

/// Three significant digits or so: `12,345`, `12.3`, `1.23`, `0.012`.
pub(crate) fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 99.95 => thousands(value),
        size if size >= 9.995 => format!("{value:.1}"),
        size if (0.000_5..0.995).contains(&size) => format!("{value:.3}"),
        _ => format!("{value:.2}"),
    }
}

/// A count, in full.
pub(crate) fn whole(count: u32) -> String {
    thousands(f64::from(count))
}

/// A whole number with a comma before every third digit.
fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        let left = digits.len() - at;
        if at > 0 && left.is_multiple_of(3) && !out.ends_with('-') {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_even_and_no_values() {
        let of = |values: &[f64]| spread(values.iter().copied());
        assert_eq!(of(&[3.0, 1.0, 2.0]), Some(Spread { median: 2.0, min: 1.0, max: 3.0 }));
        assert_eq!(of(&[4.0, 1.0]), Some(Spread { median: 2.5, min: 1.0, max: 4.0 }));
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn counts_are_whole() {
        assert_eq!([0, 10, 1_000_000].map(whole), ["0", "10", "1,000,000"]);
    }

    #[test]
    fn figures_are_short() {
        let written: Vec<_> = [1_234_567.4, 1866.0, 99.96, 29.4, 3.21, 0.996, 0.0123, 0.0]
            .into_iter()
            .map(short)
            .collect();
        assert_eq!(written, ["1,234,567", "1,866", "100", "29.4", "3.21", "1.00", "0.012", "0.00"]);
    }
}
