//! The experts: each forecasts alone, from the history's end, with no settings but those named here.
//!
//! They are chosen to disagree: some follow the last value, some the last days, some repeat the season,
//! some return to the mean. None is good everywhere; the weights in `combine` say which is good now.

use super::series::{mean, median};

/// How many seasons back a profile looks.
const SEASONS_BACK: usize = 8;
/// What a season counts for a profile, against the one after it.
const FADE: f64 = 0.85;

/// One way to forecast.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Expert {
    /// Exponentially smoothed level, held. Weight of the newest value.
    Level(f64),
    /// Mean of the last so many values, held.
    Mean(usize),
    /// The last season again.
    Again(usize),
    /// Median over the last seasons at the same phase.
    Usual(usize),
    /// The usual course of the season, what is left without it returning to its long mean as fast as the deviations did before.
    Return(usize),
    /// The usual course around a damped trend.
    Damped(usize),
    /// The usual course around a level between the last season's mean (1) and the long mean (0).
    Between(usize, f64),
    /// The last long season again, moved by how far the last short season is from the one it repeats.
    Moved(usize, usize),
}

/// The experts that a history of `rows` can ask; the longest season first counts as the week.
pub(super) fn panel(rows: usize, seasons: &[usize]) -> Vec<Expert> {
    let mut panel = vec![
        Expert::Level(1.0),
        Expert::Level(0.35),
        Expert::Level(0.1),
        Expert::Return(1),
        Expert::Damped(1),
    ];
    let usable: Vec<usize> = seasons.iter().copied().filter(|m| *m >= 2 && 2 * *m <= rows).collect();
    if let Some(&day) = usable.first() {
        panel.extend([
            Expert::Mean(day),
            Expert::Again(day),
            Expert::Usual(day),
            Expert::Return(day),
            Expert::Damped(day),
            Expert::Between(day, 0.5),
            Expert::Between(day, 1.0),
            Expert::Mean(7 * day),
        ]);
    }
    for pair in usable.windows(2) {
        panel.extend([
            Expert::Again(pair[1]),
            Expert::Moved(pair[0], pair[1]),
            Expert::Return(pair[1]),
            Expert::Usual(pair[1]),
        ]);
    }
    panel
}

impl Expert {
    /// The expert's forecast into `out`, one value a step. `past` is not empty.
    pub(super) fn forecast(self, past: &[f64], out: &mut [f64]) {
        match self {
            Self::Level(weight) => out.fill(smoothed(past, weight)),
            Self::Mean(rows) => out.fill(mean(tail(past, rows))),
            Self::Again(season) => {
                let last = tail(past, season);
                for (step, value) in out.iter_mut().enumerate() {
                    *value = last[step % last.len()];
                }
            }
            Self::Usual(season) => usual(past, season, out),
            Self::Return(season) => {
                let profile = Profile::new(past, season);
                let (centre, keep) = persistence(&profile.rest);
                let off = smoothed(&profile.rest, 0.7) - centre;
                profile.onto(out, |step| centre + off * keep.powi(step as i32 + 1));
            }
            Self::Between(season, share) => {
                let profile = Profile::new(past, season);
                let level = share * mean(tail(&profile.rest, season)) + (1.0 - share) * mean(&profile.rest);
                profile.onto(out, |_| level);
            }
            Self::Damped(season) => {
                let profile = Profile::new(past, season);
                let (level, slope) = holt(&profile.rest);
                let mut moved = 0.0;
                profile.onto(out, |step| {
                    moved += slope * DAMP.powi(step as i32 + 1);
                    level + moved
                });
            }
            Self::Moved(short, long) => moved(past, short, long, out),
        }
    }
}

fn tail(past: &[f64], rows: usize) -> &[f64] {
    &past[past.len().saturating_sub(rows.max(1))..]
}

/// Simple exponential smoothing; looks no further back than matters.
fn smoothed(past: &[f64], weight: f64) -> f64 {
    let reach = (8.0 / weight).ceil() as usize;
    let near = tail(past, reach);
    near.iter().fold(near[0], |level, value| level + weight * (value - level))
}

fn usual(past: &[f64], season: usize, out: &mut [f64]) {
    let seasons = (past.len() / season).clamp(1, SEASONS_BACK);
    let mut same = Vec::with_capacity(seasons);
    for step in 0..out.len() {
        if step >= season {
            out[step] = out[step - season];
            continue;
        }
        same.clear();
        same.extend((1..=seasons).map(|back| past[past.len() - back * season + step]));
        out[step] = median(&mut same);
    }
}

fn moved(past: &[f64], short: usize, long: usize, out: &mut [f64]) {
    let then = &past[past.len() - long - short..past.len() - long];
    let shift = mean(tail(past, short)) - mean(then);
    for (step, value) in out.iter_mut().enumerate() {
        *value = past[past.len() - long + step % long] + shift;
    }
}

/// How a trend fades with every step (Gardner and McKenzie 1985).
const DAMP: f64 = 0.93;

/// Holt's linear smoothing: level and slope at the end.
fn holt(rest: &[f64]) -> (f64, f64) {
    let near = tail(rest, 96);
    let (mut level, mut slope) = (near[0], 0.0);
    for value in &near[1..] {
        let before = level;
        level = 0.4 * value + 0.6 * (level + slope * DAMP);
        slope = 0.1 * (level - before) + 0.9 * slope * DAMP;
    }
    (level, slope)
}

/// Centre and lag-one autocorrelation (0 to 0.999) of what a profile leaves.
fn persistence(rest: &[f64]) -> (f64, f64) {
    let centre = mean(rest);
    let (mut with, mut own) = (0.0, 1e-12);
    for pair in rest.windows(2) {
        with += (pair[0] - centre) * (pair[1] - centre);
        own += (pair[0] - centre) * (pair[0] - centre);
    }
    (centre, (with / own).clamp(0.0, 0.999))
}

/// The mean course of a season, and the recent past without it.
struct Profile {
    /// Deviation at each phase, the phase of the first step to come first. Empty without a season.
    course: Vec<f64>,
    rest: Vec<f64>,
}

impl Profile {
    fn new(past: &[f64], season: usize) -> Self {
        let seasons = past.len() / season;
        if season < 2 || seasons < 2 {
            return Self { course: Vec::new(), rest: tail(past, 400).to_vec() };
        }
        let seasons = seasons.min(SEASONS_BACK);
        let near = tail(past, seasons * season);
        let mut course = vec![0.0; season];
        let (mut weight, mut total) = (1.0, 0.0);
        for block in near.rchunks_exact(season) {
            let centre = mean(block);
            for (sum, value) in course.iter_mut().zip(block) {
                *sum += weight * (value - centre);
            }
            total += weight;
            weight *= FADE;
        }
        course.iter_mut().for_each(|sum| *sum /= total);
        let rest = near
            .chunks_exact(season)
            .flat_map(|block| block.iter().zip(&course).map(|(v, c)| v - c))
            .collect();
        Self { course, rest }
    }

    fn onto(&self, out: &mut [f64], mut base: impl FnMut(usize) -> f64) {
        for (step, value) in out.iter_mut().enumerate() {
            let season = if self.course.is_empty() { 0.0 } else { self.course[step % self.course.len()] };
            *value = base(step) + season;
        }
    }
}
