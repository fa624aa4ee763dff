//! What a series comes to over a window: a bounded ring with what is kept beside it, so that the newest answer
//! costs next to nothing whatever the window's length.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// How the values in a window become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Reduce {
    Last,
    Min,
    Max,
    Mean,
    P95,
    /// Change a second.
    Rate,
    /// Change over the window.
    Increase,
}

/// A reduction over a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Over {
    pub(crate) reduce: Reduce,
    /// Length of the window, 1 to 3600 seconds.
    pub(crate) seconds: u32,
    /// The values are rates already: those of a counter.
    pub(crate) is_rate: bool,
    /// The answer counts before half of the window is there: more values could not take it back.
    pub(crate) speaks_early: bool,
    /// Seconds between two samples of the family, at least 1.
    pub(crate) pace: u32,
}

/// One value and when.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Point {
    second: u32,
    /// Seconds it stands for: since the value before.
    stands: u32,
    value: f64,
}

/// The values of one series that are in the window.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Window {
    points: VecDeque<Point>,
    /// Of `mean`, `rate` and `increase`: the sum of value times `stands`, and of `stands`.
    #[serde(skip)]
    sum: f64,
    #[serde(skip)]
    weight: u64,
    /// Of `min` and `max`: the values that may yet be the extreme; of `p95`: all of them, sorted.
    #[serde(skip)]
    extremes: VecDeque<(u32, f64)>,
    #[serde(skip)]
    sorted: Vec<f64>,
    #[serde(skip)]
    pushes: u32,
}

impl Window {
    /// Takes in the value of a second (later than those before) and says what the window comes to.
    pub(crate) fn push(&mut self, second: u32, value: f64, over: &Over) -> Option<f64> {
        if over.seconds <= over.pace && matches!(over.reduce, Reduce::Last) {
            return Some(value);
        }
        let stands = match self.points.back() {
            Some(last) => second.saturating_sub(last.second).clamp(1, over.pace.saturating_mul(3).max(3)),
            None => over.pace,
        };
        self.points.push_back(Point { second, stands, value });
        self.sum += value * f64::from(stands);
        self.weight += u64::from(stands);
        self.enter(second, value, over.reduce);
        let mut left_any = false;
        while let Some(first) = self.points.front() {
            if second.saturating_sub(first.second) < over.seconds {
                break;
            }
            let first = *first;
            self.points.pop_front();
            self.leave(first, over.reduce);
            left_any |= first.value != 0.0;
        }
        // The sum drifts as values come and go; made anew now and then it costs nothing on average.
        self.pushes += 1;
        // What rounding leaves of a sum must not look like an increase.
        let must_be_exact = left_any && over.is_rate && over.reduce == Reduce::Increase;
        let is_old = self.pushes as usize > self.points.len().max(64);
        if is_old || must_be_exact || !self.sum.is_finite() {
            self.pushes = 0;
            self.sum = self.points.iter().map(|point| point.value * f64::from(point.stands)).sum();
        }
        self.answer(over)
    }

    fn enter(&mut self, second: u32, value: f64, reduce: Reduce) {
        match reduce {
            Reduce::Min | Reduce::Max => {
                let beats = |old: f64| if reduce == Reduce::Min { value <= old } else { value >= old };
                while self.extremes.back().is_some_and(|(_, old)| beats(*old)) {
                    self.extremes.pop_back();
                }
                self.extremes.push_back((second, value));
            }
            Reduce::P95 => {
                let at = self.sorted.partition_point(|known| known.total_cmp(&value).is_lt());
                self.sorted.insert(at, value);
            }
            Reduce::Last | Reduce::Mean | Reduce::Rate | Reduce::Increase => {}
        }
    }

    fn leave(&mut self, point: Point, reduce: Reduce) {
        self.sum -= point.value * f64::from(point.stands);
        self.weight -= u64::from(point.stands);
        match reduce {
            Reduce::Min | Reduce::Max => {
                if self.extremes.front().is_some_and(|(second, _)| *second == point.second) {
                    self.extremes.pop_front();
                }
            }
            Reduce::P95 => {
                let at = self.sorted.partition_point(|known| known.total_cmp(&point.value).is_lt());
                if at < self.sorted.len() {
                    self.sorted.remove(at);
                }
            }
            Reduce::Last | Reduce::Mean | Reduce::Rate | Reduce::Increase => {}
        }
    }

