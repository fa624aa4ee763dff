//! What `fettle clickhouse serve` needs to know, settled: no option is left to guess later.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Everything [`crate::serve`] is told. [`ServeSettings::new`] gives defaults that fit a
/// two-core host; every field may be changed before serving.
#[derive(Debug, Clone)]
pub struct ServeSettings {
    /// Directory of the data; made when absent (mode 0700).
    pub path: PathBuf,
    /// Address of the HTTP interface; port 0 picks a free one, told through [`Ready`].
    pub listen: SocketAddr,
    /// File that holds the writer's password (mode 0600); made with a random one when absent.
    pub writer_password_file: PathBuf,
    /// libchdb.so to load; `None` looks in the usual places.
    pub library: Option<PathBuf>,
    /// Threads one query may use (`max_threads` unless the request sets it).
    pub max_threads: usize,
    /// Bytes of memory all queries together may take before the engine refuses more.
    pub max_memory_bytes: u64,
    /// Statements run at once; further requests wait their turn.
    pub max_concurrent_queries: usize,
    /// Open HTTP connections; further ones wait in the listen queue.
    pub max_connections: usize,
    /// Longest a statement may run when the request sets no `max_execution_time`.
    pub max_query_time: Duration,
    /// How long statements that run at shutdown may take to finish.
    pub shutdown_grace: Duration,
}

impl ServeSettings {
    /// The defaults for a data directory and an address; the password file is `PATH/writer.password`.
    pub fn new(path: impl Into<PathBuf>, listen: SocketAddr) -> Self {
        let path = path.into();
        Self {
            writer_password_file: path.join("writer.password"),
            path,
            listen,
            library: None,
            max_threads: std::thread::available_parallelism().map_or(2, usize::from),
            max_memory_bytes: 1 << 30,
            max_concurrent_queries: 8,
            max_connections: 256,
            max_query_time: Duration::from_secs(300),
            shutdown_grace: Duration::from_secs(10),
        }
    }
}

/// Told once, when the engine is open and the address is bound.
#[derive(Debug, Clone)]
pub struct Ready {
    /// The address bound (with the real port).
    pub address: SocketAddr,
    /// The engine's version, for example `26.7.3.1`.
    pub version: String,
    /// The library that was loaded.
    pub library: PathBuf,
}
