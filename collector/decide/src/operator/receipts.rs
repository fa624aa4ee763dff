//! What agents answer. A receipt says what became of an order, never whether it helped: "succeeded", "timed
//! out" and "never completed" all lead to fresh samples. A refusal leads to another time, or another step.

use fettle_shared::command::{Outcome, Receipt, Refusal};

use super::run::{Hold, Phase};
use super::{Operator, Page, PageKind};
use crate::audit::Entry;
use crate::memory::Ended;
use crate::policy::Policy;
use crate::world::{Place, World};

/// Orders given for one step when the agent keeps asking to wait.
const TRIES_MAX: u32 = 5;

impl Operator {
    /// An agent's word on an order, or on an action of its own.
    pub fn receipt(&mut self, receipt: &Receipt, policy: &Policy, world: &World, now_us: i64) {
        let place = Place::new(&receipt.host, &receipt.component);
        let error = match &receipt.outcome {
            Outcome::Failed { error } => error.as_str(),
            _ => "",
        };
        if receipt.local {
            return self.local(receipt, policy, world, now_us);
        }
        let plan = receipt.id.split('-').next().unwrap_or_default().to_owned();
        let Some(run) = self.state.runs.get_mut(&plan) else { return };
        let Phase::Ordered { order, back, accepted_us, .. } = &mut run.phase else {
            return self.done_after_all(receipt, &plan, policy, now_us);
        };
        if order.id != receipt.id || order.host != receipt.host {
            return;
        }
        let (back, accepted) = (*back, *accepted_us > 0);
        if receipt.outcome == Outcome::Accepted {
            if !accepted {
                *accepted_us = now_us;
                run.withheld = None;
                self.tell(receipt, &plan, "accepted", now_us);
                self.changed(&plan, now_us);
            }
            return;
        }
        // An order that was accepted and is asked after may be answered as repeated: that is no news.
        if accepted && matches!(receipt.outcome, Outcome::Refused { .. }) {
            return;
        }
        run.withheld = None;
        if !receipt.before.is_empty() && !back {
            run.before.clone_from(&receipt.before);
        }
        self.tell(receipt, &plan, "outcome", now_us);
        self.output(&place, &format!("{}\n{error}", receipt.output), now_us);
        match (&receipt.outcome, back) {
            (Outcome::Refused { reason }, false) => self.refused(&plan, *reason, policy, now_us),
            (Outcome::Failed { error }, false) => {
                let note = format!("the agent could not do it: {error}");
                self.step_ended(&plan, Ended::Failed, &note, policy, now_us);
            }
            (Outcome::WouldDo, false) => {
                self.step_ended(&plan, Ended::Failed, "the agent only said what it would do", policy, now_us);
            }
            (_, false) => self.begin_verifying(&plan, receipt.ended_us, now_us),
            (Outcome::Succeeded, true) => self.next_step(&plan, "no step helped", now_us),
            (Outcome::Refused { reason }, true) => self.not_taken_back(&plan, &name(*reason), now_us),
            (_, true) => self.not_taken_back(&plan, "the agent could not do it", now_us),
        }
    }

    /// Whether a plan waits for this word; what says nothing new is not waited for.
    pub fn awaits(&self, receipt: &Receipt) -> bool {
        let plan = receipt.id.split('-').next().unwrap_or_default();
        let Some(Phase::Ordered { order, accepted_us, .. }) = self.run(plan).map(|run| &run.phase) else {
            return false;
        };
        let is_known =
            *accepted_us > 0 && matches!(receipt.outcome, Outcome::Accepted | Outcome::Refused { .. });
        order.id == receipt.id && order.host == receipt.host && !is_known
    }

    pub(super) fn tell(&mut self, receipt: &Receipt, plan: &str, kind: &'static str, now_us: i64) {
        let place = Place::new(&receipt.host, &receipt.component);
        let what = format!("{} of {place}: {}", receipt.action.name(), outcome(&receipt.outcome));
        let detail = serde_json::json!({
            "begun_us": receipt.begun_us, "ended_us": receipt.ended_us, "before": receipt.before,
            "output": receipt.output,
        });
        let (who, plan, order) = (format!("agent:{}", receipt.host), plan.to_owned(), receipt.id.clone());
        self.audit(now_us, Entry { kind, who, what, plan, order, detail });
    }

