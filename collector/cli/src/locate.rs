//! Where the parts are: nats-server and the binaries built beside this one. The engine's crate knows
//! where libchdb is.
//!
//! The order is the same everywhere: what the operator names in a variable, then beside this
//! program, then where `deploy/setup` installs, then where the system does. A named file that is
//! not there is an error, never a reason to look on: who names one wants that one.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// A part that was not found.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LocateError {
    /// The variable names a file that is not there.
    #[error("{variable} names {path}, which is not there; correct it or unset it", path = .path.display())]
    Named {
        /// The variable.
        variable: &'static str,
        /// What it holds.
        path: PathBuf,
    },
    /// None of the usual places has it.
    #[error("{part} was not found (looked at {places}); {remedy}")]
    Missing {
        /// The part.
        part: &'static str,
        /// The places looked at.
        places: String,
        /// What to do.
        remedy: &'static str,
    },
}

/// nats-server: `$FETTLE_NATS_SERVER`, beside this program, the user's cache, `PATH`.
pub(crate) fn nats_server() -> Result<PathBuf, LocateError> {
    let mut places = vec![beside("nats-server")];
    places.extend(cache().map(|cache| cache.join("bin/nats-server")));
    let remedy = "run deploy/setup to install it, or set FETTLE_NATS_SERVER to its path";
    first("nats-server", Some("FETTLE_NATS_SERVER"), &places, remedy)
}

/// `fettle-agent` or `fettle-collector`: beside this program, then `PATH`.
pub(crate) fn sibling(name: &'static str) -> Result<PathBuf, LocateError> {
    let remedy = "put it beside fettle, or run deploy/up, which builds all three";
    first(name, None, &[beside(name)], remedy)
}

/// This program.
pub(crate) fn own() -> PathBuf {
    env::current_exe().unwrap_or_else(|_| PathBuf::from("/proc/self/exe"))
}

/// The state directory when none is named: `$XDG_STATE_HOME/fettle` or `~/.local/state/fettle`.
pub(crate) fn default_state_dir() -> PathBuf {
    let under_home = || env::home_dir().unwrap_or_else(|| PathBuf::from("/")).join(".local/state");
    variable("XDG_STATE_HOME").unwrap_or_else(under_home).join("fettle")
}

/// The named file, or the first of the places that has it, or the first on `PATH`.
fn first(
    part: &'static str,
    named_by: Option<&'static str>,
    places: &[PathBuf],
    remedy: &'static str,
) -> Result<PathBuf, LocateError> {
    if let Some((variable, path)) = named_by.and_then(|name| Some((name, variable(name)?))) {
        return if path.is_file() { Ok(path) } else { Err(LocateError::Named { variable, path }) };
    }
    places.iter().chain(&search_path(part)).find(|path| path.is_file()).cloned().ok_or_else(|| {
        let listed: String = places.iter().map(|path| format!("{}, ", path.display())).collect();
        LocateError::Missing { part, places: listed + "PATH", remedy }
    })
}

/// A path from a variable that is set and not empty.
fn variable(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn beside(name: &str) -> PathBuf {
    own().parent().unwrap_or(Path::new(".")).join(name)
}

fn cache() -> Option<PathBuf> {
    let under_home = || env::home_dir().map(|home| home.join(".cache"));
    variable("XDG_CACHE_HOME").or_else(under_home).map(|cache| cache.join("fettle"))
}

fn search_path(name: &str) -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(OsStr::new(&path)).map(|directory| directory.join(name)).collect()
}
