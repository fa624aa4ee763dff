//! Settings of the per-series detector. One set serves every series; the defaults are what is shipped.

use serde::{Deserialize, Serialize};

/// How a series is judged. Points are rows of the series, whatever their distance in time; what is
/// measured in time says so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SeriesConfig {
    /// Memory of level and spread, points.
    pub level_points: f32,
    /// Length of the short mean that is held against the level, points.
    pub short_points: f32,
    /// Length of the mean of moves (absolute differences) that is held against its long mean, points.
    pub moves_short_points: f32,
    /// Memory of the mean of moves, points.
    pub moves_long_points: f32,
    /// Smoothing of the distance from the hour of the week, points.
    pub week_points: f32,
    /// Smoothing of the distance from the hour of the day, points.
    pub day_points: f32,
    /// Memory of the spread of both distances, points.
    pub season_spread_points: f32,
    /// What each view's rarity (-log10 of its tail share) weighs in the evidence.
    pub weights: Weights,
    /// Points before the first alarm.
    pub learning_points: u32,
    /// Evidence at which a row is an alarm: score 0.5.
    pub alarm_evidence: f32,
    /// After an alarm no further one for this long, seconds of the data's own clock.
    pub hold_off_s: f32,
    /// A silence longer than this interrupts moves and steps, seconds.
    pub gap_s: f32,
    /// Half width of the expected band, standard deviations.
    pub band_sigmas: f32,
    /// The classical detector in place of the views: window and threshold.
    pub classical: Option<Classical>,
    /// Anomalies kept per series in the hot view.
    pub kept_anomalies: usize,
}

/// Weights of the views.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Weights {
    /// Distance from the hour of the week.
    pub week: f32,
    /// Distance from the hour of the day.
    pub day: f32,
    /// Short mean against level.
    pub level: f32,
    /// Moves against their long mean.
    pub moves: f32,
    /// Step between coarse levels.
    pub shape: f32,
}

/// The classical detector: a sliding window, and a threshold in standard deviations.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Classical {
    /// Points in the window.
    pub window_points: u16,
    /// Standard deviations from the window's mean at which a point is an anomaly.
    pub threshold_sigmas: f32,
}

impl Default for Classical {
    fn default() -> Self {
        Self { window_points: 100, threshold_sigmas: 2.0 }
    }
}

impl Default for Weights {
    fn default() -> Self {
        Self { week: 1.0, day: 1.0, level: 1.0, moves: 0.6, shape: 0.6 }
    }
}

impl Default for SeriesConfig {
    fn default() -> Self {
        Self {
            level_points: 3_000.0,
            short_points: 10.0,
            moves_short_points: 12.0,
            moves_long_points: 400.0,
            week_points: 2.0,
            day_points: 12.0,
            season_spread_points: 3_000.0,
            weights: Weights::default(),
            learning_points: 100,
            alarm_evidence: 7.0,
            hold_off_s: 64_800.0,
            gap_s: 86_400.0,
            band_sigmas: 3.0,
            classical: None,
            kept_anomalies: 50,
        }
    }
}
