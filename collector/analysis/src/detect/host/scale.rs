//! Level and spread of each feature, so that scale and unit of a metric don't matter.

use serde::{Deserialize, Serialize};

use super::numbers::Numbers;

/// No scaled value lies further out: one wild feature must not drown the others.
const FAR: f64 = 6.0;
/// From mean absolute to standard deviation, for a normal distribution: √(π/2).
const TO_SIGMA: f64 = 1.253_314_137_3;
/// A steady wave's standard deviation is about this share of its largest distance from the middle.
const PEAK_SHARE: f64 = 0.4;
/// But one wild value must not hide a feature: the swing is at most this many standard deviations.
const LARGEST_SWING: f64 = 3.0;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Scale {
    level: Numbers<f64>,
    deviation: Numbers<f64>,
    variance: Numbers<f64>,
    /// Largest distance from the level, slowly shrinking.
    peak: Numbers<f64>,
    rows: Numbers<f64>,
    floor: f64,
}

impl Scale {
    pub fn new(features: usize, floor: f64) -> Self {
        let zeros = || Numbers::of(0.0, features);
        Self { level: zeros(), deviation: zeros(), variance: zeros(), peak: zeros(), rows: zeros(), floor }
    }

    pub fn bytes(&self) -> usize {
        5 * self.level.bytes()
    }

    /// `value` in usual deviations from its level.
    pub fn scaled(&self, feature: usize, value: f64) -> f64 {
        if self.rows[feature] == 0.0 {
            return 0.0;
        }
        let apart = value - self.level[feature];
        let unit = self.unit(feature);
        if unit > 0.0 {
            (apart / unit).clamp(-FAR, FAR)
        } else {
            FAR * sign(apart)
        }
    }

    /// Back from deviations to the feature's unit.
    pub fn plain(&self, feature: usize, scaled: f64) -> f64 {
        self.level[feature] + scaled * self.unit(feature)
    }

    /// A long-run measure of how far the feature swings: its standard deviation, and more for one that
    /// mostly rests and seldom jumps; 0 for a feature that never moved.
    pub fn swing(&self, feature: usize) -> f64 {
        let sigma = self.variance[feature].sqrt();
        (self.peak[feature] * PEAK_SHARE).clamp(sigma, sigma * LARGEST_SWING)
    }

    fn unit(&self, feature: usize) -> f64 {
        self.deviation[feature] * TO_SIGMA + self.floor * self.swing(feature)
    }

    /// Learns a value at `rate`.
    pub fn learn(&mut self, feature: usize, value: f64, rate: f64, weight: f64) {
        self.rows[feature] += 1.0;
        if self.rows[feature] == 1.0 {
            self.level[feature] = value;
            return;
        }
        let rate = weight * rate.max(1.0 / self.rows[feature]);
        let apart = value - self.level[feature];
        self.level[feature] += rate * apart;
        self.peak[feature] = (self.peak[feature] * (1.0 - rate)).max(apart.abs());
        let rest = value - self.level[feature];
        self.deviation[feature] += rate * (rest.abs() - self.deviation[feature]);
        self.variance[feature] += rate * (apart * rest - self.variance[feature]);
    }

    /// Forgets how much was seen, so that the next rows count a lot.
    pub fn loosen(&mut self, most: f64) {
        for rows in self.rows.iter_mut() {
            *rows = rows.min(most);
        }
    }
}

/// The sign, 0 for 0.
fn sign(value: f64) -> f64 {
    if value > 0.0 {
        1.0
    } else if value < 0.0 {
        -1.0
    } else {
        0.0
    }
}
