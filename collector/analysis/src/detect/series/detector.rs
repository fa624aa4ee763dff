//! The detector of one series: what it keeps, and what one point does to it.

use serde::{Deserialize, Serialize};

use super::config::SeriesConfig;
use super::moments::{standardised, Mean};
use super::past::Past;
use super::rarity::Rarity;
use super::reason::{reason, VIEWS};
use super::shape::{Step, Steps};
use super::still::Stillness;
use super::tail::{OneSided, TwoSided};
use super::verdict::{Reason, Severity, Verdict};
use super::week::{Usual, Week};

/// Moves are compared as a ratio; a thousandth of the usual stands for none.
const STILL: f32 = 1e-3;
/// Natural logarithm of the largest ratio of moves that is told apart.
const MOVES_LN_MAX: f32 = 8.0;
/// Counts stop here: f32 holds them exactly, and every memory is shorter.
const COUNT_MAX: u32 = 1 << 24;
/// The middle mean remembers so many times longer than the short one.
const MIDDLE: f32 = 8.0;
/// Score of a row that would be an alarm, were it not within the hold-off of one.
const HELD_SCORE: f32 = 0.25;
/// From this share of the alarm's evidence on, words are found.
const WORDS_FROM: f32 = 0.6;
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
    previous: Option<f32>,
    moves: u32,
    moves_short: Mean,
    moves_long: Mean,
    week: Week,
    of_week: Residual,
    of_day: Residual,
    steps: Steps,
    still: Stillness,
    tails: Tails,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Tails {
    week: TwoSided,
    day: TwoSided,
    level: TwoSided,
    moves: TwoSided,
    shape: OneSided,
    evidence: Rarity,
}

/// The smoothed distance from what is usual at this hour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Residual {
    smooth: Mean,
    variance: Mean,
    points: u32,
}

impl Residual {
    /// The smoothed distance in standard deviations.
    fn view(&mut self, distance: f32, smoothing: f32) -> f32 {
        self.points = (self.points + 1).min(COUNT_MAX);
        let count = self.points as f32;
        let smooth = self.smooth.push(distance, count, smoothing);
        if count > SEASON_POINTS_MIN {
            standardised(smooth, self.variance.0)
        } else {
            0.0
        }
    }

    fn learn(&mut self, distance: f32, memory: f32) {
        self.variance.push(distance * distance, self.points as f32, memory);
    }
}

/// What a judged point would teach. Where the point stands is known to the detector from the judgement on; what
/// is usual changes only when the lesson is learned.
#[derive(Debug, Clone, Copy)]
pub struct Lesson {
    value: f32,
    elapsed_us: i64,
    /// Size of the move to the point.
    moved: Option<f32>,
    /// What its hour of the week and of the day usually had.
    usual: Usual,
    step: Option<Step>,
    z: Views,
    evidence: f32,
}

/// The statistics of one point, in standard deviations; `moves` and `shape` in logarithms.
#[derive(Debug, Clone, Copy)]
pub(super) struct Views {
    pub(super) week: f32,
    pub(super) day: f32,
    pub(super) level: f32,
    pub(super) moves: f32,
    pub(super) shape: f32,
}

/// One point and what was known before it; values relative to `origin`.
pub(super) struct Point {
    pub(super) origin: f64,
    pub(super) value: f32,
    pub(super) usual: Usual,
    pub(super) level: f32,
    pub(super) variance: f32,
    pub(super) short: f32,
    pub(super) middle: f32,
    pub(super) moves_now: f32,
    pub(super) moves_usual: f32,
    pub(super) z: Views,
    /// Rarity of standing still, powers of ten.
    pub(super) still: f32,
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
            previous: None,
            moves: 0,
            moves_short: Mean::default(),
            moves_long: Mean::default(),
            week: Week::default(),
            of_week: Residual::default(),
            of_day: Residual::default(),
            steps: Steps::default(),
            still: Stillness::default(),
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

    /// What its claims are made from.
    pub fn past(&self) -> Past {
        self.tails.evidence.past()
    }

