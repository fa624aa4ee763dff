//! What the collector may ask of an agent, and what the agent answers: plain data. An order names a
//! component that the host's own file declares and one action of a closed set; whatever an action needs
//! beyond that (paths, commands, limits) stands in the host's file, never in the order.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What can be done to a component. Parameters choose among what the host's file declares.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// Stops it and starts it again.
    Restart,
    /// Starts it.
    Start,
    /// Stops it.
    Stop,
    /// Sends a signal by name (`HUP`, `TERM`, `KILL`, `CONT`, …), to the main process or to all.
    Signal {
        /// Name without `SIG`.
        signal: String,
    },
    /// Sets the nice value, -20 to 19.
    Renice {
        /// Nice value.
        nice: i8,
    },
    /// Sets a limit of its control group: `cpu_percent`, `memory_bytes` or `pids`.
    Limit {
        /// What is limited.
        resource: String,
        /// The limit, in the unit of its name.
        value: u64,
    },
    /// Cleans up by the declared policy of this name.
    CleanUp {
        /// Name of the policy.
        policy: String,
    },
    /// Drops the kernel's clean caches.
    DropCaches,
    /// Restores the declared owner and modes of this entry.
    FixPermissions {
        /// Name of the declared entry.
        entry: String,
    },
    /// Puts a file or a release link back to the last good version.
    RollBack {
        /// Name of the declared entry.
        entry: String,
    },
    /// Puts the next (or the named) candidate in the place of the active one.
    FailOver {
        /// Name of the declared entry.
        entry: String,
        /// Candidate; the next one when empty.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        to: String,
    },
    /// Sets the number of replicas, within the declared bounds.
    Scale {
        /// Replicas.
        replicas: u32,
    },
    /// Runs the declared command of this name.
    Run {
        /// Name of the command.
        command: String,
    },
}

impl Action {
    /// The action's name, as files and the audit write it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Restart => "restart",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Signal { .. } => "signal",
            Self::Renice { .. } => "renice",
            Self::Limit { .. } => "limit",
            Self::CleanUp { .. } => "clean_up",
            Self::DropCaches => "drop_caches",
            Self::FixPermissions { .. } => "fix_permissions",
            Self::RollBack { .. } => "roll_back",
            Self::FailOver { .. } => "fail_over",
            Self::Scale { .. } => "scale",
            Self::Run { .. } => "run",
        }
    }
}

/// An order to one agent. Its JSON text is what is signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// Names the order for ever; the same order sent again has the same id.
    pub id: String,
    /// Agent it is for; any other refuses it.
    pub host: String,
    /// Generation of whoever gives orders: rises with every order, and an agent refuses one that is not
    /// above the highest it has taken.
    pub generation: u64,
    /// When it was given, µs since 1970.
    pub issued_us: i64,
    /// From when on it must not be begun, µs since 1970.
    pub expires_us: i64,
    /// Component of the host's file; empty for the host itself (`DropCaches`, `CleanUp`).
    pub component: String,
    /// What to do.
    pub action: Action,
    /// Seconds until it is stopped; the agent's own limit may be lower.
    pub timeout_s: u32,
    /// Say what would be done and do nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// Plan and step it belongs to, for people.
    #[serde(default)]
    pub plan: String,
}

/// An order with its signature, as it travels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedOrder {
    /// The order's JSON text, byte for byte what was signed.
    pub order: String,
    /// Public key of the signer, 64 hexadecimal digits.
    pub key: String,
    /// Ed25519 signature over the domain tag and `order`, 128 hexadecimal digits.
    pub signature: String,
}

/// Why an agent did not do it. The names are the reasons that the audit and people see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// Not an order that can be read, too long, or with a generation more than a day ahead of the host's clock.
    Malformed,
    /// The signer is not one this host trusts.
    UntrustedKey,
    /// The signature does not fit.
    BadSignature,
    /// For another host.
    WrongHost,
    /// Expired, or issued too far in the future, or valid for too long.
    Expired,
    /// The generation is not above the highest taken.
    StaleGeneration,
    /// The id was taken before with other content.
    Repeated,
    /// The host's file does not declare the component.
    UnknownComponent,
    /// The host's file does not allow the action, or not with these parameters.
    NotAllowed,
    /// More than the allowed number in the allowed time.
    RateLimited,
    /// The same thing was done too short a while ago.
    CoolingDown,
    /// Too many are running, or this component is being acted on.
    Busy,
    /// The host is frozen by its own operator.
    Frozen,
}

/// What became of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// Not begun, and will not be.
    Refused {
        /// Why.
        reason: Refusal,
    },
    /// Persisted and begun (or about to be).
    Accepted,
    /// Done; whether it helped is for fresh samples to say.
    Succeeded,
    /// Begun and not done.
    Failed {
        /// One sentence.
        error: String,
    },
    /// Stopped at its time limit.
    TimedOut,
    /// The agent or the host went down while it ran.
    NeverCompleted,
    /// A dry run: nothing was done.
    WouldDo,
}

/// An agent's word on an order (or on an action of its own). Said again until the collector has stored it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The order's id; one the agent made up for an action of its own.
    pub id: String,
    /// The agent.
    pub host: String,
    /// Component.
    pub component: String,
    /// What was asked for.
    pub action: Action,
    /// Whether the agent did it by its own rules, without an order.
    pub local: bool,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// When it was begun, µs since 1970; 0: never.
    pub begun_us: i64,
    /// When it ended, µs since 1970; 0: not yet.
    pub ended_us: i64,
    /// The end of what it printed, at most 8 KiB.
    #[serde(default)]
    pub output: String,
    /// What it found and left, for a roll-back: previous link target, replicas, nice value.
    #[serde(default)]
    pub before: BTreeMap<String, String>,
    /// Local rule or plan that wanted it.
    #[serde(default)]
    pub because: String,
}
