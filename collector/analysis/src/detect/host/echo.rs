//! What the next row should be: a one-step forecast of all features by an echo state network.
//!
//! A fixed random reservoir remembers the recent rows in a tangled way (Jaeger 2001); a linear readout
//! of it and of the row itself is learned by recursive least squares with forgetting. What the forecast
//! misses is the surprise. Directions that nothing excites must not be forgotten, or their variance
//! would grow without bound: forgetting is applied a unit at a time, only where the variance is below
//! its start value, by a congruence that keeps the matrix positive.

use serde::{Deserialize, Serialize};

use super::dice::Dice;
use super::numbers::{dot, Numbers};

const SPECTRAL: f64 = 0.9;
const LEAK: f32 = 0.5;
const INPUT: f64 = 0.5;
/// Keeps the matrix positive where states are nearly tied to each other, against rounding.
const LEAST_VARIANCE: f64 = 1e-4;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Echo {
    neurons: usize,
    features: usize,
    seed: u64,
    /// Reservoir weights: `neurons` rows of `neurons` + `features` + 1; fixed, made from the seed.
    #[serde(skip)]
    weights: Vec<f32>,
    /// Reservoir, then the scaled row, then 1.
    state: Numbers<f32>,
    next: Numbers<f32>,
    /// Readout: `features` rows as long as the state.
    readout: Numbers<f64>,
    /// Inverse correlation of the states.
    inverse: Numbers<f64>,
    gain: Numbers<f64>,
    wide: Numbers<f64>,
    stretch: Numbers<f64>,
}

impl Echo {
    pub fn new(features: usize, neurons: usize, seed: u64) -> Self {
        let length = neurons + features + 1;
        let mut new = Self {
            neurons,
            features,
            seed,
            weights: Vec::new(),
            state: Numbers::of(0.0, length),
            next: Numbers::of(0.0, neurons),
            readout: Numbers::of(0.0, features * length),
            inverse: Numbers::of(0.0, length * length),
            gain: Numbers::of(0.0, length),
            wide: Numbers::of(0.0, length),
            stretch: Numbers::of(1.0, length),
        };
        new.start_anew();
        new.state[length - 1] = 1.0;
        new.weave();
        new
    }

    /// Makes the fixed weights, also after a snapshot was read.
    pub fn weave(&mut self) {
        let mut dice = Dice::new(self.seed);
        let length = self.state.len();
        let (inner, outer) =
            (SPECTRAL / (self.neurons as f64).sqrt(), INPUT / (self.features.max(1) as f64).sqrt());
        self.weights = (0..self.neurons * length)
            .map(|i| (dice.normal() * if i % length < self.neurons { inner } else { outer }) as f32)
            .collect();
    }

    pub fn bytes(&self) -> usize {
        let lists = [&self.readout, &self.inverse, &self.gain, &self.wide, &self.stretch];
        self.weights.len() * 4
            + self.state.bytes()
            + self.next.bytes()
            + lists.iter().map(|list| list.bytes()).sum::<usize>()
    }

    /// The forecast of the next row, in scaled units.
    pub fn forecast(&mut self, into: &mut [f64]) {
        for (wide, state) in self.wide.iter_mut().zip(self.state.iter()) {
            *wide = f64::from(*state);
        }
        let length = self.wide.len();
        for (value, row) in into.iter_mut().zip(self.readout.chunks_exact(length)) {
            *value = dot(row, &self.wide);
        }
    }

    /// Learns the errors of the forecast just made; `weight` from 0 to 1, `rate` is the forgetting.
    pub fn learn(&mut self, errors: &[f64], weight: f64, rate: f64) {
        let length = self.wide.len();
        for (gain, row) in self.gain.iter_mut().zip(self.inverse.chunks_exact(length)) {
            *gain = dot(row, &self.wide);
        }
        let keep = 1.0 - rate;
        let spread = dot(&self.gain, &self.wide);
        if !spread.is_finite() || spread < 0.0 {
            // Rounding has spoilt the matrix: no direction of it can be trusted. The readout stays.
            self.start_anew();
            return;
        }
        let scale = 1.0 / (keep / weight.max(1e-6) + spread);
        for (row, error) in self.readout.chunks_exact_mut(length).zip(errors) {
            let step = error * scale;
            for (w, gain) in row.iter_mut().zip(self.gain.iter()) {
                *w += step * gain;
            }
        }
        let forget = if weight > 0.5 { keep.powf(-0.5) } else { 1.0 };
        for (i, stretch) in self.stretch.iter_mut().enumerate() {
            *stretch = if self.inverse[i * length + i] < 1.0 { forget } else { 1.0 };
        }
        for (i, row) in self.inverse.chunks_exact_mut(length).enumerate() {
            // Products in an order that gives both triangles the same bits: the matrix stays symmetric.
            let (own, times) = (self.gain[i], self.stretch[i]);
            for ((p, gain), stretch) in row.iter_mut().zip(self.gain.iter()).zip(self.stretch.iter()) {
                *p = (*p - own * gain * scale) * (times * stretch);
            }
            row[i] += rate * LEAST_VARIANCE;
        }
    }

    fn start_anew(&mut self) {
        let length = self.wide.len();
        self.inverse.fill(0.0);
        for i in 0..length {
            self.inverse[i * length + i] = 1.0;
        }
    }

    /// Takes in a scaled row.
    pub fn advance(&mut self, row: &[f64]) {
        let length = self.state.len();
        for (slot, value) in self.state[self.neurons..].iter_mut().zip(row) {
            *slot = *value as f32;
        }
        for ((next, weights), old) in
            self.next.iter_mut().zip(self.weights.chunks_exact(length)).zip(self.state.iter())
        {
            *next = (1.0 - LEAK) * old + LEAK * squash(dot_short(weights, &self.state));
        }
        self.state[..self.neurons].copy_from_slice(&self.next);
    }
}

/// A rational approximation of the hyperbolic tangent (its continued fraction, cut), exact at ±3.
fn squash(x: f32) -> f32 {
    let x = x.clamp(-3.0, 3.0);
    x * (27.0 + x * x) / (27.0 + 9.0 * x * x)
}

/// The same in single precision.
fn dot_short(a: &[f32], b: &[f32]) -> f32 {
    let (left, right) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f32 = left.remainder().iter().zip(right.remainder()).map(|(x, y)| x * y).sum();
    let mut lanes = [0.0; 8];
    for (x, y) in left.zip(right) {
        for (lane, (x, y)) in lanes.iter_mut().zip(x.iter().zip(y)) {
            *lane += x * y;
        }
    }
    lanes.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn learns_a_wave_and_stays_finite_without_excitement() {
        let mut echo = Echo::new(2, 20, 1);
        let (mut late, mut forecast) = (0.0f64, [0.0; 2]);
        for t in 0..20_000 {
            // A wave, and a feature that never moves.
            let row = [(f64::from(t) * 0.3).sin(), 0.0];
            echo.forecast(&mut forecast);
            let errors = [row[0] - forecast[0], row[1] - forecast[1]];
            echo.learn(&errors, 1.0, 1e-2);
            echo.advance(&row);
            if t > 19_000 {
                late = late.max(errors[0].abs());
            }
        }
        assert!(late < 0.02, "{late}");
        assert!(echo.inverse.iter().all(|p| p.is_finite() && p.abs() < 10.0));
    }
}
