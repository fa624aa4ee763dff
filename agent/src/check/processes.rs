//! Whose processes a component has, and whether they live. A zombie has ended; a process that a signal has
//! stopped does no work, and a debugger's stop is not that.

use std::path::Path;

use fettle_shared::error_kind::ErrorKind;

use crate::handoff::{ProcessId, SupervisedState};
use crate::host_file::ProcessMatch;
use crate::pid_file::PidFile;
use crate::process_table::{all, see, see_again, Seen};

use super::verdict::{Failure, Processes};

/// What keeps a list of processes from being well.
pub(super) fn judge(processes: &Processes, ids: &[ProcessId]) -> Result<(), Failure> {
    if processes.stopped {
        return Err(Failure::new("it was told to stop"));
    }
    if processes.running >= processes.wanted {
        return Ok(());
    }
    let states: Vec<Option<Seen>> = ids.iter().map(|id| see_again(*id)).collect();
    let stopped = states.iter().flatten().filter(|seen| seen.is_stopped()).count();
    let zombies = states.iter().flatten().filter(|seen| seen.is_ended()).count();
    let (running, wanted) = (processes.running, processes.wanted);
    let why = match (stopped, zombies) {
        (0, 0) => String::new(),
        (0, zombies) => format!(", {zombies} zombie"),
        (stopped, _) => format!(", {stopped} stopped by a signal"),
    };
    Err(Failure::new(format!("{running} of {wanted} processes run{why}")))
}

/// Counts those that run.
pub(super) fn running(ids: &[ProcessId]) -> u32 {
    let runs = |id: &&ProcessId| see_again(**id).is_some_and(|seen| !seen.is_ended() && !seen.is_stopped());
    ids.iter().filter(runs).count() as u32
}

/// Of a supervised component.
pub(super) fn supervised(state: Option<&SupervisedState>, declared: u32) -> Processes {
    let Some(state) = state else { return Processes { wanted: declared, ..Processes::default() } };
    let ids: Vec<ProcessId> = state.pids().collect();
    Processes {
        wanted: state.replicas,
        running: running(&ids),
        ids,
        restarts: Some(state.restarts),
        stopped: state.stopped,
    }
}

/// Of one process that is known by its number: a unit's or a container's.
pub(super) fn one(pid: i32) -> Processes {
    let ids: Vec<ProcessId> = see(pid).filter(|_| pid > 0).map(|seen| seen.id).into_iter().collect();
    Processes { wanted: 1, running: running(&ids), ids, ..Processes::default() }
}

/// Of what a rule finds. The one found before is looked at first; the whole of /proc is only searched when it
/// has gone.
pub(super) fn matching(rule: &ProcessMatch, before: &[ProcessId]) -> Result<Processes, Failure> {
    if let Some(seen) = before.first().and_then(|id| see_again(*id)).filter(|seen| !seen.is_ended()) {
        if fits(rule, &seen)? {
            let ids = vec![seen.id];
            return Ok(Processes { wanted: 1, running: running(&ids), ids, ..Processes::default() });
        }
    }
    let found = match rule {
        ProcessMatch::PidFile(path) => see(named_in(path)?),
        _ => {
            let mut found = None;
            // The oldest: workers come after the one that started them.
            for seen in all() {
                let older = found.is_none_or(|other: Seen| seen.id.start < other.id.start);
                if older && !seen.is_ended() && fits(rule, &seen)? {
                    found = Some(seen);
                }
            }
            found
        }
    };
    let ids: Vec<ProcessId> = found.map(|seen| seen.id).into_iter().collect();
    Ok(Processes { wanted: 1, running: running(&ids), ids, ..Processes::default() })
}

fn fits(rule: &ProcessMatch, seen: &Seen) -> Result<bool, Failure> {
    let pid = seen.id.pid;
    Ok(match rule {
        ProcessMatch::PidFile(path) => named_in(path)? == pid,
        ProcessMatch::Executable(path) => {
            std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| is_same(&exe, path))
        }
        ProcessMatch::Name(name) => std::fs::read(format!("/proc/{pid}/comm"))
            .is_ok_and(|comm| comm.strip_suffix(b"\n") == Some(name.as_bytes())),
    })
}

/// A program that was replaced while it runs stands with ` (deleted)` behind its path: proc_pid_exe(5).
fn is_same(exe: &Path, path: &Path) -> bool {
    exe == path
        || exe
            .to_str()
            .and_then(|exe| exe.strip_suffix(" (deleted)"))
            .is_some_and(|exe| Path::new(exe) == path)
}

/// The process that a pid file names, if it may name it.
fn named_in(path: &Path) -> Result<i32, Failure> {
    let file = PidFile::read(path).map_err(|cause| Failure::of_io(&path.display().to_string(), &cause))?;
    if file.may_name_its_process() || see(file.pid).is_none() {
        return Ok(file.pid);
    }
    Err(Failure::of(
        ErrorKind::Permission,
        format!(
            "{} names process {} of another user; let root or that user write the file",
            path.display(),
            file.pid
        ),
    ))
}
