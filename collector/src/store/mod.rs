//! The store: everything that speaks to ClickHouse, and nothing else. It knows the catalogue and SQL;
//! it never knows NATS or another room.
//!
//! Order of writes for a batch, and why a crash between any two of them is harmless: intent, then one
//! block per family with its deduplication token, then the ledger rows. After a crash the owner finds
//! an intent without its ledger rows and writes the same blocks with the same tokens; ClickHouse
//! drops the blocks it has.

mod assemble;
mod audit_end;
mod client;
mod config;
mod ddl;
mod error;
mod findings;
mod findings_schema;
mod ledger;
mod ledger_schema;
mod migrate;
mod native;
mod operations_schema;
mod outlook;
mod outlook_schema;
mod own_rows;
mod rollup;
mod rollup_log;
mod schema;
mod views;
mod windows;

pub use crate::handoff::{
    DirtyWindow, FrameEntry, Intent, LedgerRow, LedgerStatus, Level, Piece, RollupEntry, Watermark,
};
use client::Form;

pub use assemble::{Assembled, Assembler};
pub use config::{Durability, RawStoreConfig, RawTtl, Secret, StoreSettings, Ttl};
pub use error::StoreError;
pub use migrate::SCHEMA_VERSION;
pub use native::{Column, ColumnKind, ColumnSpec, NativeBlock};
pub use outlook::{Growing, StoredSpan, StoredTrack, TrackQuestion};
pub use schema::{raw_columns, rollup_columns};
pub use windows::{AgentWindow, PartialWindows, Reductions, SecondWindow};

use bytes::Bytes;
use fettle_shared::catalogue::Catalogue;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use client::Connection;
use ddl::Place;

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
    connection: Connection,
    settings: StoreSettings,
    catalogue: &'static Catalogue,
}

#[derive(Deserialize)]
struct PingRow {
    version: String,
}

impl Store {
    /// A store for this server. Does not connect yet; [`Store::ping`] does.
    ///
    /// # Errors
    /// None today; settings that no client can be made of would be one.
    pub fn connect(settings: StoreSettings, catalogue: &'static Catalogue) -> Result<Self, StoreError> {
        Ok(Self { connection: Connection::new(settings.clone()), settings, catalogue })
    }

    fn place(&self) -> Place<'_> {
        Place::of(&self.settings)
    }

    /// Whether the server answers; its version.
    ///
    /// # Errors
    /// What kept it from answering.
    pub async fn ping(&self) -> Result<String, StoreError> {
        let rows: Vec<PingRow> = self.connection.rows("a ping", "SELECT version() AS version").await?;
        Ok(rows.into_iter().next().map(|row| row.version).unwrap_or_default())
    }

    /// Inserts a finished block. `body` is what [`NativeBlock::finish`] gave; it is only borrowed, so
    /// the same body can be sent again with the same token.
    ///
    /// # Errors
    /// What ClickHouse says.
    pub async fn insert_block(&self, table: &str, body: &[Bytes], token: &str) -> Result<(), StoreError> {
        self.connection.insert(&self.place().asked(table), Form::Whole, body, token).await
    }

    /// Inserts rows given as JSON objects, once: again with the same token changes nothing. For tables of
    /// few rows; columns that an object lacks get their defaults.
    ///
    /// # Errors
    /// What ClickHouse says, or a row that is no JSON object.
    pub async fn insert_rows<T: Serialize>(
        &self,
        table: &str,
        rows: &[T],
        token: &str,
    ) -> Result<(), StoreError> {
        let mut body = Vec::new();
        for row in rows {
            serde_json::to_writer(&mut body, row)
                .map_err(|error| StoreError::Answer { what: table.into(), cause: error.to_string() })?;
            body.push(b'\n');
        }
        self.connection.insert_json(&self.place().asked(table), body, Some(token)).await
    }

    /// The rows of a SELECT, each read from its JSON object. For the read side.
    ///
    /// # Errors
    /// What ClickHouse says, or rows of another shape than `T`.
    pub async fn select<T: DeserializeOwned>(&self, sql: &str) -> Result<Vec<T>, StoreError> {
        self.connection.rows("a question", sql).await
    }
}
