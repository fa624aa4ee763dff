//! The store: everything that speaks to ClickHouse, and nothing else. It knows the catalogue and SQL;
//! it never knows NATS or another room.
//!
//! Order of writes for a batch, and why a crash between any two of them is harmless: intent, then one
//! block per family with its deduplication token, then the ledger rows. After a crash the owner finds
//! an intent without its ledger rows and writes the same blocks with the same tokens; ClickHouse
//! drops the blocks it has.

mod assemble;
mod bookkeeping;
mod config;
mod native;
mod windows;

pub use crate::handoff::{
    DirtyWindow, FrameEntry, Intent, LedgerRow, LedgerStatus, Level, RollupEntry, Watermark,
};
pub use assemble::{Assembled, Assembler};
pub use config::{Durability, RawStoreConfig, RawTtl, StoreSettings, Ttl};
pub use native::{Column, ColumnKind, ColumnSpec, NativeBlock};
pub use windows::{AgentWindow, PartialWindows};

use bytes::Bytes;
use fettle_shared::catalogue::{Catalogue, Family};

/// What can go wrong in the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A configuration value is wrong.
    #[error("clickhouse.{key}: {cause}")]
    Config {
        /// Key below `[clickhouse]`.
        key: String,
        /// What is wrong and what to write instead.
        cause: String,
    },
    /// ClickHouse cannot be reached or did not answer in time; the same request may be sent again.
    #[error("ClickHouse at {url} does not answer ({cause}); it is tried again")]
    Unreachable {
        /// Address.
        url: String,
        /// What happened.
        cause: String,
    },
    /// ClickHouse answered that it cannot now (too busy, out of memory or space); try again later.
    #[error("ClickHouse cannot take {what} now (code {code}: {cause}); it is tried again")]
    Busy {
        /// What was asked.
        what: String,
        /// ClickHouse's error code.
        code: i32,
        /// Its words.
        cause: String,
    },
    /// ClickHouse refused for good; sending the same again cannot help.
    #[error("ClickHouse refused {what} (code {code}: {cause})")]
    Refused {
        /// What was asked.
        what: String,
        /// ClickHouse's error code.
        code: i32,
        /// Its words.
        cause: String,
    },
    /// An answer does not have the expected shape.
    #[error("ClickHouse's answer to {what} is not understood: {cause}")]
    Answer {
        /// What was asked.
        what: String,
        /// What is wrong with it.
        cause: String,
    },
    /// The schema there is newer than this program.
    #[error("the schema in ClickHouse is version {found}, this program knows {known}; start a newer fettle")]
    Newer {
        /// Version found.
        found: u32,
        /// Version this program writes.
        known: u32,
    },
    /// A column there has a type that the catalogue cannot be brought to.
    #[error("column {table}.{column} is {found} in ClickHouse, the catalogue says {wanted}; {remedy}")]
    Column {
        /// Table.
        table: String,
        /// Column.
        column: String,
        /// Type found.
        found: String,
        /// Type of the catalogue.
        wanted: String,
        /// What to do.
        remedy: String,
    },
}

impl StoreError {
    /// Whether sending the same request again may succeed.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Busy { .. })
    }
}

/// Which agents a question is about.
#[derive(Debug, Clone, Copy)]
pub enum Agents<'a> {
    /// Every agent.
    All,
    /// These.
    Named(&'a [String]),
    /// Those whose name hashes to this partition of so many.
    Partition {
        /// The partition.
        index: u16,
        /// How many there are.
        count: u16,
    },
}

/// The store. Cheap to clone; every method may be called from several tasks at once.
#[derive(Debug, Clone)]
pub struct Store {
    settings: StoreSettings,
    catalogue: &'static Catalogue,
}

/// Columns of a family's raw table, in the order a block must have: host, ts, entities, metrics.
pub fn raw_columns(family: &Family) -> Vec<ColumnSpec> {
    let _ = family;
    Vec::new()
}

/// Columns of a family's roll-up tables: host, ts, entities, samples, per metric min, max, sum, last
/// (and count for optional ones), version.
pub fn rollup_columns(family: &Family) -> Vec<ColumnSpec> {
    let _ = family;
    Vec::new()
}

fn unbuilt<T>() -> Result<T, StoreError> {
    Err(StoreError::Config { key: "store".into(), cause: "not yet built".into() })
}

impl Store {
    /// A store for this server. Does not connect yet; [`Store::ping`] does.
    pub fn connect(settings: StoreSettings, catalogue: &'static Catalogue) -> Result<Self, StoreError> {
        Ok(Self { settings, catalogue })
    }

    /// Whether the server answers; its version.
    pub async fn ping(&self) -> Result<String, StoreError> {
        let _ = (&self.settings, self.catalogue);
        unbuilt()
    }

    /// Brings the schema up to this program's: creates, adds columns, changes TTLs. Idempotent.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        unbuilt()
    }

    /// Writes an intent; again with the same intent changes nothing.
    pub async fn write_intent(&self, intent: &Intent) -> Result<(), StoreError> {
        let _ = intent;
        unbuilt()
    }

    /// Inserts a finished block. `body` is what [`NativeBlock::finish`] gave; it is only borrowed, so
    /// the same body can be sent again with the same token.
    pub async fn insert_block(&self, table: &str, body: &[Bytes], token: &str) -> Result<(), StoreError> {
        let _ = (table, body, token);
        unbuilt()
    }

    /// Writes ledger rows; again with the same token changes nothing.
    pub async fn write_ledger(&self, rows: &[LedgerRow], token: &str) -> Result<(), StoreError> {
        let _ = (rows, token);
        unbuilt()
    }

    /// The newest intent of a partition.
    pub async fn last_intent(&self, partition: u16) -> Result<Option<Intent>, StoreError> {
        let _ = partition;
        unbuilt()
    }

    /// Whether every frame of the intent is in the ledger under its batch.
    pub async fn ledger_batch_complete(&self, intent: &Intent) -> Result<bool, StoreError> {
        let _ = intent;
        unbuilt()
    }

    /// What is accounted for, per agent and boot.
    pub async fn watermarks(&self, agents: Agents<'_>) -> Result<Vec<Watermark>, StoreError> {
        let _ = agents;
        unbuilt()
    }

    /// Windows of a level whose newest content is newer than what the log says was rolled up, that
    /// start at or after `from` and end at or before `until` (seconds since the epoch).
    pub async fn dirty_windows(
        &self,
        level: Level,
        partition: u16,
        from: u32,
        until: u32,
    ) -> Result<Vec<DirtyWindow>, StoreError> {
        let _ = (level, partition, from, until);
        unbuilt()
    }

    /// Makes one window of one family's level for these agents, by INSERT … SELECT from the level
    /// below. Making it again with a higher version replaces it.
    pub async fn make_rollup(
        &self,
        family: &Family,
        level: Level,
        window: u32,
        agents: &[String],
        version: u64,
    ) -> Result<(), StoreError> {
        let _ = (family, level, window, agents, version);
        unbuilt()
    }

    /// Writes down that a window is made for all families.
    pub async fn log_rollup(&self, entry: &RollupEntry) -> Result<(), StoreError> {
        let _ = entry;
        unbuilt()
    }
}
