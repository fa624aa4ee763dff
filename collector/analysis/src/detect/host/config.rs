//! Settings of the host detector: one set for all hosts and all sampling intervals.

use serde::{Deserialize, Serialize};

/// How a host is judged. Days are spans of time; rows are calls of
/// [`HostDetector::update`](super::HostDetector::update). Chosen on three of the six hosts of the
/// evaluation data (`docs/decisions/0004-host-detection.md` has the figures).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HostConfig {
    /// Seed of the reservoir's weights and of the forest.
    pub seed: u64,
    /// Units of the echo-state reservoir.
    pub neurons: usize,
    /// Trees of the forest.
    pub trees: usize,
    /// Rows a tree is grown from.
    pub tree_rows: usize,
    /// Rows kept to grow trees from.
    pub kept_rows: usize,
    /// Weight of the newest row in the smoothing of surprises before the forest sees them.
    pub burst: f32,
    /// Weight of the newest row in the smoothing of each part's score.
    pub smooth: f32,
    /// Units of the common scale (0 median, 1 the 90 % quantile) from which a part's score counts at all.
    pub quiet: f32,
    /// Weights of forecast error, forest, daily profile and single features in the score.
    pub weights: [f64; 4],
    /// What the parts together must reach for score 0.5.
    pub alarm: f32,
    /// Memory of level and spread of the features.
    pub scale_days: f64,
    /// Memory of the one-step forecast.
    pub forecast_days: f64,
    /// Memory of how forecast errors and daily residuals go together.
    pub spread_days: f64,
    /// Memory of a half hour of the daily profile.
    pub profile_days: f64,
    /// Memory of what is usual for a part's score.
    pub tail_days: f64,
    /// Smallest spread of a feature, as a share of its long-run standard deviation.
    pub floor: f64,
    /// Smallest spread of a forecast error, in the feature's usual deviations.
    pub error_floor: f64,
    /// Smallest spread of a daily residual, in the feature's long-run standard deviations.
    pub residual_floor: f64,
    /// How much is learned from a row that is called anomalous, against an ordinary one.
    pub learn_anomalous: f64,
    /// A state that has been anomalous for this long is learned as the new usual.
    pub adopt_after_s: f64,
    /// Rows before the first score.
    pub warm_rows: u32,
}

impl Default for HostConfig {
    fn default() -> Self {
        Self {
            seed: 1,
            neurons: 20,
            trees: 50,
            tree_rows: 128,
            kept_rows: 1024,
            burst: 0.25,
            smooth: 0.25,
            quiet: 2.0,
            weights: [1.0, 1.0, 0.5, 0.5],
            alarm: 1.3,
            scale_days: 7.0,
            forecast_days: 35.0,
            spread_days: 14.0,
            profile_days: 6.5,
            tail_days: 3.5,
            floor: 0.05,
            error_floor: 0.03,
            residual_floor: 0.5,
            learn_anomalous: 0.1,
            adopt_after_s: 86_400.0,
            warm_rows: 300,
        }
    }
}

/// How fast to learn at one row: the share of the new in the old.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Seconds since the row before.
    pub seconds: f64,
    /// Rows learned so far; after a new state was adopted counted from few again.
    pub rows: f64,
}

impl Pace {
    /// No memory is longer than this many rows.
    const LONGEST_ROWS: f64 = 100_000.0;

    /// Rate for a memory of `days`: an average over everything until there is that much.
    pub fn rate(self, days: f64) -> f64 {
        (self.seconds / (days * 86_400.0)).clamp(1.0 / Self::LONGEST_ROWS, 0.05).max(1.0 / (self.rows + 2.0))
    }
}
