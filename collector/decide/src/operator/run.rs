//! A plan on its way: which step it is at, what is waited for, how it ended.
//!
//! ```text
//! Proposed ─► Waiting ─► Ordered ─► Verifying ─► Ended(Succeeded)
//!     │          ▲          │           │
//!     │          │          └───────────┴─► TurningBack ─► Ordered(back) ─┐
//!     │          └── next step ◄──────────────────────────────────────────┘
//!     └─► Ended(Denied | Cancelled)             no step left: Ended(Failed), and GaveUp if none ever will be
//! ```

use std::collections::BTreeMap;

use fettle_shared::command::{Action, Order};
use serde::{Deserialize, Serialize};

use crate::memory::Ended;
use crate::plan::{Plan, Step};
use crate::world::Place;

/// A plan and where it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The plan.
    pub plan: Plan,
    /// Where it stands.
    pub phase: Phase,
    /// Step it is at, from 0.
    pub step: usize,
    /// Orders given for this step so far.
    pub tries: u32,
    /// Orders given so far: part of each order's id, so that no two are alike.
    pub orders: u32,
    /// Who has approved it.
    pub approved_by: Option<String>,
    /// Who wants it to end after the present step.
    pub cancelled_by: Option<String>,
    /// The order that is not said again, if it is its latest.
    #[serde(default)]
    pub withheld: Option<super::Withheld>,
    /// What the latest receipt says was there before.
    pub before: BTreeMap<String, String>,
    /// Steps that are over.
    pub log: Vec<StepEnd>,
    /// Whether people and the audit have been told that it is held up.
    pub told_held: bool,
    /// When it last changed, µs since 1970.
    pub changed_us: i64,
}

/// Note of a step that was not tried because its action's breaker on the target is open.
pub const KEEPS_FAILING: &str = "it keeps failing on this target";

/// After a mend, time for the alert to notice, µs.
pub(super) const SETTLE_US: i64 = 30_000_000;
/// After a plan that failed the next one is made within this time, µs.
const FOLLOWED_US: i64 = 2_000_000;

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepEnd {
    /// `entry/strategy`.
    pub strategy: String,
    /// How; none: it was not tried.
    pub ended: Option<Ended>,
    /// One sentence.
    pub note: String,
    /// When, µs since 1970.
    pub at_us: i64,
}

/// Where a plan stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum Phase {
    /// The next step needs a person's word.
    Proposed {
        /// Since, µs since 1970.
        since_us: i64,
    },
    /// The next step's turn has not come.
    Waiting {
        /// Since, µs since 1970.
        since_us: i64,
        /// Not before, µs since 1970.
        not_before_us: i64,
        /// What for; empty: nothing but its turn.
        on: String,
    },
    /// An order was given.
    Ordered {
        /// The order, to be sent again as it is.
        order: Order,
        /// Whether it takes the step back.
        back: bool,
        /// When it was last sent, µs since 1970.
        sent_us: i64,
        /// When the agent said that it begins, µs since 1970; 0: not yet.
        accepted_us: i64,
    },
    /// The action is over; samples will show whether it helped.
    Verifying {
        /// The order.
        order: String,
        /// When it was over, µs since 1970, by the host's clock: only later samples count.
        ended_us: i64,
        /// Until when samples may show it, µs since 1970, by the collector's clock.
        deadline_us: i64,
        /// What they have shown.
        hold: Hold,
    },
    /// The step is to be taken back.
    TurningBack {
        /// Since, µs since 1970.
        since_us: i64,
        /// Not before, µs since 1970.
        not_before_us: i64,
        /// How.
        action: Action,
        /// Whether a person wants it after the plan was over: then its place must be free first.
        by_hand: bool,
    },
    /// It is over.
    Ended {
        /// When, µs since 1970.
        at_us: i64,
        /// How.
        end: End,
    },
}

/// How long a condition has held in samples.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Since, µs since 1970 by the data's clock; 0: it does not hold.
    pub since_us: i64,
    /// The newest sample, µs since 1970.
    pub last_us: i64,
    /// Whether any fresh sample could say.
    pub seen: bool,
    /// Whether it has held long enough.
    pub healed: bool,
}

/// How a plan ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "snake_case")]
pub enum End {
    /// Samples show that a step helped.
    Succeeded,
    /// No step helped; there may be another plan.
    Failed {
        /// One sentence.
        why: String,
    },
    /// No step helped, and nothing is left that may be tried: a person was called.
    GaveUp {
        /// One sentence.
        why: String,
    },
    /// A person said no.
    Denied {
        /// Who.
        who: String,
    },
    /// A person, or the end of the incident, made it needless.
    Cancelled {
        /// Who or why.
        why: String,
    },
}

