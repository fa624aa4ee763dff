//! What keeps `fettle up` from starting, each in one sentence with its remedy.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use fettle_engine::EngineError;

use crate::locate::LocateError;

/// Why `fettle up` did not start or did not stay up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpError {
    /// The state directory cannot be made or written.
    #[error("cannot write to {path} ({source}); make it writable by this user or choose another with --state-dir", path = .path.display())]
    Unwritable {
        /// The directory or file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another `fettle up` works in the same directory.
    #[error("another `fettle up`{holder} runs on {path}; stop it or choose another directory with --state-dir", path = .path.display())]
    Locked {
        /// The state directory.
        path: PathBuf,
        /// ` (pid N)` when it is known.
        holder: String,
    },
    /// An address is taken.
    #[error(
        "{what} cannot use {address}: {holder} listens there; stop it or choose another address with {flag}"
    )]
    InUse {
        /// What wants the address.
        what: &'static str,
        /// The address.
        address: SocketAddr,
        /// Who has it.
        holder: String,
        /// The flag that changes it.
        flag: &'static str,
    },
    /// An address is not this machine's, or not allowed.
    #[error("{what} cannot listen on {address} ({source}); choose another address with {flag}")]
    Address {
        /// What wants the address.
        what: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
        /// The flag that changes it.
        flag: &'static str,
    },
    /// Two parts were given one address.
    #[error("{first} and {second} are both given {address}; give one of them another address")]
    Clash {
        /// One flag.
        first: &'static str,
        /// The other flag.
        second: &'static str,
        /// The address.
        address: SocketAddr,
    },
    /// A login for NATS cannot be made or used.
    #[error(transparent)]
    Login(#[from] super::logins::LoginError),
    /// A binary is missing.
    #[error(transparent)]
    Missing(#[from] LocateError),
    /// The engine's library is missing.
    #[error(transparent)]
    Library(#[from] EngineError),
    /// A part's program cannot be run at all.
    #[error("cannot run {program} ({source}); install it again with deploy/setup or deploy/up", program = .program.display())]
    Spawn {
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A part would not start with the files it is given.
    #[error("nothing was started, because the {name} would not start with its files: {words}")]
    Unfit {
        /// The part.
        name: &'static str,
        /// Its own words.
        words: String,
    },
    /// A part never became ready.
    #[error("{name} stopped {times} times before it was ready, and said: {words} (all of it is in {log})", log = .log.display())]
    NeverReady {
        /// The part.
        name: &'static str,
        /// How often it was started.
        times: u32,
        /// Its last words.
        words: String,
        /// Its log.
        log: PathBuf,
    },
    /// The runtime or its signal handlers could not be set up.
    #[error("cannot start ({0}); the process may have too few threads or open files")]
    Runtime(io::Error),
    /// `fettle part` could not become the program.
    #[error("cannot run {program} ({source})")]
    Exec {
        /// The program.
        program: String,
        /// What the system said.
        source: io::Error,
    },
}
