//! A plan: everything decided beforehand about one incident, so that carrying it out leaves no choices. It
//! never changes; where it stands is the operator's to say. Its name follows from its content.

use fettle_alert::handoff::Severity;
use fettle_shared::command::Action;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::policy::condition::{Condition, Verify};
use crate::policy::{Approval, Risk, Rollback};
use crate::world::Place;

/// A plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Names it: 16 hexadecimal digits of the hash of everything else.
    pub id: String,
    /// Incident it is to end.
    pub incident: String,
    /// The incident's rule.
    pub rule: String,
    /// The incident's severity.
    pub severity: Severity,
    /// Since when the incident holds, µs since 1970.
    pub since_us: i64,
    /// Whether the target is critical.
    pub critical: bool,
    /// What is acted on, if no step says otherwise.
    pub place: Place,
    /// When it was made, µs since 1970.
    pub created_us: i64,
    /// The policy it was made by.
    pub policy: String,
    /// Which plan of the incident it is, from 1.
    pub number: u32,
    /// Why it is about this target.
    pub because: String,
    /// What to try, in order, until one helps.
    pub steps: Vec<Step>,
    /// What is not tried, and why.
    pub left_out: Vec<LeftOut>,
}

/// One thing to try.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// `entry/strategy`.
    pub strategy: String,
    /// What is acted on.
    pub place: Place,
    /// Its group.
    pub group: String,
    /// What kind of component it is.
    pub kind: String,
    /// What to do.
    pub action: Action,
    /// What should come of it, in words.
    pub expects: String,
    /// What must be so when it begins.
    pub requires: Vec<Condition>,
    /// How dangerous it is.
    pub risk: Risk,
    /// Whose word it needs.
    pub approval: Approval,
    /// How it is seen to have helped.
    pub verify: Verify,
    /// What is done when it did not.
    pub rollback: Rollback,
    /// Limit of the action on the host, s.
    pub timeout_s: u32,
    /// How long the order may be begun after it was given, µs.
    pub expires_us: i64,
}

/// A strategy that is not tried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LeftOut {
    /// `entry/strategy`.
    pub strategy: String,
    /// Why.
    pub reason: Reason,
}

/// Why a strategy is not tried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Reason {
    /// The policy says `approval: never`.
    Never,
    /// The host's file does not declare or allow it.
    NotOffered,
    /// The agent refused it lately.
    Refused {
        /// Believed until, µs since 1970.
        until_us: i64,
    },
    /// A prerequisite does not hold.
    Unmet {
        /// The prerequisite.
        condition: String,
    },
    /// Nobody knows whether a prerequisite holds.
    Unknown {
        /// The prerequisite.
        condition: String,
    },
    /// It was tried as often as it may, and did not help.
    UsedUp {
        /// Attempts.
        attempts: u32,
    },
    /// The breaker of this action on this target is open.
    BreakerOpen {
        /// Until, µs since 1970.
        until_us: i64,
    },
    /// It was tried too short a while ago.
    CoolingDown {
        /// Until, µs since 1970.
        until_us: i64,
    },
    /// There is nothing it could be done to.
    NoTarget,
}

impl Reason {
    /// Whether time alone may change it.
    pub fn passes(&self) -> bool {
        matches!(self, Self::BreakerOpen { .. } | Self::CoolingDown { .. })
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let until = |us: &i64| {
            jiff::Timestamp::from_microsecond(*us).map_or_else(|_| us.to_string(), |time| time.to_string())
        };
        match self {
            Self::Never => f.write_str("the policy never allows it"),
            Self::NotOffered => f.write_str("the host's file does not declare it"),
            Self::Refused { until_us } => {
                write!(f, "the agent refused it; not asked until {}", until(until_us))
            }
            Self::Unmet { condition } => write!(f, "{condition} does not hold"),
            Self::Unknown { condition } => write!(f, "nobody knows whether {condition}"),
            Self::UsedUp { attempts } => write!(f, "tried {attempts} times and did not help"),
            Self::BreakerOpen { until_us } => {
                write!(f, "it kept failing on this target; not tried until {}", until(until_us))
            }
            Self::CoolingDown { until_us } => write!(f, "tried lately; not again until {}", until(until_us)),
            Self::NoTarget => f.write_str("there is no such component"),
        }
    }
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NoPlan {
    /// Why.
    pub why: Why,
    /// Strategies that were thought of.
    pub left_out: Vec<LeftOut>,
}

/// See [`NoPlan`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum Why {
    /// Nobody has heard of the host, or not lately.
    HostUnknown,
    /// No entry of the policy is for it.
    NoEntry,
    /// Something it needs is down and has an incident of its own.
    Waits {
        /// What.
        dependency: Place,
    },
    /// All that may be tried was tried and did not help.
    UsedUp,
    /// Mends helped, and did not last, too often.
    DoesNotLast {
        /// How many.
        mends: u32,
    },
    /// Its target was acted on too often in the long run, whatever came of it.
    TooOften {
        /// Attempts.
        attempts: u32,
        /// In this time, h, rounded up.
        hours: u32,
    },
    /// Nothing can be tried now; see what was left out.
    NothingLeft,
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::HostUnknown => {
                f.write_str("nothing was heard of the host lately, so no order would reach it")
            }
            Self::NoEntry => f.write_str("no entry of the policy is for it"),
            Self::Waits { dependency } => write!(f, "waits until {dependency}, which it needs, is mended"),
            Self::UsedUp => f.write_str("all that may be tried was tried and did not help"),
            Self::DoesNotLast { mends } => write!(f, "{mends} mends helped and did not last"),
            Self::TooOften { attempts, hours } => {
                write!(f, "{attempts} attempts on it within {hours} h, and none lasted")
            }
            Self::NothingLeft => f.write_str("nothing can be tried now"),
        }
    }
}

impl Why {
    /// Whether a person must look: what may be done by itself is exhausted.
    pub fn gives_up(&self) -> bool {
        matches!(self, Self::UsedUp | Self::DoesNotLast { .. } | Self::TooOften { .. })
    }
}

impl Plan {
    /// Gives the plan the name that follows from its content.
    pub fn named(mut self) -> Self {
        self.id.clear();
        let content = serde_json::to_vec(&self).unwrap_or_default();
        self.id = Sha256::digest(content).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        self
    }
}
