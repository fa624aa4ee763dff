//! The tick: what time alone brings about, which plans are made, and the end of steps and plans.

use std::collections::{BTreeMap, BTreeSet};

use fettle_shared::command::Action;

use super::run::{inverse, End, Hold, Phase, Run, StepEnd, SETTLE_US};
use super::{Effect, Mended, Numbered, Operator, Page, PageKind};
use crate::audit::Entry;
use crate::memory::{Attempt, Ended};
use crate::plan::Why;
use crate::planner::{self, Known};
use crate::policy::{Policy, Rollback};
use crate::world::{Place, World};

/// Most plans on their way.
const LIVE_MAX: usize = 5_000;
/// An alert that nobody spoke of for this long is not acted on, µs.
const HEARD_US: i64 = 120_000_000;
/// Between two thoughts about an incident that has no plan, µs.
const RETHINK_US: i64 = 1_000_000;
/// A plan whose turn does not come for this long is dropped; another may follow, µs.
const WAIT_MAX_US: i64 = 15 * 60_000_000;
/// An order that was not accepted is sent again, µs.
const RESEND_US: i64 = 5_000_000;
/// An accepted order is asked after, µs.
const ASK_AGAIN_US: i64 = 30_000_000;
/// For a receipt to arrive, µs.
const GRACE_US: i64 = 15_000_000;

impl Operator {
    /// Does what is due. `generation` is the least generation an order may have: what a new owner of the
    /// collector's lease knows to be above all that were given before.
    pub fn tick(&mut self, policy: &Policy, world: &World, generation: u64, now_us: i64) -> Vec<Numbered> {
        self.forget(policy, now_us);
        self.alerts_hold(now_us);
        self.withhold(policy, now_us);
        self.expire(policy, now_us);
        self.see_vain(policy, world, now_us);
        self.drop_needless(now_us);
        self.make_plans(policy, world, now_us);
        self.begin_steps(policy, world, generation, now_us);
        self.take_back(policy, world, generation, now_us);
        self.send_again(policy, now_us);
        self.hand_over()
    }

    fn live_ids(&self) -> Vec<String> {
        self.state.runs.iter().filter(|(_, run)| run.live()).map(|(id, _)| id.clone()).collect()
    }

    /// Time limits of orders, of verification, of people.
    fn expire(&mut self, policy: &Policy, now_us: i64) {
        for id in self.live_ids() {
            let Some(run) = self.state.runs.get(&id) else { continue };
            match &run.phase {
                Phase::Proposed { since_us } if now_us - since_us >= policy.approval_within_us => {
                    // Asking again and again would page again and again.
                    if let Some(watched) = self.state.incidents.get_mut(&run.plan.incident) {
                        watched.left_alone = format!("nobody approved the plan {id} in time");
                    }
                    self.end(&id, End::Cancelled { why: "nobody approved it in time".to_owned() }, now_us);
                }
                Phase::Waiting { since_us, on, .. } if now_us - since_us >= WAIT_MAX_US => {
                    let why = format!("its turn did not come in time: {on}");
                    self.end(&id, End::Cancelled { why }, now_us);
                }
                Phase::Ordered { order, accepted_us, .. } => {
                    let timeout_us = i64::from(order.timeout_s) * 1_000_000;
                    let begun_by_us = if *accepted_us > 0 { *accepted_us } else { order.expires_us };
                    let over = now_us > begun_by_us + timeout_us + GRACE_US;
                    if over && *accepted_us == 0 && run.withheld.is_some() {
                        self.not_sent(&id, policy, now_us);
                    } else if over {
                        self.never_completed(&id, now_us, policy);
                    }
                }
                Phase::Verifying { hold, deadline_us, .. } => {
                    self.hold_on(&id, policy, *hold, *deadline_us, now_us);
                }
                _ => {}
            }
        }
    }

    fn hold_on(&mut self, id: &str, policy: &Policy, hold: Hold, deadline_us: i64, now_us: i64) {
        if hold.healed {
            self.step_ended(id, Ended::Healed, "fresh samples show that it helped", policy, now_us);
        } else if now_us >= deadline_us {
            let (ended, note) = if hold.seen {
                (Ended::NotHealed, "fresh samples show that it did not help")
            } else {
                (Ended::Unknown, "no fresh samples came, so nobody knows whether it helped")
            };
            self.step_ended(id, ended, note, policy, now_us);
        }
    }

