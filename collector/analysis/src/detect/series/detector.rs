//! The detector of one series: what it keeps, and what one point does to it.

use serde::{Deserialize, Serialize};

use super::config::SeriesConfig;
use super::moments::{standardised, Mean};
use super::shape::Steps;
use super::tail::{OneSided, TwoSided};
use super::verdict::{Reason, Severity, Verdict};
use super::week::{Usual, Week};

/// Moves are compared as a ratio; a thousandth of the usual stands for none.
const STILL: f32 = 1e-3;
/// Points of a seasonal distance before it is judged.
const SEASON_POINTS_MIN: f32 = 10.0;
/// A clock that goes back by more than this has been set: what comes is new. Less is a repeat.
const CLOCK_SET_US: i64 = 86_400_000_000;
/// Taken as the time the first point stands for.
const FIRST_ELAPSED_US: i64 = 300_000_000;
const HOUR_US: i64 = 3_600_000_000;

/// State of one series. No heap.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeriesDetector {
    /// Bits of the first value: everything below is kept relative to it, so that a large offset
    /// costs no precision.
    origin: u64,
    /// Time of the newest point, µs; `i64::MIN` before the first.
    at_us: i64,
    /// Time of the last alarm, µs; `i64::MIN` before the first.
    alarm_us: i64,
    /// Points judged, stops at 2²⁴.
    points: u32,
    /// Points refused: not a number, or not after the one before.
    refused: u32,
    random: u32,
    level: Mean,
    variance: Mean,
    short: Mean,
    middle: Mean,
    previous: f32,
    moves: u32,
    moves_short: Mean,
    moves_long: Mean,
    week: Week,
    of_week: Residual,
    of_day: Residual,
    steps: Steps,
    tails: Tails,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Tails {
    week: TwoSided,
    day: TwoSided,
    level: TwoSided,
    moves: TwoSided,
    shape: OneSided,
    evidence: OneSided,
}

/// The smoothed distance from what is usual at this hour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Residual {
    smooth: Mean,
    variance: Mean,
    points: u32,
}

impl Residual {
    fn push(&mut self, distance: f32, smoothing: f32, memory: f32) -> f32 {
        self.points = (self.points + 1).min(1 << 24);
        let count = self.points as f32;
        let smooth = self.smooth.push(distance, count, smoothing);
        let z = if count > SEASON_POINTS_MIN { standardised(smooth, self.variance.0) } else { 0.0 };
        self.variance.push(distance * distance, count, memory);
        z
    }
}

/// The statistics of one point.
struct Views {
    week: f32,
    day: f32,
    level: f32,
    moves: f32,
    shape: f32,
}

impl SeriesDetector {
    /// A detector that has seen nothing; `seed` decides how its counters round (any number will do).
    pub fn new(seed: u32) -> Self {
        Self {
            origin: 0,
            at_us: i64::MIN,
            alarm_us: i64::MIN,
            points: 0,
            refused: 0,
            random: seed | 1,
            level: Mean::default(),
            variance: Mean::default(),
            short: Mean::default(),
            middle: Mean::default(),
            previous: f32::NAN,
            moves: 0,
            moves_short: Mean::default(),
            moves_long: Mean::default(),
            week: Week::default(),
            of_week: Residual::default(),
            of_day: Residual::default(),
            steps: Steps::default(),
            tails: Tails::default(),
        }
    }

    /// Points judged so far (counted up to 2²⁴).
    pub fn points(&self) -> u32 {
        self.points
    }

    /// Points refused so far: not a number, infinite, or not after the one before.
    pub fn refused(&self) -> u32 {
        self.refused
    }

    /// Judges the next point and learns from it. `at_us` is the point's own time, µs since 1970, UTC.
    pub fn update(&mut self, at_us: i64, value: f64, config: &SeriesConfig) -> Verdict {
        let set_back = self.at_us.saturating_sub(at_us) > CLOCK_SET_US && self.at_us != i64::MIN;
        if !value.is_finite() || (at_us <= self.at_us && !set_back) {
            self.refused = self.refused.saturating_add(1);
            return Verdict::none();
        }
        if self.points == 0 {
            self.origin = value.to_bits();
        }
        let relative = (value - f64::from_bits(self.origin)).clamp(-1e18, 1e18) as f32;
        let elapsed_us = match self.at_us {
            i64::MIN => FIRST_ELAPSED_US,
            before => at_us.saturating_sub(before).clamp(1, HOUR_US),
        };
        if set_back || at_us.saturating_sub(self.at_us) as f64 > f64::from(config.gap_s) * 1e6 {
            self.previous = f32::NAN;
            self.steps.interrupt();
        }
        if set_back {
            self.alarm_us = i64::MIN;
        }
        self.at_us = at_us;
        self.points = (self.points + 1).min(1 << 24);
        let usual = self.week.usual(at_us);
        let (level, variance) = (self.level.0, self.variance.0);
        let views = self.views(relative, usual, config);
        self.week.push(relative, elapsed_us);
        self.judge(at_us, relative, usual, (level, variance), &views, config)
    }

