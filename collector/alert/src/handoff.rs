//! What passes between the rules, the alerts and whoever sends: findings in, notifications and
//! transitions out. Plain data; time stands in it, nobody here reads a clock.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Labels of a finding, an alert or a group: `host`, `component`, `family`, `metric`, the entity's key
/// columns, and what the rule adds.
pub type Labels = BTreeMap<String, String>;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Low,
    /// Worth a look today.
    Medium,
    /// Worth a look now.
    High,
    /// Worth waking somebody.
    Critical,
}

/// Where a rule's condition stands for one set of labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// It holds, but not for long enough yet.
    Pending,
    /// It holds.
    Firing,
    /// It does not hold any more.
    Resolved,
}

/// A rule's word on one set of labels. Said at each change, and again every few seconds while it is
/// pending or firing, so that a word lost on the way heals.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Rule's name.
    pub rule: String,
    /// What it is about. With the rule's name they are the alert's identity.
    pub labels: Labels,
    /// How bad.
    pub severity: Severity,
    /// Pending, firing or resolved.
    pub standing: Standing,
    /// The value that decided.
    pub value: f64,
    /// Time of the data it was decided on, µs since 1970.
    pub at_us: i64,
    /// Since when the condition holds, µs since 1970, by the data's clock.
    pub since_us: i64,
    /// One line.
    pub summary: String,
    /// A few lines.
    pub description: String,
    /// Where to read on.
    pub runbook: Option<String>,
    /// Name of the policy's entry that mends it, if the rule names one.
    pub action: Option<String>,
}

impl Finding {
    /// Names the alert: the rule and its labels, by a hash that never changes.
    pub fn fingerprint(&self) -> u64 {
        fingerprint(&self.rule, &self.labels)
    }
}

/// Hash of a rule's name and labels: FNV-1a over the length-prefixed texts, in the labels' order.
pub fn fingerprint(rule: &str, labels: &Labels) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    let mut take = |text: &str| {
        for byte in (text.len() as u64).to_le_bytes().iter().chain(text.as_bytes()) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    };
    take(rule);
    for (name, value) in labels {
        take(name);
        take(value);
    }
    hash
}

/// What a notification is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotificationKind {
    /// A group has begun to fire, or has new alerts.
    Firing,
    /// All of a group is resolved.
    Resolved,
    /// Nobody has acknowledged: the next step of the escalation.
    Escalation,
    /// It still fires: said again.
    Reminder,
    /// What storm protection held back.
    Digest,
    /// Somebody has taken it: an escalation stops, PagerDuty shows it as acknowledged.
    Acknowledged,
}

/// One alert as a notification tells of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlertView {
    /// Fingerprint, 16 hexadecimal digits: what `fettle alerts why` takes.
    pub id: String,
    /// Rule.
    pub rule: String,
    /// Labels.
    pub labels: Labels,
    /// How bad.
    pub severity: Severity,
    /// Firing or resolved.
    pub standing: Standing,
    /// The value that decided.
    pub value: f64,
    /// Since when, µs since 1970.
    pub since_us: i64,
    /// When it was resolved, µs since 1970.
    pub resolved_us: Option<i64>,
    /// One line.
    pub summary: String,
    /// A few lines.
    pub description: String,
    /// Where to read on.
    pub runbook: Option<String>,
}

/// Something to send to one channel. The same id sent twice is the same notification.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Notification {
    /// Names it for ever: derived from group, kind, channel and the group's count of notifications.
    pub id: String,
    /// Key of the group, such as `host=web-1`; what PagerDuty's dedup_key is made of.
    pub group: String,
    /// Labels that all of its alerts share.
    pub labels: Labels,
    /// What it is about.
    pub kind: NotificationKind,
    /// Channel it goes to.
    pub channel: String,
    /// The worst of its alerts.
    pub severity: Severity,
    /// The alerts, the worst first; at most 50.
    pub alerts: Vec<AlertView>,
    /// How many there are in all.
    pub alerts_total: usize,
    /// Of a digest: how many notifications were held back, and what about (at most 100 lines).
    pub held_back: usize,
    /// See `held_back`. Of a firing notification in a storm: the alerts past the 50th by name, several a line.
    pub held_back_list: Vec<String>,
    /// The incident it belongs to, and its probable cause in words.
    pub incident: Option<String>,
    /// See `incident`.
    pub cause: Option<String>,
    /// When it was decided, µs since 1970.
    pub at_us: i64,
    /// The named reason it is sent for.
    pub reason: String,
}
