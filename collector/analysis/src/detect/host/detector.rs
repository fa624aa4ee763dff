//! One host: rows of features in, verdicts out.

use serde::{Deserialize, Serialize};

use super::config::{HostConfig, Pace};
use super::echo::Echo;
use super::forest::Forest;
use super::numbers::Numbers;
use super::profile::Profile;
use super::scale::Scale;
use super::spread::Spread;
use super::tail::{Tail, Yardstick};
use super::verdict::{severity, Attribution, Direction, HostVerdict, NAMED};

/// Mean surprise (forecast errors against their usual size) from which a row is learned with less weight.
const SURPRISING: f64 = 2.5;
/// The same for residuals against the daily profile.
const UNUSUAL: f64 = 3.0;
/// No feature counts more than this many times its usual error.
const CAP: f64 = 20.0;
/// Added to usual errors: what is smaller than a tenth of a deviation is nothing.
const LEAST: f64 = 0.1;
/// As if only so many rows had been seen, once a new state is adopted.
const ADOPTED_ROWS: u32 = 50;
/// The parts of the score.
const PARTS: usize = 4;

/// Judges one host, row by row. Serialises with serde; a restored detector goes on bit for bit.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub struct HostDetector(Stored);

/// The detector as it is stored; after reading, the reservoir's fixed weights are made again.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Stored {
    names: Vec<String>,
    config: HostConfig,
    scale: Scale,
    echo: Echo,
    error_spread: Spread,
    forest: Forest,
    profile: Profile,
    residual_spread: Spread,
    views: [View; 2],
    forecast: Numbers<f64>,
    plain: Numbers<f64>,
    scaled: Numbers<f64>,
    usual: Numbers<f64>,
    bursts: Numbers<f32>,
    yards: [Yardstick; PARTS],
    parts: [Option<f64>; PARTS],
    tail: Tail,
    rows: u32,
    last_us: Option<i64>,
    anomalous_s: f64,
    adopting: bool,
    last: HostVerdict,
}

impl From<Stored> for HostDetector {
    fn from(mut stored: Stored) -> Self {
        stored.echo.weave();
        Self(stored)
    }
}

impl From<HostDetector> for Stored {
    fn from(detector: HostDetector) -> Self {
        detector.0
    }
}

/// How each feature differs from what one view expects, and how odd that is for it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct View {
    /// Distance from the expected, in the view's unit.
    apart: Numbers<f64>,
    /// Usual size of the distance.
    size: Numbers<f64>,
    /// Smoothed squared oddness.
    odd: Numbers<f64>,
    /// What was seen and expected when the feature was oddest of late.
    seen: Numbers<f32>,
    expected: Numbers<f32>,
    rows: u32,
}

impl View {
    fn new(features: usize) -> Self {
        Self {
            apart: Numbers::of(0.0, features),
            size: Numbers::of(1.0, features),
            odd: Numbers::of(0.0, features),
            seen: Numbers::of(0.0, features),
            expected: Numbers::of(0.0, features),
            rows: 0,
        }
    }

    fn bytes(&self) -> usize {
        3 * self.apart.bytes() + 2 * self.seen.bytes()
    }

    /// Mean distance against the usual.
    fn surprise(&self) -> f64 {
        let sum: f64 = self.apart.iter().zip(self.size.iter()).map(|(a, s)| ratio(*a, *s).min(CAP)).sum();
        sum / self.apart.len().max(1) as f64
    }

    /// Keeps what is odd about each feature, then learns the sizes.
    fn learn(&mut self, plain: &[f64], expected: &[f64], smooth: f64, rate: f64, weight: f64) {
        let rate = rate.max(1.0 / (f64::from(self.rows) + 2.0)) * weight;
        self.rows = self.rows.saturating_add(1);
        for i in 0..self.apart.len() {
            let odd = ratio(self.apart[i], self.size[i]).min(CAP).powi(2);
            if odd >= self.odd[i] {
                self.seen[i] = plain[i] as f32;
                self.expected[i] = expected[i] as f32;
            }
            self.odd[i] += smooth * (odd - self.odd[i]);
            self.size[i] += rate * (self.apart[i].abs() - self.size[i]);
        }
    }
}

