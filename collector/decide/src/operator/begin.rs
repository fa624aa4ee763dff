//! Begins steps: everything that may forbid an action is asked here, right before its order is given, in the
//! order of the plans' urgency, so that what is scarce goes to what is worst.

use std::collections::BTreeMap;

use fettle_shared::command::{Action, Order};
use serde::{Deserialize, Serialize};

use super::run::{End, Phase, Run, StepEnd, KEEPS_FAILING};
use super::{Effect, Operator, Page, PageKind, OUTBOX_MAX};
use crate::audit::Entry;
use crate::budget::{self, Flight, Given, Groups};
use crate::plan::Step;
use crate::planner::{Known, WorldFacts, HOST_SILENT_US};
use crate::policy::condition::Facts as _;
use crate::policy::condition::Subject;
use crate::policy::{Approval, Policy};
use crate::world::World;

/// How long taking back may be held up, µs.
const TAKE_BACK_MAX_US: i64 = 5 * 60_000_000;

/// Hosts refuse a generation further ahead of their clock than a day. One as far ahead as this, less what clocks differ
/// by, was given by a clock that was wrong, and no host has taken it, µs.
const AHEAD_MAX_US: u64 = (24 * 60 - 10) * 60_000_000;
/// Room for orders between what is given after such a clock and what hosts refuse, µs.
const AHEAD_ROOM_US: u64 = 10 * 60_000_000;

/// The generation of the next order: above the last one and at least what is asked for, unless the last one came of a
/// clock that was so far ahead that no host can have taken it. Then the next is above all that hosts can have taken.
fn next_generation(last: u64, least: u64, now_us: i64) -> u64 {
    let most = now_us.max(0).unsigned_abs().saturating_add(AHEAD_MAX_US);
    if last >= most {
        return most - AHEAD_ROOM_US;
    }
    least.max(last + 1)
}

/// What holds a step up, in a word beside the sentence: it stands in the detail of the audit's `held`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeldBy {
    /// A person, or the policy, froze everything.
    Frozen,
    /// The audit cannot be written.
    Audit,
    /// The agent asked to wait.
    Agent,
    /// Alerts storm.
    Storm,
    /// Quiet hours.
    QuietHours,
    /// Something it needs is down.
    Dependency,
    /// Nothing is heard of the host.
    HostSilent,
    /// A budget is used up, or too much of a group is under way.
    Budget,
}

/// What becomes of a step whose turn it might be.
enum Turn {
    /// It begins.
    Begin,
    /// It waits, for this.
    Wait(HeldBy, String),
    /// It needs a person's word.
    Ask,
    /// It is not done, because of this.
    Skip(String),
}

impl Operator {
    /// Actions that are under way.
    fn flights(&self) -> Vec<Flight> {
        let in_flight = self.state.runs.values().filter(|run| run.in_flight());
        in_flight
            .filter_map(Run::current)
            .map(|step| Flight { place: step.place.clone(), group: step.group.clone() })
            .collect()
    }

    pub(super) fn begin_steps(&mut self, policy: &Policy, world: &World, generation: u64, now_us: i64) {
        let mut flights = self.flights();
        let mut waiting: Vec<_> = self
            .state
            .runs
            .values()
            .filter(|run| matches!(run.phase, Phase::Waiting { .. }))
            .map(Run::urgency)
            .collect();
        if waiting.is_empty() {
            return;
        }
        waiting.sort();
        let groups = Groups::of(world, policy, now_us);
        for (_, _, id) in waiting {
            let Some(run) = self.state.runs.get(&id) else { continue };
            let Some(step) = run.plan.steps.get(run.step).cloned() else { continue };
            match self.turn(run, &step, policy, (world, &groups), &flights, now_us) {
                Turn::Begin => {
                    flights.push(Flight { place: step.place.clone(), group: step.group.clone() });
                    self.order(&id, &step, step.action.clone(), false, policy, generation, now_us);
                }
                Turn::Wait(by, on) => self.hold_up(&id, by, on, policy, now_us),
                Turn::Ask => self.ask(&id, &step, policy, now_us),
                Turn::Skip(note) => {
                    if let Some(run) = self.state.runs.get_mut(&id) {
                        let strategy = step.strategy.clone();
                        run.log.push(StepEnd { strategy, ended: None, note: note.clone(), at_us: now_us });
                    }
                    self.next_step(&id, &note, now_us);
                }
            }
        }
    }

