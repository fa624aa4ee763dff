//! What people may say: approve, deny, cancel, roll back, freeze, thaw, try again. Each word has an author
//! and stands in the audit.

use super::run::{inverse, End, Phase};
use super::{Freeze, Operator};
use crate::audit::Entry;
use crate::policy::Rollback;

/// Longest reason written down, characters.
const REASON_CHARS: usize = 500;

/// Why a person's word changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// There is no such plan (any more).
    #[error("there is no plan {0}; `fettle plans list` names those there are")]
    NoPlan(String),
    /// There is no such incident.
    #[error("there is no incident {0}; `fettle alerts incidents` names those there are")]
    NoIncident(String),
    /// The plan is not at a point where it could be done.
    #[error("the plan {plan} is {state}, so it cannot be {wanted}")]
    TooLate {
        /// Plan.
        plan: String,
        /// Where it stands.
        state: &'static str,
        /// What was wanted.
        wanted: &'static str,
    },
    /// Nothing is known that would take the last step back.
    #[error("nothing is known that takes the last step of plan {0} back")]
    NoWayBack(String),
    /// The author is missing.
    #[error("say who you are")]
    NoAuthor,
}

impl Operator {
    /// Approves a plan: all its steps, even while alerts storm or hours are quiet. Budgets and the freeze bind
    /// it still.
    ///
    /// # Errors
    /// There is no such plan, or it is under way or over.
    pub fn approve(&mut self, plan: &str, who: &str, now_us: i64) -> Result<(), CommandError> {
        self.word(plan, who, "approved", |phase| {
            matches!(phase, Phase::Proposed { .. } | Phase::Waiting { .. })
        })?;
        if let Some(run) = self.state.runs.get_mut(plan) {
            run.approved_by = Some(who.to_owned());
            run.told_held = false;
            run.phase = Phase::Waiting { since_us: now_us, not_before_us: now_us, on: String::new() };
        }
        self.said("approved", plan, who, format!("{who} approved the plan"), now_us);
        self.changed(plan, now_us);
        Ok(())
    }

    /// Denies a plan that has not begun; its incident is left alone until it was well for some time.
    ///
    /// # Errors
    /// There is no such plan, or it is under way or over.
    pub fn deny(&mut self, plan: &str, who: &str, now_us: i64) -> Result<(), CommandError> {
        self.word(plan, who, "denied", |phase| {
            matches!(phase, Phase::Proposed { .. } | Phase::Waiting { .. })
        })?;
        self.said("denied", plan, who, format!("{who} denied the plan"), now_us);
        self.end(plan, End::Denied { who: who.to_owned() }, now_us);
        Ok(())
    }

    /// Cancels a plan. An order that no agent has accepted is not said again. What is under way cannot be called back:
    /// it is verified, and nothing follows it.
    ///
    /// # Errors
    /// There is no such plan, or it is over.
    pub fn cancel(&mut self, plan: &str, who: &str, now_us: i64) -> Result<(), CommandError> {
        self.word(plan, who, "cancelled", |phase| !matches!(phase, Phase::Ended { .. }))?;
        self.said("cancelled", plan, who, format!("{who} cancelled the plan"), now_us);
        let Some(run) = self.state.runs.get_mut(plan) else { return Ok(()) };
        if run.in_flight() {
            run.cancelled_by = Some(who.to_owned());
            self.changed(plan, now_us);
        } else {
            self.end(plan, End::Cancelled { why: format!("by {who}") }, now_us);
        }
        Ok(())
    }

    /// Takes back the last step of a plan that is over.
    ///
    /// # Errors
    /// There is no such plan, it is not over, or nothing is known that takes the step back.
    pub fn roll_back(&mut self, plan: &str, who: &str, now_us: i64) -> Result<(), CommandError> {
        self.word(plan, who, "rolled back", |phase| matches!(phase, Phase::Ended { .. }))?;
        let no_way = || CommandError::NoWayBack(plan.to_owned());
        let run = self.state.runs.get(plan).ok_or_else(no_way)?;
        let tried = run.log.iter().any(|one| one.ended.is_some());
        let step = run.current().filter(|_| tried).ok_or_else(no_way)?;
        let place = step.place.clone();
        let action = match &step.rollback {
            Rollback::Do(action) => Some(action.clone()),
            _ => inverse(&step.action, &run.before),
        };
        let action = action.ok_or_else(no_way)?;
        if self
            .state
            .runs
            .values()
            .any(|one| one.in_flight() && one.current().is_some_and(|s| s.place == place))
        {
            return Err(CommandError::TooLate {
                plan: plan.to_owned(),
                state: "followed by another on the same target",
                wanted: "rolled back",
            });
        }
        self.said("roll_back", plan, who, format!("{who} wants the last step taken back"), now_us);
        if let Some(run) = self.state.runs.get_mut(plan) {
            run.cancelled_by = Some(who.to_owned());
            run.approved_by = Some(who.to_owned());
            run.step = run.step.min(run.plan.steps.len().saturating_sub(1));
        }
        self.turn_back(plan, action, true, now_us);
        Ok(())
    }

