//! Which tables and columns there are. A table that no collector of this version has opened lacks the columns that came
//! with it: what is not there was never sampled, and nothing is asked of it.

use std::collections::{HashMap, HashSet};

use fettle_shared::catalogue::{Catalogue, Family, Metric};

use crate::ask::{Ask, HistoryError};
use crate::rows::Table;
use crate::statement::{self, Level};

/// Most bytes of the answer.
const MOST_BYTES: usize = 16 << 20;
/// Columns of a table of windows, before those of metrics.
const OF_WINDOWS: [&str; 3] = ["ts", "host", "samples"];
/// The table of what was stored.
pub(crate) const LEDGER: &str = "ledger";

/// The tables of the catalogue that ClickHouse has, as far as they can be read.
#[derive(Debug, Clone, Default)]
pub struct Stored {
    ledger: bool,
    raw: Vec<Option<Columns>>,
    rolled: Vec<Option<Columns>>,
}

/// Which of a family's metrics have their columns, in the catalogue's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Columns(Vec<bool>);

impl Columns {
    /// Whether the metric at this place of its family has them.
    pub(crate) fn has(&self, metric: usize) -> bool {
        self.0.get(metric).copied().unwrap_or(false)
    }

    /// Every one of the family.
    #[cfg(test)]
    pub(crate) fn all(family: &Family) -> Self {
        Self(vec![true; family.metrics.len()])
    }
}

impl Stored {
    /// Asks which there are.
    ///
    /// # Errors
    /// When ClickHouse does not answer, or not as it should.
    pub fn ask(ask: &dyn Ask, catalogue: &Catalogue) -> Result<Self, HistoryError> {
        let table = Table::read("columns", ask.ask(&statement::columns(catalogue), MOST_BYTES)?)?;
        let (tables, names) = (table.texts(0)?, table.texts(1)?);
        let rows = (0..table.rows()).filter_map(|row| Some((tables.get(row)?, names.get(row)?)));
        Ok(Self::of(catalogue, rows))
    }

    fn of<'a>(catalogue: &Catalogue, rows: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let mut all: HashMap<&str, HashSet<&str>> = HashMap::new();
        for (table, column) in rows {
            all.entry(table).or_default().insert(column);
        }
        let mut stored = Self { ledger: all.contains_key(LEDGER), ..Self::default() };
        for family in &catalogue.families {
            let columns = |level| {
                all.get(statement::table(family, level).as_str()).and_then(|own| columns(family, own, level))
            };
            stored.raw.push(columns(Level::Second));
            stored.rolled.push(columns(Level::TenSeconds));
        }
        stored
    }

    /// The columns of the table of the family at this place of the catalogue; none when there is no such table.
    pub(crate) fn columns(&self, family: usize, level: Level) -> Option<&Columns> {
        let all = match level {
            Level::Second => &self.raw,
            Level::TenSeconds => &self.rolled,
        };
        all.get(family)?.as_ref()
    }

    /// Whether there is a ledger.
    pub(crate) fn ledger(&self) -> bool {
        self.ledger
    }
}

/// A table without the columns that every row needs is none of Fettle's.
fn columns(family: &Family, own: &HashSet<&str>, level: Level) -> Option<Columns> {
    let needed = if level == Level::Second { &OF_WINDOWS[..2] } else { &OF_WINDOWS[..] };
    let keys = family.entity.iter().map(|entity| entity.name.as_str());
    if !needed.iter().copied().chain(keys).all(|name| own.contains(name)) {
        return None;
    }
    let has = |metric: &Metric| {
        statement::metric_columns(metric, level).iter().all(|name| own.contains(name.as_str()))
    };
    Some(Columns(family.metrics.iter().map(has).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAMILY: &str = r#"
id = 1
name = "sample"
help = "h"
source = "s"
pace = "fast"
priority = 1
[[entity]]
name = "disk"
type = "text"
help = "h"
[[metric]]
id = 1
name = "a"
unit = "1"
kind = "counter"
type = "u64"
since = 1
help = "h"
[[metric]]
id = 2
name = "b"
unit = "1"
kind = "gauge"
type = "u64"
optional = true
since = 1
help = "h"
"#;

    #[test]
    fn what_is_not_there_is_known() {
        let catalogue = Catalogue::parse(&[("sample", FAMILY)]).unwrap();
        let of = |tables: &[(&'static str, &'static str)]| {
            let rows =
                tables.iter().flat_map(|(table, names)| names.split(' ').map(move |name| (*table, name)));
            Stored::of(&catalogue, rows)
        };
        let windows = "ts host samples disk a_min a_max a_sum a_last b_min b_max b_sum b_last";
        let stored = of(&[("sample", "ts host disk b x"), ("sample_10s", windows), ("ledger", "agent")]);
        let has = |level| stored.columns(0, level).map(|own| [own.has(0), own.has(1)]);
        assert_eq!(has(Level::Second), Some([false, true]));
        assert_eq!(has(Level::TenSeconds), Some([true, false]), "the count of b is not there");
        assert!(stored.ledger());
        let keyless = of(&[("sample", "ts host a b")]);
        assert_eq!((keyless.columns(0, Level::Second), keyless.ledger()), (None, false));
        assert_eq!(of(&[]).columns(0, Level::TenSeconds), None);
    }
}
