//! One second of one host: what everything after decoding works on. Counters are rates here, floats are
//! scaled; nothing later looks at raw samples.

use fettle_shared::frame::Reduction;
use serde::{Deserialize, Serialize};

/// One value of an entity's key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum KeyValue {
    /// A number, such as a process id.
    Int(u64),
    /// Text, such as a device.
    Text(Box<str>),
}

impl std::fmt::Display for KeyValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Int(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

/// What a metric's samples of one second come to, in the metric's unit; for a counter, in its unit a
/// second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Reduced {
    /// Smallest.
    pub min: f64,
    /// Mean.
    pub mean: f64,
    /// Largest.
    pub max: f64,
    /// The latest.
    pub last: f64,
    /// Samples; 0: there is no value, and the other fields are 0.
    pub count: u32,
}

impl Reduced {
    /// No value.
    pub const NONE: Self = Self { min: 0.0, mean: 0.0, max: 0.0, last: 0.0, count: 0 };

    /// Whether there is a value.
    pub fn is_some(&self) -> bool {
        self.count > 0
    }
}

/// One entity in one second.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EntitySecond {
    /// Values of the family's key columns, in the catalogue's order; empty for a family of the whole host.
    pub key: Box<[KeyValue]>,
    /// One per metric of the family, in the catalogue's order.
    pub values: Box<[Reduced]>,
}

/// One family in one second.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FamilySecond {
    /// Position of the family in the catalogue.
    pub family: usize,
    /// Its entities that were sampled in this second, ordered by key.
    pub entities: Vec<EntitySecond>,
}

/// One host in one second.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HostSecond {
    /// Agent's name.
    pub host: String,
    /// Start of the second, seconds since 1970.
    pub second: u32,
    /// Families that were sampled, by rising position.
    pub families: Vec<FamilySecond>,
}

impl HostSecond {
    /// One family's share, if it was sampled.
    pub fn family(&self, position: usize) -> Option<&FamilySecond> {
        let at = self.families.binary_search_by_key(&position, |family| family.family).ok()?;
        Some(&self.families[at])
    }
}

/// One metric of one entity in one second, as the wire had it: integers, counters as they stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawCell {
    /// Smallest, largest, sum and last of the second's samples.
    pub reduction: Reduction,
    /// Samples; 0: there are none.
    pub count: u32,
}

impl RawCell {
    /// No sample.
    pub const NONE: Self = Self { reduction: Reduction { min: 0, max: 0, sum: 0, last: 0 }, count: 0 };
}

/// One entity of a [`RawFamily`].
#[derive(Debug, Clone, Copy)]
pub struct RawEntity<'a> {
    /// Values of the family's key columns.
    pub key: &'a [KeyValue],
    /// Time of its last sample in the second, microseconds since 1970.
    pub last_us: i64,
    /// One per metric of the family, in the catalogue's order.
    pub cells: &'a [RawCell],
}

/// One family of a [`RawSecond`].
#[derive(Debug, Clone)]
pub struct RawFamily<'a> {
    /// Position of the family in the catalogue.
    pub family: usize,
    /// Its entities, ordered by key.
    pub entities: Vec<RawEntity<'a>>,
}

/// One host in one second before counters are rates: what [`crate::rates::Rates`] takes.
#[derive(Debug, Clone)]
pub struct RawSecond<'a> {
    /// Agent's name.
    pub host: &'a str,
    /// Start of the second, seconds since 1970.
    pub second: u32,
    /// Families that were sampled, by rising position.
    pub families: Vec<RawFamily<'a>>,
}