    /// Asks everything that may forbid the step.
    fn turn(
        &self,
        run: &Run,
        step: &Step,
        policy: &Policy,
        (world, groups): (&World, &Groups),
        flights: &[Flight],
        now_us: i64,
    ) -> Turn {
        if let Some(on) = self.frozen(policy) {
            return Turn::Wait(HeldBy::Frozen, on);
        }
        if self.state.outbox.len() >= OUTBOX_MAX {
            return Turn::Wait(HeldBy::Audit, "the audit cannot be written".to_owned());
        }
        if matches!(&run.phase, Phase::Waiting { not_before_us, .. } if now_us < *not_before_us) {
            return Turn::Wait(HeldBy::Agent, "the agent asked to wait".to_owned());
        }
        if run.approved_by.is_none() {
            if step.approval == Approval::Ask {
                return Turn::Ask;
            }
            if self.state.storm_until_us > now_us {
                let on = "alerts storm, so only a person's word counts";
                return Turn::Wait(HeldBy::Storm, on.to_owned());
            }
            if policy.quiet.iter().any(|window| window.holds(now_us)) {
                let on = "these are quiet hours, so only a person's word counts";
                return Turn::Wait(HeldBy::QuietHours, on.to_owned());
            }
        }
        if let Some(forbidden) = self.prerequisites(run, step, world, now_us) {
            return forbidden;
        }
        match world.hosts.get(&step.place.host) {
            Some(host) if now_us - host.seen_us <= HOST_SILENT_US => {}
            _ => {
                let on = format!("nothing is heard of {}", step.place.host);
                return Turn::Wait(HeldBy::HostSilent, on);
            }
        }
        if matches!(step.action, Action::Restart | Action::Start) {
            if let Some(broken) = world.deepest_broken(&step.place) {
                return Turn::Wait(HeldBy::Dependency, format!("{broken}, which it needs, is down"));
            }
        }
        match budget::allows(policy, (world, groups), &self.state.ledger, flights, &step.place, now_us) {
            Ok(()) => Turn::Begin,
            Err(why) => Turn::Wait(HeldBy::Budget, why),
        }
    }

    fn prerequisites(&self, run: &Run, step: &Step, world: &World, now_us: i64) -> Option<Turn> {
        let memory = &self.state.memory;
        let action = step.action.name();
        if memory.refused_until(action, &step.place, now_us).is_some() {
            return Some(Turn::Skip("the agent refused it".to_owned()));
        }
        if run.tries == 0 && memory.open_until(action, &step.place, now_us).is_some() {
            return Some(Turn::Skip(KEEPS_FAILING.to_owned()));
        }
        let watched = self.state.incidents.get(&run.plan.incident)?;
        let incidents = BTreeMap::new();
        let known = Known { world, memory, incidents: &incidents, number: 0 };
        let facts = WorldFacts { known, incident: &watched.incident, place: &step.place, now_us };
        for condition in &step.requires {
            // A dependency that is down is waited for: it has a plan of its own, or gets one.
            let waits = condition.subject == Subject::Dependencies;
            if condition.holds(&facts) != Some(true) {
                let value = facts.value(&condition.subject);
                let note = format!(
                    "it needs {condition}, and it is {}",
                    value.map_or("unknown".to_owned(), |value| value.to_string())
                );
                return Some(if waits { Turn::Wait(HeldBy::Dependency, note) } else { Turn::Skip(note) });
            }
        }
        None
    }

    /// Notes what a plan waits for; people and the audit hear of it once a step.
    fn hold_up(&mut self, id: &str, by: HeldBy, reason: String, policy: &Policy, now_us: i64) {
        let Some(run) = self.state.runs.get_mut(id) else { return };
        if let Phase::Waiting { on, .. } = &mut run.phase {
            on.clone_from(&reason);
        }
        if std::mem::replace(&mut run.told_held, true) {
            return;
        }
        let detail = serde_json::json!({ "by": by });
        let who = format!("policy:{}", policy.digest);
        self.audit(
            now_us,
            Entry { kind: "held", who, what: reason, plan: id.to_owned(), detail, ..Entry::default() },
        );
        self.changed(id, now_us);
    }

    fn ask(&mut self, id: &str, step: &Step, policy: &Policy, now_us: i64) {
        let Some(run) = self.state.runs.get_mut(id) else { return };
        run.phase = Phase::Proposed { since_us: now_us };
        let plan = run.plan.clone();
        let what =
            format!("{} of {} needs a person's word: {}", step.action.name(), step.place, plan.because);
        let who = format!("policy:{}", policy.digest);
        self.audit(
            now_us,
            Entry { kind: "asked", who, what: what.clone(), plan: id.to_owned(), ..Entry::default() },
        );
        self.page(Page {
            id: format!("approval-{id}"),
            kind: PageKind::Approval,
            severity: plan.severity,
            place: step.place.clone(),
            summary: what,
            incident: plan.incident,
            plan: id.to_owned(),
            at_us: now_us,
        });
        self.changed(id, now_us);
    }

