//! `fettle doctor`: what Fettle needs from a machine, checked one by one.
//!
//! Each check says what it saw and how to mend what is wrong. A failure keeps Fettle from working; a
//! warning costs a feature, or will bite later. Nothing is changed by looking.

mod adjtimex;
mod host;
mod installed;
mod report;
mod services;

use std::path::PathBuf;
use std::process::ExitCode;

use crate::arguments::DoctorArguments;
use crate::{locate, output};
use report::Report;

/// Why there is no report at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DoctorError {
    /// The runtime could not be set up.
    #[error("cannot start ({0}); the process may have too few threads or open files")]
    Runtime(#[from] std::io::Error),
}

/// Checks everything and prints the report.
pub(crate) fn run(arguments: &DoctorArguments) -> Result<ExitCode, DoctorError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let state: PathBuf = arguments.state_dir.clone().unwrap_or_else(locate::default_state_dir);
    let mut report = Report::default();
    report.extend(host::checks(&state));
    report.extend(installed::checks());
    report.extend(runtime.block_on(services::checks(arguments, &state)));
    if arguments.json {
        output::line(&report.as_json());
    } else {
        report.lines().iter().for_each(|line| output::line(line));
    }
    Ok(if report.failures() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
