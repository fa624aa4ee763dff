//! Where a series is going: values to come with intervals, and when a limit will be reached.
//!
//! [`forecast`] is a weighted combination of a dozen simple experts, each weighted by how well it
//! would have done at recent moments of the same series. That beats one clever model here because
//! host metrics change their character (a deployment moves the level, a season appears) sooner than
//! a model with many parameters can be re-fitted; what forecasts best changes with them. Rejected:
//! AutoETS and MSTL+ETS of an existing crate (see `docs/decisions/0005-forecasts.md`).
//!
//! [`exhaustion`] asks the other question, *when*: regimes, resets and curvature matter there and
//! the next value hardly.
//!
//! Everything uses the given history and nothing else, oldest value first, one value a step. A value
//! that is not finite is a missing one.

mod combine;
mod exhaustion;
mod experts;
mod regime;
mod resets;
mod resource;
mod series;

pub use crate::words::duration_words;
pub use exhaustion::{exhaustion, outlook, Exhaustion, LIKELY};
pub use resource::Resource;

use serde::{Deserialize, Serialize};

/// Values to come, one for each step, with a prediction interval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    /// Expected value at each step.
    pub mean: Vec<f64>,
    /// Lower end of the interval at each step.
    pub low: Vec<f64>,
    /// Upper end of the interval at each step.
    pub high: Vec<f64>,
    /// The share of the values to come that the interval is meant to hold, as asked for.
    pub level: f64,
}

impl Forecast {
    /// Keeps the forecast within what the metric can be, such as 0 to 100 for a percentage.
    #[must_use]
    pub fn within(mut self, least: f64, most: f64) -> Self {
        for values in [&mut self.mean, &mut self.low, &mut self.high] {
            for value in values.iter_mut() {
                *value = value.max(least).min(most);
            }
        }
        self
    }
}

/// The seasons that metrics of hosts have, a day and a week, in rows of `step_s` seconds; only those
/// of at least four rows.
#[must_use]
pub fn host_seasons(step_s: f64) -> Vec<usize> {
    const DAY_S: f64 = 86_400.0;
    [DAY_S, 7.0 * DAY_S]
        .iter()
        .map(|season| season / step_s)
        .filter(|rows| rows.is_finite() && *rows >= 4.0 && *rows <= 1e6)
        .map(|rows| rows.round() as usize)
        .collect()
}

/// Forecasts `horizon` steps after `history`.
///
/// `seasons` are the lengths in rows that the series may repeat with ([`host_seasons`]); one that the
/// history does not hold twice is not used. `level` is the share of values that the interval should
/// hold, 0.5 to 0.99. `None` when the history holds fewer than three finite values or the horizon is
/// zero.
#[must_use]
pub fn forecast(history: &[f64], seasons: &[usize], horizon: usize, level: f64) -> Option<Forecast> {
    let series = series::Series::new(history)?;
    if horizon == 0 {
        return None;
    }
    let level = if level.is_finite() { level.clamp(0.5, 0.99) } else { 0.8 };
    let mut scaled = combine::combine(series.values(), seasons, horizon, level);
    for values in [&mut scaled.mean, &mut scaled.low, &mut scaled.high] {
        for value in values.iter_mut() {
            *value = series.unscale(*value);
        }
    }
    Some(scaled)
}