    fn begin_verifying(&mut self, plan: &str, ended_us: i64, now_us: i64) {
        let Some(run) = self.state.runs.get_mut(plan) else { return };
        let Some(step) = run.plan.steps.get(run.step) else { return };
        let Phase::Ordered { order, .. } = &run.phase else { return };
        run.phase = Phase::Verifying {
            order: order.id.clone(),
            ended_us: if ended_us > 0 { ended_us } else { now_us },
            deadline_us: now_us + step.verify.within_us,
            hold: Hold::default(),
        };
        let incident = run.plan.incident.clone();
        self.changed(plan, now_us);
        self.alert_spoke(&incident, now_us);
    }

    fn refused(&mut self, plan: &str, reason: Refusal, policy: &Policy, now_us: i64) {
        let Some(run) = self.state.runs.get_mut(plan) else { return };
        if run.cancelled_by.is_some() {
            return self.next_step(plan, "it was refused", now_us);
        }
        let Some(step) = run.plan.steps.get(run.step).cloned() else { return };
        let believed_us = now_us + policy.refusal_believed_us;
        let again = |us: i64| Some(now_us + us);
        let later = match reason {
            Refusal::StaleGeneration | Refusal::Expired => again(0),
            Refusal::Busy | Refusal::CoolingDown | Refusal::RateLimited => {
                again(2_000_000 << run.tries.min(6))
            }
            Refusal::Frozen => again(30_000_000),
            _ => None,
        };
        match later {
            Some(not_before_us) if run.tries < TRIES_MAX => {
                let on = name(reason);
                run.phase = Phase::Waiting { since_us: now_us, not_before_us, on };
                self.changed(plan, now_us);
            }
            Some(_) => {
                let note = format!("the agent kept refusing it: {}", name(reason));
                self.step_ended(plan, Ended::Failed, &note, policy, now_us);
            }
            None => {
                self.state.memory.refuse(step.action.name(), &step.place, believed_us);
                if !matches!(reason, Refusal::NotAllowed | Refusal::UnknownComponent) {
                    self.distrusted(plan, &step.place, reason, now_us);
                }
                self.next_step(plan, &format!("the agent refused it: {}", name(reason)), now_us);
            }
        }
    }

    fn distrusted(&mut self, plan: &str, place: &Place, reason: Refusal, now_us: i64) {
        let Some(run) = self.state.runs.get(plan) else { return };
        let page = Page {
            id: format!("distrusted-{plan}-{}", run.step),
            kind: PageKind::Distrusted,
            severity: run.plan.severity,
            place: place.clone(),
            summary: format!("{} does not take this collector's orders: {}", place.host, name(reason)),
            incident: run.plan.incident.clone(),
            plan: plan.to_owned(),
            at_us: now_us,
        };
        self.page(page);
    }

    /// No word came in time: the outcome is "never completed", and fresh samples decide.
    pub(super) fn never_completed(&mut self, plan: &str, now_us: i64, policy: &Policy) {
        let Some(run) = self.state.runs.get(plan) else { return };
        let Phase::Ordered { order, back, .. } = run.phase.clone() else { return };
        let place = Place::new(&order.host, &order.component);
        let what = format!("{} of {place}: never completed, no word came in time", order.action.name());
        let who = format!("policy:{}", policy.digest);
        let detail = serde_json::json!({ "outcome": "never_completed" });
        self.audit(
            now_us,
            Entry { kind: "outcome", who, what, plan: plan.to_owned(), order: order.id, detail },
        );
        if back {
            self.not_taken_back(plan, "no word came from the agent in time", now_us);
        } else {
            self.begin_verifying(plan, now_us, now_us);
        }
    }
}

/// The refusal's name, as the audit writes it.
fn name(reason: Refusal) -> String {
    match serde_json::to_value(reason) {
        Ok(serde_json::Value::String(name)) => name,
        _ => format!("{reason:?}"),
    }
}

pub(super) fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Refused { reason } => format!("refused, {}", name(*reason)),
        Outcome::Accepted => "accepted".to_owned(),
        Outcome::Succeeded => "done".to_owned(),
        Outcome::Failed { error } => format!("failed: {error}"),
        Outcome::TimedOut => "stopped at its time limit".to_owned(),
        Outcome::NeverCompleted => "never completed, the agent went down".to_owned(),
        Outcome::WouldDo => "not done, a dry run".to_owned(),
    }
}
