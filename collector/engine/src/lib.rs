//! The embedded ClickHouse: libchdb loaded at run time, answering ClickHouse's HTTP interface.
//!
//! One public verb: [`serve`]. A request goes `server` → `request` (what is asked) → `auth` (by whom)
//! → `statement` on one of the `workers` (`guard`, `engine`, `input`, `output`) → `response`.
//! `binding` alone calls the C interface.

mod auth;
mod binding;
mod blocks;
mod bounds;
mod config;
mod engine;
mod errors;
mod exception;
mod footprint;
mod form;
mod guard;
mod input;
mod library;
mod output;
mod piped;
mod request;
mod response;
mod server;
mod session;
mod settings;
mod sql;
mod statement;
mod workers;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch, Semaphore};

pub use errors::EngineError;
pub use library::{find_library, library_version};
pub use settings::{Ready, ServeSettings};

use engine::Engine;
use server::Server;
use workers::Workers;

/// How long cancelled statements may take to end.
const CANCEL_TIME: Duration = Duration::from_secs(3);
/// Places kept for the writer's statements, beside the readers'.
const WRITER_PLACES: usize = 4;

/// Opens the engine on `settings.path` and answers HTTP on `settings.listen` until `shutdown`
/// resolves; then finishes the statements that run (within the grace period) and closes.
///
/// `ready` is told the bound address once requests are answered. Runs on a multi-threaded tokio
/// runtime. One engine per process: a second `serve` on another path in the same process fails.
///
/// # Errors
/// Whatever kept the engine from starting; a running engine only ends by `shutdown`.
pub async fn serve(
    settings: ServeSettings,
    ready: oneshot::Sender<Ready>,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), EngineError> {
    let library = find_library(settings.library.as_deref())?;
    // The address first: a port in use is told before the engine has touched anything.
    let listen_error = |source| EngineError::Listen { address: settings.listen, source };
    let listener = TcpListener::bind(settings.listen).await.map_err(listen_error)?;
    let address = listener.local_addr().map_err(listen_error)?;
    let writer_password = auth::writer_password(&settings.writer_password_file)?;
    let readers = settings.max_concurrent_queries.max(1);
    let workers = Workers::start(readers + WRITER_PLACES)?;
    let engine = Arc::new(open(&settings, &library).await?);
    let held = Arc::clone(&engine);
    let told = Ready { address, version: engine.version.clone(), library };
    let server = Arc::new(Server {
        engine,
        sessions: Arc::default(),
        writer_password,
        workers,
        readers: Arc::new(Semaphore::new(readers)),
        writers: Arc::new(Semaphore::new(WRITER_PLACES)),
    });
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(server::run(server, listener, settings.max_connections, stopped));
    let _ = ready.send(told);
    shutdown.await;
    let _ = stop.send(true);
    let started = Instant::now();
    if tokio::time::timeout(settings.shutdown_grace, running).await.is_err() {
        tracing::warn!("statements still ran when the grace period ended; they are cancelled");
    }
    close(held, settings.shutdown_grace.saturating_sub(started.elapsed())).await;
    Ok(())
}

/// Closes the engine when nothing uses it any more. Its threads must not run into the end of the
/// process, so what still runs after `grace` is cancelled, and waited for a while longer.
async fn close(engine: Arc<Engine>, grace: Duration) {
    let used = |engine: &Arc<Engine>| Arc::strong_count(engine) > 1;
    for patience in [grace, CANCEL_TIME] {
        let end = Instant::now() + patience;
        while used(&engine) && Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if !used(&engine) {
            break;
        }
        let engine = Arc::clone(&engine);
        let _ = tokio::task::spawn_blocking(move || engine.kill_all()).await;
    }
    // Where it may block: this writes out what the engine still holds.
    let _ = tokio::task::spawn_blocking(move || drop(engine)).await;
}

async fn open(settings: &ServeSettings, library: &std::path::Path) -> Result<Engine, EngineError> {
    let (settings, library) = (settings.clone(), library.to_owned());
    let path = settings.path.clone();
    tokio::task::spawn_blocking(move || Engine::open(&settings, &library))
        .await
        .unwrap_or_else(|error| Err(EngineError::Open { path, reason: error.to_string() }))
}
