//! Spans of time, what of them is still stored, and how finely.

use fettle_shared::catalogue::Catalogue;
use serde::Serialize;

use crate::ask::{Ask, HistoryError};
use crate::rows::Table;
use crate::statement::{self, Level};
use crate::stored::Stored;

/// Most bytes of an answer about what there is.
const SMALL: usize = 16 << 20;

/// A span of seconds since 1970: from the first, up to but not with the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Span {
    /// First second.
    pub from: u32,
    /// First second after it.
    pub until: u32,
}

impl Span {
    /// Seconds in it.
    pub fn seconds(self) -> u32 {
        self.until.saturating_sub(self.from)
    }

    /// What both have.
    pub fn within(self, other: Self) -> Self {
        let from = self.from.max(other.from);
        Self { from, until: self.until.min(other.until).max(from) }
    }
}

/// What is stored, over all hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Bounds {
    /// Everything, raw or rolled up; empty when nothing is stored.
    pub all: Span,
    /// From this second on there are raw rows. What is older there is in the roll-ups alone.
    pub raw_from: u32,
}

impl Bounds {
    /// Asks what there is.
    ///
    /// # Errors
    /// When ClickHouse does not answer, or not as it should.
    pub fn ask(ask: &dyn Ask, catalogue: &Catalogue, stored: &Stored) -> Result<Self, HistoryError> {
        let Some(sql) = statement::bounds(catalogue, stored) else { return Ok(Self::of(std::iter::empty())) };
        let table = Table::read("what is stored", ask.ask(&sql, SMALL)?)?;
        let columns = (1..5).map(|at| table.numbers(at)).collect::<Result<Vec<_>, _>>()?;
        let rows = (0..table.rows()).map(|row| [0, 1, 2, 3].map(|at| columns[at][row].max(0) as u32));
        Ok(Self::of(rows))
    }

    /// From each family's first and last second of raw rows, then of roll-ups; zeros where there is nothing.
    fn of(families: impl Iterator<Item = [u32; 4]>) -> Self {
        let (mut from, mut until, mut raw_from) = (u32::MAX, 0, 0);
        for [raw_first, raw_last, rolled_first, rolled_last] in families {
            for first in [raw_first, rolled_first].into_iter().filter(|first| *first > 0) {
                from = from.min(first);
            }
            if raw_last > 0 {
                until = until.max(raw_last + 1);
            }
            if rolled_last > 0 {
                until = until.max(rolled_last + 10);
            }
            // The first window of all usually begins before the first raw row in it.
            if rolled_first > 0 && (raw_first == 0 || rolled_first + 10 <= raw_first) {
                let gone = if raw_first == 0 { rolled_last + 10 } else { raw_first };
                raw_from = raw_from.max(gone.next_multiple_of(10));
            }
        }
        if until == 0 {
            return Self { all: Span { from: 0, until: 0 }, raw_from: 0 };
        }
        Self { all: Span { from, until }, raw_from: raw_from.max(from).min(until) }
    }

    /// The span in parts that are stored alike, in order.
    pub fn parts(&self, span: Span) -> Vec<(Span, Level)> {
        let span = span.within(self.all);
        let rolled = Span { from: span.from - span.from % 10, until: span.until.min(self.raw_from) };
        let raw = Span { from: span.from.max(self.raw_from), until: span.until };
        [(rolled, Level::TenSeconds), (raw, Level::Second)]
            .into_iter()
            .filter(|(part, _)| part.seconds() > 0)
            .collect()
    }

    /// The hosts that have anything stored in the span, by name.
    ///
    /// # Errors
    /// When ClickHouse does not answer, or not as it should.
    pub fn hosts(
        ask: &dyn Ask,
        catalogue: &Catalogue,
        stored: &Stored,
        span: Span,
    ) -> Result<Vec<String>, HistoryError> {
        let Some(sql) = statement::hosts(catalogue, stored, span) else { return Ok(Vec::new()) };
        let table = Table::read("hosts", ask.ask(&sql, SMALL)?)?;
        let names = table.texts(0)?;
        Ok((0..table.rows()).filter_map(|row| names.get(row).map(str::to_owned)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_rows_are_taken_where_they_are_and_roll_ups_before() {
        // Raw rows from 5,000 on, roll-ups from 1,000 on; a family that began late; one without anything.
        let bounds =
            Bounds::of([[5_003, 9_000, 1_000, 8_990], [7_000, 9_000, 6_990 + 1, 8_990], [0; 4]].into_iter());
        assert_eq!(bounds, Bounds { all: Span { from: 1_000, until: 9_001 }, raw_from: 5_010 });
        let parts = bounds.parts(Span { from: 4_995, until: 20_000 });
        assert_eq!(
            parts,
            [
                (Span { from: 4_990, until: 5_010 }, Level::TenSeconds),
                (Span { from: 5_010, until: 9_001 }, Level::Second)
            ]
        );
        assert_eq!(bounds.parts(Span { from: 6_000, until: 6_001 }).len(), 1);
        assert!(bounds.parts(Span { from: 10, until: 20 }).is_empty());
    }

    #[test]
    fn nothing_stored_is_an_empty_span() {
        let bounds = Bounds::of([[0; 4]].into_iter());
        assert_eq!(bounds.all.seconds(), 0);
        assert!(bounds.parts(Span { from: 0, until: u32::MAX }).is_empty());
    }
}
