//! Reductions over runs of equal values: what detection and the roll-ups are made from. A run of
//! twenty equal samples costs the same as one sample.

/// Minimum, maximum, sum and last of a series' values in a window. The number of values is kept by
/// the caller, as all columns of an entity share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reduction {
    /// Smallest value.
    pub min: i64,
    /// Largest value.
    pub max: i64,
    /// Sum, wrapping at 64 bits as ClickHouse's `sum` does.
    pub sum: i64,
    /// The value with the latest time.
    pub last: i64,
}

impl Reduction {
    /// Reduces runs of values: `values[i]` stands `runs[i]` times, in time order. With `unsigned`
    /// the values are bit patterns of `u64` and are compared as such. Empty input gives `None`.
    pub fn of_runs(values: &[i64], runs: &[u32], unsigned: bool) -> Option<Self> {
        let flip = if unsigned { i64::MIN } else { 0 };
        let (&last, _) = values.split_last()?;
        let (mut min, mut max, mut sum) = (i64::MAX, i64::MIN, 0i64);
        for (&value, &run) in values.iter().zip(runs) {
            min = min.min(value ^ flip);
            max = max.max(value ^ flip);
            sum = sum.wrapping_add(value.wrapping_mul(i64::from(run)));
        }
        Some(Self { min: min ^ flip, max: max ^ flip, sum, last })
    }

    /// Takes in a later window.
    pub fn merge(&mut self, later: &Self, unsigned: bool) {
        let flip = if unsigned { i64::MIN } else { 0 };
        self.min = (self.min ^ flip).min(later.min ^ flip) ^ flip;
        self.max = (self.max ^ flip).max(later.max ^ flip) ^ flip;
        self.sum = self.sum.wrapping_add(later.sum);
        self.last = later.last;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_reduce_like_their_samples() {
        let got = Reduction::of_runs(&[5, -3, 7], &[2, 1, 3], false).unwrap();
        assert_eq!(got, Reduction { min: -3, max: 7, sum: 28, last: 7 });
        let unsigned = Reduction::of_runs(&[5, -3], &[1, 1], true).unwrap();
        assert_eq!((unsigned.min, unsigned.max), (5, -3), "-3 is a huge u64");
        assert_eq!(Reduction::of_runs(&[], &[], false), None);
    }

    #[test]
    fn merging_is_reducing_the_whole() {
        let mut first = Reduction::of_runs(&[5, 1], &[1, 1], false).unwrap();
        first.merge(&Reduction::of_runs(&[9, 2], &[2, 1], false).unwrap(), false);
        assert_eq!(first, Reduction::of_runs(&[5, 1, 9, 2], &[1, 1, 2, 1], false).unwrap());
    }
}
