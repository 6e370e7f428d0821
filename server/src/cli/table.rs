//! Plain tables: columns as wide as what stands in them, two blanks between.

use console::measure_text_width;

/// A table for standard output.
#[derive(Debug)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    pub(super) fn new(headings: &[&str]) -> Self {
        Self { rows: vec![headings.iter().map(|heading| heading.to_uppercase()).collect()] }
    }

    /// One row more.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(
            cells.into_iter().map(|cell| if cell.is_empty() { "-".to_owned() } else { cell }).collect(),
        );
    }

    /// The lines, without blanks at their ends.
    pub(super) fn lines(&self) -> Vec<String> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| measure_text_width(cell))
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let line = |row: &Vec<String>| {
            let cells = row.iter().zip(&widths);
            let padded = cells.map(|(cell, width)| {
                let blanks = width.saturating_sub(measure_text_width(cell));
                format!("{cell}{}", " ".repeat(blanks))
            });
            padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        self.rows.iter().map(line).collect()
    }

    /// Prints it.
    pub(super) fn print(&self) {
        self.lines().iter().for_each(|line| println!("{line}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&["host", "zone"]);
        table.row(["a".to_owned(), "north".to_owned()]);
        table.row(["long-name".to_owned(), String::new()]);
        assert_eq!(table.lines(), ["HOST       ZONE", "a          north", "long-name  -"]);
    }
}
