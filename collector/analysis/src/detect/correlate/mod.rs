//! What moved together in an incident: pairs and groups of series, ranked, with words for people.
//!
//! A series takes part when it moved: its median since the incident began lies outside what the time
//! before it knew. Two that moved are compared by rank correlation (Spearman 1904) at every lag up to a
//! bound, over the incident and a quarter as long before it, so that the onset itself is seen; the lag with the
//! strongest correlation says who moved first. What was tied in the same way before the incident ranks
//! lower: that cpu.user follows cpu.total is no news.
//!
//! The work is bounded: at most [`MOST_SERIES`] series, [`MOST_ROWS`] rows and [`MOST_LAG`] rows of lag.

mod pattern;
mod rank;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use pattern::{kind, Kind, Pattern};

/// Series compared at most: those that moved most.
pub const MOST_SERIES: usize = 32;
/// Rows looked at most, the newest.
pub const MOST_ROWS: usize = 1200;
/// Largest lag, in rows.
pub const MOST_LAG: usize = 60;
/// Fewest rows of an incident, and before it, from which anything is said.
pub const FEWEST_ROWS: usize = 8;

/// A series of the window: one value a row, NaN where there is none.
#[derive(Debug, Clone, Copy)]
pub struct Series<'a> {
    /// Name of the metric, such as `memory.used`.
    pub name: &'a str,
    /// Its values, all series at the same times.
    pub values: &'a [f32],
}

/// What counts as moved and as tied.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Smallest move: distance of the medians in usual deviations (1.4826 × median absolute deviation).
    pub moved: f32,
    /// Smallest rank correlation, without sign.
    pub tied: f32,
    /// Largest lag, in rows; at most [`MOST_LAG`].
    pub lag_rows: usize,
    /// Links given back at most.
    pub links: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { moved: 3.0, tied: 0.7, lag_rows: 30, links: 20 }
    }
}

/// A series that left its usual range.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Move {
    /// Name of the metric.
    pub name: String,
    /// Median before, in the metric's unit.
    pub before: f32,
    /// Median since.
    pub since: f32,
    /// Distance in usual deviations, signed, at most 1,000.
    pub deviations: f32,
}

/// Two series that moved together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Link {
    /// Who moved first (at lag 0 the one that moved further).
    pub first: Move,
    /// Who followed.
    pub second: Move,
    /// Rank correlation at the best lag, -1..=1.
    pub correlation: f32,
    /// The same at the same lag before the incident.
    pub correlation_before: f32,
    /// How long after the first, in seconds.
    pub lag_s: f32,
    /// By what links are ranked: the correlation, halved for a tie that is not new.
    pub strength: f32,
    /// The known pattern, if it is one.
    pub pattern: Option<Pattern>,
}

/// Series tied to each other, directly or through others.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Group {
    /// Names, the one that moved first in front.
    pub names: Vec<String>,
    /// Mean strength of the links within.
    pub strength: f32,
    /// The known patterns within.
    pub patterns: Vec<Pattern>,
}

/// What moved in an incident, and together with what.
#[derive(Debug, Clone, PartialEq, Serialize, Default)]
pub struct Together {
    /// Series that moved, the furthest first.
    pub moves: Vec<Move>,
    /// Pairs, the strongest first.
    pub links: Vec<Link>,
    /// Groups of two or more, the largest strength times size first.
    pub groups: Vec<Group>,
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = |one: &Move| if one.deviations < 0.0 { "fell" } else { "rose" };
        let (first, second) = (&self.first, &self.second);
        if way(first) == way(second) {
            write!(f, "{} {} with {}", first.name, way(first), second.name)?;
        } else {
            write!(f, "{} {} while {} {}", first.name, way(first), second.name, way(second))?;
        }
        write!(f, ", {:.2}, ", self.correlation)?;
        match self.lag_s {
            lag if lag <= 0.0 => f.write_str("at once"),
            lag => write!(f, "{lag} s later"),
        }
    }
}