    /// What samples spoke well of, while the alert fires on though the strategy's turn would come again, was in vain:
    /// else it would be done for ever. What was done to something the component needs did what it was for.
    fn see_vain(&mut self, policy: &Policy, world: &World, now_us: i64) {
        let mut vain = Vec::new();
        for watched in self.state.incidents.values_mut() {
            let Some(mended) = &watched.mended else { continue };
            let cooldown_us = policy.strategy(&mended.attempt.strategy).map_or(0, |one| one.cooldown_us);
            let due_us = mended.attempt.at_us + cooldown_us.max(SETTLE_US);
            if watched.incident.heard_us < due_us {
                continue;
            }
            let (own, at) = (watched.incident.place(), mended.attempt.place.clone());
            let Some(mended) = watched.mended.take() else { continue };
            if !world.needs(&own, &at) {
                vain.push((mended, watched.incident.rule.clone()));
            }
        }
        for (mended, rule) in vain {
            let Mended { attempt, action, kind, plan, order } = mended;
            if !self.state.memory.was_vain(&attempt, &action, &rule, &kind) {
                continue;
            }
            let seconds = (now_us - attempt.at_us) / 1_000_000;
            let what = format!(
                "{action} of {}: {rule} fires on after {seconds} s, so it did not help",
                attempt.place
            );
            let detail = serde_json::json!({ "verdict": Ended::NotHealed });
            let who = format!("policy:{}", policy.digest);
            self.audit(now_us, Entry { kind: "in_vain", who, what, plan, order, detail });
        }
    }

    /// Plans that have not begun their step and whose incident is over.
    fn drop_needless(&mut self, now_us: i64) {
        for id in self.live_ids() {
            let Some(run) = self.state.runs.get(&id) else { continue };
            let waits = matches!(run.phase, Phase::Proposed { .. } | Phase::Waiting { .. });
            let holds = self.state.incidents.get(&run.plan.incident).is_some_and(|one| one.incident.firing);
            if waits && !holds {
                self.end(&id, End::Cancelled { why: "the incident is over".to_owned() }, now_us);
            }
        }
    }

    fn make_plans(&mut self, policy: &Policy, world: &World, now_us: i64) {
        let live: Vec<&Run> = self.state.runs.values().filter(|run| run.live()).collect();
        let mut count = live.len();
        let planned: BTreeSet<String> = live.iter().map(|run| run.plan.incident.clone()).collect();
        let mut taken: BTreeSet<Place> = live.iter().map(|run| run.plan.place.clone()).collect();
        let mut places: BTreeMap<Place, usize> = BTreeMap::new();
        for watched in self.state.incidents.values().filter(|one| one.incident.firing) {
            *places.entry(watched.incident.place()).or_default() += 1;
        }
        let mut due: Vec<_> = self
            .state
            .incidents
            .iter()
            .filter(|(id, one)| {
                one.incident.firing
                    && one.left_alone.is_empty()
                    && one.next_plan_us <= now_us
                    && now_us - one.incident.heard_us <= HEARD_US
                    && !planned.contains(*id)
            })
            .map(|(id, one)| (std::cmp::Reverse(one.incident.severity), one.incident.since_us, id.clone()))
            .collect();
        due.sort();
        for (_, _, id) in due {
            if count >= LIVE_MAX {
                return;
            }
            count += usize::from(self.think(&id, policy, world, &places, &mut taken, now_us));
        }
    }

    /// Thinks about one incident; true if there is a plan now.
    fn think(
        &mut self,
        id: &str,
        policy: &Policy,
        world: &World,
        places: &BTreeMap<Place, usize>,
        taken: &mut BTreeSet<Place>,
        now_us: i64,
    ) -> bool {
        let state = &mut self.state;
        let Some(watched) = state.incidents.get_mut(id) else { return false };
        watched.next_plan_us = now_us + RETHINK_US;
        let known = Known { world, memory: &state.memory, incidents: places, number: watched.plans + 1 };
        match planner::plan(&watched.incident, policy, known, now_us) {
            Ok(plan) => {
                if !taken.insert(plan.place.clone()) {
                    return false;
                }
                watched.plans += 1;
                watched.no_plan = None;
                let plan_id = plan.id.clone();
                let what = format!("{}: {}", plan.because, strategies(&plan.steps));
                let detail = serde_json::to_value(&plan).unwrap_or_default();
                let run = Run::new(plan, now_us);
                state.runs.insert(plan_id.clone(), run);
                let who = format!("policy:{}", policy.digest);
                self.audit(
                    now_us,
                    Entry { kind: "planned", who, what, plan: plan_id.clone(), detail, ..Entry::default() },
                );
                self.changed(&plan_id, now_us);
                true
            }
            Err(none) => {
                let gives_up = none.why.gives_up();
                if none.why == Why::NoEntry {
                    watched.next_plan_us = now_us + 10 * RETHINK_US;
                }
                let why = none.why.to_string();
                watched.no_plan = Some(none);
                if gives_up {
                    self.give_up(id, &why, policy, now_us);
                }
                false
            }
        }
    }

