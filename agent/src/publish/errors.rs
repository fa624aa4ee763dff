//! Why publishing cannot begin. Once it has begun, trouble is counted and outlived.

use std::path::PathBuf;

/// Settings that cannot work.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// A file with secrets cannot be used.
    #[error("{path} cannot be read as {what}: {cause}; check the file and `nats.{key}` in the configuration", path = .path.display())]
    Credentials {
        /// What was expected in it.
        what: &'static str,
        /// The key that names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What went wrong.
        cause: String,
    },
    /// The client refuses the settings.
    #[error("no connection to NATS can be made with {url}: {cause}; check `nats.url` and the TLS files")]
    Connect {
        /// The URLs.
        url: String,
        /// What the client said.
        cause: String,
    },
    /// The client ended.
    #[error("the NATS client has ended: {cause}; this is a fault of the agent, please report it")]
    Ended {
        /// What it said.
        cause: String,
    },
}
