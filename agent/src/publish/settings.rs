//! How NATS is reached and how patient the publisher is. Settled values.

use std::time::Duration;

use fettle_shared::access::Access;

/// Everything the publisher needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatsSettings {
    /// Where NATS is and who the agent is to it.
    pub access: Access,
    /// How many partitions the fleet's frames travel in; the same everywhere.
    pub partitions: u16,
    /// Frames that may wait for their acknowledgement.
    pub window: usize,
    /// How long an acknowledgement may take.
    pub ack_timeout: Duration,
    /// How long an acknowledged frame may stay unconfirmed before it is sent again.
    pub resend_after: Duration,
}

impl NatsSettings {
    /// A server without credentials, and the default patience.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            access: Access::new(url),
            partitions: 1,
            window: 64,
            ack_timeout: Duration::from_secs(5),
            resend_after: Duration::from_secs(10),
        }
    }
}