    /// Leaves an incident alone and calls a person, once.
    fn give_up(&mut self, id: &str, why: &str, policy: &Policy, now_us: i64) {
        let Some(watched) = self.state.incidents.get_mut(id) else { return };
        watched.left_alone = why.to_owned();
        let (incident, plans) = (watched.incident.clone(), watched.plans);
        let last = self
            .state
            .runs
            .values_mut()
            .filter(|run| run.plan.incident == id)
            .max_by_key(|run| (run.plan.created_us, run.plan.number));
        let mut plan = String::new();
        if let Some(run) = last {
            plan.clone_from(&run.plan.id);
            if let Phase::Ended { end: end @ End::Failed { .. }, .. } = &mut run.phase {
                *end = End::GaveUp { why: why.to_owned() };
            }
        }
        let place = incident.place();
        let what = format!("{} on {place}: {why}; a person must look", incident.rule);
        let who = format!("policy:{}", policy.digest);
        self.audit(
            now_us,
            Entry { kind: "gave_up", who, what: what.clone(), plan: plan.clone(), ..Entry::default() },
        );
        self.page(Page {
            id: format!("gave-up-{id}-{plans}-{}", incident.since_us),
            kind: PageKind::GaveUp,
            severity: incident.severity,
            place,
            summary: what,
            incident: id.to_owned(),
            plan: plan.clone(),
            at_us: now_us,
        });
        self.changed(&plan, now_us);
    }

    /// A step is over: remembers it, tells of it, and goes on.
    pub(super) fn step_ended(&mut self, id: &str, ended: Ended, note: &str, policy: &Policy, now_us: i64) {
        let Some(run) = self.state.runs.get_mut(id) else { return };
        let Some(step) = run.plan.steps.get(run.step).cloned() else { return };
        let order = match &run.phase {
            Phase::Verifying { order, .. } => order.clone(),
            Phase::Ordered { order, .. } => order.id.clone(),
            _ => String::new(),
        };
        run.log.push(StepEnd {
            strategy: step.strategy.clone(),
            ended: Some(ended),
            note: note.to_owned(),
            at_us: now_us,
        });
        let attempt = Attempt {
            incident: run.plan.incident.clone(),
            strategy: step.strategy.clone(),
            place: step.place.clone(),
            at_us: now_us,
            ended,
        };
        let rule = run.plan.rule.clone();
        let back = match &step.rollback {
            Rollback::None => None,
            Rollback::Inverse => inverse(&step.action, &run.before),
            Rollback::Do(action) => Some(action.clone()),
        };
        if let Some(watched) = self.state.incidents.get_mut(&attempt.incident) {
            let on_probation = ended == Ended::Healed && watched.incident.firing;
            watched.mended = on_probation.then(|| Mended {
                attempt: attempt.clone(),
                action: step.action.name().to_owned(),
                kind: step.kind.clone(),
                plan: id.to_owned(),
                order: order.clone(),
            });
        }
        self.state.memory.ended(attempt, step.action.name(), &rule, &step.kind, policy);
        let what = format!("{} of {}: {note}", step.action.name(), step.place);
        let detail = serde_json::json!({ "verdict": ended, "verify": step.verify.to_string() });
        let who = format!("policy:{}", policy.digest);
        self.audit(now_us, Entry { kind: "verified", who, what, plan: id.to_owned(), order, detail });
        match (ended, back) {
            (Ended::Healed, _) => self.end(id, End::Succeeded, now_us),
            // Without samples nobody knows what there is to take back, nor what another step would do.
            (Ended::Unknown, _) => self.unverified(id, note, now_us),
            (_, Some(action)) => self.turn_back(id, action, false, now_us),
            (_, None) => self.next_step(id, note, now_us),
        }
    }

