//! Why operations begin again from the saved state.

use crate::ingest::IngestError;
use crate::orders::OrdersError;
use crate::store::StoreError;

/// Why operations stopped for a moment.
#[derive(Debug, thiserror::Error)]
pub(super) enum OperateError {
    #[error(transparent)]
    Orders(#[from] OrdersError),
    #[error(transparent)]
    Ingest(#[from] IngestError),
    #[error("NATS does not take a subscription ({0})")]
    Subscribe(String),
    #[error("the state of operations cannot be written ({0})")]
    Encode(#[from] serde_json::Error),
    #[error("the lease of operations ran out")]
    LeaseLost,
    #[error("the channels cannot be set up ({0})")]
    Channels(String),
    #[error("there is no saved state, and where the audit ends cannot be read ({0})")]
    AuditEnd(#[from] StoreError),
}
