//! What can go wrong in starting or running the engine, each in one sentence with its remedy.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Why the engine did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// No libchdb in any of the usual places.
    #[error("libchdb.so was not found (looked at {searched}); run `deploy/up --setup-only` to install it, or set FETTLE_LIBCHDB to its path")]
    LibraryMissing {
        /// The places looked at, comma separated.
        searched: String,
    },
    /// The file is there but cannot be loaded.
    #[error("{path} could not be loaded as libchdb ({reason}); run `deploy/up --setup-only` to install it again", path = .path.display())]
    LibraryUnusable {
        /// The file.
        path: PathBuf,
        /// What the loader said.
        reason: String,
    },
    /// The engine would not open the data directory.
    #[error("the ClickHouse engine could not open {path}; check that no other process uses it and that it is writable: {reason}", path = .path.display())]
    Open {
        /// The data directory.
        path: PathBuf,
        /// What the engine said, when it said anything.
        reason: String,
    },
    /// The address is taken or not ours.
    #[error(
        "cannot listen on {address} ({source}); stop what uses it or choose another address with --listen"
    )]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file or directory could not be made, read or written.
    #[error("{path}: {source}; make it readable and writable by this user", path = .path.display())]
    File {
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The system gave no thread.
    #[error("could not start a thread ({source}); raise this user's limit of processes")]
    Threads {
        /// What the system said.
        source: std::io::Error,
    },
}
