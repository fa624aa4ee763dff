//! Failure prediction: how long a component will last, and how probable it is that it fails soon.
//!
//! Learned from histories that ended in failure (and from those that did not yet). Two parts watch the
//! same rows: a *statistical* one, ridge regression on sensors smoothed at three scales with their
//! products, and an *echo state network*, a fixed random recurrent network of leaky units read out by
//! another ridge regression. Their blend is chosen by cross-validation over whole units and kept only
//! where it beats its better part; a logistic curve fitted to the same unseen predictions turns steps
//! left into a calibrated probability. No gradient descent: training is one pass and two Cholesky
//! factors a fold, the same on every machine for the same seed.
//!
//! [`train`] makes a [`Model`]; a [`State`] per component goes through [`Model::predict`] a row at a
//! time; a [`Registry`] keeps versions and promotes a new one only when it does better on data that
//! neither has seen.

mod calibration;
mod features;
mod registry;
mod reservoir;
mod training;

pub use calibration::{brier, reliability, Calibration, ReliabilityBin};
pub use registry::{Registry, Score, Verdict, Version};
pub use training::{train, Untrainable, Validation};

use serde::{Deserialize, Serialize};

use features::Smoothing;
use reservoir::Reservoir;

/// What one component showed, a row of sensors each step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Unit {
    /// Rows, oldest first, one a step, each with the same sensors in the same order. A value that is
    /// not finite is missing and counts as the sensor's mean.
    pub rows: Vec<Vec<f32>>,
    /// Whether the component failed right after the last row. If not, it was still running.
    pub failed: bool,
}

/// Histories of components of one kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// The components.
    pub units: Vec<Unit>,
}

/// What is asked of a model; the same for every kind of component.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Steps within which a failure counts as soon.
    pub horizon: u32,
    /// Steps from which on a component counts as sound: remaining life is not told apart above.
    pub cap: u32,
    /// Seed of the random network and of the folds.
    pub seed: u64,
    /// Whether a component's age counts. It must not where units are cut out of longer lives: then all of
    /// those that failed would be of one age.
    pub aged: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { horizon: 30, cap: 125, seed: 1, aged: true }
    }
}

/// What a model says after a row.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// Steps until failure, 0 to the cap.
    pub left: f64,
    /// Probability of failure within the horizon, 0 to 1.
    pub risk: f64,
}

/// A trained model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// What it was asked for.
    pub settings: Settings,
    /// How it did on units it had not seen, while training.
    pub validation: Validation,
    /// Mean and spread of each sensor.
    scale: Vec<(f32, f32)>,
    /// Median life of the units that failed, in steps; the largest float where age does not count.
    life: f64,
    reservoir: Reservoir,
    statistical: Vec<f64>,
    echo: Vec<f64>,
    /// Share of the echo state network in the blend.
    share: f64,
    calibration: Calibration,
}

/// What a model remembers of one component.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    smoothing: Smoothing,
    echo: Vec<f64>,
}

impl Model {
    /// The state of a component nothing is known of.
    #[must_use]
    pub fn start(&self) -> State {
        State { smoothing: Smoothing::new(self.scale.len()), echo: vec![0.0; self.reservoir.size()] }
    }

    /// Takes the next row of a component in and says what is to be expected. A row with fewer sensors
    /// than in training misses the last ones; more are ignored.
    pub fn predict(&self, state: &mut State, row: &[f32]) -> Prediction {
        let (statistical, echo) = self.parts(state, row);
        let cap = f64::from(self.settings.cap);
        self.settle((self.share * echo + (1.0 - self.share) * statistical).clamp(0.0, cap))
    }

    /// The prediction that goes with so many steps left.
    #[must_use]
    pub fn settle(&self, left: f64) -> Prediction {
        Prediction { left, risk: self.calibration.risk(left) }
    }

    /// Steps left by the statistical part and by the echo state network, each clamped by itself.
    pub fn parts(&self, state: &mut State, row: &[f32]) -> (f64, f64) {
        let mut terms = Vec::new();
        self.advance(state, row);
        let cap = f64::from(self.settings.cap);
        state.smoothing.terms(self.life, &mut terms);
        let statistical = dot(&terms, &self.statistical).clamp(0.0, cap);
        reservoir::terms(&state.echo, &state.smoothing, self.life, &mut terms);
        (statistical, dot(&terms, &self.echo).clamp(0.0, cap))
    }

    fn advance(&self, state: &mut State, row: &[f32]) {
        let scaled = features::scaled(row, &self.scale);
        state.smoothing.add(&scaled, self.settings.horizon);
        self.reservoir.step(&mut state.echo, state.smoothing.fast());
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}
