//! Text in columns, in the two manners of Consul's command line.

/// Rows as a table: columns two blanks apart, none at the end of a line.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<_> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let padded = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Names and values: values start six blanks behind the longest name.
pub(super) fn pairs(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|row| row.0.chars().count()).max().unwrap_or_default() + 6;
    let line = |(name, value): &(&str, String)| format!("{name:width$}{value}");
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Owned cells from borrowed ones.
pub(super) fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.iter().map(|&cell| cell.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [row(["Node", "ID", "DC"]), row(["a-long-name", "é", ""])];
        assert_eq!(table(&rows), "Node         ID  DC\na-long-name  é");
        assert_eq!(table(&[]), "");
        let rows = [("ID", "1".to_owned()), ("Version", "2".to_owned())];
        assert_eq!(pairs(&rows), "ID           1\nVersion      2");
    }
}
