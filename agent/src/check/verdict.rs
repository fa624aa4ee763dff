//! From the results of checks to up and down. Pure: the time comes in with each result.

use std::collections::BTreeMap;
use std::time::Duration;

use fettle_shared::error_kind::ErrorKind;

use crate::handoff::{ComponentState, ComponentStates, ProcessId};
use crate::host_file::{Component, Runs};

/// Why a check failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// One sentence.
    pub error: String,
    /// What it looks like.
    pub kind: ErrorKind,
}

impl Failure {
    /// A failure, its kind told from the words.
    pub(super) fn new(error: impl Into<String>) -> Self {
        let error = error.into();
        Self { kind: ErrorKind::of_text(&error), error }
    }

    /// A failure of this kind.
    pub(super) fn of(kind: ErrorKind, error: impl Into<String>) -> Self {
        Self { error: error.into(), kind }
    }

    /// What the system said about something.
    pub(super) fn of_io(what: &str, cause: &std::io::Error) -> Self {
        let kind = match cause.raw_os_error() {
            Some(number) => ErrorKind::of_errno(number),
            None => ErrorKind::of_text(&cause.to_string()),
        };
        Self { error: format!("{what}: {cause}"), kind }
    }
}

/// What one check saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Whether it is well.
    pub result: Result<(), Failure>,
    /// How long the check took.
    pub took: Duration,
    /// Processes it runs as.
    pub processes: Processes,
}

/// Processes of a component, as far as they can be known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Processes {
    /// Wanted.
    pub wanted: u32,
    /// Running: no zombies, none stopped.
    pub running: u32,
    /// Their numbers and starts.
    pub ids: Vec<ProcessId>,
    /// Starts after the first, counted by whoever starts them; none: to be counted here.
    pub restarts: Option<u64>,
    /// Whether it was told to stop.
    pub stopped: bool,
}

/// Name of what runs a component.
pub(super) fn kind(runs: &Runs) -> &'static str {
    match runs {
        Runs::Supervised(_) => "supervised",
        Runs::Systemd { .. } => "systemd",
        Runs::Docker { .. } => "docker",
        Runs::Process(_) => "process",
        Runs::Nothing => "nothing",
    }
}

/// Takes a check into the state; says whether it went up or down (or is known for the first time).
pub fn note(state: &mut ComponentState, component: &Component, outcome: Outcome, now_us: i64) -> bool {
    let before = (state.checked, state.up);
    let Outcome { result, took, processes } = outcome;
    state.kind = kind(&component.runs);
    state.critical = component.critical;
    state.checks += 1;
    state.checked_us = now_us;
    state.latency_us = took.as_micros() as u64;
    match result {
        Ok(()) => {
            state.consecutive_failures = 0;
            (state.checked, state.up) = (true, true);
            state.last_error.clear();
            state.error_kind = ErrorKind::None;
        }
        Err(failure) => {
            state.failures += 1;
            state.consecutive_failures = state.consecutive_failures.saturating_add(1);
            if state.consecutive_failures >= component.failures {
                (state.checked, state.up) = (true, false);
            }
            state.last_error = failure.error;
            state.error_kind = failure.kind;
        }
    }
    note_processes(state, processes);
    let changed = before != (state.checked, state.up);
    if changed {
        state.since_us = now_us;
    }
    changed
}

fn note_processes(state: &mut ComponentState, processes: Processes) {
    let Processes { wanted, running, ids, restarts, stopped } = processes;
    state.replicas = wanted;
    state.replicas_running = running;
    state.stopped = stopped;
    match restarts {
        Some(restarts) => state.restarts = restarts,
        None if !ids.is_empty() && !state.pids.is_empty() && ids != state.pids => state.restarts += 1,
        None => {}
    }
    // While it is down the last processes are kept, so that the next are known to be others.
    if !ids.is_empty() || restarts.is_some() {
        state.pids = ids;
    }
}

/// When the next check is to begin: at the next turn of the interval, but a first failure is looked at
/// again after a quarter of it, so that a crash is certain sooner.
pub fn pause(component: &Component, state: &ComponentState, took: Duration) -> Duration {
    let doubtful = state.consecutive_failures > 0 && state.consecutive_failures < component.failures;
    let interval = if doubtful { component.interval / 4 } else { component.interval };
    interval.saturating_sub(took).max(Duration::from_millis(20).min(interval))
}

/// Marks what needs a component that is down.
pub fn mark_dependents(states: &mut ComponentStates, components: &BTreeMap<String, Component>) {
    let down: Vec<String> =
        states.iter().filter(|(_, s)| s.checked && !s.up).map(|(name, _)| name.clone()).collect();
    for (name, state) in states.iter_mut() {
        let needs = components.get(name).map(|component| component.depends_on.as_slice()).unwrap_or_default();
        state.depends_on_down = needs.iter().any(|need| down.contains(need));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host_file::HostFile;

    const TEXT: &str = "[components.a]\nruns = { name = \"a\" }\n[components.b]\nruns = { name = \"b\" }\ndepends_on = [\"a\"]\n";

    fn outcome(good: bool, pid: i32) -> Outcome {
        let ids = if pid > 0 { vec![ProcessId { pid, start: 1 }] } else { vec![] };
        let processes = Processes { wanted: 1, running: u32::from(pid > 0), ids, ..Processes::default() };
        let result = if good { Ok(()) } else { Err(Failure::new("connection refused")) };
        Outcome { result, took: Duration::from_millis(3), processes }
    }

    #[test]
    fn it_takes_as_many_failures_as_declared_and_one_success() {
        let file = HostFile::parse("f".as_ref(), TEXT).unwrap();
        let component = &file.components["a"];
        let mut state = ComponentState::default();
        assert!(!note(&mut state, component, outcome(false, 0), 1));
        assert_eq!((state.checked, state.up), (false, false), "one failure says nothing yet");
        assert_eq!(pause(component, &state, Duration::from_millis(3)), Duration::from_millis(247));
        assert!(note(&mut state, component, outcome(true, 7), 2));
        assert!(!note(&mut state, component, outcome(false, 0), 3));
        assert!(state.up && state.consecutive_failures == 1);
        assert!(note(&mut state, component, outcome(false, 0), 4));
        assert_eq!((state.up, state.since_us, state.error_kind), (false, 4, ErrorKind::Network));
        assert_eq!(pause(component, &state, Duration::from_millis(3)), Duration::from_millis(997));
        assert_eq!(state.restarts, 0);
        assert!(note(&mut state, component, outcome(true, 8), 5));
        assert_eq!((state.restarts, state.checks, state.failures), (1, 5, 3), "another process");
        assert_eq!(pause(component, &state, Duration::from_secs(9)), Duration::from_millis(20));
    }

    #[test]
    fn what_depends_on_it_is_marked() {
        let file = HostFile::parse("f".as_ref(), TEXT).unwrap();
        let down = ComponentState { checked: true, ..ComponentState::default() };
        let up = ComponentState { up: true, ..down.clone() };
        let mut states = ComponentStates::from([("a".into(), down), ("b".into(), up)]);
        mark_dependents(&mut states, &file.components);
        assert!(states["b"].depends_on_down && !states["a"].depends_on_down);
        states.get_mut("a").unwrap().up = true;
        mark_dependents(&mut states, &file.components);
        assert!(!states["b"].depends_on_down);
    }
}
