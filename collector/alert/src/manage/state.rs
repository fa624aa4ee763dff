//! All that is remembered, as plain data: saved whole, restored whole. Each collection has a bound.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use crate::handoff::{Labels, Notification, Severity};

use super::matchers::Matchers;
use super::reason::Reason;

/// Reasons kept with an alert: the first ones and the latest.
pub const WHY_MAX: usize = 16;
/// Rows that wait for the next tick at most; more are dropped and counted.
pub const ROWS_MAX: usize = 100_000;
/// Notifications that wait to be sent, at most.
pub const OUTBOX_MAX: usize = 500;
/// Silences at most.
pub const SILENCES_MAX: usize = 1_000;
/// Incidents kept at most, and alerts named in one.
pub const INCIDENTS_MAX: usize = 2_000;
/// See [`INCIDENTS_MAX`].
pub const INCIDENT_ALERTS_MAX: usize = 500;

/// The state.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Alerts by fingerprint.
    pub alerts: BTreeMap<u64, Alert>,
    /// Groups by key.
    pub groups: BTreeMap<String, Group>,
    /// Storms by route, rule and severity.
    pub storms: BTreeMap<String, Storm>,
    /// Silences by id.
    pub silences: BTreeMap<String, Silence>,
    /// Incidents by id.
    pub incidents: BTreeMap<u64, Incident>,
    /// The newest incident of each host that is not over.
    pub open_incidents: BTreeMap<String, u64>,
    /// What is to be sent, in the order it was decided.
    pub outbox: BTreeMap<u64, Outgoing>,
    /// What had no room.
    pub overflow: Overflow,
    /// Rows that the next tick gives out.
    pub rows: Vec<Transition>,
    /// Rows dropped because nobody took them.
    pub rows_dropped: u64,
    /// Number of the next entry of the outbox.
    pub next_outgoing: u64,
    /// Number of the next silence.
    pub next_silence: u64,
    /// Time of the last tick, µs since 1970.
    pub ticked_us: i64,
    /// How long each host with alerts was heard since it has them, µs; empty: the fleet.
    #[serde(default)]
    pub heard: BTreeMap<String, i64>,
    /// Times that a clock which stayed behind was followed back.
    #[serde(default)]
    pub set_back: u64,
}

/// Where an alert stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The condition holds, not for long enough yet.
    Pending,
    /// It fires.
    Firing,
    /// It is over.
    Resolved,
}

impl Phase {
    /// As written in rows.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }
}

/// One alert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// Rule.
    pub rule: String,
    /// Labels.
    pub labels: Labels,
    /// How bad.
    pub severity: Severity,
    /// Where it stands.
    pub phase: Phase,
    /// The value that decided last.
    pub value: f64,
    /// Since when the condition holds, by the data's clock, µs.
    pub since_us: i64,
    /// One line.
    pub summary: String,
    /// A few lines.
    pub description: String,
    /// Where to read on.
    pub runbook: Option<String>,
    /// Policy's entry that mends it.
    pub action: Option<String>,
    /// How long its host had been heard when it was last said, µs ([`State::heard`]).
    #[serde(default)]
    pub said_heard_us: i64,
    /// Time of the newest data it was said on, µs.
    #[serde(default)]
    pub word_us: i64,
    /// When it began to fire, by the manager's clock, µs.
    pub began_us: i64,
    /// When it was resolved, µs.
    pub resolved_us: Option<i64>,
    /// When it was last told and then resolved, µs: the cooldown counts from here.
    pub cooled_us: Option<i64>,
    /// The latest changes between firing and not, µs.
    pub changes: VecDeque<i64>,
    /// Whether it is held as flapping.
    pub flapping: bool,
    /// Who has taken it.
    pub acknowledged: Option<Acknowledgement>,
    /// Resolved by hand while the condition that began then held, µs by the data's clock.
    pub closed_since_us: Option<i64>,
    /// Incident.
    pub incident: Option<u64>,
    /// Groups it is in.
    pub groups: Vec<String>,
    /// Why it was told or not, oldest first.
    pub why: VecDeque<Why>,
}

impl Alert {
    /// Whether people are to see it as firing: it fires, or flaps.
    pub fn shows(&self) -> bool {
        self.phase == Phase::Firing || self.flapping
    }
}

/// Who has taken an alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// Who.
    pub author: String,
    /// What they said.
    pub note: String,
    /// When, µs.
    pub at_us: i64,
}

/// One decision about an alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    /// When, µs.
    pub at_us: i64,
    /// Its name.
    pub reason: Reason,
    /// The group it is about; empty: the alert itself.
    pub group: String,
    /// More: until when, by what, to whom.
    pub detail: String,
}

