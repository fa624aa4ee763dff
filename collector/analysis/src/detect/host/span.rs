//! Rows of seconds put together to rows of ten: what the host detector is fed live.
//!
//! The detector was made for rows minutes apart; what is sudden is told by others in its second. Of ten seconds it needs
//! the mean only: a tenth of the cost, and memories (counted in rows) ten times as long.
//!
//! Spans begin at whole multiples of [`SPAN_S`] since 1970, so that a restart, another owner or a replay cuts them at the
//! same places. A span is over with its last second, or when a later one begins. One with fewer than half as many
//! seconds as is usual of late is left out: its mean scatters more than the others', and a gap may have cut it.

use serde::{Deserialize, Serialize};

use super::numbers::Numbers;

/// Seconds of a span.
pub const SPAN_S: u32 = 10;

/// The span of this moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spans {
    begin: u32,
    /// Seconds seen of it.
    seconds: u32,
    /// Seconds of the fullest span of late: one less with each that has fewer.
    usual: u32,
    sums: Numbers<f64>,
    counts: Numbers<u16>,
    mean: Numbers<f32>,
}

impl Spans {
    /// Nothing seen yet, of rows with so many features.
    #[must_use]
    pub fn new(features: usize) -> Self {
        Self {
            begin: 0,
            seconds: 0,
            usual: SPAN_S,
            sums: Numbers::of(0.0, features),
            counts: Numbers::of(0, features),
            mean: Numbers::of(0.0, features),
        }
    }

    /// Takes a second's row (NaN is no value) and gives the span that is over with it, if one is: its begin in seconds
    /// since 1970, and the mean of each feature over the seconds that had a value, NaN if none had. Seconds come in
    /// order; a row has the length given first.
    pub fn add(&mut self, second: u32, row: &[f32]) -> Option<(u32, &[f32])> {
        let begin = second - second % SPAN_S;
        let mut over = None;
        if begin != self.begin {
            over = self.close();
            self.begin = begin;
        }
        self.seconds += 1;
        for ((sum, count), value) in self.sums.iter_mut().zip(self.counts.iter_mut()).zip(row) {
            if value.is_finite() {
                *sum += f64::from(*value);
                *count += 1;
            }
        }
        // One at a time: if the one before is over only now, this one waits for the next second.
        if over.is_none() && second % SPAN_S == SPAN_S - 1 {
            over = self.close();
        }
        over.map(|begin| (begin, &*self.mean))
    }

    /// Ends the span; its begin, if it is to be judged.
    fn close(&mut self) -> Option<u32> {
        let (seconds, usual) = (self.seconds, self.usual);
        if seconds == 0 {
            return None;
        }
        self.seconds = 0;
        self.usual = seconds.max(usual.saturating_sub(1));
        for ((sum, count), mean) in self.sums.iter_mut().zip(self.counts.iter_mut()).zip(self.mean.iter_mut())
        {
            *mean = if *count > 0 { (*sum / f64::from(*count)) as f32 } else { f32::NAN };
            (*sum, *count) = (0.0, 0);
        }
        (2 * seconds >= usual).then_some(self.begin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(spans: &mut Spans, seconds: impl Iterator<Item = (u32, f32)>) -> Vec<(u32, f32)> {
        seconds
            .filter_map(|(second, value)| spans.add(second, &[value]).map(|(at, mean)| (at, mean[0])))
            .collect()
    }

    #[test]
    fn ten_seconds_are_a_row_told_in_the_last_of_them() {
        let mut spans = Spans::new(1);
        for second in 1_000..1_030 {
            let over = spans.add(second, &[second as f32]).map(|(at, mean)| (at, mean[0]));
            let whole = second % 10 == 9;
            assert_eq!(over, whole.then(|| (second - 9, (second - 9) as f32 + 4.5)), "{second}");
        }
    }

    #[test]
    fn whoever_begins_in_the_middle_cuts_at_the_same_places() {
        let value = |second: u32| (second, (second % 7) as f32);
        let whole = all(&mut Spans::new(1), (1_000..1_200).map(value));
        for begin in 1_001..1_010 {
            let late = all(&mut Spans::new(1), (begin..1_200).map(value));
            assert_eq!(late[late.len() - 19..], whole[1..], "from {begin} on");
        }
    }

    #[test]
    fn missing_seconds_and_values_are_left_out_of_the_mean() {
        let mut spans = Spans::new(2);
        let mut rows = Vec::new();
        for second in (1_000..1_050).filter(|second| second % 10 != 9) {
            let first = if second % 2 == 0 { f32::NAN } else { 3.0 };
            rows.extend(spans.add(second, &[first, f32::INFINITY]).map(|(at, mean)| (at, mean.to_vec())));
        }
        // Their last second is missing: each is over when the next begins.
        assert_eq!(rows.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [1_000, 1_010, 1_020, 1_030]);
        assert!(rows.iter().all(|(_, mean)| mean[0] == 3.0 && mean[1].is_nan()), "{rows:?}");
    }

    #[test]
    fn a_gap_puts_nothing_far_apart_together() {
        let mut spans = Spans::new(1);
        let before = (1_000..1_023).map(|second| (second, 1.0));
        let after = (9_997..10_020).map(|second| (second, 5.0));
        let rows = all(&mut spans, before.chain(after));
        assert_eq!(rows, [(1_000, 1.0), (1_010, 1.0), (10_000, 5.0), (10_010, 5.0)]);
    }

    #[test]
    fn a_host_heard_of_less_often_is_judged_by_what_there_is() {
        let mut spans = Spans::new(1);
        let rows = all(&mut spans, (0..60).map(|at| (1_000 + 15 * at, at as f32)));
        assert!(rows.len() > 45, "{}", rows.len());
        // Unchanged, each once and in order.
        assert!(rows.windows(2).all(|two| two[1].1 == two[0].1 + 1.0 && two[1].0 > two[0].0), "{rows:?}");
        assert!(rows.iter().all(|(at, value)| *at == (1_000 + 15 * *value as u32) / 10 * 10), "{rows:?}");
    }
}