fn ratio(apart: f64, size: f64) -> f64 {
    apart.abs() / (size + LEAST)
}

impl HostDetector {
    /// A detector that has seen nothing. `names` are the features, in the order of every row.
    pub fn new(names: Vec<String>, config: &HostConfig) -> Self {
        let features = names.len();
        let c = config;
        let zeros = || Numbers::of(0.0, features);
        Self(Stored {
            scale: Scale::new(features, c.floor),
            echo: Echo::new(features, c.neurons, c.seed),
            error_spread: Spread::new(features, c.error_floor),
            forest: Forest::new(features, c.trees, c.tree_rows, c.kept_rows, c.seed ^ 0x5eed),
            profile: Profile::new(features),
            residual_spread: Spread::new(features, c.residual_floor),
            views: [View::new(features), View::new(features)],
            forecast: zeros(),
            plain: zeros(),
            scaled: zeros(),
            usual: zeros(),
            bursts: Numbers::of(0.0, features),
            yards: std::array::from_fn(|_| Yardstick::new()),
            parts: [None; PARTS],
            tail: Tail::new(),
            rows: 0,
            last_us: None,
            anomalous_s: 0.0,
            adopting: false,
            last: HostVerdict::none(),
            config: config.clone(),
            names,
        })
    }

    /// The features' names.
    pub fn names(&self) -> &[String] {
        &self.0.names
    }

    /// Memory held, in bytes, names left out; it never grows.
    pub fn bytes(&self) -> usize {
        let s = &self.0;
        let lists = [&s.forecast, &s.plain, &s.scaled, &s.usual];
        std::mem::size_of::<Self>()
            + s.scale.bytes()
            + s.echo.bytes()
            + s.error_spread.bytes()
            + s.residual_spread.bytes()
            + s.forest.bytes()
            + s.profile.bytes()
            + s.views.iter().map(View::bytes).sum::<usize>()
            + lists.iter().map(|list| list.bytes()).sum::<usize>()
            + s.bursts.bytes()
            + s.tail.bytes()
            + s.yards.iter().map(Yardstick::bytes).sum::<usize>()
    }

    /// Judges a row and learns from it. `at_us` is the time in microseconds since 1970, UTC; NaN is a
    /// missing value. A row not after the one before, or without any value, changes nothing and gets the
    /// verdict before.
    ///
    /// # Panics
    ///
    /// When the row doesn't have one value a feature.
    pub fn update(&mut self, at_us: i64, row: &[f32]) -> HostVerdict {
        let s = &mut self.0;
        assert_eq!(row.len(), s.names.len(), "one value a feature");
        if s.last_us.is_some_and(|last| at_us <= last) || row.iter().all(|value| !value.is_finite()) {
            return s.last;
        }
        // The first row has no row before; a second is as good a guess as any, and only the first few
        // rates depend on it.
        let seconds = s.last_us.map_or(1.0, |last| (at_us - last) as f64 * 1e-6);
        s.last_us = Some(at_us);
        let pace = Pace { seconds, rows: f64::from(s.rows) };
        let weight = if s.last.score >= 0.5 && !s.adopting { s.config.learn_anomalous } else { 1.0 };
        s.take_in(row);
        let (error, oddness) = s.judge_forecast(pace, weight);
        let residual = s.judge_profile(at_us, pace, weight);
        s.learn_scale(row, pace, weight);
        let single = Some(s.single(residual.is_some()));
        let verdict = s.conclude([Some(error), oddness, residual, single], pace, weight);
        s.rows = s.rows.saturating_add(1);
        s.watch_for_a_new_state(verdict.score, seconds);
        s.last = verdict;
        verdict
    }
}

