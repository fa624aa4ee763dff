//! Training: one pass over the history gathers, for each fold of whole units, the sums that both
//! regressions need; leaving one fold's sums out gives the model that judges that fold.

use serde::{Deserialize, Serialize};

use super::calibration::{brier, reliability, Calibration, ReliabilityBin};
use super::features::{self, Smoothing};
use super::reservoir::{self, Reservoir};
use super::{dot, History, Model, Settings, State, Unit};
use crate::linear::Normal;

/// Folds of cross-validation.
const FOLDS: usize = 5;
/// Ridge of each part, as a share of each term's own scatter.
const RIDGE_STATISTICAL: f64 = 1e-3;
const RIDGE_ECHO: f64 = 1e-5;
/// How much less squared error a blend must show than its better part to be kept.
const WORTH: f64 = 0.995;

/// How the parts and the blend did on units left out of training, and how sure the risk may be.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Validation {
    /// Root mean square error of steps left, statistical part alone.
    pub statistical_rmse: f64,
    /// The same of the echo state network alone.
    pub echo_rmse: f64,
    /// The same of what the model uses.
    pub blend_rmse: f64,
    /// Share of the echo state network in what the model uses; 0 or 1 when the blend didn't pay.
    pub echo_share: f64,
    /// Mean squared error of the risk.
    pub brier: f64,
    /// The same of always saying the base rate.
    pub base_brier: f64,
    /// What the risk said against what came.
    pub reliability: Vec<ReliabilityBin>,
    /// Rows judged.
    pub rows: usize,
}

/// Why no model could be trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Untrainable {
    /// Fewer units that failed than folds: how many there were.
    TooFewFailures(usize),
    /// No sensors, or the sums could not be solved.
    Degenerate,
}

impl std::fmt::Display for Untrainable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooFewFailures(units) => {
                write!(f, "{units} components failed so far; at least {FOLDS} are needed to learn from")
            }
            Self::Degenerate => write!(f, "the history holds no sensor that says anything"),
        }
    }
}

impl std::error::Error for Untrainable {}

/// One row's terms for one part, and what was left.
struct Fold {
    statistical: Normal,
    echo: Normal,
}

/// Trains a model. The same history and settings give the same model.
///
/// A unit that failed teaches with all its rows; one still running only with the rows that were certainly
/// further than the cap from failure.
pub fn train(history: &History, settings: Settings) -> Result<Model, Untrainable> {
    let failed = history.units.iter().filter(|unit| unit.failed && !unit.rows.is_empty()).count();
    if failed < FOLDS {
        return Err(Untrainable::TooFewFailures(failed));
    }
    let mut model = blank(history, settings)?;
    let folds = gather(history, &model);
    let all = total(&folds, usize::MAX);
    (model.statistical, model.echo) = solve(&all)?;

    let judged = judge(history, &model, &folds)?;
    let cap = f64::from(settings.cap);
    let rmse = |share: f64| {
        let error = |j: &Judged| (share * j.echo + (1.0 - share) * j.statistical).clamp(0.0, cap) - j.left;
        (judged.iter().map(|j| error(j).powi(2)).sum::<f64>() / judged.len() as f64).sqrt()
    };
    let (statistical_rmse, echo_rmse) = (rmse(0.0), rmse(1.0));
    model.share = chosen_share(rmse);
    let share = model.share;
    let said: Vec<(f64, bool)> = judged
        .iter()
        .map(|j| {
            let left = (share * j.echo + (1.0 - share) * j.statistical).clamp(0.0, cap);
            (left, j.left <= f64::from(settings.horizon))
        })
        .collect();
    model.calibration = Calibration::fit(&said, settings.horizon);
    let risks: Vec<(f64, bool)> =
        said.iter().map(|(left, came)| (model.calibration.risk(*left), *came)).collect();
    let base = risks.iter().filter(|(_, came)| *came).count() as f64 / risks.len() as f64;
    model.validation = Validation {
        statistical_rmse,
        echo_rmse,
        blend_rmse: rmse(share),
        echo_share: share,
        brier: brier(&risks),
        base_brier: base * (1.0 - base),
        reliability: reliability(&risks),
        rows: risks.len(),
    };
    Ok(model)
}

/// The share with the least error, or the better part alone if that is nearly as good.
fn chosen_share(rmse: impl Fn(f64) -> f64) -> f64 {
    let better = if rmse(1.0) < rmse(0.0) { 1.0 } else { 0.0 };
    let best = (1..20).map(|part| f64::from(part) / 20.0).min_by(|a, b| rmse(*a).total_cmp(&rmse(*b)));
    match best {
        Some(share) if rmse(share).powi(2) < WORTH * rmse(better).powi(2) => share,
        _ => better,
    }
}

/// A model that knows scales and the network, and nothing learned yet.
fn blank(history: &History, settings: Settings) -> Result<Model, Untrainable> {
    let sensors = history.units.iter().flat_map(|unit| &unit.rows).map(Vec::len).max().unwrap_or(0);
    if sensors == 0 {
        return Err(Untrainable::Degenerate);
    }
    let scale = (0..sensors).map(|sensor| spread(history, sensor)).collect();
    let mut lives: Vec<usize> = history.units.iter().filter(|u| u.failed).map(|u| u.rows.len()).collect();
    lives.sort_unstable();
    Ok(Model {
        settings,
        validation: Validation::default(),
        scale,
        life: if settings.aged { lives[lives.len() / 2].max(1) as f64 } else { f64::MAX },
        reservoir: Reservoir::new(sensors, settings.horizon, settings.seed),
        statistical: Vec::new(),
        echo: Vec::new(),
        share: 0.0,
        calibration: Calibration::fit(&[], settings.horizon),
    })
}

