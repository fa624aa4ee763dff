//! Model versions: the last good one stays until a new one does better on data neither has learned from.

use serde::{Deserialize, Serialize};

use super::calibration::brier;
use super::{History, Model};

/// How a model does on histories it has not learned from.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Mean squared error of the risk.
    pub brier: f64,
    /// Root mean square error of steps left.
    pub rmse: f64,
    /// Rows judged.
    pub rows: usize,
}

impl Score {
    /// Judges a model on every row of `held_out` whose answer is known; `None` when there is none.
    #[must_use]
    pub fn of(model: &Model, held_out: &History) -> Option<Self> {
        let settings = model.settings;
        let (cap, horizon) = (f64::from(settings.cap), f64::from(settings.horizon));
        let (mut risks, mut squares) = (Vec::new(), 0.0);
        for unit in &held_out.units {
            let mut state = model.start();
            for (at, row) in unit.rows.iter().enumerate() {
                let said = model.predict(&mut state, row);
                let after = (unit.rows.len() - 1 - at) as f64;
                if unit.failed || after >= cap {
                    risks.push((said.risk, unit.failed && after <= horizon));
                    squares += (said.left - after.min(cap)).powi(2);
                }
            }
        }
        let rows = risks.len();
        (rows > 0).then(|| Self { brier: brier(&risks), rmse: (squares / rows as f64).sqrt(), rows })
    }

    /// Whether this is better: less error of the risk, or as much and less error of the steps left.
    #[must_use]
    pub fn beats(&self, other: &Self) -> bool {
        (self.brier, self.rmse) < (other.brier, other.rmse)
    }
}

/// One model that was good enough to be used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Version {
    /// Counts from 1, never used twice.
    pub number: u64,
    /// When it was trained, as the caller tells time.
    pub trained_at: i64,
    /// How it did when it was promoted.
    pub score: Score,
    /// The model.
    pub model: Model,
}

/// What became of a model that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Verdict {
    /// In use from now on, with its version and score.
    Promoted(u64, Score),
    /// The one in use did at least as well on the same data: score of the new, of the old.
    Refused(Score, Score),
    /// Nothing to judge by: the one in use stays.
    Unjudged,
}

/// The versions kept, the newest in use.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Registry {
    kept: Vec<Version>,
    last: u64,
}

impl Registry {
    /// The most versions kept.
    pub const KEPT: usize = 5;

    /// The registry that held these versions, whose highest number ever was `last`.
    #[must_use]
    pub fn of(mut kept: Vec<Version>, last: u64) -> Self {
        kept.sort_by_key(|version| version.number);
        let surplus = kept.len().saturating_sub(Self::KEPT);
        kept.drain(..surplus);
        let last = kept.last().map_or(last, |version| version.number.max(last));
        Self { kept, last }
    }

    /// The version in use.
    #[must_use]
    pub fn active(&self) -> Option<&Version> {
        self.kept.last()
    }

    /// All versions kept, oldest first.
    #[must_use]
    pub fn versions(&self) -> &[Version] {
        &self.kept
    }

    /// Takes a new model into use if it beats the one in use on `held_out`, which neither may have
    /// learned from; the first model is taken if it can be judged at all.
    pub fn offer(&mut self, model: Model, trained_at: i64, held_out: &History) -> Verdict {
        let Some(score) = Score::of(&model, held_out) else { return Verdict::Unjudged };
        if let Some(old) = self.active().and_then(|version| Score::of(&version.model, held_out)) {
            if !score.beats(&old) {
                return Verdict::Refused(score, old);
            }
        }
        self.last += 1;
        self.kept.push(Version { number: self.last, trained_at, score, model });
        let surplus = self.kept.len().saturating_sub(Self::KEPT);
        self.kept.drain(..surplus);
        Verdict::Promoted(self.last, score)
    }

    /// Goes back to the version before the one in use. `false` when there is none.
    pub fn roll_back(&mut self) -> bool {
        let can = self.kept.len() > 1;
        if can {
            self.kept.pop();
        }
        can
    }
}