impl Stored {
    /// Scales the row and compares it with the forecast; what is missing is taken to be as forecast.
    fn take_in(&mut self, row: &[f32]) {
        self.echo.forecast(&mut self.forecast);
        for (i, value) in row.iter().enumerate() {
            let value = f64::from(*value);
            if value.is_finite() {
                self.plain[i] = value;
                self.scaled[i] = self.scale.scaled(i, value);
            } else {
                self.scaled[i] = self.forecast[i].clamp(-6.0, 6.0);
                self.plain[i] = self.scale.plain(i, self.scaled[i]);
            }
            self.views[0].apart[i] = if value.is_finite() { self.scaled[i] - self.forecast[i] } else { 0.0 };
        }
    }

    /// Error of the forecast, and the forest's word on the restlessness of the errors.
    fn judge_forecast(&mut self, pace: Pace, weight: f64) -> (f64, Option<f64>) {
        let c = &self.config;
        let surprise = self.views[0].surprise();
        let calm = if self.rows > 300 && surprise > SURPRISING && !self.adopting {
            (SURPRISING / surprise).powi(2)
        } else {
            1.0
        } * weight;
        let error =
            self.error_spread.update(&self.views[0].apart, pace.rate(c.spread_days), weight, !self.adopting);
        let forget = (pace.seconds / (c.forecast_days * 86_400.0)).clamp(1e-5, 0.01);
        self.echo.learn(&self.views[0].apart, calm, forget);
        self.echo.advance(&self.scaled);
        for (burst, apart) in self.bursts.iter_mut().zip(self.views[0].apart.iter()) {
            *burst += c.burst * (apart.abs() as f32 - *burst);
        }
        // Eight times, to the range of the other scores.
        let oddness = self.forest.oddness(&self.bursts).map(|oddness| oddness * 8.0);
        self.forest.learn(&self.bursts, pace.seconds, weight);
        // The forecast in the features' own units, for the verdict.
        for (i, value) in self.forecast.iter_mut().enumerate() {
            *value = self.scale.plain(i, *value);
        }
        let rate = pace.rate(c.scale_days);
        self.views[0].learn(&self.plain, &self.forecast, f64::from(c.smooth), rate, calm);
        (error.ln_1p(), oddness)
    }

    /// Distance from the daily profile; `None` until this time of day was seen before.
    fn judge_profile(&mut self, at_us: i64, pace: Pace, weight: f64) -> Option<f64> {
        let c = &self.config;
        let known = self.profile.usual(at_us, &mut self.usual);
        let mut calm = weight;
        let mut residual = None;
        if known {
            for i in 0..self.plain.len() {
                let (apart, swing) = (self.plain[i] - self.usual[i], self.scale.swing(i));
                self.views[1].apart[i] = if swing > 0.0 { (apart / swing).clamp(-CAP, CAP) } else { 0.0 };
            }
            let surprise = self.views[1].surprise();
            if surprise > UNUSUAL && !self.adopting {
                calm *= (UNUSUAL / surprise).powi(2);
            }
            let rate = pace.rate(c.spread_days);
            let far = self.residual_spread.update(&self.views[1].apart, rate, weight, !self.adopting);
            self.views[1].learn(&self.plain, &self.usual, f64::from(c.smooth), rate, calm);
            residual = Some(far.ln_1p());
        }
        self.profile.learn(at_us, &self.plain, calm, pace, c.profile_days);
        residual
    }

    /// The oddest features by themselves, whatever the others do: the mean of the largest three.
    fn single(&self, profile: bool) -> f64 {
        let mut largest = [0.0f64; 3];
        for i in 0..self.plain.len() {
            let odd = |view: &View| ratio(view.apart[i], view.size[i]).min(CAP);
            let mut odd =
                if profile { odd(&self.views[0]).max(odd(&self.views[1])) } else { odd(&self.views[0]) };
            for place in &mut largest {
                if odd > *place {
                    std::mem::swap(place, &mut odd);
                }
            }
        }
        (largest.iter().sum::<f64>() / 3.0).ln_1p()
    }

