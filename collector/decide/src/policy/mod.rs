//! Policies: which incident is mended how, under which conditions, and how much may be done at once. The
//! text is YAML ([`Policy::read`]); what is in memory is settled: every default is filled in and every name
//! resolved. An entry that nobody wrote does not exist: the built-in policy is a text like any other
//! ([`DEFAULT`]), and can be printed, read and replaced.

use std::collections::BTreeMap;

use fettle_alert::handoff::Severity;
use fettle_shared::command::Action;
use fettle_shared::error_kind::ErrorKind;
use serde::{Deserialize, Serialize};

pub mod condition;
pub mod quiet;
mod reader;
mod strategy;
pub mod tree;

use condition::{Condition, Subject, Verify};
use quiet::Quiet;
use tree::Fault;

/// The policy that works with no configuration.
pub const DEFAULT: &str = include_str!("default.yaml");

/// Everything that decides what may be done.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Names the text: the first 16 hexadecimal digits of its SHA-256.
    pub digest: String,
    /// Nothing is done at all.
    pub frozen: bool,
    /// Entries, in the order of the text.
    pub entries: Vec<Entry>,
    /// How much may be done.
    pub budgets: Budgets,
    /// When nothing is done without a person's word.
    pub quiet: Vec<Quiet>,
    /// When alerts are too many to act on.
    pub storm: Storm,
    /// When an action that keeps failing is left alone.
    pub breaker: BreakerLimits,
    /// How long attempts are remembered, and counted against limits, µs.
    pub attempt_window_us: i64,
    /// After how many attempts on one target, whether they helped or not, it is left alone.
    pub repeat_long: Repeat,
    /// How long a plan waits for a person's word, µs.
    pub approval_within_us: i64,
    /// How long a refusal by a host's file is believed, µs.
    pub refusal_believed_us: i64,
    /// A host not heard of for this long has left the fleet: its components are members of no group any more, µs.
    pub host_gone_us: i64,
}

/// One entry: which incidents, and what to try.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its name; a rule's `action` may name it.
    pub name: String,
    /// Which incidents.
    pub matches: Match,
    /// What is acted on.
    pub target: Target,
    /// What to try, in order.
    pub strategies: Vec<Strategy>,
    /// After how many mends that did not last it is left alone.
    pub repeat: Repeat,
}

/// Which incidents an entry is for. Everything that stands here must fit.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Match {
    /// Rules, by name or pattern; none: any.
    pub rules: Vec<String>,
    /// Labels, by value or pattern.
    pub labels: BTreeMap<String, String>,
    /// Least severity.
    pub severity: Option<Severity>,
    /// Least predicted probability of failure.
    pub failure_probability: Option<f64>,
    /// What the component's checks or actions printed.
    pub pattern: Option<ErrorKind>,
    /// Conditions on the world.
    pub when: Vec<Condition>,
    /// For incidents only whose rule names the entry.
    pub by_name_only: bool,
}

/// What an entry or a strategy acts on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// The component that the alert's label names.
    Component,
    /// This component of the alert's host.
    Fixed(String),
    /// The host itself.
    Host,
}

/// How dangerous a strategy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Risk {
    /// What is down cannot get worse by it.
    Low,
    /// It interrupts something that works, or loses something that can be made again.
    Medium,
    /// It changes what is served, or cannot be taken back.
    High,
}

/// Whose word it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Approval {
    /// Nobody's.
    Auto,
    /// A person's.
    Ask,
    /// It is not done.
    Never,
}

impl Approval {
    /// What a risk needs when the policy does not say: low and medium nothing, high a person's word.
    pub fn by_risk(risk: Risk) -> Self {
        if risk == Risk::High {
            Self::Ask
        } else {
            Self::Auto
        }
    }
}

/// An action as a policy writes it: what stands open is settled when a plan is made.
#[derive(Debug, Clone, PartialEq)]
pub enum Template {
    /// Exactly this.
    Exact(Action),
    /// So many replicas more (or fewer).
    ScaleBy(i32),
    /// This kind of action with the first entry that the host's file declares for it.
    Any(Named),
}

/// Actions that choose among entries of the host's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// `clean_up`
    CleanUp,
    /// `fix_permissions`
    FixPermissions,
    /// `roll_back`
    RollBack,
    /// `fail_over`
    FailOver,
    /// `run`
    Run,
}

impl Named {
    /// The action's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::CleanUp => "clean_up",
            Self::FixPermissions => "fix_permissions",
            Self::RollBack => "roll_back",
            Self::FailOver => "fail_over",
            Self::Run => "run",
        }
    }

    /// The action with this entry.
    pub fn with(self, entry: String) -> Action {
        match self {
            Self::CleanUp => Action::CleanUp { policy: entry },
            Self::FixPermissions => Action::FixPermissions { entry },
            Self::RollBack => Action::RollBack { entry },
            Self::FailOver => Action::FailOver { entry, to: String::new() },
            Self::Run => Action::Run { command: entry },
        }
    }
}

impl Template {
    /// The action's name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Exact(action) => action.name(),
            Self::ScaleBy(_) => "scale",
            Self::Any(named) => named.name(),
        }
    }
}

/// What is done when a step did not help.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rollback {
    /// Nothing.
    None,
    /// What the receipt says was there before is put back.
    Inverse,
    /// This.
    Do(Action),
}

