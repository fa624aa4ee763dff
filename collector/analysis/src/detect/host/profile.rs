//! What a time of day usually looks like: a mean of each feature for each half hour, in UTC, read by
//! interpolation between the middles of two half hours.

use serde::{Deserialize, Serialize};

use super::config::Pace;
use super::numbers::Numbers;

const BINS: usize = 48;
const DAY_US: i64 = 86_400_000_000;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Profile {
    features: usize,
    means: Numbers<f64>,
    rows: Numbers<f64>,
}

impl Profile {
    pub fn new(features: usize) -> Self {
        Self { features, means: Numbers::of(0.0, BINS * features), rows: Numbers::of(0.0, BINS) }
    }

    pub fn bytes(&self) -> usize {
        self.means.bytes() + self.rows.bytes()
    }

    /// What is usual at `at_us`; `false` while one of the half hours around was never seen.
    pub fn usual(&self, at_us: i64, into: &mut [f64]) -> bool {
        let place = at_us.rem_euclid(DAY_US) as f64 / DAY_US as f64 * BINS as f64 + BINS as f64 - 0.5;
        let (left, share) = (place as usize % BINS, place.fract());
        let right = (left + 1) % BINS;
        if self.rows[left] < 1.0 || self.rows[right] < 1.0 {
            return false;
        }
        let row = |bin: usize| &self.means[bin * self.features..(bin + 1) * self.features];
        for ((value, a), b) in into.iter_mut().zip(row(left)).zip(row(right)) {
            *value = (1.0 - share) * a + share * b;
        }
        true
    }

    /// Takes a row in; `weight` from 0 to 1. `days` is the memory of a half hour; NaN is left out.
    pub fn learn(&mut self, at_us: i64, row: &[f64], weight: f64, pace: Pace, days: f64) {
        let bin = (at_us.rem_euclid(DAY_US) / (DAY_US / BINS as i64)) as usize;
        self.rows[bin] += 1.0;
        // A half hour sees a 48th of the time: its memory in its own rows is that much shorter.
        let slow = pace.seconds * BINS as f64 / (days * 86_400.0);
        let rate = weight * slow.clamp(1e-5, 0.3).max(1.0 / self.rows[bin]);
        let means = &mut self.means[bin * self.features..(bin + 1) * self.features];
        for (mean, value) in means.iter_mut().zip(row) {
            if !value.is_nan() {
                *mean += rate * (value - *mean);
            }
        }
    }

    /// Forgets how much was seen, so that the next days count a lot.
    pub fn loosen(&mut self, rows: f64) {
        for seen in self.rows.iter_mut() {
            *seen = seen.min(rows);
        }
    }
}