/// Mean and standard deviation of a sensor; a spread of 1 for one that never moves.
fn spread(history: &History, sensor: usize) -> (f32, f32) {
    let (mut count, mut mean, mut square) = (0.0f64, 0.0f64, 0.0f64);
    for row in history.units.iter().flat_map(|unit| &unit.rows) {
        let Some(value) = row.get(sensor).copied().filter(|v| v.is_finite()) else { continue };
        count += 1.0;
        let off = f64::from(value) - mean;
        mean += off / count;
        square += off * (f64::from(value) - mean);
    }
    let deviation = (square / count.max(1.0)).sqrt();
    let moves = deviation > mean.abs() * 1e-6 && deviation.is_finite();
    (mean as f32, if moves { deviation as f32 } else { 1.0 })
}

/// Steps left at row `at`, at most the cap; `None` when that isn't known.
fn left(unit: &Unit, at: usize, cap: u32) -> Option<f64> {
    let after = (unit.rows.len() - 1 - at) as f64;
    let cap = f64::from(cap);
    (unit.failed || after >= cap).then_some(after.min(cap))
}

/// Calls `each` with the model's terms after every row of a unit.
fn walk(model: &Model, unit: &Unit, mut each: impl FnMut(usize, &[f64], &[f64])) {
    let mut state =
        State { smoothing: Smoothing::new(model.scale.len()), echo: vec![0.0; model.reservoir.size()] };
    let (mut statistical, mut echo) = (Vec::new(), Vec::new());
    for (at, row) in unit.rows.iter().enumerate() {
        let scaled = features::scaled(row, &model.scale);
        state.smoothing.add(&scaled, model.settings.horizon);
        model.reservoir.step(&mut state.echo, state.smoothing.fast());
        state.smoothing.terms(model.life, &mut statistical);
        reservoir::terms(&state.echo, &state.smoothing, model.life, &mut echo);
        each(at, &statistical, &echo);
    }
}

fn gather(history: &History, model: &Model) -> Vec<Fold> {
    let mut folds: Vec<Option<Fold>> = (0..FOLDS).map(|_| None).collect();
    for (number, unit) in history.units.iter().enumerate() {
        let fold = &mut folds[number % FOLDS];
        walk(model, unit, |at, statistical, echo| {
            let fold = fold.get_or_insert_with(|| Fold {
                statistical: Normal::new(statistical.len()),
                echo: Normal::new(echo.len()),
            });
            if let Some(left) = left(unit, at, model.settings.cap) {
                fold.statistical.add(statistical, left, 1.0);
                fold.echo.add(echo, left, 1.0);
            }
        });
    }
    folds.into_iter().flatten().collect()
}

/// The sums of all folds but one.
fn total(folds: &[Fold], without: usize) -> Fold {
    let mut kept = folds.iter().enumerate().filter(|(at, _)| *at != without).map(|(_, fold)| fold);
    let first = kept.next().map(|f| Fold { statistical: f.statistical.clone(), echo: f.echo.clone() });
    let mut sum = first.unwrap_or(Fold { statistical: Normal::new(0), echo: Normal::new(0) });
    for fold in kept {
        sum.statistical.merge(&fold.statistical);
        sum.echo.merge(&fold.echo);
    }
    sum
}

fn solve(sums: &Fold) -> Result<(Vec<f64>, Vec<f64>), Untrainable> {
    let ridge = |normal: &Normal, share: f64| {
        let solved = normal.solve(|at| if at == 0 { 1e-9 } else { share * normal.scatter(at) + 1e-6 });
        solved.map(|(terms, _)| terms).ok_or(Untrainable::Degenerate)
    };
    Ok((ridge(&sums.statistical, RIDGE_STATISTICAL)?, ridge(&sums.echo, RIDGE_ECHO)?))
}

/// What both parts said of one row while its unit was left out.
struct Judged {
    statistical: f64,
    echo: f64,
    left: f64,
}

fn judge(history: &History, model: &Model, folds: &[Fold]) -> Result<Vec<Judged>, Untrainable> {
    let cap = f64::from(model.settings.cap);
    let solved: Vec<(Vec<f64>, Vec<f64>)> =
        (0..folds.len()).map(|fold| solve(&total(folds, fold))).collect::<Result<_, _>>()?;
    let mut judged = Vec::new();
    for (number, unit) in history.units.iter().enumerate() {
        let Some((by_statistical, by_echo)) = solved.get(number % FOLDS) else { continue };
        walk(model, unit, |at, statistical, echo| {
            let Some(left) = left(unit, at, model.settings.cap) else { return };
            let statistical = dot(statistical, by_statistical).clamp(0.0, cap);
            judged.push(Judged { statistical, echo: dot(echo, by_echo).clamp(0.0, cap), left });
        });
    }
    Ok(judged)
}
