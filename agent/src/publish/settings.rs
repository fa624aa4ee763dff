//! How NATS is reached and how patient the publisher is. Settled values.

use std::path::PathBuf;
use std::time::Duration;

/// Who the agent is to NATS.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Credentials {
    /// Nobody.
    #[default]
    None,
    /// A credentials file: a JWT and its seed.
    File(PathBuf),
    /// A file that holds an nkey seed.
    NkeyFile(PathBuf),
    /// A user, and the file that holds the password.
    User {
        /// User name.
        name: String,
        /// File with the password.
        password_file: PathBuf,
    },
}

/// Everything the publisher needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatsSettings {
    /// One or more servers of one cluster, `nats://` or `tls://`.
    pub urls: Vec<String>,
    /// Who the agent is.
    pub credentials: Credentials,
    /// Whether to insist on TLS whatever the URL says.
    pub tls: bool,
    /// Certificates that sign the server's, if they are not public ones.
    pub tls_ca_file: Option<PathBuf>,
    /// The agent's own certificate and key.
    pub tls_identity: Option<(PathBuf, PathBuf)>,
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
            urls: vec![url.into()],
            credentials: Credentials::None,
            tls: false,
            tls_ca_file: None,
            tls_identity: None,
            partitions: 1,
            window: 64,
            ack_timeout: Duration::from_secs(5),
            resend_after: Duration::from_secs(10),
        }
    }
}
