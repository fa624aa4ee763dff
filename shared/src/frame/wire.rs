//! The envelope inside a frame's payload, in the bincode 2 format (`standard()`): little-endian,
//! variable-length integers, lengths before sequences. It is written by wincode; a test holds its
//! bytes against bincode itself.
// The derived readers forget the guard that would drop a half-read value.
#![allow(clippy::mem_forget)]

use wincode::config::Configuration;
use wincode::{SchemaRead, SchemaWrite};

/// What a payload holds.
#[derive(Debug, SchemaRead, SchemaWrite)]
pub(super) struct Envelope<'a> {
    /// One block a family, ascending by family number.
    pub blocks: Vec<WireBlock<'a>>,
    /// Frames the spool gave up, in a frame that reports them.
    pub dropped: Vec<DroppedRange>,
}

/// One family's block: counts and five byte streams.
#[derive(Debug, SchemaRead, SchemaWrite)]
pub(super) struct WireBlock<'a> {
    /// Family number.
    pub family: u16,
    /// How many scans.
    pub scans: u16,
    /// How many entities.
    pub entities: u32,
    /// Scan times: zigzag varints, the first from 0, the others from the one before.
    pub times: &'a [u8],
    /// Key columns: a tag byte (0 integer, 1 text), then one value an entity.
    pub keys: &'a [u8],
    /// Which scans saw the entity: one 128-bit varint each; empty when every scan saw all.
    pub presence: &'a [u8],
    /// At which scans the entity's row changed: one 128-bit varint each.
    pub changes: &'a [u8],
    /// Metric numbers: varints, each from the one before.
    pub metrics: &'a [u8],
    /// The changed values, metric by metric: zigzag varints of the difference from the row before
    /// (an entity's first row: from the first row of the entity before); 0 is followed by how many
    /// more zeros come.
    pub values: &'a [u8],
}

/// Frames that never left the agent, because its spool had no room or its disk damaged them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub struct DroppedRange {
    /// Boot of the frames.
    pub boot: u64,
    /// First sequence number.
    pub first_seq: u64,
    /// Last sequence number.
    pub last_seq: u64,
    /// Rows lost.
    pub rows: u64,
    /// Samples lost.
    pub samples: u64,
}

/// bincode 2's `standard()` for writing: what this program puts together itself needs no limit.
pub(super) fn write_format() -> impl wincode::config::Config {
    Configuration::default().with_varint_encoding().disable_preallocation_size_limit()
}

/// The same for reading, with what one sequence may allocate ahead of its bytes bounded to 256 KiB:
/// some 2,500 blocks or 6,500 dropped ranges. Streams are borrowed and allocate nothing.
pub(super) fn read_format() -> impl wincode::config::Config {
    Configuration::default().with_varint_encoding().with_preallocation_size_limit::<{ 256 << 10 }>()
}
