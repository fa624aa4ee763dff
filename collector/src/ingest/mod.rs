//! Ingest: takes frames off NATS and decides which of them are new. It never knows ClickHouse; what
//! is already stored is told to it, and what becomes stored is told to it again.

mod admission;
mod connect;
mod lease;
mod source;
mod state;

pub use admission::{Admission, Verdict};
pub use connect::{connect, ensure_streams};
pub use lease::{Lease, LeaseView, LEASE_TIME};
pub use source::{Arrival, Event, Receipt, Source};
pub use state::{Loaded, StateStore};

/// What can go wrong between NATS and the collector.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The client could not be set up.
    #[error("NATS at {url} cannot be used ({cause}); check nats.url and the credentials")]
    Connect {
        /// Address.
        url: String,
        /// What the client said.
        cause: String,
    },
    /// A stream or consumer could not be made ready.
    #[error("JetStream does not give the {what} ({cause}); it is tried again")]
    JetStream {
        /// Stream or consumer.
        what: String,
        /// What the server said.
        cause: String,
    },
    /// A credentials file cannot be read.
    #[error("{path} cannot be read ({cause}); check nats.credentials_file")]
    Credentials {
        /// Path.
        path: String,
        /// Why.
        cause: String,
    },
}