/// Alerts that are told together.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// Its route.
    pub route: String,
    /// Labels it was made by.
    pub labels: Labels,
    /// Whether it gathers what a storm on its route holds back.
    pub storm: bool,
    /// Alerts that show.
    pub members: BTreeSet<u64>,
    /// Those of them that were told.
    pub told: BTreeSet<u64>,
    /// Told and over, and that not told yet.
    pub gone: BTreeSet<u64>,
    /// When it was first told, while it is open, µs.
    pub open_us: Option<i64>,
    /// When it was last told, µs.
    pub told_us: i64,
    /// Part of its notifications' ids; only grows, and begins at the time the group was made.
    pub count: i64,
    /// Next step of the escalation.
    pub step: usize,
    /// Channels that were told since it is open.
    pub channels: BTreeSet<String>,
    /// Of a storm's group: when the next batch of critical alerts goes, and how long the last one waited, µs.
    pub batch_due_us: Option<i64>,
    /// See `batch_due_us`.
    pub batch_wait_us: i64,
    /// Of a storm's group: when the next digest goes, µs.
    pub digest_due_us: Option<i64>,
    /// Of a storm's group: held back since the last digest.
    pub held: usize,
    /// Of a storm's group: how many were over before they were told, by rule.
    pub passed: BTreeMap<String, usize>,
}

/// How often something alike was told, and until when more is held back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Storm {
    /// Route.
    pub route: String,
    /// Rule; `*`: all of the route.
    pub rule: String,
    /// How bad.
    pub severity: Severity,
    /// When notifications about it were decided, µs; as many as the limit.
    pub tellings: VecDeque<i64>,
    /// When alerts came while it lasted, µs; as many as the limit.
    pub arrivals: VecDeque<i64>,
    /// Since when it lasts, µs.
    pub since_us: Option<i64>,
    /// Until when it suppresses, µs.
    pub until_us: i64,
    /// How many it has held back.
    pub held: usize,
    /// The worst that a digest has told of while it lasts.
    #[serde(default)]
    pub digested_upto: Option<Severity>,
}

/// Matching alerts are not told for a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// Which alerts.
    pub matchers: Matchers,
    /// Who made it.
    pub author: String,
    /// Why.
    pub reason: String,
    /// From when, µs.
    pub begins_us: i64,
    /// Until when, µs.
    pub expires_us: i64,
}

/// Alerts that belong together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// Host that has it.
    pub host: String,
    /// Its alerts in the order they came, at most [`INCIDENT_ALERTS_MAX`].
    pub alerts: Vec<u64>,
    /// How many there were.
    pub alerts_total: usize,
    /// When the first began, µs.
    pub began_us: i64,
    /// When the last one joined, µs.
    pub joined_us: i64,
    /// When all of it was over, µs.
    pub over_us: Option<i64>,
}

/// Something to send, and how far it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outgoing {
    /// What is sent.
    pub notification: Notification,
    /// All alerts it names, also those past its list.
    pub names: Vec<u64>,
    /// How far it is.
    pub delivery: Delivery,
    /// Tries so far.
    pub attempts: u32,
}

/// How far a notification is. Sent and given up ones leave the outbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// Decided, not begun.
    Decided,
    /// Handed to the sender. Found after a restart: handed again with the same id.
    Sending,
    /// The sender could not; again at this time, µs.
    Failed(i64),
}

/// Findings that had no room.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Overflow {
    /// Since the last digest, by rule, at most 100 rules.
    pub by_rule: BTreeMap<String, u64>,
    /// Since the last digest.
    pub fresh: u64,
    /// In all.
    pub total: u64,
    /// When it was last told, µs.
    pub told_us: i64,
}

/// A row for the history: a change of phase, or a decision (then `from` equals `to`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Transition {
    /// When, µs since 1970.
    pub at_us: i64,
    /// Alert, 16 hexadecimal digits; empty for what is about none.
    pub alert: String,
    /// Rule.
    pub rule: String,
    /// Labels.
    pub labels: Labels,
    /// Severity's name; empty for what is about no alert.
    pub severity: String,
    /// The value that decided last; 0 for what is about no alert.
    #[serde(default)]
    pub value: f64,
    /// Phase before.
    pub from: String,
    /// Phase after.
    pub to: String,
    /// Reason's name.
    pub reason: String,
    /// Group, where the decision is about one.
    pub group: String,
    /// Incident, 16 hexadecimal digits, or empty.
    pub incident: String,
    /// More.
    pub text: String,
}
