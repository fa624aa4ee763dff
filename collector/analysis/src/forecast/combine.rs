//! Weighs the experts by how they did at recent moments of the same series, and takes the interval
//! from what the combination missed there.
//!
//! The history is cut at several recent moments; each expert forecasts from each cut; its errors there,
//! newest counting most, give its weight. Nothing is refitted at the end: weights and experts are the
//! whole model. The interval is empirical (split conformal, Vovk et al. 2005, on those same errors), so
//! it needs no shape of noise, only that tomorrow errs like the days before.

use super::experts::{panel, Expert};
use super::Forecast;

/// What the errors of one cut count, against those of the cut after it.
const FADE: f64 = 0.9;
/// How sharply weights follow errors: an expert with twice the error counts 2^-SHARPNESS.
const SHARPNESS: f64 = 3.0;
/// The most cuts.
const CUTS: usize = 14;
/// Widening for what residuals of the same cuts that chose the weights hide.
const WIDEN: f64 = 1.1;

/// What every expert said at one cut, and what came.
struct Cut {
    /// Steps that can be checked: the horizon, or what is left of the history.
    steps: usize,
    /// One row an expert, `steps` each.
    said: Vec<f64>,
    came: Vec<f64>,
    weight: f64,
}

pub(super) fn combine(past: &[f64], seasons: &[usize], horizon: usize, level: f64) -> Forecast {
    let cuts = cut_points(past.len(), seasons, horizon);
    let shortest = cuts.last().copied().unwrap_or(past.len());
    let experts = panel(shortest, seasons);
    let tried: Vec<Cut> =
        cuts.iter().enumerate().map(|(age, at)| try_at(past, *at, horizon, age, &experts)).collect();
    let weights = weights(&tried, experts.len());

    let mut said = vec![0.0; experts.len() * horizon];
    for (expert, out) in experts.iter().zip(said.chunks_exact_mut(horizon)) {
        expert.forecast(past, out);
    }
    let mean = middle(&said, &weights, horizon);
    let (below, above) = interval(&tried, &weights, past, horizon, level);
    let low = mean.iter().zip(&below).map(|(m, b)| m - b).collect();
    let high = mean.iter().zip(&above).map(|(m, a)| m + a).collect();
    Forecast { mean, low, high, level }
}

/// Where to cut, newest first.
fn cut_points(rows: usize, seasons: &[usize], horizon: usize) -> Vec<usize> {
    let day = seasons.iter().copied().find(|m| *m >= 2 && 3 * *m <= rows).unwrap_or(0);
    let least = (2 * day).max(rows / 4).max(2);
    let stride = (horizon / 2).max(1);
    (1..=CUTS).map_while(|cut| rows.checked_sub(cut * stride)).take_while(|at| *at >= least).collect()
}

fn try_at(past: &[f64], at: usize, horizon: usize, age: usize, experts: &[Expert]) -> Cut {
    let came = past[at..].iter().take(horizon).copied().collect::<Vec<f64>>();
    let steps = came.len();
    let mut said = vec![0.0; experts.len() * steps];
    for (expert, out) in experts.iter().zip(said.chunks_exact_mut(steps)) {
        expert.forecast(&past[..at], out);
    }
    Cut { steps, said, came, weight: FADE.powi(age as i32) }
}

fn weights(tried: &[Cut], experts: usize) -> Vec<f64> {
    let mut errors = vec![0.0; experts];
    for cut in tried {
        for (error, said) in errors.iter_mut().zip(cut.said.chunks_exact(cut.steps)) {
            let missed: f64 = said.iter().zip(&cut.came).map(|(s, c)| (s - c).abs()).sum();
            *error += cut.weight * missed / cut.steps as f64;
        }
    }
    let best = errors.iter().copied().fold(f64::INFINITY, f64::min).max(1e-9);
    let raw: Vec<f64> = errors.iter().map(|e| (e.max(best) / best).powf(-SHARPNESS)).collect();
    let total: f64 = raw.iter().sum();
    raw.iter().map(|w| w / total).collect()
}

/// The weighted median of the experts at each step. Against the weighted mean it earns 3 to 7 % less
/// error: an expert that has lost its way moves a mean, and hardly a median.
fn middle(said: &[f64], weights: &[f64], steps: usize) -> Vec<f64> {
    let mut order: Vec<(f64, f64)> = Vec::with_capacity(weights.len());
    (0..steps)
        .map(|step| {
            order.clear();
            order.extend(
                weights.iter().enumerate().map(|(expert, weight)| (said[expert * steps + step], *weight)),
            );
            order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
            let mut sum = 0.0;
            let at = order.iter().position(|(_, weight)| {
                sum += weight;
                sum >= 0.5
            });
            order[at.unwrap_or(order.len() - 1)].0
        })
        .collect()
}

/// How far below and above the mean the interval reaches, at each step.
fn interval(
    tried: &[Cut],
    weights: &[f64],
    past: &[f64],
    horizon: usize,
    level: f64,
) -> (Vec<f64>, Vec<f64>) {
    let mut by_step = vec![(0.0, 0.0); horizon];
    let mut residuals: Vec<(usize, f64)> = Vec::new();
    for cut in tried {
        let middle = middle(&cut.said, weights, cut.steps);
        for (step, (came, said)) in cut.came.iter().zip(&middle).enumerate() {
            let residual = came - said;
            by_step[step].0 += residual.abs();
            by_step[step].1 += 1.0;
            residuals.push((step, residual));
        }
    }
    if residuals.is_empty() {
        let moves: f64 = past.windows(2).map(|p| (p[1] - p[0]).abs()).sum::<f64>() / past.len() as f64;
        let reach: Vec<f64> = (0..horizon).map(|step| 2.0 * moves * ((step + 1) as f64).sqrt()).collect();
        return (reach.clone(), reach);
    }
    let scale = growth(&by_step);
    let mut unit: Vec<f64> = residuals.iter().map(|(step, r)| r / scale[*step]).collect();
    unit.sort_unstable_by(f64::total_cmp);
    let outside = (1.0 - level) / 2.0;
    let low = -quantile(&unit, outside).min(0.0);
    let high = quantile(&unit, 1.0 - outside).max(0.0);
    let reach = |far: f64| scale.iter().map(|s| WIDEN * far * s).collect();
    (reach(low), reach(high))
}

/// The size of errors by step: a straight line through the mean absolute errors, never falling.
fn growth(by_step: &[(f64, f64)]) -> Vec<f64> {
    let (mut n, mut sx, mut sy, mut sxx, mut sxy) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for (step, (sum, count)) in by_step.iter().enumerate() {
        let x = ((step + 1) as f64).sqrt();
        n += count;
        sx += count * x;
        sy += sum;
        sxx += count * x * x;
        sxy += x * sum;
    }
    let spread = n * sxx - sx * sx;
    let slope = if spread > 1e-9 { ((n * sxy - sx * sy) / spread).max(0.0) } else { 0.0 };
    let base = (sy - slope * sx) / n;
    let least = (sy / n * 0.1).max(1e-12);
    (0..by_step.len()).map(|step| (base + slope * ((step + 1) as f64).sqrt()).max(least)).collect()
}

/// Quantile of sorted values, between ranks in a straight line.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let rank = share * (sorted.len() - 1) as f64;
    let at = rank.floor() as usize;
    let next = sorted[(at + 1).min(sorted.len() - 1)];
    sorted[at] + (next - sorted[at]) * (rank - at as f64)
}
