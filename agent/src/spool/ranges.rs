//! Sets of frames that were given up, as ranges of sequence numbers with what was in them.

use fettle_shared::frame::DroppedRange;

/// Ranges, in the order in which they were added.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ranges(Vec<DroppedRange>);

impl Ranges {
    /// Adds a range; one that continues the last added range joins it.
    pub(super) fn add(&mut self, range: DroppedRange) {
        if let Some(last) = self.0.last_mut() {
            if last.boot == range.boot && last.last_seq.checked_add(1) == Some(range.first_seq) {
                last.last_seq = range.last_seq;
                last.rows += range.rows;
                last.samples += range.samples;
                return;
            }
        }
        self.0.push(range);
    }

    /// Adds a range that stays apart, so that what it says of its frames stays exact.
    pub(super) fn add_apart(&mut self, range: DroppedRange) {
        self.0.push(range);
    }

    /// Whether a frame is in it.
    pub(super) fn contains(&self, boot: u64, seq: u64) -> bool {
        self.0.iter().any(|r| r.boot == boot && (r.first_seq..=r.last_seq).contains(&seq))
    }

    /// Keeps what `keep` says.
    pub(super) fn retain(&mut self, keep: impl Fn(&DroppedRange) -> bool) {
        self.0.retain(keep);
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes up to `most` ranges, the earliest first.
    pub(super) fn take(&mut self, most: usize) -> Vec<DroppedRange> {
        let rest = self.0.split_off(self.0.len().min(most));
        std::mem::replace(&mut self.0, rest)
    }

    /// The parts of `first..=last` of `boot` that are not in this set.
    pub(super) fn missing(&self, boot: u64, first: u64, last: u64) -> Vec<(u64, u64)> {
        let mut covered: Vec<(u64, u64)> = self
            .0
            .iter()
            .filter(|r| r.boot == boot && r.last_seq >= first && r.first_seq <= last)
            .map(|r| (r.first_seq, r.last_seq))
            .collect();
        covered.sort_unstable();
        let mut from = first;
        let mut parts = Vec::new();
        for (start, end) in covered {
            if start > from {
                parts.push((from, start - 1));
            }
            from = from.max(end.saturating_add(1));
        }
        if from <= last {
            parts.push((from, last));
        }
        parts
    }

    /// The ranges.
    pub(super) fn iter(&self) -> impl Iterator<Item = &DroppedRange> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(boot: u64, first_seq: u64, last_seq: u64) -> DroppedRange {
        DroppedRange { boot, first_seq, last_seq, rows: 1, samples: 10 }
    }

    #[test]
    fn neighbours_join_and_counts_add_up() {
        let mut ranges = Ranges::default();
        ranges.add(range(1, 1, 2));
        ranges.add(range(1, 3, 3));
        ranges.add(range(2, 4, 4));
        assert_eq!(ranges.iter().count(), 2);
        assert_eq!(ranges.iter().map(|r| r.samples).sum::<u64>(), 30);
        assert!(ranges.contains(1, 3) && !ranges.contains(1, 4) && ranges.contains(2, 4));
        assert_eq!(ranges.take(1), vec![DroppedRange { rows: 2, samples: 20, ..range(1, 1, 3) }]);
        assert!(!ranges.is_empty());
    }

    #[test]
    fn missing_parts_are_what_no_range_covers() {
        let mut ranges = Ranges::default();
        for r in [range(1, 8, 9), range(1, 3, 4), range(2, 1, 100)] {
            ranges.add(r);
        }
        assert_eq!(ranges.missing(1, 1, 10), vec![(1, 2), (5, 7), (10, 10)]);
        assert_eq!(ranges.missing(1, 3, 4), vec![]);
        assert_eq!(ranges.missing(3, 5, 6), vec![(5, 6)]);
    }
}
