//! `key value` lines of files that are read seldom: the keys are looked for in the order the kernel
//! writes them, so a search seldom looks at more than one.

use fettle_shared::catalogue::Family;

use super::number::Cursor;

/// Keys and where their numbers go.
#[derive(Debug, Clone, Default)]
pub(crate) struct KeyList {
    keys: Vec<(Box<[u8]>, usize, i64)>,
}

impl KeyList {
    /// The metrics of a family whose source starts with `prefix`, in catalogue order.
    pub(crate) fn of(family: &Family, prefix: &str) -> Self {
        let factors = super::keyed::factors(family);
        let mut keys = Vec::new();
        for (column, metric) in family.metrics.iter().enumerate() {
            if let Some(key) = metric.source.strip_prefix(prefix) {
                keys.push((key.as_bytes().into(), column, factors[column]));
            }
        }
        Self { keys }
    }

    /// Adds a key by hand.
    pub(crate) fn with(mut self, key: &str, column: usize, factor: i64) -> Self {
        self.keys.push((key.as_bytes().into(), column, factor));
        self
    }

    /// Every column there is.
    pub(crate) fn columns(&self) -> impl Iterator<Item = usize> + '_ {
        self.keys.iter().map(|(_, column, _)| *column)
    }

    /// Reads the first number of each line with a known key; says how many there were.
    pub(crate) fn parse(&self, bytes: &[u8], row: &mut [i64]) -> usize {
        let mut hint = 0;
        let mut found = 0;
        let mut lines = Cursor::new(bytes);
        while let Some(line) = lines.line() {
            let end = line.iter().position(|b| matches!(b, b':' | b' ' | b'\t')).unwrap_or(line.len());
            let Some(at) = self.find(hint, &line[..end]) else { continue };
            hint = at + 1;
            let (_, column, factor) = self.keys[at];
            let value = line.get(end + 1..).and_then(|rest| Cursor::new(rest).number());
            if let (Some(cell), Some(value)) = (row.get_mut(column), value) {
                *cell = value.wrapping_mul(factor);
                found += 1;
            }
        }
        found
    }

    fn find(&self, hint: usize, key: &[u8]) -> Option<usize> {
        let is = |at: &usize| *self.keys[*at].0 == *key;
        (hint..self.keys.len()).find(is).or_else(|| (0..hint.min(self.keys.len())).find(is))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys_are_found_in_any_order_and_with_any_separator() {
        let list = KeyList::default().with("a", 0, 1).with("b", 1, 1024).with("c", 2, 1);
        let mut row = [0; 3];
        assert_eq!(list.parse(b"c 3\nx: 9\na:\t1 kB\nb 2\nb\n", &mut row), 3);
        assert_eq!(row, [1, 2048, 3]);
        assert_eq!(list.columns().count(), 3);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            KeyList::default().with("a", 0, -1).parse(&bytes, &mut [0]);
        }
    }
}
