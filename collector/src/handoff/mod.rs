//! What passes between the rooms: frames, batches and roll-up windows as the intent, the ledger and
//! the roll-up log know them. Plain data; rooms import this file and never each other.
//!
//! A frame is named by (agent, boot, seq). A batch is a list of frames that one owner of a partition
//! stored together; its intent is written first, its ledger rows last, so a crash in between leaves
//! an intent whose ledger rows are missing, and that is how it is found again.

mod operations;
mod recent;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use fettle_analysis::live::{AnomalyRow, HealthRow};
use fettle_analysis::second::HostSecond;
use serde::{Deserialize, Serialize};

pub use operations::{Ask, AskError, OperationsHandle, PlanVerb, Question, SilenceOrder, Word};
pub use recent::{AskRecent, RecentDoors};

/// One frame as the intent and the ledger know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrameEntry {
    /// Agent that made the frame; also the `host` of its rows.
    pub agent: String,
    /// Boot of the agent, chosen by it, larger for later boots.
    pub boot: u64,
    /// Sequence number within the boot, from 1.
    pub seq: u64,
    /// Rows over all families.
    pub rows: u32,
    /// Samples over all families.
    pub samples: u64,
    /// Time of the first scan, microseconds since the epoch.
    pub first_us: i64,
    /// Time of the last scan, microseconds since the epoch.
    pub last_us: i64,
}

/// What an owner is about to store: written before the rows, read again after a crash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// Partition of the subjects.
    pub partition: u16,
    /// Number of the batch, rising within the partition.
    pub number: u64,
    /// Fencing number of the owner's lease.
    pub fence: u64,
    /// When the owner closed the batch, microseconds since the epoch.
    pub created_us: i64,
    /// A table's block is closed, and its next one begun, after the frame that takes it to this many
    /// rows; 0: never. It stands here because the blocks must be made the same after a crash.
    pub cut_rows: u32,
    /// How often the batch was begun again without frames that did not come back. From the first time
    /// on, whatever rows its frames have are deleted before it is written anew.
    pub attempt: u32,
    /// The frames in the order in which their rows are laid out.
    pub frames: Vec<FrameEntry>,
    /// The frames that did not come back.
    pub lost: Vec<FrameEntry>,
}

impl Intent {
    /// The deduplication token of one of this batch's blocks for one table. The time and the fence are
    /// in it so that a number that is ever used again (a wiped lease store) cannot be taken for this
    /// batch.
    pub fn token(&self, table: &str, part: u32) -> String {
        let Self { partition, number, fence, created_us, .. } = self;
        format!("{table}:{partition}:{number}:{fence}:{created_us}:{part}")
    }
}

/// One block of a batch: rows of one table.
#[derive(Debug, Clone)]
pub struct Piece {
    /// Table it is for.
    pub table: String,
    /// Which of the batch's blocks for this table it is, from 0.
    pub part: u32,
    /// Rows in it.
    pub rows: usize,
    /// The Native block.
    pub body: Vec<bytes::Bytes>,
}

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LedgerStatus {
    /// Its rows are in the family tables.
    Stored,
    /// The agent's spool gave it up when its quota was reached.
    Dropped,
    /// It was damaged and put aside.
    Quarantined,
}

impl LedgerStatus {
    /// Value of the ledger's Enum8 column.
    pub fn code(self) -> i8 {
        match self {
            Self::Stored => 1,
            Self::Dropped => 2,
            Self::Quarantined => 3,
        }
    }
}

/// One row of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerRow {
    /// The frame.
    pub frame: FrameEntry,
    /// What became of it.
    pub status: LedgerStatus,
    /// Partition that accounted for it.
    pub partition: u16,
    /// Batch that accounted for it.
    pub batch: u64,
}

/// What is accounted for of one boot of one agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watermark {
    /// The agent.
    pub agent: String,
    /// Its boot.
    pub boot: u64,
    /// Every sequence number up to this one is in the ledger (or was, before its TTL); 0: none.
    pub upto: u64,
    /// Ranges above `upto` that are in the ledger, inclusive, rising, not touching.
    pub above: Vec<(u64, u64)>,
}

