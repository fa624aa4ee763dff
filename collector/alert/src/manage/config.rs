//! Who is told of what, when and how often: the settled form. `config_file.rs` reads it from YAML.

use std::collections::BTreeMap;

use crate::handoff::Severity;

use super::hours::Hours;
use super::matchers::Matchers;

/// One second, in µs.
pub const SECOND: i64 = 1_000_000;
/// One minute, in µs.
pub const MINUTE: i64 = 60 * SECOND;
/// The channel that is always there.
pub const LOG_CHANNEL: &str = "log";

/// All settings. Times are in µs.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Routes; the first is the root, which takes every alert.
    pub routes: Vec<Route>,
    /// Hours by name.
    pub hours: BTreeMap<String, Hours>,
    /// Escalation policies by name.
    pub escalations: BTreeMap<String, Vec<Step>>,
    /// Inhibition rules.
    pub inhibit: Vec<Inhibit>,
    /// Patterns of rules which mean that a whole host is silent.
    pub host_silent: Matchers,
    /// Storm protection.
    pub storm: StormSettings,
    /// Flapping.
    pub flapping: FlappingSettings,
    /// For how long after "resolved" the same alert is not told again. Critical ones are.
    pub cooldown_us: i64,
    /// An alert nobody says again for this long is resolved.
    pub stale_us: i64,
    /// Alerts of one host or dependency chain that begin within this time of each other are one incident.
    pub incident_us: i64,
    /// For how long a resolved alert is kept.
    pub keep_us: i64,
    /// Alerts kept at most.
    pub alerts_max: usize,
}

/// One node of the route tree.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// Its name: given, or its place in the tree (`root/0/1`).
    pub name: String,
    /// Which alerts it takes.
    pub matchers: Matchers,
    /// Whether its siblings after it are tried too.
    pub carry_on: bool,
    /// Routes below it; the first that takes the alert has it.
    pub children: Vec<usize>,
    /// Labels that make a group.
    pub group_by: Vec<String>,
    /// Wait before the first word on a group; `None`: 0 for critical, 250 ms for high, 1 s else.
    pub group_wait_us: Option<i64>,
    /// Wait before a word on new alerts of a group that was told. Critical ones do not wait.
    pub group_interval_us: i64,
    /// Time after which an open group is told again.
    pub repeat_us: i64,
    /// Channels that are told.
    pub channels: Vec<String>,
    /// Name of hours.
    pub hours: Option<String>,
    /// What happens outside them.
    pub outside: Outside,
    /// Name of an escalation policy.
    pub escalation: Option<String>,
    /// For how long, since it began, an alert that is not critical waits while it is being mended; none: it does not.
    pub after_mending_us: Option<i64>,
    /// Channels that get a note of low severity on what was mended before anybody was told.
    pub mended: Vec<String>,
}

/// What a route with hours does outside them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outside {
    /// It does not take alerts that begin then; the next route does.
    Skip,
    /// It takes them and tells when the hours begin. Critical ones at once.
    Hold,
}

/// A step of an escalation policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Time since the group was first told, without an acknowledgement.
    pub after_us: i64,
    /// Who is told then.
    pub channels: Vec<String>,
}

/// While a source fires, targets with equal labels are not told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inhibit {
    /// Which alerts silence others.
    pub source: Matchers,
    /// Which alerts are silenced.
    pub target: Matchers,
    /// Labels that must be equal.
    pub equal: Vec<String>,
}

/// When alike notifications become a digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StormSettings {
    /// Notifications about one rule and severity on one route, in `window_us`, that are still told one by one.
    pub similar: usize,
    /// The same over all rules of a route.
    pub total: usize,
    /// See `similar`.
    pub window_us: i64,
    /// Wait before the first digest, so that it has most of the storm.
    pub digest_wait_us: i64,
    /// How long a storm suppresses, by severity: low, medium, high, critical.
    pub suppress_us: [i64; 4],
    /// First and longest wait of a batch of critical alerts; it doubles while the storm lasts.
    pub batch_wait_us: (i64, i64),
}

impl StormSettings {
    /// How long a storm of this severity suppresses, µs.
    pub fn suppression_us(&self, severity: Severity) -> i64 {
        self.suppress_us[severity as usize]
    }
}

/// When an alert flaps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlappingSettings {
    /// Changes between firing and not, in `window_us`.
    pub changes: usize,
    /// See `changes`; also how long it must be calm.
    pub window_us: i64,
}

impl Default for Config {
    /// Everything goes to the log, by host.
    fn default() -> Self {
        Self {
            routes: vec![Route::root()],
            hours: BTreeMap::new(),
            escalations: BTreeMap::new(),
            inhibit: Vec::new(),
            host_silent: Matchers(BTreeMap::from([(
                "rule".to_owned(),
                "agent_silent|host_silent".to_owned(),
            )])),
            storm: StormSettings::default(),
            flapping: FlappingSettings { changes: 6, window_us: 10 * MINUTE },
            cooldown_us: MINUTE,
            stale_us: MINUTE,
            incident_us: 5 * MINUTE,
            keep_us: 60 * MINUTE,
            alerts_max: 20_000,
        }
    }
}

impl Default for StormSettings {
    fn default() -> Self {
        Self {
            similar: 5,
            total: 30,
            window_us: 5 * MINUTE,
            digest_wait_us: 10 * SECOND,
            suppress_us: [60 * MINUTE, 30 * MINUTE, 15 * MINUTE, 5 * MINUTE],
            batch_wait_us: (SECOND, 15 * SECOND),
        }
    }
}

impl Route {
    /// The route of a collector without a file: all to the log, by host.
    pub fn root() -> Self {
        Self {
            name: "root".to_owned(),
            matchers: Matchers::default(),
            carry_on: false,
            children: Vec::new(),
            group_by: vec!["host".to_owned()],
            group_wait_us: None,
            group_interval_us: 30 * SECOND,
            repeat_us: 240 * MINUTE,
            channels: vec![LOG_CHANNEL.to_owned()],
            hours: None,
            outside: Outside::Hold,
            escalation: None,
            after_mending_us: None,
            mended: Vec::new(),
        }
    }

    /// Wait before the first word on a new alert of this severity, µs.
    pub fn wait_us(&self, severity: Severity) -> i64 {
        self.group_wait_us.unwrap_or(match severity {
            Severity::Critical => 0,
            // What one second of data shows is decided together; a high alert waits for that and no longer.
            Severity::High => SECOND / 4,
            Severity::Medium | Severity::Low => SECOND,
        })
    }
}
