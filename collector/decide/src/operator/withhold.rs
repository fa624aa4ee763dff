//! Holds back orders that no agent has accepted once everything is frozen or their plan is cancelled. Such an order is
//! not said again, not even after the freeze: it ends as not sent once no agent can be at it any more. Until then an
//! agent that heard it before may still begin it, so its place stays taken and its receipt counts like any other.

use fettle_shared::command::{Order, Outcome, Receipt};
use serde::{Deserialize, Serialize};

use super::run::{End, Phase, Run};
use super::{Operator, Page, PageKind};
use crate::audit::Entry;
use crate::memory::{Attempt, Ended};
use crate::policy::Policy;
use crate::world::Place;

/// An order that is not said again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withheld {
    /// The order's id.
    pub order: String,
    /// Why.
    pub why: String,
}

impl Operator {
    /// Why nothing is begun now, if nothing is.
    pub(super) fn frozen(&self, policy: &Policy) -> Option<String> {
        match &self.state.freeze {
            Some(freeze) => Some(format!("everything is frozen by {}", freeze.who)),
            None => policy.frozen.then(|| "the policy freezes everything".to_owned()),
        }
    }

    /// Whether the order may (still) leave for its host: asked right before it does, however long it has waited.
    pub fn may_leave(&self, order: &Order, policy: &Policy) -> bool {
        let run = order.id.split('-').next().and_then(|plan| self.state.runs.get(plan));
        let Some((run, Phase::Ordered { order: own, back, accepted_us, .. })) =
            run.map(|run| (run, &run.phase))
        else {
            return false;
        };
        let open = *accepted_us > 0
            || (run.withheld.is_none()
                && self.frozen(policy).is_none()
                && (*back || run.cancelled_by.is_none()));
        own.id == order.id && open
    }

    /// Marks what does not leave any more.
    pub(super) fn withhold(&mut self, policy: &Policy, now_us: i64) {
        let frozen = self.frozen(policy);
        let why = |run: &Run| {
            let Phase::Ordered { order, back, accepted_us: 0, .. } = &run.phase else { return None };
            if run.withheld.is_some() {
                return None;
            }
            let cancelled =
                run.cancelled_by.as_ref().filter(|_| !back).map(|who| format!("cancelled by {who}"));
            let why = cancelled.or_else(|| frozen.clone())?;
            Some((run.plan.id.clone(), order.clone(), why))
        };
        let held: Vec<(String, Order, String)> = self.state.runs.values().filter_map(why).collect();
        for (id, order, why) in held {
            let left_s = (order.expires_us - now_us).max(0) / 1_000_000;
            let what = format!(
                "{} of {} is not sent again: {why}; an agent that heard it already may begin it for {left_s} s more",
                order.action.name(),
                Place::new(&order.host, &order.component)
            );
            if let Some(run) = self.state.runs.get_mut(&id) {
                run.withheld = Some(Withheld { order: order.id.clone(), why });
            }
            let who = format!("policy:{}", policy.digest);
            let plan = id.clone();
            self.audit(
                now_us,
                Entry { kind: "withheld", who, what, plan, order: order.id, ..Entry::default() },
            );
            self.changed(&id, now_us);
        }
    }

    /// No agent took what was held back, and none can be at it any more.
    pub(super) fn not_sent(&mut self, id: &str, policy: &Policy, now_us: i64) {
        let Some(run) = self.state.runs.get(id) else { return };
        let (Phase::Ordered { order, back, .. }, Some(withheld)) = (run.phase.clone(), run.withheld.clone())
        else {
            return;
        };
        let why = withheld.why;
        let what = format!(
            "{} of {}: not sent, {why}",
            order.action.name(),
            Place::new(&order.host, &order.component)
        );
        let detail = serde_json::json!({ "outcome": "not_sent" });
        let who = format!("policy:{}", policy.digest);
        let plan = id.to_owned();
        self.audit(now_us, Entry { kind: "outcome", who, what, plan, order: order.id, detail });
        if back {
            self.not_taken_back(id, &why, now_us);
        } else if run_is_cancelled(self.state.runs.get(id)) {
            self.next_step(id, &why, now_us);
        } else {
            self.end(id, End::Cancelled { why: format!("{why}, so its order was not sent") }, now_us);
        }
    }

    /// An agent's late word on an order that ended as not sent: it had heard it. Nothing is done about it, but a person
    /// is told, and it counts as an attempt of which nobody knows whether it helped.
    pub(super) fn done_after_all(&mut self, receipt: &Receipt, plan: &str, policy: &Policy, now_us: i64) {
        let silent =
            matches!(receipt.outcome, Outcome::Accepted | Outcome::Refused { .. } | Outcome::WouldDo);
        let Some(run) = self.state.runs.get_mut(plan) else { return };
        let known = run.withheld.as_ref().is_some_and(|one| one.order == receipt.id);
        if silent || !known || run.live() {
            return;
        }
        run.withheld = None;
        let (made, Some(step)) = (run.plan.clone(), run.current().cloned()) else { return };
        if step.place.host != receipt.host {
            return;
        }
        let attempt = Attempt {
            incident: made.incident.clone(),
            strategy: step.strategy.clone(),
            place: step.place.clone(),
            at_us: now_us,
            ended: Ended::Unknown,
        };
        self.state.memory.ended(attempt, step.action.name(), &made.rule, &step.kind, policy);
        self.tell(receipt, plan, "outcome", now_us);
        self.page(Page {
            id: format!("after-all-{}", receipt.id),
            kind: PageKind::Unverified,
            severity: made.severity,
            summary: format!(
                "{} of {} was done though its order was held back: the agent had heard it before; look whether all is well",
                step.action.name(),
                step.place
            ),
            place: step.place,
            incident: made.incident,
            plan: plan.to_owned(),
            at_us: now_us,
        });
    }
}

fn run_is_cancelled(run: Option<&Run>) -> bool {
    run.is_some_and(|run| run.cancelled_by.is_some())
}
