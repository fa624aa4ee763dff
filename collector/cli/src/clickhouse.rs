//! `fettle clickhouse serve`: the embedded engine in the foreground, until SIGTERM or SIGINT.

use std::io::IsTerminal as _;

use fettle_engine::{EngineError, Ready, ServeSettings};
use tokio::signal::unix::{signal, SignalKind};
use tokio::sync::oneshot;

use crate::arguments::ServeArguments;
use crate::output;

/// Why the engine is not served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    /// The engine did not start, or stopped.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The runtime or its signal handlers could not be set up.
    #[error("cannot start ({0}); the process may have too few threads or open files")]
    Runtime(#[from] std::io::Error),
}

/// Serves until told to stop.
pub(crate) fn serve(arguments: ServeArguments) -> Result<(), ServeError> {
    let filter = tracing_subscriber::EnvFilter::try_from_env("FETTLE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr).init();
    let settings = settle(arguments);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let (ready, told) = oneshot::channel::<Ready>();
        tokio::spawn(async move {
            if let Ok(ready) = told.await {
                output::line(&format!("ClickHouse {} answers on http://{}", ready.version, ready.address));
            }
        });
        let shutdown = async move {
            tokio::select! { _ = terminate.recv() => {} _ = interrupt.recv() => {} }
        };
        Ok(fettle_engine::serve(settings, ready, shutdown).await?)
    })
}

fn settle(arguments: ServeArguments) -> ServeSettings {
    let mut settings = ServeSettings::new(arguments.path, arguments.listen);
    if let Some(file) = arguments.writer_password_file {
        settings.writer_password_file = file;
    }
    settings.library = arguments.library;
    if let Some(mebibytes) = arguments.max_memory {
        settings.max_memory_bytes = mebibytes << 20;
    }
    if let Some(threads) = arguments.max_threads {
        settings.max_threads = threads.max(1);
    }
    settings
}
