//! Orders: gives agents signed orders over NATS, takes their receipts, and keeps the state of operations.
//! It never decides anything and never knows ClickHouse.

mod keys;
mod pace;
mod seals;
mod sender;
mod state;

pub use fettle_shared::seal::SealError;

pub use keys::SigningKey;
pub use pace::RECEIPTS_PER_SECOND;
pub use seals::Seals;
pub use sender::{Answer, HandedIn, Receipts, Sender};
pub use state::StateCell;

/// What can go wrong between operations and NATS.
#[derive(Debug, thiserror::Error)]
pub enum OrdersError {
    /// NATS does not answer.
    #[error("NATS does not give or take {what} ({cause}); it is tried again")]
    Away {
        /// What.
        what: String,
        /// Why.
        cause: String,
    },
    /// Another collector has written the state since.
    #[error("another collector has taken over operations; this one stops deciding")]
    Overtaken,
    /// The state cannot be read.
    #[error("the saved state {key} is damaged ({cause}); it is begun anew")]
    Damaged {
        /// Its key.
        key: String,
        /// What is wrong.
        cause: String,
    },
    /// Somebody else than a trusted collector wrote the state, or put an older one back.
    #[error("the state {key} is not taken: {reason}")]
    NotTaken {
        /// Its key.
        key: String,
        /// Why.
        reason: SealError,
    },
    /// The signing key cannot be read or made.
    #[error("{path} cannot be used ({cause}); it must hold 64 hexadecimal digits and be readable by its owner alone")]
    Key {
        /// Path.
        path: std::path::PathBuf,
        /// Why.
        cause: String,
    },
}
