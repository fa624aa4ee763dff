//! What can go wrong in supervising.

use std::path::PathBuf;

/// A start that failed, or a supervisor that cannot be.
#[derive(Debug, thiserror::Error)]
pub enum SuperviseError {
    /// A replica could not be started.
    #[error("{component} cannot be started: {cause}")]
    Start {
        /// The component.
        component: String,
        /// Why.
        cause: String,
    },
    /// The directory for records and output.
    #[error("{dir} cannot be made: {cause}; set [act] state_dir to a directory that this user may write")]
    State {
        /// The directory.
        dir: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
}