    fn learn_scale(&mut self, row: &[f32], pace: Pace, weight: f64) {
        let rate = pace.rate(self.config.scale_days);
        for (i, value) in row.iter().enumerate() {
            if value.is_finite() {
                self.scale.learn(i, f64::from(*value), rate, weight);
            }
        }
    }

    /// One score of the parts.
    fn conclude(&mut self, views: [Option<f64>; PARTS], pace: Pace, weight: f64) -> HostVerdict {
        let c = &self.config;
        let (mut sum, mut all) = (0.0, 0.0);
        let mut verdict = HostVerdict::none();
        for (i, view) in views.iter().enumerate() {
            let Some(view) = view else { continue };
            let measured = self.yards[i].measure(*view, pace, c.tail_days, weight);
            verdict.parts[i] = Some(measured as f32);
            let excess = (measured - f64::from(c.quiet)).max(0.0);
            let part = self.parts[i].get_or_insert(0.0);
            *part += f64::from(c.smooth) * (excess - *part);
            sum += c.weights[i] * *part;
            all += c.weights[i];
        }
        if self.rows < c.warm_rows || all <= 0.0 {
            return verdict;
        }
        let oddness = sum / all;
        verdict.score = (oddness / (oddness + f64::from(c.alarm))) as f32;
        verdict.ranked = self.tail.rows();
        verdict.tail = self.tail.measure(oddness);
        verdict.severity = (verdict.score >= 0.5).then(|| severity(verdict.tail));
        verdict.attribution = self.attribute();
        verdict
    }

    /// The features with the largest shares, each view's shares weighted with what the view adds to the
    /// score; the forest looks at forecast errors, so its part goes to them.
    fn attribute(&self) -> [Option<Attribution>; NAMED] {
        let part = |i: usize| self.config.weights[i] * self.parts[i].unwrap_or(0.0);
        let parts = [part(0) + part(1) + part(3) / 2.0, part(2) + part(3) / 2.0];
        let odd = |view: usize| self.views[view].odd.iter().sum::<f64>().max(1e-9);
        let all = (parts[0] + parts[1]).max(1e-9);
        let weights = [parts[0] / all / odd(0), parts[1] / all / odd(1)];
        let mut named: [Option<Attribution>; NAMED] = [None; NAMED];
        for feature in 0..self.plain.len() {
            let shares = [0, 1].map(|view| weights[view] * self.views[view].odd[feature]);
            let share = (shares[0] + shares[1]) as f32;
            let Some(place) = named.iter().position(|other| other.is_none_or(|other| other.share < share))
            else {
                continue;
            };
            let view = &self.views[usize::from(shares[1] > shares[0])];
            let (seen, expected) = (view.seen[feature], view.expected[feature]);
            let direction = if seen >= expected { Direction::Up } else { Direction::Down };
            named[place..].rotate_right(1);
            named[place] = Some(Attribution { feature: feature as u16, share, direction, expected, seen });
        }
        named
    }

    /// Learns a state that has been anomalous for long as the new usual.
    fn watch_for_a_new_state(&mut self, score: f32, seconds: f64) {
        if score < 0.5 {
            self.anomalous_s = (self.anomalous_s - seconds).max(0.0);
            self.adopting = false;
            return;
        }
        self.anomalous_s += seconds;
        if self.anomalous_s > self.config.adopt_after_s && !self.adopting {
            self.adopting = true;
            self.anomalous_s = 0.0;
            self.rows = self.rows.min(self.config.warm_rows.max(ADOPTED_ROWS));
            self.scale.loosen(f64::from(ADOPTED_ROWS));
            self.profile.loosen(1.0);
            self.error_spread.loosen(ADOPTED_ROWS);
            self.residual_spread.loosen(ADOPTED_ROWS);
        }
    }
}
