//! Carries plans out. It never does anything itself: it takes words (alerts, samples, receipts, people's
//! commands) and gives effects (audit records, orders, pages), in the order in which they are to be carried
//! out. Its [`State`] is plain data.
//!
//! How it is driven, so that nothing is lost or done twice whenever the process dies:
//!
//! 1. feed words in, call [`Operator::tick`], which returns the new effects, each with a number;
//! 2. save [`Operator::state`] whole; the effects stand in it until they are confirmed;
//! 3. carry the effects out in their order, an audit record being stored before what follows it leaves;
//! 4. [`Operator::confirm`] the last number.
//!
//! After [`Operator::restore`] the effects that were not confirmed come again with the same numbers, and every
//! order in flight is sent again with the same id and generation: the agent answers with what it knows.

use std::collections::{BTreeMap, VecDeque};

use fettle_alert::handoff::{Finding, Severity, Standing};
use fettle_shared::command::Order;
use fettle_shared::error_kind::ErrorKind;
use serde::{Deserialize, Serialize};

use crate::audit::{AuditRecord, Entry, Head};
use crate::budget::Ledger;
use crate::incident::{Incident, Prediction};
use crate::memory::{Attempt, Memory};
use crate::plan::NoPlan;
use crate::policy::Policy;
use crate::world::Place;

mod advance;
mod begin;
mod commands;
mod explain;
mod local;
mod page;
mod receipts;
pub mod run;
mod verify;
mod withhold;

pub use begin::HeldBy;
pub use commands::CommandError;
pub use explain::Explanation;
pub use local::LocalWords;
pub use page::{Page, PageKind};
use run::{Phase, Run};
pub use verify::VerifyFacts;
pub use withhold::Withheld;

/// Most incidents watched.
const INCIDENTS_MAX: usize = 20_000;
/// Effects not carried out from which on nothing new is begun.
const OUTBOX_MAX: usize = 20_000;
/// Plans that are over and still remembered.
const ENDED_MAX: usize = 200;

/// Longest wait for the next plan, µs.
const NEXT_PLAN_MAX_US: i64 = 60_000_000;

/// Something to be carried out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "effect", rename_all = "snake_case")]
pub enum Effect {
    /// Store it; the same sequence number again is the same record.
    Audit(AuditRecord),
    /// Sign it and send it; the same id again is the same order.
    Send(Order),
    /// Tell a person; the same id again is the same page.
    Page(Page),
    /// A plan has changed; ask [`Operator::run`] for it.
    Changed {
        /// The plan.
        plan: String,
        /// Where it stands now, in a word.
        state: String,
    },
}

/// An effect and its number, from 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Numbered {
    /// Number.
    pub number: u64,
    /// What to do.
    pub effect: Effect,
}

/// An incident and what is done about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Watched {
    /// The incident.
    pub incident: Incident,
    /// Plans made for it.
    pub plans: u32,
    /// No plan before, µs since 1970.
    pub next_plan_us: i64,
    /// Why it is left alone until it was well for some time; empty: it is not.
    pub left_alone: String,
    /// Since when it is well, µs since 1970 by the collector's clock; 0: it is not.
    pub well_us: i64,
    /// Why there was no plan when one was last thought of.
    pub no_plan: Option<NoPlan>,
    /// A mend that samples speak well of, while the alert has not ended yet.
    #[serde(default)]
    pub mended: Option<Mended>,
}

/// A mend that is on probation: see [`Watched::mended`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mended {
    /// The attempt.
    pub attempt: Attempt,
    /// Its action's name.
    pub action: String,
    /// Kind of component.
    pub kind: String,
    /// Plan and order.
    pub plan: String,
    /// Order.
    pub order: String,
}

/// Nothing is done at all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freeze {
    /// Who wants it.
    pub who: String,
    /// Why.
    pub why: String,
    /// Since, µs since 1970.
    pub at_us: i64,
}