    /// Judges the next point and learns from it. `at_us` is the point's own time, µs since 1970, UTC.
    pub fn update(&mut self, at_us: i64, value: f64, config: &SeriesConfig) -> Verdict {
        let (verdict, lesson) = self.judge(at_us, value, config);
        if let Some(lesson) = lesson {
            self.learn(&lesson, config);
        }
        verdict
    }

    /// Judges the next point; what it teaches is learned by [`learn`](Self::learn), before the next point or
    /// never. There is no lesson in a point that is refused.
    pub fn judge(&mut self, at_us: i64, value: f64, config: &SeriesConfig) -> (Verdict, Option<Lesson>) {
        let set_back = self.at_us.saturating_sub(at_us) > CLOCK_SET_US && self.at_us != i64::MIN;
        if !value.is_finite() || (at_us <= self.at_us && !set_back) {
            self.refused = self.refused.saturating_add(1);
            return (Verdict::none(), None);
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
            self.previous = None;
            self.steps.interrupt();
        }
        if set_back {
            self.alarm_us = i64::MIN;
        }
        self.at_us = at_us;
        self.points = (self.points + 1).min(COUNT_MAX);
        let (point, lesson) = self.view(at_us, relative, elapsed_us, config);
        let verdict = self.conclude(at_us, &point, config);
        (verdict, Some(Lesson { evidence: verdict.evidence, ..lesson }))
    }

    /// Takes a judged point into what is usual.
    pub fn learn(&mut self, lesson: &Lesson, config: &SeriesConfig) {
        let (count, from_level) = (self.points as f32, lesson.value - self.level.0);
        if count > 1.0 {
            self.variance.push(from_level * from_level, count - 1.0, config.level_points);
        }
        self.level.push(lesson.value, count, config.level_points);
        let memory = config.season_spread_points;
        if let Some(usual) = lesson.usual.of_week {
            self.of_week.learn(lesson.value - usual, memory);
        }
        if let Some(usual) = lesson.usual.of_day {
            self.of_day.learn(lesson.value - usual, memory);
        }
        if let Some(size) = lesson.moved {
            self.moves_long.push(size, self.moves as f32, config.moves_long_points);
        }
        self.week.push(lesson.value, lesson.elapsed_us);
        if let Some(step) = lesson.step {
            self.steps.count(step);
        }
        self.tails.push(&lesson.z, lesson.evidence, &mut self.random);
    }

    /// Computes the statistics, and takes the point into the means that say where the series stands now.
    fn view(&mut self, at_us: i64, value: f32, elapsed_us: i64, config: &SeriesConfig) -> (Point, Lesson) {
        let usual = self.week.usual(at_us);
        let (count, level, variance) = (self.points as f32, self.level.0, self.variance.0);
        let moves_usual = self.moves_long.0;
        let short = self.short.push(value, count, config.short_points);
        let middle = self.middle.push(value, count, config.short_points * MIDDLE);
        let out = |deviation: f32| if count > 2.0 { standardised(deviation, variance) } else { 0.0 };
        let seasonal = |residual: &mut Residual, usual: Option<f32>, smoothing: f32| {
            usual.map_or(0.0, |usual| residual.view(value - usual, smoothing))
        };
        let (moved, moves, still) = self.moves(value, config);
        let (shape, step) = self.steps.step(out(value - level));
        let z = Views {
            week: seasonal(&mut self.of_week, usual.of_week, config.week_points),
            day: seasonal(&mut self.of_day, usual.of_day, config.day_points),
            level: out(short - level),
            moves,
            shape,
        };
        let origin = f64::from_bits(self.origin);
        let moves_now = self.moves_short.0;
        let lesson = Lesson { value, elapsed_us, moved, usual, step, z, evidence: 0.0 };
        let point =
            Point { origin, value, usual, level, variance, short, middle, moves_now, moves_usual, z, still };
        (point, lesson)
    }