    fn answer(&self, over: &Over) -> Option<f64> {
        let (first, last) = (self.points.front()?, self.points.back()?);
        let covered = last.second - first.second + over.pace;
        if !over.speaks_early && covered.saturating_mul(2) < over.seconds {
            return None;
        }
        let value = match over.reduce {
            Reduce::Last => last.value,
            Reduce::Mean => self.sum / self.weight as f64,
            Reduce::Min | Reduce::Max => self.extremes.front()?.1,
            // The nearest rank: the smallest value with 95 % of all at or below it.
            Reduce::P95 => self.sorted[(self.sorted.len() * 95).div_ceil(100).max(1) - 1],
            Reduce::Rate if over.is_rate => self.sum / self.weight as f64,
            Reduce::Rate => {
                let seconds = last.second - first.second;
                if seconds == 0 {
                    return None;
                }
                (last.value - first.value) / f64::from(seconds)
            }
            Reduce::Increase if over.is_rate => self.sum,
            Reduce::Increase => last.value - first.value,
        };
        Some(value).filter(|value| value.is_finite())
    }

    /// Makes what is not saved from what is.
    pub(crate) fn rebuild(&mut self, reduce: Reduce) {
        (self.extremes, self.sorted) = (VecDeque::new(), Vec::new());
        let points: Vec<Point> = self.points.iter().copied().collect();
        self.sum = points.iter().map(|point| point.value * f64::from(point.stands)).sum();
        self.weight = points.iter().map(|point| u64::from(point.stands)).sum();
        for point in points {
            self.enter(point.second, point.value, reduce);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn over(reduce: Reduce, seconds: u32, is_rate: bool) -> Over {
        Over { reduce, seconds, is_rate, speaks_early: true, pace: 1 }
    }

    #[test]
    fn a_counters_increase_counts_what_each_rate_stands_for() {
        let mut window = Window::default();
        let over = Over { pace: 10, ..over(Reduce::Increase, 60, true) };
        // Two a second, every ten seconds, for a minute.
        let last = (0..12).map(|at| window.push(at * 10, 2.0, &over)).last().flatten();
        assert_eq!(last, Some(120.0));
    }

    #[test]
    fn a_window_is_silent_until_half_of_it_is_there() {
        let mut window = Window::default();
        let over = Over { speaks_early: false, ..over(Reduce::Mean, 60, false) };
        let said: Vec<bool> = (0..60).map(|at| window.push(at, 1.0, &over).is_some()).collect();
        assert_eq!(said.iter().position(|said| *said), Some(29));
        assert!(said[29..].iter().all(|said| *said));
    }

    #[test]
    fn rates_of_gauges_are_slopes() {
        let mut window = Window::default();
        let over = over(Reduce::Rate, 10, false);
        let said: Vec<Option<f64>> = (0..20).map(|at| window.push(at, f64::from(at) * 3.0, &over)).collect();
        assert_eq!((said[0], said[19]), (None, Some(3.0)));
    }

    proptest! {
        #[test]
        fn every_answer_is_that_of_the_plain_definition(
            steps in proptest::collection::vec((1u32..5, -1e6f64..1e6), 1..200), seconds in 1u32..40,
        ) {
            for reduce in [Reduce::Min, Reduce::Max, Reduce::Mean, Reduce::P95, Reduce::Increase, Reduce::Last] {
                let over = over(reduce, seconds, false);
                let (mut window, mut all, mut second) = (Window::default(), Vec::new(), 1000u32);
                for (at, (gap, value)) in steps.iter().enumerate() {
                    second += gap;
                    all.push((second, if at == 0 { 1 } else { (*gap).clamp(1, 3) }, *value));
                    if at == steps.len() / 2 {
                        // As after a restart.
                        window = serde_json::from_str(&serde_json::to_string(&window).unwrap()).unwrap();
                        window.rebuild(reduce);
                    }
                    let said = window.push(second, *value, &over).unwrap();
                    let inside: Vec<_> = all.iter().filter(|(s, ..)| second - s < seconds).collect();
                    let mut values: Vec<f64> = inside.iter().map(|(.., value)| *value).collect();
                    let weight: f64 = inside.iter().map(|(_, stands, _)| f64::from(*stands)).sum();
                    let sum: f64 = inside.iter().map(|(_, stands, value)| f64::from(*stands) * value).sum();
                    let want = match reduce {
                        Reduce::Min => values.iter().copied().fold(f64::INFINITY, f64::min),
                        Reduce::Max => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                        Reduce::Mean => sum / weight,
                        Reduce::P95 => {
                            values.sort_by(f64::total_cmp);
                            values[(values.len() as f64 * 0.95).ceil() as usize - 1]
                        }
                        Reduce::Increase => value - inside[0].2,
                        _ => *value,
                    };
                    prop_assert!((said - want).abs() <= 1e-6 * want.abs().max(1.0), "{reduce:?}: {said} {want}");
                }
            }
        }
    }
}
