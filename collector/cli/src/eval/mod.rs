//! `fettle eval`: runs the detectors and forecasters of the collector over labelled data and writes what
//! the scorers read.
//!
//! This room only walks folders and says what is wrong with them: text goes into `fettle_analysis::eval`
//! and text comes out, by the same code and the same settings that judge live samples. There is no flag
//! that tunes anything: a figure got here is the figure of the product as it is shipped.

mod failure;
mod files;
mod forecast;
mod hosts;
mod nab;

use std::io;
use std::path::PathBuf;

use crate::arguments::EvalCommand;

/// Why an evaluation wrote nothing, or not all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EvalError {
    /// The folder of the data is not there.
    #[error("there is no folder {path}; give the folder of the data with --data", path = .path.display())]
    NoFolder {
        /// What was given.
        path: PathBuf,
    },
    /// The folder holds nothing of the form that was asked for.
    #[error("there is no {what} in {path}; `fettle eval {form} --help` says what the folder holds", path = .path.display())]
    Nothing {
        /// The folder.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
        /// The evaluation.
        form: &'static str,
    },
    /// A file of the data cannot be read.
    #[error("cannot read {path} ({source}); `fettle eval {form} --help` says what the folder holds", path = .path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
        /// The evaluation.
        form: &'static str,
    },
    /// A file is of another form.
    #[error("{path}, line {line}: {why}", path = .path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What should stand there.
        why: String,
    },
    /// A file as a whole is of another form, or cannot be worked with.
    #[error("{path}: {why}", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The answer cannot be written.
    #[error("cannot write {path} ({source}); choose another place with --out", path = .path.display())]
    Unwritable {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The answer would take the place of the data.
    #[error("{path} is data that was read; choose another place with --out", path = .path.display())]
    Overwrites {
        /// The file that would be lost.
        path: PathBuf,
    },
}

/// Runs the evaluation that is asked for.
pub(crate) fn run(command: &EvalCommand) -> Result<(), EvalError> {
    match command {
        EvalCommand::Nab(paths) => nab::run(paths),
        EvalCommand::Hosts(arguments) => hosts::run(arguments),
        EvalCommand::Failure(paths) => failure::run(paths),
        EvalCommand::Forecast(paths) => forecast::run(paths),
    }
}
