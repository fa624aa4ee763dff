//! `fettle audit verify`: reads the chain from ClickHouse and checks every hash, and that it reaches as far as
//! the collector remembers.

use super::arguments::Collector;
use super::client::OperationsError;
use crate::arguments::Server;

/// Checks the chain.
pub(super) async fn verify(_server: &Server, _collector: &Collector) -> Result<(), OperationsError> {
    Err(OperationsError::Broken("not yet".into()))
}
