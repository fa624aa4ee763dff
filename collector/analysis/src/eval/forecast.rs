//! Forecasts and times to exhaustion for the evaluation data: texts in, the scorer's text out.
//!
//! A forecast for an origin is given the rows before the origin and nothing else. The true `eta` that
//! stands in `exhaustion.json` for the scorer isn't even parsed.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Deserialize;

use crate::forecast::{forecast, outlook, LIKELY};

/// What is wrong with a file of the evaluation data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// The list of tasks or cases isn't the JSON it should be.
    List(String),
    /// A series that the list names wasn't given.
    NoSeries(String),
    /// A line of a series isn't a number: series, line.
    Value(String, usize),
    /// An origin lies outside its series: series, origin.
    Origin(String, usize),
}

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::List(why) => write!(f, "the list of tasks can't be read: {why}"),
            Self::NoSeries(name) => write!(f, "series {name} is named by a task but its file is missing"),
            Self::Value(name, line) => write!(f, "line {line} of series {name} should hold one number"),
            Self::Origin(name, origin) => write!(f, "origin {origin} lies outside series {name}"),
        }
    }
}

impl std::error::Error for Unreadable {}

/// One entry of `tasks.json`.
#[derive(Clone, Debug, Deserialize)]
pub struct Task {
    /// Name of the series.
    pub series: String,
    /// Rows in a day.
    pub season: usize,
    /// Rows to forecast.
    pub horizon: usize,
    /// The most rows of history that may be used.
    pub history: usize,
    /// Rows before which the history ends.
    pub origins: Vec<usize>,
}

/// One entry of `exhaustion.json`, without its answer.
#[derive(Clone, Debug, Deserialize)]
pub struct Case {
    /// Name of the series.
    pub series: String,
    /// Row before which the history ends.
    pub origin: usize,
    /// The value that counts as exhausted.
    pub limit: f64,
    /// How many rows ahead to look.
    pub horizon: usize,
}

/// Names of the series that a list of tasks or cases needs.
pub fn series_named(list: &str) -> Result<Vec<String>, Unreadable> {
    #[derive(Deserialize)]
    struct Named {
        series: String,
    }
    let mut names: Vec<String> = parse::<Named>(list)?.into_iter().map(|named| named.series).collect();
    names.sort();
    names.dedup();
    Ok(names)
}

/// Forecasts for `tasks.json`, as `series,origin,step,value,lower,upper` with 80 % intervals. `texts`
/// holds the content of each series' file by its name.
pub fn forecasts(list: &str, texts: &BTreeMap<String, String>) -> Result<String, Unreadable> {
    let all = parse_series(texts)?;
    let mut out = String::from("series,origin,step,value,lower,upper\n");
    for task in parse::<Task>(list)? {
        for &origin in &task.origins {
            let history = before(&all, &task.series, origin, task.history)?;
            // A season of the list is a day; weeks repeat too.
            let seasons = [task.season, 7 * task.season];
            let Some(ahead) = forecast(history, &seasons, task.horizon, 0.8) else { continue };
            for step in 0..task.horizon {
                let (value, low, high) = (ahead.mean[step], ahead.low[step], ahead.high[step]);
                let _ = writeln!(out, "{},{origin},{},{value},{low},{high}", task.series, step + 1);
            }
        }
    }
    Ok(out)
}

/// Times to exhaustion for `exhaustion.json`, as `series,origin,eta,lower,upper,probability`, times in
/// rows.
pub fn exhaustions(list: &str, texts: &BTreeMap<String, String>) -> Result<String, Unreadable> {
    let all = parse_series(texts)?;
    let mut out = String::from("series,origin,eta,lower,upper,probability\n");
    for case in parse::<Case>(list)? {
        let history = before(&all, &case.series, case.origin, usize::MAX)?;
        let _ = write!(out, "{},{},", case.series, case.origin);
        let _ = match outlook(history, 1.0, case.limit, case.horizon as f64) {
            Some(e) if e.probability >= LIKELY => {
                writeln!(out, "{:.1},{:.1},{:.1},{:.3}", e.eta_s, e.low_s, e.high_s, e.probability)
            }
            other => writeln!(out, "never,,,{:.3}", other.map_or(0.0, |e| e.probability)),
        };
    }
    Ok(out)
}

fn parse<T: for<'a> Deserialize<'a>>(list: &str) -> Result<Vec<T>, Unreadable> {
    serde_json::from_str(list).map_err(|error| Unreadable::List(error.to_string()))
}

fn parse_series(texts: &BTreeMap<String, String>) -> Result<BTreeMap<&str, Vec<f64>>, Unreadable> {
    let mut all = BTreeMap::new();
    for (name, text) in texts {
        let mut values = Vec::new();
        for (line, value) in text.lines().enumerate().skip(1) {
            values.push(value.trim().parse().map_err(|_| Unreadable::Value(name.clone(), line + 1))?);
        }
        all.insert(name.as_str(), values);
    }
    Ok(all)
}

fn before<'a>(
    all: &'a BTreeMap<&str, Vec<f64>>,
    name: &str,
    origin: usize,
    most: usize,
) -> Result<&'a [f64], Unreadable> {
    let values = all.get(name).ok_or_else(|| Unreadable::NoSeries(name.to_owned()))?;
    values.get(origin.saturating_sub(most)..origin).ok_or_else(|| Unreadable::Origin(name.to_owned(), origin))
}
