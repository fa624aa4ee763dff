//! Doing it: one file for each kind of action. An executor gets a task without choices, does it within its time,
//! and says what it did; it decides nothing. Whether it helped is for fresh samples to say.
//!
//! Paths are opened once, without following a link, and everything after goes by descriptor, so that nobody who
//! can write to a directory can turn an action onto something else between a check and its use.

mod cgroup;
mod clean_up;
mod command;
mod docker;
mod fail_over;
mod kernel;
mod link;
mod permissions;
mod process;
mod roll_back;
mod service;
mod systemd;
mod threads;
mod tree;
mod versions;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use fettle_shared::command::Outcome;

use super::admission::{Step, Task, Verb};
use crate::handoff::SupervisorHandle;
use crate::host_file::Runs;

use threads::in_thread;

pub(super) use threads::Threads;
pub(super) use versions::{keep, Kept};

/// Most bytes of output in a receipt.
pub(super) const OUTPUT_MAX: usize = 8 << 10;
/// Key of what was limited to before, in the order's own unit: what a limit is put back by.
const LIMIT_BEFORE: &str = "value";
/// What a command gets beyond its time to be stopped in.
const GRACE: Duration = Duration::from_secs(10);

/// What executors work with.
#[derive(Debug, Clone)]
pub(super) struct Means {
    /// The supervised commands.
    pub supervisor: SupervisorHandle,
    /// Where copies of files are kept.
    pub versions: PathBuf,
    /// The threads of this one action.
    pub threads: Threads,
}

/// What an action did, in words and for a roll-back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Report {
    /// What was done, or printed.
    pub output: String,
    /// What was there before.
    pub before: BTreeMap<String, String>,
}

impl Report {
    fn says(output: impl Into<String>) -> Self {
        Self { output: output.into(), before: BTreeMap::new() }
    }

    fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        self.before.insert(key.to_owned(), value.into());
        self
    }
}

/// Why an action was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    /// One sentence.
    error: String,
    /// What was done and printed before it failed.
    report: Report,
    /// It was stopped at its time limit.
    timed_out: bool,
}

impl From<String> for Failure {
    fn from(error: String) -> Self {
        Self { error, report: Report::default(), timed_out: false }
    }
}

type Ran = Result<Report, Failure>;

/// Does a task; returns at its time limit at the latest (a command gets a little longer to be stopped in, the scaling of a
/// container to clean up in). Its threads may then not have ended: `means.threads` says so.
pub(super) async fn run(task: &Task, means: &Means) -> (Outcome, Report) {
    let allowed = task.timeout + GRACE;
    let own_timing = matches!(
        task.step,
        Step::Run(_) | Step::FailOver { .. } | Step::Scale { runs: Runs::Docker { .. }, .. }
    );
    let limit = if own_timing { allowed } else { task.timeout };
    match tokio::time::timeout(limit, step(task, means)).await {
        Ok(Ok(report)) if task.dry_run => (Outcome::WouldDo, bounded(report)),
        Ok(Ok(report)) => (Outcome::Succeeded, bounded(report)),
        Ok(Err(failure)) if failure.timed_out => (Outcome::TimedOut, bounded(failure.report)),
        Ok(Err(failure)) => (Outcome::Failed { error: failure.error }, bounded(failure.report)),
        Err(_) => (Outcome::TimedOut, Report::says(left_behind(task, &means.threads))),
    }
}

/// What goes on without the agent when an action's time is over.
fn left_behind(task: &Task, threads: &Threads) -> String {
    let limit = crate::config::show_duration(task.timeout);
    match &task.step {
        Step::Service { runs: Runs::Systemd { unit }, .. } => {
            format!("not done within {limit}; systemd goes on with its job for {unit}")
        }
        Step::Service { runs: Runs::Docker { container, .. }, .. }
        | Step::Scale { runs: Runs::Docker { container, .. }, .. } => {
            format!("not done within {limit}; Docker may go on with {container}")
        }
        _ if !threads.have_ended() => {
            let what =
                if task.component.is_empty() { "the host as a whole" } else { task.component.as_str() };
            format!(
                "not done within {limit}; its file work is told to stop, and nothing else is done to {what} until \
                 it has"
            )
        }
        _ => String::new(),
    }
}

async fn step(task: &Task, means: &Means) -> Ran {
    let (dry, threads) = (task.dry_run, &means.threads);
    match &task.step {
        Step::Service { runs, verb } => service::run(&task.component, runs, verb, dry, means).await,
        Step::Scale { runs, replicas } => service::scale(task, runs, *replicas, means).await,
        Step::Renice { runs, nice } => service::renice(&task.component, runs, *nice, dry, means).await,
        Step::Limit { place, resource, value } => {
            service::limit(task, place, resource, *value, threads).await
        }
        Step::Run(what) => command::run(what, &[], task.timeout, dry).await,
        Step::FailOver { what, to } => fail_over::run(what, to.clone(), task, threads).await,
        Step::CleanUp(policy) => {
            let policy = policy.clone();
            in_thread(threads, move |stop| clean_up::run(&policy, dry, &stop)).await
        }
        Step::DropCaches => in_thread(threads, move |stop| kernel::drop_caches(dry, &stop)).await,
        Step::FixPermissions(entry) => {
            let entry = entry.clone();
            in_thread(threads, move |stop| permissions::run(&entry, dry, &stop)).await
        }
        Step::RollBack { entry, what, then } => {
            let (what, versions) = (what.clone(), means.versions.clone());
            let (component, entry) = (task.component.clone(), entry.clone());
            let work = move |stop| roll_back::run(&versions, &component, &entry, &what, dry, &stop);
            let put_back = in_thread(threads, work).await?;
            match then {
                Some(runs) => started_anew(task, runs, put_back, means).await,
                None => Ok(put_back),
            }
        }
    }
}

/// A version that was put back is of no use to a program that runs, or failed to run, on the other one.
async fn started_anew(task: &Task, runs: &Runs, put_back: Report, means: &Means) -> Ran {
    let restarted = service::run(&task.component, runs, &Verb::Restart, task.dry_run, means).await;
    let joined = |other: Report| Report {
        output: format!("{}\n{}", put_back.output, other.output),
        before: put_back.before.clone(),
    };
    restarted.map(joined).map_err(|failure| Failure { report: joined(failure.report), ..failure })
}

fn bounded(mut report: Report) -> Report {
    report.output = tail(report.output.as_bytes());
    report
}

/// The last of what was printed, as text.
fn tail(bytes: &[u8]) -> String {
    let from = bytes.len().saturating_sub(OUTPUT_MAX);
    let mut text = String::from_utf8_lossy(&bytes[from..]).into_owned();
    // What is not UTF-8 has become longer.
    if text.len() > OUTPUT_MAX {
        let from = (text.len() - OUTPUT_MAX..text.len()).find(|at| text.is_char_boundary(*at));
        text = text.split_off(from.unwrap_or(text.len()));
    }
    text
}
