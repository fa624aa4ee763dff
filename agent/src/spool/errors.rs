//! Why a spool cannot be opened or looked into. Once it is open, trouble is counted and outlived.

use std::io;
use std::path::PathBuf;

/// A spool that does not open.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// A file or the directory cannot be used.
    #[error("the spool at {path} cannot be opened: {cause}; make it a directory that this user may write to, or name another with --spool", path = .path.display())]
    Unusable {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// Another agent has it.
    #[error("the spool at {path} is in use by another fettle-agent; stop that one, or name another directory with --spool", path = .path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// Nothing there to look into.
    #[error("there is no spool at {path}; name the directory that the agent's `spool.dir` says", path = .path.display())]
    Absent {
        /// The directory.
        path: PathBuf,
    },
    /// The agent's name is not one.
    #[error("{name:?} cannot be an agent's name; use 1 to 64 of A-Z a-z 0-9 _ -")]
    AgentName {
        /// What was given.
        name: String,
    },
    /// The thread did not start.
    #[error("the spool's thread could not be started: {cause}; raise the limit of threads for this user")]
    Thread {
        /// What the system said.
        cause: io::Error,
    },
}
