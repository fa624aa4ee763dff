//! When a limit will be reached: a disk full, descriptors used up, a leak at its end.
//!
//! Every shape that the history allows ([`super::regime`]) is continued to the horizon, with the
//! spread of its own fit; together, weighted, they give a distribution of the moment at which the limit is
//! reached and the probability that it is reached at all. A trend counts only as far as it has
//! shown to last: what went on for an hour is no ground for tomorrow (the survival `(L / (L + T))^θ` of
//! a regime of age L for T more, a softened Lindy law). The straight line through everything that most
//! tools draw sees a leak late and calls every full day's cycle the end.

use serde::{Deserialize, Serialize};

use super::regime::{Course, Reduced};
use super::series::Series;
use crate::words::duration_words;

/// Rows ahead that each shape is evaluated at.
const AHEAD: usize = 240;
/// Standard normal quantiles in the middle of nine equal shares.
const SPREAD: [f64; 9] = [-1.59, -0.97, -0.59, -0.28, 0.0, 0.28, 0.59, 0.97, 1.59];
/// θ, how fast trust in a regime fades with the time it would have to go on.
const FADING: f64 = 0.35;
/// Standard deviation, as a share of what a shape still has to rise, of how wrong shapes go when continued.
const DOUBT: f64 = 0.1;
/// The probability from which [`exhaustion`] gives an answer.
pub const LIKELY: f64 = 0.5;
/// History older than this many rows is not looked at.
const ROWS: usize = 6000;

/// The moment a limit is expected to be reached.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exhaustion {
    /// Expected time until the limit, in seconds after the last value.
    pub eta_s: f64,
    /// Lower end of the 80 % interval, in seconds.
    pub low_s: f64,
    /// Upper end of the 80 % interval, in seconds.
    pub high_s: f64,
    /// Probability that the limit is reached within the horizon, 0 to 1. `1 - probability` is the
    /// probability that it isn't.
    pub probability: f64,
}

impl Exhaustion {
    /// `full in 3 h 20 min (80 %: 2 h 50 min – 4 h)`; `event` is the first word or words.
    #[must_use]
    pub fn words(&self, event: &str) -> String {
        if self.eta_s <= 0.0 {
            return format!("{event} now");
        }
        let [eta, low, high] = [self.eta_s, self.low_s, self.high_s].map(duration_words);
        format!("{event} in {eta} (80 %: {low} – {high})")
    }
}

/// When `history`, rising, reaches `limit` and stays there, if that is more likely than not within
/// `horizon_s` seconds. See [`outlook`].
#[must_use]
pub fn exhaustion(history: &[f64], step_s: f64, limit: f64, horizon_s: f64) -> Option<Exhaustion> {
    outlook(history, step_s, limit, horizon_s).filter(|e| e.probability >= LIKELY)
}

/// When `history`, rising, would reach `limit`, however improbable.
///
/// Oldest value first, one each `step_s` seconds, `step_s` and `horizon_s` positive; values that are not
/// finite are missing. What runs out by falling is given negated, limit and all. `None` when fewer
/// than 24 finite values are given, or when nothing in them leads to the limit.
#[must_use]
pub fn outlook(history: &[f64], step_s: f64, limit: f64, horizon_s: f64) -> Option<Exhaustion> {
    let horizon = horizon_s / step_s;
    if !(horizon.is_finite() && horizon > 0.0 && step_s > 0.0 && limit.is_finite()) {
        return None;
    }
    let history = &history[history.len().saturating_sub(ROWS)..];
    if history.iter().filter(|v| v.is_finite()).count() < 24 {
        return None;
    }
    if reached(history, limit) {
        return Some(Exhaustion { eta_s: 0.0, low_s: 0.0, high_s: 0.0, probability: 1.0 });
    }
    let series = Series::new(history)?;
    let limit = series.scaled(limit)?;
    let moments = moments(&Reduced::new(series.values()), series.values(), limit, horizon);
    summary(moments, step_s)
}

/// At least half of the last twelve values stand at or above the limit.
fn reached(history: &[f64], limit: f64) -> bool {
    let last = &history[history.len() - 12..];
    last.iter().filter(|v| **v >= limit).count() * 2 >= last.len()
}

/// Moments in rows at which the limit may be reached, each with its probability.
fn moments(reduced: &Reduced, values: &[f64], limit: f64, horizon: f64) -> Vec<(f64, f64)> {
    let mut moments = Vec::new();
    let mut row = Vec::new();
    let last = values.len() as f64 - 1.0;
    for shape in reduced.shapes() {
        let age = match shape.course {
            Course::Flat | Course::Bent(_) => reduced.rows,
            Course::Turn(at) => reduced.rows - at,
        };
        let mut path: Vec<(f64, f64)> = (0..=AHEAD)
            .map(|p| reduced.at(&shape, last + horizon * p as f64 / AHEAD as f64, &mut row))
            .collect();
        let start = path[0].0;
        path.iter_mut().for_each(|(mean, spread)| *spread = spread.hypot(DOUBT * (*mean - start)));
        for spread in SPREAD {
            let Some(rows) = crossing(&path, spread, limit, horizon) else { continue };
            let lasts = (age / (age + rows)).powf(FADING);
            moments.push((rows, shape.weight * lasts / SPREAD.len() as f64));
        }
    }
    moments
}

/// Rows until a path, off by `spread` standard deviations, is at the limit.
fn crossing(path: &[(f64, f64)], spread: f64, limit: f64, horizon: f64) -> Option<f64> {
    let value = |at: usize| path[at].0 + spread * path[at].1;
    let at = (0..path.len()).find(|at| value(*at) >= limit)?;
    let part = horizon / (path.len() - 1) as f64;
    if at == 0 {
        return Some(0.0);
    }
    let (before, after) = (value(at - 1), value(at));
    Some(part * (at as f64 - 1.0 + (limit - before) / (after - before)))
}

fn summary(mut moments: Vec<(f64, f64)>, step_s: f64) -> Option<Exhaustion> {
    let probability: f64 = moments.iter().map(|(_, p)| p).sum();
    if probability < 1e-3 {
        return None;
    }
    moments.sort_by(|a, b| a.0.total_cmp(&b.0));
    let quantile = |share: f64| {
        let mut sum = 0.0;
        let at = moments.iter().position(|(_, p)| {
            sum += p;
            sum >= share * probability
        });
        moments[at.unwrap_or(moments.len() - 1)].0 * step_s
    };
    let [low_s, eta_s, high_s] = [0.1, 0.5, 0.9].map(quantile);
    Some(Exhaustion { eta_s, low_s, high_s, probability: probability.min(1.0) })
}