    /// Gives an order: the intent stands in the audit before it leaves.
    #[allow(clippy::too_many_arguments)]
    fn order(
        &mut self,
        id: &str,
        step: &Step,
        action: Action,
        back: bool,
        policy: &Policy,
        generation: u64,
        now_us: i64,
    ) {
        let Some(run) = self.state.runs.get_mut(id) else { return };
        run.tries += 1;
        run.orders += 1;
        let mark = if back { "b" } else { "" };
        let order = Order {
            id: format!("{id}-{}-{mark}{}", run.step, run.orders),
            host: step.place.host.clone(),
            generation: next_generation(self.state.generation, generation, now_us),
            issued_us: now_us,
            expires_us: now_us + step.expires_us,
            component: step.place.component.clone(),
            action,
            timeout_s: step.timeout_s,
            dry_run: false,
            plan: format!("{id} step {}", run.step + 1),
        };
        self.state.generation = order.generation;
        self.state.ledger.give(Given {
            at_us: now_us,
            host: step.place.host.clone(),
            group: step.group.clone(),
        });
        let who = run.approved_by.clone().unwrap_or_else(|| format!("policy:{}", policy.digest));
        run.withheld = None;
        run.phase = Phase::Ordered { order: order.clone(), back, sent_us: now_us, accepted_us: 0 };
        let what = format!("{} of {}", order.action.name(), step.place);
        let what = if back { format!("take back: {what}") } else { what };
        let detail = serde_json::to_value(&order).unwrap_or_default();
        let intent =
            Entry { kind: "intent", who, what, plan: id.to_owned(), order: order.id.clone(), detail };
        self.audit(now_us, intent);
        self.effect(Effect::Send(order));
        self.changed(id, now_us);
    }

    /// Gives the orders that take steps back. Their place is theirs already; the windows and the freeze bind
    /// them like any other.
    pub(super) fn take_back(&mut self, policy: &Policy, world: &World, generation: u64, now_us: i64) {
        let ids: Vec<String> = self
            .state
            .runs
            .iter()
            .filter(|(_, run)| matches!(run.phase, Phase::TurningBack { .. }))
            .map(|(id, _)| id.clone())
            .collect();
        for id in ids {
            let Some(run) = self.state.runs.get(&id) else { continue };
            let Phase::TurningBack { since_us, not_before_us, action, by_hand } = run.phase.clone() else {
                continue;
            };
            let Some(step) = run.current().cloned() else { continue };
            let ledger = &self.state.ledger;
            let allowed = if by_hand {
                let groups = Groups::of(world, policy, now_us);
                budget::allows(policy, (world, &groups), ledger, &self.flights(), &step.place, now_us)
            } else {
                budget::window_allows(policy, ledger, &step.place, &step.group, now_us)
            };
            let stopped = self.frozen(policy).is_some() || allowed.is_err();
            if now_us - since_us > TAKE_BACK_MAX_US || run.tries >= 3 {
                self.not_taken_back(&id, "it could not be ordered in time", now_us);
            } else if !stopped && now_us >= not_before_us && self.state.outbox.len() < OUTBOX_MAX {
                self.order(&id, &step, action, true, policy, generation, now_us);
            }
        }
    }

    /// A step that did not help stands as it is: a person must look, and nothing more is tried.
    pub(super) fn not_taken_back(&mut self, id: &str, why: &str, now_us: i64) {
        let Some(run) = self.state.runs.get(id) else { return };
        let (plan, place) = (run.plan.clone(), run.verified_at());
        let what = format!("the step on {place} did not help and was not taken back: {why}");
        self.page(Page {
            id: format!("not-taken-back-{id}-{}", run.step),
            kind: PageKind::NotTakenBack,
            severity: plan.severity,
            place,
            summary: what.clone(),
            incident: plan.incident,
            plan: id.to_owned(),
            at_us: now_us,
        });
        self.end(id, End::Failed { why: what }, now_us);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000_000;
    const DAY: u64 = 24 * HOUR;

    #[test]
    fn generations_rise_and_follow_the_clock() {
        let now = 1_000 * DAY;
        assert_eq!(next_generation(5, now, now as i64), now);
        assert_eq!(next_generation(now, now, now as i64), now + 1);
        // A clock that was some hours ahead: hosts have taken what it gave.
        assert_eq!(next_generation(now + 5 * HOUR, now, now as i64), now + 5 * HOUR + 1);
    }

    #[test]
    fn a_clock_that_was_days_ahead_does_not_make_hosts_deaf() {
        let now = 1_000 * DAY;
        // Its last order, three days ahead, was refused everywhere; what it gave on the way was taken up to a day ahead.
        let first = next_generation(now + 3 * DAY, now, now as i64);
        assert!(first < now + DAY - 60_000_000, "hosts take it though their clocks are a minute behind");
        assert!(first > now + DAY - HOUR, "and it is above what they took an hour ago");
        let second = next_generation(first, now, now as i64);
        assert_eq!(second, first + 1);
        // It stays there until the clock has caught up, and never passes it.
        let later = now + 2 * DAY;
        assert_eq!(next_generation(second, later, later as i64), later);
    }
}