/// All that must survive.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Incidents by id.
    pub incidents: BTreeMap<String, Watched>,
    /// Plans by id.
    pub runs: BTreeMap<String, Run>,
    /// What was tried.
    pub memory: Memory,
    /// Orders given.
    pub ledger: Ledger,
    /// End of the audit's chain.
    pub head: Head,
    /// Generation of the last order.
    pub generation: u64,
    /// The global stop.
    pub freeze: Option<Freeze>,
    /// Until when only a person's word counts, µs since 1970.
    pub storm_until_us: i64,
    /// When the newest alerts began, µs since 1970.
    pub new_alerts: VecDeque<i64>,
    /// Effects that are not confirmed.
    pub outbox: VecDeque<Numbered>,
    /// Number of the last effect.
    pub number: u64,
    /// Words of agents' own actions that are in the audit already.
    pub heard_local: VecDeque<String>,
    /// What hosts said of their own actions lately.
    #[serde(default)]
    pub local_words: BTreeMap<String, LocalWords>,
    /// Incidents that were not taken, because too many are watched.
    pub incidents_dropped: u64,
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Operator {
    state: State,
    /// Number of the last effect that was handed over in this life.
    handed: u64,
    /// In this life orders in flight have not been sent again yet.
    restored: bool,
}

impl Operator {
    /// One with nothing on its mind.
    pub fn new() -> Self {
        Self::default()
    }

    /// One that goes on where the state was saved.
    pub fn restore(state: State) -> Self {
        Self { state, handed: 0, restored: true }
    }

    /// Goes on after the audit's records that are stored, when the state that should know them is lost, with the
    /// freeze that was in force. Nothing happens when the state has records of its own.
    pub fn go_on(&mut self, head: Head, freeze: Option<Freeze>, now_us: i64) {
        if self.state.head.seq > 0 {
            return;
        }
        let what = format!("the saved state was lost; the audit goes on after record {}", head.seq);
        self.state.head = head;
        self.state.freeze = freeze;
        self.audit(now_us, Entry { kind: "resumed", who: "collector".to_owned(), what, ..Entry::default() });
    }

    /// All that must survive: to be saved after each tick that gave effects, before they are carried out.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// A plan and where it stands.
    pub fn run(&self, plan: &str) -> Option<&Run> {
        self.state.runs.get(plan)
    }

    /// Incidents about which something is being done now that may end them: for these people may wait.
    pub fn being_mended(&self, now_us: i64) -> impl Iterator<Item = &str> {
        let left_alone =
            |id: &str| self.state.incidents.get(id).is_some_and(|watched| !watched.left_alone.is_empty());
        let mending = self.state.runs.values().filter(move |run| run.is_mending(now_us));
        mending.map(|run| run.plan.incident.as_str()).filter(move |id| !left_alone(id))
    }

    /// Effects up to this number are carried out. Those that were not handed over yet stay.
    pub fn confirm(&mut self, number: u64) {
        let number = number.min(self.handed);
        while self.state.outbox.front().is_some_and(|one| one.number <= number) {
            self.state.outbox.pop_front();
        }
    }

    /// A word on an alert. Repeats are welcome; a pending one is only waited for, and ends nothing: rules that have
    /// lost what they knew begin their waiting anew while the condition holds.
    pub fn alert(&mut self, finding: &Finding, policy: &Policy, now_us: i64) {
        let mut incident = Incident::from_finding(finding, now_us);
        let known = self.state.incidents.get(&incident.id);
        incident.firing |=
            finding.standing == Standing::Pending && known.is_some_and(|one| one.incident.firing);
        self.take(incident, policy, now_us);
    }

    /// A word of the failure prediction. Nothing comes of it when no entry of the policy is for predictions.
    pub fn prediction(&mut self, prediction: &Prediction, policy: &Policy, now_us: i64) {
        let Some(least) = policy.least_probability() else { return };
        self.take(Incident::from_prediction(prediction, least, now_us), policy, now_us);
    }

    /// What a health check or an action of this component printed; it may speak of a known kind of error.
    pub fn output(&mut self, place: &Place, text: &str, now_us: i64) {
        self.complains(place, ErrorKind::of_text(text), now_us);
    }

