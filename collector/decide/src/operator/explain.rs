//! What is done about each incident and why, or why nothing is: what `fettle plans now` prints. Nothing changes by
//! asking.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::run::{Phase, Run};
use super::Operator;
use crate::plan::{NoPlan, Plan};
use crate::planner::{self, Known};
use crate::policy::Policy;
use crate::world::{Place, World};

/// One incident's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// Incident.
    pub incident: String,
    /// Rule.
    pub rule: String,
    /// Where.
    pub place: Place,
    /// One sentence.
    pub what: String,
    /// The plan under way.
    pub run: Option<Run>,
    /// The plan that would be made now.
    pub would: Option<Plan>,
    /// Why none would be made.
    pub would_not: Option<NoPlan>,
}

impl Operator {
    /// What is done, or would be done now, about each incident that holds; the most urgent first.
    pub fn explain(&self, policy: &Policy, world: &World, now_us: i64) -> Vec<Explanation> {
        let mut places: BTreeMap<Place, usize> = BTreeMap::new();
        let firing = || self.state.incidents.values().filter(|one| one.incident.firing);
        for watched in firing() {
            *places.entry(watched.incident.place()).or_default() += 1;
        }
        let mut watched: Vec<_> = firing().collect();
        watched.sort_by_key(|one| (std::cmp::Reverse(one.incident.severity), one.incident.since_us));
        let mut found = Vec::new();
        for one in watched {
            let incident = &one.incident;
            let run = self.state.runs.values().find(|run| run.live() && run.plan.incident == incident.id);
            let mut explanation = Explanation {
                incident: incident.id.clone(),
                rule: incident.rule.clone(),
                place: incident.place(),
                what: String::new(),
                run: run.cloned(),
                would: None,
                would_not: None,
            };
            if let Some(run) = run {
                explanation.what = told(run);
            } else {
                let known =
                    Known { world, memory: &self.state.memory, incidents: &places, number: one.plans + 1 };
                match planner::plan(incident, policy, known, now_us) {
                    Ok(plan) => {
                        explanation.what = if one.left_alone.is_empty() {
                            "a plan would be made now".to_owned()
                        } else {
                            format!("left alone: {}", one.left_alone)
                        };
                        explanation.would = Some(plan);
                    }
                    Err(none) => {
                        explanation.what = if one.left_alone.is_empty() {
                            none.why.to_string()
                        } else {
                            format!("left alone: {}", one.left_alone)
                        };
                        explanation.would_not = Some(none);
                    }
                }
            }
            found.push(explanation);
        }
        found
    }
}

fn told(run: &Run) -> String {
    let step = run.current();
    let doing = step.map_or(String::new(), |step| format!("{} of {}", step.action.name(), step.place));
    match &run.phase {
        Phase::Proposed { .. } => {
            format!("{doing} needs a person's word: fettle plans approve {}", run.plan.id)
        }
        Phase::Waiting { on, .. } if on.is_empty() => format!("{doing} is next"),
        Phase::Waiting { on, .. } => format!("{doing} waits: {on}"),
        Phase::Ordered { back: true, .. } | Phase::TurningBack { .. } => format!("{doing} is taken back"),
        Phase::Ordered { .. } => format!("{doing} is ordered"),
        Phase::Verifying { .. } => format!("{doing} is over; fresh samples are waited for"),
        Phase::Ended { .. } => "over".to_owned(),
    }
}