    /// Computes the statistics and takes the point into the means.
    fn views(&mut self, value: f32, usual: Usual, config: &SeriesConfig) -> Views {
        let count = self.points as f32;
        let learned = count > 2.0;
        let short = self.short.push(value, count, config.short_points);
        let level = if learned { standardised(short - self.level.0, self.variance.0) } else { 0.0 };
        let place = if learned { standardised(value - self.level.0, self.variance.0) } else { 0.0 };
        if count > 1.0 {
            let distance = value - self.level.0;
            self.variance.push(distance * distance, count - 1.0, config.level_points);
        }
        self.level.push(value, count, config.level_points);
        self.middle.push(value, count, config.short_points * 8.0);
        let moves = self.moves(value, config);
        let seasonal = |residual: &mut Residual, usual: Option<f32>, smoothing: f32| {
            usual.map_or(0.0, |usual| residual.push(value - usual, smoothing, config.season_spread_points))
        };
        Views {
            week: seasonal(&mut self.of_week, usual.of_week, config.week_points),
            day: seasonal(&mut self.of_day, usual.of_day, config.day_points),
            level,
            moves,
            shape: self.steps.push(place),
        }
    }

    /// Twice the logarithm of the last moves' mean against the usual move.
    fn moves(&mut self, value: f32, config: &SeriesConfig) -> f32 {
        let previous = std::mem::replace(&mut self.previous, value);
        if previous.is_nan() {
            return 0.0;
        }
        let size = (value - previous).abs();
        self.moves = (self.moves + 1).min(1 << 24);
        let count = self.moves as f32;
        let now = self.moves_short.push(size, count, config.moves_short_points);
        let usual = self.moves_long.0;
        self.moves_long.push(size, count, config.moves_long_points);
        match (now > 0.0, usual > 0.0) {
            (false, false) => 0.0,
            (true, false) if count > 1.0 => 16.0,
            (true, false) => 0.0,
            _ => 2.0 * (now / usual + STILL).ln().clamp(-8.0, 8.0),
        }
    }

    fn judge(
        &mut self,
        at_us: i64,
        value: f32,
        usual: Usual,
        (level, variance): (f32, f32),
        views: &Views,
        config: &SeriesConfig,
    ) -> Verdict {
        let weights = &config.weights;
        let tails = &mut self.tails;
        let random = &mut self.random;
        let mut two = |tail: &mut TwoSided, z: f32| {
            let share = tail.share(z);
            tail.push(z, random);
            -share.log10()
        };
        let rarity = [
            weights.week * two(&mut tails.week, views.week),
            weights.day * two(&mut tails.day, views.day),
            weights.level * two(&mut tails.level, views.level),
            weights.moves * two(&mut tails.moves, views.moves),
            weights.shape * {
                let share = tails.shape.share(views.shape);
                tails.shape.push(views.shape, random);
                -share.log10()
            },
        ];
        let evidence: f32 = rarity.iter().sum();
        let tail = f64::from(tails.evidence.share(evidence));
        tails.evidence.push(evidence, random);
        let odd = evidence >= config.alarm_evidence;
        let held = odd
            && at_us.saturating_sub(self.alarm_us) as f64 <= f64::from(config.hold_off_s) * 1e6
            && self.alarm_us != i64::MIN;
        let alarm = odd && !held;
        if alarm {
            self.alarm_us = at_us;
        }
        let _ = (value, usual, level, variance);
        let share = evidence / config.alarm_evidence;
        let score = if alarm {
            1.0 - 0.5 * (1.0 - share).exp()
        } else if held {
            0.25
        } else {
            0.5 * share.min(0.9999)
        };
        Verdict {
            score,
            tail,
            evidence,
            severity: alarm.then(|| Severity::of_tail(tail)),
            held,
            low: 0.0,
            high: 0.0,
            reason: Reason::Usual,
        }
    }
}
