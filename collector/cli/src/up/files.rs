//! The files that parts are given: looked at before anything starts, so that a mistake in one is said at once and not
//! half a minute later by a part that dies. The parts check them themselves (`fettle-agent check`,
//! `fettle-collector check`).

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::errors::UpError;
use super::part::{Part, Parts};
use crate::arguments::UpArguments;

/// Checks what both parts are given. Gives the directory in which the agent keeps what it supervises.
///
/// # Errors
/// The first file that a part would not start with, in the part's words.
pub(crate) fn check(parts: &Parts, arguments: &UpArguments) -> Result<Option<PathBuf>, UpError> {
    if let Some(file) = &arguments.collector_config {
        // The password that it logs in with is made by the engine, which does not run yet.
        run(&parts.collector, &["check".into(), "--config".into(), file.into()])?;
    }
    let mut words = parts.agent.arguments.clone();
    if let Some(first) = words.first_mut() {
        *first = "check".into();
    }
    Ok(state_dir(&run(&parts.agent, &words)?))
}

/// Runs a part's own check; gives what it prints.
fn run(part: &Part, words: &[OsString]) -> Result<String, UpError> {
    let checked = Command::new(&part.program).args(words).stdin(Stdio::null()).output();
    let done = checked.map_err(|source| UpError::Spawn { program: part.program.clone(), source })?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&done.stderr);
    let words = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    Err(UpError::Unfit { name: part.name, words })
}

/// Where the agent's settled configuration says that it keeps its state.
fn state_dir(settled: &str) -> Option<PathBuf> {
    // Below the configuration it shows the host's file, which may have tables of the same names.
    let own = settled.split("\n# /").next().unwrap_or(settled);
    let table: toml::Table = own.parse().ok()?;
    Some(PathBuf::from(table.get("act")?.get("state_dir")?.as_str()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agents_state_directory_is_read_from_what_it_settled() {
        let settled = "[spool]\ndir = \"/a\"\n\n[act]\nfile = \"/etc/c.toml\"\nstate_dir = \"/var/lib/x\"\n\n# /etc/c.toml\n[act]\n";
        assert_eq!(state_dir(settled), Some(PathBuf::from("/var/lib/x")));
        assert_eq!(state_dir("[spool]\n"), None);
        assert_eq!(state_dir("no toml ["), None);
    }
}
