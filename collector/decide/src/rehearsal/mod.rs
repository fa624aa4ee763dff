//! What a policy would have done: the planner and the operator, the very same code that mends hosts, driven by
//! what is stored of the past. Alerts open and resolve when they did, components go down and come back when
//! they did, the clock is the data's; nothing is sent.
//!
//! What the past cannot tell is whether an action that nobody took would have helped. So one of two things is
//! assumed ([`Assume`]), and the truth lies between them:
//!
//! - *as it was*: the policy's actions change nothing. A step is verified by what really happened within its
//!   time, by whatever that came about. This gives the most orders a policy can come to.
//! - *helps*: each action ends the alert it was for, a second after it was ordered, until that alert really
//!   begins anew. This gives the fewest.
//!
//! Also assumed: an order is carried out within a second by a host that was heard of then; nobody approves,
//! denies or cancels; a component of which nothing is stored is down while an alert about it fires; values of
//! metrics that conditions name are not known.

mod book;
mod stage;
mod sums;

use fettle_alert::handoff::{fingerprint, Finding, Labels, Severity, Standing};
use fettle_shared::command::Action;
use fettle_shared::error_kind::ErrorKind;
use serde::Serialize;

use crate::memory::Ended;
use crate::operator::HeldBy;
use crate::plan::NoPlan;
use crate::policy::Policy;
use crate::world::{Place, World};

pub use sums::{GroupShare, Totals};

/// What is taken for the effect of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Assume {
    /// None: all went on as it did.
    AsItWas,
    /// It ended the alert it was for.
    Helps,
}

/// What is stored of a time.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// Begin, µs since 1970.
    pub from_us: i64,
    /// End, µs since 1970.
    pub until_us: i64,
    /// What is known of hosts beforehand: what components need, and what their files allow.
    pub world: World,
    /// What happened, in the order of its times; what came before the begin says how things stood then.
    pub events: Vec<Event>,
    /// What was really done, in the order of its times.
    pub done: Vec<Done>,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// When, µs since 1970.
    pub at_us: i64,
    /// What.
    pub what: What,
}

/// See [`Event`].
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// An alert began to fire.
    Opened(Opened),
    /// The alert of this id fires no more.
    Closed(String),
    /// What a component's checks say changed.
    Seen(Place, Seen),
    /// Nothing is heard of the host any more.
    Silent(String),
    /// The host is heard of again.
    Heard(String),
    /// This person froze everything.
    Frozen(String),
    /// This person ended the freeze.
    Thawed(String),
}

/// An alert that began to fire.
#[derive(Debug, Clone, PartialEq)]
pub struct Opened {
    /// Rule.
    pub rule: String,
    /// Labels.
    pub labels: Labels,
    /// How bad.
    pub severity: Severity,
    /// The value that decided.
    pub value: f64,
    /// Name of the policy's entry that mends it, if the rule names one.
    pub action: Option<String>,
}

impl Opened {
    /// The alert's id: 16 hexadecimal digits.
    pub fn id(&self) -> String {
        format!("{:016x}", fingerprint(&self.rule, &self.labels))
    }

    /// Where it is.
    pub fn place(&self) -> Place {
        let label = |name: &str| self.labels.get(name).cloned().unwrap_or_default();
        Place { host: label("host"), component: label("component") }
    }

    /// The rule's word on it.
    fn finding(&self, standing: Standing, since_us: i64, at_us: i64) -> Finding {
        Finding {
            rule: self.rule.clone(),
            labels: self.labels.clone(),
            severity: self.severity,
            standing,
            value: self.value,
            at_us,
            since_us,
            summary: format!("{} on {}", self.rule, self.place()),
            description: String::new(),
            runbook: None,
            action: self.action.clone(),
        }
    }
}

/// What a component's checks said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// What runs it.
    pub kind: String,
    /// Whether it was well.
    pub up: bool,
    /// Whether the host is of no use without it.
    pub critical: bool,
    /// Replicas it should have had.
    pub replicas: u32,
    /// What its check complained of.
    pub complaint: ErrorKind,
}

/// An action that was really taken, or refused.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Done {
    /// Id of the order, or of the agent's own action.
    pub id: String,
    /// When it was begun, or else when its end was told, µs since 1970.
    pub at_us: i64,
    /// On what.
    pub place: Place,
    /// What.
    pub action: Action,
    /// `succeeded`, `failed`, `refused`, ….
    pub outcome: String,
    /// Whether the agent did it by its own rules.
    pub local: bool,
}

/// What became of a step.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "fate", rename_all = "snake_case")]
pub enum Fate {
    /// It was ordered.
    Ordered {
        /// When, µs since 1970.
        ordered_us: i64,
    },
    /// It took back a step that did not help.
    TookBack {
        /// When, µs since 1970.
        ordered_us: i64,
    },
    /// It waited in vain; see [`Row::held`].
    Held,
    /// It waited for a person's word in vain.
    Asked,
    /// Its turn came and it was left out.
    Skipped {
        /// Why.
        why: String,
    },
    /// There was no plan.
    NoPlan(NoPlan),
    /// A person was called.
    GaveUp {
        /// Why.
        why: String,
    },
    /// The policy would have done nothing that was really done then.
    OnlyReally,
}

/// What held a step up first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Held {
    /// What, in a word.
    pub by: HeldBy,
    /// The same in a sentence.
    pub why: String,
    /// Since when, µs since 1970.
    pub since_us: i64,
}

/// One thing the policy would have done or not done, beside what was really done.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// When it was decided, µs since 1970.
    pub at_us: i64,
    /// Where.
    pub place: Place,
    /// The alert's id; empty when there is none.
    pub alert: String,
    /// The alert's rule.
    pub rule: String,
    /// When the alert began to fire, µs since 1970.
    pub opened_us: i64,
    /// When it ended; none: it fired still at the end.
    pub closed_us: Option<i64>,
    /// Entry of the policy.
    pub entry: String,
    /// Strategy of the entry.
    pub strategy: String,
    /// What would have been done.
    pub action: Option<Action>,
    /// What became of it.
    #[serde(flatten)]
    pub fate: Fate,
    /// What held it up first, if anything did.
    pub held: Option<Held>,
    /// How it would have been verified, under what is assumed.
    pub verdict: Option<Ended>,
    /// What was really done there then; the first is its like, if there is one.
    pub really: Vec<Done>,
}

/// What a policy would have done.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rehearsal {
    /// The policy's digest.
    pub policy: String,
    /// What was assumed.
    pub assumed: Assume,
    /// In the order of time.
    pub rows: Vec<Row>,
    /// Sums.
    pub totals: Totals,
}

/// Goes through the past with this policy.
pub fn rehearse(policy: &Policy, history: &History, assume: Assume) -> Rehearsal {
    let book = stage::play(policy, history, assume);
    let (mut rows, mut totals) = book.close(history);
    sums::beside(&mut rows, history, &mut totals);
    rows.sort_by(|a, b| (a.at_us, &a.place, &a.strategy).cmp(&(b.at_us, &b.place, &b.strategy)));
    sums::add_up(&rows, &mut totals);
    Rehearsal { policy: policy.digest.clone(), assumed: assume, rows, totals }
}