/// Says what moved together. All series have the same length; the incident begins at row
/// `incident_from`, rows lie `seconds` apart. Nothing is said of an incident, or a time before it,
/// shorter than [`FEWEST_ROWS`].
///
/// # Panics
///
/// When the series differ in length.
pub fn correlate(series: &[Series<'_>], incident_from: usize, seconds: f32, settings: &Settings) -> Together {
    let Some(rows) = series.first().map(|one| one.values.len()) else { return Together::default() };
    assert!(series.iter().all(|one| one.values.len() == rows), "series of one window have one length");
    let cut = rows.saturating_sub(MOST_ROWS);
    let (rows, begin) = (rows - cut, incident_from.saturating_sub(cut));
    if begin < FEWEST_ROWS || rows.saturating_sub(begin) < FEWEST_ROWS {
        return Together::default();
    }
    // A quarter of the incident's length before it: with more, the correlation would be diluted by a time
    // in which nothing happened.
    let from = begin - ((rows - begin) / 4).max(FEWEST_ROWS).min(begin);
    let mut moved: Vec<Moved> = series
        .iter()
        .filter_map(|one| {
            let values = &one.values[cut..];
            let step =
                movement(one.name, values, begin).filter(|step| step.deviations.abs() >= settings.moved)?;
            Some(Moved { step, before: rank::ranks(&values[..begin])?, since: rank::ranks(&values[from..])? })
        })
        .collect();
    moved.sort_by(|a, b| b.step.deviations.abs().total_cmp(&a.step.deviations.abs()));
    moved.truncate(MOST_SERIES);
    let mut pairs = pairs(&moved, seconds, settings);
    let groups = groups(&moved, &pairs);
    pairs.truncate(settings.links);
    Together {
        links: pairs.into_iter().map(|(_, _, link)| link).collect(),
        groups,
        moves: moved.into_iter().map(|one| one.step).collect(),
    }
}

/// How far a series moved; `None` when there is too little of it.
fn movement(name: &str, values: &[f32], begin: usize) -> Option<Move> {
    let (before, spread) = rank::middle(&values[..begin])?;
    let (since, spread_since) = rank::middle(&values[begin..])?;
    // A series that never moved before, such as a count of errors, is judged by its spread since, and one
    // that stands still on two levels has moved as far as can be told.
    let unit = if spread > 0.0 { spread } else { spread_since / 3.0 };
    let apart = since - before;
    let deviations = if unit > 0.0 { (apart / unit).clamp(-1000.0, 1000.0) } else { 1000.0 * apart.signum() };
    (apart != 0.0).then(|| Move { name: name.to_owned(), before, since, deviations })
}

/// A series that moved, with the ranks of its values.
struct Moved {
    step: Move,
    before: Vec<f64>,
    since: Vec<f64>,
}

type Pair = (usize, usize, Link);

/// Every tied pair, the strongest first, with the places of its series.
fn pairs(moved: &[Moved], seconds: f32, settings: &Settings) -> Vec<Pair> {
    let mut found = Vec::new();
    for (i, one) in moved.iter().enumerate() {
        for (j, other) in moved.iter().enumerate().skip(i + 1) {
            let Some(tie) = rank::best_lag(&one.since, &other.since, settings.lag_rows.min(MOST_LAG)) else {
                continue;
            };
            let correlation = tie.correlation as f32;
            if correlation.abs() < settings.tied {
                continue;
            }
            let (first, second) = if tie.lag < 0 { ((j, other), (i, one)) } else { ((i, one), (j, other)) };
            let before = rank::lagged(&one.before, &other.before, tie.lag).unwrap_or(0.0) as f32;
            let news = (correlation - before).abs().min(1.0);
            let link = Link {
                pattern: Pattern::of(kind(&one.step.name), kind(&other.step.name)),
                first: first.1.step.clone(),
                second: second.1.step.clone(),
                correlation,
                correlation_before: before,
                lag_s: tie.lag.unsigned_abs() as f32 * seconds,
                strength: correlation.abs() * (0.5 + 0.5 * news),
            };
            found.push((first.0, second.0, link));
        }
    }
    found.sort_by(|a, b| b.2.strength.total_cmp(&a.2.strength));
    found
}

/// Series connected by links.
fn groups(moved: &[Moved], pairs: &[Pair]) -> Vec<Group> {
    let mut home: Vec<usize> = (0..moved.len()).collect();
    for (a, b, _) in pairs {
        let (keep, lose) = (home[*a].min(home[*b]), home[*a].max(home[*b]));
        for place in home.iter_mut().filter(|place| **place == lose) {
            *place = keep;
        }
    }
    let mut groups: Vec<Group> = (0..moved.len())
        .filter_map(|root| {
            let mut members: Vec<usize> = (0..moved.len()).filter(|i| home[*i] == root).collect();
            if members.len() < 2 {
                return None;
            }
            let within: Vec<&Pair> = pairs.iter().filter(|pair| home[pair.0] == root).collect();
            // Who leads in more seconds than it follows stands in front.
            let lead = |i: usize| -> f32 {
                within
                    .iter()
                    .map(|(a, b, link)| link.lag_s * f32::from(i8::from(*a == i) - i8::from(*b == i)))
                    .sum()
            };
            members.sort_by(|a, b| lead(*b).total_cmp(&lead(*a)));
            let mut patterns: Vec<Pattern> = within.iter().filter_map(|(_, _, link)| link.pattern).collect();
            patterns.sort_unstable();
            patterns.dedup();
            let strength = within.iter().map(|(_, _, link)| link.strength).sum::<f32>() / within.len() as f32;
            Some(Group {
                names: members.iter().map(|i| moved[*i].step.name.clone()).collect(),
                strength,
                patterns,
            })
        })
        .collect();
    groups
        .sort_by(|a, b| (b.strength * b.names.len() as f32).total_cmp(&(a.strength * a.names.len() as f32)));
    groups
}
