//! A result: printed as tables, and written as Markdown for people and JSON for programs, both named
//! by date and benchmark. A figure that misses its aim is written like one that meets it.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::{json, Map, Value};

use crate::machine::{now, Machine};

/// One table.
#[derive(Debug, Default)]
pub(crate) struct Table {
    title: String,
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns.
    pub(crate) fn new(title: &str, columns: &[&str]) -> Self {
        let columns = columns.iter().map(|column| (*column).to_owned()).collect();
        Self { title: title.to_owned(), columns, rows: Vec::new() }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: &[&str]) {
        self.rows.push(cells.iter().map(|cell| (*cell).to_owned()).collect());
    }

    fn markdown(&self) -> String {
        let mut text = format!("## {}\n\n| {} |\n|", self.title, self.columns.join(" | "));
        for at in 0..self.columns.len() {
            text.push_str(if at == 0 { "---|" } else { "---:|" });
        }
        text.push('\n');
        for row in &self.rows {
            let _ = writeln!(text, "| {} |", row.join(" | "));
        }
        text
    }

    fn terminal(&self) -> String {
        let mut table = comfy_table::Table::new();
        table.load_style(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
        table.set_header(&self.columns);
        for row in &self.rows {
            table.add_row(row);
        }
        format!("{}\n{table}\n", self.title)
    }
}

/// A figure with the aim it is held against.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Aim {
    /// At most this.
    AtMost(f64),
    /// At least this.
    AtLeast(f64),
}

/// What a benchmark found.
#[derive(Debug)]
pub(crate) struct Report {
    name: &'static str,
    title: String,
    machine: Machine,
    aims: Table,
    tables: Vec<Table>,
    notes: Vec<String>,
    figures: Map<String, Value>,
}

impl Report {
    /// A report; `title` says what was measured.
    pub(crate) fn new(name: &'static str, title: &str, machine: Machine) -> Self {
        Self {
            name,
            title: title.to_owned(),
            machine,
            aims: Table::new("Aims", &["figure", "measured", "aim", "met"]),
            tables: Vec::new(),
            notes: Vec::new(),
            figures: Map::new(),
        }
    }

    /// Adds a table.
    pub(crate) fn table(&mut self, table: Table) {
        self.tables.push(table);
    }

    /// Adds a sentence.
    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Adds a figure for programs.
    pub(crate) fn figure(&mut self, key: &str, value: impl Into<Value>) {
        self.figures.insert(key.to_owned(), value.into());
    }

    /// Holds a figure against its aim.
    pub(crate) fn aim(&mut self, what: &str, unit: &str, measured: f64, aim: Aim) {
        let (text, met) = match aim {
            Aim::AtMost(most) => (format!("≤ {} {unit}", number(most)), measured <= most),
            Aim::AtLeast(least) => (format!("≥ {} {unit}", number(least)), measured >= least),
        };
        let met = if met { "yes" } else { "**no**" };
        self.aims.row(&[what, &format!("{} {unit}", number(measured)), &text, met]);
        self.figure(what, measured);
    }

    /// Prints the report, and writes it below `directory`; gives the Markdown file's path.
    pub(crate) fn publish(self, directory: &Path) -> anyhow::Result<PathBuf> {
        let mut out = std::io::stdout().lock();
        writeln!(out, "\n{}\n", self.title)?;
        for table in std::iter::once(&self.aims).chain(&self.tables).filter(|table| !table.rows.is_empty()) {
            writeln!(out, "{}", table.terminal())?;
        }
        for note in &self.notes {
            writeln!(out, "- {note}")?;
        }
        std::fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
        let stem = format!("{}-{}", now("%Y-%m-%d"), self.name);
        let path = directory.join(format!("{stem}.md"));
        std::fs::write(&path, self.markdown())?;
        std::fs::write(directory.join(format!("{stem}.json")), format!("{:#}\n", self.json()))?;
        writeln!(out, "\nwritten: {}", path.display())?;
        Ok(path)
    }

    fn markdown(&self) -> String {
        let mut text = format!("# {}\n\n", self.title);
        for (name, value) in &self.machine.facts {
            let _ = writeln!(text, "- {name}: {value}");
        }
        for table in std::iter::once(&self.aims).chain(&self.tables).filter(|table| !table.rows.is_empty()) {
            let _ = write!(text, "\n{}", table.markdown());
        }
        if !self.notes.is_empty() {
            text.push_str("\n## Notes\n\n");
            for note in &self.notes {
                let _ = writeln!(text, "- {note}");
            }
        }
        text
    }

    fn json(&self) -> Value {
        let facts: Map<String, Value> =
            self.machine.facts.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        let tables: Vec<Value> = self
            .tables
            .iter()
            .chain(std::iter::once(&self.aims))
            .map(|table| json!({"title": table.title, "columns": table.columns, "rows": table.rows}))
            .collect();
        json!({
            "benchmark": self.name, "title": self.title, "machine": facts,
            "figures": self.figures, "tables": tables, "notes": self.notes,
        })
    }
}

/// A number with as many digits as say something, thousands apart.
pub(crate) fn number(value: f64) -> String {
    let digits = match value.abs() {
        a if a >= 100.0 || a.fract() == 0.0 => 0,
        a if a >= 10.0 => 1,
        a if a >= 1.0 => 2,
        a if a >= 0.1 => 3,
        _ => 4,
    };
    let text = format!("{value:.digits$}");
    let (whole, fraction) = text.split_once('.').map_or((text.as_str(), None), |(w, f)| (w, Some(f)));
    let (sign, whole) = whole.strip_prefix('-').map_or(("", whole), |rest| ("-", rest));
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    match fraction {
        Some(fraction) => format!("{sign}{grouped}.{fraction}"),
        None => format!("{sign}{grouped}"),
    }
}

/// Bytes in MiB.
pub(crate) fn mib(bytes: u64) -> String {
    format!("{} MiB", number(bytes as f64 / f64::from(1 << 20)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        for (value, text) in [
            (0.0, "0"),
            (0.078_4, "0.0784"),
            (0.2, "0.200"),
            (17.04, "17.0"),
            (1_234_567.8, "1,234,568"),
            (-1234.0, "-1,234"),
            (100.0, "100"),
            (12.0, "12"),
        ] {
            assert_eq!(number(value), text);
        }
    }
}
