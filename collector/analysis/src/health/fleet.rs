//! The health of many hosts together.

use serde::{Deserialize, Serialize};

use super::{Grade, Health};

/// A reason that costs the fleet points.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FleetCause {
    /// The fact, as in [`super::HostFacts`].
    pub fact: String,
    /// Hosts it costs points.
    pub hosts: usize,
    /// Points of the fleet's 100 that it costs.
    pub points: f64,
    /// What to do.
    pub recommendation: String,
}

/// The health of a fleet: the mean of its hosts', with what a mean hides beside it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fleet {
    /// Mean score of the hosts that have one; `None` when less than half of the hosts have one.
    pub score: Option<f64>,
    /// The score in a word.
    pub grade: Grade,
    /// Hosts of each grade, worst first, unknown ones before.
    pub grades: Vec<(Grade, usize)>,
    /// The host with the lowest score, and that score.
    pub worst: Option<(String, f64)>,
    /// What costs most over all hosts, dearest first.
    pub causes: Vec<FleetCause>,
}

/// Scores a fleet from its hosts' names and scores.
#[must_use]
pub fn fleet<'a>(hosts: impl IntoIterator<Item = (&'a str, &'a Health)>) -> Fleet {
    let hosts: Vec<(&str, &Health)> = hosts.into_iter().collect();
    let scored: Vec<(&str, f64)> =
        hosts.iter().filter_map(|(name, health)| health.score.map(|score| (*name, score))).collect();
    let enough = !scored.is_empty() && scored.len() * 2 >= hosts.len();
    let score = enough.then(|| scored.iter().map(|(_, score)| score).sum::<f64>() / scored.len() as f64);
    let all = [Grade::Unknown, Grade::Poor, Grade::Fair, Grade::Good, Grade::Excellent];
    let grades = all.map(|grade| (grade, hosts.iter().filter(|(_, health)| health.grade == grade).count()));
    let worst =
        scored.iter().min_by(|a, b| a.1.total_cmp(&b.1)).map(|(name, score)| ((*name).to_owned(), *score));
    Fleet {
        score,
        grade: Grade::of(score),
        grades: grades.to_vec(),
        worst,
        causes: causes(&hosts, scored.len()),
    }
}

fn causes(hosts: &[(&str, &Health)], scored: usize) -> Vec<FleetCause> {
    let mut causes: Vec<FleetCause> = Vec::new();
    for (_, health) in hosts.iter().filter(|(_, health)| health.score.is_some()) {
        for deduction in &health.deductions {
            let points = deduction.points / scored as f64;
            match causes
                .iter_mut()
                .find(|c| c.fact == deduction.fact && c.recommendation == deduction.recommendation)
            {
                Some(cause) => {
                    cause.hosts += 1;
                    cause.points += points;
                }
                None => causes.push(FleetCause {
                    fact: deduction.fact.clone(),
                    hosts: 1,
                    points,
                    recommendation: deduction.recommendation.clone(),
                }),
            }
        }
    }
    causes.sort_by(|a, b| b.points.total_cmp(&a.points));
    causes
}