    /// A plan ends in the dark: a person is told, since no sample will.
    fn unverified(&mut self, id: &str, note: &str, now_us: i64) {
        let Some(run) = self.state.runs.get(id) else { return };
        let (plan, step, place) = (run.plan.clone(), run.step, run.verified_at());
        let did = run.current().map_or("something", |step| step.action.name());
        let summary = format!("{did} of {place} was done for {}, and {note}; a person must look", plan.rule);
        self.page(Page {
            id: format!("unverified-{id}-{step}"),
            kind: PageKind::Unverified,
            severity: plan.severity,
            place,
            summary,
            incident: plan.incident,
            plan: id.to_owned(),
            at_us: now_us,
        });
        self.end(id, End::Failed { why: note.to_owned() }, now_us);
    }

    pub(super) fn turn_back(&mut self, id: &str, action: Action, by_hand: bool, now_us: i64) {
        if let Some(run) = self.state.runs.get_mut(id) {
            run.tries = 0;
            run.phase = Phase::TurningBack { since_us: now_us, not_before_us: now_us, action, by_hand };
        }
        self.changed(id, now_us);
    }

    /// Goes on to the next step, or ends the plan.
    pub(super) fn next_step(&mut self, id: &str, why: &str, now_us: i64) {
        let Some(run) = self.state.runs.get_mut(id) else { return };
        if let Some(who) = run.cancelled_by.clone() {
            return self.end(id, End::Cancelled { why: format!("by {who}") }, now_us);
        }
        run.step += 1;
        run.tries = 0;
        run.told_held = false;
        run.before.clear();
        if run.step >= run.plan.steps.len() {
            return self.end(id, End::Failed { why: why.to_owned() }, now_us);
        }
        run.phase = Phase::Waiting { since_us: now_us, not_before_us: now_us, on: String::new() };
        self.changed(id, now_us);
    }

    /// Ends a plan.
    pub(super) fn end(&mut self, id: &str, end: End, now_us: i64) {
        let Some(run) = self.state.runs.get_mut(id) else { return };
        let incident = run.plan.incident.clone();
        let what = match &end {
            End::Succeeded => "the plan succeeded".to_owned(),
            End::Failed { why } => format!("the plan failed: {why}"),
            End::GaveUp { why } => format!("given up: {why}"),
            End::Denied { who } => format!("denied by {who}"),
            End::Cancelled { why } => format!("cancelled: {why}"),
        };
        let settle_us = if end == End::Succeeded { SETTLE_US } else { RETHINK_US };
        if let Some(watched) = self.state.incidents.get_mut(&incident) {
            watched.next_plan_us = now_us + settle_us;
            match &end {
                End::Denied { who } => watched.left_alone = format!("{who} denied the plan {id}"),
                End::Cancelled { why } if why.starts_with("by ") => {
                    watched.left_alone = format!("the plan {id} was cancelled {why}");
                }
                _ => {}
            }
        }
        run.phase = Phase::Ended { at_us: now_us, end };
        self.audit(now_us, Entry { kind: "ended", what, plan: id.to_owned(), ..Entry::default() });
        self.changed(id, now_us);
    }

    /// Orders without a word are sent again, and all that are in flight at the first tick of a new life. Nothing that is
    /// held back; and in a freeze what was accepted is asked after only when it could not be begun again.
    fn send_again(&mut self, policy: &Policy, now_us: i64) {
        let all = std::mem::take(&mut self.restored);
        let frozen = self.frozen(policy).is_some();
        let mut again = Vec::new();
        for run in self.state.runs.values_mut() {
            let Phase::Ordered { order, sent_us, accepted_us, .. } = &mut run.phase else { continue };
            let expired = now_us >= order.expires_us;
            let (pause_us, open) = if *accepted_us > 0 {
                (ASK_AGAIN_US, expired || !frozen)
            } else {
                (RESEND_US, !expired && run.withheld.is_none())
            };
            if open && *sent_us != now_us && (all || now_us - *sent_us >= pause_us) {
                *sent_us = now_us;
                again.push(order.clone());
            }
        }
        for order in again {
            self.effect(Effect::Send(order));
        }
    }
}

fn strategies(steps: &[crate::plan::Step]) -> String {
    let names: Vec<&str> = steps.iter().map(|step| step.strategy.as_str()).collect();
    format!("to try {}", names.join(", then "))
}
