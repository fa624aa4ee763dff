//! The agent's configuration: raw as the file says it, settled as the rooms use it.
//!
//! Every mistake is one sentence with the file, the line and what to write instead. Nothing is
//! guessed later: a settled configuration has every value, checked and in its unit.

mod errors;
mod raw;
mod render;
mod settle;
pub(crate) mod source;
pub(crate) mod units;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::publish::NatsSettings;
use crate::sample::SamplerSettings;
use crate::spool::SpoolSettings;

pub use errors::ConfigError;
pub use units::{show_bytes, show_duration};

/// Where the agent looks for its configuration when it is not told.
pub const DEFAULT_FILE: &str = "/etc/fettle/agent.toml";

/// Where the host's own file of components is, when the configuration does not say.
pub const DEFAULT_COMPONENTS: &str = "/etc/fettle/components.toml";

/// What the command line says in place of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--agent`.
    pub agent: Option<String>,
    /// `--nats`.
    pub nats: Option<String>,
    /// `--nats-nkey-file`.
    pub nats_nkey_file: Option<PathBuf>,
    /// `--spool`.
    pub spool: Option<PathBuf>,
    /// `--metrics`.
    pub metrics: Option<String>,
}

/// What the host is, as far as defaults depend on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// Where this user keeps state.
    pub state_dir: PathBuf,
    /// Most files this process may open.
    pub open_files: usize,
}

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

/// What is logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// How.
    pub format: LogFormat,
    /// From which level on; `tracing`'s directives.
    pub level: String,
}

/// Components and actions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActSettings {
    /// The host's own file: the components there are and what may be done to them.
    pub file: PathBuf,
    /// Where the supervisor and the actions keep their state and the components' output.
    pub state_dir: PathBuf,
}

/// Everything the agent runs with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its name.
    pub agent: String,
    /// NATS and the publisher.
    pub nats: NatsSettings,
    /// The spool.
    pub spool: SpoolSettings,
    /// The sampler.
    pub sample: SamplerSettings,
    /// Logs.
    pub log: LogSettings,
    /// Where `/metrics` is served, if anywhere.
    pub metrics: Option<SocketAddr>,
    /// Components and actions.
    pub act: ActSettings,
}

impl Settings {
    /// Reads `file`, or the default one if it exists, or nothing; then applies the command line.
    pub fn load(file: Option<&Path>, overrides: &Overrides, host: &Host) -> Result<Self, ConfigError> {
        let path = file.unwrap_or_else(|| Path::new(DEFAULT_FILE));
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(cause) if file.is_none() && cause.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(cause) => return Err(ConfigError::Read { path: path.to_owned(), cause }),
        };
        Self::parse(path, &text, overrides, host)
    }

    /// The same from text; `path` is for messages.
    pub fn parse(path: &Path, text: &str, overrides: &Overrides, host: &Host) -> Result<Self, ConfigError> {
        settle::settle(&source::Source { path, text }, source::read(path, text)?, overrides, host)
    }

    /// The settled configuration as a file that would say all of it.
    pub fn render(&self) -> String {
        render::render(self)
    }
}

#[cfg(test)]
mod tests;
