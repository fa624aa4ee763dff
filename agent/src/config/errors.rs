//! Why a configuration is refused.

use std::io;
use std::path::PathBuf;

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path} cannot be read: {cause}; check --config", path = .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// Something in the file is wrong.
    #[error("{path}, line {line}: {problem}", path = .path.display())]
    At {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong and what to write instead.
        problem: String,
    },
    /// An argument of the command line is wrong.
    #[error("{flag}: {problem}")]
    Flag {
        /// The argument.
        flag: &'static str,
        /// What is wrong and what to write instead.
        problem: String,
    },
}
