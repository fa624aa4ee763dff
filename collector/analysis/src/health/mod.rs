//! The health score: one number from 0 to 100 for a host, and why it isn't higher.
//!
//! Five parts of fixed weight (cpu 0.25, memory 0.25, disk 0.20, efficiency 0.15, stability 0.15) start at
//! 100 and lose points by the rules of [`rules`]. Every point lost is a [`Deduction`] with its reason
//! and a recommendation, so that the score can be argued with. A fact that isn't known is named in
//! [`Health::missing`] and never counts as fine: a part of which less than half is known has no score,
//! and a host of which less than half of the weight is known has none either.
//!
//! Rejected: a score learned from incidents. It would follow them better and nobody could say why it fell.

mod facts;
mod fleet;
mod rules;

pub use facts::{HostFacts, Outlook};
pub use fleet::{fleet, Fleet, FleetCause};

use serde::{Deserialize, Serialize};

use rules::{Rule, RULES};

/// What the score is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Processors: busy, queued for, stolen.
    Cpu,
    /// Memory: what is left, swapping, kills.
    Memory,
    /// Disks: full, slow, filling.
    Disk,
    /// How much of what the host does is lost in waiting, retries and overhead.
    Efficiency,
    /// Anomalies, restarts, gaps, predicted failures.
    Stability,
}

impl Part {
    /// All parts, heaviest first.
    pub const ALL: [Self; 5] = [Self::Cpu, Self::Memory, Self::Disk, Self::Efficiency, Self::Stability];

    /// Share of the score.
    #[must_use]
    pub fn weight(self) -> f64 {
        match self {
            Self::Cpu | Self::Memory => 0.25,
            Self::Disk => 0.20,
            Self::Efficiency | Self::Stability => 0.15,
        }
    }

    /// Its name for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::Efficiency => "efficiency",
            Self::Stability => "stability",
        }
    }
}

/// The score in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// Too little is known.
    Unknown,
    /// Below 50.
    Poor,
    /// From 50.
    Fair,
    /// From 70.
    Good,
    /// From 85.
    Excellent,
}

impl Grade {
    /// The grade of a score, `None` being one that isn't known.
    #[must_use]
    pub fn of(score: Option<f64>) -> Self {
        match score {
            Some(score) if score >= 85.0 => Self::Excellent,
            Some(score) if score >= 70.0 => Self::Good,
            Some(score) if score >= 50.0 => Self::Fair,
            Some(_) => Self::Poor,
            None => Self::Unknown,
        }
    }

    /// Its name for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "Unknown",
            Self::Poor => "Poor",
            Self::Fair => "Fair",
            Self::Good => "Good",
            Self::Excellent => "Excellent",
        }
    }
}

/// The score of one part.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PartScore {
    /// Which part.
    pub part: Part,
    /// 0 to 100; `None` when too little of it is known.
    pub score: Option<f64>,
    /// How much of what the part looks at is known, 0 to 1.
    pub known: f64,
}

/// Points lost, why, and what to do about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Deduction {
    /// The part that lost them.
    pub part: Part,
    /// The fact that cost them, as in [`HostFacts`].
    pub fact: String,
    /// Points lost of the host's 100.
    pub points: f64,
    /// What was seen: `the fullest file system is 96 % full`.
    pub reason: String,
    /// What to do.
    pub recommendation: String,
}

/// The health of one host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// 0 to 100; `None` when too little is known.
    pub score: Option<f64>,
    /// The score in a word.
    pub grade: Grade,
    /// Every part.
    pub parts: Vec<PartScore>,
    /// What cost points, most first.
    pub deductions: Vec<Deduction>,
    /// Facts that would have been looked at but aren't known.
    pub missing: Vec<String>,
}

/// The least share of a part, and of all parts, that has to be known for a score.
const ENOUGH: f64 = 0.5;

/// Scores a host.
#[must_use]
pub fn score(facts: &HostFacts) -> Health {
    let known_weight: f64 =
        Part::ALL.iter().filter(|part| known(facts, **part) >= ENOUGH).map(|part| part.weight()).sum();
    let mut health = Health {
        score: None,
        grade: Grade::Unknown,
        parts: Vec::with_capacity(Part::ALL.len()),
        deductions: Vec::new(),
        missing: Vec::new(),
    };
    let mut sum = 0.0;
    for part in Part::ALL {
        let known = known(facts, part);
        let mut lost = Vec::new();
        for rule in of(part) {
            match rule.value(facts) {
                None => health.missing.push(rule.fact.to_owned()),
                Some(value) => lost.extend(rule.lost(value).map(|points| (rule, value, points))),
            }
        }
        let total: f64 = lost.iter().map(|(_, _, points)| points).sum();
        let score = (known >= ENOUGH).then_some((100.0 - total).max(0.0));
        health.parts.push(PartScore { part, score, known });
        let Some(score) = score else { continue };
        // Parts that aren't known leave their weight to the others.
        let weight = part.weight() / known_weight;
        sum += weight * score;
        // A part can lose no more than it has; its deductions share that.
        let shrink = if total > 100.0 { 100.0 / total } else { 1.0 };
        health.deductions.extend(lost.iter().map(|(rule, value, points)| Deduction {
            part,
            fact: rule.fact.to_owned(),
            points: points * shrink * weight,
            reason: rule.reason(*value),
            recommendation: rule.advice.to_owned(),
        }));
    }
    health.missing.sort();
    health.missing.dedup();
    health.deductions.sort_by(|a, b| b.points.total_cmp(&a.points));
    health.score = (known_weight >= ENOUGH).then_some(sum);
    health.grade = Grade::of(health.score);
    health
}

fn of(part: Part) -> impl Iterator<Item = &'static Rule> {
    RULES.iter().filter(move |rule| rule.part == part)
}

/// Share of a part's points that known facts could cost.
fn known(facts: &HostFacts, part: Part) -> f64 {
    let all: f64 = of(part).map(|rule| rule.points).sum();
    let known: f64 = of(part).filter(|rule| rule.value(facts).is_some()).map(|rule| rule.points).sum();
    known / all
}

impl Health {
    /// One line: `72 Good: the fullest file system is 96 % full (-9); …`, the three dearest reasons.
    #[must_use]
    pub fn words(&self) -> String {
        let Some(score) = self.score else {
            return format!("Unknown: {} facts are missing", self.missing.len());
        };
        let mut words = format!("{score:.0} {}", self.grade.name());
        for (at, deduction) in self.deductions.iter().take(3).enumerate() {
            words.push_str(if at == 0 { ": " } else { "; " });
            words.push_str(&format!("{} (-{:.1})", deduction.reason, deduction.points));
        }
        words
    }
}
