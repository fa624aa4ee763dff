//! `fettle replay --policies`: what a policy would have done with the alerts that are stored.
//!
//! What decides is the collector's own planner and operator (`fettle_decide::rehearsal`); this reads the past
//! for it from ClickHouse, asks the collector what hosts allow, and prints what comes of it. Nothing is sent.

mod past;
mod report;

use std::path::Path;

use fettle_decide::policy::{Policy, PolicyFaults};
use fettle_decide::rehearsal::{rehearse, Assume};
use jiff::Timestamp;

use super::arguments::ReplayArguments;
use super::ReplayError;
use crate::moment;
use crate::rules;
use crate::sql::{Client, SqlError};

/// The name that stands for the policy that is built in.
const BUILT_IN: &str = "built-in";
/// Largest file read, bytes.
const MOST_BYTES: u64 = 1 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PoliciesError {
    /// ClickHouse does not answer, or refuses.
    #[error(transparent)]
    Sql(#[from] SqlError),
    /// The tables are not there yet.
    #[error("there are no alerts at {url}; start a collector of this version once, it makes the tables")]
    NoTable {
        /// The server.
        url: String,
    },
    /// The policy has faults.
    #[error("{path} has faults:\n{faults}")]
    Faults {
        /// The file.
        path: String,
        /// Each with its line and column.
        faults: PolicyFaults,
    },
    /// The policy cannot be read.
    #[error("cannot read {path} ({cause}); give a file of policies of at most 1 MiB, or built-in")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        cause: String,
    },
    /// The rules cannot be read.
    #[error(transparent)]
    Rules(#[from] rules::RulesError),
    /// The answer is not as it was asked for.
    #[error("ClickHouse's answer about {what} cannot be read ({cause}); is it older than this program?")]
    Answer {
        /// What was asked for.
        what: &'static str,
        /// Why.
        cause: String,
    },
    /// It is too much.
    #[error("there are more than {most} {what} in that time; take a shorter one, or name hosts with --host")]
    TooMuch {
        /// The most.
        most: usize,
        /// Of what.
        what: &'static str,
    },
}

/// Goes through the past with the policy, and tells.
pub(super) fn run(arguments: &ReplayArguments, path: &Path) -> Result<(), ReplayError> {
    let now = Timestamp::now();
    let from_us = moment::parse(&arguments.from, now)?.as_microsecond();
    let until_us = moment::parse(&arguments.to, now)?.as_microsecond();
    if until_us <= from_us {
        return Err(ReplayError::Backwards);
    }
    let policy = policy(path)?;
    let rules = rules::load(&arguments.rules).map_err(PoliciesError::from)?;
    let client = Client::new(&arguments.server)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ReplayError::Runtime)?;
    let past = runtime.block_on(past::read(&client, arguments, &rules, (from_us, until_us)))?;
    let assume = if arguments.assume_helps { Assume::Helps } else { Assume::AsItWas };
    let rehearsal = rehearse(&policy, &past.history, assume);
    report::show(&rehearsal, &past, arguments.json);
    Ok(())
}

fn policy(path: &Path) -> Result<Policy, PoliciesError> {
    if path == Path::new(BUILT_IN) {
        return Ok(Policy::built_in());
    }
    let name = path.display().to_string();
    let unreadable = |cause: String| PoliciesError::Unreadable { path: name.clone(), cause };
    let about = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?;
    if about.len() > MOST_BYTES {
        return Err(unreadable(format!("it has {} bytes", about.len())));
    }
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
    Policy::read(&text).map_err(|faults| PoliciesError::Faults { path: name.clone(), faults })
}
