//! Logs go to standard error, for people or as JSON; the journal and containers take them there.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, LogSettings};

/// Starts logging. A second start in one process changes nothing.
pub fn start_logs(settings: &LogSettings) {
    // The level was checked when the configuration was read.
    let mut filter = EnvFilter::try_new(&settings.level).unwrap_or_else(|_| EnvFilter::new("info"));
    if !settings.level.contains("async_nats") {
        // The publisher says what happens to the connection; the client would say it twice more.
        if let Ok(quiet) = "async_nats=off".parse() {
            filter = filter.add_directive(quiet);
        }
    }
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let _ = match settings.format {
        LogFormat::Human => logs.with_target(false).with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => logs.json().flatten_event(true).try_init(),
    };
}
