//! What an agent tells of its host's own file: which components there are, what they need and what may be
//! done to them. Said when it changes and every half minute; the collector plans by it, the agent decides.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Actions that a host's file allows, by name, each with the entries declared for it (none for actions
/// without entries).
pub type Offers = BTreeMap<String, Vec<String>>;

/// One component as the host's file declares it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Declared {
    /// What runs it: supervised, systemd, docker, process or nothing.
    pub kind: String,
    /// Components of the same host that it needs.
    pub depends_on: Vec<String>,
    /// Whether the host is of no use without it.
    pub critical: bool,
    /// Fewest and most replicas, where it can be scaled.
    pub replica_bounds: Option<(u32, u32)>,
    /// When a release link or file of it was last changed, µs since 1970 by the host's clock; 0: not known.
    pub release_changed_us: i64,
    /// What its checks last complained of, at most 500 bytes; empty while it is well.
    pub complaint: String,
    /// What may be done to it.
    pub offers: Offers,
}

/// All of a host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Inventory {
    /// Agent.
    pub host: String,
    /// What may be done that is about no component.
    pub offers: Offers,
    /// Components by name.
    pub components: BTreeMap<String, Declared>,
}
