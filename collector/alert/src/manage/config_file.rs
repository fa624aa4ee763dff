//! Reads `alerts.yaml`. Unknown keys are refused; every error names its line and column. The channels in
//! the same file are read by whoever sends: here only their names count, so that a route to a channel that
//! is not there is refused at once.

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZoneDatabase;
use serde::de::IgnoredAny;
use serde::Deserialize;

use crate::yaml::{self, NotRead, Placed};

use super::config::{Config, Inhibit, Outside, Route, Step, LOG_CHANNEL, MINUTE, SECOND};
use super::hours::{day, minute, Hours, Window};
use super::matchers::Matchers;

/// Why the file is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {problem}")]
pub struct ConfigError {
    /// Line, from 1.
    pub line: u64,
    /// Column, from 1.
    pub column: u64,
    /// What is wrong and what to do.
    pub problem: String,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    channels: BTreeMap<String, IgnoredAny>,
    route: Option<RouteText>,
    #[serde(default)]
    hours: BTreeMap<String, Vec<WindowText>>,
    #[serde(default)]
    escalations: BTreeMap<String, Vec<StepText>>,
    #[serde(default)]
    inhibit: Vec<InhibitText>,
    host_silent: Option<Matchers>,
    storm: Option<StormText>,
    flapping: Option<FlappingText>,
    cooldown: Option<Placed<String>>,
    stale: Option<Placed<String>>,
    incident_window: Option<Placed<String>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RouteText {
    name: Option<Placed<String>>,
    #[serde(default, rename = "match")]
    matchers: Matchers,
    #[serde(default, rename = "continue")]
    carry_on: bool,
    group_by: Option<Vec<String>>,
    group_wait: Option<Placed<String>>,
    group_interval: Option<Placed<String>>,
    repeat_interval: Option<Placed<String>>,
    channels: Option<Vec<Placed<String>>>,
    hours: Option<Placed<String>>,
    outside: Option<Placed<String>>,
    escalation: Option<Placed<String>>,
    after_mending: Option<Placed<String>>,
    mended: Option<Vec<Placed<String>>>,
    #[serde(default)]
    routes: Vec<RouteText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WindowText {
    zone: Placed<String>,
    days: Vec<Placed<String>>,
    from: Placed<String>,
    to: Placed<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StepText {
    after: Placed<String>,
    channels: Vec<Placed<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InhibitText {
    source: Matchers,
    target: Matchers,
    #[serde(default)]
    equal: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StormText {
    similar: Option<usize>,
    total: Option<usize>,
    window: Option<Placed<String>>,
    digest_wait: Option<Placed<String>>,
    #[serde(default)]
    suppress: SuppressText,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct SuppressText {
    low: Option<Placed<String>>,
    medium: Option<Placed<String>>,
    high: Option<Placed<String>>,
    critical: Option<Placed<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FlappingText {
    changes: Option<usize>,
    window: Option<Placed<String>>,
}

impl From<NotRead> for ConfigError {
    fn from(error: NotRead) -> Self {
        let (line, column) = (u64::from(error.at.line), u64::from(error.at.column));
        Self { line: line.max(1), column: column.max(1), problem: error.what }
    }
}

impl Config {
    /// Reads the text of `alerts.yaml`; an empty one gives the defaults.
    ///
    /// # Errors
    /// When it is no YAML, has an unknown key, or names a channel, hours, an escalation or a time that is
    /// none; with line and column.
    pub fn from_yaml(text: &str) -> Result<Self, ConfigError> {
        let file: File = yaml::read(text)?;
        file.settle()
    }
}

impl File {
    fn settle(self) -> Result<Config, ConfigError> {
        let mut config = Config::default();
        let mut channels: BTreeSet<String> = self.channels.into_keys().collect();
        channels.insert(LOG_CHANNEL.to_owned());
        for (name, windows) in self.hours {
            let windows = windows.iter().map(window).collect::<Result<_, _>>()?;
            config.hours.insert(name, Hours(windows));
        }
        for (name, steps) in self.escalations {
            config.escalations.insert(name, steps_of(steps, &channels)?);
        }
        config.inhibit = self
            .inhibit
            .into_iter()
            .map(|rule| Inhibit { source: rule.source, target: rule.target, equal: rule.equal })
            .collect();
        if let Some(matchers) = self.host_silent {
            config.host_silent = matchers;
        }
        if let Some(storm) = &self.storm {
            settle_storm(storm, &mut config)?;
        }
        if let Some(flapping) = &self.flapping {
            config.flapping.changes = flapping.changes.unwrap_or(config.flapping.changes).clamp(3, 100);
            read_span(flapping.window.as_ref(), &mut config.flapping.window_us)?;
        }
        read_span(self.cooldown.as_ref(), &mut config.cooldown_us)?;
        read_span(self.stale.as_ref(), &mut config.stale_us)?;
        read_span(self.incident_window.as_ref(), &mut config.incident_us)?;
        let parent = Route::root();
        config.routes.clear();
        let mut names = BTreeSet::new();
        add_route(self.route.unwrap_or_default(), "root", &parent, &mut config, &channels, &mut names)?;
        Ok(config)
    }
}

fn settle_storm(text: &StormText, config: &mut Config) -> Result<(), ConfigError> {
    let storm = &mut config.storm;
    storm.similar = text.similar.unwrap_or(storm.similar).clamp(1, 100);
    storm.total = text.total.unwrap_or(storm.total).clamp(storm.similar, 10_000);
    read_span(text.window.as_ref(), &mut storm.window_us)?;
    read_span(text.digest_wait.as_ref(), &mut storm.digest_wait_us)?;
    let suppress = &text.suppress;
    let all = [&suppress.low, &suppress.medium, &suppress.high, &suppress.critical];
    for (text, value) in all.into_iter().zip(&mut storm.suppress_us) {
        read_span(text.as_ref(), value)?;
        if let Some(text) = text {
            if !(5 * MINUTE..=60 * MINUTE).contains(value) {
                return Err(at(text, "a storm suppresses for 5m to 60m; write a time between them"));
            }
        }
    }
    Ok(())
}

fn add_route(
    text: RouteText,
    place: &str,
    parent: &Route,
    config: &mut Config,
    channels: &BTreeSet<String>,
    names: &mut BTreeSet<String>,
) -> Result<usize, ConfigError> {
    let name = text.name.as_ref().map_or_else(|| place.to_owned(), |name| name.value.clone());
    if !names.insert(name.clone()) || name.contains(['/', '|']) && text.name.is_some() {
        let problem = "a route's name is used once and holds no / or |; choose another";
        return Err(text.name.as_ref().map_or_else(|| nowhere(problem), |name| at(name, problem)));
    }
    let mut route = Route { name, matchers: text.matchers, carry_on: text.carry_on, ..parent.clone() };
    route.children = Vec::new();
    if let Some(labels) = text.group_by {
        route.group_by = labels;
    }
    if text.group_wait.is_some() {
        let mut wait = SECOND;
        read_span(text.group_wait.as_ref(), &mut wait)?;
        route.group_wait_us = Some(wait);
    }
    read_span(text.group_interval.as_ref(), &mut route.group_interval_us)?;
    read_span(text.repeat_interval.as_ref(), &mut route.repeat_us)?;
    if let Some(names) = text.channels {
        route.channels = channels_of(names, channels)?;
    }
    if text.after_mending.is_some() {
        let mut wait = MINUTE;
        read_span(text.after_mending.as_ref(), &mut wait)?;
        route.after_mending_us = Some(wait);
    }
    if let Some(names) = text.mended {
        route.mended = channels_of(names, channels)?;
    }
    if let Some(name) = text.hours {
        if !config.hours.contains_key(&name.value) {
            return Err(at(
                &name,
                &format!("there are no hours named {}; add them below hours:", name.value),
            ));
        }
        route.hours = Some(name.value);
        route.outside = Outside::Skip;
    }
    if let Some(word) = text.outside {
        route.outside = match word.value.as_str() {
            "skip" => Outside::Skip,
            "hold" => Outside::Hold,
            _ => return Err(at(&word, "outside is skip or hold")),
        };
    }
    if let Some(name) = text.escalation {
        if !config.escalations.contains_key(&name.value) {
            let problem = format!("there is no escalation named {}; add it below escalations:", name.value);
            return Err(at(&name, &problem));
        }
        route.escalation = Some(name.value);
    }
    let index = config.routes.len();
    config.routes.push(route.clone());
    for (number, child) in text.routes.into_iter().enumerate() {
        let below = format!("{place}.{number}");
        let child = add_route(child, &below, &route, config, channels, names)?;
        config.routes[index].children.push(child);
    }
    Ok(index)
}

fn channels_of(names: Vec<Placed<String>>, known: &BTreeSet<String>) -> Result<Vec<String>, ConfigError> {
    for name in &names {
        if !known.contains(&name.value) {
            let problem = format!("there is no channel named {}; add it below channels:", name.value);
            return Err(at(name, &problem));
        }
    }
    Ok(names.into_iter().map(|name| name.value).collect())
}

fn steps_of(steps: Vec<StepText>, known: &BTreeSet<String>) -> Result<Vec<Step>, ConfigError> {
    let mut settled: Vec<Step> = Vec::new();
    for step in steps {
        let after_us = span(&step.after)?;
        if settled.last().is_some_and(|last| last.after_us >= after_us) {
            return Err(at(&step.after, "each step comes later than the one before; put them in order"));
        }
        settled.push(Step { after_us, channels: channels_of(step.channels, known)? });
    }
    Ok(settled)
}

fn window(text: &WindowText) -> Result<Window, ConfigError> {
    let zone = TimeZoneDatabase::bundled()
        .get(&text.zone.value)
        .map_err(|_| at(&text.zone, "this time zone is not known; write one such as Europe/Berlin or UTC"))?;
    let mut days = Vec::new();
    for word in &text.days {
        let problem = "a day is mon, tue, wed, thu, fri, sat or sun";
        days.push(day(&word.value).ok_or_else(|| at(word, problem))?);
    }
    let of = |text: &Placed<String>| {
        minute(&text.value).ok_or_else(|| at(text, "a time of day is HH:MM in quotes, such as \"08:30\""))
    };
    Ok(Window { zone, days, from_minute: of(&text.from)?, to_minute: of(&text.to)? })
}

fn read_span(text: Option<&Placed<String>>, into: &mut i64) -> Result<(), ConfigError> {
    if let Some(text) = text {
        *into = span(text)?;
    }
    Ok(())
}

/// `30s`, `5m`, `4h`, `2d`, `250ms`.
fn span(text: &Placed<String>) -> Result<i64, ConfigError> {
    parse_span(&text.value)
        .ok_or_else(|| at(text, "a length of time is a whole number with ms, s, m, h or d, such as 5m"))
}

/// Reads a length of time such as `90s` or `5m`, in µs; at most ten years.
pub fn parse_span(text: &str) -> Option<i64> {
    let split = text.find(|c: char| !c.is_ascii_digit())?;
    let number: i64 = text[..split].parse().ok()?;
    let unit = match &text[split..] {
        "ms" => 1_000,
        "s" => SECOND,
        "m" => MINUTE,
        "h" => 60 * MINUTE,
        "d" => 24 * 60 * MINUTE,
        _ => return None,
    };
    number.checked_mul(unit).filter(|us| *us <= 3_650 * 24 * 60 * MINUTE)
}

fn at<T>(place: &Placed<T>, problem: &str) -> ConfigError {
    NotRead { at: place.at, what: problem.to_owned() }.into()
}

fn nowhere(problem: &str) -> ConfigError {
    ConfigError { line: 1, column: 1, problem: problem.to_owned() }
}
