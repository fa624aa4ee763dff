//! The fixed header of a frame. Its size and offsets are compile-time facts, it has a checksum of
//! its own, and every length in it is bounded, so a reader may trust it before it touches the body.
//!
//! ```text
//!   0  magic "FTLE"       4  version u16     6  flags u16      8  agent, 64 bytes, zero padded
//!  72  boot u64          80  seq u64        88  first_us i64  96  last_us i64
//! 104  rows u32         108  payload u32   112  raw u32      116  catalogue version u32
//! 120  samples u64      128  xxh3-64 of the payload          136  xxh3-64 of bytes 0..136
//! ```
//! All integers are little-endian; times are microseconds since 1970 UTC.

use xxhash_rust::xxh3::xxh3_64;

use super::{FrameError, MAX_PAYLOAD, MAX_RAW, MAX_ROWS, MAX_SAMPLES};
use crate::subjects::{is_agent_name, AGENT_NAME_MAX};

/// The format this program writes.
pub const VERSION: u16 = 1;
/// Flag: the frame holds no samples but says which frames the spool had to give up.
pub const FLAG_DROPPED: u16 = 1;
const MAGIC: [u8; 4] = *b"FTLE";

/// An agent's name, kept inline.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AgentName {
    bytes: [u8; AGENT_NAME_MAX],
    len: u8,
}

impl AgentName {
    /// Takes a valid agent name (see [`is_agent_name`]).
    pub fn new(name: &str) -> Option<Self> {
        if !is_agent_name(name) {
            return None;
        }
        let mut bytes = [0; AGENT_NAME_MAX];
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        Some(Self { bytes, len: name.len() as u8 })
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or_default()
    }

    fn from_padded(bytes: &[u8]) -> Option<Self> {
        let len = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
        if bytes[len..].iter().any(|b| *b != 0) {
            return None;
        }
        Self::new(std::str::from_utf8(&bytes[..len]).ok()?)
    }
}

impl std::fmt::Debug for AgentName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

impl std::fmt::Display for AgentName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a frame says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Format version.
    pub version: u16,
    /// See [`FLAG_DROPPED`].
    pub flags: u16,
    /// Who sampled.
    pub agent: AgentName,
    /// Which life of the agent's spool the sequence belongs to.
    pub boot: u64,
    /// Sequence number within the boot, from 1.
    pub seq: u64,
    /// Earliest scan, µs since 1970 UTC.
    pub first_us: i64,
    /// Latest scan, µs since 1970 UTC.
    pub last_us: i64,
    /// Rows over all blocks.
    pub rows: u32,
    /// Samples over all blocks.
    pub samples: u64,
    /// Version of the agent's catalogue.
    pub catalogue: u32,
    /// Payload bytes before compression.
    pub raw_len: u32,
    /// Payload bytes behind the header.
    pub payload_len: u32,
    /// xxh3-64 of the payload.
    pub payload_hash: u64,
}

impl Header {
    /// Bytes of a header.
    pub const LEN: usize = 144;

    /// Bytes of the whole frame.
    pub fn frame_len(&self) -> usize {
        Self::LEN + self.payload_len as usize
    }

    /// Whether the frame reports dropped frames instead of samples.
    pub fn is_dropped_report(&self) -> bool {
        self.flags & FLAG_DROPPED != 0
    }

    /// Gives the sealed frame in `bytes` its place in the agent's spool: writes boot and sequence
    /// number into its header. The payload does not know them, so it stays as it is.
    pub fn renumber(bytes: &mut [u8], boot: u64, seq: u64) -> Result<Self, FrameError> {
        let header = Self { boot, seq, ..Self::parse(bytes)? };
        bytes[..Self::LEN].copy_from_slice(&header.write());
        Ok(header)
    }

    pub(super) fn write(&self) -> [u8; Self::LEN] {
        let mut out = [0u8; Self::LEN];
        out[0..4].copy_from_slice(&MAGIC);
        out[4..6].copy_from_slice(&self.version.to_le_bytes());
        out[6..8].copy_from_slice(&self.flags.to_le_bytes());
        out[8..72].copy_from_slice(&self.agent.bytes);
        out[72..80].copy_from_slice(&self.boot.to_le_bytes());
        out[80..88].copy_from_slice(&self.seq.to_le_bytes());
        out[88..96].copy_from_slice(&self.first_us.to_le_bytes());
        out[96..104].copy_from_slice(&self.last_us.to_le_bytes());
        out[104..108].copy_from_slice(&self.rows.to_le_bytes());
        out[108..112].copy_from_slice(&self.payload_len.to_le_bytes());
        out[112..116].copy_from_slice(&self.raw_len.to_le_bytes());
        out[116..120].copy_from_slice(&self.catalogue.to_le_bytes());
        out[120..128].copy_from_slice(&self.samples.to_le_bytes());
        out[128..136].copy_from_slice(&self.payload_hash.to_le_bytes());
        let hash = xxh3_64(&out[..136]);
        out[136..144].copy_from_slice(&hash.to_le_bytes());
        out
    }

    /// Reads and checks the header at the start of `bytes`; the body is not looked at.
    pub fn parse(bytes: &[u8]) -> Result<Self, FrameError> {
        let Some(head) = bytes.first_chunk::<{ Self::LEN }>() else {
            return Err(FrameError::ShortHeader { have: bytes.len(), need: Self::LEN });
        };
        if head[..4] != MAGIC {
            return Err(FrameError::Magic);
        }
        if xxh3_64(&head[..136]) != u64_at(head, 136) {
            return Err(FrameError::HeaderChecksum);
        }
        let version = u16::from_le_bytes([head[4], head[5]]);
        if version != VERSION {
            return Err(FrameError::Version(version));
        }
        let header = Self {
            version,
            flags: u16::from_le_bytes([head[6], head[7]]),
            agent: AgentName::from_padded(&head[8..72]).ok_or(FrameError::Bounds("agent name"))?,
            boot: u64_at(head, 72),
            seq: u64_at(head, 80),
            first_us: u64_at(head, 88) as i64,
            last_us: u64_at(head, 96) as i64,
            rows: u32_at(head, 104),
            payload_len: u32_at(head, 108),
            raw_len: u32_at(head, 112),
            catalogue: u32_at(head, 116),
            samples: u64_at(head, 120),
            payload_hash: u64_at(head, 128),
        };
        header.check_bounds()?;
        Ok(header)
    }

    fn check_bounds(&self) -> Result<(), FrameError> {
        let rule = |ok: bool, what| if ok { Ok(()) } else { Err(FrameError::Bounds(what)) };
        rule(self.flags & !FLAG_DROPPED == 0, "flag")?;
        rule(self.seq > 0 && self.seq < 1 << 62, "sequence number")?;
        rule(self.first_us <= self.last_us, "time range")?;
        rule(self.first_us >= 0 && self.last_us < MAX_TIME_US, "time")?;
        rule(self.rows <= MAX_ROWS, "row count")?;
        rule(self.samples <= MAX_SAMPLES, "sample count")?;
        rule(self.payload_len <= MAX_PAYLOAD, "payload length")?;
        rule(self.raw_len <= MAX_RAW, "uncompressed length")
    }
}

/// 2200-01-01: later than any sane clock, and within ClickHouse's DateTime64(6).
pub(super) const MAX_TIME_US: i64 = 7_258_118_400_000_000;

fn u64_at(head: &[u8; Header::LEN], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&head[at..at + 8]);
    u64::from_le_bytes(word)
}

fn u32_at(head: &[u8; Header::LEN], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&head[at..at + 4]);
    u32::from_le_bytes(word)
}
