//! Why the agent cannot keep the ledger of its actions.

use std::path::PathBuf;

/// What goes wrong around actions; what goes wrong within one stands in its receipt.
#[derive(Debug, thiserror::Error)]
pub enum ActError {
    /// A file of the ledger.
    #[error("{path} cannot be {what}: {cause}; see to its disk and its owner, and that one agent alone uses it", path = .path.display())]
    Ledger {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// A record that is too long.
    #[error(
        "a record of {bytes} bytes is too long for the ledger of actions; shorten the host's file's names"
    )]
    Record {
        /// Its length.
        bytes: usize,
    },
    /// The subscription to orders.
    #[error("orders cannot be subscribed to: {cause}; check the connection to NATS")]
    Orders {
        /// What the client said.
        cause: String,
    },
}