/// One thing to try.
#[derive(Debug, Clone, PartialEq)]
pub struct Strategy {
    /// Its name in the entry.
    pub name: String,
    /// What to do.
    pub action: Template,
    /// What is acted on, if not what the entry says.
    pub target: Option<Target>,
    /// What must be so.
    pub requires: Vec<Condition>,
    /// How dangerous.
    pub risk: Risk,
    /// Whose word it needs.
    pub approval: Approval,
    /// How it is seen to have helped.
    pub verify: Verify,
    /// What is done when it did not.
    pub rollback: Rollback,
    /// Attempts that did not help, in the attempt window, after which it is left alone.
    pub max_attempts: u32,
    /// Between two attempts on the same target, µs.
    pub cooldown_us: i64,
    /// Limit of the action on the host, s.
    pub timeout_s: u32,
    /// How long the order may be begun after it was given, µs.
    pub expires_us: i64,
}

impl Strategy {
    /// How long its attempts that did not help are counted, µs: long enough that all it may make fit in.
    pub fn vain_window_us(&self, policy: &Policy) -> i64 {
        policy.attempt_window_us.max(reach_us(self.max_attempts, self.cooldown_us))
    }
}

/// Time in which so many attempts with this cooldown between them surely fit, µs; at most a day.
fn reach_us(attempts: u32, cooldown_us: i64) -> i64 {
    const DAY_US: i64 = 24 * 3600 * 1_000_000;
    cooldown_us.saturating_mul(i64::from(attempts)).saturating_mul(2).min(DAY_US)
}

/// A mend that has to be repeated too often is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repeat {
    /// Mends that helped, after which it is left alone.
    pub max: u32,
    /// In this time, µs.
    pub per_us: i64,
}

/// How much may be done.
#[derive(Debug, Clone, PartialEq)]
pub struct Budgets {
    /// On one host.
    pub host: Budget,
    /// In one group.
    pub group: Budget,
    /// In all.
    pub fleet: Budget,
    /// Label that makes groups; `component` stands for the component's name.
    pub group_label: String,
    /// Most of a group that may be unhealthy or acted on, percent; one always may.
    pub max_unhealthy_percent: u32,
}

/// One budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Actions begun.
    pub actions: u32,
    /// In this time, µs.
    pub per_us: i64,
    /// Actions ordered or being verified at once.
    pub in_flight: u32,
}

/// Too many alerts at once: nothing is done without a person's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Storm {
    /// More new alerts than this …
    pub alerts: u32,
    /// … in this time, µs …
    pub per_us: i64,
    /// … freeze for this long, µs.
    pub freeze_us: i64,
}

/// When an action that keeps failing on a target is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerLimits {
    /// Failures in a row.
    pub failures: u32,
    /// For how long before one more is tried, µs.
    pub open_us: i64,
}

/// What is wrong with a policy's text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct PolicyFaults(pub Vec<Fault>);

impl Policy {
    /// Reads a policy's text.
    ///
    /// # Errors
    /// Every fault of the text with its line and column, in the text's order.
    pub fn read(text: &str) -> Result<Self, PolicyFaults> {
        reader::read(text)
    }

    /// The built-in policy.
    ///
    /// # Panics
    /// Never: a test reads it.
    pub fn built_in() -> Self {
        match Self::read(DEFAULT) {
            Ok(policy) => policy,
            Err(faults) => unreachable!("the built-in policy has faults: {faults}"),
        }
    }

    /// Names of all metrics that conditions look at: what [`crate::world::HostView::values`] should hold.
    pub fn metrics(&self) -> std::collections::BTreeSet<String> {
        let strategies = self.entries.iter().flat_map(|entry| &entry.strategies);
        let conditions = strategies
            .flat_map(|strategy| strategy.requires.iter().chain([&strategy.verify.condition]))
            .chain(self.entries.iter().flat_map(|entry| &entry.matches.when));
        conditions
            .filter_map(|condition| match &condition.subject {
                Subject::Metric(name) => Some(name.clone()),
                _ => None,
            })
            .collect()
    }

    /// The strategy that attempts call `ENTRY/STRATEGY`.
    pub fn strategy(&self, name: &str) -> Option<&Strategy> {
        let entry =
            |entry: &Entry| name.strip_prefix(entry.name.as_str()).and_then(|rest| rest.strip_prefix('/'));
        let strategy = |one: &'_ Entry, rest: &str| one.strategies.iter().position(|own| own.name == rest);
        self.entries.iter().find_map(|one| one.strategies.get(strategy(one, entry(one)?)?))
    }

    /// The least probability of failure that any entry is for; none when no entry is.
    pub fn least_probability(&self) -> Option<f64> {
        self.entries.iter().filter_map(|entry| entry.matches.failure_probability).min_by(f64::total_cmp)
    }
}

/// Whether the text fits the pattern, in which `*` stands for any text.
pub fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_policy_has_no_faults_and_its_entries_have_strategies() {
        let policy = Policy::built_in();
        assert!(policy.entries.len() >= 8);
        assert!(policy.entries.iter().all(|entry| !entry.strategies.is_empty()));
    }

    #[test]
    fn patterns_match_as_they_do_in_a_shell() {
        for (pattern, text) in [("*", ""), ("a*", "abc"), ("*c", "abc"), ("a*c*e", "abcde"), ("abc", "abc")] {
            assert!(fits(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("a", "ab"), ("a*b", "a"), ("a*ba", "aba "), ("", "a"), ("ab*ba", "aba")] {
            assert!(!fits(pattern, text), "{pattern} {text}");
        }
    }
}
