//! One check of one component: first its processes, which cost next to nothing to look at, then what the
//! file says. What cannot be well without a running process is not asked further.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use fettle_shared::error_kind::ErrorKind;
use tokio::sync::watch;

use super::network::{http, tcp, Lookup};
use super::outstanding::Outstanding;
use super::systemd::Systemd;
use super::verdict::{Failure, Outcome, Processes};
use super::{docker, exec, processes};
use crate::handoff::{ProcessId, SupervisedStates};
use crate::host_file::{Check, Component, Runs};

/// What the checks of one component keep from one to the next.
#[derive(Debug)]
pub(super) struct Probe {
    name: String,
    component: Component,
    supervised: watch::Receiver<Arc<SupervisedStates>>,
    systemd: Systemd,
    lookup: Lookup,
    age: Outstanding<std::io::Result<SystemTime>>,
    before: Vec<ProcessId>,
    /// Docker's own count of restarts belongs to what it counts.
    seen: Processes,
}

impl Probe {
    pub(super) fn new(
        name: String,
        component: Component,
        supervised: watch::Receiver<Arc<SupervisedStates>>,
        systemd: Systemd,
    ) -> Self {
        let (lookup, age) = (Outstanding::default(), Outstanding::default());
        Self {
            name,
            component,
            supervised,
            systemd,
            lookup,
            age,
            before: Vec::new(),
            seen: Processes::default(),
        }
    }

    /// Checks once, within the component's time.
    pub(super) async fn check(&mut self) -> Outcome {
        let begun = Instant::now();
        self.seen = Processes { wanted: 1, ..Processes::default() };
        let timeout = self.component.timeout;
        let result = match tokio::time::timeout(timeout, self.look()).await {
            Ok(result) => result,
            Err(_) => Err(Failure::of(
                ErrorKind::Timeout,
                format!("no answer within {}", crate::config::show_duration(timeout)),
            )),
        };
        let seen = std::mem::take(&mut self.seen);
        if !seen.ids.is_empty() {
            self.before.clone_from(&seen.ids);
        }
        Outcome { result, took: begun.elapsed(), processes: seen }
    }

    async fn look(&mut self) -> Result<(), Failure> {
        let asks_them = matches!(self.component.check, Check::Process | Check::Active);
        let (well, known) = match self.look_at_processes().await {
            Ok(well) => (well, true),
            // Whoever could tell does not answer: a port or a file can be looked at all the same.
            Err(failure) if asks_them => return Err(failure),
            Err(failure) => (Err(failure), false),
        };
        let judged = processes::judge(&self.seen, &self.seen.ids);
        let whose = !matches!(self.component.runs, Runs::Nothing);
        match &self.component.check {
            Check::Process => judged,
            Check::Active => well,
            // None runs, or all were stopped by a signal: nobody would answer.
            _ if known && whose && self.seen.running == 0 && (self.seen.wanted > 0 || self.seen.stopped) => {
                judged.and(well).and(Err(Failure::new("none of its processes runs")))
            }
            Check::Tcp(address) => tcp(*address).await,
            Check::Http { url, status, contains } => {
                http(url, *status, contains.as_deref(), &mut self.lookup).await
            }
            Check::Exec { command, user } => exec::exec(command, user.as_deref()).await,
            Check::FileAge { path, oldest } => age(&mut self.age, path.clone(), *oldest).await,
        }
    }

    /// Finds the processes; what a unit or a container itself says to it comes back.
    async fn look_at_processes(&mut self) -> Result<Result<(), Failure>, Failure> {
        let mut well = Ok(());
        match &self.component.runs {
            Runs::Supervised(run) => {
                let states = self.supervised.borrow();
                self.seen = processes::supervised(states.get(&self.name), run.replicas);
            }
            Runs::Systemd { unit } => {
                let found = self.systemd.unit(unit).await?;
                self.seen = processes::one(found.main_pid as i32);
                // A unit without a main process, such as a one-shot, is judged by its state alone.
                let by_state = found.well.is_ok() && found.main_pid == 0;
                self.seen.running = self.seen.running.max(u32::from(by_state));
                well = match found.well {
                    Ok(()) if self.seen.running == 0 => processes::judge(&self.seen, &self.seen.ids),
                    said => said,
                };
            }
            Runs::Docker { container, socket, replicas } => {
                let found = docker::container(container, socket, replicas.is_some()).await?;
                self.seen = processes::one(found.pid);
                // Its process may stand in a name space of process numbers that is not ours.
                self.seen.running = self.seen.running.max(u32::from(found.runs && self.seen.ids.is_empty()));
                self.seen.wanted += found.copies.0;
                self.seen.running += found.copies.1;
                well = found.well;
            }
            Runs::Process(rule) => self.seen = processes::matching(rule, &self.before)?,
            Runs::Nothing => self.seen = Processes { wanted: 0, ..Processes::default() },
        }
        Ok(well)
    }
}

async fn age(
    under_way: &mut Outstanding<std::io::Result<SystemTime>>,
    path: PathBuf,
    oldest: Duration,
) -> Result<(), Failure> {
    let shown = path.display().to_string();
    let modified =
        under_way.call(move || std::fs::metadata(&path)?.modified()).await.map_err(Failure::new)?;
    let modified = modified.map_err(|cause| Failure::of_io(&shown, &cause))?;
    // A time in the future is as new as can be.
    let age = SystemTime::now().duration_since(modified).unwrap_or_default();
    if age <= oldest {
        return Ok(());
    }
    let (age, oldest) = (age.as_secs(), crate::config::show_duration(oldest));
    Err(Failure::of(ErrorKind::Other, format!("{shown} was last written {age} s ago, more than {oldest}")))
}
