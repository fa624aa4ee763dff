//! Rows as a table for reading: names above, numbers to the right.

use comfy_table::{Cell, CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};

/// Lines above, below the names, and below: rows are many and need none between them.
pub(crate) const STYLE: TableStyle = TableStyle::new()
    .top_border(LineStyle::none().fill('─').junction('─'))
    .header_separator(LineStyle::none().fill('─').junction('─'))
    .bottom_border(LineStyle::none().fill('─').junction('─'));

/// A table that grows row by row.
pub(crate) struct Rows {
    table: Table,
    numeric: Vec<bool>,
    count: usize,
}

impl Rows {
    /// An empty table with these columns. `width` makes it fit the terminal.
    pub(crate) fn new(names: &[String], types: &[String], width: Option<u16>) -> Self {
        let numeric: Vec<bool> =
            (0..names.len()).map(|at| types.get(at).is_some_and(|kind| is_numeric(kind))).collect();
        let mut table = Table::new();
        table.load_style(STYLE);
        if let Some(width) = width {
            table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
        } else {
            table.set_content_arrangement(ContentArrangement::Disabled);
        }
        let header = names.iter().zip(&numeric).map(|(name, numeric)| cell(name, *numeric));
        table.set_header(header.collect::<Vec<_>>());
        Self { table, numeric, count: 0 }
    }

    /// One more row.
    pub(crate) fn push(&mut self, values: &[String]) {
        let cells = values.iter().enumerate().map(|(at, value)| {
            let numeric = self.numeric.get(at).copied().unwrap_or(false);
            cell(&printable(value), numeric)
        });
        self.table.add_row(cells.collect::<Vec<_>>());
        self.count += 1;
    }

    /// How many rows there are.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// The table as text.
    pub(crate) fn render(&self) -> String {
        self.table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
    }
}

fn cell(text: &str, numeric: bool) -> Cell {
    let cell = Cell::new(text);
    if numeric {
        cell.set_alignment(CellAlignment::Right)
    } else {
        cell
    }
}

/// What is stored may hold anything; what reaches the terminal may not move its cursor.
fn printable(value: &str) -> String {
    let shown = |c: char| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c };
    value.chars().map(shown).collect()
}

/// True for types whose values read best with their ends under each other.
fn is_numeric(kind: &str) -> bool {
    let inner = ["Nullable(", "LowCardinality("].iter().find_map(|wrapper| kind.strip_prefix(wrapper));
    if let Some(inner) = inner {
        return is_numeric(inner.trim_end_matches(')'));
    }
    ["Int", "UInt", "Float", "BFloat", "Decimal"].iter().any(|prefix| kind.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(values: &[&str]) -> Vec<String> {
        values.iter().map(|&value| value.to_owned()).collect()
    }

    #[test]
    fn numbers_stand_to_the_right_and_texts_to_the_left() {
        let mut rows = Rows::new(&strings(&["name", "n"]), &strings(&["String", "Nullable(UInt64)"]), None);
        rows.push(&strings(&["a", "1"]));
        rows.push(&strings(&["bcd", "1000"]));
        assert_eq!(rows.count(), 2);
        let rendered = rows.render();
        assert!(rendered.contains("\n a         1\n bcd    1000\n"), "{rendered}");
    }

    #[test]
    fn types_that_are_numbers_are_known() {
        for kind in ["UInt8", "Int256", "Float64", "Decimal(9, 2)", "LowCardinality(Nullable(Int32))"] {
            assert!(is_numeric(kind), "{kind}");
        }
        for kind in ["String", "DateTime64(6, 'UTC')", "Array(UInt8)", "IPv4", "Enum8('a' = 1)"] {
            assert!(!is_numeric(kind), "{kind}");
        }
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(printable("a\x1b[2Jb\x07\n"), "a\u{fffd}[2Jb\u{fffd}\n");
    }
}
