//! Supervising: runs the commands that the host's file declares as process groups of their own, and keeps
//! track of them across restarts of the agent. A keeper for each component (`keeper.rs`) serves its
//! requests one after the other, so that a slow stop of one holds up no other.
//!
//! What is supervised lives on when the agent ends; the next agent finds it by its record (`record.rs`) or,
//! if the agent was killed before it could write that, by the process's environment. Numbers of processes
//! are never trusted alone: every signal goes by a descriptor of the very process.

mod errors;
mod keeper;
mod output;
mod process;
mod record;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::handoff::{not_supervised, HostFileWatch, SuperviseRequest, SupervisedStates, SupervisorHandle};
use crate::host_file::{HostFile, Runs, Supervised};
pub use errors::SuperviseError;
use keeper::{Keeper, Published};
use process::Stray;
use record::Record;

/// Requests that may wait for one component.
const REQUESTS: usize = 16;
/// Between two looks at the length of the output files.
const OUTPUT_EVERY: Duration = Duration::from_secs(1);

/// Starts supervising what the file declares, and goes on as the file changes, until the runtime ends.
///
/// # Errors
/// The state directory cannot be made and there is something to keep.
pub fn start(
    state_dir: &Path,
    file: HostFileWatch,
) -> Result<(SupervisorHandle, watch::Receiver<Arc<SupervisedStates>>), SuperviseError> {
    let dir = state_dir.join("components");
    if !file.borrow().components.is_empty() {
        make(&dir).map_err(|cause| SuperviseError::State { dir: dir.clone(), cause })?;
    }
    let record = Record::new(&dir);
    let mut known = record.read();
    // What is no longer declared is forgotten; the rest stays on record until its keeper has taken over.
    known.retain(|name, _| file.borrow().components.contains_key(name));
    let (sender, states) = watch::channel(Arc::new(known.clone()));
    let (handle, inbox) = SupervisorHandle::new(states.clone());
    let published = Published { states: sender, record, logs: dir };
    tokio::spawn(Supervisor { published, known, keepers: BTreeMap::new() }.run(file, inbox));
    Ok((handle, states))
}

/// What the record says of this boot, for someone who only looks.
pub fn recorded(state_dir: &Path) -> SupervisedStates {
    Record::new(&state_dir.join("components")).read()
}

fn make(dir: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o750).create(dir)
}

/// The way to a keeper; dropping it lets the keeper end, not what it keeps.
#[derive(Debug)]
struct Keeping {
    requests: mpsc::Sender<SuperviseRequest>,
    run: watch::Sender<Supervised>,
}

#[derive(Debug)]
struct Supervisor {
    published: Published,
    /// What an earlier agent wrote down and nobody has taken over yet.
    known: SupervisedStates,
    keepers: BTreeMap<String, Keeping>,
}

impl Supervisor {
    async fn run(mut self, mut file: HostFileWatch, mut inbox: mpsc::Receiver<SuperviseRequest>) {
        let first = file.borrow_and_update().clone();
        self.follow(&first);
        let mut looks = tokio::time::interval(OUTPUT_EVERY);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut requests_end = false;
        loop {
            tokio::select! {
                request = inbox.recv(), if !requests_end => match request {
                    Some(request) => self.pass_on(request),
                    None => requests_end = true,
                },
                changed = file.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let now = file.borrow_and_update().clone();
                    self.follow(&now);
                }
                _ = looks.tick() => self.cut_outputs(),
            }
        }
    }

    fn pass_on(&self, request: SuperviseRequest) {
        let Some(keeping) = self.keepers.get(&request.component) else {
            let answer = Err(not_supervised(&request.component));
            let _ = request.reply.send(answer);
            return;
        };
        if let Err(error) = keeping.requests.try_send(request) {
            let request = error.into_inner();
            let busy =
                format!("{} has {REQUESTS} requests waiting already; ask again later", request.component);
            let _ = request.reply.send(Err(busy));
        }
    }

    /// Keeps what the file declares now.
    fn follow(&mut self, file: &HostFile) {
        let declared: BTreeMap<&String, &Supervised> = file
            .components
            .iter()
            .filter_map(|(name, component)| match &component.runs {
                Runs::Supervised(run) => Some((name, run)),
                _ => None,
            })
            .collect();
        let dropped: Vec<String> =
            self.keepers.keys().filter(|name| !declared.contains_key(name)).cloned().collect();
        for name in dropped {
            tracing::warn!(
                component = name,
                "it is no longer declared: what runs of it runs on, unsupervised"
            );
            self.keepers.remove(&name);
            self.published.say(&name, None);
        }
        let is_new = declared.keys().any(|name| !self.keepers.contains_key(*name));
        let strays = if is_new { Stray::all(&self.published.logs) } else { Vec::new() };
        for (name, run) in declared {
            match self.keepers.get(name) {
                Some(keeping) => {
                    keeping.run.send_if_modified(|old| {
                        let news = old != run;
                        *old = run.clone();
                        news
                    });
                }
                None => self.keep(name, run, &strays),
            }
        }
    }

    fn keep(&mut self, name: &str, run: &Supervised, strays: &[Stray]) {
        if let Err(error) = make(&self.published.logs) {
            tracing::error!(dir = %self.published.logs.display(), "the state directory cannot be made: {error}");
        }
        let known = self.known.remove(name);
        // Known of this boot: what has ended since then was seen by nobody, and is for the rules to mend.
        let first = known.is_none();
        let (requests, inbox) = mpsc::channel(REQUESTS);
        let (run_sender, runs) = watch::channel(run.clone());
        let keeper = Keeper::new(name.to_owned(), run.clone(), self.published.clone(), known, strays);
        tokio::spawn(keeper.serve(first, inbox, runs));
        self.keepers.insert(name.to_owned(), Keeping { requests, run: run_sender });
    }

    fn cut_outputs(&self) {
        let states = self.published.states.borrow().clone();
        for (name, state) in states.iter() {
            for replica in 0..state.processes.len() {
                let path = output::path(&self.published.logs, name, replica);
                match output::cut(&path) {
                    Ok(true) => tracing::debug!(file = %path.display(), "output was cut"),
                    Ok(false) => {}
                    Err(error) => tracing::warn!(file = %path.display(), "output cannot be cut: {error}"),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