    /// The size of the move, twice the logarithm of the last moves' mean against the usual one, and the rarity
    /// of standing still.
    fn moves(&mut self, value: f32, config: &SeriesConfig) -> (Option<f32>, f32, f32) {
        let Some(previous) = self.previous.replace(value) else { return (None, 0.0, 0.0) };
        let size = (value - previous).abs();
        self.moves = (self.moves + 1).min(COUNT_MAX);
        let count = self.moves as f32;
        let now = self.moves_short.push(size, count, config.moves_short_points);
        let usual = self.moves_long.0;
        let ratio = match (now > 0.0, usual > 0.0) {
            (false, false) => 0.0,
            (true, false) if count > 1.0 => 2.0 * MOVES_LN_MAX,
            (true, false) => 0.0,
            _ => 2.0 * (now / usual + STILL).ln().clamp(-MOVES_LN_MAX, MOVES_LN_MAX),
        };
        (Some(size), ratio, self.still.push(size > 0.0, count, config.level_points))
    }

    /// Ranks the statistics in their past, adds them up, and decides.
    fn conclude(&mut self, at_us: i64, point: &Point, config: &SeriesConfig) -> Verdict {
        let rarities = self.tails.rank(&point.z, config);
        let evidence = rarities.iter().sum::<f32>().max(point.still);
        let tail = self.tails.evidence.tail(evidence);
        let odd = evidence >= config.alarm_evidence && self.points > config.learning_points;
        let quiet_s = at_us.saturating_sub(self.alarm_us) as f64 / 1e6;
        let held = odd && self.alarm_us != i64::MIN && quiet_s <= f64::from(config.hold_off_s);
        let alarm = odd && !held;
        if alarm {
            self.alarm_us = at_us;
        }
        let share = evidence / config.alarm_evidence;
        let (low, high) = self.band(point, config);
        Verdict {
            score: match (alarm, held) {
                (true, _) => 1.0 - 0.5 * (1.0 - share).exp(),
                (_, true) => HELD_SCORE,
                _ => 0.5 * share.min(0.9999),
            },
            tail: tail.claimed,
            surprise: if self.points > config.learning_points { tail.extrapolated } else { 0.0 },
            evidence,
            severity: alarm.then(|| Severity::of_share(share)),
            held,
            low,
            high,
            reason: if share >= WORDS_FROM { reason(&rarities, point) } else { Reason::Usual },
        }
    }

    /// What was expected of this point: by the hour of the week, else of the day, else by the level.
    fn band(&self, point: &Point, config: &SeriesConfig) -> (f32, f32) {
        let (middle, variance) = match (point.usual.of_week, point.usual.of_day) {
            (Some(usual), _) if self.of_week.points as f32 > SEASON_POINTS_MIN => {
                (usual, self.of_week.variance.0)
            }
            (_, Some(usual)) if self.of_day.points as f32 > SEASON_POINTS_MIN => {
                (usual, self.of_day.variance.0)
            }
            _ => (point.level, point.variance),
        };
        let middle = point.origin + f64::from(middle);
        let half = f64::from(config.band_sigmas * variance.sqrt());
        ((middle - half) as f32, (middle + half) as f32)
    }
}

impl Tails {
    /// Weighted rarities in the order of [`VIEWS`], in powers of ten.
    fn rank(&self, z: &Views, config: &SeriesConfig) -> [f32; VIEWS.len()] {
        let two = |tail: &TwoSided, z: f32| -tail.share(z).log10();
        let weights = &config.weights;
        [
            weights.week * two(&self.week, z.week),
            weights.day * two(&self.day, z.day),
            weights.level * two(&self.level, z.level),
            weights.moves * two(&self.moves, z.moves),
            -weights.shape * self.shape.share(z.shape).log10(),
        ]
    }

    /// Takes a point into the past.
    fn push(&mut self, z: &Views, evidence: f32, random: &mut u32) {
        self.week.push(z.week, random);
        self.day.push(z.day, random);
        self.level.push(z.level, random);
        self.moves.push(z.moves, random);
        self.shape.push(z.shape, random);
        self.evidence.push(evidence, random);
    }
}