    /// The same, where somebody has recognised it already.
    pub fn complains(&mut self, place: &Place, kind: ErrorKind, now_us: i64) {
        if self.state.memory.heard(place, kind, now_us) {
            for watched in self.state.incidents.values_mut() {
                if watched.incident.place() == *place {
                    watched.incident.pattern = Some(kind);
                }
            }
        }
    }

    fn take(&mut self, mut incident: Incident, policy: &Policy, now_us: i64) {
        incident.pattern = self.state.memory.pattern(&incident.place(), now_us);
        let id = incident.id.clone();
        let known = self.state.incidents.get(&id);
        if known.is_some_and(|known| known.incident.at_us > incident.at_us) {
            return; // An old word that came late.
        }
        let began = incident.firing && !known.is_some_and(|known| known.incident.firing);
        if known.is_none() && !incident.firing {
            return;
        }
        if known.is_none() && !self.room_for(&incident) {
            self.state.incidents_dropped += 1;
            return;
        }
        let firing = incident.firing;
        let watched = self.state.incidents.entry(id.clone()).or_insert_with(|| Watched {
            incident: incident.clone(),
            plans: 0,
            next_plan_us: now_us,
            left_alone: String::new(),
            well_us: 0,
            no_plan: None,
            mended: None,
        });
        watched.incident = incident;
        if began {
            watched.next_plan_us = now_us;
        }
        if firing {
            // Well for long enough to be another incident; else it is the same one that flaps.
            if watched.well_us > 0 && now_us - watched.well_us >= policy.attempt_window_us {
                watched.left_alone.clear();
                watched.plans = 0;
            }
            watched.well_us = 0;
        } else {
            watched.mended = None;
        }
        if !firing && watched.well_us == 0 {
            watched.well_us = now_us;
        }
        if began {
            self.count_for_storm(policy, now_us);
        }
        self.alert_spoke(&id, now_us);
    }

    /// Makes room for an incident, at the cost of one that is over or less bad.
    fn room_for(&mut self, incident: &Incident) -> bool {
        if self.state.incidents.len() < INCIDENTS_MAX {
            return true;
        }
        let busy: std::collections::BTreeSet<&str> =
            self.state.runs.values().filter(|run| run.live()).map(|run| run.plan.incident.as_str()).collect();
        let least = self
            .state
            .incidents
            .iter()
            .filter(|(id, _)| !busy.contains(id.as_str()))
            .min_by_key(|(_, one)| (one.incident.firing, one.incident.severity, one.incident.heard_us))
            .filter(|(_, one)| !one.incident.firing || one.incident.severity < incident.severity)
            .map(|(id, _)| id.clone());
        least.is_some_and(|id| self.state.incidents.remove(&id).is_some())
    }

    fn count_for_storm(&mut self, policy: &Policy, now_us: i64) {
        let state = &mut self.state;
        state.new_alerts.push_back(now_us);
        while state.new_alerts.front().is_some_and(|at_us| *at_us <= now_us - policy.storm.per_us)
            || state.new_alerts.len() > policy.storm.alerts as usize + 1
        {
            state.new_alerts.pop_front();
        }
        if state.new_alerts.len() <= policy.storm.alerts as usize {
            return;
        }
        let was = state.storm_until_us > now_us;
        state.storm_until_us = now_us + policy.storm.freeze_us;
        if was {
            return;
        }
        let what = format!(
            "more than {} alerts began in {} s: nothing is done without a person's word for {} s",
            policy.storm.alerts,
            policy.storm.per_us / 1_000_000,
            policy.storm.freeze_us / 1_000_000
        );
        let who = format!("policy:{}", policy.digest);
        self.audit(now_us, Entry { kind: "storm", who, what: what.clone(), ..Entry::default() });
        self.page(Page {
            id: format!("storm-{now_us}"),
            kind: PageKind::Storm,
            severity: Severity::Critical,
            place: Place::default(),
            summary: what,
            incident: String::new(),
            plan: String::new(),
            at_us: now_us,
        });
    }

    fn effect(&mut self, effect: Effect) {
        self.state.number += 1;
        self.state.outbox.push_back(Numbered { number: self.state.number, effect });
    }