/// The levels of roll-ups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// 10 seconds, from raw rows.
    TenSeconds,
    /// One minute, from 10-second windows.
    Minute,
    /// One hour, from one-minute windows.
    Hour,
}

impl Level {
    /// All levels, finest first: the order in which they must be made.
    pub const ALL: [Self; 3] = [Self::TenSeconds, Self::Minute, Self::Hour];

    /// Length of a window in seconds.
    pub fn seconds(self) -> u32 {
        match self {
            Self::TenSeconds => 10,
            Self::Minute => 60,
            Self::Hour => 3600,
        }
    }

    /// How tables and the log name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::TenSeconds => "10s",
            Self::Minute => "1m",
            Self::Hour => "1h",
        }
    }

    /// The level this one is made from; none: from raw rows.
    pub fn source(self) -> Option<Self> {
        match self {
            Self::TenSeconds => None,
            Self::Minute => Some(Self::TenSeconds),
            Self::Hour => Some(Self::Minute),
        }
    }

    /// Start of the window that holds a time, in seconds since the epoch.
    pub fn window_of(self, seconds: u32) -> u32 {
        seconds - seconds % self.seconds()
    }
}

/// A window that must be made (again) for some agents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirtyWindow {
    /// Start of the window, seconds since the epoch.
    pub window: u32,
    /// The newest batch that touched each agent's share of it: what to log once it is made.
    pub agents: Vec<(String, u64)>,
}

/// One entry of the roll-up log: these agents' shares of this window are made from everything up to
/// the batch named with each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RollupEntry {
    /// Level that was made.
    pub level: Level,
    /// Partition whose batches are meant.
    pub partition: u16,
    /// Start of the window, seconds since the epoch.
    pub window: u32,
    /// Version the rows carry.
    pub version: u64,
    /// Agents and the newest batch in their share.
    pub agents: Vec<(String, u64)>,
}

/// One second of one host as it was judged: what rules of alerts and others in this process look at.
#[derive(Debug, Clone)]
pub struct Watched {
    /// The second.
    pub second: Arc<HostSecond>,
    /// Anomalies found in it.
    pub anomalies: Vec<AnomalyRow>,
    /// The host's health, when it was scored in this second.
    pub health: Option<HealthRow>,
}

/// What is handed to whoever looks at judged seconds, in the order in which it was read.
#[derive(Debug, Clone)]
pub enum Judged {
    /// A second of a host.
    Second(Box<Watched>),
    /// How far the reading is.
    Listened(Listened),
}

/// For so long a partition was listened to and all that came was read: time in which a host that sends would have
/// been heard. Time in which ClickHouse or the collector was behind is not in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listened {
    /// Partition.
    pub partition: u16,
    /// For how long, µs.
    pub passed_us: i64,
    /// Agents of which something came, be it too old to be judged.
    pub agents: Vec<String>,
}

/// Which findings are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FindingsQuery {
    /// Of this host only.
    pub host: Option<String>,
    /// From this time on, microseconds since the epoch.
    pub from_us: Option<i64>,
    /// Before this time.
    pub to_us: Option<i64>,
    /// At least this bad: `low`, `medium`, `high` or `critical`.
    pub severity: Option<&'static str>,
    /// At most so many rows.
    pub limit: u32,
}

/// Rows as JSON objects, or one sentence that says why there are none.
pub type Answer = Pin<Box<dyn Future<Output = Result<Vec<serde_json::Value>, String>> + Send>>;

/// Reads what detection found. The HTTP interface is given one of these.
pub trait ReadFindings: std::fmt::Debug + Send + Sync {
    /// Anomalies, newest first.
    fn anomalies(&self, query: FindingsQuery) -> Answer;
    /// The newest health score of one host, or of each host that has a recent one.
    fn health(&self, host: Option<String>) -> Answer;
    /// Rows of a table with whatever columns it has, newest first; none while there is no such table.
    fn rows(&self, table: &'static str, query: FindingsQuery) -> Answer;
}
