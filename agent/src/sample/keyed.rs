//! Files of `key value` lines: meminfo, vmstat, snmp6 and their like. Which column a line belongs to
//! is looked up once; from then on a line is only compared with what it was. Lines whose bytes did
//! not change are skipped in one sweep, so a scan costs as much as what moved.

use std::collections::HashMap;

use fettle_shared::catalogue::{Factor, Family};

use super::number::Cursor;

/// Column of a line whose key the catalogue does not have.
const NONE: u16 = u16::MAX;

/// What is known about one line of the file.
#[derive(Debug, Clone)]
struct Line {
    key: Box<[u8]>,
    column: u16,
    /// Its length in the last content, line end included.
    len: u16,
}

/// The layout of one such file.
#[derive(Debug)]
pub(crate) struct KeyedTable {
    columns: HashMap<Box<[u8]>, u16>,
    factors: Vec<i64>,
    lines: Vec<Line>,
}

/// What a parse found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// The lines known from before, perhaps with other values.
    Known,
    /// Other keys than before: presence must be looked at again.
    Relearned,
}

impl KeyedTable {
    /// The table of all metrics of a family whose source starts with `prefix`; the rest of the source
    /// is the key.
    pub(crate) fn new(family: &Family, prefix: &str) -> Self {
        let mut columns = HashMap::new();
        for (column, metric) in family.metrics.iter().enumerate() {
            if let Some(key) = metric.source.strip_prefix(prefix) {
                columns.insert(key.as_bytes().into(), column as u16);
            }
        }
        Self { columns, factors: factors(family), lines: Vec::new() }
    }

    /// Brings `row` from the state of `old` to that of `new`. Content that makes no sense leaves
    /// what it does not mention alone.
    pub(crate) fn parse(&mut self, old: &[u8], new: &[u8], row: &mut [i64]) -> Parsed {
        if self.update(old, new, row).is_some() {
            return Parsed::Known;
        }
        self.learn(new, row);
        Parsed::Relearned
    }

    /// Sets `present[column]` for every column the file has.
    pub(crate) fn mark_present(&self, present: &mut [bool]) {
        for line in self.lines.iter().filter(|l| l.column != NONE) {
            present[usize::from(line.column)] = true;
        }
    }

    fn update(&mut self, old: &[u8], new: &[u8], row: &mut [i64]) -> Option<()> {
        let (mut at_old, mut at_new) = (0, 0);
        let mut next = 0;
        while next < self.lines.len() {
            // Skip whole lines within the stretch that is equal.
            let same = equal_prefix(old.get(at_old..)?, new.get(at_new..)?);
            let mut skipped = 0;
            while let Some(line) = self.lines.get(next) {
                let end = skipped + usize::from(line.len);
                if end > same {
                    break;
                }
                skipped = end;
                next += 1;
            }
            at_old += skipped;
            at_new += skipped;
            let Some(line) = self.lines.get_mut(next) else { break };
            let rest = &new[at_new..];
            let value = rest.strip_prefix(&*line.key)?;
            let mut cursor = Cursor::new(value);
            if cursor.rest().first() == Some(&b':') {
                cursor.skip_prefix(b":");
            }
            if !matches!(cursor.rest().first(), Some(b' ' | b'\t')) {
                return None;
            }
            let number = cursor.number()?;
            cursor.line();
            let len = rest.len() - cursor.rest().len();
            if let Some(cell) = row.get_mut(usize::from(line.column)) {
                *cell = number.wrapping_mul(self.factors[usize::from(line.column)]);
            }
            at_old += usize::from(line.len);
            at_new += len;
            line.len = u16::try_from(len).ok()?;
            next += 1;
        }
        (at_new == new.len()).then_some(())
    }

    fn learn(&mut self, new: &[u8], row: &mut [i64]) {
        self.lines.clear();
        let mut cursor = Cursor::new(new);
        loop {
            let before = cursor.rest().len();
            let Some(text) = cursor.line() else { break };
            let len = before - cursor.rest().len();
            let end = text.iter().position(|b| matches!(b, b' ' | b'\t')).unwrap_or(text.len());
            let key = text[..end].strip_suffix(b":").unwrap_or(&text[..end]);
            let column = self.columns.get(key).copied().unwrap_or(NONE);
            let number = Cursor::new(&text[end..]).number();
            if let (Some(cell), Some(number)) = (row.get_mut(usize::from(column)), number) {
                *cell = number.wrapping_mul(self.factors[usize::from(column)]);
            }
            let (Ok(len), Some(_)) = (u16::try_from(len), number) else {
                // A line that is no key and number: the next parse learns again.
                continue;
            };
            self.lines.push(Line { key: key.into(), column, len });
        }
    }
}

