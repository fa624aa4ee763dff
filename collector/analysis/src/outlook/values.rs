//! Where a few key series of a host are going: the value an hour, six hours and a day ahead, with its
//! interval. A horizon is spoken of only when the history is at least as long.

use serde::{Deserialize, Serialize};

use super::track::finite;
use crate::forecast::{duration_words, forecast, host_seasons};
use crate::words::amount_words;

/// How far ahead, in seconds.
pub const HORIZONS_S: [u32; 3] = [3_600, 21_600, 86_400];
/// Share of values that the interval is meant to hold.
pub const LEVEL: f64 = 0.8;
/// Fewest values to say anything from.
const LEAST: usize = 24;

/// A series to look ahead at.
#[derive(Clone, Debug)]
pub struct ValueSeries {
    /// Agent's name.
    pub host: String,
    /// What it is, `cpu.busy_percent`.
    pub metric: String,
    /// Values, oldest first, one a step; NaN where missing.
    pub values: Vec<f64>,
    /// Length of a step in seconds.
    pub step_s: u32,
    /// What the metric can be at least and at most.
    pub range: (f64, f64),
}

/// A value to come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValueRow {
    /// Agent's name.
    pub host: String,
    /// What it is.
    pub metric: String,
    /// How far ahead, in seconds.
    pub horizon_s: u32,
    /// The value expected.
    pub mean: f64,
    /// Lower end of the 80 % interval.
    pub low: f64,
    /// Upper end of the 80 % interval.
    pub high: f64,
    /// In words.
    pub words: String,
}

/// The step that suits a history of so many seconds: some hundred rows, and a day of four rows at least.
#[must_use]
pub fn step_for(span_s: u32) -> u32 {
    match span_s {
        0..=43_200 => 60,
        43_201..=201_600 => 300,
        _ => 900,
    }
}

/// The values to come of one series, one row a horizon that its history bears.
#[must_use]
pub fn value_outlooks(series: &ValueSeries) -> Vec<ValueRow> {
    let first = series.values.iter().position(|v| v.is_finite()).unwrap_or(series.values.len());
    let values = &series.values[first..];
    let span_s = values.len() as u64 * u64::from(series.step_s);
    let horizons: Vec<u32> = HORIZONS_S.into_iter().filter(|horizon| u64::from(*horizon) <= span_s).collect();
    let Some(furthest) = horizons.last().filter(|_| finite(values) >= LEAST) else { return Vec::new() };
    let steps = (furthest / series.step_s) as usize;
    let Some(ahead) = forecast(values, &host_seasons(f64::from(series.step_s)), steps, LEVEL) else {
        return Vec::new();
    };
    let ahead = ahead.within(series.range.0, series.range.1);
    let row = |horizon_s: u32| {
        let at = (horizon_s / series.step_s) as usize - 1;
        let (mean, low, high) = (ahead.mean[at], ahead.low[at], ahead.high[at]);
        let [mean_words, low_words, high_words] = [mean, low, high].map(amount_words);
        let when = duration_words(f64::from(horizon_s));
        let words = format!("{mean_words} in {when} (80 %: {low_words} – {high_words})");
        ValueRow {
            host: series.host.clone(),
            metric: series.metric.clone(),
            horizon_s,
            mean,
            low,
            high,
            words,
        }
    };
    horizons.into_iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(hours: usize) -> ValueSeries {
        let step_s = step_for(hours as u32 * 3_600);
        let rows = hours * 3_600 / step_s as usize;
        let day = 86_400.0 / f64::from(step_s);
        let values = (0..rows)
            .map(|at| 40.0 + 30.0 * (std::f64::consts::TAU * at as f64 / day).sin() + (at as f64 * 1.7).sin())
            .collect();
        ValueSeries {
            host: "h".into(),
            metric: "cpu.busy_percent".into(),
            values,
            step_s,
            range: (0.0, 100.0),
        }
    }

    #[test]
    fn a_horizon_needs_a_history_as_long() {
        let horizons = |hours| value_outlooks(&series(hours)).iter().map(|r| r.horizon_s).collect::<Vec<_>>();
        assert_eq!(horizons(2), [3_600]);
        assert_eq!(horizons(10), [3_600, 21_600]);
        assert_eq!(horizons(48), HORIZONS_S);
        assert!(value_outlooks(&ValueSeries { values: vec![f64::NAN; 900], ..series(2) }).is_empty());
    }

    #[test]
    fn the_day_comes_again_and_stays_in_range() {
        let rows = value_outlooks(&series(24 * 7));
        let day = rows.iter().find(|row| row.horizon_s == 86_400).unwrap();
        assert!((day.mean - 40.0).abs() < 4.0, "{day:?}");
        let quarter = rows.iter().find(|row| row.horizon_s == 21_600).unwrap();
        assert!((quarter.mean - 70.0).abs() < 4.0 && quarter.high <= 100.0, "{quarter:?}");
        assert!(day.low <= day.mean && day.mean <= day.high);
    }
}
