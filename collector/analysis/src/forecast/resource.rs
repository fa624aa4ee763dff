//! The resources that run out, and how that is said.

use serde::{Deserialize, Serialize};

use super::exhaustion::{outlook, Exhaustion};

/// A resource with a capacity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// Bytes of a file system: used, against those that an ordinary user may use.
    Disk,
    /// Inodes of a file system.
    Inodes,
    /// Memory of the host: total less available, against total.
    Memory,
    /// Swap of the host.
    Swap,
    /// Open files of the host or of a process, against its limit.
    Descriptors,
    /// Resident memory of a process, against its group's limit or the host's memory.
    ProcessMemory,
    /// Entries of the connection tracking table.
    Conntrack,
}

impl Resource {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Disk,
        Self::Inodes,
        Self::Memory,
        Self::Swap,
        Self::Descriptors,
        Self::ProcessMemory,
        Self::Conntrack,
    ];

    /// The share of the capacity at which it counts as run out: where things begin to fail, which is not
    /// always the last byte.
    #[must_use]
    pub fn limit_share(self) -> f64 {
        match self {
            // The kernel reclaims and stalls before it kills.
            Self::Memory | Self::ProcessMemory => 0.97,
            Self::Disk | Self::Inodes | Self::Swap | Self::Descriptors | Self::Conntrack => 1.0,
        }
    }

    /// What happens, in the words before "in 3 h".
    #[must_use]
    pub fn event(self) -> &'static str {
        match self {
            Self::Disk => "full",
            Self::Inodes => "out of inodes",
            Self::Memory => "out of memory",
            Self::Swap => "out of swap",
            Self::Descriptors => "out of descriptors",
            Self::ProcessMemory => "at its memory limit",
            Self::Conntrack => "connection table full",
        }
    }

    /// When `used` reaches `capacity`, both in the metric's unit; see [`outlook`].
    #[must_use]
    pub fn outlook(self, used: &[f64], capacity: f64, step_s: f64, horizon_s: f64) -> Option<Exhaustion> {
        // A capacity of nothing is that of a host without swap or a process without limit.
        let limit = capacity * self.limit_share();
        (limit > 0.0).then(|| outlook(used, step_s, limit, horizon_s)).flatten()
    }

    /// The outlook in words: `out of swap in 40 min (80 %: 35 min – 50 min)`.
    #[must_use]
    pub fn words(self, outlook: &Exhaustion) -> String {
        outlook.words(self.event())
    }
}