/// What the agent multiplies each column by.
pub(crate) fn factors(family: &Family) -> Vec<i64> {
    let page = rustix::param::page_size() as i64;
    family
        .metrics
        .iter()
        .map(|m| match m.factor {
            Factor::One => 1,
            Factor::Times(n) => n as i64,
            Factor::Page => page,
        })
        .collect()
}

/// How many bytes the two have in common from the start.
#[inline]
fn equal_prefix(a: &[u8], b: &[u8]) -> usize {
    const STEP: usize = 32;
    let n = a.len().min(b.len());
    let mut at = 0;
    while at + STEP <= n && a[at..at + STEP] == b[at..at + STEP] {
        at += STEP;
    }
    while at < n && a[at] == b[at] {
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use fettle_shared::catalogue::catalogue;
    use proptest::prelude::*;

    fn memory() -> (&'static Family, KeyedTable) {
        let family = catalogue().family("memory").unwrap();
        (family, KeyedTable::new(family, ""))
    }

    #[test]
    fn changed_lines_alone_change_their_columns() {
        let (family, mut table) = memory();
        let mut row = vec![0; family.metrics.len()];
        let total = family.metric_index("total_bytes").unwrap();
        let free = family.metric_index("free_bytes").unwrap();
        let huge = family.metric_index("huge_pages_total").unwrap();
        let a = b"MemTotal:   100 kB\nMemFree:     9 kB\nOther: 4 kB\nHugePages_Total:  3\n";
        let b = b"MemTotal:   100 kB\nMemFree:    10 kB\nOther: 77 kB\nHugePages_Total:  4\n";
        assert_eq!(table.parse(b"", a, &mut row), Parsed::Relearned);
        assert_eq!((row[total], row[free], row[huge]), (102_400, 9 * 1024, 3));
        assert_eq!(table.parse(a, b, &mut row), Parsed::Known);
        assert_eq!((row[total], row[free], row[huge]), (102_400, 10_240, 4));
        assert_eq!(table.parse(b, a, &mut row), Parsed::Known);
        assert_eq!((row[free], row[huge]), (9 * 1024, 3));
        let mut present = vec![false; row.len()];
        table.mark_present(&mut present);
        assert_eq!(present.iter().filter(|p| **p).count(), 3);
    }

    #[test]
    fn a_key_that_comes_or_goes_is_learned() {
        let (family, mut table) = memory();
        let mut row = vec![0; family.metrics.len()];
        let free = family.metric_index("free_bytes").unwrap();
        let a = b"MemTotal: 1 kB\nMemFree: 2 kB\n";
        let b = b"MemTotal: 1 kB\nNew: 5 kB\nMemFree: 3 kB\n";
        table.parse(b"", a, &mut row);
        assert_eq!(table.parse(a, b, &mut row), Parsed::Relearned);
        assert_eq!(row[free], 3 * 1024);
        assert_eq!(table.parse(b, a, &mut row), Parsed::Relearned);
        assert_eq!(row[free], 2 * 1024);
        assert_eq!(table.parse(a, b"MemTotal: 1 kB\nMemFree: 2 kB", &mut row), Parsed::Known);
    }

    proptest! {
        #[test]
        fn any_bytes_after_any_bytes_are_read_without_a_panic(
            parts in proptest::collection::vec("(MemFree|MemTotal|x|Mem)(:|)[ \t]{0,3}[0-9]{0,22}[ kB]{0,3}\n?", 0..12),
            noise in proptest::collection::vec(any::<u8>(), 0..80),
            cut in 0usize..200,
        ) {
            let (family, mut table) = memory();
            let mut row = vec![0; family.metrics.len()];
            let whole = parts.concat().into_bytes();
            let short = &whole[..cut.min(whole.len())];
            table.parse(b"", &whole, &mut row);
            table.parse(&whole, short, &mut row);
            table.parse(short, &noise, &mut row);
            table.parse(&noise, &whole, &mut row);
            let mut again = row.clone();
            let mut fresh = KeyedTable::new(family, "");
            fresh.parse(b"", &whole, &mut again);
            prop_assert_eq!(row, again, "a warm table reads what a fresh one reads");
        }
    }
}
