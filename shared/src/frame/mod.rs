//! The frame: one second of one agent's scans, standing alone.
//!
//! A frame is a fixed header that can be trusted before the body is read, and a zstd payload. The
//! payload holds one block per family: scan times, the entity dictionary, which entity was seen at
//! which scan, at which of these its row *changed*, and per metric one stream of the changed values
//! only. Most processes are idle between two scans, so most rows cost one bit. Because entities are
//! sorted by their key, a block's rows come out in the order ClickHouse stores them.
//!
//! Rejected: one row per (series, time, value), which is thirty times the bytes and the work; a
//! schema negotiated between frames, because any frame may be lost, re-sent or read out of order.

mod builder;
mod decode;
mod encode;
mod error;
mod header;
mod reduce;
mod varint;
mod wire;

pub use builder::{FrameBuilder, FrameMeta, Key, Slot};
pub use decode::{decode, verify, Block, Frame, KeyColumn, Scratch};
pub use encode::seal_dropped;
pub use error::FrameError;
pub use header::{AgentName, Header, FLAG_DROPPED, VERSION};
pub use reduce::Reduction;
pub use wire::DroppedRange;

/// Most scans of one family in one frame: one bit each in a 128-bit map.
pub const MAX_SCANS: usize = 128;
/// Most rows in one frame.
pub const MAX_ROWS: u32 = 1 << 18;
/// Most samples in one frame: bounds what a decoder allocates (8 bytes each, at worst).
pub const MAX_SAMPLES: u64 = 1 << 22;
/// Longest payload: with the header it stays under NATS's default limit of 1 MiB a message.
pub const MAX_PAYLOAD: u32 = (1 << 20) - 4096;
/// Longest payload before compression.
pub const MAX_RAW: u32 = 16 << 20;
/// Most sequence numbers that one report of dropped frames may name.
pub const MAX_DROPPED: u64 = 1 << 20;
/// Longest text in an entity key, in bytes; longer ones are cut by the builder.
pub const MAX_KEY_TEXT: usize = 1024;