    fn audit(&mut self, now_us: i64, entry: Entry) {
        let record = self.state.head.append(now_us, entry);
        self.effect(Effect::Audit(record));
    }

    fn page(&mut self, page: Page) {
        self.effect(Effect::Page(page));
    }

    /// Says that a plan has changed.
    fn changed(&mut self, plan: &str, now_us: i64) {
        let Some(run) = self.state.runs.get_mut(plan) else { return };
        run.changed_us = now_us;
        let state = run.state().to_owned();
        self.effect(Effect::Changed { plan: plan.to_owned(), state });
    }

    /// Hands over the effects of this life that were not handed over yet.
    fn hand_over(&mut self) -> Vec<Numbered> {
        let handed = self.handed;
        self.handed = self.state.number;
        self.state.outbox.iter().filter(|one| one.number > handed).cloned().collect()
    }

    /// Forgets plans that have been over the longest, and incidents that have been well for long.
    fn forget(&mut self, policy: &Policy, now_us: i64) {
        let state = &mut self.state;
        let mut over: Vec<(i64, String)> = state
            .runs
            .iter()
            .filter_map(|(id, run)| match run.phase {
                Phase::Ended { at_us, .. } => Some((at_us, id.clone())),
                _ => None,
            })
            .collect();
        if over.len() > ENDED_MAX {
            over.sort();
            for (_, id) in &over[..over.len() - ENDED_MAX] {
                state.runs.remove(id);
            }
        }
        for watched in state.incidents.values_mut() {
            // A clock that was ahead must not hold plans up when it is right again.
            watched.next_plan_us = watched.next_plan_us.min(now_us.saturating_add(NEXT_PLAN_MAX_US));
        }
        state.storm_until_us = state.storm_until_us.min(now_us.saturating_add(policy.storm.freeze_us));
        let kept_us = policy.attempt_window_us;
        state.incidents.retain(|_, one| one.well_us == 0 || now_us - one.well_us <= kept_us);
        state.memory.forget(policy, now_us);
        state.ledger.forget(policy, now_us);
        let window_us = policy.budgets.host.per_us;
        state.local_words.retain(|_, said| now_us - said.since_us < window_us);
    }
}

#[cfg(test)]
mod tests {
    use fettle_alert::handoff::Labels;

    use super::*;
    use crate::world::World;

    const NOW: i64 = 1_800_000_000_000_000;
    const DAY: i64 = 86_400_000_000;

    fn finding(standing: Standing, at_us: i64) -> Finding {
        let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        Finding {
            rule: "component_down".to_owned(),
            labels: Labels::from([label("host", "web-1"), label("component", "app")]),
            severity: Severity::High,
            standing,
            value: 1.0,
            at_us,
            since_us: at_us,
            summary: String::new(),
            description: String::new(),
            runbook: None,
            action: None,
        }
    }

    #[test]
    fn a_pending_word_ends_nothing() {
        let (mut operator, policy) = (Operator::new(), Policy::built_in());
        let mut fires = Vec::new();
        let words = [Standing::Firing, Standing::Pending, Standing::Resolved, Standing::Pending];
        for (at, standing) in words.into_iter().enumerate() {
            operator.alert(&finding(standing, NOW + at as i64), &policy, NOW + at as i64);
            fires.extend(operator.state().incidents.values().map(|one| one.incident.firing));
        }
        assert_eq!(fires, [true, true, false, false]);
    }

    #[test]
    fn a_clock_that_was_ahead_holds_up_no_plan() {
        let (mut operator, policy) = (Operator::new(), Policy::built_in());
        operator.alert(&finding(Standing::Firing, NOW), &policy, NOW + 3 * DAY);
        operator.tick(&policy, &World::default(), 1, NOW + 3 * DAY);
        let next_us =
            |operator: &Operator| operator.state().incidents.values().next().map(|one| one.next_plan_us);
        assert!(next_us(&operator) > Some(NOW + 3 * DAY));
        operator.tick(&policy, &World::default(), 1, NOW);
        assert!(next_us(&operator) <= Some(NOW + NEXT_PLAN_MAX_US));
    }
}
