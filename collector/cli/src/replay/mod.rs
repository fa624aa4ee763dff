//! `fettle replay`: the live detectors over stored history, faster than real time; with `--policies` the planner
//! and the operator instead (`policies/`).
//!
//! What judges here is the collector's own code (`fettle_analysis::live`); what it is given are the same
//! reductions, made by ClickHouse from the stored rows (`fettle_history`); the clock is the data's. Hosts are
//! independent and run beside each other. What was found is compared with marked incidents.

pub(crate) mod arguments;
mod asker;
mod detectors;
mod policies;
mod report;

use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use fettle_analysis::live::{LiveConfig, Plan};
use fettle_history::{compare, Bounds, Comparison, HistoryError, Incident, Job, Judged, Rules, Span, Stored};
use fettle_shared::catalogue::{catalogue, Catalogue};
use jiff::Timestamp;

use crate::incidents::{self, IncidentsError};
use crate::moment::{self, MomentError};
use crate::progress::Progress;
use crate::sql::{Client, SqlError};
use arguments::ReplayArguments;
use asker::Asker;

/// Why a replay has no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplayError {
    /// ClickHouse cannot be asked.
    #[error(transparent)]
    Sql(#[from] SqlError),
    /// History cannot be read.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// Incidents cannot be read.
    #[error(transparent)]
    Incidents(#[from] IncidentsError),
    /// A text names no time.
    #[error(transparent)]
    Moment(#[from] MomentError),
    /// A policy has no answer.
    #[error(transparent)]
    Policies(#[from] policies::PoliciesError),
    /// The end lies before the begin.
    #[error("--to is not after --from; give a span of time, such as --from -2h")]
    Backwards,
    /// Nothing is stored there.
    #[error("nothing is stored between {from} and {until}{who}; {hint}")]
    Nothing {
        /// Begin.
        from: String,
        /// End.
        until: String,
        /// Of whom, if hosts were named.
        who: String,
        /// What there is.
        hint: String,
    },
    /// The settings of the detectors cannot be read.
    #[error("cannot read {path} ({source}); give a TOML file with --detectors", path = .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The settings of the detectors are wrong.
    #[error("{path}, {why}; the keys are those of the collector's [analysis]", path = .path.display())]
    Detectors {
        /// The file.
        path: PathBuf,
        /// What is wrong, with key and line.
        why: String,
    },
    /// The runtime could not be set up.
    #[error("cannot start ({0}); the process may have too few threads or open files")]
    Runtime(io::Error),
}

/// A replay that is done.
pub(crate) struct Replayed {
    /// What was asked for, as far as it is stored.
    pub(crate) span: Span,
    /// What is stored.
    pub(crate) bounds: Bounds,
    /// Host by host.
    pub(crate) hosts: Vec<Judged>,
    /// What was found, as incidents: alarms in the order of hosts and times.
    pub(crate) alarms: Vec<FoundIncident>,
    /// Against what was marked.
    pub(crate) comparison: Comparison,
    /// Where the marks come from.
    pub(crate) marked: String,
    /// How long it took.
    pub(crate) took: Duration,
}

/// Anomalies that belong together.
pub(crate) struct FoundIncident {
    /// Its name, as the collector would have given it.
    pub(crate) id: String,
    /// Place of the host in the list.
    pub(crate) host: usize,
    /// Its first anomaly, µs since 1970.
    pub(crate) at_us: i64,
    /// Places of its anomalies in the host's list.
    pub(crate) anomalies: Vec<usize>,
}

/// Replays and tells.
pub(crate) fn run(arguments: &ReplayArguments) -> Result<(), ReplayError> {
    if let Some(path) = &arguments.policies {
        return policies::run(arguments, path);
    }
    let now = Timestamp::now();
    let seconds = |at: Timestamp| u32::try_from(at.as_second().max(0)).unwrap_or(u32::MAX);
    let from = seconds(moment::parse(&arguments.from, now)?);
    let asked = Span { from, until: seconds(moment::parse(&arguments.to, now)?) };
    if asked.seconds() == 0 {
        return Err(ReplayError::Backwards);
    }
    let config = settings(arguments)?;
    let client = Client::new(&arguments.server)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(ReplayError::Runtime)?;
    let (marks, marked) = match &arguments.incidents {
        Some(path) => (incidents::read(path)?, path.display().to_string()),
        None => (runtime.block_on(incidents::stored(&client))?, "fettle.incidents".to_owned()),
    };
    let ask = Asker { client, runtime: runtime.handle().clone() };
    let replayed = replay(&ask, arguments, asked, config, &marks, marked)?;
    report::show(&replayed, arguments);
    Ok(())
}

fn settings(arguments: &ReplayArguments) -> Result<LiveConfig, ReplayError> {
    let Some(path) = &arguments.detectors else { return Ok(LiveConfig::default()) };
    let text = std::fs::read_to_string(path)
        .map_err(|source| ReplayError::Unreadable { path: path.clone(), source })?;
    detectors::parse(&text).map_err(|why| ReplayError::Detectors { path: path.clone(), why })
}

fn replay(
    ask: &Asker,
    arguments: &ReplayArguments,
    asked: Span,
    config: LiveConfig,
    marks: &[Incident],
    marked: String,
) -> Result<Replayed, ReplayError> {
    let catalogue = catalogue();
    let stored = Stored::ask(ask, catalogue)?;
    let bounds = Bounds::ask(ask, catalogue, &stored)?;
    let span = asked.within(bounds.all);
    let hosts = hosts(ask, catalogue, &stored, arguments, asked, bounds)?;
    let begun = Instant::now();
    let read = Span { from: span.from.saturating_sub(arguments.warm_up), until: span.until };
    let jobs: Vec<Job<'_>> = hosts
        .iter()
        .map(|host| Job { host, stored: &stored, parts: bounds.parts(read), report_from: span.from })
        .collect();
    let plan = Plan::new(catalogue, config);
    let judged = all(ask, &jobs, &plan, arguments.threads.get() as usize)?;
    let alarms = found(&judged);
    let list: Vec<_> = alarms
        .iter()
        .map(|alarm| fettle_history::Alarm { host: &judged[alarm.host].host, at_us: alarm.at_us })
        .collect();
    let host_seconds = judged.iter().map(|host| host.seconds - host.empty_seconds).sum();
    let rules = Rules { lead_s: arguments.lead };
    let comparison = compare(&list, marks, &hosts, span, host_seconds, rules);
    Ok(Replayed { span, bounds, hosts: judged, alarms, comparison, marked, took: begun.elapsed() })
}

/// The hosts to replay: those named, or all that have anything in the span.
fn hosts(
    ask: &Asker,
    catalogue: &Catalogue,
    stored: &Stored,
    arguments: &ReplayArguments,
    asked: Span,
    bounds: Bounds,
) -> Result<Vec<String>, ReplayError> {
    let there = Bounds::hosts(ask, catalogue, stored, asked)?;
    let wanted = |host: &String| arguments.hosts.is_empty() || arguments.hosts.contains(host);
    let unknown = arguments.hosts.iter().find(|host| !there.contains(host));
    let hosts: Vec<String> = there.iter().filter(|host| wanted(host)).cloned().collect();
    if let (false, None) = (hosts.is_empty(), unknown) {
        return Ok(hosts);
    }
    let time = |seconds: u32| moment::rfc3339(i64::from(seconds) * 1_000_000);
    Err(ReplayError::Nothing {
        from: time(asked.from),
        until: time(asked.until),
        who: unknown.map_or(String::new(), |host| format!(" of host {host}")),
        hint: match (there.is_empty(), bounds.all.seconds()) {
            (false, _) => format!("there is {}", there.join(", ")),
            (true, 0) => "the store is empty; start an agent and a collector".to_owned(),
            (true, _) => format!("there is {} to {}", time(bounds.all.from), time(bounds.all.until)),
        },
    })
}

/// Runs the jobs on a few threads; the results are in the order of the jobs.
fn all(ask: &Asker, jobs: &[Job<'_>], plan: &Plan, threads: usize) -> Result<Vec<Judged>, ReplayError> {
    let seconds: u64 =
        jobs.iter().flat_map(|job| &job.parts).map(|(span, _)| u64::from(span.seconds())).sum();
    let progress = Mutex::new(Progress::new("replay", seconds as usize, "host seconds"));
    let done = |span: Span| {
        progress.lock().unwrap_or_else(PoisonError::into_inner).add(span.seconds() as usize);
    };
    let next = std::sync::atomic::AtomicUsize::new(0);
    let results: Mutex<Vec<(usize, Result<Judged, HistoryError>)>> = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads.min(jobs.len()) {
            scope.spawn(|| loop {
                let at = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let Some(job) = jobs.get(at) else { return };
                let judged = fettle_history::replay(ask, job, plan, &done);
                if judged.is_err() {
                    // The others need not begin what will not be shown.
                    next.store(jobs.len(), std::sync::atomic::Ordering::Relaxed);
                }
                results.lock().unwrap_or_else(PoisonError::into_inner).push((at, judged));
            });
        }
    });
    progress.into_inner().unwrap_or_else(PoisonError::into_inner).finish();
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(at, _)| *at);
    Ok(results.into_iter().map(|(_, judged)| judged).collect::<Result<_, _>>()?)
}

/// The anomalies by incident, in the order of hosts and times.
fn found(hosts: &[Judged]) -> Vec<FoundIncident> {
    let mut found: Vec<FoundIncident> = Vec::new();
    for (host, judged) in hosts.iter().enumerate() {
        let first = found.len();
        for (at, anomaly) in judged.anomalies.iter().enumerate() {
            let same = |incident: &&mut FoundIncident| incident.id == anomaly.incident;
            match found[first..].iter_mut().rev().find(same) {
                Some(incident) => incident.anomalies.push(at),
                None => found.push(FoundIncident {
                    id: anomaly.incident.clone(),
                    host,
                    at_us: anomaly.at_us,
                    anomalies: vec![at],
                }),
            }
        }
    }
    found
}