impl Run {
    /// A new one, about to begin.
    pub fn new(plan: Plan, now_us: i64) -> Self {
        Self {
            plan,
            phase: Phase::Waiting { since_us: now_us, not_before_us: now_us, on: String::new() },
            step: 0,
            tries: 0,
            orders: 0,
            approved_by: None,
            cancelled_by: None,
            withheld: None,
            before: BTreeMap::new(),
            log: Vec::new(),
            told_held: false,
            changed_us: now_us,
        }
    }

    /// Whether it is still on its way.
    pub fn live(&self) -> bool {
        !matches!(self.phase, Phase::Ended { .. })
    }

    /// Whether an action of it is under way: ordered, being verified, or to be taken back.
    pub fn in_flight(&self) -> bool {
        matches!(
            self.phase,
            Phase::Ordered { .. } | Phase::Verifying { .. } | Phase::TurningBack { by_hand: false, .. }
        )
    }

    /// The present step; the last one when the plan is over.
    pub fn current(&self) -> Option<&Step> {
        self.plan.steps.get(self.step).or_else(|| self.plan.steps.last())
    }

    /// Whether people may wait for it: it is being carried out, or has just ended well, or may just have been
    /// followed by another one. What waits for a person, or is held up, is not worth waiting for.
    pub fn is_mending(&self, now_us: i64) -> bool {
        match &self.phase {
            Phase::Proposed { .. } => false,
            Phase::Waiting { on, .. } => on.is_empty(),
            Phase::Ordered { .. } | Phase::Verifying { .. } => true,
            Phase::TurningBack { by_hand, .. } => !by_hand,
            Phase::Ended { at_us, end: End::Succeeded } => now_us - at_us < SETTLE_US,
            Phase::Ended { at_us, end: End::Failed { .. } } => now_us - at_us < FOLLOWED_US,
            Phase::Ended { .. } => false,
        }
    }

    /// Where samples show whether the present step helped: its own component, or the plan's when it is about
    /// the host.
    pub fn verified_at(&self) -> Place {
        match self.current() {
            Some(step) if !step.place.component.is_empty() => step.place.clone(),
            _ => self.plan.place.clone(),
        }
    }

    /// The phase in one word.
    pub fn state(&self) -> &'static str {
        match &self.phase {
            Phase::Proposed { .. } => "proposed",
            Phase::Waiting { .. } => "waiting",
            Phase::Ordered { back: false, .. } => "ordered",
            Phase::Ordered { back: true, .. } => "rolling_back",
            Phase::Verifying { .. } => "verifying",
            Phase::TurningBack { .. } => "turning_back",
            Phase::Ended { end, .. } => match end {
                End::Succeeded => "succeeded",
                End::Failed { .. } => "failed",
                End::GaveUp { .. } => "gave_up",
                End::Denied { .. } => "denied",
                End::Cancelled { .. } => "cancelled",
            },
        }
    }

    /// The more urgent sorts first: severity, critical component, age, name.
    pub fn urgency(&self) -> (std::cmp::Reverse<(fettle_alert::handoff::Severity, bool)>, i64, String) {
        let plan = &self.plan;
        (std::cmp::Reverse((plan.severity, plan.critical)), plan.since_us, plan.id.clone())
    }
}

/// What puts back what an action found, by the receipt's `before`: `replicas` of a scaling, `nice`, `value` of
/// a limit, `candidate` of a fail-over.
pub fn inverse(action: &Action, before: &BTreeMap<String, String>) -> Option<Action> {
    match action {
        Action::Scale { .. } => Some(Action::Scale { replicas: before.get("replicas")?.parse().ok()? }),
        Action::Renice { .. } => Some(Action::Renice { nice: before.get("nice")?.parse().ok()? }),
        Action::Limit { resource, .. } => {
            Some(Action::Limit { resource: resource.clone(), value: before.get("value")?.parse().ok()? })
        }
        Action::FailOver { entry, .. } => {
            let to = before.get("candidate").filter(|to| !to.is_empty())?;
            Some(Action::FailOver { entry: entry.clone(), to: to.clone() })
        }
        Action::Start => Some(Action::Stop),
        Action::Stop => Some(Action::Start),
        _ => None,
    }
}
