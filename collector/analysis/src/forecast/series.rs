//! A history made fit for arithmetic: missing values filled, centred, scaled.
//!
//! Scaling makes every rule after it free of units, and keeps values near the largest float from
//! overflowing when they are squared. Filling is causal in the only sense that matters here: the
//! whole history lies before the forecast.

/// A scaled history and the way back.
pub(super) struct Series {
    values: Vec<f64>,
    centre: f64,
    scale: f64,
}

impl Series {
    /// `None` with fewer than three finite values.
    pub(super) fn new(history: &[f64]) -> Option<Self> {
        let finite: Vec<f64> = history.iter().copied().filter(|v| v.is_finite()).collect();
        if finite.len() < 3 {
            return None;
        }
        let centre = median(&mut finite.clone());
        // Halved before subtracting, so that opposite ends of the float range do not overflow.
        let spread = |v: f64| (v / 2.0 - centre / 2.0).abs();
        let mean = finite.iter().map(|v| spread(*v) / finite.len() as f64).sum::<f64>() * 2.0;
        // Below this the values differ by rounding alone.
        let rounding = centre.abs() * 1e-13;
        let scale = if mean > rounding && mean.is_normal() { mean } else { 0.0 };
        let unit = |v: f64| if scale > 0.0 { (v / scale - centre / scale).clamp(-1e9, 1e9) } else { 0.0 };
        let first = history.iter().position(|v| v.is_finite())?;
        let mut values: Vec<f64> =
            history[first..].iter().map(|v| if v.is_finite() { unit(*v) } else { f64::NAN }).collect();
        fill(&mut values);
        Some(Self { values, centre, scale })
    }

    /// Centred and scaled values, all finite.
    pub(super) fn values(&self) -> &[f64] {
        &self.values
    }

    /// A scaled value in the unit of the history.
    pub(super) fn unscale(&self, value: f64) -> f64 {
        (value * self.scale + self.centre).clamp(f64::MIN, f64::MAX)
    }

    /// A value of the history's unit, scaled. `None` when the history is constant.
    pub(super) fn scaled(&self, value: f64) -> Option<f64> {
        (self.scale > 0.0).then(|| value / self.scale - self.centre / self.scale).filter(|v| v.is_finite())
    }
}

/// Bridges gaps by straight lines; a gap at the end holds the last value.
fn fill(values: &mut [f64]) {
    let mut last = 0;
    for at in 1..values.len() {
        if values[at].is_nan() {
            continue;
        }
        let (from, to) = (values[last], values[at]);
        let steps = (at - last) as f64;
        for (passed, gap) in values[last + 1..at].iter_mut().enumerate() {
            *gap = from + (to - from) * (passed + 1) as f64 / steps;
        }
        last = at;
    }
    let end = values[last];
    values[last + 1..].fill(end);
}

/// Median; reorders `values`, which must not be empty. The upper one of an even number.
pub(super) fn median(values: &mut [f64]) -> f64 {
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f64::total_cmp).1
}

/// Mean; 0 for an empty slice.
pub(super) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}