    /// Nothing more is begun, by anybody, until it is thawed, and orders that no agent has accepted are not said again.
    /// What is under way is verified.
    ///
    /// # Errors
    /// The author is missing.
    pub fn freeze(&mut self, who: &str, why: &str, now_us: i64) -> Result<(), CommandError> {
        if who.trim().is_empty() {
            return Err(CommandError::NoAuthor);
        }
        self.state.freeze = Some(Freeze { who: who.to_owned(), why: why.to_owned(), at_us: now_us });
        self.said("frozen", "", who, format!("{who} froze everything: {why}"), now_us);
        Ok(())
    }

    /// Ends the freeze.
    ///
    /// # Errors
    /// The author is missing.
    pub fn thaw(&mut self, who: &str, now_us: i64) -> Result<(), CommandError> {
        if who.trim().is_empty() {
            return Err(CommandError::NoAuthor);
        }
        if self.state.freeze.take().is_some() {
            self.said("thawed", "", who, format!("{who} ended the freeze"), now_us);
        }
        Ok(())
    }

    /// Lets an incident that was left alone be thought about again: its attempts, and those on the same targets, are
    /// forgotten.
    ///
    /// # Errors
    /// There is no such incident.
    pub fn retry(&mut self, incident: &str, who: &str, now_us: i64) -> Result<(), CommandError> {
        if who.trim().is_empty() {
            return Err(CommandError::NoAuthor);
        }
        let Some(watched) = self.state.incidents.get_mut(incident) else {
            return Err(CommandError::NoIncident(incident.to_owned()));
        };
        watched.left_alone.clear();
        watched.next_plan_us = now_us;
        watched.mended = None;
        let own = watched.incident.place();
        self.state.memory.forgive(incident, own);
        self.said("retried", "", who, format!("{who} wants incident {incident} tried again"), now_us);
        Ok(())
    }

    /// The same for the incident that a plan was for.
    ///
    /// # Errors
    /// There is no such plan, it is not over, or its incident is forgotten.
    pub fn retry_plan(&mut self, plan: &str, who: &str, now_us: i64) -> Result<(), CommandError> {
        self.word(plan, who, "retried", |phase| matches!(phase, Phase::Ended { .. }))?;
        let run = self.state.runs.get(plan).ok_or_else(|| CommandError::NoPlan(plan.to_owned()))?;
        let incident = run.plan.incident.clone();
        self.retry(&incident, who, now_us)
    }

    fn word(
        &self,
        plan: &str,
        who: &str,
        wanted: &'static str,
        fits: impl Fn(&Phase) -> bool,
    ) -> Result<(), CommandError> {
        if who.trim().is_empty() {
            return Err(CommandError::NoAuthor);
        }
        let run = self.state.runs.get(plan).ok_or_else(|| CommandError::NoPlan(plan.to_owned()))?;
        if !fits(&run.phase) {
            return Err(CommandError::TooLate { plan: plan.to_owned(), state: run.state(), wanted });
        }
        Ok(())
    }

    /// Writes down why somebody said a word about a plan; nothing where no reason was given.
    pub fn give_reason(&mut self, plan: &str, who: &str, why: &str, now_us: i64) {
        let why: String = why.trim().chars().take(REASON_CHARS).collect();
        if !why.is_empty() {
            self.said("reason", plan, who, format!("{who} said why: {why}"), now_us);
        }
    }

    fn said(&mut self, kind: &'static str, plan: &str, who: &str, what: String, now_us: i64) {
        let (who, plan) = (who.to_owned(), plan.to_owned());
        self.audit(now_us, Entry { kind, who, what, plan, ..Entry::default() });
    }
}
