//! What the detector says of one point: numbers for machines, a reason in words for people.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::words::amount_words;

/// How strong an alarm is, by its evidence against what an alarm needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Enough for an alarm.
    Low,
    /// A fifth more.
    Medium,
    /// Half as much again.
    High,
    /// Twice as much.
    Critical,
}

impl Severity {
    /// The severity of an alarm with this many times the evidence needed.
    pub fn of_share(share: f32) -> Self {
        match share {
            share if share >= 2.0 => Self::Critical,
            share if share >= 1.5 => Self::High,
            share if share >= 1.2 => Self::Medium,
            _ => Self::Low,
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        })
    }
}

/// What is odd about a point; values in the unit of the series, `sigmas` in standard deviations.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Nothing stands out.
    Usual,
    /// This point lies far from its neighbours before.
    Spike {
        /// The value.
        value: f64,
        /// The level before.
        level: f64,
        /// Distance.
        sigmas: f32,
    },
    /// The last points lie together away from the level.
    LevelShift {
        /// Mean of the last points.
        now: f64,
        /// The level before.
        level: f64,
        /// Distance.
        sigmas: f32,
    },
    /// The mean has been moving away for long.
    Trend {
        /// Mean of the last points.
        now: f64,
        /// The level before.
        level: f64,
        /// Distance.
        sigmas: f32,
    },
    /// A series that used to move stands still.
    FlatLine {
        /// Where it stands.
        value: f64,
        /// The usual size of a move.
        usual_move: f64,
    },
    /// Moves are larger or smaller than usual.
    Variability {
        /// Mean size of the last moves.
        now: f64,
        /// Usual size of a move.
        usual_move: f64,
    },
    /// The value is not what this hour of the day or week usually has.
    UnusualTime {
        /// Mean of the last points.
        now: f64,
        /// What is usual at this hour.
        usual: f64,
        /// Distance.
        sigmas: f32,
        /// Against the hour of the week, not only of the day.
        weekly: bool,
    },
    /// A step between levels that is seldom seen.
    Shape {
        /// The value.
        value: f64,
        /// One such step in this many before.
        one_in: f32,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = |now: f64, than: f64| if now < than { "below" } else { "above" };
        let say = amount_words;
        match *self {
            Self::Usual => f.write_str("as usual"),
            Self::Spike { value, level, sigmas } => write!(
                f,
                "spike to {}, {:.1} σ {} the level of {}",
                say(value),
                sigmas.abs(),
                side(value, level),
                say(level)
            ),
            Self::LevelShift { now, level, sigmas } => {
                write!(f, "level shift from {} to {} ({:.1} σ)", say(level), say(now), sigmas.abs())
            }
            Self::Trend { now, level, sigmas } => write!(
                f,
                "steady {} from {} to {} ({:.1} σ)",
                if now < level { "fall" } else { "rise" },
                say(level),
                say(now),
                sigmas.abs()
            ),
            Self::FlatLine { value, usual_move } => {
                write!(f, "flat line at {}, usually moves by {} a point", say(value), say(usual_move))
            }
            Self::Variability { now, usual_move } => {
                write!(f, "moves by {} a point instead of the usual {}", say(now), say(usual_move))
            }
            Self::UnusualTime { now, usual, sigmas, weekly } => write!(
                f,
                "{} where this hour of the {} usually has {} ({:.1} σ {})",
                say(now),
                if weekly { "week" } else { "day" },
                say(usual),
                sigmas.abs(),
                side(now, usual)
            ),
            Self::Shape { value, one_in } => {
                write!(f, "a step to {} as seen once in {one_in:.0} points", say(value))
            }
        }
    }
}

/// The judgement of one point, made from this point and those before it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// 0..=1; from 0.5 on this row is an alarm. Rows within the hold-off of an alarm stay below 0.5.
    pub score: f32,
    /// Share of points of this series that are as odd as this one: 0.0001 means one in 10,000. Never less
    /// than one in all the points remembered (at most 60,000).
    pub tail: f64,
    /// -log10 of the tail carried on as an exponential beyond what is remembered; 0 while learning. Orders
    /// series among each other; it is not a claim.
    pub surprise: f32,
    /// Weighted sum of the views' rarities, in powers of ten.
    pub evidence: f32,
    /// Set on alarms only.
    pub severity: Option<Severity>,
    /// Odd enough for an alarm, but within the hold-off of an earlier one.
    pub held: bool,
    /// Lower end of the expected band, in the unit of the series.
    pub low: f32,
    /// Upper end of the expected band, in the unit of the series.
    pub high: f32,
    /// What is odd.
    pub reason: Reason,
}

impl Verdict {
    /// For a point that cannot be judged: not a number, or not after the one before.
    pub(super) fn none() -> Self {
        Self {
            score: 0.0,
            tail: 1.0,
            surprise: 0.0,
            evidence: 0.0,
            severity: None,
            held: false,
            low: 0.0,
            high: 0.0,
            reason: Reason::Usual,
        }
    }
}
