//! Sensors made comparable and smoothed: what the statistical part sees.

use serde::{Deserialize, Serialize};

/// Weights of a new row in the running means, times the horizon in steps: the fastest remembers a tenth
/// of the horizon, the slowest all of it.
const SCALES: [f64; 3] = [9.0, 3.0, 1.0];
/// Which scale the products are made from.
const PRODUCTS: usize = 1;
/// From how many sensors on only squares are made, no products: their number grows with the square.
const MANY: usize = 20;
/// A value further out counts as this many standard deviations.
const FAR: f32 = 6.0;

/// A row in standard deviations from the mean; missing values are 0.
pub(super) fn scaled(row: &[f32], scale: &[(f32, f32)]) -> Vec<f64> {
    let value = |at: usize| row.get(at).copied().unwrap_or(f32::NAN);
    scale
        .iter()
        .enumerate()
        .map(|(at, (mean, spread))| {
            let z = (value(at) - mean) / spread;
            if z.is_finite() {
                f64::from(z.clamp(-FAR, FAR))
            } else {
                0.0
            }
        })
        .collect()
}

/// Running means of one component at every scale.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Smoothing {
    /// One mean a sensor, scale after scale.
    means: Vec<f64>,
    /// Sum of the weights so far, a scale.
    weights: [f64; SCALES.len()],
    rows: f64,
}

impl Smoothing {
    pub(super) fn new(sensors: usize) -> Self {
        Self { means: vec![0.0; sensors * SCALES.len()], weights: [0.0; SCALES.len()], rows: 0.0 }
    }

    pub(super) fn add(&mut self, scaled: &[f64], horizon: u32) {
        self.rows += 1.0;
        if scaled.is_empty() {
            return;
        }
        let scales = SCALES.iter().zip(&mut self.weights);
        for ((scale, weight), means) in scales.zip(self.means.chunks_exact_mut(scaled.len())) {
            let new = (scale / f64::from(horizon.max(1))).min(1.0);
            *weight = (1.0 - new) * *weight + new;
            // The exact mean of what has been seen, so that the first rows aren't pulled to zero.
            let step = new / *weight;
            means.iter_mut().zip(scaled).for_each(|(mean, value)| *mean += step * (value - *mean));
        }
    }

    /// The fastest running mean of each sensor.
    pub(super) fn fast(&self) -> &[f64] {
        &self.means[..self.sensors()]
    }

    /// Age in usual lives, at most three.
    pub(super) fn age(&self, life: f64) -> f64 {
        (self.rows / life).min(3.0)
    }

    fn sensors(&self) -> usize {
        self.means.len() / SCALES.len()
    }

    /// What the ridge regression multiplies: a constant, the means, their products, and both with age.
    pub(super) fn terms(&self, life: f64, terms: &mut Vec<f64>) {
        terms.clear();
        let age = self.age(life);
        terms.extend([1.0, age, age * age]);
        terms.extend_from_slice(&self.means);
        let sensors = self.sensors();
        let middle = &self.means[PRODUCTS * sensors..(PRODUCTS + 1) * sensors];
        terms.extend(middle.iter().map(|mean| mean * age));
        for (at, mean) in middle.iter().enumerate() {
            let others = if sensors > MANY { &middle[at..=at] } else { &middle[at..] };
            terms.extend(others.iter().map(|other| mean * other));
        }
    }
}
