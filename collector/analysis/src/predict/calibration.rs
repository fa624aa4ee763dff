//! From steps left to a probability that means what it says, and the measures of whether it does.

use serde::{Deserialize, Serialize};

use crate::linear::Normal;

/// Logistic curve of the steps left (Platt 1999), with a bend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    unit: f64,
    terms: [f64; 3],
}

impl Calibration {
    /// Fits to predictions of steps left and whether the failure came within the horizon.
    #[must_use]
    pub(super) fn fit(pairs: &[(f64, bool)], horizon: u32) -> Self {
        let mut fitted = Self { unit: f64::from(horizon.max(1)), terms: [0.0; 3] };
        // Newton's method on the likelihood: re-weighted least squares.
        for _ in 0..25 {
            let mut normal = Normal::new(3);
            for (left, failed) in pairs {
                let row = fitted.row(*left);
                let risk = fitted.risk(*left);
                let weight = (risk * (1.0 - risk)).max(1e-6);
                let score: f64 = row.iter().zip(&fitted.terms).map(|(x, t)| x * t).sum();
                normal.add(&row, score + (f64::from(u8::from(*failed)) - risk) / weight, weight);
            }
            let Some((terms, _)) = normal.solve(|_| 1e-3) else { break };
            let moved: f64 = terms.iter().zip(&fitted.terms).map(|(a, b)| (a - b).abs()).sum();
            fitted.terms.iter_mut().zip(&terms).for_each(|(to, from)| *to = from.clamp(-50.0, 50.0));
            if moved < 1e-6 {
                break;
            }
        }
        fitted
    }

    fn row(&self, left: f64) -> [f64; 3] {
        let share = left / self.unit;
        [1.0, share, (1.0 - share).max(0.0)]
    }

    /// Probability of failure within the horizon when `left` steps are predicted.
    #[must_use]
    pub fn risk(&self, left: f64) -> f64 {
        let score: f64 = self.row(left).iter().zip(&self.terms).map(|(x, t)| x * t).sum();
        1.0 / (1.0 + (-score).exp())
    }
}

/// Mean squared error of probabilities (Brier 1950); 0 for none.
#[must_use]
pub fn brier(pairs: &[(f64, bool)]) -> f64 {
    let sum: f64 = pairs.iter().map(|(risk, failed)| (risk - f64::from(u8::from(*failed))).powi(2)).sum();
    sum / pairs.len().max(1) as f64
}

/// One line of a reliability table.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReliabilityBin {
    /// Predictions that fell into it.
    pub count: usize,
    /// Their mean probability.
    pub said: f64,
    /// The share that failed within the horizon.
    pub came: f64,
}

/// Ten equal bins of probability: what was said against what came. Empty bins are left out.
#[must_use]
pub fn reliability(pairs: &[(f64, bool)]) -> Vec<ReliabilityBin> {
    let mut bins = vec![ReliabilityBin { count: 0, said: 0.0, came: 0.0 }; 10];
    for (risk, failed) in pairs {
        let bin = &mut bins[((risk * 10.0) as usize).min(9)];
        bin.count += 1;
        bin.said += risk;
        bin.came += f64::from(u8::from(*failed));
    }
    bins.retain(|bin| bin.count > 0);
    for bin in &mut bins {
        bin.said /= bin.count as f64;
        bin.came /= bin.count as f64;
    }
    bins
}
